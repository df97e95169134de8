"""Expectations in whole sessions: who sets them, how long they hold, and what the caller hears of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import anyio
import pytest
from pydantic import Field

import voicepipe as vp
from voicepipe.testing import (
    Calls,
    RecordingOutput,
    Says,
    ScriptedModel,
    ScriptedRecogniser,
    ScriptedUser,
    ScriptedVoice,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voicepipe.testing import Reply

pytestmark = pytest.mark.anyio

ASK = "Which order?"  # is heard for 0.6 s
ASK_S = len(ASK) * 0.05


@vp.tool(effect="read")
async def find_order(order_id: Annotated[str, Field(pattern=r"^ORD-\d{5}$")]) -> str:
    """Look an order up."""
    return f"{order_id} is on its way"


def says(user: ScriptedUser, text: str, from_s: float, to_s: float) -> ScriptedUser:
    """Let the caller speak, and the final transcript come 0.3 s later."""
    return user.says(text, at_s=round(to_s + 0.3, 6), speech_s=to_s - from_s, silence_s=0.3)


async def hold(
    user: ScriptedUser,
    replies: Sequence[Reply],
    *,
    tools: Sequence[Any] = (find_order,),
    during: Callable[[vp.Session], None] | None = None,
    during_s: float = 0.0,
    turns: vp.TurnRules | None = None,
) -> tuple[vp.Session, list[vp.Event], RecordingOutput, ScriptedModel]:
    """Hold a call of 15 s."""
    output, model = RecordingOutput(), ScriptedModel(replies)
    row = vp.Pipeline(
        user, model, vp.ToolRouter(tools), vp.SentenceChunker(), ScriptedVoice(),
        output=output, fallback="", turns=turns or vp.TurnRules(drafts=False),
    )  # fmt: skip
    async with row.session() as session:
        if during is not None:
            await anyio.sleep_until(during_s)
            during(session)
        await anyio.sleep_until(15)
    return session, [event async for event in session], output, model


def number_in_two_breaths() -> ScriptedUser:
    """Return a caller who is asked at 1.0 s, and says the number with a pause of 1.2 s."""
    user = ScriptedUser().says("Where is my order?", at_s=1.0)
    return says(says(user, "ord one two", 3.0, 3.8), "three four five", 5.0, 6.0)


async def test_c3_a_number_that_a_tool_lacks_is_one_turn() -> None:
    """The pattern of the argument that the model left out is what the agent waits for, and it waits no longer."""
    replies = [Calls("find_order", {}), Says(ASK), Calls("find_order", {"order_id": "ORD-12345"}), Says("On its way.")]
    session, events, output, model = await hold(number_in_two_breaths(), replies)
    words = [message.text for message in session.history if message.text]
    assert words == ["Where is my order?", ASK, "ord one two three four five", "On its way."]
    assert [start for start, _ in output.spans()] == [1.0, 6.3]  # the last final transcript comes at 6.3
    assert len(model.requests) == len(replies)
    second = [event for event in events if isinstance(event, vp.TurnEnded)][1]
    assert "patience" not in second.timeline.contributions_us


async def test_c3_with_drafts_one_request_is_committed() -> None:
    """Drafts on the first half leave no trace: the model's reply to the whole number is the one that is heard."""
    replies = [
        Calls("find_order", {}), Says(ASK), Says("What?"), Calls("find_order", {"order_id": "ORD-12345"}),
        Says("On its way."),
    ]  # fmt: skip
    session, events, output, model = await hold(number_in_two_breaths(), replies, turns=vp.TurnRules())
    assert [start for start, _ in output.spans()] == [1.0, 6.3]
    assert [message.text for message in session.history if message.text][2:] == [
        "ord one two three four five", "On its way.",
    ]  # fmt: skip
    assert len(model.requests) == len(replies)
    assert sum(isinstance(event, vp.TurnCompleted) for event in events) == 2


async def test_a_number_that_is_never_completed_is_answered() -> None:
    """The agent waits 2.5 s for the rest, and then answers what it has."""
    user = says(ScriptedUser().says("Where is my order?", at_s=1.0), "ord one two.", 3.0, 3.8)
    _, _, output, _ = await hold(user, [Calls("find_order", {}), Says(ASK), Says("Go on?")])
    assert [start for start, _ in output.spans()] == [1.0, 6.3]


async def test_the_application_says_what_it_expects() -> None:
    """`session.expect` holds for the next words of the caller; those after them are taken as usual."""
    user = says(says(ScriptedUser(), "one two.", 1.0, 2.0), "three.", 3.0, 3.5)
    user = says(user, "My lucky number is one two.", 6.0, 7.0)
    session, _, output, _ = await hold(
        user, [Says("Thanks."), Says("Nice.")], during=lambda one: one.expect(vp.Digits(3))
    )
    assert [message.text for message in session.history][::2] == ["one two. three.", "My lucky number is one two."]
    assert [start for start, _ in output.spans()] == [3.8, 8.4]  # 1.4 s after digits, as usual


@pytest.mark.parametrize(("later", "heard_s"), [(None, 3.4), (vp.Digits(2), 2.3), (vp.Email(), 4.5)])
async def test_an_expectation_is_replaced_or_withdrawn(later: vp.Expectation | None, heard_s: float) -> None:
    """The newest one counts, and None is none."""

    def during(session: vp.Session) -> None:
        session.expect(vp.Digits(5))
        session.expect(later)

    _, _, output, _ = await hold(says(ScriptedUser(), "one two", 1.0, 2.0), [Says("Thanks.")], during=during)
    assert [start for start, _ in output.spans()] == [heard_s]


@pytest.mark.parametrize("drafts", [True, False])
async def test_a_tool_says_what_it_expects(drafts: bool) -> None:
    """What a tool expects holds for the words after its own turn, also if it ran while the turn was a draft."""

    @vp.tool(effect="read")
    async def ask_pin(call: vp.ToolContext) -> str:
        """Ask for the PIN."""
        call.session.expect(vp.Digits(4))
        return "Ask for the PIN."

    user = says(ScriptedUser(), "my balance", 0.5, 1.0)  # answered 0.6 s after the last word
    user = says(says(user, "one two", 4.0, 4.5), "three four", 6.0, 6.5)
    replies = [Calls("ask_pin", {}), Says("Your PIN?"), *[Says("No.")] * drafts, Says("Thanks.")]
    session, _, output, _ = await hold(user, replies, tools=[ask_pin], turns=vp.TurnRules(drafts=drafts))
    assert [message.text for message in session.history if message.text][2:] == ["one two three four", "Thanks."]
    assert [start for start, _ in output.spans()] == [1.6, 6.8]


async def test_a_draft_that_is_dropped_expects_nothing() -> None:
    """What a tool expected in a draft is forgotten with it."""

    @vp.tool(effect="read")
    async def ask_pin(call: vp.ToolContext) -> str:
        """Ask for the PIN."""
        call.session.expect(vp.Digits(8))
        return "Ask for the PIN."

    user = ScriptedUser().guesses("my balance", at_s=1.0).says("my balance is 42", at_s=2.3, silence_s=0.3)
    replies = [Calls("ask_pin", {}), Says("Your PIN?"), Says("Fine.")]
    _, _, output, _ = await hold(user, replies, tools=[ask_pin], turns=vp.TurnRules())
    assert [start for start, _ in output.spans()] == [3.4]  # 1.4 s after a number, not 2.5 s


async def test_a_call_that_succeeds_in_the_same_turn_expects_nothing() -> None:
    """The model has found the argument by itself, so nobody asks for it."""
    user = says(ScriptedUser().says("Where is 12345?", at_s=1.0), "one two", 3.0, 4.0)
    replies = [Calls("find_order", {}), Calls("find_order", {"order_id": "ORD-12345"}), Says("There."), Says("Yes.")]
    _, _, output, _ = await hold(user, replies)
    assert [start for start, _ in output.spans()] == [1.0, 5.4]


async def test_the_application_outranks_its_tools() -> None:
    """What the application expects in a turn is not replaced by what a tool lacks in it."""

    def during(session: vp.Session) -> None:
        session.expect(vp.Digits(2))

    user = says(ScriptedUser().says("Where is my order?", at_s=1.0), "one two", 3.0, 4.0)
    replies = [Calls("find_order", {}), Says(ASK), Says("Yes.")]
    _, _, output, _ = await hold(user, replies, during=during, during_s=1.2)
    assert [start for start, _ in output.spans()] == [1.0, 4.3]


async def test_a_number_may_be_typed_on_the_telephone() -> None:
    """The last key that is expected ends the entry, without "#"."""
    user = ScriptedUser().presses("12345", at_s=1.0)
    session, _, output, _ = await hold(user, [Says("Thanks.")], during=lambda one: one.expect(vp.Digits(5)))
    assert session.history[0].text == "12345"
    assert [start for start, _ in output.spans()] == [2.0]


async def test_early_words_end_the_turn_of_a_recogniser_that_can() -> None:
    """A complete value brings the final transcript forward: the recogniser is asked for it at once."""
    caller = ScriptedRecogniser()
    caller.guesses("one two", at_s=1.0, stable=False).guesses("one two three", at_s=1.5, stable=False)
    caller.says("one two three", at_s=4.0, silence_s=2.5)
    source, output = vp.PushSource(16_000), RecordingOutput()
    model = ScriptedModel([Says("Thanks.")])
    row = vp.Pipeline(
        vp.STTStage(caller), model, vp.SentenceChunker(), ScriptedVoice(),
        output=output, turns=vp.TurnRules(drafts=False),
    )  # fmt: skip
    async with row.session(source=source) as session:
        session.expect(vp.Digits(3))
        for _ in range(150):
            source.push(bytes(640))
            await anyio.sleep(0.02)
    assert output.spans()[0][0] == 1.48  # in the step in which the first 1.5 s of audio have come


class Fails:
    """An expectation of an application with a mistake in it."""

    def progress(self, text: str, language: str | None) -> Any:
        raise KeyError(text)


async def test_an_expectation_that_fails_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """A mistake in an expectation ends no call: the log names it without quoting, and the usual waits apply."""
    user = says(ScriptedUser(), "one two", 1.0, 2.0)
    _, _, output, _ = await hold(user, [Says("Thanks.")], during=lambda one: one.expect(Fails()))
    assert [start for start, _ in output.spans()] == [3.4]
    (warning,) = [record.getMessage() for record in caplog.records if "KeyError" in record.getMessage()]
    assert warning.endswith(": the expectation raised KeyError; the agent waits as if nothing were expected")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [("12", "not a str"), (vp.Digits, r"not the class Digits; write Digits\(...\)"), (5, "not a int")],
)
async def test_what_is_no_expectation_is_refused(wrong: Any, said: str) -> None:
    """Something else is an error where it is passed."""
    row = vp.Pipeline(ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice(), output=RecordingOutput())
    async with row.session() as session:
        with pytest.raises(vp.ConfigurationError, match=said):
            session.expect(wrong)


async def test_what_a_draft_expects_leaves_the_present_words_alone() -> None:
    """A draft's tool expects something of later words; for those that are being said, the older expectation holds."""

    @vp.tool(effect="read")
    async def ask_pin(call: vp.ToolContext) -> str:
        """Ask for the PIN."""
        call.session.expect(vp.Digits(4))
        return "Ask for the PIN."

    user = says(says(ScriptedUser(), "one two", 1.0, 2.0), "three", 4.0, 4.5)
    replies = [Calls("ask_pin", {}), Says("Your PIN?"), Says("Thanks.")]
    _, _, output, _ = await hold(
        user, replies, tools=[ask_pin], turns=vp.TurnRules(), during=lambda one: one.expect(vp.Digits(3))
    )
    assert [start for start, _ in output.spans()] == [4.8]


async def test_an_answer_that_is_taken_back_expects_the_same_again() -> None:
    """A caller who goes on after 2.8 s takes the answer back, and the whole number is answered at its end."""
    user = says(ScriptedUser().says("Where is my order?", at_s=1.0), "ord one two", 3.0, 3.8)
    user.interrupts("three four five", at_s=6.6)
    replies = [Calls("find_order", {}), Says(ASK), Says("That is too short, I am afraid."), Says("Thanks.")]
    session, _, output, _ = await hold(user, replies)
    assert [message.text for message in session.history if message.text][2:] == [
        "ord one two three four five",
        "Thanks.",
    ]
    assert [start for start, _ in output.spans()] == [1.0, 6.3, 7.9]
