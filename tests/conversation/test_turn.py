"""A turn: its states, and what happens when it is cut off, dropped or left alone."""

from __future__ import annotations

import ast
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest

import voicepipe
from voicepipe import (
    AssistantMessage,
    AudioFrame,
    Event,
    Hearing,
    Inbox,
    Outbox,
    Pipeline,
    PushSource,
    Recogniser,
    Sentence,
    SentenceChunker,
    SentenceStarted,
    Session,
    Stage,
    StageError,
    STTStage,
    ToolContext,
    ToolFinished,
    ToolRouter,
    ToolStarted,
    Transcript,
    Turn,
    TurnCompleted,
    TurnEnded,
    TurnFailed,
    TurnInterrupted,
    TurnStarted,
    TurnState,
    UserMessage,
    VoicepipeError,
    WordMark,
    tool,
)
from voicepipe.testing import (
    Calls,
    RecordingOutput,
    Refuses,
    Says,
    ScriptedModel,
    ScriptedUser,
    ScriptedVoice,
)

pytestmark = pytest.mark.anyio

SOURCE = Path(voicepipe.__file__).parent

# What may happen to a turn, in which states, and the state that follows.
ALIVE = ("COMMITTED", "SPEAKING")
HAPPENINGS: dict[str, tuple[Callable[[Turn], object], tuple[str, ...], str]] = {
    "commit": (lambda turn: turn.commit(Transcript("Hello!", 0.0, 0.0)), ("DRAFT",), "COMMITTED"),
    "roll back": (Turn.roll_back, ("DRAFT",), "ROLLED_BACK"),
    "complete": (lambda turn: turn.settle("complete"), ALIVE, "DONE"),
    "leave empty": (lambda turn: turn.settle("leave empty"), ALIVE, "EMPTY"),
    "interrupt": (lambda turn: turn.settle("interrupt"), ALIVE, "INTERRUPTED"),
}


async def hold(
    model: ScriptedModel,
    act: Callable[[Session], Awaitable[object]] | None = None,
    *,
    user: ScriptedUser | None = None,
    tools: Iterable[Any] = (),
    stages: Iterable[Stage[Sentence, Sentence]] = (),
    voice: ScriptedVoice | None = None,
    output: RecordingOutput | None = None,
) -> tuple[Session, list[tuple[float, Event]]]:
    """Hold one call until it ends (or `act` has returned), and return it with its events and their times."""
    parts = [*([user] if user else []), model, ToolRouter(tools), SentenceChunker(), *stages, voice or ScriptedVoice()]
    events: list[tuple[float, Event]] = []

    async def listen(session: Session) -> None:
        async for event in session:
            events.append((anyio.current_time(), event))

    async with Pipeline(*parts).session(output=output or RecordingOutput()) as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen, session)
            if act is not None:
                await act(session)
                session.end()
    return session, events


def only(events: list[tuple[float, Event]], *kinds: type) -> list[tuple[float, Event]]:
    return [(at_s, event) for at_s, event in events if isinstance(event, kinds)]


def names(events: list[tuple[float, Event]], *kinds: type) -> list[tuple[float, str]]:
    return [(at_s, type(event).__name__) for at_s, event in only(events, *kinds)]


# --- the table --------------------------------------------------------------------------------------------------------


async def in_state(state: TurnState) -> Turn:
    async with Pipeline(ScriptedModel([]), SentenceChunker(), ScriptedVoice()).session(
        output=RecordingOutput()
    ) as session:
        turn = Turn(1, session, Transcript("Hello.", 0.0, 0.0), is_draft=True)
    turn.state = state
    return turn


@pytest.mark.parametrize("before", TurnState, ids=lambda state: state.name)
@pytest.mark.parametrize("happening", HAPPENINGS)
async def test_the_table_of_states_is_kept(before: TurnState, happening: str) -> None:
    """What may happen in a state leads to the next one; anything else raises, names both and changes nothing."""
    happens, states, after = HAPPENINGS[happening]
    turn = await in_state(before)
    if before.name in states:
        happens(turn)
        assert turn.state.name == after
    else:
        with pytest.raises(AssertionError, match=f"turn 1 is {before.name}, from where no step '{happening}'"):
            happens(turn)
        assert turn.state is before


@pytest.mark.parametrize("step", ["complete", "leave empty", "interrupt"])
async def test_a_failure_decides_how_a_turn_ends(step: Literal["complete", "leave empty", "interrupt"]) -> None:
    """A turn in which something failed ends as failed, with the first error, whatever step ends it."""
    turn = await in_state(TurnState.SPEAKING)
    turn.fail(StageError("first", part="A"))
    turn.fail(StageError("second", part="B"))
    ended = turn.settle(step)
    assert isinstance(ended, TurnFailed)
    assert (turn.state, str(ended.error)) == (TurnState.FAILED, "first")


async def test_a_turn_may_speak_twice() -> None:
    """A turn that has spoken speaks again for its fallback; a turn that is over stays as it is."""
    turn = await in_state(TurnState.COMMITTED)
    lease = turn.session.lease(turn)
    for _ in range(2):
        turn.speech_begins(lease)
        assert turn.state is TurnState.SPEAKING
    turn.settle("interrupt")
    turn.speech_begins(lease)
    assert turn.state is TurnState.INTERRUPTED


@pytest.mark.parametrize("state", TurnState, ids=lambda state: state.name)
async def test_a_turn_is_over_when_nothing_can_follow(state: TurnState) -> None:
    """A turn is over in each state that no step leads out of."""
    assert (await in_state(state)).is_over is (state.name not in {"DRAFT", *ALIVE})


MUTATORS = {"add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "remove", "set", "update"}


def writes_to_turns(source: str) -> list[str]:
    """Return the places of a module that change an attribute of a turn instead of asking the turn to do it."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, (ast.Store, ast.Del)):
            written = node if isinstance(node, ast.Attribute) else node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
            written = node.func.value
        else:
            continue
        *owners, _ = [name.lstrip("_") for name in ast.unparse(written).replace("[", ".").split(".")]
        if "turn" in owners:
            found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.slow
def test_only_the_turn_changes_a_turn() -> None:
    """No other module writes an attribute of a turn, or changes a list, a message or an event that one holds."""
    # What watches calls gets events, and no turns: its turns are records of its own.
    watching = SOURCE / "watching"
    others = [path for path in SOURCE.rglob("*.py") if path.name != "turn.py" and watching not in path.parents]
    assert {path: found for path in others if (found := writes_to_turns(path.read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize(
    "line",
    [
        "turn.is_withheld = True",
        "self._turn.finish_reason = reason",
        "turn.unplayed += 1",
        "turn.segments.append(message)",
        "turn.segments[0].heard += text",
        "self.turn.speech.lease = lease",
        "turn.committed.set()",
        "del turn.failure",
    ],
)
def test_a_write_is_found(line: str) -> None:
    """Each of the ways in which modules used to change a turn would be found."""
    assert writes_to_turns(line) == [f"1: {line.removeprefix('del ').split(' = ')[0].split(' += ')[0]}"]


@pytest.mark.parametrize("line", ["self._turn = turn", "turn.withhold()", "turn.scope.cancel()", "found = turn.state"])
def test_asking_a_turn_is_no_write(line: str) -> None:
    """Other modules may hold a turn, read it and call its methods."""
    assert writes_to_turns(line) == []


async def test_a_draft_becomes_history_when_it_is_committed() -> None:
    """History knows nothing of a draft before its commit; then it gets the words and the reply so far, in order."""
    async with Pipeline(ScriptedModel([]), SentenceChunker(), ScriptedVoice()).session(
        output=RecordingOutput()
    ) as session:
        turn = Turn(1, session, Transcript("Hello.", 0.0, 0.0), is_draft=True)
        reply = turn.add_message()
        assert (list(session.history), turn.committed.is_set()) == ([], False)
        turn.commit(Transcript("Hello!", 0.0, 0.0))
        assert (list(session.history), turn.committed.is_set()) == ([UserMessage("Hello!"), reply], True)


async def test_it_names_who_works_for_it() -> None:
    """Parts are listed while they work, once each, even if they work on two sentences at once."""
    turn = await in_state(TurnState.COMMITTED)
    with turn.working("Voice"), turn.working("Model"), turn.working("Voice"):
        assert turn.at_work == ["Model", "Voice"]
    assert turn.at_work == []


async def test_it_shows_its_state() -> None:
    """The repr shows the number, the state, and how much was written to the output."""
    assert repr(await in_state(TurnState.SPEAKING)) == "<Turn 1 SPEAKING written=0.00s>"


# --- cut --------------------------------------------------------------------------------------------------------------


async def test_an_interruption_before_the_first_frame_leaves_no_word() -> None:
    """A reply that is cut off before its first frame stays in history, with no words heard."""
    output = RecordingOutput()

    async def act(session: Session) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.user_says, "Hello?")
            await anyio.sleep(0.3)
            session.interrupt()

    session, events = await hold(
        ScriptedModel([Says("Good morning.")]), act, voice=ScriptedVoice(first_audio_s=0.5), output=output
    )
    assert names(events, TurnStarted, TurnEnded) == [(0.0, "TurnStarted"), (0.3, "TurnInterrupted")]
    assert output.written == []
    assert [message.text for message in session.history] == ["Hello?", ""]


async def test_an_interruption_in_the_step_of_the_start_is_final() -> None:
    """A turn that is interrupted before its first step never asks the model."""
    model = ScriptedModel([Says("Never.")])

    async def act(session: Session) -> None:
        session.say("Hello.")
        session.interrupt()

    session, events = await hold(model, act)
    assert names(events, TurnStarted, TurnEnded) == [(0.0, "TurnStarted"), (0.0, "TurnInterrupted")]
    assert (model.requests, session.is_busy) == ([], False)


async def test_interrupting_twice_is_interrupting_once() -> None:
    """The second of two interruptions does nothing."""

    async def act(session: Session) -> None:
        session.say("Good morning, everybody.")
        await anyio.sleep(0.3)
        session.interrupt()
        session.interrupt()

    _, events = await hold(ScriptedModel([]), act)
    assert names(events, TurnEnded) == [(0.3, "TurnInterrupted")]


async def test_a_hang_up_in_the_middle_of_a_tool_gives_the_call_its_result() -> None:
    """When the caller hangs up, a reading tool is cancelled and its call fails: no call stays pending."""

    @tool(effect="read")
    async def look(order: str) -> str:
        """Look up an order."""
        await anyio.sleep(1.0)
        return order

    user = ScriptedUser().says("Where is it?", at_s=0.5).hangs_up(at_s=0.9)
    session, events = await hold(ScriptedModel([Calls("look", {"order": "A1"})]), user=user, tools=[look])
    message = session.history[1]
    assert isinstance(message, AssistantMessage)
    assert [call.status for call in message.calls] == ["failed"]
    assert names(events, ToolStarted, ToolFinished, TurnEnded) == [
        (0.5, "ToolStarted"),
        (0.9, "TurnInterrupted"),
        (0.9, "ToolFinished"),
    ]


@pytest.mark.parametrize("effect", ["read", "write"])
async def test_a_tool_may_hang_up(effect: str) -> None:
    """A tool that ends the session keeps its result; the turn is settled, and the session ends."""

    async def leave(reason: str, call: ToolContext[None]) -> str:
        """Leave the call."""
        call.session.end(result=reason)
        return "left"

    session, events = await hold(
        ScriptedModel([Calls("leave", {"reason": "done"})]),
        user=ScriptedUser().says("Bye.", at_s=0.5),
        tools=[tool(leave, effect="read") if effect == "read" else tool(leave)],
    )
    message = session.history[1]
    assert isinstance(message, AssistantMessage)
    assert ([(call.status, call.result) for call in message.calls], session.result) == ([("done", "left")], "done")
    assert names(events, TurnEnded) == [(0.5, "TurnInterrupted")]


# --- failed -----------------------------------------------------------------------------------------------------------


class FailsOnce(Stage[Sentence, Sentence]):
    """Lets a sentence pass and fails a while after it."""

    failures = 0

    async def run(self, inbox: Inbox[Sentence], outbox: Outbox[Sentence], turn: Turn) -> None:
        async for sentence in inbox:
            await outbox.send(sentence)
            if not type(self).failures:
                await anyio.sleep(0.51)
                type(self).failures += 1
                raise ValueError("cannot")


async def test_a_stage_that_fails_in_mid_speech_cuts_the_speech_there() -> None:
    """Exactly what was played stays said; then the whole fallback is heard, and nothing delays it."""
    FailsOnce.failures = 0
    output = RecordingOutput()

    async def act(session: Session) -> None:
        await session.user_says("Hello?")

    session, events = await hold(
        ScriptedModel([Says("This is a rather long sentence. And two.")]), act, stages=[FailsOnce()], output=output
    )
    [(ended_s, ended)] = only(events, TurnEnded)
    assert isinstance(ended, TurnFailed)
    assert ended.heard == "This is a Sorry, I cannot answer that right now. Please try again."
    assert round(ended_s, 3) == output.spans()[-1][1]
    assert [message.text for message in session.history][1] == "This is a"


class First(Stage[Sentence, Sentence]):
    """Reads one sentence, then returns."""

    async def run(self, inbox: Inbox[Sentence], outbox: Outbox[Sentence], turn: Turn) -> None:
        await outbox.send(await inbox.receive())


async def test_a_stage_may_stop_reading() -> None:
    """A stage that returns early ends the reply there: the stages before it stop, and the turn is completed."""
    text = "One is said. Two is not. Three is not. Four is not. Five is not. Six is not."

    async def act(session: Session) -> None:
        await session.user_says("Hello?")

    _, events = await hold(ScriptedModel([Says(text)]), act, stages=[First()])
    [(_, ended)] = only(events, TurnEnded)
    assert isinstance(ended, TurnCompleted)
    assert ended.heard == "One is said."


class Hesitates(ScriptedVoice):
    """Yields an empty piece, then audio half a second later."""

    async def synthesize(self, sentence: Sentence) -> AsyncGenerator[bytes | WordMark]:
        yield b""
        await anyio.sleep(0.5)
        yield b"\x00\x10" * 480


async def test_nothing_is_no_audio() -> None:
    """An empty piece of audio does not count as the voice's first audio or as a frame, and starts no sentence."""

    async def act(session: Session) -> None:
        await session.user_says("Hello?")

    _, events = await hold(ScriptedModel([Says("Yes.")]), act, voice=Hesitates())
    [(_, ended)] = only(events, TurnEnded)
    assert isinstance(ended, TurnCompleted)
    assert (ended.timeline.tts_first_audio, ended.timeline.first_frame) == (0.5, 0.5)
    assert names(events, SentenceStarted) == [(0.5, "SentenceStarted")]


# --- drafts -----------------------------------------------------------------------------------------------------------


@tool(effect="read")
async def look(order: str) -> str:
    """Look up an order."""
    await anyio.sleep(0.1)
    return order


async def test_a_draft_that_is_rolled_back_reports_nothing() -> None:
    """The tools of a draft that is rolled back are never reported."""
    user = ScriptedUser().guesses("hello", at_s=1.0).says("Good bye.", at_s=2.0).hangs_up(at_s=4.0)
    model = ScriptedModel([Calls("look", {"order": "A1"}), Says("Never."), Says("Bye.")])
    _, events = await hold(model, user=user, tools=[look])
    assert names(events, TurnStarted, ToolStarted, ToolFinished, TurnEnded) == [
        (2.0, "TurnStarted"),
        (2.2, "TurnCompleted"),
    ]


async def test_a_draft_that_is_committed_reports_in_order() -> None:
    """The tools of a draft are reported after `TurnStarted`, in order."""
    user = ScriptedUser().guesses("hello", at_s=1.0).says("Hello!", at_s=2.0).hangs_up(at_s=4.0)
    model = ScriptedModel([Calls("look", {"order": "A1"}), Says("Here.")])
    _, events = await hold(model, user=user, tools=[look])
    assert names(events, TurnStarted, ToolStarted, ToolFinished, SentenceStarted) == [
        (2.0, "TurnStarted"),
        (2.0, "ToolStarted"),
        (2.0, "ToolFinished"),
        (2.0, "SentenceStarted"),
    ]


async def test_a_writing_tool_waits_for_the_commit() -> None:
    """A draft runs no writing tool: the call begins with the commit."""
    booked: list[float] = []

    @tool
    async def book(day: str) -> str:
        """Book a day."""
        booked.append(anyio.current_time())
        return day

    user = ScriptedUser().guesses("book it", at_s=1.0).says("Book it.", at_s=2.0).hangs_up(at_s=4.0)
    await hold(ScriptedModel([Calls("book", {"day": "Monday"}), Says("Booked.")]), user=user, tools=[book])
    assert booked == [2.0]


async def test_history_holds_the_final_words() -> None:
    """A draft begins on an early guess; after the commit, history holds the final transcript."""
    user = ScriptedUser().guesses("hello you", at_s=1.0).says("Hello, you!", at_s=2.0).hangs_up(at_s=4.0)
    session, _ = await hold(ScriptedModel([Says("Hello.")]), user=user)
    assert session.history[0] == UserMessage("Hello, you!")


async def test_a_draft_that_fails_holds_nobody_up() -> None:
    """A text that waits for a draft is spoken when the draft fails."""
    user = ScriptedUser().guesses("hello", at_s=1.0).hangs_up(at_s=5.0)
    output = RecordingOutput()

    async def act(session: Session) -> None:
        await anyio.sleep(1.2)
        session.say("Note this.")
        await session.ended.wait()

    await hold(ScriptedModel([Refuses(400, "no", after_s=0.5)]), act, user=user, output=output)
    assert output.spans() == [(1.5, 2.0)]


async def test_a_draft_that_fails_does_not_hold_the_end() -> None:
    """With `after_reply`, the session ends when the reply is a draft and fails."""

    async def act(session: Session) -> None:
        await anyio.sleep(1.2)
        session.end(after_reply=True)
        with anyio.fail_after(10.0):
            await session.ended.wait()
        assert anyio.current_time() == 1.5

    await hold(ScriptedModel([Refuses(400, "no", after_s=0.5)]), act, user=ScriptedUser().guesses("hello", at_s=1.0))


# --- left alone -------------------------------------------------------------------------------------------------------


async def test_nobody_waits_for_a_turn_that_cannot_come() -> None:
    """`user_says` during the last reply of a session raises: no turn begins that could never end."""

    async def act(session: Session) -> None:
        session.say("Good bye, and thank you for calling.")
        session.end(after_reply=True)
        await anyio.sleep(0.5)
        with anyio.fail_after(10.0), pytest.raises(VoicepipeError, match="end"):
            await session.user_says("Wait!")

    session, events = await hold(ScriptedModel([Says("Never.")]), act)
    assert names(events, TurnStarted, TurnEnded) == [(0.0, "TurnStarted"), (0.5, "TurnInterrupted")]
    assert not session.is_busy


class HangsUp(Recogniser):
    """Hears one frame, then reports that the caller hung up."""

    async def recognise(self, inbox: Inbox[AudioFrame], outbox: Outbox[Hearing], session: Session) -> None:
        await inbox.receive()


async def test_audio_after_a_hang_up_does_no_harm() -> None:
    """A recogniser may end the call while audio is still coming."""
    source = PushSource()
    agent = Pipeline(STTStage(HangsUp()), ScriptedModel([]), SentenceChunker(), ScriptedVoice())
    async with agent.session(source=source, output=RecordingOutput()) as session:
        while not session.ended.is_set():
            source.push(bytes(640))
            await anyio.lowlevel.checkpoint()
    assert session.ended.is_set()


async def test_an_interrupted_turn_has_settled_when_interrupt_returns() -> None:
    """History, event and `settled` change in the same step, and a second ending later changes nothing."""
    seen: list[tuple[bool, str]] = []

    async def act(session: Session) -> None:
        session.say("Ten chars.")
        await anyio.sleep(0.26)
        turn = session._floor.turn
        assert turn is not None
        session.interrupt()
        message = session.history[0]
        assert isinstance(message, AssistantMessage)
        seen.append((turn.settled.is_set(), message.heard))

    _, events = await hold(ScriptedModel([]), act)
    assert (seen, len(only(events, TurnInterrupted))) == ([(True, "Ten")], 1)
