"""Whole calls that break off at a drawn moment and go on elsewhere, on virtual time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

import voicepipe as vp
from voicepipe.testing import Calls, RecordingOutput, Says, ScriptedModel, ScriptedVoice, run_on_virtual_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.testing import ChatRequest, Reply

KINDS = ("talk", "look", "book", "ask", "say", "cut", "nothing")
SENTENCES = "It is sunny. Take a hat. Or two."


def answered(request: ChatRequest) -> Reply | Sequence[Calls]:
    """Return what the model answers; it knows nothing but its request."""
    last = request.messages[-1]
    words = str(last.content).rpartition("\n")[2]
    kind, _, number = words.partition(" ")
    if words.startswith("[A note"):
        return Says("I go on.", after_s=0.1)
    if last.role == "tool":
        return Says("That is done. Anything else?", after_s=0.1)
    if kind == "look":
        return Calls("look", {}, call_id=f"call {number}", after_s=0.1, say="Let me see.")
    if kind in ("book", "ask"):
        return Calls(kind, {"number": int(number)}, call_id=f"call {number}", after_s=0.1)
    if kind == "nothing":
        return Says("", after_s=0.1)
    return Says(SENTENCES, after_s=0.1, token_s=0.05)


@dataclass
class Call:
    """One call, whichever workers hold it.

    Attributes:
        turns: What the caller does, one after another.
        done: The numbers of the turns whose writing tool has run, once for each time.
        sent: The messages of each request.
    """

    turns: Sequence[str]
    done: list[int] = field(default_factory=list)
    sent: list[Any] = field(default_factory=list)

    def pipeline(self) -> vp.Pipeline:
        @vp.tool(effect="read")
        async def look() -> str:
            """Look."""
            await anyio.sleep(0.3)
            return "found"

        @vp.tool
        async def book(number: int) -> str:
            """Book."""
            self.done.append(number)
            await anyio.sleep(0.5)
            return "booked"

        @vp.tool(confirm=True)
        async def ask(number: int) -> str:
            """Ask first."""
            self.done.append(number)
            return "done"

        def reply(request: ChatRequest) -> Any:
            self.sent.append([(one.role, one.content) for one in request.messages])
            return answered(request)

        parts = [ScriptedModel(reply), vp.ToolRouter([look, book, ask]), vp.SentenceChunker(), ScriptedVoice()]
        return vp.Pipeline(*parts, output=RecordingOutput(), fallback="Sorry.")

    async def take(self, session: vp.Session, first: int, end: int) -> None:
        """Take some of the turns."""
        for number in range(first, end):
            kind = self.turns[number]
            if kind == "say":
                await session.say(f"Text {number}. And more.")
            elif kind == "cut":
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(session.user_says, f"cut {number}")
                    await anyio.sleep(1.0)
                    session.interrupt()
            else:
                await session.user_says(f"{kind} {number}")

    async def whole(self, breaks: Sequence[int]) -> list[dict[str, Any]]:
        """Hold the call; after so many turns it goes on in another worker. Return its history."""
        data, history = None, list[dict[str, Any]]()
        for first, end in pairwise([0, *breaks, len(self.turns)]):
            async with self.pipeline().session(resume=data, id="call") as session:
                await self.take(session, first, end)
                data, history = session.snapshot(), session.history.to_json()
        return history

    async def broken(self, at_s: Sequence[float]) -> vp.History:
        """Hold the call; after so many seconds each worker dies, and the last one brings it to its end."""
        data, history = None, vp.History()
        for limit_s in (*at_s, 60.0):
            async with self.pipeline().session(resume=data, id="call") as session:
                with anyio.move_on_after(limit_s):
                    await anyio.sleep(0.0 if data is None else 3.0)  # what was in flight is brought to its end first
                    await self.take(session, len(words_of(session.history)), len(self.turns))
                data, history = session.snapshot(), session.history
        return history


def words_of(history: vp.History) -> list[str]:
    """Return what the caller has said."""
    return [message.text for message in history if isinstance(message, vp.UserMessage)]


turns = st.lists(st.sampled_from(KINDS), min_size=1, max_size=6)


@settings(max_examples=10, deadline=None)
@given(turns, st.data())
def test_after_any_settled_turn_the_next_worker_sends_its_model_the_same(drawn: list[str], data: st.DataObject) -> None:
    """Wherever a call changes its worker between two turns, requests, history and effects are those of one worker."""
    breaks = sorted(data.draw(st.sets(st.integers(1, len(drawn)), max_size=2)))
    one, several = Call(drawn), Call(drawn)
    history = run_on_virtual_time(partial(one.whole, []))
    assert run_on_virtual_time(partial(several.whole, breaks)) == history
    assert several.sent == one.sent
    assert several.done == one.done


caller_turns = st.lists(st.sampled_from(("talk", "look", "book", "ask", "nothing")), min_size=1, max_size=4)


@settings(max_examples=15, deadline=None)
@given(caller_turns, st.lists(st.integers(1, 60).map(lambda tenths: tenths / 20), min_size=1, max_size=3))
def test_whenever_a_worker_dies_nothing_is_done_twice(drawn: list[str], at_s: list[float]) -> None:
    """No writing tool runs twice, no words of the caller are lost, and no sentence that was whole is heard twice."""
    call = Call(drawn)
    history = run_on_virtual_time(partial(call.broken, at_s))
    assert max(Counter(call.done).values(), default=0) <= 1
    assert words_of(history) == [f"{kind} {number}" for number, kind in enumerate(drawn)]
    replies = [message for message in history if isinstance(message, vp.AssistantMessage)]
    assert all(one.status != "pending" for message in replies for one in message.calls)
    heard = " ".join("|" if isinstance(message, vp.UserMessage) else message.heard for message in history)
    for reply in heard.split("|"):
        assert all(reply.count(sentence) <= 1 for sentence in ("It is sunny.", "Take a hat.", "That is done."))
