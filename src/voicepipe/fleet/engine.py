"""An engine runs the workers of a fleet, notices when one ends, and starts another one in its place.

Rule 1: an engine says how a worker is launched; all else is the same for every engine, and is here.
Rule 2: unless it is killed, a worker leaves only after another one is ready, and its calls go on to their end, or
        elsewhere.
Rule 3: what is so about a worker is known from the worker itself, twice a second; one that does not answer takes no
        calls, and one that does not answer for long is killed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.core.clock import loop_time
from voicepipe.core.failures import single_error
from voicepipe.core.log import log
from voicepipe.errors import ConfigurationError, WorkerError
from voicepipe.fleet.patience import Patience

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from contextlib import AbstractAsyncContextManager

    from anyio.abc import TaskGroup

    from voicepipe.fleet.application import Application, Listening

__all__ = ["Engine", "Handle", "Load", "Worker"]

LOAD_S: Final = 0.5
"""How often a worker is asked how busy it is."""

ANSWER_S: Final = 2.0
"""How long it may take to answer."""

SILENT_S: Final = 10.0
"""A worker that has not answered for so long is killed: the audio of its calls has stood still all the time."""

READY_S: Final = 60.0
"""How long a worker that listens may take until it takes calls."""

DRAIN_S: Final = 600.0
"""How long the calls of a worker may go on once it is asked to leave."""

LEAVE_S: Final = 45.0
"""How much longer a worker may take to end: 30 s for its last replies, and the rest to close. Then it is killed."""


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a worker is.

    Attributes:
        calls: Its calls at present.
        places: How many it takes at a time.
        is_draining: Whether it takes no further ones, because it will end.
        lag_s: How late its event loop is: 99 of 100 ticks of the last 10 s were less late, in seconds.
        refuses: Why it takes no further call at present, in a word: "draining", "full", "lag", "silent"; "" if it does.
    """

    calls: int
    places: int
    is_draining: bool = False
    lag_s: float = 0.0
    refuses: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether it takes a further call."""
        return not self.is_draining and not self.refuses and self.calls < self.places


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker as it is at present.

    Attributes:
        id: What it is called; no other worker of this engine ever has the same name.
        url: Where the gateway reaches it, e.g. "http://127.0.0.1:4711".
        load: How busy it is.
        index: Its place among the workers, from 0 on; one that comes in its place may have the same.
        media_url: Where callers reach it, e.g. "wss://w0.example.com".
        paths: The paths that it answers, as starlette writes them.
    """

    id: str
    url: str
    load: Load
    index: int = 0
    media_url: str = ""
    paths: Sequence[str] = ()


class Handle(ABC):
    """A worker that an engine has launched. Its methods may be called at the same time.

    Attributes:
        listening: What it reported when it began to listen.
    """

    listening: Listening

    @abstractmethod
    async def wait_ended(self) -> str:
        """Return once the worker has ended, however it did, and how in words: "it was killed by the signal 9"."""

    @abstractmethod
    async def load(self) -> Load:
        """Return how busy it is. Cancelled after 2 s.

        Raises:
            WorkerError: It does not answer, or not with a load.
        """

    @abstractmethod
    async def drain(self, within_s: float) -> None:
        """Ask it to take no further call and to end with its last one, after this time at the latest; do not wait.

        Asked once more, it ends its calls at once. A worker that has ended takes no notice.
        """

    @abstractmethod
    async def kill(self) -> None:
        """End it at once, whatever its calls are doing. A worker that has ended stays so."""


class Engine(ABC):
    """Runs workers; subclasses implement `hosting` and `launch`.

    Attributes:
        lost: How many workers have ended unasked.
        replaced: How many workers others have taken the place of, because somebody asked for it.
        is_restarting: Whether all workers are being replaced, one after the other.
    """

    def __init__(self) -> None:
        self.lost = 0
        self.replaced = 0
        self.is_restarting = False
        self._members: dict[str, _Member] = {}
        self._indexes: set[int] = set()  # those of members, and of workers that are being launched
        self._launched = 0
        self._tasks: TaskGroup | None = None
        self._is_ending = False

    # --- what an engine is --------------------------------------------------------------------------------------------

    @abstractmethod
    def hosting(self, application: Application) -> AbstractAsyncContextManager[None]:
        """Set up what the workers of an application need, for as long as the block lasts. No worker is left at its end.

        Raises:
            ConfigurationError: The application cannot be run here.
            MissingExtra: A package is not installed.
        """

    @abstractmethod
    async def launch(self, index: int) -> Handle:
        """Start one worker, and return once it listens. Cancelling ends it again.

        Raises:
            ConfigurationError: The application cannot be served; the message is the worker's own.
            WorkerError: It could not be started, or has ended before it listened.
        """

    # --- what all engines do ------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def open(self, application: Application) -> AsyncGenerator[None]:
        """Host an application for as long as the block lasts; workers that are left at its end are killed.

        Raises:
            ConfigurationError: The engine is open already, or the application cannot be run here.
        """
        if self._tasks is not None:
            raise ConfigurationError("this engine is open already; use one engine for each application")
        with single_error():
            async with self.hosting(application), anyio.create_task_group() as tasks:
                self._tasks = tasks
                try:
                    yield
                finally:
                    self._is_ending = True
                    with anyio.CancelScope(shield=True):
                        await self._kill_all()
                    tasks.cancel_scope.cancel()
                    self._tasks, self._is_ending = None, False

    async def start(self, n: int) -> None:
        """Start as many workers as are missing to `n`, at the same time, and return once all are ready.

        Raises:
            ConfigurationError: The application cannot be served.
            WorkerError: A worker could not be started.
        """
        with single_error():
            async with anyio.create_task_group() as starting:
                for _ in range(n - len(self._indexes)):
                    starting.start_soon(self._launch_ready)

    def workers(self) -> Sequence[Worker]:
        """Return the workers that listen, by their index."""
        return sorted((member.worker() for member in self._members.values()), key=lambda worker: worker.index)

    async def drain(self, worker_id: str, within_s: float = DRAIN_S) -> None:
        """Take a worker away, and return when it has ended. No other one takes its place.

        Args:
            worker_id: Which one.
            within_s: How long its calls may go on.

        Raises:
            ConfigurationError: There is no such worker, or it is the only one that takes calls.
        """
        member = self._member(worker_id)
        if not any(not other.is_leaving for other in self._members.values() if other is not member):
            raise ConfigurationError(f"{worker_id} is the only worker; replace it, or stop the program")
        await self._leave(member, within_s)

    async def replace(self, worker_id: str, within_s: float = DRAIN_S) -> None:
        """Start another worker, and let this one go once that is ready; return when it has ended.

        Cancelling lets the new one stay, and the old one leave.

        Args:
            worker_id: Which one.
            within_s: How long its calls may go on.

        Raises:
            ConfigurationError: There is no such worker, or it leaves already, or the application cannot be served: then
                the worker stays.
            WorkerError: The new one could not be started, or is not ready in time: then the worker stays.
        """
        member = self._member(worker_id)
        if member.is_leaving:
            raise ConfigurationError(f"{worker_id} leaves already")
        member.is_refilled = False
        try:
            await self._launch_ready()
        except BaseException:
            member.is_refilled = True
            if member.has_ended.is_set() and self._tasks is not None:
                self._tasks.start_soon(self._refill, self._free_index(), member.patience)
            raise
        self.replaced += 1
        if not member.has_ended.is_set():
            await self._leave(member, within_s)

    async def restart(self, within_s: float = DRAIN_S) -> None:
        """Replace all workers, one after the other, and return when the last one has ended.

        Args:
            within_s: How long the calls of each may go on.

        Raises:
            ConfigurationError: The workers are being restarted already; or as `replace` says.
            WorkerError: As `replace` says; workers that were not replaced yet stay.
        """
        if self.is_restarting:
            raise ConfigurationError("the workers are being restarted already; see voicepipe scale status")
        self.is_restarting = True
        try:
            for worker_id in [worker.id for worker in self.workers()]:
                if worker_id in self._members and not self._members[worker_id].is_leaving:
                    await self.replace(worker_id, within_s)
        finally:
            self.is_restarting = False

    async def kill(self, worker_id: str) -> None:
        """End a worker at once; another one takes its place.

        Raises:
            ConfigurationError: There is no such worker.
        """
        await self._member(worker_id).handle.kill()

    async def stop(self, within_s: float = DRAIN_S) -> None:
        """Let all workers go, and return when they have ended. No other ones take their place.

        Args:
            within_s: How long their calls may go on.
        """
        self._is_ending = True
        async with anyio.create_task_group() as leaving:
            for member in list(self._members.values()):
                leaving.start_soon(self._leave, member, within_s)

    # --- members ------------------------------------------------------------------------------------------------------

    def _member(self, worker_id: str) -> _Member:
        if worker_id in self._members:
            return self._members[worker_id]
        there = ", ".join(self._members) or "none"
        raise ConfigurationError(f"there is no worker {worker_id!r}; there are: {there}")

    def _free_index(self) -> int:
        """Return the lowest index that no worker has, and keep it for one."""
        index = next(index for index in range(len(self._indexes) + 1) if index not in self._indexes)
        self._indexes.add(index)
        return index

    async def _launch_ready(self) -> None:
        """Launch a worker and wait until it takes calls. One that never does has no successor."""
        member = await self._launch(self._free_index(), Patience())
        member.is_refilled = False
        await self._wait_ready(member)
        member.is_refilled = True

    async def _launch(self, index: int, patience: Patience) -> _Member:
        """Launch a worker with an index that is kept for it, and watch over it from now on."""
        if self._tasks is None or self._is_ending:
            self._indexes.discard(index)
            raise ConfigurationError("this engine is not open; enter `async with engine.open(application):` first")
        try:
            handle = await self.launch(index)
        except BaseException:
            self._indexes.discard(index)
            raise
        if self._is_ending:  # since then
            with anyio.CancelScope(shield=True):
                await handle.kill()
                await handle.wait_ended()
            self._indexes.discard(index)
            raise WorkerError("the engine is closing, so the worker that has just started was ended")
        self._launched += 1
        member = _Member(f"w{self._launched}", index, handle, patience)
        self._members[member.id] = member
        log.info("worker %s listens on %s", member.id, handle.listening.url)
        self._tasks.start_soon(self._watch, member)
        return member

    async def _wait_ready(self, member: _Member) -> None:
        with anyio.move_on_after(READY_S):
            while not member.worker().load.is_ready and not member.has_ended.is_set():
                await member.wait_news()
            if not member.has_ended.is_set():
                return
            raise WorkerError(f"worker {member.id} ended before it was ready; see what it has written to its log")
        why = member.worker().load.refuses
        member.is_leaving = True  # by its own fault: it is no use to try the same once more
        with anyio.CancelScope(shield=True):
            await member.handle.kill()
        raise WorkerError(f"worker {member.id} was not ready within {READY_S:g} s: {why}; see its log")

    async def _leave(self, member: _Member, within_s: float) -> None:
        """Drain a worker; kill it if it does not end."""
        member.is_leaving = True
        log.info("worker %s leaves; its calls have %g s", member.id, within_s)
        with anyio.move_on_after(within_s + LEAVE_S):
            await member.handle.drain(within_s)
            await member.has_ended.wait()
            return
        log.error("worker %s did not end within %g s of its drain, so it is killed", member.id, LEAVE_S)
        await member.handle.kill()
        await member.has_ended.wait()

    async def _kill_all(self) -> None:
        for member in list(self._members.values()):
            member.is_leaving = True
            await member.handle.kill()
        for member in list(self._members.values()):
            await member.has_ended.wait()

    async def _watch(self, member: _Member) -> None:
        """Know how a worker is, until it has ended; then see that another one takes its place."""
        began_s = loop_time()
        how = ""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._ask, member)
            how = await member.handle.wait_ended()
            tasks.cancel_scope.cancel()
        del self._members[member.id]
        member.ends()
        if member.is_leaving or self._is_ending:
            self._indexes.discard(member.index)
            log.info("worker %s has ended: %s", member.id, how)
            return
        self.lost += 1
        if not member.is_refilled:
            self._indexes.discard(member.index)
            log.error("worker %s has ended: %s", member.id, how)
            return
        log.error("worker %s has ended: %s; another one takes its place", member.id, how)
        member.patience.lasted(loop_time() - began_s)
        await self._refill(member.index, member.patience)

    async def _refill(self, index: int, patience: Patience) -> None:
        """Launch a worker until one listens: at once at first, then less and less often."""
        while not self._is_ending:
            await anyio.sleep(patience.wait_s)
            self._indexes.add(index)
            try:
                await self._launch(index, patience)
            except (ConfigurationError, WorkerError) as error:
                patience.failed()
                self._indexes.add(index)  # still kept
                log.error("no worker could be started: %s; the next attempt is in %g s", error, patience.wait_s)
            else:
                return

    async def _ask(self, member: _Member) -> None:
        while True:
            asked_s = loop_time()
            with anyio.move_on_after(ANSWER_S):
                try:
                    member.answers(await member.handle.load(), loop_time())
                except WorkerError as error:
                    log.debug("worker %s: %s", member.id, error)
            member.notes_silence(loop_time())
            if loop_time() - member.answered_s > SILENT_S:
                log.error("worker %s has not answered for %g s, so it is killed", member.id, SILENT_S)
                await member.handle.kill()
            await anyio.sleep_until(asked_s + LOAD_S)


class _Member:
    """A worker of an engine.

    Attributes:
        is_leaving: Whether it was asked to end.
        is_refilled: Whether another one takes its place when it ends unasked.
        has_ended: Set when it has.
        answered_s: When it last said how busy it is, on the loop's clock.
    """

    def __init__(self, id: str, index: int, handle: Handle, patience: Patience) -> None:  # noqa: A002
        self.id = id
        self.index = index
        self.handle = handle
        self.patience = patience
        self.is_leaving = False
        self.is_refilled = True
        self.has_ended = anyio.Event()
        self.answered_s = loop_time()
        self._load = Load(0, 0, refuses="starting")
        self._is_silent = False
        self._news = anyio.Event()

    def answers(self, load: Load, now: float) -> None:
        """Note how busy it is."""
        self._load, self.answered_s, self._is_silent = load, now, False
        self._announce()

    def notes_silence(self, now: float) -> None:
        """Note that it may not have answered."""
        self._is_silent = now - self.answered_s >= ANSWER_S

    def ends(self) -> None:
        """Note that it has ended."""
        self.has_ended.set()
        self._announce()

    def _announce(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    async def wait_news(self) -> None:
        """Wait until something about it has changed."""
        await self._news.wait()

    def worker(self) -> Worker:
        """Return how it is at present."""
        load = self._load
        if self.is_leaving:
            load = Load(load.calls, load.places, is_draining=True, lag_s=load.lag_s, refuses="draining")
        elif self._is_silent:
            load = Load(load.calls, load.places, load.is_draining, math.inf, "silent")
        listening = self.handle.listening
        return Worker(self.id, listening.url, load, self.index, listening.media_url, listening.paths)
