"""One session with the simulated Deepgram, from the handshake to its end.

Rule 1: a client's messages are judged when they arrive; messages to it wait in one queue until they are due, in order.
Rule 2: every session ends in one place, `_say_goodbye`, and only once.
"""

from __future__ import annotations

import json
import math
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from uuid import NAMESPACE_URL, uuid5

import anyio

from voicepipe.testing.simulators._deepgram_ears import DeepgramQuirks, ear_for
from voicepipe.testing.simulators._deepgram_hosted import HostedEar
from voicepipe.testing.simulators._deepgram_rules import BadRequest, changed
from voicepipe.testing.simulators._stt_faults import Closes, Drops, Fault, Rejects, Stalls, TurnsDeaf
from voicepipe.testing.simulators._stt_record import SentControl
from voicepipe.testing.simulators._websocket import ClientGone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from voicepipe.session.pipeline import Host
    from voicepipe.testing.simulators._deepgram_ears import DeepgramEar
    from voicepipe.testing.simulators._deepgram_rules import Asked
    from voicepipe.testing.simulators._stt_turns import Message, Spoken
    from voicepipe.testing.simulators._websocket import ServerSocket

__all__ = ["DeepgramRules", "DeepgramSession", "DeepgramTiming", "Serving"]

NO_AUDIO: Final = (
    "Deepgram did not receive audio data or a text message within the timeout window. See https://dpgr.am/net0001"
)

ROUNDING_S: Final = 1e-6
"""Virtual time counts microseconds, so a timer may be this early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepgramTiming:
    """How long the service takes, in seconds.

    Attributes:
        begin_s: From the handshake to `Connected`, of Flux.
        result_s: From the audio to the messages about it.
        close_s: From `CloseStream` to the end.
        speed: How many seconds of audio are heard in a second: a burst of audio is heard later.
    """

    begin_s: float = 0.0
    result_s: float = 0.15
    close_s: float = 0.2
    speed: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepgramRules:
    """The settings of a simulator that all of its sessions share; see `DeepgramSimulator`."""

    timing: DeepgramTiming
    quirks: DeepgramQuirks
    patience_s: float
    record: bool
    record_audio: bool


@dataclass(slots=True, kw_only=True, eq=False)
class DeepgramSession:
    """A session, while it runs and afterwards. Times are on the loop's clock, `audio_s` is on the audio clock.

    Attributes:
        number: Counts the sessions of a simulator, from 1.
        path: "/v1/listen" or "/v2/listen".
        query: The parameters as the client sent them; the last of those of the same name.
        headers: Names in lower case; the key is replaced by "***".
        started_s: When the handshake was answered.
        asked: The present settings.
        controls: The client's control messages, in order.
        audio_bytes: How much audio came.
        first_frame: The first audio that came.
        frames: How many messages of audio came of each length in bytes.
        audio: All audio, when the simulator keeps it.
        sent: The messages to the client, with their times.
        close: Code and reason of the first close frame; None when there was none.
        ended_s: When the connection was over.
    """

    number: int
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    started_s: float
    asked: Asked
    controls: list[SentControl] = field(default_factory=list[SentControl])
    audio_bytes: int = 0
    first_frame: bytes = field(default=b"", repr=False)
    frames: Counter[int] = field(default_factory=Counter[int])
    audio: bytearray = field(default_factory=bytearray, repr=False)
    sent: list[tuple[float, Message]] = field(default_factory=list, repr=False)
    close: tuple[int, str] | None = None
    ended_s: float | None = None

    @property
    def audio_s(self) -> float:
        """Seconds of audio that came."""
        return self.audio_bytes / self.asked.bytes_per_s

    @property
    def kinds(self) -> list[str]:
        """The types of the client's control messages."""
        return [control.kind for control in self.controls]

    @property
    def events(self) -> list[str]:
        """The events of Flux, and the types of other messages, without `Update`."""
        names = [str(message.get("event") or message["type"]) for _, message in self.sent]
        return [name for name in names if name != "Update"]


class _Over(Exception):  # noqa: N818 - names what happened
    """The session is over.

    Attributes:
        how: How it ends; None when the client has gone.
    """

    def __init__(self, how: Fault | _Shut | None) -> None:
        super().__init__(how)
        self.how = how


@dataclass(frozen=True, slots=True)
class _Shut:
    """The session ends as the client wished, with a close frame of this code, or without a code."""

    code: int | None


class Serving:
    """Serves one session.

    Args:
        socket: The client, its handshake accepted.
        record: The record of it.
        rules: The settings that all sessions share.
        fault: How it goes wrong.
        script: Called when the first audio comes, or none will.
        host: A recogniser that hears the audio instead, and its rate.
    """

    def __init__(
        self,
        socket: ServerSocket,
        record: DeepgramSession,
        rules: DeepgramRules,
        fault: Fault | None,
        script: Callable[[], Iterable[Spoken]],
        host: tuple[Host, int] | None = None,
    ) -> None:
        self._socket = socket
        self._record = record
        self._rules = rules
        self._fault = fault
        self._script = script
        self._hosted = HostedEar(*host, record.asked, self._say) if host is not None else None
        self._made: DeepgramEar | None = self._hosted
        self._queue: deque[tuple[float, Message | _Shut]] = deque()
        self._queued = anyio.Event()
        self._heard_s = 0.0  # when all audio so far has been heard, on the loop's clock
        self._silent_until_s = 0.0
        self._alive_s = self._started_s = anyio.current_time()
        self._is_closing = False
        self._request_id = str(uuid5(NAMESPACE_URL, f"voicepipe/deepgram/{record.number}"))
        self._sequence = 0
        self._how: Fault | _Shut | None = None

    @property
    def _ear(self) -> DeepgramEar:
        if self._made is None:
            self._made = ear_for(self._script(), self._record.asked, self._rules.quirks)
        return self._made

    async def run(self) -> None:
        """Hold the session to its end.

        Raises:
            Exception: An error of the script; the client received code 1011.
        """
        failure: Exception | None = None

        async def guarded(work: Callable[[], Awaitable[None]]) -> None:
            nonlocal failure
            try:
                await work()
            except _Over as over:
                self._how = over.how
            except ClientGone:
                self._how = None
            except Exception as error:  # noqa: BLE001 - raised below, after the message to the client
                failure = error
                self._how = Closes(1011, reason="Internal server error")
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            background = (self._hosted.run,) if self._hosted is not None else ()
            for work in (self._deliver, self._keep_time, self._listen, *background):
                group.start_soon(guarded, work)
        await self._say_goodbye()
        if failure is not None:
            raise failure

    # --- from the client ----------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        self._begin()
        while True:
            message = await self._socket.receive()
            if self._is_closing:
                continue
            if isinstance(message, str):
                await self._take_control(message)
            elif message:
                await self._take_audio(message)
            else:
                await self._close()  # an empty message ends the audio

    def _begin(self) -> None:
        fault = self._fault
        if isinstance(fault, Stalls) and fault.at_s is None:
            self._silent_until_s = self._started_s + fault.for_s
        elif fault is not None and not isinstance(fault, Rejects) and not fault.at_s:
            raise _Over(fault)
        if self._record.asked.is_flux:
            self._say([{"type": "Connected"}], delay_s=self._rules.timing.begin_s)

    async def _take_audio(self, pcm: bytes) -> None:
        record, now = self._record, anyio.current_time()
        record.first_frame = record.first_frame or pcm
        record.audio_bytes += len(pcm)
        record.frames[len(pcm)] += 1
        if self._rules.record_audio:
            record.audio += pcm
        self._alive_s = now
        duration_s = len(pcm) / record.asked.bytes_per_s
        self._heard_s = max(now, self._heard_s + duration_s / self._rules.timing.speed)
        self._say(await self._ear.hear(pcm, record.audio_s), delay_s=self._rules.timing.result_s)
        fault = self._fault
        if fault is None or isinstance(fault, Rejects) or fault.at_s is None or record.audio_s < fault.at_s:
            return
        if not isinstance(fault, Stalls):
            raise _Over(fault)
        self._silent_until_s, self._fault = now + fault.for_s, None

    async def _take_control(self, text: str) -> None:
        now, is_flux = anyio.current_time(), self._record.asked.is_flux
        try:
            message = json.loads(text)
            kind = message["type"]
        except (ValueError, RecursionError, TypeError, KeyError):
            message, kind = {"type": text}, ""
        if self._rules.record:
            self._record.controls.append(SentControl(now, self._record.audio_s, message))
        self._alive_s = self._alive_s if is_flux else now  # of Flux, only audio counts
        if kind == "CloseStream":
            await self._close()
        elif kind == "Configure":
            self._say([self._configured(message)])
        elif (kind == "Finalize" and not is_flux) or (kind == "ForceEndTurn" and is_flux):
            self._say(await self._ear.force(), delay_s=self._rules.timing.result_s)
        elif kind == "KeepAlive" and not is_flux:
            pass
        elif is_flux:
            said = "The message is not one that this endpoint knows."
            self._put(now, {"type": "Error", "code": "UNPARSABLE_CLIENT_MESSAGE", "description": said})
            self._put(now, _Shut(None))
        else:
            said = "Could not deserialize last text message."
            self._put(now, {"type": "Error", "variant": "SchemaError", "description": said, "message": text})

    def _configured(self, message: Message) -> Message:
        try:
            self._record.asked = self._ear.asked = changed(self._record.asked, message)
        except BadRequest as refusal:
            return {"type": "ConfigureFailure", "code": str(refusal), "description": "Nothing was changed."}
        asked = self._record.asked
        answer: Message = {"type": "ConfigureSuccess", "keyterms": list(asked.keyterms)}
        if asked.is_flux:
            answer["thresholds"] = {
                "eot_threshold": asked.eot_threshold,
                "eot_timeout_ms": round(asked.eot_timeout_s * 1000),
                "eager_eot_threshold": asked.eager_eot_threshold,
            }
        return answer

    async def _close(self) -> None:
        self._is_closing = True
        last = await self._ear.close()
        if not self._record.asked.is_flux:
            last.append(
                {
                    "type": "Metadata",
                    "transaction_key": "deprecated",
                    "sha256": "0" * 64,
                    "created": "2100-01-01T00:00:00.000Z",
                    "duration": self._record.audio_s,
                    "channels": 1,
                }
            )
        self._say(last, delay_s=self._rules.timing.close_s)
        ended_s = max(anyio.current_time(), self._heard_s) + self._rules.timing.close_s
        self._put(ended_s, _Shut(None if self._record.asked.is_flux else 1000))

    # --- to the client ------------------------------------------------------------------------------------------------

    def _say(self, messages: Iterable[Message], *, delay_s: float = 0.0) -> None:
        """Send messages, now or when the audio so far has been heard, and always after earlier messages."""
        due_s = max(anyio.current_time(), self._heard_s) + delay_s
        for message in messages:
            self._put(due_s, message)
            if self._rules.quirks.unknown_messages:
                self._put(due_s, {"type": "SomethingNew", "is_it": True})

    def _put(self, due_s: float, item: Message | _Shut) -> None:
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
                await (anyio.sleep_forever() if due_s == math.inf else anyio.sleep_until(due_s))
                continue  # the service may have stalled meanwhile
            self._queue.popleft()
            if isinstance(item, _Shut):
                raise _Over(item)
            await self._send(item)

    async def _send(self, message: Message) -> None:
        message = {**message}
        if message["type"] == "Results":
            message["metadata"] = {"request_id": self._request_id, **message["metadata"], "model_uuid": "simulated"}
        elif message["type"] not in ("SpeechStarted", "UtteranceEnd"):
            message["request_id"] = self._request_id
        if self._record.asked.is_flux:
            message["sequence_id"], self._sequence = self._sequence, self._sequence + 1
        await self._socket.send(json.dumps(message))
        if self._rules.record:
            self._record.sent.append((anyio.current_time(), message))

    async def _keep_time(self) -> None:
        """End the session when nothing comes."""
        while (due_s := self._alive_s + self._rules.patience_s) > anyio.current_time() + ROUNDING_S:  # noqa: ASYNC110
            await anyio.sleep_until(due_s)
        raise _Over(Closes(1011, reason=NO_AUDIO))

    async def _say_goodbye(self) -> None:
        match self._how:
            case Closes(code=code, reason=reason, error=error):
                if error:
                    with suppress(ClientGone):
                        await self._send({"type": "Error", "code": error, "description": error})
                await self._socket.close(code, reason)
            case _Shut(code=code):
                await self._socket.close(code)
            case Drops():
                self._socket.reset()
            case TurnsDeaf():
                await anyio.sleep_forever()
            case _:  # the client has gone, or the simulator hangs up
                pass
