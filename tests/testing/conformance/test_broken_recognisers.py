"""The kit finds what it looks for: each recogniser here is broken in one way, and fails the check that is for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.acme import AcmeEars, ears_server
from voicepipe.testing.conformance import Nonconformance, Report, check_recogniser

HEARS, HANGS_UP = "hears one turn", "the caller hangs up after the last word"
CANCELLED, FORCED = "hearing is cancelled at each await", "the turn is ended on request"


class Ears(vp.Recogniser):
    """A correct recogniser of what is loud, as words of one turn."""

    async def recognise(self, inbox: Any, outbox: Any, session: Any) -> None:
        self.is_asked = False
        ended_s: float | None = None
        async for frame in inbox:
            if any(frame.pcm):
                if ended_s is None:
                    await outbox.send(vp.SpeechStarted(at_s=frame.start_s))
                    await outbox.send(vp.EarlyTranscript("Hello"))
                ended_s = frame.start_s + frame.duration_s
            if ended_s is not None and (frame.start_s - ended_s > 0.5 or self.is_asked):
                await self.end(outbox, ended_s)
                ended_s = None
        if ended_s is not None:
            await self.end(outbox, ended_s)

    async def end(self, outbox: Any, ended_s: float) -> None:
        await outbox.send(vp.SpeechEnded(at_s=ended_s))
        await outbox.send(vp.Transcript("Hello there.", ended_s, anyio.current_time()))

    def force_endpoint(self) -> None:
        self.is_asked = True


class ForgetsTheTranscript(Ears):
    """Reports that speech has ended, and not what was said."""

    async def end(self, outbox: Any, ended_s: float) -> None:
        await outbox.send(vp.SpeechEnded(at_s=ended_s))


class SaysItTwice(Ears):
    """Sends a transcript, and another one when it is formatted."""

    async def end(self, outbox: Any, ended_s: float) -> None:
        await super().end(outbox, ended_s)
        await outbox.send(vp.Transcript("Hello there!", ended_s, anyio.current_time()))


class GuessesAfterwards(Ears):
    """Sends an early transcript of a turn that is over."""

    async def end(self, outbox: Any, ended_s: float) -> None:
        await super().end(outbox, ended_s)
        await outbox.send(vp.EarlyTranscript("Hello"))


class SaysNothing(Ears):
    """Sends a blank transcript."""

    async def end(self, outbox: Any, ended_s: float) -> None:
        await outbox.send(vp.Transcript(" ", ended_s, anyio.current_time()))


class SendsText(Ears):
    """Sends what is no report."""

    async def end(self, outbox: Any, ended_s: float) -> None:
        await super().end(outbox, ended_s)
        await outbox.send("Hello there.")


class TellsTheServicesTime(Ears):
    """Counts time from the beginning of the audio, as the service does."""

    async def recognise(self, inbox: Any, outbox: Any, session: Any) -> None:
        self.began_s = anyio.current_time() + 3
        await super().recognise(inbox, outbox, session)

    async def end(self, outbox: Any, ended_s: float) -> None:
        await super().end(outbox, ended_s - self.began_s)


class EndsBeforeItBegins(Ears):
    """Reports an end of speech without its beginning."""

    async def recognise(self, inbox: Any, outbox: Any, session: Any) -> None:
        await outbox.send(vp.SpeechEnded(at_s=anyio.current_time()))
        await super().recognise(inbox, outbox, session)


class DecidesBeforeSpeechEnds(Ears):
    """Mixes the two times of a transcript up."""

    async def end(self, outbox: Any, ended_s: float) -> None:
        await outbox.send(vp.Transcript("Hello there.", ended_s, ended_s - 1))


class NeverReturns(Ears):
    """Goes on after the hang-up."""

    async def recognise(self, inbox: Any, outbox: Any, session: Any) -> None:
        await super().recognise(inbox, outbox, session)
        await anyio.sleep_forever()


class LosesTheLastWord(Ears):
    """Waits for a silence that does not come once the caller has hung up."""

    async def recognise(self, inbox: Any, outbox: Any, session: Any) -> None:
        self.is_live = True
        await super().recognise(_Live(inbox, self), outbox, session)

    async def end(self, outbox: Any, ended_s: float) -> None:
        if self.is_live:
            await super().end(outbox, ended_s)


class _Live:
    def __init__(self, inbox: Any, ears: LosesTheLastWord) -> None:
        self.inbox, self.ears = inbox, ears

    async def __aiter__(self) -> Any:
        async for frame in self.inbox:
            yield frame
        self.ears.is_live = False


class HearsGhosts(Ears):
    """Takes silence for words."""

    async def recognise(self, inbox: Any, outbox: Any, session: Any) -> None:
        began_s = anyio.current_time()
        await super().recognise(inbox, outbox, session)
        if (now := anyio.current_time()) - began_s < 1:
            await outbox.send(vp.Transcript("Thank you for watching.", now, now))


class DropsShortFrames(Ears):
    """Refuses frames that are not 20 ms long."""

    async def recognise(self, inbox: Any, outbox: Any, session: Any) -> None:
        async def checked() -> Any:
            async for frame in inbox:
                if len(frame.pcm) % 640:
                    raise ValueError(f"{len(frame.pcm)} bytes")
                yield frame

        await super().recognise(checked(), outbox, session)


class SwallowsCancellation(Ears):
    """Says goodbye in place of obeying."""

    async def recognise(self, inbox: Any, outbox: Any, session: Any) -> None:
        try:
            await super().recognise(inbox, outbox, session)
        except asyncio.CancelledError:
            return


class SharesItsEars(Ears):
    """Keeps the words of all calls together."""

    def __init__(self) -> None:
        self.turns: list[float] = []

    async def end(self, outbox: Any, ended_s: float) -> None:
        self.turns.append(ended_s)
        for at_s in self.turns:
            await super().end(outbox, at_s)


class SwapsCalls(Ears):
    """Gives each of two calls what the other one said."""

    def __init__(self) -> None:
        self.boxes: list[Any] = []

    async def recognise(self, inbox: Any, outbox: Any, session: Any) -> None:
        self.boxes.append(outbox)
        await super().recognise(inbox, outbox, session)

    async def end(self, outbox: Any, ended_s: float) -> None:
        others = [box for box in self.boxes if box is not outbox]
        await super().end(others[0] if others else outbox, ended_s)


class LeaksATask(Ears):
    """Leaves a task that listens on."""

    async def recognise(self, inbox: Any, outbox: Any, session: Any) -> None:
        self.task = asyncio.get_running_loop().create_task(anyio.sleep(1_000))
        await super().recognise(inbox, outbox, session)


class EndsTurnsOfNobody(Ears):
    """Ends a turn twice when it is asked to end it."""

    async def end(self, outbox: Any, ended_s: float) -> None:
        await super().end(outbox, ended_s)
        if self.is_asked:
            await super().end(outbox, ended_s)


class RefusesBadly(Ears):
    """Raises what nobody expects where a language does not suit it."""

    def adapt(self, settings: vp.CallSettings) -> None:
        raise KeyError(settings.language)


BROKEN: list[tuple[type[Ears], str]] = [
    (ForgetsTheTranscript, HEARS),
    (SaysItTwice, HEARS),
    (GuessesAfterwards, HEARS),
    (SaysNothing, HEARS),
    (SendsText, HEARS),
    (TellsTheServicesTime, HEARS),
    (EndsBeforeItBegins, HEARS),
    (DecidesBeforeSpeechEnds, HEARS),
    (NeverReturns, HEARS),
    (LosesTheLastWord, HANGS_UP),
    (HearsGhosts, "the caller hangs up without a word"),
    (DropsShortFrames, "frames of odd lengths"),
    (SwallowsCancellation, CANCELLED),
    (SharesItsEars, "two calls at once"),
    (SwapsCalls, "two calls at once"),
    (LeaksATask, "no task is left"),
    (EndsTurnsOfNobody, FORCED),
    (RefusesBadly, "the settings of a call"),
]


# --- with a service ---------------------------------------------------------------------------------------------------


class WaitsForEver(AcmeEars):
    """Does not notice that nothing comes any more."""

    silent_s = 1_000.0


class TakesABreakForAHangUp(AcmeEars):
    """Ends without a word when its connection breaks."""

    async def hear(self, outbox: Any) -> None:
        try:
            await super().hear(outbox)
        except vp.VendorError:
            return


class LeavesForeignErrors(AcmeEars):
    """Lets the errors of its library through."""

    async def line(self) -> str:
        try:
            return await anext(self.lines)
        except anyio.EndOfStream:
            if self.is_over:
                raise vp.VendorError("Acme has ended", vendor="acme", retryable=False) from None
            raise


class LeaksAConnection(AcmeEars):
    """Leaves its connection to itself when it could not attach."""

    kept: list[Any] = []  # noqa: RUF012

    @asynccontextmanager
    async def attach(self, session: Any) -> AsyncGenerator[None]:
        self.kept.append(await anyio.connect_tcp(self.url.hostname, self.url.port))
        async with super().attach(session):
            yield


SERVED: list[tuple[type[AcmeEars], str]] = [
    (WaitsForEver, "the service falls silent"),
    (TakesABreakForAHangUp, "the connection breaks"),
    (LeavesForeignErrors, "the connection breaks"),
    (LeaksAConnection, "attaching is cancelled at each await"),
    (LeaksAConnection, "no connection is left"),
]


@pytest.mark.slow
def test_a_recogniser_that_fails_with_its_service_is_found() -> None:
    """Each of these recognisers fails the check that is for it, and the correct one none at all."""
    found = [(ears, name, failing(ears, name, server=ears_server)) for ears, name in SERVED]
    assert [f"{ears.__name__}: {name}" for ears, name, report in found if name not in report.failed] == []
    assert check_recogniser(AcmeEars, server=ears_server).failed == ()


def failing(make: Any, only: str, **options: Any) -> Report:
    """Return the report of a recogniser that fails."""
    try:
        report = check_recogniser(make, only=[only], **options)
    except Nonconformance as error:
        return error.report
    return report


@pytest.mark.slow
def test_a_recogniser_that_is_broken_is_found() -> None:
    """Each of these recognisers fails the check that is for it, and the correct one none at all."""
    missed = [f"{ears.__name__}: {name}" for ears, name in BROKEN if name not in failing(ears, name).failed]
    assert missed == []
    assert check_recogniser(Ears).failed == ()
