"""One session with the simulated STT service, from `Begin` to its end.

Rule 1: a client's messages are judged when they arrive; messages to it wait in one queue until they are due, in order.
Rule 2: every session ends in one place, `_say_goodbye`, and only once.
"""

from __future__ import annotations

import json
import math
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from uuid import NAMESPACE_URL, uuid5

import anyio

from voicepipe.testing.simulators._stt_faults import Closes, Drops, Fault, Rejects, Stalls, TurnsDeaf
from voicepipe.testing.simulators._stt_parameters import Parameters, Refusal, changed_parameters
from voicepipe.testing.simulators._stt_record import SentControl
from voicepipe.testing.simulators._websocket import ClientGone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from voicepipe.testing.simulators._stt_record import STTSession
    from voicepipe.testing.simulators._stt_turns import Message, Quirks
    from voicepipe.testing.simulators._websocket import ServerSocket

__all__ = ["Ear", "Rules", "Session", "Timing"]

FRAME_S: Final = (0.05, 1.0)
"""How long a frame of audio may be."""

MAX_SHORT_FRAMES: Final = 49
"""How many shorter frames the service was seen to accept."""

HEARTBEAT_S: Final = 5.0
EPOCH_S: Final = 4_102_444_800
"""The loop's zero as a date: the year 2100, so that no client believes that a session has expired."""

ROUNDING_S: Final = 1e-6
"""Virtual time counts microseconds, so a timer may be this early."""

ERROR_REASON: Final = "See Error message for details"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long the service takes, in seconds.

    Attributes:
        begin_s: From the handshake to `Begin`.
        final_s: From the end of a turn to its final message.
        force_s: From `ForceEndpoint` to the final message.
        terminate_s: From `Terminate` to `Termination`.
        speed: How many seconds of audio are heard in a second: a burst of audio is heard later. A third party measured
            about 1; `math.inf` hears everything at once.
    """

    begin_s: float = 0.0
    final_s: float = 0.35
    force_s: float = 0.27
    terminate_s: float = 0.55
    speed: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings of a simulator that all of its sessions share; see `STTSimulator`."""

    timing: Timing
    quirks: Quirks
    max_session_s: float
    max_lead_s: float
    record: bool
    record_audio: bool


class Ear(Protocol):
    """Hears audio, and returns the messages about it."""

    @property
    def spoke_until_s(self) -> float:
        """When the newest speech ends, on the audio clock; 0 before there was any."""
        ...

    async def hear(self, pcm: bytes, until_s: float, parameters: Parameters) -> list[Message]:
        """Hear audio that ends at `until_s`, and return the messages about it."""
        ...

    async def end_turn(self) -> list[Message]:
        """End the turn with what was heard so far; return the messages about it, if anything was said."""
        ...


class _Over(Exception):  # noqa: N818 - names what happened
    """The session is over.

    Attributes:
        how: How it ends; None when the client has gone.
    """

    def __init__(self, how: Fault | None) -> None:
        super().__init__(how)
        self.how = how


class Session:
    """One session.

    Args:
        socket: The client, its handshake accepted.
        record: The record of it; `parameters` is set.
        rules: The settings that all sessions share.
        fault: How it goes wrong.
    """

    def __init__(self, socket: ServerSocket, record: STTSession, rules: Rules, fault: Fault | None) -> None:
        self._socket = socket
        self._record = record
        self._rules = rules
        self._fault = fault
        self._queue: deque[tuple[float, Message | Closes]] = deque()
        self._queued = anyio.Event()
        self._heard_s = 0.0  # when all audio so far has been heard, on the loop's clock
        self._silent_until_s = 0.0
        self._last_message_s = self._started_s = anyio.current_time()
        self._short_frames = 0
        self._beat_audio_s = 0.0
        self._how: Fault | None = None
        self._parameters: Parameters

    @property
    def parameters(self) -> Parameters:
        """The present configuration; set before the session runs."""
        return self._parameters

    @parameters.setter
    def parameters(self, parameters: Parameters) -> None:
        self._parameters = self._record.parameters = parameters

    async def refuse(self, refusal: Refusal) -> None:
        """End the session before it begins."""
        self._how = _how(refusal)
        with suppress(ClientGone):
            await self._say_goodbye()

    def say(self, messages: Iterable[Message], *, delay_s: float = 0.0) -> None:
        """Send messages, now or when the audio so far has been heard, and always after earlier messages."""
        due_s = max(anyio.current_time(), self._heard_s) + delay_s
        for message in messages:
            self._put(due_s, message)
            if self._rules.quirks.unknown_messages and message["type"] == "Turn":
                self._put(due_s, {"type": "SomethingNew", "turn_order": message["turn_order"]})

    async def run(self, ear: Ear, *background: Callable[[], Awaitable[None]]) -> None:
        """Hold the session to its end.

        Args:
            ear: Hears the audio.
            background: Functions that run while the session lasts.

        Raises:
            Exception: An error of the ear or the background; the client received code 3005.
        """
        failure: Exception | None = None

        async def guarded(work: Callable[[], Awaitable[None]]) -> None:
            nonlocal failure
            try:
                await work()
            except (_Over, Refusal, ClientGone) as over:
                self._how = _how(over)
                group.cancel_scope.cancel()
            except Exception as error:  # noqa: BLE001 - raised below, after the message to the client
                failure = error
                self._how = Closes(3005, error="Server error, session cancelled")
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for work in (self._deliver, lambda: self._keep_time(ear), lambda: self._listen(ear), *background):
                group.start_soon(guarded, work)
        await self._say_goodbye()
        if failure is not None:
            raise failure

    # --- from the client ----------------------------------------------------------------------------------------------

    async def _listen(self, ear: Ear) -> None:
        self._begin()
        while True:
            message = await self._socket.receive()
            self._last_message_s = anyio.current_time()
            if self._record.was_terminated:
                continue
            if isinstance(message, bytes):
                await self._take_audio(message, ear)
            else:
                await self._take_control(_parsed(message), ear)

    def _begin(self) -> None:
        if isinstance(self._fault, Stalls) and self._fault.at_s is None:
            self._silent_until_s = self._started_s + self._fault.for_s
        elif self._fault is not None and not isinstance(self._fault, Rejects) and self._fault.at_s is None:
            raise _Over(self._fault)
        asked = self.parameters
        configuration = {
            "model": asked.speech_model,
            "mode": asked.mode,
            "api_version": self._record.headers.get("assemblyai-version", "2025-05-12"),
            "speaker_labels": asked.speaker_labels,
            "redact_pii": asked.redact_pii,
            "filter_profanity": asked.filter_profanity,
            "domain": asked.domain,
            "voice_focus": asked.voice_focus,
        }
        begin: Message = {
            "type": "Begin",
            "id": str(uuid5(NAMESPACE_URL, f"voicepipe/session/{self._record.number}")),
            "expires_at": int(EPOCH_S + self._started_s + self._rules.max_session_s),
            "configuration": configuration,
        }
        warning: Message = {"type": "Warning", "warning_code": 3101, "warning": "This session is a simulated one."}
        self.say([begin, warning] if self._rules.quirks.warning else [begin], delay_s=self._rules.timing.begin_s)

    async def _take_audio(self, pcm: bytes, ear: Ear) -> None:
        record, now = self._record, anyio.current_time()
        record.first_frame = record.first_frame or pcm
        record.audio_bytes += len(pcm)
        record.frames[len(pcm)] += 1
        if self._rules.record_audio:
            record.audio += pcm
        duration_s = len(pcm) / self.parameters.bytes_per_s
        self._check_frame(duration_s)
        if record.audio_s - (now - self._started_s) > self._rules.max_lead_s:
            raise Refusal(3007, "Audio Transmission Rate Exceeded")
        self._heard_s = max(now, self._heard_s + duration_s / self._rules.timing.speed)
        for message in await ear.hear(pcm, record.audio_s, self.parameters):
            self.say([message], delay_s=self._rules.timing.final_s if message.get("end_of_turn") else 0.0)
        self._fail_when_due()

    def _check_frame(self, duration_s: float) -> None:
        shortest_s, longest_s = FRAME_S
        problem = f"Audio chunk duration {duration_s * 1e3:.0f} ms is not within 50 to 1000 ms"
        if duration_s > longest_s:
            raise Refusal(3007, problem)
        shortest = int(shortest_s * self.parameters.sample_rate) / self.parameters.sample_rate
        if duration_s < shortest:
            self._short_frames += 1
            if self._short_frames > MAX_SHORT_FRAMES:
                raise Refusal(3007, problem)

    def _fail_when_due(self) -> None:
        fault = self._fault
        if fault is None or isinstance(fault, Rejects) or fault.at_s is None or self._record.audio_s < fault.at_s:
            return
        if isinstance(fault, Stalls):
            self._silent_until_s = anyio.current_time() + fault.for_s
            self._fault = None
        else:
            raise _Over(fault)

    async def _take_control(self, message: Message, ear: Ear) -> None:
        now = anyio.current_time()
        if self._rules.record:
            self._record.controls.append(SentControl(now, self._record.audio_s, message))
        match message["type"]:
            case "UpdateConfiguration":
                self.parameters = changed_parameters(self.parameters, message)
            case "ForceEndpoint":
                self.say(await ear.end_turn(), delay_s=self._rules.timing.force_s)
            case "KeepAlive":
                pass
            case "Terminate":
                self._record.was_terminated = True
                termination: Message = {
                    "type": "Termination",
                    "audio_duration_seconds": int(self._record.audio_s),
                    "session_duration_seconds": int(now - self._started_s),
                }
                self.say([*await ear.end_turn(), termination], delay_s=self._rules.timing.terminate_s)
                self._put(0.0, Closes(1000, reason="Session Ended"))
            case _:
                raise Refusal(3006, "Invalid message type")

    # --- to the client ------------------------------------------------------------------------------------------------

    def _put(self, due_s: float, item: Message | Closes) -> None:
        self._queue.append((due_s, item))
        self._queued.set()

    async def _deliver(self) -> None:
        """Send messages when they are due."""
        while True:
            while not self._queue:
                self._queued = anyio.Event()
                await self._queued.wait()
            due_s, item = self._queue[0]
            due_s = max(due_s, self._silent_until_s)
            if due_s > anyio.current_time() + ROUNDING_S:
                await _sleep_until(due_s)
                continue  # the service may have stalled meanwhile
            self._queue.popleft()
            if isinstance(item, Closes):
                raise _Over(item)
            await self._send(item)
            if item["type"] == "Begin":
                self._record.begin_s = anyio.current_time()
                self._fail_when_due()

    async def _send(self, message: Message) -> None:
        if self._rules.quirks.extra_fields:
            message = message | {"something_new": {"is_it": True}}
        await self._socket.send(json.dumps(message))
        if self._rules.record:
            self._record.sent.append((anyio.current_time(), message))

    async def _keep_time(self, ear: Ear) -> None:
        """Send heartbeats, and end the session when it is too old or no message comes."""
        beat_s = self._started_s + HEARTBEAT_S
        while True:
            expiry_s = self._started_s + self._rules.max_session_s
            patience_s = self.parameters.inactivity_timeout
            idle_s = self._last_message_s + patience_s if patience_s is not None else math.inf
            await anyio.sleep_until(min(expiry_s, idle_s, beat_s))
            now = anyio.current_time() + ROUNDING_S
            if now >= expiry_s:
                raise Refusal(3008, "Session expired: maximum session duration exceeded")
            if patience_s is not None and now >= self._last_message_s + patience_s:
                raise Refusal(3006, f"No messages received for {patience_s} seconds")
            if now >= beat_s:
                beat_s += HEARTBEAT_S
                if self.parameters.session_heartbeat:
                    self._put(now, self._heartbeat(ear, now))

    def _heartbeat(self, ear: Ear, now: float) -> Message:
        audio_s, open_s = self._record.audio_s, now - self._started_s
        since_s, self._beat_audio_s = self._beat_audio_s, audio_s
        return {
            "type": "Heartbeat",
            "total_audio_received_ms": round(audio_s * 1e3),
            "total_duration_ms": round(open_s * 1e3),
            "realtime_factor": round(audio_s / open_s, 3),
            "max_speech_probability": 0.97 if ear.spoke_until_s > since_s else 0.02,
        }

    async def _say_goodbye(self) -> None:
        match self._how:
            case Closes(code=code, reason=reason, error=error):
                if error:
                    await self._send_error(code, error)
                await self._socket.close(code, reason)
            case Drops():
                self._socket.reset()
            case TurnsDeaf():
                await anyio.sleep_forever()
            case None:
                self._record.closed_by_client = True
            case _:  # the simulator closes the connection
                pass

    async def _send_error(self, code: int, error: str) -> None:
        self._record.error = error
        message: Message = {"type": "Error", "error_code": code, "error": error}
        with suppress(ClientGone):
            await self._send(message)


def _how(over: Exception) -> Fault | None:
    match over:
        case _Over(how=how):
            return how
        case Refusal():
            return Closes(over.code, reason=ERROR_REASON, error=str(over))
        case _:
            return None


def _parsed(text: str) -> Message:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refusal(3006, "Invalid JSON") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise Refusal(3006, "Invalid message: a JSON object with a type was expected")
    return message


async def _sleep_until(due_s: float) -> None:
    if due_s == math.inf:
        await anyio.sleep_forever()
    await anyio.sleep_until(due_s)
