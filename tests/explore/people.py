"""What the caller says and does, and what the application does, whichever worker has the call."""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING

import anyio

import voicepipe as vp
from tests.explore import facts
from tests.explore.legs import LEG, Leg
from tests.explore.parts import Driver, other_tool
from tests.explore.world import World, words_of

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from tests.explore.plan import Act, Plan

WAIT_FOR_AGENT_S = 6.0
LOST_S = 5.1
"""After this, early words count although their final has not come."""


class People(Driver):
    """The caller and the application of one call.

    Attributes:
        leg: The worker that has the call.
        sayings: What the application asked it to say.
    """

    leg: Leg

    def __init__(self, plan: Plan, world: World) -> None:
        self.world = world
        self.plan = plan
        self.sayings: list[tuple[str, vp.Saying]] = []
        self._last_final = ""

    # --- the application ----------------------------------------------------------------------------------------------

    async def application(self) -> None:
        """Do what was drawn."""
        for act in self.plan.application:
            await self._moment(act)
            self.act(act.what, Random(act.luck))

    def act(self, what: str, chance: Random | None = None) -> None:
        """Do something with the session, as the application or a tool of it; nothing in a worker that lost the call."""
        session, world = self.leg.session, self.world
        if session is None or LEG.get() not in (None, self.leg):
            return
        text = world.text(chance or world.chance) if what in ("say", "protected") else ""
        world.note(facts.Acted(what, text))
        match what:
            case "say" | "protected":
                self.sayings.append((text, session.say(text, protected=what == "protected")))
            case "reply":
                self.sayings.append(("", session.reply("Speak.")))
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
            await self._agent_speaks()
        if act.after_s:
            await anyio.sleep(act.after_s)

    async def _agent_speaks(self) -> None:
        """Wait, for some seconds at most, until the agent becomes audible."""
        self.world.speaks = anyio.Event()
        with anyio.move_on_after(WAIT_FOR_AGENT_S):
            await self.world.speaks.wait()

    # --- the caller ---------------------------------------------------------------------------------------------------

    async def caller(self, tasks: TaskGroup) -> None:
        """Say and do what was drawn."""
        for act in self.plan.caller:
            await self._moment(act)
            await self._do(act.what, Random(act.luck), tasks)

    def _hand(self, *events: vp.Hearing) -> None:
        self.leg.caller.hand(*events)

    async def _do(self, what: str, chance: Random, tasks: TaskGroup) -> None:
        words = " ".join(self.world.words(chance, 4))
        match what:
            case "says" | "interrupts":
                await self._says(chance.choice((f"I want {words}.", f"And {words}?", words, f"{words} and")), chance)
            case "goes on":
                await self._says(f"I want {words}", chance)
                await anyio.sleep(round(chance.uniform(0.05, 1.2), 3))
                await self._says(f"and {' '.join(self.world.words(chance, 2))}.", chance)
            case "hums":
                await self._says(chance.choice(("mhm", "Yeah.", "uh-huh, yeah")), chance, hums=True)
            case "coughs":
                self._hand(vp.SpeechStarted(at_s=anyio.current_time()))
                await anyio.sleep(chance.choice((0.1, 0.25, 0.5, 1.2, 3.0)))
                self._hand(vp.SpeechEnded(at_s=anyio.current_time()))
            case "stops":
                await self._says("Stop.", chance, hums=True)
            case "repeats":
                self._final(self._last_final or "mhm", hums=True)
            case "nothing":
                self._final(chance.choice(("...", "")), hums=True)
            case "guesses wrong":
                self._hand(vp.EarlyTranscript("something else.", stable=True))
                await anyio.sleep(chance.choice((0.0, 0.1, 0.6)))
                self._final(f"I want {words}.")
            case "no final":
                self._hand(vp.EarlyTranscript(f"i want {words}", stable=False))
                self._spoke("without final", f"i want {words}", words_of(words))
                await anyio.sleep(LOST_S + chance.choice((0.0, 0.1, 1.0)))  # else what comes next corrects it
            case "keys":
                keys = str(chance.randint(1000, 9999)) + chance.choice(("#", ""))
                if self.leg.session is not None:
                    self._spoke("keys", keys, (keys.strip("#"),))
                    self.leg.session.press(keys)
            case "types":
                if self.leg.session is not None:
                    self._spoke("types", words, words_of(words))
                    tasks.start_soon(self._types, self.leg.session, f"{words}?")
            case _:
                assert what == "waits"
                await anyio.sleep(chance.uniform(4.0, 14.0))

    def _spoke(self, how: str, text: str, words: tuple[str, ...] = ()) -> None:
        """Note what was said; while no worker has the call, nobody hears it."""
        self.world.note(facts.Spoke(how, text, words if self.leg.session is not None else ()))

    async def _says(self, text: str, chance: Random, *, hums: bool = False) -> None:
        """Speak: the sound, guesses at the words, and the words, each late as recognisers are."""
        hand, began_s = self._hand, anyio.current_time()
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
        self._spoke("sounds" if hums else "says", text, () if hums else words_of(text))
        self._hand(vp.Transcript(text, now if ended_s is None else ended_s, now))

    async def _types(self, session: vp.Session[Driver], text: str) -> None:
        with suppress(vp.ConfigurationError):  # the session has ended, or is ending
            await session.user_says(text)
