"""Whole calls on virtual time, in which everything is drawn from a seed, and all promises are checked all the time."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import anyio

import voicepipe as vp
from tests.explore import facts
from tests.explore.parts import (
    Caller,
    Driver,
    FarModel,
    LastRelay,
    Mind,
    Model,
    Relay,
    Voice,
    Watcher,
    other_tool,
    tools,
)
from tests.explore.plan import Act, Plan, planned
from tests.explore.promise import Broken
from tests.explore.promises import Checker
from tests.explore.world import Ear, World, lines_of, words_of
from voicepipe.testing import DeadlockError, ScriptedGateway, run_on_virtual_time

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.explore.facts import Noted

LONGEST_S = 900.0
"""No call takes so long; one that does is stuck."""

WAIT_FOR_AGENT_S = 6.0
LOST_S = 5.1
"""After this, early words count although their final has not come."""


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
            took_s=round(held.left_s - held.let_go_s, 6),
            error=held.error,
            tasks=tuple(sorted(task.get_name() for task in left)),
            files=_open_files() - files,
            history=lines_of(world.history),
            replayed=world.replayed(),
        )
    )


def _open_files() -> int:
    return len(os.listdir("/dev/fd"))  # noqa: PTH208 - one for each call


class Held(Driver):
    """A call that is held: what the caller and the application do."""

    def __init__(self, plan: Plan, world: World, parts: Parts) -> None:
        self.error = ""
        self.let_go_s = self.left_s = 0.0
        self._plan = plan
        self.world = self._world = world
        self._parts = parts
        self._caller = parts.caller()
        self._ear = parts.ear(world)
        self._last_final = ""
        self._sayings: list[tuple[str, vp.Saying]] = []
        self._session: vp.Session[Driver]

    async def hold(self) -> None:
        """Hold the call to its end."""
        plan, world = self._plan, self._world
        async with self._model() as model:
            pipeline = vp.Pipeline[Driver](
                self._caller,
                model,
                vp.ToolRouter(self._parts.tools(), turn_s=plan.turn_s),
                vp.SentenceChunker(),
                Relay(world),
                self._parts.relay(world),
                self._parts.voice(world),
                fallback=plan.fallback,
                turns=plan.rules,
            )
            async with pipeline.open(freeze_gc=False) as host:
                await self._leg(host)
        for text, saying in self._sayings:
            with anyio.fail_after(0.001):  # nobody who waits is left waiting
                said = await saying
            turn = world.turn_of(said.turn) if said.turn is not None else 0
            world.note(facts.Said(text, said.heard, said.is_whole, turn))

    @asynccontextmanager
    async def _model(self) -> AsyncGenerator[vp.Model]:
        if not self._plan.over_http:
            yield self._parts.model(self._world)
            return
        gateway = ScriptedGateway(Mind(self._world).reply)
        async with gateway.serve() as url:
            model = FarModel(base_url=url, model="scripted")
            model.world = self._world
            yield model
        for request in gateway.requests:
            if request.method == "POST" and request.chat is None:
                self._world.note(facts.Unhandled(f"the model cannot be sent such a request: {request.body!r}"))

    async def _leg(self, host: vp.Host[Driver]) -> None:
        plan, world = self._plan, self._world
        try:
            with anyio.CancelScope() as scope:
                async with host.session(
                    output=self._ear,
                    deps=self,
                    greeting=plan.greeting,
                    protected_greeting=plan.is_greeting_protected,
                    observers=[Watcher(world, self._ear)],
                ) as self._session:
                    world.history = self._session.history
                    world.note(facts.Began(plan.fallback, plan.turn_s))
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(self._watch_end, tasks.cancel_scope)
                        tasks.start_soon(self._fatal)
                        tasks.start_soon(self._application, tasks)
                        await self._calls(tasks)
                        await self._end(scope)
                    self.let_go_s = self.let_go_s or anyio.current_time()
        except vp.VoicepipeError as error:
            self.error = type(error).__name__
        self.left_s = anyio.current_time()

    async def _watch_end(self, scope: anyio.CancelScope) -> None:
        await self._session.ended.wait()
        self.let_go_s = self.let_go_s or anyio.current_time()
        scope.cancel()

    async def _fatal(self) -> None:
        if not self._plan.fatal:
            return
        await anyio.sleep(self._plan.fatal_at_s)
        self._world.note(facts.Fault(self._plan.fatal, is_fatal=self._plan.fatal != "output stalls"))
        if self._plan.fatal == "recogniser fails":
            self._caller.hand(vp.VendorError("the recogniser is gone", vendor="recogniser", retryable=False))
        else:
            self._ear.fault = self._plan.fatal

    async def _end(self, scope: anyio.CancelScope) -> None:
        """End the call in the way that was drawn."""
        ending = self._plan.ending
        self._world.note(facts.Acted(f"ending: {ending}"))
        if ending in ("end", "end after reply"):
            self.act(ending)
        if ending == "hangs up":
            self._caller.hand(None)
        if ending in ("cancel", "cancel twice"):
            self.let_go_s = anyio.current_time()
            scope.cancel()
            if ending == "cancel twice":
                task = asyncio.current_task()
                assert task is not None
                asyncio.get_running_loop().call_later(0.2, task.cancel)
        if ending == "leave":
            self.let_go_s = anyio.current_time()
            self._session.end()
        await self._session.ended.wait()

    # --- the application ----------------------------------------------------------------------------------------------

    async def _application(self, tasks: anyio.abc.TaskGroup) -> None:
        for act in self._plan.application:
            await self._moment(act)
            self.act(act.what, Random(act.luck))

    def act(self, what: str, chance: Random | None = None) -> None:
        """Do something with the session, as the application or a tool of it."""
        session, world = self._session, self._world
        text = world.text(chance or world.chance) if what in ("say", "protected") else ""
        world.note(facts.Acted(what, text))
        match what:
            case "say" | "protected":
                self._sayings.append((text, session.say(text, protected=what == "protected")))
            case "reply":
                self._sayings.append(("", session.reply("Speak.")))
            case "interrupt":
                session.interrupt()
            case "end":
                session.end()
            case "end after reply":
                session.end(after_reply=True)
            case "expect":
                session.expect(vp.Digits(4))
            case "tools":
                session.tools.remove("look_up")
                session.tools.add(other_tool())
            case _:
                assert what == "waits"
        world.note(facts.Returned(what))

    async def _moment(self, act: Act) -> None:
        if act.over:
            self._world.speaks = anyio.Event()
            with anyio.move_on_after(WAIT_FOR_AGENT_S):
                await self._world.speaks.wait()
        if act.after_s:
            await anyio.sleep(act.after_s)

    # --- the caller ---------------------------------------------------------------------------------------------------

    async def _calls(self, tasks: anyio.abc.TaskGroup) -> None:
        for act in self._plan.caller:
            await self._moment(act)
            await self._do(act.what, Random(act.luck), tasks)

    async def _do(self, what: str, chance: Random, tasks: anyio.abc.TaskGroup) -> None:
        words = " ".join(self._world.words(chance, 4))
        match what:
            case "says" | "interrupts":
                await self._says(chance.choice((f"I want {words}.", f"And {words}?", words, f"{words} and")), chance)
            case "goes on":
                await self._says(f"I want {words}", chance)
                await anyio.sleep(round(chance.uniform(0.05, 1.2), 3))
                await self._says(f"and {' '.join(self._world.words(chance, 2))}.", chance)
            case "hums":
                await self._says(chance.choice(("mhm", "Yeah.", "uh-huh, yeah")), chance, hums=True)
            case "coughs":
                self._caller.hand(vp.SpeechStarted(at_s=anyio.current_time()))
                await anyio.sleep(chance.choice((0.1, 0.25, 0.5, 1.2, 3.0)))
                self._caller.hand(vp.SpeechEnded(at_s=anyio.current_time()))
            case "stops":
                await self._says("Stop.", chance, hums=True)
            case "repeats":
                self._final(self._last_final or "mhm", hums=True)
            case "nothing":
                self._final(chance.choice(("...", "")), hums=True)
            case "guesses wrong":
                self._caller.hand(vp.EarlyTranscript("something else.", stable=True))
                await anyio.sleep(chance.choice((0.0, 0.1, 0.6)))
                self._final(f"I want {words}.")
            case "no final":
                self._caller.hand(vp.EarlyTranscript(f"i want {words}", stable=False))
                self._world.note(facts.Spoke("without final", f"i want {words}", words_of(words)))
                await anyio.sleep(LOST_S + chance.choice((0.0, 0.1, 1.0)))  # else what comes next corrects it
            case "keys":
                keys = str(chance.randint(1000, 9999)) + chance.choice(("#", ""))
                self._world.note(facts.Spoke("keys", keys, (keys.strip("#"),)))
                self._session.press(keys)
            case "types":
                self._world.note(facts.Spoke("types", words, words_of(words)))
                tasks.start_soon(self._types, f"{words}?")
            case _:
                assert what == "waits"
                await anyio.sleep(chance.uniform(4.0, 14.0))

    async def _says(self, text: str, chance: Random, *, hums: bool = False) -> None:
        """Speak: the sound, guesses at the words, and the words, each late as recognisers are."""
        hand, began_s = self._caller.hand, anyio.current_time()
        late_s, speech_s = chance.choice((0.0, 0.1, 0.5)), round(chance.uniform(0.2, 2.0), 3)
        reports_sound, is_stable = chance.random() < 0.85, chance.random() < 0.4
        tokens = text.split()
        if reports_sound:
            await anyio.sleep(late_s)
            hand(vp.SpeechStarted(at_s=began_s))
        for count in range(1, len(tokens) + 1):
            await anyio.sleep(speech_s / len(tokens))
            if chance.random() < 0.7:
                hand(vp.EarlyTranscript(" ".join(tokens[:count]), stable=is_stable and count == len(tokens)))
        ended_s = anyio.current_time()
        if reports_sound and chance.random() < 0.9:
            hand(vp.SpeechEnded(at_s=ended_s))
        await anyio.sleep(chance.choice((0.0, 0.1, 0.3, 0.5, 1.0)))
        self._final(text, hums=hums, ended_s=ended_s)

    def _final(self, text: str, *, hums: bool = False, ended_s: float | None = None) -> None:
        now = anyio.current_time()
        self._last_final = text
        self._world.note(facts.Spoke("sounds" if hums else "says", text, () if hums else words_of(text)))
        self._caller.hand(vp.Transcript(text, now if ended_s is None else ended_s, now))

    async def _types(self, text: str) -> None:
        with suppress(vp.ConfigurationError):  # the session has ended, or is ending
            await self._session.user_says(text)
