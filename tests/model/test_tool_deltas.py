"""Tool calls cut into pieces of every kind that services send: the same calls come out, whatever the cuts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

import voicepipe as vp
from tests.helpers.raw_server import END, HEAD, RawServer, data, delta, text
from voicepipe.model.model import Model, ReplyPart, Request
from voicepipe.testing import ChatRequest, RecordingOutput, ScriptedVoice, run_on_virtual_time
from voicepipe.testing.request import parse_request
from voicepipe.vendors.openai.completion import CompletionParser
from voicepipe.vendors.openai.conversation_json import messages_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.channel import Outbox
    from voicepipe.tools.tool import Tool

NAMES = ("x", "look_up", "book-it", "Z9" * 32)
SHAPES = ("one by one", "mixed", "without index", "all zero")
ID_PLACES = ("id", "function.id", "every piece")
OPENINGS: tuple[dict[str, Any], ...] = (
    {"role": "assistant", "content": None},
    {"content": "", "tool_calls": None},
    {"tool_calls": [{"index": 0, "id": "", "function": {"name": "", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": None}]},
    {"content": "One moment. "},
)

# --- streams ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """A tool call as the model means it.

    Attributes:
        written: The arguments as JSON text, in one of the ways of writing them.
    """

    name: str
    payload: JsonValue
    written: str
    call_id: str


@dataclass(frozen=True)
class Stream:
    """Calls in the order in which they first appear, and the deltas that carry them."""

    calls: tuple[Call, ...]
    deltas: list[dict[str, Any]]

    def events(self) -> list[bytes]:
        return [*(event(delta(**fields)) for fields in self.deltas), event(delta("tool_calls"))]


def event(body: Any) -> bytes:
    """One event; characters stand for themselves, unless half of one is in it."""
    try:
        return data(body)
    except UnicodeEncodeError:
        return data(json.dumps(body).encode())


texts = st.text(alphabet=st.sampled_from('ab {}[]":,\\\n\u2028é語\U0001f600\U0001d11e\x00\x7f'), max_size=6)
scalars = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    scalars | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=4,
)


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    payloads = draw(st.lists(values, min_size=1, max_size=8))
    shape = draw(st.sampled_from(SHAPES))
    id_place = draw(st.sampled_from(ID_PLACES))
    chance = Random(draw(st.integers(0, 2**32)))  # makes the cuts: to draw each of them takes longer than the test
    # If all calls have one index, a new call is recognised by its id.
    ids = ["call-{}"] if shape == "all zero" else ["call-{}", "same", ""]
    calls = [meant(chance, payload, chance.choice(ids).format(at)) for at, payload in enumerate(payloads)]
    index = {"without index": None, "all zero": 0}
    rows = [pieces(chance, call, index.get(shape, at), id_place) for at, call in enumerate(calls)]
    labels = [at for at, row in enumerate(rows) for _ in row]
    if shape == "mixed":
        chance.shuffle(labels)
    order = dict.fromkeys(labels)
    return Stream(tuple(calls[at] for at in order), packed(chance, [rows[at].pop(0) for at in labels]))


def meant(chance: Random, payload: JsonValue, call_id: str) -> Call:
    """A call whose arguments are written in one of the legal ways: blanks, line breaks, escapes."""
    written = json.dumps({"payload": payload}, ensure_ascii=chance.random() < 0.5, indent=chance.choice((None, 1)))
    return Call(chance.choice(NAMES), payload, written + chance.choice(("", "\n ")), call_id)


def pieces(chance: Random, call: Call, index: int | None, id_place: str) -> list[dict[str, Any]]:
    """The deltas of one call: its name is in the first one, its id in the first one or in all."""
    found: list[dict[str, Any]] = []
    for at, written in enumerate(["", *cut(chance, call.written)][chance.randint(0, 1) :]):
        function: dict[str, Any] = {"arguments": written}
        piece: dict[str, Any] = {"function": function} if index is None else {"index": index, "function": function}
        if at == 0:
            piece["type"], function["name"] = "function", call.name
        if call.call_id and (at == 0 or id_place == "every piece"):
            (function if id_place == "function.id" else piece)["id"] = call.call_id
        found.append(piece)
    return found


def cut(chance: Random, written: str) -> list[str]:
    """Cut text between any two UTF-16 units, as servers do whose strings consist of such units."""
    units = written.encode("utf-16-le")
    return [part.decode("utf-16-le", "surrogatepass") for part in parted(units, chance, 2)]


def parted(whole: bytes, chance: Random, unit: int = 1) -> list[bytes]:
    """Cut bytes into up to eight parts of whole units."""
    inner = chance.choices(range(1, len(whole) // unit), k=chance.randint(0, 7))
    return [whole[start:end] for start, end in pairwise(sorted({0, *(unit * at for at in inner), len(whole)}))]


def packed(chance: Random, waiting: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put one or more pieces into each delta, after the beginning that some services send."""
    found = chance.choices(OPENINGS, k=chance.randint(0, 2))
    while waiting:
        size = chance.choice((1, 1, 2, 5))
        found.append({"tool_calls": waiting[:size]})
        del waiting[:size]
    return found


# --- what comes out ---------------------------------------------------------------------------------------------------


class Ran:
    """Tools that note their arguments; the later a call starts, the sooner it ends."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, JsonValue]] = []
        self.tools: list[Tool[Any, Any]] = [self._tool(name, at) for at, name in enumerate(NAMES)]

    def _tool(self, name: str, at: int) -> Tool[Any, Any]:
        @vp.tool(name=name, effect="read" if at % 2 else "write")
        async def note(payload: JsonValue) -> str:
            """Note it."""
            self.calls.append((name, payload))
            await anyio.sleep(1 / len(self.calls))
            return answer(name, payload)

        return note


def answer(name: str, payload: JsonValue) -> str:
    return f"{name} has {json.dumps(payload)}"


class Feeding(Model):
    """Sends events through the parser, then a `ReplyEnd`."""

    def __init__(self, events: Sequence[bytes]) -> None:
        self.asked: list[ChatRequest] = []
        self._events = events

    async def reply(self, request: Request, outbox: Outbox[ReplyPart], turn: Turn) -> None:
        body: Any = {"model": "fed", "messages": messages_json("", request.messages)}
        self.asked.append(parse_request(body))
        parser = CompletionParser("fed")
        for sent in self._events if len(self.asked) == 1 else [text("Done."), data(delta("stop"))]:
            for part in parser.feed(sent.decode().removeprefix("data: ")):
                await outbox.send(part)


async def hold_a_turn(model: Model, ran: Ran) -> None:
    parts = (model, vp.ToolRouter(ran.tools), vp.SentenceChunker(), ScriptedVoice(character_s=0.0))
    async with vp.Pipeline(*parts, fallback="").session(output=RecordingOutput()) as session:
        turn = await session.user_says("Go on")
        assert turn.failure is None


def check(stream: Stream, ran: Ran, asked: Sequence[ChatRequest]) -> None:
    """Check that each call ran exactly once with its own arguments, and has its own result."""
    expected = [(call.name, call.payload) for call in stream.calls]
    assert sorted(map(repr, ran.calls)) == sorted(map(repr, expected))
    assert len(asked) == 2
    (calling,) = [message for message in asked[1].messages if message.tool_calls]
    sent = [(call.name, json.loads(call.arguments)["payload"]) for call in calling.tool_calls]
    assert list(map(repr, sent)) == list(map(repr, expected))
    results = asked[1].tool_results
    assert list(results) == [call.call_id for call in calling.tool_calls]
    assert list(results.values()) == [answer(*one) for one in expected]
    assert calling.tool_calls[0].call_id == stream.calls[0].call_id or not stream.calls[0].call_id


@pytest.mark.slow
@settings(derandomize=True, max_examples=150)
@given(streams())
def test_calls_come_out_as_they_were_meant(stream: Stream) -> None:
    """Each call of a reply runs exactly once with its own arguments, however the reply is cut into pieces."""
    ran, model = Ran(), Feeding(stream.events())
    run_on_virtual_time(partial(hold_a_turn, model, ran))
    check(stream, ran, model.asked)


@pytest.mark.slow
@settings(derandomize=True, max_examples=50)
@given(streams(), st.integers(0, 2**32))
def test_calls_come_out_of_bytes_as_they_were_meant(stream: Stream, seed: int) -> None:
    """The same holds over HTTP, for a response in parts that end anywhere, even within a character."""
    response = HEAD + b"".join(stream.events()) + b"data: [DONE]\n\n"
    acts = [act for part in parted(response, Random(seed)) for act in (part, 0.01)]
    ran, server = Ran(), RawServer(acts, [HEAD, text("Done."), END])

    async def main() -> None:
        async with server.serve() as url:
            await hold_a_turn(vp.LLMStreamStage(base_url=url, model="raw"), ran)

    run_on_virtual_time(main)
    check(stream, ran, [parse_request(request.body) for request in server.requests])
