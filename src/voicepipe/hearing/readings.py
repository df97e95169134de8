"""One call's utterances on their way to words: which audio is read next, and what becomes of what was read.

Rule 1: one reading at a time for each call, and transcripts leave in the order in which turns ended.
Rule 2: audio is read as soon as the caller pauses. If nothing more is said these words are the final ones, and they are
        there, or nearly, when the turn is over.
Rule 3: a newer reading of the same utterance replaces an older one; only what ends a turn is read in any case.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.errors import VendorError
from voicepipe.flow import EarlyTranscript, Transcript
from voicepipe.listening_events import RecogniserBehind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from voicepipe.core.channel import Outbox
    from voicepipe.core.context import AnySession
    from voicepipe.flow import Hearing
    from voicepipe.hearing.utterances import Endpoint, Utterance

__all__ = ["BEHIND_S", "Readings"]

BEHIND_S: Final = 1.0
"""Words that come so long after the end of a turn are late, and reported as that."""

WAITING_TURNS: Final = 4
"""Turns that may wait for their words. After that the audio waits; what is too old of it is dropped and reported."""

SENTENCE_END: Final = ".?!…。？！"  # noqa: RUF001 - and those of Chinese and Japanese
"""What a model writes at the end of whatever it is given; while the caller is speaking it means nothing."""


class Readings:
    """Reads the utterances of one call.

    Args:
        transcribe: Returns the words of an utterance; "" if there are none.
        outbox: Takes early transcripts and transcripts.
        session: Emits what is late.
    """

    def __init__(
        self, transcribe: Callable[[Utterance], Awaitable[str]], outbox: Outbox[Hearing], session: AnySession
    ) -> None:
        self._transcribe = transcribe
        self._outbox = outbox
        self._session = session
        self._ended: deque[_Reading] = deque()  # of turns that are over
        self._newest: _Reading | None = None  # of the present turn, waiting
        self._running: _Reading | None = None
        self._at_pause: _Reading | None = None  # of the present turn, and nothing was said since
        self._sent = EarlyTranscript("")
        self._is_closed = False
        self._news, self._has_room = anyio.Event(), anyio.Event()

    @property
    def is_busy(self) -> bool:
        """Whether something is being read or waits for it."""
        return self._running is not None or self._newest is not None or bool(self._ended)

    def look(self, utterance: Utterance) -> None:
        """Read what has been said so far; words are reported as early ones. Never waits."""
        self._replace(_Reading(utterance))
        if not utterance.is_early:
            self._at_pause = self._newest

    def goes_on(self) -> None:
        """Learn that the caller speaks again."""
        self._at_pause = None

    async def end(self, endpoint: Endpoint) -> None:
        """Report the final words of a turn when they are there. Waits only while too many turns are waiting."""
        reading, self._at_pause = self._at_pause or _Reading(endpoint.utterance), None
        reading.endpoint, reading.endpoint_s = endpoint, anyio.current_time()
        self._replace(None)
        if reading is not self._running:
            self._ended.append(reading)
        self._news.set()
        while len(self._ended) > WAITING_TURNS:
            self._has_room = anyio.Event()
            await self._has_room.wait()

    def close(self) -> None:
        """Let `run` end once all turns that are over have their words."""
        self._is_closed = True
        self._replace(None)
        self._news.set()

    async def run(self) -> None:
        """Read until closed.

        Raises:
            VendorError: The final words of a turn cannot be had.
        """
        while True:
            self._news = anyio.Event()
            while (reading := self._next()) is not None:
                self._running = reading
                if reading.text is None:
                    await self._read(reading)
                self._running = None
                await self._report(reading)
            if self._is_closed:
                return
            await self._news.wait()

    def _next(self) -> _Reading | None:
        if self._ended:
            self._has_room.set()
            return self._ended.popleft()
        reading, self._newest = self._newest, None
        return reading

    def _replace(self, newest: _Reading | None) -> None:
        """Let a reading of the present turn take the place of what has not been read yet."""
        self._newest = newest
        if self._running is not None and self._running.endpoint is None:
            self._running.scope.cancel()
        self._news.set()

    async def _read(self, reading: _Reading) -> None:
        with reading.scope:
            try:
                reading.text = await self._transcribe(reading.utterance)
            except VendorError:
                if reading.endpoint is not None:
                    raise
                if self._at_pause is reading:  # read it again when the turn is over
                    self._at_pause = None

    async def _report(self, reading: _Reading) -> None:
        if reading.text is None:
            return
        if (endpoint := reading.endpoint) is None:
            await self._report_early(reading, reading.text)
            return
        self._sent = EarlyTranscript("")
        if (late_s := anyio.current_time() - reading.endpoint_s) >= BEHIND_S:
            self._session.emit(RecogniserBehind(late_s=late_s))
        if reading.text:
            await self._outbox.send(Transcript(reading.text, endpoint.speech_ended_s, reading.endpoint_s))

    async def _report_early(self, reading: _Reading, text: str) -> None:
        is_stable = self._at_pause is reading
        if not is_stable:
            text = text.rstrip(SENTENCE_END)
        early = EarlyTranscript(text, stable=is_stable)
        if text and early != self._sent:
            self._sent = early
            await self._outbox.send(early)


class _Reading:
    """An utterance, and its words once it has been read.

    Attributes:
        utterance: The audio.
        text: Its words; None until they are there.
        endpoint: The end of the turn that it is about, once it is over.
        endpoint_s: When that was decided.
        scope: Cancelled when nobody needs the words any more.
    """

    def __init__(self, utterance: Utterance) -> None:
        self.utterance = utterance
        self.text: str | None = None
        self.endpoint: Endpoint | None = None
        self.endpoint_s = 0.0
        self.scope = anyio.CancelScope()
