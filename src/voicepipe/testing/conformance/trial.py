"""One trial of a part: a loop, a service and a network of its own, and a note of everything that it leaves behind.

Rule 1: each trial has its own event loop, on virtual time, so that a broken part cannot spoil the next trial, and five
        seconds of silence take none.
Rule 2: nothing that a part does can hold up a trial: neither a wait without an end, nor a loop without one, nor code
        that ignores its cancellation.
Rule 3: what no part may leave behind or show (tasks, connections, threads, errors that nobody saw, keys) is looked for
        in every trial, not only in one that was made for it.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar, cast

import anyio

from voicepipe.testing._waits import waits
from voicepipe.testing.clock import VirtualTimeLoop, start_thread
from voicepipe.testing.conformance.behaviour import Behaviour
from voicepipe.testing.conformance.blocking import BLOCKED_S
from voicepipe.testing.conformance.notes import Notes
from voicepipe.testing.conformance.relay import Harm, Relay

if TYPE_CHECKING:
    from voicepipe.testing.conformance.behaviour import Server
    from voicepipe.testing.conformance.blocking import Spent

__all__ = ["Bench", "Fails", "Skips", "Trials"]

P = TypeVar("P")

LONGEST_S: Final = 120.0
"""How long a trial may take, on its clock; every wait of the library is shorter."""

MOST_STEPS: Final = 50_000
"""How many steps of the loop a trial may take: one that takes more waits for something in a busy loop."""

CLOSING_STEPS: Final = 2_000
"""How many steps of the loop tasks may take that are left at the end of a trial."""

THREAD_S: Final = 3.0
"""How long a thread may go on after its part was closed, as everything else of a session may."""

LONGEST_REAL_S: Final = 45.0
"""How long a trial in real time may take."""

SETTLE_S: Final = 0.1
"""How long what was closed has to disappear."""

_is_part = contextvars.ContextVar("voicepipe_conformance_part", default=False)


class Fails(Exception):  # noqa: N818 - names what a check says
    """A check fails: what was expected, what was found, and what to do."""


class Skips(Exception):  # noqa: N818
    """A check is not applicable: why."""


@dataclass
class Bench(Generic[P]):
    """What a check works with.

    Attributes:
        part: The part, made for this trial.
        relay: The network between it and its service; None without a service.
        notes: What the trials have shown.
        name: The name of the check.
        real_time: Whether the part has threads.
        make: Makes another part like it.
    """

    part: P
    relay: Relay | None
    notes: Notes
    name: str
    real_time: bool
    make: Callable[[], P]

    def spent(self, step: Spent) -> None:
        """Note a step that has held the loop for too long."""
        held_s = step.held_s(is_alone=not self.real_time)
        if held_s > BLOCKED_S:
            self.notes.blocked.append(f"{held_s:.2f} s ({self.name})")


Body: TypeAlias = Callable[[Bench[P]], Awaitable[None]]


class Trials(Generic[P]):
    """Makes a part, and runs trials of it.

    Args:
        make: Makes the part; it gets the URL of the service, if there is one.
        server: The service.
        secrets: What must not be shown.
        real_time: Whether the part has threads, and so no place in virtual time.
    """

    def __init__(
        self, make: Callable[..., P], server: Server | None, secrets: Sequence[str], *, real_time: bool = False
    ) -> None:
        self.notes = Notes(secrets)
        self.real_time = real_time
        self.has_server = server is not None
        self._make = make
        self._server = server

    def make_for(self, *url: str) -> P:
        """Make the part, for another service if need be."""
        return self._make(*url)

    def run(
        self, name: str, body: Body[P], *, behaviour: Behaviour = Behaviour.NORMAL, harm: Harm | None = None
    ) -> None:
        """Run one trial.

        Raises:
            Fails: The part did not do what the check expects.
            Skips: The server cannot simulate this.
        """
        raised = _outside(lambda: self._run(name, body, behaviour, harm or Harm()))
        if raised is not None:
            raise raised

    def _run(self, name: str, body: Body[P], behaviour: Behaviour, harm: Harm) -> Fails | Skips | None:
        self.notes.where = name
        before = set(threading.enumerate())
        loop = _RealLoop() if self.real_time else _VirtualLoop()
        loop.set_exception_handler(lambda _, context: self._lost(name, context))
        loop.set_task_factory(loop.made_by_part)
        try:
            return _finished(loop, self._trial(loop, name, body, behaviour, harm))
        finally:
            _end(loop)
            self._note_threads(name, before)

    async def _trial(self, loop: _TrialLoop, name: str, body: Body[P], behaviour: Behaviour, harm: Harm) -> None:
        failed: list[Fails | Skips] = []  # not raised through the server's block, which may wrap what it sees
        try:
            async with AsyncExitStack() as stack:
                relay: Relay | None = None
                url: tuple[str, ...] = ()
                if self._server is not None:
                    relay = Relay(await stack.enter_async_context(self._served(behaviour)), harm, self.notes.sent)
                    url = (await stack.enter_async_context(relay.serve()),)
                _is_part.set(True)
                try:
                    await self._use(url, relay, name, body)
                except (Fails, Skips) as failure:
                    failed.append(failure)
                else:
                    await anyio.sleep(SETTLE_S / 10 if self.real_time else SETTLE_S)
                    self._note_left(name, loop, relay)
        finally:
            if failed:
                raise failed[0]

    def _served(self, behaviour: Behaviour) -> AbstractAsyncContextManager[str]:
        assert self._server is not None  # noqa: S101 - the caller has looked
        served = self._server(behaviour)
        if served is None:
            raise Skips(f"the server does not simulate Behaviour.{behaviour.name}: a service that {behaviour.value}")
        return served

    async def _use(self, url: tuple[str, ...], relay: Relay | None, name: str, body: Body[P]) -> None:
        """Make the part, and let the check use it."""
        part = self._make(*url)
        self.notes.look_for_keys("the repr of the part", repr(part))
        try:
            await body(Bench(part, relay, self.notes, name, self.real_time, lambda: self._make(*url)))
        except (Fails, Skips) as error:
            self.notes.saw(error, name)
            raise
        except Exception as error:
            self.notes.saw(error, name)
            found = f"found {type(error).__name__} of {_place(error)}: {error}"
            raise Fails(f"expected no error here, {found}") from error

    def _note_left(self, name: str, loop: _TrialLoop, relay: Relay | None) -> None:
        mine = asyncio.current_task()
        left = [task for task in asyncio.all_tasks() if task in loop.of_part and task is not mine]
        self.notes.tasks += [f"{_coroutine(task)} ({name})" for task in left]
        if relay is not None and relay.open:
            self.notes.connections.append(f"{relay.open} of {relay.connections} ({name})")

    def _note_threads(self, name: str, before: set[threading.Thread]) -> None:
        for thread in set(threading.enumerate()) - before:
            thread.join(0.0 if self.notes.threads else THREAD_S)  # one that was told to end may have work to finish
            if thread.is_alive():
                self.notes.threads.append(f"{thread.name} ({name})")

    def _lost(self, name: str, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.notes.lost.append(f"{context.get('message')}: {error!r} ({name})")
        if isinstance(error, BaseException):
            self.notes.saw(error, name)


class _TrialLoop(asyncio.SelectorEventLoop):
    """What the loops of trials have in common.

    Attributes:
        of_part: The tasks that the part and the session around it have started.
        endless: Who waits where, once the trial was given up.
        steps_left: How many steps the trial may still take.
        on_step: Called in each step.
    """

    def __init__(self) -> None:
        super().__init__()
        self.of_part: set[asyncio.Task[Any]] = set()
        self.endless = ""
        self.steps_left = MOST_STEPS
        self.on_step: Callable[[], None] | None = None

    def made_by_part(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:  # noqa: ANN401
        """Make a task, and note whose it is."""
        task = asyncio.Task(coroutine, loop=loop, **options)
        if _is_part.get():
            self.of_part.add(task)
            task.add_done_callback(self.of_part.discard)
        return task

    def _run_once(self) -> None:
        self.steps_left -= 1
        if self.steps_left < 0:
            self.give_up()
        if self.on_step is not None:
            self.on_step()
        cast("Any", super())._run_once()

    def give_up(self) -> None:
        """Stop, because the trial has no end."""
        self.endless = self.endless or waits(self)
        self.stop()


class _VirtualLoop(_TrialLoop, VirtualTimeLoop):
    """Virtual time."""


class _RealLoop(_TrialLoop):
    """Real time, for parts with threads."""


def _finished(loop: _TrialLoop, trial: Any) -> Fails | Skips | None:  # noqa: ANN401 - a coroutine
    """Run a trial to its end, and return what it raised."""
    longest_s = LONGEST_REAL_S if isinstance(loop, _RealLoop) else LONGEST_S
    loop.call_later(longest_s, loop.give_up)
    try:
        loop.run_until_complete(trial)
    except (Fails, Skips) as error:
        return error
    except RuntimeError as error:
        if not loop.endless:
            return Fails(f"expected an end of the trial, found {type(error).__name__}: {error}")
        return Fails(
            f"expected an end, found none after {longest_s:g} s or {MOST_STEPS:,} steps of the loop; give every wait "
            f"an end, also when the work is cancelled. These wait: {' '.join(loop.endless.split())}"
        )
    except Exception as error:  # noqa: BLE001 - of the server, which is reported like one of the part
        return Fails(f"expected no error of the server, found {type(error).__name__}: {error}")
    return None


def _end(loop: _TrialLoop) -> None:
    """Close a loop, whatever still runs in it."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.steps_left = CLOSING_STEPS
    with suppress(RuntimeError):
        if left:
            loop.run_until_complete(_gathered(left))
        loop.run_until_complete(loop.shutdown_asyncgens())
        if isinstance(loop, _RealLoop):
            loop.run_until_complete(loop.shutdown_default_executor())
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # it was reported
    loop.close()


async def _gathered(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.wait(tasks, timeout=1.0)


def _place(error: Exception) -> str:
    """Return where an error was raised, or what called the library that raised it."""
    frames = traceback.extract_tb(error.__traceback__)[::-1]
    frame = next((frame for frame in frames if "site-packages" not in frame.filename), frames[0])
    return f"{Path(frame.filename).name}:{frame.lineno}"


def _coroutine(task: asyncio.Task[Any]) -> str:
    return getattr(task.get_coro(), "__qualname__", task.get_name())


def _outside(run: Callable[[], Fails | Skips | None]) -> Fails | Skips | None:
    """Run something that needs an event loop of its own, also where one is running: then in a thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run()
    results: list[Fails | Skips | None] = []
    thread = threading.Thread(target=lambda: results.append(run()), name="voicepipe conformance")
    start_thread(thread)  # also where virtual time runs, and refuses threads: it stands still until this one has ended
    thread.join()
    return results[0]
