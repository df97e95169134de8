"""What becomes of the turn in which a call broke off: one table, and what holds for all of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from voicepipe.call_events import ResumedTurn
from voicepipe.history import AssistantMessage, Message, ToolCall, UserMessage
from voicepipe.session.left_turn import DOUBTED, GO_ON, UNKNOWN, Plan, plan
from voicepipe.session.snapshot import LeftTurn, Snapshot, TurnKind, messages_json

ASKED = UserMessage("Book a table, and tell me the weather.")
TEXT = "It is sunny. Take a hat."


def said(heard: str, *calls: ToolCall, generated: str = TEXT) -> AssistantMessage:
    """Return a message of which a part was heard."""
    return AssistantMessage(
        generated, synthesised=heard, heard=heard, calls=list(calls), is_settled=True, was_interrupted=True
    )


def call(call_id: str, status: Any = "pending") -> ToolCall:
    return ToolCall(call_id=call_id, name="book", arguments="{}", status=status, result="shown")


@dataclass(frozen=True)
class Case:
    """A turn in flight, and what becomes of it."""

    name: str
    turn: ResumedTurn
    text: str
    own: tuple[Message, ...]
    kept: tuple[str, ...] = ()
    kind: TurnKind = "reply"
    is_written: bool = True
    protected: bool = False
    begun: tuple[str, ...] = ()
    is_stale: bool = False
    writes: bool = True
    statuses: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        return {"reply": ASKED.text, "say": TEXT, "note": "Greet them."}[self.kind]


CASES = [
    Case("nothing heard", "again", ASKED.text, (ASKED, said(""))),
    Case("nothing written", "again", ASKED.text, (ASKED, said("", generated="")), is_written=False),
    Case("nothing but the words", "again", ASKED.text, (ASKED,), is_written=False),
    Case("nothing heard of a note", "again", "Greet them.", (said(""),), kind="note"),
    Case("a reading call", "again", ASKED.text, (ASKED, said("", call("a"))), is_written=False),
    Case("cut", "rest", "Take a hat.", (ASKED, said("It is sunny.")), (ASKED.text, "It is sunny.")),
    Case(
        "cut in a sentence",
        "rest",
        "Take a hat.",
        (ASKED, said("It is sunny. Take")),
        (ASKED.text, "It is sunny. Take"),
    ),
    Case("cut in a note", "rest", TEXT, (said("It is"),), ("It is",), kind="note"),
    Case("all heard", "none", "", (ASKED, said(TEXT)), (ASKED.text, TEXT)),
    Case("not written", "note", GO_ON, (ASKED, said("It is")), (ASKED.text, "It is"), is_written=False),
    Case("other words", "note", GO_ON, (ASKED, said("It was")), (ASKED.text, "It was")),
    Case("say, nothing heard", "rest", TEXT, (), kind="say", is_written=False),
    Case("say, cut", "rest", "Take a hat.", (said("It is sunny. Take"),), ("It is sunny. Take",), kind="say"),
    Case("say, all heard", "none", "", (said(TEXT),), (TEXT,), kind="say"),
    Case("say, protected", "rest", TEXT, (said("It is sunny."),), ("It is sunny.",), kind="say", protected=True),
    Case("say, other words", "rest", TEXT, (said("It was"),), ("It was",), kind="say"),
    Case("begun", "note", UNKNOWN, (ASKED, said("", call("w"))), (ASKED.text,), begun=("w",), statuses=("unknown",)),
    Case(
        "begun, and a reading call",
        "note",
        UNKNOWN,
        (ASKED, said("", call("w"), call("r"))),
        (ASKED.text,),
        begun=("w",),
        statuses=("unknown", "failed"),
    ),
    Case(
        "begun and done, nothing heard",
        "note",
        GO_ON,
        (ASKED, said("", call("w", "done"))),
        (ASKED.text,),
        begun=("w",),
        is_written=False,
        statuses=("done",),
    ),
    Case(
        "begun and done, the answer written",
        "rest",
        TEXT,
        (ASKED, said("", call("w", "done"), generated=""), said("")),
        (ASKED.text,),
        begun=("w",),
        statuses=("done",),
    ),
    Case("stale", "note", DOUBTED, (ASKED, said("")), (ASKED.text,), is_stale=True),
    Case("stale, without writing tools", "again", ASKED.text, (ASKED,), is_stale=True, writes=False),
    Case("stale, a note", "note", DOUBTED, (), kind="note", is_stale=True),
    Case("stale, say", "rest", TEXT, (), kind="say", is_stale=True),
    Case(
        "stale and begun",
        "note",
        UNKNOWN,
        (ASKED, said("", call("w"))),
        (ASKED.text,),
        begun=("w",),
        is_stale=True,
        statuses=("unknown",),
    ),
]

BEFORE = (UserMessage("Hello?"), AssistantMessage.said("Hello."))


def planned(case: Case) -> Plan:
    """Return what is done about a case, after a settled exchange."""
    left = LeftTurn(
        kind=case.kind,
        words=case.words,
        messages=messages_json(case.own),
        is_written=case.is_written,
        protected=case.protected,
    )
    snapshot = Snapshot(id="call", history=messages_json(BEFORE), turn=left, begun=list(case.begun))
    return plan(snapshot, is_stale=case.is_stale, writes=case.writes)


def test_what_becomes_of_a_turn() -> None:
    """A turn is answered again, said on, or explained by the model; what was heard of it stays."""
    for case in CASES:
        done = planned(case)
        own = done.history[2:]
        calls = [one for message in own if isinstance(message, AssistantMessage) for one in message.calls]
        assert done.history[:2] == BEFORE, case.name
        assert (done.turn, done.text) == (case.turn, case.text), case.name
        assert tuple(message.text for message in own if message.text) == case.kept, case.name
        assert tuple(one.status for one in calls) == case.statuses, case.name
        unknown = [one.call_id for one in calls if one.status == "unknown"]
        assert [one.call_id for _, one in done.unknown] == unknown, case.name
        assert done.is_doubtful == (case.text == DOUBTED), case.name


def test_a_writing_call_of_an_earlier_turn_that_still_ran_is_unknown() -> None:
    """The turn that called it was interrupted and the tool ran on; whoever goes on cannot know what it did."""
    before = (ASKED, said("One moment.", call("w")), UserMessage("Hello?"), AssistantMessage.said("Yes?"))
    snapshot = Snapshot(id="call", history=messages_json(before), begun=["w"])
    done = plan(snapshot, is_stale=False, writes=True)
    assert (done.turn, done.text) == ("note", UNKNOWN)
    assert [one.status for _, one in done.unknown] == ["unknown"]
    left = LeftTurn(kind="say", words=TEXT, protected=True)
    done = plan(replace(snapshot, turn=left), is_stale=False, writes=True)
    assert (done.turn, done.text, done.then) == ("rest", TEXT, UNKNOWN)


def test_without_a_turn_in_flight_nothing_is_done() -> None:
    """A settled conversation is what it was, also if its record is stale."""
    snapshot = Snapshot(id="call", history=messages_json(BEFORE))
    assert plan(snapshot, is_stale=True, writes=True) == Plan(BEFORE, "none")


@given(
    st.sampled_from(CASES),
    st.lists(st.sampled_from(["pending", "done", "failed", "unknown"]), max_size=3),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_no_turn_in_which_a_writing_call_had_begun_is_answered_again(
    case: Case, statuses: list[str], is_written: bool, is_stale: bool, writes: bool
) -> None:
    """Whatever else is true of a turn: its words are not answered again, and each of its calls has a result."""
    calls = [call(f"w{index}", status) for index, status in enumerate(statuses)]
    own = (*case.own, said("It is", *calls))
    begun = tuple(one.call_id for one in calls)
    done = planned(replace(case, own=own, begun=begun, is_written=is_written, is_stale=is_stale, writes=writes))
    left = [one for message in done.history if isinstance(message, AssistantMessage) for one in message.calls]
    assert all(one.status != "pending" for one in left)
    if calls:
        assert done.turn != "again"
        assert [one.call_id for one in left if one.call_id in begun] == list(begun)
