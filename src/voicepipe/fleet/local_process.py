"""A worker as a process of its own, and what it and its engine say to each other over the worker's standard input.

Rule 1: standard input is one end of a pair of sockets; a line of JSON is a message. What a worker must know comes that
        way, so that no list of processes and no environment shows a secret.
Rule 2: when the pair breaks, the engine is gone: the worker drains, and ends. SIGTERM and SIGINT do the same.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

import anyio
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from voicepipe.core.log import log
from voicepipe.errors import ConfigurationError, VoicepipeError, WorkerError
from voicepipe.fleet.application import Application, Listening  # noqa: TC001 - pydantic reads the annotations

if TYPE_CHECKING:
    from collections.abc import Generator

    from voicepipe.fleet.worker import Work

__all__ = ["Drain", "Failed", "Lines", "Listens", "Starts", "main"]

MOST_LINE_BYTES: Final = 1 << 20
"""No application has so many paths."""


class Starts(BaseModel):
    """The engine's first message: what to serve."""

    type: Literal["starts"] = "starts"
    application: Application
    index: int


class Drain(BaseModel):
    """The engine asks the worker to end; a second time, at once."""

    type: Literal["drain"] = "drain"
    within_s: float
    hands_over: bool


class Listens(BaseModel):
    """The worker listens."""

    type: Literal["listens"] = "listens"
    listening: Listening


class Failed(BaseModel):
    """The worker cannot serve the application, and ends."""

    type: Literal["failed"] = "failed"
    message: str
    is_configuration: bool


Message: TypeAlias = Annotated[Starts | Drain | Listens | Failed, Field(discriminator="type")]

MESSAGES: Final[TypeAdapter[Message]] = TypeAdapter(Message)


class Lines:
    """One end of the pair."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Lines:
        """Take over one end."""
        end.setblocking(False)
        return cls(*await asyncio.open_connection(sock=end, limit=MOST_LINE_BYTES))

    async def receive(self) -> Message | None:
        """Return the next message; None once the other end is gone.

        Raises:
            WorkerError: It cannot be read.
        """
        try:
            line = await self._reader.readline()
        except OSError:
            return None
        except ValueError as error:
            raise WorkerError("a message between engine and worker is too long") from error
        if not line.endswith(b"\n"):
            return None
        try:
            return MESSAGES.validate_json(line)
        except ValidationError:  # whose text would show what is secret
            raise WorkerError("a message between engine and worker is not readable; are both of one version?") from None

    async def send(self, message: Message) -> None:
        """Send a message. Does nothing once the other end is gone."""
        try:
            self._writer.write(MESSAGES.dump_json(message) + b"\n")
            await self._writer.drain()
        except OSError:
            pass

    def close(self) -> None:
        """Close this end."""
        self._writer.close()


# --- the worker's side ------------------------------------------------------------------------------------------------


def main() -> int:
    """Serve what the engine says, and return the exit status. The program of each worker."""
    own = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # what the application starts and reads has nothing to do with the engine
    os.close(nothing)
    return anyio.run(_main, own, backend_options={"use_uvloop": find_spec("uvloop") is not None})


async def _main(own: socket.socket) -> int:
    lines = await Lines.over(own)
    try:
        starts = await lines.receive()
        if not isinstance(starts, Starts):
            return 0  # the engine is gone already
        return await _serve(starts, lines)
    finally:
        lines.close()


async def _serve(starts: Starts, lines: Lines) -> int:
    try:
        from voicepipe.fleet.worker import working  # noqa: PLC0415 - what is missing is reported to the engine

        async with working(starts.application, starts.index) as work:
            await lines.send(Listens(listening=work.listening))
            stops = _Stops(work)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_obey, stops, lines)
                with _signals(stops):
                    await work.wait_ended()
                tasks.cancel_scope.cancel()
    except VoicepipeError as error:
        await lines.send(Failed(message=str(error), is_configuration=isinstance(error, ConfigurationError)))
        return 2
    return 0


class _Stops:
    """Ends a worker for those who ask: drains it, and ends it at once if the same one asks again.

    A service manager sends its signal to the engine and to all workers, and the engine then asks them, too: that is one
    wish, and no hurry.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._asked: set[str] = set()

    def stop(self, by: str, within_s: float | None = None, *, hands_over: bool = False) -> None:
        """End the worker."""
        if by in self._asked or not self._asked:
            self._work.drain(within_s, hands_over=hands_over)
        self._asked.add(by)


async def _obey(stops: _Stops, lines: Lines) -> None:
    """Drain when the engine says so, and when it is gone."""
    while isinstance(message := await lines.receive(), Drain):
        stops.stop("engine", message.within_s, hands_over=message.hands_over)
    log.warning("the engine of this worker is gone: it takes no further call, and ends with its last one")
    stops.stop("no engine")


@contextmanager
def _signals(stops: _Stops) -> Generator[None]:
    """Drain at the first signal that ends a program; end at once at the second one."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, stops.stop, "signal")
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
