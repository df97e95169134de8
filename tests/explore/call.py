"""Whole calls on virtual time, in which everything is drawn from a seed, and all promises are checked all the time."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import anyio

import voicepipe as vp
from tests.explore import facts
from tests.explore.legs import LEG, Keeping, Leg
from tests.explore.parts import Caller, Driver, FarModel, LastRelay, Mind, Model, Relay, Voice, Watcher, tools
from tests.explore.people import People
from tests.explore.plan import Plan, planned
from tests.explore.promise import Broken
from tests.explore.promises import Checker
from tests.explore.world import Ear, World, lines_of
from voicepipe.core.waits import wait_any
from voicepipe.testing import DeadlockError, ScriptedGateway, run_on_virtual_time

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from anyio.abc import TaskGroup

    from tests.explore.facts import Noted

LONGEST_S = 900.0
"""No call takes so long; one that does is stuck."""


@dataclass
class Story:
    """What happened in a call.

    Attributes:
        seed: From which it was drawn.
        facts: All that could be seen, in order.
        broken: The promises that were broken, with what happened when.
    """

    seed: int
    facts: list[Noted] = field(default_factory=list["Noted"])
    broken: list[Broken] = field(default_factory=list[Broken])


class Parts:
    """Makes the parts of a call; a subclass may make broken ones."""

    caller: type[Caller] = Caller
    ear: type[Ear] = Ear
    voice: type[Voice] = Voice
    model: type[Model] = Model
    relay: type[LastRelay] = LastRelay

    def tools(self) -> list[Any]:
        """Return the tools."""
        return list(tools().values())


def explore(seed: int, parts: Parts | None = None) -> Story:
    """Hold the call of a seed, and return its story; the same seed gives the same story."""
    plan, checker = planned(seed), Checker()
    world = World(plan, Random(seed), checker)
    try:
        with told_of_errors(world):
            run_on_virtual_time(partial(_call, plan, world, parts or Parts()))
    except DeadlockError as error:
        checker.add("R1", f"the call is stuck: {error}")
    except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the story
        checker.add("R9", f"{type(error).__name__} left the call: {error!r}")
    return Story(seed, world.story, checker.broken)


class told_of_errors(logging.Handler):  # noqa: N801 - a context manager
    """Notes what only a log says."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        self._world.note(facts.Unhandled(f"only a line of the log says it: {record.getMessage()}"))

    def __enter__(self) -> None:
        logging.getLogger().addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)


# --- the call ---------------------------------------------------------------------------------------------------------


async def _call(plan: Plan, world: World, parts: Parts) -> None:
    tasks, files = asyncio.all_tasks(), _open_files()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: world.note(facts.Unhandled(str(context))))
    with anyio.fail_after(LONGEST_S):
        held = Held(plan, world, parts)
        await held.hold()
    left = asyncio.all_tasks() - tasks
    world.note(
        facts.Left(
            took_s=round(held.left_s - (held.let_go_s or world.ended_s), 6),
            error=held.error,
            tasks=tuple(sorted(task.get_name() for task in left)),
            files=_open_files() - files,
            history=lines_of(world.history),
            replayed=world.replayed(),
        )
    )


def _open_files() -> int:
    return len(os.listdir("/dev/fd"))  # noqa: PTH208 - one for each call


class Held(People):
    """A call that is held, from its first worker to its end."""

    def __init__(self, plan: Plan, world: World, parts: Parts) -> None:
        super().__init__(plan, world)
        self.error = ""
        self.let_go_s = self.left_s = 0.0
        self._parts = parts
        self._legs = 0
        self._over = anyio.Event()
        self._is_up = anyio.Event()
        self._is_ending = False
        self._keeping = Keeping(plan.keeping, plan.store_s)

    async def hold(self) -> None:
        """Hold the call to its end."""
        async with self._model() as model, anyio.create_task_group() as workers:
            await self._begin_leg(workers, model)
            async with anyio.create_task_group() as people:
                people.start_soon(self._until_over, people.cancel_scope)
                people.start_soon(self._fatal)
                people.start_soon(self.application)
                people.start_soon(self._breaks, workers, model)
                await self.caller(people)
                await self._end()
        for text, saying in self.sayings:
            with anyio.fail_after(0.001):  # nobody who waits is left waiting
                said = await saying
            turn = self.world.turn_of(said.turn) if said.turn is not None else 0
            self.world.note(facts.Said(text, said.heard, said.is_whole, turn))

    @asynccontextmanager
    async def _model(self) -> AsyncGenerator[vp.Model]:
        if not self.plan.over_http:
            yield self._parts.model(self.world)
            return
        gateway = ScriptedGateway(Mind(self.world).reply)
        async with gateway.serve() as url:
            model = FarModel(base_url=url, model="scripted")
            model.world = self.world
            yield model
        for request in gateway.requests:
            if request.method == "POST" and request.chat is None:
                self.world.note(facts.Unhandled(f"the model cannot be sent such a request: {request.body!r}"))

    # --- workers ------------------------------------------------------------------------------------------------------

    async def _begin_leg(self, workers: TaskGroup, model: vp.Model) -> None:
        """Have another worker take the call, and wait until it has it."""
        self.leg = Leg(self._legs, self._parts.ear(self.world), self._parts.caller())
        self._legs += 1
        workers.start_soon(self._hold_leg, self.leg, model)
        await self._is_up.wait()

    async def _hold_leg(self, leg: Leg, model: vp.Model) -> None:
        LEG.set(leg)
        leg.task = asyncio.current_task()
        try:
            with leg.scope:
                async with self._pipeline(leg, model).open(freeze_gc=False) as host:
                    await self._hold_session(leg, host)
        except vp.VoicepipeError as error:
            if leg is self.leg and not leg.has_lost:
                self.error = type(error).__name__
        finally:
            if leg is self.leg and not leg.has_lost:
                self.left_s = anyio.current_time()
                self._over.set()
                self._is_up.set()

    async def _hold_session(self, leg: Leg, host: vp.Host[Driver]) -> None:
        plan, world = self.plan, self.world
        watcher = Watcher(world, leg.ear)
        async with self._keeping.arguments(leg) as arguments:
            world.note(facts.Began(plan.fallback, plan.turn_s, leg.number, self._keeping.is_resumed))
            arguments["observers"] = [watcher, *arguments["observers"]]
            greeting = "" if leg.number else plan.greeting
            async with host.session(
                output=leg.ear,
                deps=self,
                greeting=greeting,
                protected_greeting=plan.is_greeting_protected,
                **arguments,
            ) as session:
                leg.session = session
                self._is_up.set()
                await wait_any(session.ended.wait, leg.leave.wait)
                if not leg.has_lost:
                    self.let_go_s = self.let_go_s or anyio.current_time()

    def _pipeline(self, leg: Leg, model: vp.Model) -> vp.Pipeline[Driver]:
        return vp.Pipeline[Driver](
            leg.caller,
            model,
            vp.ToolRouter(self._parts.tools(), turn_s=self.plan.turn_s),
            vp.SentenceChunker(),
            Relay(self.world),
            self._parts.relay(self.world),
            self._parts.voice(self.world),
            fallback=self.plan.fallback,
            turns=self.plan.rules,
        )

    async def _breaks(self, workers: TaskGroup, model: vp.Model) -> None:
        """Break the call off at the moments that were drawn, and have the next worker go on with it."""
        for act in self.plan.breaks:
            await self._moment(act)
            if self._is_ending or self._over.is_set():
                return
            if await self._break(act.what, workers):
                await anyio.sleep(Random(act.luck).choice((0.0, 0.05, 0.3, 1.0, 3.0)))
                await self._begin_leg(workers, model)

    async def _break(self, how: str, workers: TaskGroup) -> bool:
        """Have the worker die, lose its caller or hand the call over, and return whether it has."""
        leg, session = self.leg, self.leg.session
        assert session is not None
        if session.ended.is_set():
            return False
        if how == "handed over" and not await leg.record.hand_over(in_mid_turn=True):
            return False
        if self._is_ending or session.ended.is_set():
            return False
        if how == "exact":
            self._keeping.snapshot = session.snapshot()
        leg.ear.lose()
        self.world.note(facts.Broke(how, self._keeping.lag_s, *self.world.audible(self._keeping.lag_s)))
        self.world.next_leg()
        leg.has_lost, leg.is_dead = True, how in ("exact", "killed")
        leg.session, self._is_up = None, anyio.Event()
        self.sayings.clear()
        if leg.is_dead:
            leg.scope.cancel()
        elif how == "handed over":
            session.end()
        else:
            workers.start_soon(self._notices, leg)
        return True

    async def _notices(self, leg: Leg) -> None:
        """Have a worker that has lost its caller notice it after a while."""
        await anyio.sleep(4.0)
        leg.leave.set()

    # --- the end ------------------------------------------------------------------------------------------------------

    async def _until_over(self, people: anyio.CancelScope) -> None:
        await self._over.wait()
        people.cancel()

    async def _fatal(self) -> None:
        if not self.plan.fatal:
            return
        await anyio.sleep(self.plan.fatal_at_s)
        self.world.note(facts.Fault(self.plan.fatal, is_fatal=self.plan.fatal != "output stalls"))
        if self.plan.fatal == "recogniser fails":
            self.leg.caller.hand(vp.VendorError("the recogniser is gone", vendor="recogniser", retryable=False))
        else:
            self.leg.ear.fault = self.plan.fatal

    async def _end(self) -> None:
        """End the call in the way that was drawn."""
        await self._is_up.wait()
        self._is_ending, ending, leg = True, self.plan.ending, self.leg
        self.world.note(facts.Acted(f"ending: {ending}"))
        match ending:
            case "end" | "end after reply":
                self.act(ending)
            case "hangs up":
                leg.caller.hand(None)
            case "leave":
                leg.leave.set()
            case _:
                assert ending in ("cancel", "cancel twice")
                self.let_go_s = anyio.current_time()
                leg.scope.cancel()
                if ending == "cancel twice" and leg.task is not None:
                    asyncio.get_running_loop().call_later(0.2, leg.task.cancel)
        await self._over.wait()
