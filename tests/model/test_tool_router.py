"""The tool loop, in whole sessions on virtual time."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Annotated

import anyio
import pytest
from pydantic import WithJsonSchema

import voicepipe as vp
from tests.helpers.tool_rows import DONE, PieceModel, Row, calls_of, scripted, sleeper
from voicepipe.errors import ConfigurationError, IncompleteReply, ToolError, VendorError
from voicepipe.flow import ReplyEnd, TextDelta, ToolCallDelta
from voicepipe.model.model import Model, ReplyPart, Request
from voicepipe.testing import Calls, RecordingOutput, Says, ScriptedModel, ScriptedUser, ScriptedVoice

if TYPE_CHECKING:
    from voicepipe.conversation.turn import Turn
    from voicepipe.core.channel import Outbox

pytestmark = pytest.mark.anyio


@vp.tool(effect="read")
async def weather(city: str) -> str:
    """Give the weather."""
    if city == "Atlantis":
        raise ToolError("there is no weather under water")
    if city == "Troy":
        raise ValueError("the password of the archive is hunter2")
    if city == "Limbo":
        await anyio.sleep_forever()
    return f"sunny in {city}"


# --- the loop ---------------------------------------------------------------------------------------------------------


async def test_text_before_a_call_is_spoken_at_once() -> None:
    """Words before a call are synthesised while the tool is running; the answer follows the result."""
    row, _ = scripted([Calls("look", {}, say="One moment. "), DONE], sleeper("look", 2.0))
    async with row.session() as session:
        await session.user_says("Where is it?")

    assert row.voice.sentences == [(0.0, "One moment. "), (2.0, "Done.")]
    assert [message.text for message in list(session.history)[1:]] == ["One moment.", "Done."]


class PausingModel(Model):
    """Does something of its own between two texts."""

    async def reply(self, request: Request, outbox: Outbox[ReplyPart], turn: Turn) -> None:
        await outbox.send(TextDelta("Let me look", ends_segment=True))
        await anyio.sleep(2.0)
        await outbox.send(TextDelta(" Found"))
        await outbox.send(ReplyEnd(finish_reason="stop"))


async def test_a_model_may_say_where_its_text_ends() -> None:
    """What a model ends is spoken at once, though nothing in the text ends it, and stays one message."""
    row = Row(PausingModel(), [])
    async with row.session() as session:
        await session.user_says("Where is it?")

    assert row.voice.sentences == [(0.0, "Let me look"), (2.0, " Found")]
    assert [message.text for message in list(session.history)[1:]] == ["Let me look Found"]


async def test_calls_of_one_reply_run_side_by_side() -> None:
    """Several calls run at the same time, and take as long as the longest of them."""
    row, model = scripted(
        [(Calls("a", {}), Calls("b", {}), Calls("c", {})), DONE],
        sleeper("a", 0.3),
        sleeper("b", 0.1),
        sleeper("c", 0.2),
    )
    async with row.session() as session:
        await session.user_says("Do it")

    assert row.tool_table == [
        (0.0, "a", "started"),
        (0.0, "b", "started"),
        (0.0, "c", "started"),
        (0.1, "b", "done"),
        (0.2, "c", "done"),
        (0.3, "a", "done"),
    ]
    assert row.voice.sentences == [(0.3, "Done.")]
    assert list(model.requests[1].tool_results.values()) == [
        "a ended",
        "b ended",
        "c ended",
    ]  # in the order of the calls


async def test_a_call_starts_when_its_arguments_are_complete() -> None:
    """The first call runs while the arguments of the second are still streaming."""
    row, _ = scripted(
        [(Calls("weather", {"city": "Rome"}, token_s=0.1), Calls("weather", {"city": "Oslo"}, token_s=0.1)), DONE],
        weather,
    )
    async with row.session() as session:
        await session.user_says("Rome or Oslo?")

    # Ten tokens each, a tenth of a second apart: one opens the call, the tenth is the closing brace.
    assert [row for row in row.tool_table if row[2] == "started"] == [
        (0.9, "weather", "started"),
        (1.9, "weather", "started"),
    ]


async def test_text_after_a_call_is_spoken_once() -> None:
    """Text after a call in the same reply belongs to the same message, and is spoken."""
    model = PieceModel(
        [
            TextDelta("Let me see. "),
            whole_call(0, "Rome"),
            TextDelta("It takes a moment."),
            ReplyEnd(finish_reason="x"),
        ],
        [TextDelta("Sunny."), ReplyEnd(finish_reason="stop")],
    )
    row = Row(model, [weather])
    async with row.session() as session:
        await session.user_says("Rome?")

    assert [sentence for _, sentence in row.voice.sentences] == ["Let me see. ", "It takes a moment.", "Sunny."]
    # It is heard in two segments, and the model later reads two sentences.
    assert [message.text for message in list(session.history)[1:]] == ["Let me see. It takes a moment.", "Sunny."]


async def test_the_loop_is_bounded() -> None:
    """After five rounds of tools the model is asked once more, without tools; then the turn ends."""
    row, model = scripted(lambda _: Calls("weather", {"city": "Rome"}), weather)
    async with row.session() as session:
        await session.user_says("Rome?")

    assert [chat.tools for chat in model.requests] == [("weather",)] * 5 + [()]
    assert len(row.reported(vp.ToolStarted)) == 5
    assert len(row.reported(vp.TurnEmpty)) == 1


async def test_after_five_rounds_the_model_can_answer() -> None:
    """What the model says once it has no tools is the reply."""
    row, _ = scripted(lambda chat: Calls("weather", {"city": "Rome"}) if chat.tools else DONE, weather)
    async with row.session() as session:
        await session.user_says("Rome?")

    assert len(row.reported(vp.TurnCompleted)) == 1


async def test_a_turn_ends_within_a_minute() -> None:
    """A turn whose tools take too long fails after 60 seconds, and its reading tool is cancelled."""
    row, _ = scripted([Calls("look", {}, say="One moment. ")], sleeper("look", 1000.0, timeout_s=900.0))
    async with row.session() as session:
        await session.user_says("Where is it?")

    (failed,) = row.reported(vp.TurnFailed)
    assert isinstance(failed.error, IncompleteReply)
    assert row.tool_table == [(0.0, "look", "started"), (60.0, "look", "failed")]


# --- what may not run -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        pytest.param('{"city": "Par', "the arguments: not JSON", id="cut"),
        pytest.param("Paris", "the arguments: not JSON", id="no JSON"),
        pytest.param("", "the arguments: not JSON", id="empty text"),
        pytest.param('["Paris"]', "must be one JSON object", id="no object"),
        pytest.param("{}", "city: ", id="field missing"),
        pytest.param('{"city": 3}', "city: ", id="wrong type"),
        pytest.param('{"city": {"x": 1}}', "city: ", id="object for text"),
        pytest.param('{"city": "Rome", "is_admin": true}', "is_admin: there is no such field", id="field too many"),
        pytest.param("[" * 10_000, "nested too deeply", id="nested"),
    ],
)
async def test_arguments_that_do_not_validate_are_shown_to_the_model(arguments: str, shown: str) -> None:
    """A call with arguments that the tool does not take does not run; its one result is the reason."""
    row, model = scripted([Calls("weather", arguments), DONE], weather)
    async with row.session() as session:
        await session.user_says("Weather?")

    assert row.reported(vp.ToolStarted) == []
    (result,) = model.requests[1].tool_results.values()
    assert shown in json.loads(result)["error"]
    assert len(row.reported(vp.TurnCompleted)) == 1


@pytest.mark.parametrize(
    ("name", "city", "shown"),
    [
        pytest.param("delete", "Rome", "there is no tool 'delete'; there are: weather", id="unknown tool"),
        pytest.param("", "Rome", "there is no tool ''; there are: weather", id="no name"),
        pytest.param("rm -rf /", "Rome", "there is no tool 'rm -rf /'; there are: weather", id="impossible name"),
        pytest.param("weather", "Atlantis", "there is no weather under water", id="ToolError"),
        pytest.param("weather", "Troy", "ValueError: the tool failed", id="any other error"),
        pytest.param("weather", "Limbo", "the tool did not answer within 10 s", id="no answer"),
    ],
)
async def test_a_call_that_fails_is_shown_to_the_model(name: str, city: str, shown: str) -> None:
    """A failed call has one result, which gives only the reason; this turn goes on, and so does the next one."""
    row, model = scripted([Calls(name, {"city": city}), DONE, DONE], weather)
    async with row.session() as session:
        await session.user_says("Weather?")
        await session.user_says("And now?")

    assert [json.loads(result) for result in model.requests[1].tool_results.values()] == [{"error": shown}]
    assert [event.status for event in row.reported(vp.ToolFinished)] == ["failed"]
    assert len(row.reported(vp.TurnCompleted)) == 2


async def test_too_many_calls_are_shown_to_the_model() -> None:
    """Eight calls of a reply run; the results of the others say that there were too many."""
    cities = [f"City {number}" for number in range(10)]
    row, model = scripted([tuple(Calls("weather", {"city": city}) for city in cities), DONE], weather)
    async with row.session() as session:
        await session.user_says("Everywhere?")

    results = list(model.requests[1].tool_results.values())
    assert results[:8] == [f"sunny in {city}" for city in cities[:8]]
    assert [json.loads(result)["error"] for result in results[8:]] == ["too many calls at once; at most 8 are run"] * 2


def whole_call(index: int, city: str, call_id: str = "") -> ToolCallDelta:
    return ToolCallDelta(index=index, call_id=call_id, name="weather", arguments=json.dumps({"city": city}))


END = ReplyEnd(finish_reason="stop")


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        pytest.param(
            [
                ToolCallDelta(index=0, name="weather", arguments='{"city": "R'),
                VendorError("x", vendor="v", retryable=True),
            ],
            "x",
            id="stream broken",
        ),
        pytest.param(
            [
                ToolCallDelta(index=0, name="weather", arguments='{"city": "'),
                *[ToolCallDelta(index=0, arguments="a" * 999)] * 17,
            ],
            "more than 16384 bytes of arguments",
            id="endless arguments",
        ),
    ],
)
async def test_a_call_that_is_cut_off_never_runs(pieces: list[ReplyPart | Exception], error: str) -> None:
    """If a reply breaks off inside a call's arguments, the tool does not run, the turn fails, and history is valid."""
    model = PieceModel(pieces, [TextDelta("Hello."), END])
    row = Row(model, [weather])
    async with row.session() as session:
        await session.user_says("Rome?")
        await session.user_says("Still there?")

    assert row.reported(vp.ToolStarted) == []
    (failed,) = row.reported(vp.TurnFailed)
    assert error in str(failed.error)
    (call,) = calls_of(session)
    assert call.status == "failed"
    assert "it was not run" in call.result


async def test_an_endless_row_of_calls_is_cut() -> None:
    """A reply with more than 128 calls fails the turn: eight calls have run, and each call has a result."""
    model = PieceModel([whole_call(index, "Rome") for index in range(200)])
    row = Row(model, [weather])
    async with row.session() as session:
        await session.user_says("Rome?")

    (failed,) = row.reported(vp.TurnFailed)
    assert "more than 128 times" in str(failed.error)
    assert len(row.reported(vp.ToolStarted)) <= 8
    assert {call.status for call in calls_of(session)} <= {"done", "failed"}
    assert len(calls_of(session)) == 128


async def test_what_follows_a_closed_object_is_ignored() -> None:
    """A call is complete once its object is closed: it runs once, and later pieces for it are ignored."""
    model = PieceModel([whole_call(0, "Rome"), ToolCallDelta(index=0, arguments='{"city": "Oslo"}'), END], [END])
    row = Row(model, [weather])
    async with row.session() as session:
        await session.user_says("Rome?")

    assert [(call.arguments, call.result) for call in calls_of(session)] == [('{"city": "Rome"}', "sunny in Rome")]


async def test_an_empty_object_waits_for_what_follows() -> None:
    """Some services begin a call with `{}` and send the arguments after it: a tool with parameters waits for them."""
    opening = ToolCallDelta(index=0, call_id="c", name="weather", arguments="{}")
    model = PieceModel([opening, ToolCallDelta(index=0, arguments='{"city": "Oslo"}'), END], [END])
    row = Row(model, [weather])
    async with row.session() as session:
        await session.user_says("Oslo?")

    assert [call.status for call in calls_of(session)] == [
        "failed"
    ]  # `{}{"city": "Oslo"}` is not JSON, and nothing is guessed


async def test_a_tool_without_parameters_starts_at_once() -> None:
    """For a tool without parameters an empty object is complete, so the call starts at once."""
    row, _ = scripted(
        [(Calls("look", {}), Calls("weather", {"city": "Rome"}, token_s=0.1)), DONE], sleeper("look", 0.1), weather
    )
    async with row.session() as session:
        await session.user_says("Look")

    assert row.tool_table[0] == (0.0, "look", "started")


async def test_arguments_that_cannot_be_checked_are_refused() -> None:
    """A call has a result even if the check of its arguments stumbles over the application's schema."""

    @vp.tool(effect="read")
    async def odd(what: Annotated[str, WithJsonSchema({"anyOf": [{"type": "unheard of"}]})]) -> str:
        """Do something odd."""
        return what

    row, _ = scripted([Calls("odd", {"what": "x"}), DONE], odd)
    async with row.session() as session:
        await session.user_says("Do it")

    assert [call.status for call in calls_of(session)] == ["failed"]
    assert row.voice.sentences == [(0.0, "Done.")]


# --- ids --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ids",
    [
        pytest.param(("x", "x"), id="doubled"),
        pytest.param(("", ""), id="missing"),
        pytest.param(("x", "x_2", "x"), id="doubled twice"),
    ],
)
async def test_each_call_has_an_id_of_its_own(ids: tuple[str, ...]) -> None:
    """Duplicate and missing ids are replaced before a tool runs: each call runs once and has its own result."""
    cities = ["Rome", "Oslo", "Bern"][: len(ids)]
    reply = tuple(Calls("weather", {"city": city}, call_id=one) for city, one in zip(cities, ids, strict=True))
    row, model = scripted([reply, DONE], weather)
    async with row.session() as session:
        await session.user_says("Where is it warm?")

    results = model.requests[1].tool_results
    assert "" not in results
    assert list(results.values()) == [f"sunny in {city}" for city in cities]
    assert [event.call_id for event in row.reported(vp.ToolStarted)] == list(results)


async def test_ids_are_unique_in_a_session() -> None:
    """A tool can rely on call ids even if a service numbers the calls of each reply from the beginning."""
    seen: list[str] = []

    @vp.tool
    async def book(call: vp.ToolContext[None]) -> str:
        """Book a table."""
        seen.append(call.call_id)
        return "booked"

    row, _ = scripted([Calls("book", {}, call_id="call_0"), Calls("book", {}, call_id="call_0"), DONE] * 2, book)
    async with row.session() as session:
        await session.user_says("Two tables")
        await session.user_says("Two more")

    assert len(set(seen)) == 4
    assert seen[0] == "call_0"


async def test_an_id_that_is_repeated_in_every_piece_stays() -> None:
    """Pieces that repeat their call's id, or bring it late, do not change the id that the tool gets."""
    pieces = [
        ToolCallDelta(index=0, call_id="x", name="weather", arguments='{"city": '),
        ToolCallDelta(index=1, call_id="x", name="weather", arguments='{"city": '),
        ToolCallDelta(index=0, call_id="x", name="weather", arguments='"Rome"}'),
        ToolCallDelta(index=1, call_id="x", name="weather", arguments='"Oslo"}'),
    ]
    row = Row(PieceModel([*pieces, END], [TextDelta("Done."), END]), [weather])
    async with row.session() as session:
        await session.user_says("Where is it warm?")

    assert [(call.call_id, call.result) for call in calls_of(session)] == [
        ("x", "sunny in Rome"),
        ("x_2", "sunny in Oslo"),
    ]
    assert [event.call_id for event in row.reported(vp.ToolStarted)] == ["x", "x_2"]


# --- writing and reading ----------------------------------------------------------------------------------------------


async def test_a_writing_tool_outlives_an_interruption() -> None:
    """A barge-in does not touch a writing tool: the model reads "still running" until it ends, then its result."""
    row, model = scripted([Calls("book", {}), Says("Yes?"), DONE], sleeper("book", 2.0, effect="write"))
    row.follows_up = False
    async with row.session() as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.user_says, "Book a table")
            await anyio.sleep(1.0)
            session.interrupt()
        await session.user_says("Wait")
        await anyio.sleep_until(3.0)
        await session.user_says("Well?")

    assert row.tool_table == [(0.0, "book", "started"), (2.0, "book", "done")]
    results = [[m.content for m in chat.messages if m.role == "tool"] for chat in model.requests]
    assert results == [[], ['{"pending":"still running"}'], ['{"untrusted_result":"book ended"}']]


async def test_a_reading_tool_dies_with_its_turn() -> None:
    """A barge-in cancels a reading tool at once, and the one result of its call says so."""
    row, model = scripted([Calls("look", {}), DONE], sleeper("look", 2.0))
    async with row.session() as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.user_says, "Where is it?")
            await anyio.sleep(1.0)
            session.interrupt()
        await session.user_says("Never mind")

    assert row.tool_table == [(0.0, "look", "started"), (1.0, "look", "failed")]
    results = [m.content for m in model.requests[1].messages if m.role == "tool"]
    assert results == ['{"error": "the call was cancelled"}']


async def test_a_tool_that_ignores_cancellation_does_not_hold_the_turn() -> None:
    """A reading tool is given up at its timeout, even if it takes longer to end; what it returns then is ignored."""
    ended: list[float] = []

    @vp.tool(effect="read", timeout_s=1.0)
    async def stubborn() -> str:
        """Look it up, whatever happens."""
        try:
            await anyio.sleep(9.0)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(2.0)
                ended.append(anyio.current_time())
            return "too late"  # noqa: B012 - swallows the cancellation, on purpose

    row, _ = scripted([Calls("stubborn", {}), DONE], stubborn)
    async with row.session() as session:
        await session.user_says("Where is it?")
        await anyio.sleep_until(4.0)

    assert row.voice.sentences == [(1.0, "Done.")]
    assert row.tool_table == [(0.0, "stubborn", "started"), (1.0, "stubborn", "failed")]
    assert ended == [3.0]
    assert [call.status for call in calls_of(session)] == ["failed"]


async def test_a_slow_writing_tool_is_unknown_until_it_ends() -> None:
    """At a writing tool's timeout the result is "unknown"; the true result replaces it later."""
    row, model = scripted([Calls("book", {}), DONE, DONE], sleeper("book", 3.0, effect="write", timeout_s=1.0))
    async with row.session() as session:
        await session.user_says("Book a table")
        assert round(anyio.current_time(), 3) == 1.0  # a sentence is one sample of audio
        await anyio.sleep_until(4.0)
        await session.user_says("Well?")

    assert row.tool_table == [(0.0, "book", "started"), (1.0, "book", "unknown"), (3.0, "book", "done")]
    assert "the outcome is unknown" in next(iter(model.requests[1].tool_results.values()))
    assert [m.content for m in model.requests[2].messages if m.role == "tool"] == ['{"untrusted_result":"book ended"}']


async def test_a_writing_tool_outlives_a_reply_that_breaks() -> None:
    """If the reply breaks off after a complete call, the call has run and keeps its result."""
    booked: list[str] = []

    @vp.tool
    async def book(city: str) -> str:
        """Book a room."""
        await anyio.sleep(1.0)
        booked.append(city)
        return "booked"

    call = ToolCallDelta(index=0, name="book", arguments='{"city": "Rome"}')

    class Breaking(PieceModel):
        async def reply(self, request: Request, outbox: Outbox[ReplyPart], turn: Turn) -> None:
            if request.step == 0:
                await outbox.send(call)
                await anyio.sleep(0.5)
            raise IncompleteReply("cut", vendor="v")

    row = Row(Breaking(), [book])
    async with row.session() as session:
        await session.user_says("Book it")
        await anyio.sleep(1.0)

    assert booked == ["Rome"]
    assert [(call.status, call.result) for call in calls_of(session)] == [("done", "booked")]
    assert len(row.reported(vp.TurnFailed)) == 1


async def test_a_writing_tool_that_outlives_the_session_is_unknown() -> None:
    """A session ends although a writing tool hangs; history says that the outcome is unknown."""
    row, _ = scripted([Calls("book", {})], sleeper("book", 1e6, effect="write", timeout_s=9e5))
    async with row.session() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.user_says, "Book a table")
        await anyio.sleep(1.0)
        session.end()

    (call,) = calls_of(session)
    assert call.status == "unknown"
    assert "it may have happened" in call.result


async def test_a_tool_knows_its_call() -> None:
    """The session's `deps` reach the tool, and the model cannot influence them."""

    @vp.tool
    async def who(call: vp.ToolContext[str]) -> str:
        """Say who calls."""
        return f"{call.deps} in turn {call.turn_id}, call {call.call_id}"

    row, model = scripted([Calls("who", {}, call_id="c"), DONE], who)
    async with row.session(deps="Ada") as session:
        await session.user_says("Who am I?")

    assert model.requests[1].tool_results == {"c": "Ada in turn 1, call c"}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # real time: there is a thread in it
async def test_a_plain_function_runs_in_a_thread(anyio_backend: str) -> None:
    """A plain function as a tool does not block the event loop."""
    threads: list[threading.Thread] = []

    @vp.tool
    def look() -> str:
        """Look it up."""
        threads.append(threading.current_thread())
        return "found"

    row, model = scripted([Calls("look", {}), DONE], look)
    async with row.session() as session:
        await session.user_says("Where is it?")

    assert list(model.requests[1].tool_results.values()) == ["found"]
    assert threads[0] is not threading.main_thread()


# --- drafts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("effect", "done_s"), [("write", 1.1), ("read", 1.0)])
async def test_in_a_draft_only_reading_tools_run(effect: str, done_s: float) -> None:
    """A draft's reading tool runs before the commit and is reported with it; a writing tool begins with the commit."""
    user = ScriptedUser().guesses("Book it", at_s=0.2).says("Book it.", at_s=1.0).hangs_up(at_s=3.0)
    row, _ = scripted([Calls("book", {}), DONE], sleeper("book", 0.1, effect=effect), user=user)
    async with row.session() as session:
        await session.ended.wait()

    assert row.tool_table == [(1.0, "book", "started"), (done_s, "book", "done")]
    assert [message.text for message in list(session.history)[2:]] == ["Done."]


async def test_a_writing_tool_of_a_dropped_draft_never_runs() -> None:
    """A wrong guess of the caller's words has no effect: only the call for the final words runs."""
    user = ScriptedUser().guesses("Book it", at_s=0.2).says("Book it not.", at_s=1.0).hangs_up(at_s=3.0)
    row, _ = scripted([Calls("book", {}), Calls("book", {}), DONE], sleeper("book", 0.1, effect="write"), user=user)
    async with row.session() as session:
        await session.ended.wait()

    assert row.tool_table == [(1.0, "book", "started"), (1.1, "book", "done")]


async def test_a_dropped_draft_leaves_no_event() -> None:
    """The tools of a draft that is dropped are not reported."""
    user = ScriptedUser().guesses("Look", at_s=0.2).says("Look away.", at_s=1.0).hangs_up(at_s=3.0)
    row, _ = scripted([Calls("look", {}), DONE], sleeper("look", 9.0), user=user)
    async with row.session() as session:
        await session.ended.wait()

    assert row.tool_table == []


# --- wiring -----------------------------------------------------------------------------------------------------------


async def test_only_tools_are_taken() -> None:
    """A function that is not a tool is refused when the router is made."""

    async def weather(city: str) -> str:
        return city

    with pytest.raises(ConfigurationError, match="decorate it with @tool"):
        vp.ToolRouter([weather])  # type: ignore[list-item]


@pytest.mark.parametrize("turn_s", [0, -1.0, float("nan")])
async def test_a_turn_needs_time(turn_s: float) -> None:
    """The limit of a turn is a positive number of seconds."""
    with pytest.raises(ConfigurationError, match="turn_s must be positive"):
        vp.ToolRouter([], turn_s=turn_s)


async def test_the_limit_of_a_turn_is_an_option() -> None:
    """The router's limit for a turn holds in the pipeline, too."""
    model = ScriptedModel([Says("Never said.", after_s=100.0)])
    pipeline = vp.Pipeline(
        model,
        vp.ToolRouter([], turn_s=4.5),
        vp.SentenceChunker(),
        ScriptedVoice(),
        output=RecordingOutput(),
        fallback="",
    )
    async with pipeline.session() as session:
        turn = await session.user_says("Hello")

    assert round(anyio.current_time(), 6) == 4.5
    assert isinstance(turn.failure, IncompleteReply)


async def test_a_session_may_have_a_system_prompt_of_its_own() -> None:
    """A prompt that is set on a session's router is sent from the next request on, and no other session has it."""
    model = ScriptedModel([Says("Yes.")] * 3)
    agent = vp.Pipeline(model, vp.SentenceChunker(), ScriptedVoice())
    async with agent.open() as host:
        async with host.session(output=RecordingOutput()) as session, host.session(output=RecordingOutput()) as other:
            await session.user_says("One.")
            session._row.router.system = "Be brief."
            await session.user_says("Two.")
            await other.user_says("Three.")
    prompts = [
        [message.content for message in request.messages if message.role == "system"] for request in model.requests
    ]
    assert prompts == [[], ["Be brief."], []]
