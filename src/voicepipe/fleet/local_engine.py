"""Workers as processes of this machine: one for each core, or two on a laptop.

Rule 1: a worker is in a session of its own, so that Ctrl-C reaches it through this engine alone.
Rule 2: what the application prints goes where this process prints.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.errors import ConfigurationError, WorkerError
from voicepipe.fleet.client import WorkerClient, asked_load
from voicepipe.fleet.engine import Engine
from voicepipe.fleet.handle import Handle, Load
from voicepipe.fleet.local_process import Drain, Failed, Lines, Listens, Starts

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from anyio.abc import Process

    from voicepipe.fleet.application import Application, Listening

__all__ = ["LocalEngine"]

START_S: Final = 60.0
"""How long a worker may take until it listens: it loads the application, and perhaps models."""

PROGRAM: Final = "import sys; from voicepipe.fleet.local_process import main; sys.exit(main())"


class LocalEngine(Engine):
    """Runs each worker as a process of this machine, with a port of its own. For Linux and macOS.

    A worker that loses its engine ends by itself, with its last call.
    """

    def __init__(self) -> None:
        super().__init__()
        self._application: Application | None = None
        self._client = WorkerClient()

    @asynccontextmanager
    async def hosting(self, application: Application) -> AsyncGenerator[None]:
        """See `Engine.hosting`."""
        if os.name != "posix":
            raise ConfigurationError("LocalEngine runs on Linux and macOS; here, serve with one process")
        self._application = application
        self._client = WorkerClient(application.certificate)
        async with self._client.open():
            yield

    async def launch(self, index: int) -> Handle:
        """See `Engine.launch`."""
        application = self._application
        assert application is not None  # noqa: S101 - `hosting` is open
        try:
            process, lines = await _started(application.path, f"worker-{index}")
        except OSError as error:
            raise WorkerError(f"a process for a worker could not be started: {error.strerror}") from error
        try:
            await lines.send(Starts(application=application, index=index))
            return _Handle(process, lines, await _listening(process, lines), self._client, application.token)
        except BaseException:
            lines.close()
            with anyio.CancelScope(shield=True):
                await _killed(process)
            raise


async def _started(*shown: str) -> tuple[Process, Lines]:
    """Start a process, and return it with the engine's end of what both say to each other.

    Args:
        shown: What a list of processes shows of it.
    """
    ours, theirs = socket.socketpair()
    with ExitStack() as stack:
        stack.enter_context(ours)
        with theirs:
            command = [sys.executable, "-u", "-c", PROGRAM, *shown]
            process = await anyio.open_process(
                command, stdin=theirs.fileno(), stdout=None, stderr=None, start_new_session=True
            )
        lines = await Lines.over(ours)
        stack.pop_all()
    return process, lines


async def _listening(process: Process, lines: Lines) -> Listening:
    """Return where a worker listens, once it does.

    Raises:
        ConfigurationError: It cannot serve the application.
        WorkerError: It has ended for another reason, or does not listen in time.
    """
    message = None
    with anyio.move_on_after(START_S) as patience:
        message = await lines.receive()
    if patience.cancelled_caught:
        raise WorkerError(f"a worker did not listen within {START_S:g} s; see what it has written")
    match message:
        case Listens(listening=listening):
            return listening
        case Failed(message=why, is_configuration=is_configuration):
            raise (ConfigurationError if is_configuration else WorkerError)(why)
        case _:
            status = await process.wait()
            raise WorkerError(f"a worker ended before it listened: {_how(status)}; see what it has written")


class _Handle(Handle):
    """A worker that is a process of this machine."""

    def __init__(self, process: Process, lines: Lines, listening: Listening, client: WorkerClient, token: str) -> None:
        self.listening = listening
        self._process = process
        self._lines = lines
        self._client = client
        self._token = token

    async def wait_ended(self) -> str:
        """See `Handle.wait_ended`."""
        status = await self._process.wait()
        self._lines.close()
        return _how(status)

    async def load(self) -> Load:
        """See `Handle.load`."""
        return await asked_load(self._client, self.listening.url, self._token)

    async def drain(self, within_s: float, *, hands_over: bool) -> None:
        """See `Handle.drain`."""
        await self._lines.send(Drain(within_s=within_s, hands_over=hands_over))

    async def kill(self) -> None:
        """See `Handle.kill`."""
        await _killed(self._process)


async def _killed(process: Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


def _how(status: int) -> str:
    return f"it was ended by the signal {-status}" if status < 0 else f"it ended with the status {status}"
