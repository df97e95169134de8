"""An engine runs the workers of a fleet, notices when one ends, and starts another one in its place.

Rule 1: an engine says how a worker is launched; all else is the same for every engine, and is here.
Rule 2: unless it is killed, a worker leaves only after another one is ready, and its calls go on to their end, or
        elsewhere.
Rule 3: a worker itself says how busy it is, twice a second; one that does not answer gets no calls, and one that does
        not answer for long is killed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.core.clock import loop_time
from voicepipe.core.failures import single_error
from voicepipe.core.log import log
from voicepipe.errors import ConfigurationError, VoicepipeError, WorkerError
from voicepipe.fleet.handle import ANSWER_S, Handle, Load, Worker
from voicepipe.fleet.member import Member
from voicepipe.fleet.patience import Patience

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from contextlib import AbstractAsyncContextManager

    from anyio.abc import TaskGroup

    from voicepipe.fleet.application import Application

__all__ = ["Engine", "Handle", "Load", "Worker"]

LOAD_S: Final = 0.5
"""How often a worker is asked how busy it is."""

SILENT_S: Final = 10.0
"""A worker that has not answered for so long is killed: the audio of its calls has stood still all the time."""

UNANSWERED: Final = 3
"""So many questions in a row have to be without an answer: after a single one it may be the engine that stood still."""

READY_S: Final = 60.0
"""How long a worker that listens may take until it takes calls."""

DRAIN_S: Final = 600.0
"""How long the calls of a worker may go on once it is asked to leave."""

LEAVE_S: Final = 45.0
"""How much longer a worker may take to end: 30 s for its last replies, and the rest to close. Then it is killed."""


class Engine(ABC):
    """Runs workers; subclasses implement `hosting` and `launch`.

    Attributes:
        lost: How many workers have ended unasked.
        replaced: How many workers were replaced because somebody asked for it.
        is_restarting: Whether all workers are being replaced, one after the other.
    """

    def __init__(self) -> None:
        self.lost = 0
        self.replaced = 0
        self.is_restarting = False
        self._members: dict[str, Member] = {}
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
            ConfigurationError: There is no such worker, it leaves already, or no other one stays.
        """
        self.check_drain(worker_id)
        await self._leave(self._member(worker_id), within_s)

    def check_drain(self, worker_id: str) -> None:
        """Raise what `drain` would raise at once."""
        member = self._member(worker_id)
        if all(other.is_leaving for other in self._members.values() if other is not member):
            raise ConfigurationError(f"{worker_id} is the only worker; replace it, or stop the program")
        if member.is_leaving:
            raise ConfigurationError(f"{worker_id} leaves already")

    async def replace(self, worker_id: str, within_s: float = DRAIN_S) -> None:
        """Start another worker, and let this one go once that is ready; return when it has ended.

        If this is cancelled before the new one is ready, that one is ended, and the old one stays; after that the old
        one leaves all the same.

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
        self.check_restart()
        self.is_restarting = True
        try:
            for worker_id in [worker.id for worker in self.workers()]:
                if worker_id in self._members and not self._members[worker_id].is_leaving:
                    await self.replace(worker_id, within_s)
        finally:
            self.is_restarting = False

    def check_restart(self) -> None:
        """Raise what `restart` would raise at once."""
        if self.is_restarting:
            raise ConfigurationError("the workers are being restarted already; see voicepipe scale status")

    async def kill(self, worker_id: str) -> None:
        """End a worker at once; another one takes its place.

        Raises:
            ConfigurationError: There is no such worker.
        """
        await self._member(worker_id).handle.kill()

    async def stop(self, within_s: float = DRAIN_S) -> None:
        """Let all workers go, and return when they have ended. No other ones take their place.

        Their calls go on to their end, because nobody is left who could take them over.

        Args:
            within_s: How long their calls may go on.
        """
        self._is_ending = True
        async with anyio.create_task_group() as leaving:
            for member in list(self._members.values()):
                leaving.start_soon(self._leave, member, within_s, False)

    # --- members ------------------------------------------------------------------------------------------------------

    def _member(self, worker_id: str) -> Member:
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
        try:
            await self._wait_ready(member)
        except BaseException:
            member.is_leaving = True
            with anyio.CancelScope(shield=True):
                await member.handle.kill()
            raise
        member.is_refilled = True

    async def _launch(self, index: int, patience: Patience) -> Member:
        """Launch a worker with an index that is kept for it, and watch over it from now on."""
        if self._tasks is None or self._is_ending:
            self._indexes.discard(index)
            raise ConfigurationError("this engine is not open; enter `async with engine.open(application):` first")
        self._launched += 1
        worker_id = f"w{self._launched}"
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
        member = Member(worker_id, index, handle, patience)
        self._members[member.id] = member
        log.info("worker %s listens on %s", member.id, handle.listening.url)
        self._tasks.start_soon(self._watch, member)
        return member

    async def _wait_ready(self, member: Member) -> None:
        with anyio.move_on_after(READY_S):
            while not member.worker().load.is_ready and not member.has_ended.is_set():
                await member.wait_news()
            if not member.has_ended.is_set():
                return
            raise WorkerError(f"worker {member.id} ended before it was ready; see what it has written to its log")
        why = member.worker().load.refuses
        raise WorkerError(f"worker {member.id} was not ready within {READY_S:g} s: {why}; see its log")

    async def _leave(self, member: Member, within_s: float, hands_over: bool = True) -> None:
        """Drain a worker; kill it if it does not end."""
        member.is_leaving = True
        log.info("worker %s leaves; its calls have %g s", member.id, within_s)
        with anyio.move_on_after(within_s + LEAVE_S):
            await member.handle.drain(within_s, hands_over=hands_over)
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

    async def _watch(self, member: Member) -> None:
        """Ask a worker how busy it is until it has ended, and then start another one in its place."""
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
            except Exception as error:  # noqa: BLE001 - whatever an engine raises, the other workers go on
                patience.failed()
                self._indexes.add(index)  # still kept
                is_fault = not isinstance(error, VoicepipeError)
                message = "no worker could be started: %s; the next attempt is in %g s"
                log.error(message, error, patience.wait_s, exc_info=error if is_fault else None)
            else:
                return

    async def _ask(self, member: Member) -> None:
        unanswered = 0
        while True:
            asked_s = loop_time()
            unanswered += 1
            with anyio.move_on_after(ANSWER_S):
                try:
                    member.answers(await member.handle.load(), loop_time())
                except Exception as error:  # noqa: BLE001 - as above
                    log.debug("worker %s does not say how busy it is: %s", member.id, error)
                else:
                    unanswered = 0
            member.notes_silence(loop_time())
            if unanswered >= UNANSWERED and loop_time() - member.answered_s > SILENT_S:
                log.error("worker %s has not answered for %g s, so it is killed", member.id, SILENT_S)
                await member.handle.kill()
            await anyio.sleep_until(asked_s + LOAD_S)
