"""The parts of a call: real ones, which do what was drawn for them and note it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Annotated, Any, Literal, Never

import anyio
from pydantic import Field

import voicepipe as vp
from tests.explore import facts
from tests.explore.legs import LEG
from tests.explore.world import CHARACTER_S, CHARACTER_SAMPLES, CHARACTERS, RATE, World, lines_of
from voicepipe.flow import ReplyEnd, TextDelta, ToolCallDelta
from voicepipe.model.model import ReplyPart, Request
from voicepipe.observed import DraftDropped
from voicepipe.testing import Breaks, Calls, ChatRequest, Refuses, Reply, Says, ScriptedModel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from voicepipe.conversation.turn import Turn
    from voicepipe.observed import Exchange
    from voicepipe.tools.tool import Tool

FOREVER_S = 1e6


class Watcher(vp.Observer):
    """Notes what the session reports."""

    def __init__(self, world: World, ear: Any) -> None:
        self._world = world
        self._ear = ear

    @asynccontextmanager
    async def attach(self, session: vp.Session) -> AsyncGenerator[None]:
        self._world.history = session.history
        yield

    def on_event(self, event: vp.Event) -> None:
        self._ear.listen()
        self._world.emitted(event)

    def on_end(self, reason: str) -> None:
        self._world.ended_s = anyio.current_time()

    def on_exchange(self, exchange: Exchange) -> None:
        if isinstance(exchange, DraftDropped):
            self._world.draft_dropped(exchange.turn_id)


class Caller(vp.SessionStage[Never, vp.Hearing]):
    """Reports what it is handed, in place of a recogniser."""

    def __init__(self) -> None:
        self._handed: list[vp.Hearing | vp.VoicepipeError | None] = []
        self._news = anyio.Event()

    def hand(self, *events: vp.Hearing | vp.VoicepipeError | None) -> None:
        """Report this; None hangs up, and an error is raised."""
        self._handed += events
        self._news.set()

    async def run(self, inbox: vp.Inbox[Never], outbox: vp.Outbox[vp.Hearing], session: vp.Session) -> None:
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            while self._handed:
                event = self._handed.pop(0)
                if event is None:
                    return
                if isinstance(event, vp.VoicepipeError):
                    raise event
                await outbox.send(event)

    def _copied(self) -> Caller:
        return self  # one call, and the driver has to reach it


class Relay(vp.Stage[vp.Sentence, vp.Sentence]):
    """Notes which turn a sentence belongs to; it crashes at the n-th one."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._left = [world.plan.crashes_at or FOREVER_S]

    async def run(self, inbox: vp.Inbox[vp.Sentence], outbox: vp.Outbox[vp.Sentence], turn: Turn) -> None:
        async for sentence in inbox:
            self._left[0] -= 1
            if self._left[0] == 0:
                turn_number, text = self._world.turn_of(turn), sentence.text.strip()
                what = "stage in the fallback" if text == self._world.plan.fallback else "stage"
                self._world.note(facts.Fault(what, turn_number))
                raise OSError("the disk is full")
            await outbox.send(sentence)


class LastRelay(vp.Stage[vp.Sentence, vp.Sentence]):
    """Notes which turn a sentence belongs to."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def run(self, inbox: vp.Inbox[vp.Sentence], outbox: vp.Outbox[vp.Sentence], turn: Turn) -> None:
        async for sentence in inbox:
            self._world.passes(sentence, turn)
            await outbox.send(sentence)


class Voice(vp.TTSSink):
    """Says each character as 40 ms of samples that hold its place and the number of its sentence."""

    sample_rate = RATE

    def __init__(self, world: World) -> None:
        self._world = world

    async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes | vp.WordMark]:
        world = self._world
        given = world.given(sentence.text)
        chance = Random(world.plan.luck + given.number)
        kind = world.plan.voices[given.number % len(world.plan.voices)]
        if kind == "late":
            await anyio.sleep(chance.uniform(0.1, 2.0))
        if kind in ("fails", "hangs", "mute"):
            world.note(facts.Fault("voice", given.turn))
        if kind == "hangs":
            await anyio.sleep_forever()
        if kind == "fails":
            raise vp.VendorError("no voice", vendor="voice", retryable=False)
        text = "" if kind == "mute" else sentence.text.rstrip()
        assert len(text) < CHARACTERS
        middle = len(text) // 2
        pieces = chance.choice((1, 4, len(text) or 1))  # characters in a piece of audio
        for at in range(0, len(text), pieces):
            if kind == "fails in the middle" and at >= middle:
                world.note(facts.Fault("voice", given.turn))
                raise vp.VendorError("lost its voice", vendor="voice", retryable=False)
            if kind == "slow":
                await anyio.sleep(pieces * CHARACTER_S * 1.2)
            for end in range(at + 1, min(at + pieces, len(text)) + 1):
                if given.has_marks and (end == len(text) or text[end].isspace()):
                    yield vp.WordMark(char_end=end, end_s=end * CHARACTER_S)
            yield b"".join(
                (CHARACTERS * given.number + place).to_bytes(2, "little") * CHARACTER_SAMPLES
                for place in range(at, min(at + pieces, len(text)))
            )
            if chance.random() < 0.03:
                await anyio.sleep(0.03)


# --- the model --------------------------------------------------------------------------------------------------------


class Mind:
    """What the model answers, and to what."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._asked = 0

    def reply(self, chat: ChatRequest) -> Reply:
        """Draw an answer."""
        plan = self._world.plan
        chance = Random(plan.luck + 1000 * self._asked)
        kind = plan.replies[self._asked % len(plan.replies)] if self._asked < 24 else "words"
        self._asked += 1
        pace: dict[str, Any] = {
            "after_s": chance.choice((0.0, 0.1, 0.3, 0.5, 1.5)),
            "token_s": chance.choice((0.0, 0.0, 0.02, 0.1)),
        }
        if not chat.tools and kind in ("call", "calls", "words and call", "break in call"):
            kind = "words"  # it must answer now
        match kind:
            case "words" | "question":
                return Says(self._world.text(chance, asks=kind == "question"), **pace)
            case "slow":
                return Says(self._world.text(chance), after_s=0.2, token_s=0.3)
            case "empty":
                return Says("", **pace)
            case "cut":
                return Says(self._world.text(chance), finish_reason="length", **pace)
            case "call":
                return self._call(chance, **pace)
            case "words and call":
                return self._call(chance, say=self._world.text(chance) + " ", **pace)
            case "calls":
                return tuple(self._call(chance, **pace) for _ in range(chance.choice((2, 2, 3, 10))))
            case "break":
                return Breaks(self._world.text(chance), cleanly=chance.random() < 0.5, **pace)
            case "break in call":
                return Calls("look_up", '{"number": 1', **pace)
            case "refused":
                return Refuses(400, "no", after_s=pace["after_s"])
            case "busy":
                return Refuses(503, "busy", after_s=pace["after_s"])
            case _:
                assert kind == "stalls"
                return Says(self._world.text(chance), after_s=500.0)

    def _call(self, chance: Random, **pace: Any) -> Calls:
        arguments: Any = {"number": chance.randint(0, 2)}
        if chance.random() < 0.1:
            arguments = chance.choice(("{", "[]", '{"number": -1}', '{"number": "1"}', "{}", '{"other": 1}'))
        call_id = chance.choice((None, "", "same"))
        return Calls(chance.choice([*TOOLS, "unknown"]), arguments, call_id=call_id, **pace)


class Model(ScriptedModel):
    """Notes what it is asked and what it gave; in the process itself."""

    def __init__(self, world: World) -> None:
        super().__init__(Mind(world).reply)
        self._world = world

    async def reply(self, request: Request, outbox: vp.Outbox[ReplyPart], turn: Turn) -> None:
        await noting(super().reply, request, outbox, turn, self._world)


class FarModel(vp.LLMStreamStage):
    """The same behind a socket."""

    world: World

    async def reply(self, request: Request, outbox: vp.Outbox[ReplyPart], turn: Turn) -> None:
        await noting(super().reply, request, outbox, turn, self.world)


async def noting(reply: Any, request: Request, outbox: vp.Outbox[ReplyPart], turn: Turn, world: World) -> None:
    """Note what a model is asked, what it gives, and how it ends."""
    number, key = world.request(), world.turn_of(turn)
    world.note(facts.Asked(number, key, lines_of(request.messages)))
    noted = Noting(number, key, outbox, world)
    try:
        await reply(request, noted, turn)
    except vp.VoicepipeError as error:
        world.note(facts.Fault("model", key))
        is_partial = noted.has_given or isinstance(error, vp.IncompleteReply)
        world.note(facts.Answered(number, key, "broke" if is_partial else "refused"))
        raise
    except ValueError as error:
        world.note(facts.Unhandled(f"the model cannot be sent such a request: {error}"))
        raise


class Noting:
    """An outbox that notes what goes through it."""

    def __init__(self, request: int, turn: int, outbox: vp.Outbox[ReplyPart], world: World) -> None:
        self.has_given = False
        self._request = request
        self._turn = turn
        self._outbox = outbox
        self._world = world

    async def send(self, item: ReplyPart, /) -> None:
        if isinstance(item, TextDelta) and item.text:
            self.has_given = True
            self._world.note(facts.Gave(self._request, self._turn, text=item.text))
        elif isinstance(item, ToolCallDelta) and item.name:
            self.has_given = True
            self._world.note(facts.Gave(self._request, self._turn, calls=item.name))
        elif isinstance(item, ReplyEnd):
            how = "cut" if item.is_cut else "whole"
            self._world.note(facts.Answered(self._request, self._turn, "cut" if how == "cut" else "whole"))
        await self._outbox.send(item)


# --- tools ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """How a tool behaves."""

    effect: Literal["read", "write"] = "write"
    takes_s: float = 0.0
    raises: type[Exception] | None = None
    lingers_s: float = 0.0
    timeout_s: float = 1.5
    say: str = ""
    confirm: bool = False
    does: str = ""
    size: int = 0


TOOLS: dict[str, Kind] = {
    "look_up": Kind("read"),
    "look_up_slowly": Kind("read", takes_s=0.5),
    "look_up_never": Kind("read", takes_s=FOREVER_S),
    "look_up_lingers": Kind("read", takes_s=FOREVER_S, lingers_s=0.8),
    "look_up_says": Kind("read", takes_s=1.2, say="One moment."),
    "look_up_much": Kind("read", size=100_000),
    "book": Kind(),
    "book_slowly": Kind(takes_s=0.5),
    "book_overruns": Kind(takes_s=2.0),
    "book_never": Kind(takes_s=FOREVER_S),
    "book_lingers": Kind(takes_s=FOREVER_S, lingers_s=0.8),
    "book_confirmed": Kind(takes_s=0.1, confirm=True),
    "fails": Kind(takes_s=0.1, raises=ValueError),
    "refuses": Kind(takes_s=0.1, raises=vp.ToolError),
    "wants_more": Kind("read", takes_s=0.1, raises=vp.ToolRetry),
    "interrupts": Kind(takes_s=0.1, does="interrupt"),
    "says": Kind(takes_s=0.1, does="say"),
    "ends": Kind(takes_s=0.1, does="end"),
    "ends_later": Kind(takes_s=0.1, does="end after reply"),
}


class Driver:
    """What a tool may do in the call that it runs in; `call` has the rest."""

    world: World

    def act(self, what: str) -> None:
        """Do something with the session."""
        raise NotImplementedError


def tool_of(name: str, kind: Kind) -> Tool[Any, Any]:
    """Return a tool that behaves like this."""

    @vp.tool(name=name, effect=kind.effect, timeout_s=kind.timeout_s, say=kind.say, confirm=kind.confirm)
    async def run(number: Annotated[int, Field(ge=0)], call: vp.ToolContext[Driver]) -> str:
        """Do it."""
        writes, world = kind.effect == "write", call.deps.world
        turn, leg = world.turn_with(call.turn_id), LEG.get()
        number_of_leg = leg.number if leg is not None else 0
        world.note(facts.ToolBegan(call.call_id, name, number, writes, kind.confirm, turn, number_of_leg))
        how: Literal["returned", "raised", "cancelled"] = "cancelled"
        try:
            await anyio.sleep(kind.takes_s)
            if kind.raises is not None:
                how = "raised"
                raise kind.raises("it did not work")
            how = "returned"
        finally:
            world.note(facts.ToolEnded(call.call_id, name, how, writes, number_of_leg))
            if kind.lingers_s:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(kind.lingers_s)
        if kind.does:
            call.deps.act(kind.does)
        return "much " * (kind.size // 5) or f"{name} did it"

    return run


@cache
def tools() -> dict[str, Tool[Any, Any]]:
    """Return the tools of all calls; to make one takes longer than half a call."""
    return {name: tool_of(name, kind) for name, kind in TOOLS.items()}


@cache
def other_tool() -> Tool[Any, Any]:
    """Return a tool of the same name as one of them."""
    return tool_of("look_up", TOOLS["look_up"])
