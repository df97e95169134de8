"""An Asterisk that calls a server of yours over AudioSocket, with a caller whom you script.

    async with AudioSocketSimulator("127.0.0.1", 9092).call(speech="question.wav") as call:
        await call.wait_speaking()

Rule 1: it is honest. It plays what it gets in order and at the pace of speech, reports nothing and clears nothing, and
        ends the call at a message that Asterisk does not know.
Rule 2: its only clock is the event loop's and it needs no thread, so it also runs on virtual time.

Source: Asterisk's page "AudioSocket" and its `res_audiosocket.c`, read in November 2026. No Asterisk was called.
"""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import anyio
import anyio.abc

from voicepipe.core.failures import single_error
from voicepipe.errors import ConfigurationError
from voicepipe.testing.simulators._caller import CallEnded, PhoneCall

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from anyio.abc import TaskStatus

__all__ = ["AudioSocketCall", "AudioSocketSimulator", "CallEnded"]

KINDS: Final = {
    8_000: 0x10,
    12_000: 0x11,
    16_000: 0x12,
    24_000: 0x13,
    32_000: 0x14,
    44_100: 0x15,
    48_000: 0x16,
    96_000: 0x17,
    192_000: 0x18,
}
HANG_UP, NAME, KEY, ERROR = 0x00, 0x01, 0x03, 0xFF


class AudioSocketSimulator:
    """An Asterisk whose dial plan answers and then has AudioSocket(uuid,host:port).

    Args:
        host: Where the server listens.
        port: Its port.
        sample_rate: Samples per second of the call's audio. An Asterisk before 22.7 knows 8000 only.
        says_when_it_hangs_up: Whether the end of a call is a message, or only the end of the connection.
    """

    def __init__(self, host: str, port: int, *, sample_rate: int = 8_000, says_when_it_hangs_up: bool = True) -> None:
        if sample_rate not in KINDS:
            raise ConfigurationError(f"AudioSocket has the rates {', '.join(map(str, KINDS))}, not {sample_rate}")
        self.host = host
        self.port = port
        self.sample_rate = sample_rate
        self.says_when_it_hangs_up = says_when_it_hangs_up

    @asynccontextmanager
    async def call(
        self,
        name: str | uuid.UUID | None = None,
        *,
        speech: bytes | str | Path = b"",
        gaps: Sequence[tuple[float, float]] = (),
    ) -> AsyncGenerator[AudioSocketCall]:
        """Call the server while the block runs, and yield the call. Leaving the block hangs up.

        Args:
            name: The call's UUID, with which the server looks it up; made if None.
            speech: What the caller says first: 16-bit PCM at the simulator's rate, or a WAV file.
            gaps: When the caller's audio is held back, and for how long, in seconds since the call began. What was held
                back arrives at once.

        Raises:
            AudioError: The WAV file cannot be used.
            OSError: No server listens there.
        """
        own = name if isinstance(name, uuid.UUID) else uuid.UUID(name) if name else uuid.uuid4()
        async with await anyio.connect_tcp(self.host, self.port) as stream:
            call = AudioSocketCall(self, stream, own, speech, gaps)
            with single_error():
                async with anyio.create_task_group() as tasks:
                    await tasks.start(call._run)  # its name is sent before anything else
                    try:
                        yield call
                    finally:
                        with anyio.CancelScope(shield=True):
                            await call.hang_up()
                        tasks.cancel_scope.cancel()

    def __repr__(self) -> str:
        """Show which server is called."""
        return f"<AudioSocketSimulator {self.host}:{self.port} {self.sample_rate} Hz>"


class AudioSocketCall(PhoneCall):
    """A call from the simulated Asterisk. See `PhoneCall` for what caller and test do with it.

    Attributes:
        uuid: The call's name.
        closed_by: Who ended it: "server", "caller" or "network"; "" while it lasts.
        early_s: How far the server was ahead of the pace of speech at most, in seconds.
    """

    def __init__(
        self,
        network: AudioSocketSimulator,
        stream: anyio.abc.SocketStream,
        name: uuid.UUID,
        speech: bytes | str | Path,
        gaps: Sequence[tuple[float, float]],
    ) -> None:
        super().__init__(network.sample_rate, speech, gaps)
        self.uuid = str(name)
        self.closed_by = ""
        self.early_s = 0.0
        self._name = name
        self._kind = KINDS[network.sample_rate]
        self._says_so = network.says_when_it_hangs_up
        self._stream = stream
        self._sending = anyio.Lock()  # two tasks of a call may send

    async def press(self, keys: str) -> None:
        """Press keys, one after another. See `PhoneCall.press`."""
        for key in keys:
            await self._send(KEY, key.encode("latin-1"))

    async def hang_up(self) -> None:
        """End the call. Does nothing once it has ended."""
        if self._ended.is_set():
            return
        self.closed_by = self.closed_by or "caller"
        if self._says_so:
            await self._send(HANG_UP)
        await self._stream.aclose()
        await self.wait_ended()

    async def _run(self, *, task_status: TaskStatus[None]) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._receive, tasks.cancel_scope)
                await self._send(NAME, self._name.bytes)
                task_status.started()
                await self._talk()
        finally:
            self.closed_by = self.closed_by or "server"
            self._end()

    async def _send(self, kind: int, payload: bytes = b"") -> None:
        async with self._sending:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # `_receive` notices
                await self._stream.send(bytes([kind]) + len(payload).to_bytes(2, "big") + payload)

    async def _send_audio(self, pcm: bytes) -> None:
        await self._send(self._kind, pcm)

    async def _receive(self, call: anyio.CancelScope) -> None:
        received = bytearray()
        try:
            while not self._has_ended_with(received):
                received += await self._stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        call.cancel()

    def _has_ended_with(self, received: bytearray) -> bool:
        """Take the whole messages out of what was received, and return whether one of them ends the call."""
        while len(received) >= 3 and len(received) >= (size := 3 + int.from_bytes(received[1:3], "big")):
            kind, payload = received[0], bytes(received[3:size])
            del received[:size]
            if kind == HANG_UP:
                return True
            if kind != self._kind or not payload or len(payload) % 2:
                self.errors.append((kind, f"Asterisk does not take a message of kind {kind:#04x} with this content"))
                self.closed_by = "network"
                return True
            self.early_s = max(self.early_s, self._earpiece.until_s - anyio.current_time())
            self._play(payload)
        return False

    def __repr__(self) -> str:
        """Show which call it is."""
        return f"<AudioSocketCall {self.uuid}>"
