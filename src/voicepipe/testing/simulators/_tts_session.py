"""One client's session with the simulated text-to-speech service, and its record.

Rule 1: messages are read as they come; a task of its own speaks the requests in order.
"""

from __future__ import annotations

import base64
import json
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import anyio
import anyio.abc
from websockets.exceptions import ConnectionClosed

from voicepipe.errors import VoicepipeError
from voicepipe.testing.simulators._tts_rules import (
    Ended,
    Intake,
    Settings,
    TimedWord,
    parse_message,
    parse_query,
    timed_words,
)

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

    from voicepipe.testing.simulators._tts_rules import TTSService

__all__ = ["CLOSE_S", "FRAME_S", "RecordedSpeech", "RecordedTTSSession", "Session", "TTSFault"]

FRAME_S: Final = 0.08
"""Length of an `Audio` message."""

CLOSE_S: Final = 1.0
"""How long a client may take to read an error, and to answer a close frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TTSFault:
    """How a session goes wrong.

    Attributes:
        how: "error" sends an `Error` frame and closes, "close" only closes, "cut" breaks the connection without a close
            frame, "stall" keeps it and sends nothing more.
        code: The close code.
        after_frames: Audio frames that come before it; 0 is instead of `Begin`.
    """

    how: Literal["error", "close", "cut", "stall"] = "error"
    code: int = 1011
    after_frames: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class RecordedSpeech:
    """A request that the service has begun to speak.

    Attributes:
        flush_id: Counts the requests of a session, from 0; a `Cancel` takes a number too.
        text: The text, as far as it was taken up.
        audio_s: Seconds of audio that were sent.
        outcome: "waiting" until it is "done" or "cancelled".
    """

    flush_id: int
    text: str = ""
    audio_s: float = 0.0
    outcome: Literal["waiting", "done", "cancelled"] = "waiting"


@dataclass(slots=True, kw_only=True, eq=False)
class RecordedTTSSession:
    """What a client did. Times are on the loop's clock.

    Attributes:
        number: Counts the sessions of a simulator, from 1.
        query: The connection's parameters; a token is replaced by "***".
        began_s: When the connection was made.
        messages: Each valid message with its time.
        speeches: The requests in order.
        frames: Audio frames sent.
        ended_s: When it was over.
        close_code: The first close code of either side; 1006 when the connection broke.
        error: The text of the `Error` frame; "" when there was none.
        was_terminated: Whether the client sent `Terminate`.
    """

    number: int
    query: dict[str, str]
    began_s: float
    messages: list[tuple[float, dict[str, Any]]] = field(default_factory=list[tuple[float, dict[str, Any]]])
    speeches: list[RecordedSpeech] = field(default_factory=list[RecordedSpeech])
    frames: int = 0
    ended_s: float | None = None
    close_code: int | None = None
    error: str = ""
    was_terminated: bool = False
    _ended: anyio.Event = field(default_factory=anyio.Event, repr=False)

    async def wait_ended(self) -> None:
        """Wait until the session is over."""
        await self._ended.wait()

    def end(self, close_code: int | None) -> None:
        """Record that it is over."""
        self.ended_s = anyio.current_time()
        self.close_code = close_code or 1006
        self._ended.set()

    @property
    def kinds(self) -> list[str]:
        """The types of the messages."""
        return [message["type"] for _, message in self.messages]


@dataclass(slots=True, eq=False)
class _Speech:
    """A request while it is spoken."""

    record: RecordedSpeech
    pieces: deque[tuple[float, str]] = field(default_factory=deque[tuple[float, str]])
    is_flushed: bool = False
    ahead: deque[bytes] = field(default_factory=deque[bytes])
    words: list[TimedWord] = field(default_factory=list[TimedWord])
    made_s: float = 0.0
    start_s: float = 0.0
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class Session:
    """One client's session: messages are read as they come, and requests are spoken in order."""

    def __init__(
        self, simulator: TTSService, connection: ServerConnection, record: RecordedTTSSession, fault: TTSFault | None
    ) -> None:
        self._simulator = simulator
        self._connection = connection
        self._record = record
        self._fault = fault
        self._settings = Settings()
        self._intake = Intake(simulator.limits)
        self._speeches: deque[_Speech] = deque()
        self._next_id = 0
        self._changed = anyio.Event()
        self._reading = anyio.CancelScope()
        self._sent_s = 0.0
        self._next_frame_s = 0.0
        self._is_stalled = False
        self._ended: Ended | None = None
        self._group: anyio.abc.TaskGroup

    async def run(self, key: str, query: str) -> None:
        """Hold the session until it ends."""
        try:
            self._simulator.admit(key)
            self._settings = parse_query(query)
            await self._check_fault()
            await self._begin()
            async with anyio.create_task_group() as self._group:
                self._group.start_soon(self._speak)
                await self._read()
                self._group.cancel_scope.cancel()
        except Ended as ended:
            self._ended = ended
        except ConnectionClosed:
            return
        if self._ended is not None:
            await self._close(self._ended)

    async def _begin(self) -> None:
        limits = self._simulator.limits
        self._open_speech()
        await self._send(
            "Begin",
            id=f"tts-{self._record.number}",
            # On the loop's clock, like every time here.
            expires_at=round(self._record.began_s + limits.session_s),
            configuration=self._settings.configuration(limits),
        )
        if self._simulator.adds_unknown:
            await self._send("Notice", text="a message that is in no reference")

    async def _close(self, ended: Ended) -> None:
        self._record.error = str(ended)
        with suppress(ConnectionClosed), anyio.move_on_after(CLOSE_S) as wait:
            await self._send("Error", **ended.frame())
            await self._connection.close(ended.code, "session error")
        if wait.cancelled_caught:  # it does not read, and the library would wait for it without end
            self._connection.transport.abort()

    async def _send(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 - JSON
        """Send a message, unless the session has stalled.

        Raises:
            Ended: The client does not read.
            ConnectionClosed: It has gone.
        """
        if self._is_stalled:
            return
        unknown = {"unheard_of": {"n": 1}} if self._simulator.adds_unknown else {}
        limit_s = self._simulator.limits.write_stall_s
        with anyio.move_on_after(limit_s) as wait:
            await self._connection.send(json.dumps({"type": kind, **fields, **unknown}))
        if wait.cancelled_caught:
            raise Ended(3011, "audio_backlog", f"audio was not read for {limit_s:g} s")

    async def _check_fault(self) -> None:
        """Go wrong, if the fault is due."""
        fault = self._fault
        if fault is None or self._record.frames != fault.after_frames:
            return
        self._fault = None
        match fault.how:
            case "error":
                raise Ended(fault.code, "internal_error", f"the simulator was set to end with {fault.code}")
            case "close":
                await self._connection.close(fault.code)
            case "cut":
                self._connection.transport.abort()
                await self._connection.wait_closed()
            case "stall":
                self._is_stalled = True

    # --- from the client ---

    async def _read(self) -> None:
        """Process the client's messages until the session is over."""
        try:
            with self._reading:
                while True:
                    await self._take(parse_message(await self._next_message()))
        except Ended as ended:
            self._ended = self._ended or ended
        except ConnectionClosed:
            return

    async def _next_message(self) -> str | bytes:
        limits, patience_s = self._simulator.limits, self._settings.inactivity_s
        expires_s = self._record.began_s + limits.session_s + limits.session_grace_s
        idle_s = anyio.current_time() + patience_s
        with anyio.CancelScope(deadline=min(idle_s, expires_s)):
            return await self._connection.recv()
        if idle_s < expires_s:
            raise Ended(3006, "inactivity_timeout", f"no message came for {patience_s} s")
        raise Ended(3008, "session_expired", "the session has reached its maximum duration")

    async def _take(self, message: dict[str, Any]) -> None:
        now = anyio.current_time()
        kind = message["type"]
        if self._record.was_terminated:
            return
        self._record.messages.append((now, message))
        if kind == "Generate":
            early = self._intake.generate(message["text"], now)
            self._add_piece(early)
            return
        self._intake.control(now)
        if kind in ("Flush", "Terminate"):
            self._record.was_terminated = kind == "Terminate"
            self._add_piece(self._intake.flush())
            last = self._speeches[-1]
            if self._record.was_terminated and not (last.pieces or last.record.text):
                last.scope.cancel()  # nothing was written since the last `Flush`: it is no request
                return
            last.is_flushed = True
            self._open_speech()
        elif kind == "Cancel":
            await self._cancel()

    def _open_speech(self) -> None:
        """Begin the next request."""
        self._speeches.append(_Speech(RecordedSpeech(flush_id=self._next_id)))
        self._next_id += 1
        self._wake()

    def _add_piece(self, text: str) -> None:
        if text:
            self._speeches[-1].pieces.append((anyio.current_time(), text))
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _cancel(self) -> None:
        dropped = list(self._speeches)
        self._speeches.clear()
        self._intake.cancel()
        for speech in dropped:
            speech.record.outcome = "cancelled"
            speech.scope.cancel()
        self._open_speech()
        current = dropped[0]
        for frame in [*current.ahead][: self._simulator.late_frames]:
            await self._send_frame(current, frame)
        await anyio.sleep(self._simulator.cancel_s)
        await self._send("Cancelled", audio_duration_seconds=round(current.record.audio_s, 3))

    # --- to the client ---

    async def _speak(self) -> None:
        """Speak one request after another, and end the session after the last one."""
        try:
            while not (self._record.was_terminated and len(self._speeches) == 1):
                speech = self._speeches[0]
                with speech.scope:
                    await self._say(speech)
                if self._speeches[0] is speech and not speech.scope.cancelled_caught:
                    speech.record.outcome = "done"
                    self._speeches.popleft()
            await self._send(
                "Termination",
                session_duration_seconds=round(anyio.current_time() - self._record.began_s),
                total_input_char_length=self._intake.total_characters,
                audio_duration_seconds=round(self._sent_s, 3),
            )
            if not self._is_stalled:
                await self._connection.close(1000)
        except ConnectionClosed:
            return
        except Ended as ended:
            self._ended = ended
        except VoicepipeError as error:
            self._simulator.failures.append(error)
            self._ended = Ended(1011, "internal_error", "the simulator's voice failed")
        self._reading.cancel()

    async def _say(self, speech: _Speech) -> None:
        """Speak a request as its text comes."""
        speech.start_s = self._sent_s
        while not speech.is_flushed or speech.pieces:
            if speech.pieces:
                await self._say_piece(speech, *speech.pieces.popleft())
            else:
                await self._changed.wait()
        self._note(speech)
        length_ms = round(1000 * speech.record.audio_s)
        await self._send("FlushDone", flush_id=speech.record.flush_id, audio_duration_ms=length_ms)
        if self._settings.word_boundaries and speech.words:
            self._group.start_soon(self._send_boundaries, speech)

    async def _say_piece(self, speech: _Speech, came_s: float, text: str) -> None:
        self._note(speech)
        self._intake.spoken(text)
        speech.record.text += text
        rate = self._settings.sample_rate
        pcm, marks = await self._simulator.synthesize(text, rate)
        length_s = len(pcm) / 2 / rate
        if pcm:
            speech.words += timed_words(text, marks, start_s=speech.made_s, length_s=length_s)
        speech.made_s += length_s
        size = 2 * round(FRAME_S * rate)
        speech.ahead.extend(pcm[at : at + size] for at in range(0, len(pcm), size))
        self._next_frame_s = max(self._next_frame_s, came_s + self._simulator.first_audio_s)
        while speech.ahead:
            await anyio.sleep_until(self._next_frame_s)
            self._next_frame_s = max(self._next_frame_s, anyio.current_time()) + self._simulator.frame_pace_s
            await self._send_frame(speech, speech.ahead.popleft())

    def _note(self, speech: _Speech) -> None:
        if speech.record not in self._record.speeches:
            self._record.speeches.append(speech.record)

    async def _send_frame(self, speech: _Speech, frame: bytes) -> None:
        # Counted first: a write that is cancelled has been written all the same.
        length_s = len(frame) / 2 / self._settings.sample_rate
        speech.record.audio_s += length_s
        self._sent_s += length_s
        self._record.frames += 1
        await self._send("Audio", flush_id=speech.record.flush_id, audio=base64.b64encode(frame).decode())
        await self._check_fault()

    async def _send_boundaries(self, speech: _Speech) -> None:
        await anyio.sleep(self._simulator.boundaries_s)
        try:
            await self._send(
                "WordBoundaries",
                flush_id=speech.record.flush_id,
                audio_start_ms=round(1000 * speech.start_s),
                words=[word.wire(speech.start_s) for word in speech.words],
            )
        except (ConnectionClosed, Ended):
            return  # best effort; the speaking task sees it too
