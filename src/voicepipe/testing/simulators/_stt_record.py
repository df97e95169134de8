"""The record of a session with the STT simulator: what each side sent, and how it ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from voicepipe.testing.simulators._stt_parameters import Parameters

__all__ = ["STTSession", "SentControl"]


@dataclass(frozen=True, slots=True)
class SentControl:
    """A control message of a client.

    Attributes:
        at_s: When it came, on the loop's clock.
        audio_s: Seconds of audio that had come before it.
        message: The message.
    """

    at_s: float
    audio_s: float
    message: dict[str, Any]

    @property
    def kind(self) -> str:
        """Its type, e.g. "ForceEndpoint"."""
        return str(self.message.get("type"))


@dataclass(slots=True, kw_only=True, eq=False)
class STTSession:
    """A session, while it runs and afterwards. Times are on the loop's clock, `audio_s` is on the audio clock.

    Attributes:
        number: Counts the sessions of a simulator, from 1.
        query: The parameters as the client sent them; a token is replaced by "***".
        headers: Names in lower case; the key is replaced by "***".
        started_s: When the handshake was answered.
        parameters: The session's present configuration; None when it was refused before.
        begin_s: When `Begin` was sent.
        controls: The client's control messages, in order.
        audio_bytes: How much audio came.
        first_frame: The first audio that came.
        frames: How many frames came of each length in bytes.
        audio: All audio, when the simulator keeps it.
        sent: The messages to the client, with their times.
        was_terminated: Whether the client sent `Terminate`.
        error: The text of the last `Error` message; "" for none.
        close: Code and reason of the first close frame; None when there was none.
        closed_by_client: Whether the client ended the connection, with or without a close frame.
        ended_s: When the connection was over.
    """

    number: int
    query: dict[str, str]
    headers: dict[str, str]
    started_s: float
    parameters: Parameters | None = None
    begin_s: float | None = None
    controls: list[SentControl] = field(default_factory=list)
    audio_bytes: int = 0
    first_frame: bytes = field(default=b"", repr=False)
    frames: Counter[int] = field(default_factory=Counter[int])
    audio: bytearray = field(default_factory=bytearray, repr=False)
    sent: list[tuple[float, dict[str, Any]]] = field(default_factory=list, repr=False)
    was_terminated: bool = False
    error: str = ""
    close: tuple[int, str] | None = None
    closed_by_client: bool = False
    ended_s: float | None = None
    _ended: anyio.Event = field(default_factory=anyio.Event, repr=False)

    @property
    def audio_s(self) -> float:
        """Seconds of audio that came."""
        return self.audio_bytes / self.parameters.bytes_per_s if self.parameters else 0.0

    @property
    def finals(self) -> list[str]:
        """The transcripts of the turns that have ended."""
        return [message["transcript"] for _, message in self.sent if message.get("end_of_turn")]

    async def wait_ended(self) -> None:
        """Wait until `ended_s` is set."""
        await self._ended.wait()

    def _end(self) -> None:
        self.ended_s = anyio.current_time()
        self._ended.set()
