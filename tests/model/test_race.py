"""The requests of one reply: when the next one is sent, which one is heard, and what becomes of the others."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import voicepipe as vp
from tests.helpers.models_in_turn import NamedModel, asked, first_of, race_table
from tests.helpers.tool_rows import PieceModel, calls_of, sleeper
from voicepipe.errors import IncompleteReply, StageError, VendorError
from voicepipe.testing import (
    Breaks,
    Calls,
    RecordingOutput,
    Refuses,
    Says,
    ScriptedUser,
    ScriptedVoice,
    run_on_virtual_time,
)

if TYPE_CHECKING:
    from tests.helpers.tool_rows import Row
    from voicepipe.testing import Reply

pytestmark = pytest.mark.anyio

NEVER = Says("Too late.", after_s=50.0)


def heard(row: Row) -> list[tuple[float, str]]:
    return [(round(at_s, 6), text) for at_s, text in row.voice.sentences]


# --- late -------------------------------------------------------------------------------------------------------------


async def test_a_reply_in_time_is_asked_for_once() -> None:
    """As long as the first model speaks in time, the second is not asked and nothing is reported."""
    slow, fast = NamedModel("slow", Says("Fine.", after_s=0.79)), NamedModel("fast")
    row = await asked(first_of(slow, fast, after_s=0.8))

    assert heard(row) == [(0.79, "Fine.")]
    assert (fast.requests, race_table(row)) == ([], [])


async def test_a_late_reply_is_asked_for_twice_and_the_first_word_decides() -> None:
    """After 0.8 s the second model is asked as well; it speaks first, and the first request is closed in that step."""
    slow, fast = NamedModel("slow", Says("Fine.", after_s=1.5)), NamedModel("fast", Says("Very well.", after_s=0.2))
    row = await asked(first_of(slow, fast, after_s=0.8))

    assert race_table(row) == [(0.8, "late", "fast"), (1.0, "answers", "fast")]
    assert heard(row) == [(1.0, "Very well.")]
    assert (slow.spans, fast.spans) == ([(0.0, 1.0)], [(0.8, 1.0)])


async def test_the_first_request_may_still_win() -> None:
    """A late first request that speaks before the second one gives the reply, and the second one is closed."""
    slow, other = NamedModel("slow", Says("Fine.", after_s=1.0)), NamedModel("other", NEVER)
    row = await asked(first_of(slow, other, after_s=0.8))

    assert race_table(row) == [(0.8, "late", "other"), (1.0, "first answers", "slow")]
    assert (heard(row), other.spans) == ([(1.0, "Fine.")], [(0.8, 1.0)])


async def test_the_whole_reply_comes_from_one_model() -> None:
    """Words that the other one sends in the same step are dropped: nothing is said twice, and nothing is mixed."""
    models = [NamedModel(name, Says(f"{name} is here. {name} is well.", after_s=at_s)) for name, at_s in DRAW]
    row = await asked(first_of(*models, after_s=0.5))
    assert "".join(text for _, text in heard(row)) == "Ada is here. Ada is well."


DRAW = (("Ada", 1.0), ("Bob", 0.5))


async def test_each_model_is_asked_when_the_one_before_it_is_late() -> None:
    """Three models are asked one after another, at equal distances."""
    models = [NamedModel("a", NEVER), NamedModel("b", NEVER), NamedModel("c", Says("Here.", after_s=0.1))]
    row = await asked(first_of(*models, after_s=0.5))
    assert race_table(row) == [(0.5, "late", "b"), (1.0, "late", "c"), (1.1, "answers", "c")]
    assert [model.spans for model in models] == [[(0.0, 1.1)], [(0.5, 1.1)], [(1.0, 1.1)]]


async def test_a_call_counts_as_used() -> None:
    """The first piece of a call decides as a word does: the other request is closed, and no call runs twice."""
    caller = NamedModel("caller", Calls("look", {}, after_s=1.0), Says("There."))
    other = NamedModel("other", Calls("look", {}, after_s=0.6))
    row = first_of(caller, other, after_s=0.5, tools=[sleeper("look", 2.0)])
    async with row.session() as session:
        await session.user_says("Where is it?")
        calls = calls_of(session)

    assert race_table(row) == [(0.5, "late", "other"), (1.0, "first answers", "caller")]
    assert other.spans == [(0.5, 1.0)]
    assert [(call.name, call.status) for call in calls] == [("look", "done")]
    assert row.tool_table == [(1.0, "look", "started"), (3.0, "look", "done")]


async def test_blanks_decide_nothing() -> None:
    """White space ahead of the first word is no word, so it keeps no other model from being asked or heard."""

    class Blank(PieceModel):
        async def reply(self, request: vp.Request, outbox: vp.Outbox[vp.ReplyPart], turn: vp.Turn) -> None:
            await super().reply(request, outbox, turn)
            await anyio.sleep_forever()

    row = await asked(first_of(Blank([vp.TextDelta("\n ")]), NamedModel("b", Says("Here.")), after_s=0.5))
    assert heard(row) == [(0.5, "Here.")]


async def test_an_empty_end_decides() -> None:
    """A model that has nothing to say has replied: no other one is asked."""
    other = NamedModel("other")
    row = await asked(first_of(PieceModel([vp.ReplyEnd(finish_reason="stop")]), other, after_s=0.5))
    assert [type(event) for event in row.reported(vp.TurnEnded)] == [vp.TurnEmpty]
    assert other.requests == []


# --- drafts -----------------------------------------------------------------------------------------------------------


async def test_a_draft_is_not_hedged_before_it_is_committed() -> None:
    """A draft asks one model, however late it is; once the caller has really ended, the next one is asked at once."""
    user = ScriptedUser().guesses("how are you", at_s=1.0).says("How are you?", at_s=3.0).hangs_up(at_s=6.0)
    slow, fast = NamedModel("slow", NEVER), NamedModel("fast", Says("Well.", after_s=0.2))
    row = first_of(slow, fast, after_s=0.8, user=user)
    async with row.session() as session:
        await session.ended.wait()

    assert race_table(row) == [(3.0, "late", "fast"), (3.2, "answers", "fast")]
    assert (slow.spans, fast.spans) == ([(1.0, 3.2)], [(3.0, 3.2)])


async def test_a_draft_that_is_dropped_asks_nobody_else() -> None:
    """A draft on the wrong words is closed with its one request."""
    user = ScriptedUser().guesses("how", at_s=1.0).says("Where are you?", at_s=3.0).hangs_up(at_s=6.0)
    slow, fast = NamedModel("slow", NEVER, Says("Here.")), NamedModel("fast")
    row = first_of(slow, fast, after_s=0.8, user=user)
    async with row.session() as session:
        await session.ended.wait()

    assert (slow.spans[0], fast.requests, race_table(row)) == ((1.0, 3.0), [], [])
    assert heard(row) == [(3.0, "Here.")]


async def test_a_draft_that_failed_may_ask_another_model() -> None:
    """A failure leaves one request at a time, so another model may take its place in a draft as well."""
    user = ScriptedUser().guesses("how are you", at_s=1.0).says("How are you?", at_s=3.0).hangs_up(at_s=6.0)
    row = first_of(NamedModel("a", Refuses(503, "busy")), NamedModel("b", Says("Well.", after_s=0.2)), user=user)
    async with row.session() as session:
        await session.ended.wait()

    assert race_table(row) == [(3.0, "failed: busy", "b"), (3.0, "answers", "b")]  # what a draft reports waits
    assert heard(row) == [(1.2, "Well.")]


# --- failed -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after_s", [None, 0.8])
async def test_a_failure_that_may_pass_asks_the_next_model_at_once(after_s: float | None) -> None:
    """A 503 after 0.3 s starts the next request in that step, whether or not a time is set."""
    failing = NamedModel("a", Refuses(503, "busy", after_s=0.3))
    row = await asked(first_of(failing, NamedModel("b", Says("Well.", after_s=0.1)), after_s=after_s))
    assert race_table(row) == [(0.3, "failed: busy", "b"), (0.4, "answers", "b")]
    assert [type(event) for event in row.reported(vp.TurnEnded)] == [vp.TurnCompleted]


async def test_without_a_time_a_silent_model_is_waited_for() -> None:
    """Only a failure brings the next model, if no time is set."""
    other = NamedModel("other")
    row = await asked(first_of(NamedModel("a", Says("At last.", after_s=20.0)), other))
    assert (heard(row), other.requests) == ([(20.0, "At last.")], [])


@pytest.mark.parametrize(
    ("broken", "kind", "said"),
    [
        pytest.param(NamedModel("a", Refuses(401, "no such key")), VendorError, "no such key", id="refused for good"),
        pytest.param(PieceModel([ValueError("7")]), StageError, "PieceModel raised ValueError: 7", id="a bug"),
        pytest.param(PieceModel([]), IncompleteReply, "PieceModel returned without a reply", id="no reply"),
    ],
)
async def test_a_failure_for_good_is_not_hidden(broken: vp.Model, kind: type[Exception], said: str) -> None:
    """What has to be mended is reported as it is: no other model is asked."""
    other = NamedModel("other")
    row = await asked(first_of(broken, other))
    (failed,) = row.reported(vp.TurnFailed)
    assert (type(failed.error), str(failed.error), other.requests) == (kind, said, [])


async def test_a_failure_for_good_leaves_the_others_running() -> None:
    """A model that was asked because the first one was late replies, although the first one is then refused."""
    refused, other = NamedModel("a", Refuses(400, "no", after_s=0.9)), NamedModel("b", Says("Well.", after_s=0.2))
    row = await asked(first_of(refused, other, after_s=0.8))
    assert race_table(row) == [(0.8, "late", "b"), (1.0, "answers", "b")]
    assert row.reported(vp.TurnFailed) == []


async def test_a_hedge_that_fails_does_not_disturb_the_first_request(caplog: pytest.LogCaptureFixture) -> None:
    """A bug of the second model is logged, and the first one is heard."""
    row = await asked(
        first_of(NamedModel("a", Says("Fine.", after_s=1.0)), PieceModel([ValueError("secret")]), after_s=0.5)
    )
    assert heard(row) == [(1.0, "Fine.")]
    assert row.reported(vp.TurnFailed) == []
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "PieceModel raised ValueError" in record.getMessage()
    assert "secret" not in record.getMessage()


async def test_if_all_fail_the_first_error_counts() -> None:
    """The turn fails when the last request has failed, with the error of the model that was asked first."""
    models = [NamedModel("a", Refuses(503, "first")), NamedModel("b", Refuses(500, "second", after_s=0.2))]
    row = await asked(first_of(*models))
    (failed,) = row.reported(vp.TurnFailed)
    assert (str(failed.error), race_table(row)) == ("first", [(0.0, "failed: first", "b")])


async def test_a_reply_that_breaks_off_is_not_asked_for_again() -> None:
    """After the first word no other model is asked, so nothing is said twice."""
    other = NamedModel("other")
    row = await asked(first_of(NamedModel("a", Breaks("It is sunny. And")), other, after_s=0.5))
    (failed,) = row.reported(vp.TurnFailed)
    assert str(failed.error) == "the scripted reply breaks here"
    assert heard(row)[0] == (0.0, "It is sunny.")
    assert other.requests == []


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_an_interruption_closes_all_requests() -> None:
    """A barge-in cancels each model that was asked, in that step."""
    models = [NamedModel("a", NEVER), NamedModel("b", NEVER)]
    row = first_of(*models, after_s=0.5)
    async with row.session() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.user_says, "How are you?")
        await anyio.sleep(0.7)
        session.interrupt()
    assert [model.spans for model in models] == [[(0.0, 0.7)], [(0.5, 0.7)]]


async def test_the_deadline_of_the_turn_holds() -> None:
    """However many models there are to ask, the turn ends when its time is over, and they are closed."""
    models = [NamedModel("a", NEVER), NamedModel("b", Refuses(503, "busy", after_s=9.0)), NamedModel("c", NEVER)]
    parts = [vp.FirstOf(*models, after_s=0.5), vp.ToolRouter([], turn_s=4.0), vp.SentenceChunker(), ScriptedVoice()]
    async with vp.Pipeline(*parts, output=RecordingOutput(), fallback="").session() as session:
        turn = await session.user_says("How are you?")
    assert isinstance(turn.failure, IncompleteReply)
    assert [model.spans for model in models] == [[(0.0, 4.0)], [(0.5, 4.0)], [(1.0, 4.0)]]


async def test_a_model_that_ignores_its_cancellation_is_left_behind() -> None:
    """A closed request that goes on for ever is reported by name; the reply is heard at once, and the turn ends."""

    class Deaf(NamedModel):
        @property
        def name(self) -> str:
            return "Deaf"

        async def reply(self, request: vp.Request, outbox: vp.Outbox[vp.ReplyPart], turn: vp.Turn) -> None:
            while not session_is_over.is_set():
                try:
                    await session_is_over.wait()
                except BaseException:  # noqa: BLE001 - what this test is about
                    continue
            with pytest.raises(anyio.BrokenResourceError):
                await outbox.send(vp.TextDelta("Me too."))
            refused.append(True)

    session_is_over, refused = anyio.Event(), list[bool]()
    row = first_of(Deaf("deaf"), NamedModel("b", Says("Well.")), after_s=0.5)
    async with row.session() as session:
        await session.user_says("How are you?")
        assert heard(row) == [(0.5, "Well.")]
        assert round(anyio.current_time(), 6) == 3.5  # the time that every part has to obey
    assert [event.part for event in row.reported(vp.CleanupOverran)] == ["Deaf"]
    session_is_over.set()
    await anyio.wait_all_tasks_blocked()
    assert refused == [True]  # its outbox is closed


# --- any race ---------------------------------------------------------------------------------------------------------

MOMENTS = st.integers(0, 6).map(lambda tenths: tenths / 10)


def replies(name: str) -> st.SearchStrategy[Reply]:
    words = f"{name} says this, and {name} says that."
    return st.one_of(
        MOMENTS.map(lambda at_s: Says(words, after_s=at_s, token_s=0.05)),
        MOMENTS.map(lambda at_s: Refuses(503, name, after_s=at_s)),
        MOMENTS.map(lambda at_s: Refuses(400, name, after_s=at_s)),
        MOMENTS.map(lambda at_s: Breaks(f"{name} says", after_s=at_s)),
    )


@given(st.tuples(*map(replies, "abc")), st.sampled_from([None, 0.1, 0.25]))
def test_every_race_has_one_winner_or_the_first_error(script: tuple[Reply, ...], after_s: float | None) -> None:
    """Whatever the models do and when: the words are one model's, whole; all is closed; an error is the first one's."""
    models = [NamedModel(name, reply) for name, reply in zip("abc", script, strict=True)]

    async def main() -> None:
        row = await asked(first_of(*models, after_s=after_s))
        text = "".join(text for _, text in heard(row))
        chosen = row.reported(vp.ModelAnswered)
        several = sum(bool(model.requests) for model in models) > 1
        (end,) = row.reported(vp.TurnEnded)
        speaker = text[:1]
        if isinstance(end, vp.TurnCompleted):
            assert text == f"{speaker} says this, and {speaker} says that."
        elif not chosen and not speaker:
            assert str(getattr(end, "error", "")) == "a"
        assert [event.model for event in chosen] == ([speaker] if several and speaker else [])
        assert {word for word in text.split() if word in "abc"} <= {speaker}
        ended_s = max(to_s for model in models for _, to_s in model.spans)
        winner = next((model for model in models if model.label == speaker), None)
        assert winner is None or winner.spans[0][1] == ended_s  # nothing runs longer than the reply
        assert all(len(model.spans) == len(model.requests) <= 1 for model in models)

    run_on_virtual_time(main)
