"""The kit finds what it looks for: each source and output here is broken in one way, and fails the check for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import voicepipe as vp
from voicepipe.audio.output import ClockedOutput
from voicepipe.testing.conformance import Nonconformance, Report, check_output, check_source

FRAME = b"\x00\x10" * 320
CANCELLED, ATTACHED = "listening is cancelled at each await", "opening and attaching is cancelled at each await"
FLUSHED, DROPPED = "a flush stops the sound", "a waiting write drops its audio at a flush"


class Line(vp.Source):
    """A correct source: a tone, at the pace of speech."""

    async def frames(self) -> AsyncGenerator[Any]:
        while True:
            await anyio.sleep(0.02)
            yield FRAME


class YieldsText(Line):
    """Yields what it read."""

    async def frames(self) -> AsyncGenerator[Any]:
        yield "AAA="


class LosesAByte(Line):
    """Ends in the middle of a sample."""

    async def frames(self) -> AsyncGenerator[Any]:
        yield FRAME[:-1]


class Floods(Line):
    """Yields a whole recording at once."""

    async def frames(self) -> AsyncGenerator[Any]:
        yield FRAME * 50 * 60


class IsSilent(Line):
    """Yields nothing."""

    async def frames(self) -> AsyncGenerator[Any]:
        await anyio.sleep_forever()
        yield FRAME


class HasNoRate(Line):
    """Does not say how fast it speaks."""

    sample_rate = 0


class SwallowsCancellation(Line):
    """Takes the end of the session for an error of the line."""

    async def frames(self) -> AsyncGenerator[Any]:
        try:
            async for pcm in super().frames():
                yield pcm
        except asyncio.CancelledError:
            return


class LeaksATask(Line):
    """Leaves its reader behind."""

    async def frames(self) -> AsyncGenerator[Any]:
        self.task = asyncio.get_running_loop().create_task(anyio.sleep(1_000))
        async for pcm in super().frames():
            yield pcm


class HasOneListener(Line):
    """Speaks to one call of the process."""

    is_busy = False

    async def frames(self) -> AsyncGenerator[Any]:
        if HasOneListener.is_busy:
            return
        HasOneListener.is_busy = True
        try:
            async for pcm in super().frames():
                yield pcm
        finally:
            HasOneListener.is_busy = False


class HangsAttaching(Line):
    """Ignores that nobody wants it any more."""

    @asynccontextmanager
    async def attach(self, session: Any) -> AsyncGenerator[None]:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(5)
        yield


SOURCES: list[tuple[type[Line], str]] = [
    (YieldsText, "gives audio"),
    (LosesAByte, "gives audio"),
    (Floods, "gives audio"),
    (IsSilent, "gives audio"),
    (HasNoRate, "gives audio"),
    (SwallowsCancellation, CANCELLED),
    (LeaksATask, "no task is left"),
    (HasOneListener, "two calls at once"),
    (HangsAttaching, ATTACHED),
]


class Loud(ClockedOutput):
    """A correct output, which plays to nobody."""

    def record(self, pcm: bytes) -> None:
        pass


class NeverWaits(Loud):
    """Takes everything at once."""

    async def write(self, pcm: bytes) -> None:
        self._catch_up()
        self._pending += pcm
        self._accepted_s += len(pcm) / 2 / self.sample_rate
        self._plays_until_s = max(self._plays_until_s, anyio.current_time()) + len(pcm) / 2 / self.sample_rate


class NeverPlays(Loud):
    """Holds what it was given."""

    async def write(self, pcm: bytes) -> None:
        await anyio.sleep_forever()


class CountsWritten(Loud):
    """Counts audio as played when it takes it."""

    @property
    def played_s(self) -> float:
        return self._accepted_s


class CountsDown(Loud):
    """Forgets what was played before."""

    began_s = 0.0

    @property
    def played_s(self) -> float:
        return super().played_s % 1.5


class CountsTooMuch(Loud):
    """Counts silence, too."""

    @property
    def played_s(self) -> float:
        return super().played_s and anyio.current_time() - self._began_s


class FlushesLater(Loud):
    """Has to be waited for."""

    async def flush(self) -> None:  # type: ignore[override]
        super().flush()


class PlaysOn(Loud):
    """Plays what it has before it is silent."""

    def flush(self) -> None:
        self._plays_until_s += 0.5
        self._accepted_s += 0.5


class KeepsWhatWaits(Loud):
    """Plays what waited for room at a flush."""

    async def write(self, pcm: bytes) -> None:
        flushes = self._flushes
        await super().write(pcm)
        if self._flushes != flushes:
            for _ in range(5):
                await super().write(pcm)


class SwallowsInterruptions(Loud):
    """Goes on when it is interrupted."""

    async def write(self, pcm: bytes) -> None:
        try:
            await super().write(pcm)
        except asyncio.CancelledError:
            return


class BlocksAfterInterruptions(Loud):
    """Never plays again once a write was interrupted."""

    is_broken = False

    async def write(self, pcm: bytes) -> None:
        if self.is_broken:
            return
        try:
            await super().write(pcm)
        except asyncio.CancelledError:
            self.is_broken = True
            raise


class SharesItsCount(Loud):
    """Counts for all calls together."""

    count = [0.0]  # noqa: RUF012

    async def write(self, pcm: bytes) -> None:
        await super().write(pcm)
        self.count[0] += len(pcm) / 2 / self.sample_rate

    @property
    def played_s(self) -> float:
        return self.count[0] - super()._left_s


class AwaitsEvents(Loud):
    """Has to be waited for."""

    async def on_event(self, event: Any) -> None:  # type: ignore[override]
        pass


class HangsOpening(Loud):
    """Ignores that nobody wants it any more."""

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(5)
        yield


PLAYED = "plays at the pace of speech"

OUTPUTS: list[tuple[type[Loud], str]] = [
    (NeverWaits, PLAYED),
    (NeverPlays, PLAYED),
    (CountsWritten, PLAYED),
    (CountsDown, PLAYED),
    (CountsTooMuch, PLAYED),
    (FlushesLater, FLUSHED),
    (PlaysOn, FLUSHED),
    (KeepsWhatWaits, DROPPED),
    (SwallowsInterruptions, "writing is cancelled at each await"),
    (BlocksAfterInterruptions, "writing is cancelled at each await"),
    (SharesItsCount, "two calls at once"),
    (AwaitsEvents, "takes events"),
    (HangsOpening, ATTACHED),
]


def failing(check: Any, make: Any, only: str) -> Report:
    """Return the report of a part that fails."""
    try:
        report: Report = check(make, only=[only])
    except Nonconformance as error:
        return error.report
    return report


def test_a_source_that_is_broken_is_found() -> None:
    """Each of these sources fails the check that is for it, and the correct one none at all."""
    found = [(source, name, failing(check_source, source, name).failed) for source, name in SOURCES]
    assert [f"{source.__name__}: {name}" for source, name, failed in found if name not in failed] == []
    assert check_source(Line).failed == ()


@pytest.mark.slow
def test_an_output_that_is_broken_is_found() -> None:
    """Each of these outputs fails the check that is for it, and the correct one none at all."""
    found = [(output, name, failing(check_output, output, name).failed) for output, name in OUTPUTS]
    assert [f"{output.__name__}: {name}" for output, name, failed in found if name not in failed] == []
    assert check_output(Loud).failed == ()
