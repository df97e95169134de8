"""A server that is a process of this machine, which reads messages from its stdin and writes them to its stdout.

Everything above the pipes is the SDK's. Its own transport for processes is not used, for three reasons, read in its
version 2.3: it takes up to 6.5 s to end a process that does not go by itself, and a host has one second; it reads a
line of any length; and its process writes to our stderr.

Rule 1: the process does not outlive its connection: it and what it has started are killed after a grace period.
Rule 2: what it says is of limited size: an answer that is too long fails alone, and stderr goes to the log in part.
Rule 3: what the application put into its environment stands in no log and in no error.

Source: the MCP specification of 2025-11-25, "Transports", section "stdio", and "Lifecycle", section "Shutdown".
"""

from __future__ import annotations

import os
import re
import signal
from collections import defaultdict, deque
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel
from mcp import MCPError
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import CONNECTION_CLOSED, ErrorData, JSONRPCError, jsonrpc_message_adapter

from voicepipe.core.log import log
from voicepipe.errors import ConfigurationError, VendorError
from voicepipe.http.refusals import excerpt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from anyio.abc import ByteReceiveStream, Process
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp.client._transport import TransportStreams

    from voicepipe.errors import VoicepipeError

__all__ = ["Command"]

GRACE_S: Final = 0.5
"""How long a server has to end by itself once its stdin is closed."""

TERMINATE_S: Final = 0.2
"""How long it then has to obey SIGTERM, before it is killed."""

REAP_S: Final = 0.2
"""How long it takes at most until the loop knows that a killed process is dead."""

LAST_WORDS_S: Final = 0.5
"""How long the last words of a process that has ended may take to be read."""

STEPS: Final = 10
"""Steps of the loop after that: where it was held up for longer, they are there to be read only now."""

POLL_S: Final = 0.01
"""Pause between two looks at a process that ends. `Process.wait` would wait for its pipes as well, which whatever it
has started may hold open."""

MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""The longest message that is read."""

QUEUE: Final = 64
"""Messages that wait for a server that does not read, so that the cancellation of a call seldom has to wait as well."""

LOGGED_LINES: Final = 20
LOGGED_EACH_S: Final = 10.0
"""Lines of stderr that are logged in a span of time; further ones are counted."""

SHORTEST_SECRET: Final = 4

ANSWER_OF: Final = re.compile(rb'^\s*\{(?:"jsonrpc":\s*"2\.0",\s*)?"id":\s*(?:(\d{1,15})|"([^"\\]{1,64})")')
"""The beginning of an answer, with the number or the text that says to which call."""


class Command:
    """How to start a server. See `Place`.

    Args:
        name: What errors and log lines call it.
        command: The program and its arguments.
        env: Variables in addition to those that are safe to inherit (PATH, HOME and the like).
        cwd: Its working directory.
    """

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], cwd: str | Path | None) -> None:
        self._name = name
        self._command = list(command)
        self._env = dict(env)
        self._secrets = sorted(env.values(), key=len, reverse=True)  # one may be the beginning of another
        self._cwd = cwd
        self._status: int | None = None
        self._last_words: deque[str] = deque(maxlen=3)
        self._allowances = defaultdict[str, _Allowance](_Allowance)  # by what is logged

    async def prepare(self) -> None:
        """Do nothing: a process needs nothing beforehand."""

    def connection(self, lost: Callable[[], None]) -> AbstractAsyncContextManager[TransportStreams]:
        """Return a transport that starts the process, and ends it with the connection."""
        del lost  # the end of its stdout says it
        return self._process()

    def failure(self, error: BaseException) -> VoicepipeError | None:
        """Return what an error of a connection means."""
        if isinstance(error, FileNotFoundError) and error.filename == self._cwd:
            return ConfigurationError(f"{self._name}: there is no directory {str(self._cwd)!r}; correct cwd")
        if isinstance(error, FileNotFoundError):
            program = self._command[0]
            return ConfigurationError(
                f"{self._name}: there is no program {program!r} on the PATH; install it, or give its path"
            )
        if isinstance(error, OSError):
            return ConfigurationError(
                f"{self._name}: {self._command[0]!r} cannot be started ({error.strerror}); is it a program?"
            )
        if isinstance(error, EOFError) or (isinstance(error, MCPError) and error.code == CONNECTION_CLOSED):
            how = f"ended with status {self._status}" if self._status is not None else "closed its stdout"
            words = excerpt(" / ".join(self._last_words))
            said = f"; its last words: {words}" if words else ""
            return VendorError(f"{self._name}: the server {how}{said}", vendor=self._name, retryable=True)
        return None

    @asynccontextmanager
    async def _process(self) -> AsyncGenerator[TransportStreams]:
        self._status = None
        self._last_words.clear()
        process = await anyio.open_process(
            self._command,
            env={**get_default_environment(), **self._env},
            cwd=self._cwd,
            start_new_session=os.name == "posix",
        )
        # No wait in between: a cancellation there would leave the process behind.
        to_us, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        from_us, to_server = anyio.create_memory_object_stream[SessionMessage](QUEUE)
        assert process.stdout  # noqa: S101 - `open_process` makes pipes by default
        assert process.stderr  # noqa: S101
        all_said = anyio.Event()
        with to_us, from_server, from_us, to_server:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._read, process, to_us)
                tasks.start_soon(self._write, process, to_server)
                tasks.start_soon(self._log, process.stderr, all_said)
                try:
                    yield from_server, from_us
                finally:
                    with anyio.CancelScope(shield=True):
                        self._status = await _end(process, all_said)
                    tasks.cancel_scope.cancel()

    async def _read(self, process: Process, to_us: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
        """Pass the server's messages on, a line each; its end is the end of the connection."""
        assert process.stdout  # noqa: S101
        with to_us, suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for line in _lines(process.stdout, MAX_MESSAGE_BYTES):
                if (message := self._message(line)) is not None:
                    await to_us.send(message)

    def _message(self, line: bytes | _TooLong) -> SessionMessage | None:
        if isinstance(line, _TooLong):
            return self._answer_too_long(line.beginning)
        if not line.strip():
            return None
        try:
            return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
        except ValueError:
            self._logged("writes to its stdout what is no message", line)
            return None

    def _answer_too_long(self, beginning: bytes) -> SessionMessage | None:
        """Return a refusal in place of an answer that is too long, if it says early enough to which call."""
        found = ANSWER_OF.match(beginning)
        if found is None:
            self._logged(f"writes a message of more than {MAX_MESSAGE_BYTES} bytes, which is skipped", beginning[:64])
            return None
        call_id = int(found[1]) if found[1] else found[2].decode(errors="replace")
        too_long = ErrorData(code=-32603, message=f"the answer has more than {MAX_MESSAGE_BYTES} bytes")
        return SessionMessage(JSONRPCError(jsonrpc="2.0", id=call_id, error=too_long))

    async def _write(self, process: Process, to_server: MemoryObjectReceiveStream[SessionMessage]) -> None:
        assert process.stdin  # noqa: S101
        with to_server, suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            async for message in to_server:
                written = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await process.stdin.send(written.encode() + b"\n")

    async def _log(self, stderr: ByteReceiveStream, all_said: anyio.Event) -> None:
        """Log what the server writes to its stderr, and remember its last words."""
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for line in _lines(stderr, MAX_MESSAGE_BYTES):
                if not isinstance(line, _TooLong) and line.strip():
                    self._last_words.append(self._hidden(line))
                    self._logged("says", line)
        all_said.set()

    def _logged(self, what: str, line: bytes) -> None:
        allowed, missed = self._allowances[what].take(anyio.current_time())
        if missed:
            log.info("%s %s %d further lines, which were not logged", self._name, what, missed)
        if allowed:
            log.info("%s %s: %s", self._name, what, excerpt(self._hidden(line)))

    def _hidden(self, line: bytes) -> str:
        """Return a line without what the application put into the environment."""
        text = line.decode(errors="replace")
        for value in self._secrets:
            if len(value) >= SHORTEST_SECRET:
                text = text.replace(value, "***")
        return text


class _TooLong:
    """A line that was skipped for its length.

    Attributes:
        beginning: Its first bytes.
    """

    def __init__(self, beginning: bytes) -> None:
        self.beginning = beginning


class _Allowance:
    """Counts lines, so that a server that writes without end does not fill the log."""

    def __init__(self) -> None:
        self._since_s = -LOGGED_EACH_S
        self._count = 0

    def take(self, now: float) -> tuple[bool, int]:
        """Return whether a line may be logged, and how many were not since the last span of time ended."""
        missed = 0
        if now - self._since_s >= LOGGED_EACH_S:
            missed = max(0, self._count - LOGGED_LINES)
            self._since_s, self._count = now, 0
        self._count += 1
        return self._count <= LOGGED_LINES, missed


async def _lines(stream: ByteReceiveStream, limit: int) -> AsyncGenerator[bytes | _TooLong]:
    """Yield the lines of a stream; of one that is longer than `limit` only how it begins."""
    kept, skipping = bytearray(), False
    async for chunk in stream:
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            kept += part
            if not skipping:
                yield bytes(kept) if len(kept) <= limit else _TooLong(bytes(kept[:1024]))
            kept.clear()
            skipping = False
        kept += rest if not skipping else b""
        if len(kept) > limit:
            yield _TooLong(bytes(kept[:1024]))
            kept.clear()
            skipping = True


async def _end(process: Process, all_said: anyio.Event) -> int | None:
    """End a process and what it has started: by the end of its stdin, then by SIGTERM, then by SIGKILL.

    Args:
        process: The process.
        all_said: Set when it has said its last words.

    Returns:
        The status with which it ended by itself; None if it had to be made to.
    """
    assert process.stdin  # noqa: S101
    with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        await process.stdin.aclose()
    status: int | None = None
    if await _has_ended(process, GRACE_S):
        status = process.returncode
        with anyio.move_on_after(LAST_WORDS_S) as limit:
            await all_said.wait()
        for _ in range(STEPS if limit.cancelled_caught else 0):
            await anyio.lowlevel.checkpoint()
    else:
        _signal(process, signal.SIGTERM)
        await _has_ended(process, TERMINATE_S)
    # Also where it has ended by itself: it may have left somebody behind.
    _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
    if not await _has_ended(process, REAP_S):
        log.warning("the process %d does not end, although it was killed; nothing waits for it any more", process.pid)
    # What has left its group may still hold the pipes. asyncio closes our ends only through the transport, which
    # neither it nor anyio gives away.
    transport = getattr(getattr(process, "_process", None), "_transport", None)
    if (close := getattr(transport, "close", None)) is not None:
        with suppress(PermissionError):
            close()
    await anyio.lowlevel.checkpoint()
    return status


async def _has_ended(process: Process, within_s: float) -> bool:
    with anyio.move_on_after(within_s):
        while process.returncode is None:  # noqa: ASYNC110 - there is no event for it, see POLL_S
            await anyio.sleep(POLL_S)
    return process.returncode is not None


def _signal(process: Process, number: int) -> None:
    """Send a signal to a process and, where there are groups of processes, to those that it has started."""
    with suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, number)
        elif process.returncode is None:
            process.kill()
