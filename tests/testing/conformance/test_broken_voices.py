"""The kit finds what it looks for: each voice here is broken in one way, and fails the check that is for it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import anyio.lowlevel
import httpx
import pytest

import voicepipe as vp
from tests.helpers.acme import AcmeTTS, voice_server
from voicepipe.testing.conformance import KEY, Nonconformance, Report, check_voice

TONE = b"\x00\x10" * 480


class Tone(vp.TTSSink):
    """A correct voice without a service: 20 ms for each character."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        for _ in sentence.text:
            await anyio.sleep(0.01)
            yield TONE


# --- without a service ------------------------------------------------------------------------------------------------


class SwallowsCancellation(Tone):
    """Ends as if it had spoken."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        try:
            await anyio.sleep(0.1)
        except asyncio.CancelledError:
            return
        yield TONE


class IgnoresCancellation(Tone):
    """Tries again, whatever happens."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        for _ in sentence.text:
            while True:
                try:
                    await anyio.sleep(0.01)
                    break
                except BaseException:  # noqa: BLE001 - that is what is broken
                    continue
            yield TONE


class HidesCancellation(Tone):
    """Takes a cancellation for a failure of the service."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        try:
            await anyio.sleep(0.1)
        except BaseException as error:
            raise vp.VendorError("failed to speak", vendor="tone", retryable=True) from error
        yield TONE


class CleansUpForLong(Tone):
    """Says goodbye for two seconds."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        try:
            await anyio.sleep(0.1)
            yield TONE
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(2)


class BreaksAfterCancellation(Tone):
    """Does not speak again once it was interrupted."""

    def __init__(self) -> None:
        self.shared = {"is_broken": False}

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        try:
            await anyio.sleep(0.1)
        except asyncio.CancelledError:
            self.shared["is_broken"] = True
            raise
        yield TONE[:2] if self.shared["is_broken"] else TONE


class HangsOpening(Tone):
    """Ignores that its opening is cancelled."""

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(5)
        yield


class KeepsTheText(Tone):
    """Keeps what belongs to one sentence on itself."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        self.text = sentence.text
        await anyio.sleep(0.1)
        for _ in self.text:
            yield TONE


class SharesTheText(Tone):
    """Keeps what belongs to one call where all calls see it."""

    def __init__(self) -> None:
        self.waiting: list[str] = []

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        self.waiting.append(sentence.text)
        await anyio.sleep(0.1)
        for text in self.waiting:
            yield len(text) * TONE
        self.waiting.clear()


class SpeaksOnce(Tone):
    """Works in the first call only."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    @asynccontextmanager
    async def attach(self, session: vp.Session) -> AsyncGenerator[None]:
        self.calls.append(session)
        if len(self.calls) > 1:
            raise vp.VendorError("there was a call before", vendor="tone", retryable=False)
        yield


class LeaksATask(Tone):
    """Leaves a task behind."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        self.task = asyncio.get_running_loop().create_task(anyio.sleep(1_000))
        yield TONE


class LosesAnError(Tone):
    """Has a task that fails, and looks after it no more."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        async def fail() -> None:
            raise ValueError("nobody sees this")

        asyncio.get_running_loop().create_task(fail())
        await anyio.sleep(0.1)
        yield TONE


class BlocksTheLoop(Tone):
    """Waits as a thread would."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        time.sleep(0.3)  # noqa: ASYNC251, TID251 - that is what is broken
        yield TONE


class ComputesOnTheLoop(Tone):
    """Loads its model where all calls wait for it."""

    def __init__(self) -> None:
        self.loaded: list[bool] = []

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        until_s = time.thread_time() + (0.0 if self.loaded else 0.25)
        self.loaded.append(True)
        while time.thread_time() < until_s:
            pass
        yield TONE


class YieldsText(Tone):
    """Yields base64, as the service sends it."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        yield "AAA="


class YieldsHalfASample(Tone):
    """Loses a byte."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        yield TONE[:-1]


class NeverEnds(Tone):
    """Goes on after the sentence."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        while True:
            await anyio.sleep(1)
            yield 50 * TONE


class Hangs(Tone):
    """Waits for what never comes."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        await anyio.sleep_forever()
        yield TONE


class Spins(Tone):
    """Waits for what never comes, and keeps a core busy."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        while True:
            await anyio.lowlevel.checkpoint()
        yield TONE


class IsNoGenerator(vp.TTSSink):
    """Returns its audio."""

    def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[Any]:
        return cast("AsyncIterator[Any]", iter([TONE]))


class HasNoRate(Tone):
    """Does not say how fast it is to be played."""

    sample_rate = 0


class MarksTooMuch(Tone):
    """Counts the characters of something else."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        yield vp.WordMark(char_end=len(sentence.text) + 9, end_s=0.0)
        yield TONE


class AdaptsBadly(Tone):
    """Raises what nobody expects where a setting does not suit it."""

    def adapt(self, settings: vp.CallSettings) -> None:
        raise KeyError(settings.voice)


class TakesAnything(Tone):
    """Does not check its options."""

    def __init__(self, rate: int = 24_000) -> None:
        self.sample_rate = rate


ALONE: list[tuple[type[vp.TTSSink], str]] = [
    (SwallowsCancellation, "speaking is cancelled at each await"),
    (IgnoresCancellation, "speaking is cancelled at each await"),
    (HidesCancellation, "speaking is cancelled at each await"),
    (CleansUpForLong, "speaking is cancelled at each await"),
    (BreaksAfterCancellation, "speaking is cancelled at each await"),
    (CleansUpForLong, "a sentence is closed early"),
    (HangsOpening, "opening is cancelled at each await"),
    (KeepsTheText, "two sentences at once"),
    (SharesTheText, "two calls at once"),
    (SpeaksOnce, "a second call"),
    (SpeaksOnce, "two hosts at once"),
    (LeaksATask, "no task is left"),
    (LosesAnError, "no error is lost"),
    (BlocksTheLoop, "the loop is not blocked"),
    (ComputesOnTheLoop, "the loop is not blocked"),
    (YieldsText, "speaks a sentence"),
    (YieldsHalfASample, "speaks a sentence"),
    (NeverEnds, "speaks a sentence"),
    (Hangs, "speaks a sentence"),
    (Spins, "speaks a sentence"),
    (IsNoGenerator, "speaks a sentence"),
    (HasNoRate, "speaks a sentence"),
    (MarksTooMuch, "speaks a sentence"),
    (AdaptsBadly, "the settings of a call"),
]


def failing(make: Any, only: str, **options: Any) -> Report:
    """Return the report of a voice that fails."""
    try:
        report = check_voice(make, only=[only], **options)
    except Nonconformance as error:
        return error.report
    return report


@pytest.mark.slow
def test_a_voice_that_is_broken_by_itself_is_found() -> None:
    """Each of these voices fails the check that is for it, and the correct one none of them."""
    missed = [f"{voice.__name__}: {name}" for voice, name in ALONE if name not in failing(voice, name).failed]
    assert missed == []
    names = tuple(dict.fromkeys(name for _, name in ALONE))
    assert check_voice(Tone, only=names).failed == ()


# --- with a service ---------------------------------------------------------------------------------------------------


class LeaksAConnection(AcmeTTS):
    """Leaves a connection open."""

    kept: list[object] = []  # noqa: RUF012

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        client = httpx.AsyncClient(base_url=self.url, verify=False)
        reply = await client.send(client.build_request("POST", "/ask", json={}), stream=True)
        self.kept.append((client, reply))
        async for pcm in self.asked(sentence.text):
            yield pcm


class ShowsTheKey(AcmeTTS):
    """Shows its key to whoever looks at it."""

    def __repr__(self) -> str:
        return f"<AcmeTTS {self._key}>"


class LogsTheKey(AcmeTTS):
    """Logs its requests."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        logging.getLogger("acme").debug("asking with %s", dict(self.http.headers).get("authorization") or self._key)
        async for pcm in self.asked(sentence.text):
            yield pcm


class QuotesTheKey(AcmeTTS):
    """Puts what the service says about the key into its error."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        try:
            async for pcm in self.asked(sentence.text):
                yield pcm
        except vp.AuthenticationError as error:
            raise vp.AuthenticationError(f"Acme refused {KEY}", vendor="acme") from error


class LosesOddBytes(AcmeTTS):
    """Drops half a sample at the end of each piece."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        async for pcm in self.asked(sentence.text):
            yield pcm[: len(pcm) & ~1]


class TakesACutForAnEnd(AcmeTTS):
    """Passes off half a sentence as whole."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        try:
            async for pcm in self.asked(sentence.text):
                yield pcm
        except vp.VendorError:
            return


class TakesSilenceForAnEnd(AcmeTTS):
    """Stops to wait, and says nothing about it."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        pieces = self.asked(sentence.text)
        while True:
            with anyio.move_on_after(1.0) as limit:
                pcm = await anext(pieces, None)
            if limit.cancelled_caught or pcm is None:
                await pieces.aclose()
                return
            yield pcm


class FillsSilence(AcmeTTS):
    """Yields something where the service has nothing to say."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        is_empty = True
        async for pcm in self.asked(sentence.text):
            is_empty = False
            yield pcm
        if is_empty:
            yield TONE


class LeavesForeignErrors(AcmeTTS):
    """Lets the errors of its library through."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        async with self.http.stream("POST", "/ask", json={"text": sentence.text}) as reply:
            reply.raise_for_status()
            async for piece in reply.aiter_bytes():
                yield piece


class CallsEveryErrorFinal(AcmeTTS):
    """Knows one kind of error."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        try:
            async for pcm in self.asked(sentence.text):
                yield pcm
        except vp.VoicepipeError as error:
            raise vp.VendorError(str(error), vendor="acme", retryable=False) from error


class RetriesForEver(AcmeTTS):
    """Asks again, whatever the service says."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[Any]:
        while True:
            try:
                async for pcm in self.asked(sentence.text):
                    yield pcm
                return
            except vp.VendorError:
                await anyio.sleep(10)


SERVED: list[tuple[type[AcmeTTS], str]] = [
    (LeaksAConnection, "no connection is left"),
    (ShowsTheKey, "no key is shown"),
    (LogsTheKey, "no key is shown"),
    (QuotesTheKey, "no key is shown"),
    (LosesOddBytes, "samples are cut in the middle"),
    (LosesOddBytes, "bytes come in odd pieces"),
    (TakesACutForAnEnd, "the connection breaks"),
    (TakesSilenceForAnEnd, "the service falls silent"),
    (FillsSilence, "the answer is empty"),
    (LeavesForeignErrors, "a refused key is told apart"),
    (LeavesForeignErrors, "the connection breaks"),
    (CallsEveryErrorFinal, "a refused key is told apart"),
    (CallsEveryErrorFinal, "too many requests are told apart"),
    (CallsEveryErrorFinal, "a failing service is told apart"),
    (CallsEveryErrorFinal, "an unreachable service is told apart"),
    (RetriesForEver, "a failing service is told apart"),
    (RetriesForEver, "an invalid request is told apart"),
]

WHERE_KEYS_ARE = {QuotesTheKey: "a refused key is told apart"}


@pytest.mark.slow
def test_a_voice_that_fails_with_its_service_is_found() -> None:
    """Each of these voices fails the check that is for it, and the correct one none at all."""
    missed: list[str] = []
    for voice, name in SERVED:
        only = WHERE_KEYS_ARE.get(voice, name)
        report = failing(voice, only, server=voice_server)
        missed += [] if name in report.failed else [f"{voice.__name__}: {name}\n{report}"]
    assert "\n".join(missed) == ""
    report = check_voice(AcmeTTS, server=voice_server, refuses=[lambda: AcmeTTS("", api_key="")])
    assert report.not_applicable == ()


def test_options_that_are_not_checked_are_found() -> None:
    """A bad option has to raise `ConfigurationError`: nothing else, and not nothing."""
    for bad in (lambda: TakesAnything(-1), lambda: TakesAnything(cast("int", {}["rate"]))):
        assert "bad options are refused" in failing(Tone, "bad options are refused", refuses=[bad]).failed


@pytest.mark.slow
def test_threads_that_are_left_are_found() -> None:
    """A thread that goes on after its part was closed is named."""
    ended = threading.Event()

    class LeavesAThread(Tone):
        @asynccontextmanager
        async def open(self) -> AsyncGenerator[None]:
            threading.Thread(target=ended.wait, name="acme engine", daemon=True).start()
            yield

    try:
        report = failing(LeavesAThread, "a second call", real_time=True)
    finally:
        ended.set()
    assert "acme engine" in report["no thread is left"].detail
