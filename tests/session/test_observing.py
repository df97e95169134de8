"""Observers: what they get, and that a call outlives them."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import voicepipe as vp
from voicepipe import observed
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
    from collections.abc import AsyncGenerator, Generator

pytestmark = pytest.mark.anyio


class Notes(vp.Observer):
    """Keeps all that it gets."""

    def __init__(self) -> None:
        self.events: list[vp.Event] = []
        self.heard: list[vp.AudioFrame] = []
        self.played: list[vp.PlayedAudio] = []
        self.exchanges: list[vp.Exchange] = []
        self.wire: list[vp.WireMessage] = []
        self.ended: list[str] = []

    def on_event(self, event: vp.Event) -> None:
        self.events.append(event)

    def on_end(self, reason: str) -> None:
        self.ended.append(reason)

    def on_heard(self, frame: vp.AudioFrame) -> None:
        self.heard.append(frame)

    def on_played(self, audio: vp.PlayedAudio) -> None:
        self.played.append(audio)

    def on_exchange(self, exchange: vp.Exchange) -> None:
        self.exchanges.append(exchange)

    def on_wire(self, message: vp.WireMessage) -> None:
        self.wire.append(message)

    def of(self, kind: type[Any]) -> list[Any]:
        return [one for one in (*self.events, *self.exchanges) if isinstance(one, kind)]


@vp.tool(effect="read")
async def price(what: str) -> str:
    """Return a price."""
    await anyio.sleep(0.1)
    return f"{what}: 2 euros"


def answer(request: Any) -> Any:
    if not request.tool_results:
        return Calls("price", {"what": "tea"})
    return Says("It is two euros. Anything else?")


def agent(**options: Any) -> vp.Pipeline:
    user = ScriptedUser().says("how much is tea", at_s=1.5).hangs_up(at_s=6.0)
    row = user, ScriptedModel(answer), vp.ToolRouter([price]), vp.SentenceChunker(), ScriptedVoice()
    return vp.Pipeline(*row, **{"output": RecordingOutput(), **options})


async def test_an_observer_sees_what_each_part_was_given_and_gave() -> None:
    """Requests with their replies, tools with their results, sentences with their audio: all of it, with its times."""
    notes = Notes()
    async with agent().session(observers=[notes], greeting="Hello.") as session:
        await session.ended.wait()
    assert [(one.method, one.by, one.arguments) for one in notes.of(observed.ApplicationAsked)] == [
        ("say", "application", {"text": "Hello.", "protected": False})
    ]
    (began,) = notes.of(observed.SessionBegan)
    assert (began.is_closed, began.has_echo, began.shows_text, began.output_rate) == (False, False, False, 24_000)
    assert notes.exchanges[0] is began
    assert [one.hearing.text for one in notes.of(observed.Heard)] == ["how much is tea"]
    (offered,) = notes.of(observed.ToolOffered)
    assert (offered.name, offered.effect, offered.reply, offered.parameters) == (
        "price",
        "read",
        True,
        price.parameters,
    )
    asked = notes.of(observed.ModelAsked)
    assert [(one.request_id, one.turn_id, one.step, one.tools) for one in asked] == [
        (1, 2, 0, ("price",)),
        (2, 2, 1, ("price",)),
    ]
    assert len(asked[1].messages) == len(asked[0].messages) + 1
    assert [one.error for one in notes.of(observed.ModelEnded)] == [None, None]
    said = [one.part.text for one in notes.of(observed.ModelGave) if isinstance(one.part, vp.TextDelta)]
    assert "".join(said) == "It is two euros. Anything else?"
    (called,), (gave,) = notes.of(observed.ToolAsked), notes.of(observed.ToolGave)
    assert (called.name, called.arguments, gave.call_id, gave.status) == (
        "price",
        '{"what": "tea"}',
        called.call_id,
        "done",
    )
    assert (gave.result, round(gave.at_s - called.at_s, 6)) == ("tea: 2 euros", 0.1)
    sentences = notes.of(observed.VoiceAsked)
    assert [one.text.strip() for one in sentences] == ["Hello.", "It is two euros.", "Anything else?"]
    audio = Counter[int]()
    for gave in notes.of(observed.VoiceGave):
        audio[gave.sentence_id] += len(gave.piece) if isinstance(gave.piece, bytes) else 0
    assert sorted(audio) == [1, 2, 3] == [one.sentence_id for one in notes.of(observed.VoiceEnded)]
    assert sum(audio.values()) == sum(len(one.pcm) for one in notes.played)
    assert notes.events == [event async for event in session]
    assert notes.ended == ["the caller hung up"]


async def test_played_audio_is_what_was_played() -> None:
    """Audio comes with its turn and time, without gaps inside of a sentence, and none that an interruption flushed."""
    notes, output = Notes(), RecordingOutput()
    async with agent(output=output).session(observers=[notes]) as session:
        session.say("This sentence is cut in the middle.")
        await anyio.sleep(0.4301)
        session.interrupt()
        await session.ended.wait()
    (cut,) = (event for event in notes.events if isinstance(event, vp.TurnInterrupted))
    first = [one for one in notes.played if one.turn_id == 1]
    lengths = [len(one.pcm) / 2 / one.sample_rate for one in first]
    assert sum(lengths) == pytest.approx(cut.heard_s, abs=1 / first[0].sample_rate)
    assert all(
        one.at_s + s == pytest.approx(after.at_s) for one, s, after in zip(first, lengths, first[1:], strict=False)
    )
    assert (cut.by, [one.method for one in notes.of(observed.ApplicationAsked)][-1]) == ("application", "interrupt")


async def test_heard_audio_is_what_the_recogniser_gets() -> None:
    """Each frame of a source comes once, with the time of its first sample."""
    notes, source = Notes(), vp.PushSource(16_000)
    row = vp.STTStage(ScriptedRecogniser()), ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice()
    async with vp.Pipeline(*row, detector=None, output=RecordingOutput()).session(
        source=source, observers=[notes]
    ) as session:
        began_s = anyio.current_time()
        for number in range(5):
            await anyio.sleep(0.02)
            source.push(bytes([number, 0]) * 320)
        source.end()
        await session.ended.wait()
    assert [frame.pcm[0] for frame in notes.heard] == [0, 1, 2, 3, 4]
    assert [round(frame.start_s - began_s, 6) for frame in notes.heard] == [0.0, 0.02, 0.04, 0.06, 0.08]


class Failing(Notes):
    """Fails where it is told to."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where
        self.calls = 0

    def fail(self, where: str) -> None:
        if where == self.where:
            self.calls += 1
            raise OSError(28, "No space left on device")

    @asynccontextmanager
    async def attach(self, session: vp.Session) -> AsyncGenerator[None]:
        self.fail("attach")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.work)
            yield
            tasks.cancel_scope.cancel()
        self.fail("detach")

    async def work(self) -> None:
        await anyio.sleep(0.7)
        self.fail("task")

    def on_event(self, event: vp.Event) -> None:
        super().on_event(event)
        self.fail("event")

    def on_played(self, audio: vp.PlayedAudio) -> None:
        self.fail("played")

    def on_exchange(self, exchange: vp.Exchange) -> None:
        self.fail("exchange")


@pytest.mark.parametrize("where", ["attach", "task", "detach", "event", "played", "exchange"])
async def test_a_call_outlives_its_observers(where: str) -> None:
    """One that raises, wherever it does, gets nothing more; the event says so once, and the others go on."""
    failing, notes = Failing(where), Notes()
    async with agent().session(observers=[failing, notes]) as session:
        await session.ended.wait()
    failures = [event for event in notes.events if isinstance(event, vp.ObserverFailed)]
    assert failing.calls == 1
    if where != "detach":  # no event follows the end of the session
        assert [(one.observer, type(one.error)) for one in failures] == [("Failing", vp.StageError)]
        assert "No space left" in str(failures[0].error)
    assert [type(event) for event in notes.events if isinstance(event, vp.TurnEnded)] == [vp.TurnCompleted]
    assert notes.played
    assert notes.ended == ["the caller hung up"]


async def test_a_call_does_not_wait_for_an_observer_that_hangs() -> None:
    """It begins without all that are not attached after 2 s."""

    class Hanging(vp.Observer):
        @asynccontextmanager
        async def attach(self, session: vp.Session) -> AsyncGenerator[None]:
            await anyio.sleep_forever()
            yield

    notes, began_s = Notes(), anyio.current_time()
    async with agent().session(observers=[Hanging(), notes, Hanging()]) as session:
        assert anyio.current_time() - began_s == 2.0
        await session.ended.wait()
    failures = notes.of(vp.ObserverFailed)
    assert [str(one.error) for one in failures] == ["Hanging.attach was not ready after 2 s"] * 2


async def test_no_observer_is_given_an_event_before_it_is_attached() -> None:
    """What one reports while it is attached reaches all of them once they are ready, whatever their order."""

    class Announcing(vp.Observer):
        @asynccontextmanager
        async def attach(self, session: Any) -> AsyncGenerator[None]:
            session.emit(vp.RecordingStarted(path="call.vprec", sides="both"))
            yield

    class Slow(vp.Observer):
        @asynccontextmanager
        async def attach(self, session: Any) -> AsyncGenerator[None]:
            await anyio.sleep(1.0)
            self.seen: list[vp.Event] = []
            yield

        def on_event(self, event: vp.Event) -> None:
            self.seen.append(event)

    for order in (0, 1):
        slow = Slow()
        observers = [Announcing(), slow] if order else [slow, Announcing()]
        agent = vp.Pipeline(ScriptedModel([Says("Hi.")]), vp.SentenceChunker(), ScriptedVoice())
        async with agent.session(output=RecordingOutput(), observers=observers) as session:
            await session.user_says("Hello?")
        assert isinstance(slow.seen[0], vp.RecordingStarted)
        assert not [event for event in slow.seen if isinstance(event, vp.ObserverFailed)]


async def test_each_session_of_a_host_has_observers_of_its_own() -> None:
    """What `attach` sets belongs to one call; what `open` sets is shared."""
    seen: list[tuple[int, str]] = []

    class Counting(vp.Observer):
        @asynccontextmanager
        async def open(self) -> AsyncGenerator[None]:
            self.shared = object()
            yield

        @asynccontextmanager
        async def attach(self, session: vp.Session) -> AsyncGenerator[None]:
            self.session_id = session.id
            yield

        def on_end(self, reason: str) -> None:
            seen.append((id(self.shared), self.session_id))

    pipeline = vp.Pipeline(ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice(), observers=[Counting()])
    async with pipeline.open() as host:
        async with host.session(output=RecordingOutput(), id="one"), host.session(output=RecordingOutput(), id="two"):
            pass
    assert [name for _, name in seen] == ["two", "one"]
    assert len({shared for shared, _ in seen}) == 1


async def test_what_interrupted_is_told() -> None:
    """A reply that the end of the session cuts was interrupted by neither the caller nor the application."""
    notes = Notes()
    async with agent().session(observers=[notes]) as session:
        session.say("This sentence is cut by the end.")
        await anyio.sleep(0.4)
        session.end()
    assert [one.by for one in notes.of(vp.TurnInterrupted)] == ["end"]


class Awaited(vp.Observer):
    async def on_event(self, event: vp.Event) -> None:  # type: ignore[override]
        await anyio.sleep(1.0)


@pytest.mark.parametrize("given", [Notes(), [Notes], [object()], [Awaited()]])
def test_what_is_no_list_of_observers_is_refused(given: Any) -> None:
    """One observer alone, a class or anything else is a configuration error that says what to write."""
    with pytest.raises(vp.ConfigurationError, match="observers"):
        agent(observers=given)


async def test_an_observer_watches_one_session_at_a_time() -> None:
    """Given to two sessions at once it is refused, before it mixes their words; one after the other is no mistake."""

    class Own(Notes):
        @asynccontextmanager
        async def attach(self, session: vp.Session) -> AsyncGenerator[None]:
            yield

    own = Own()
    async with agent().open() as host:
        async with host.session(observers=[own]) as first:
            with pytest.raises(vp.ConfigurationError, match="this Own watches another session; make one for each"):
                async with host.session(observers=[own]):
                    pass
            await first.ended.wait()
        async with host.session(observers=[own]) as second:
            await second.ended.wait()
    assert own.ended == ["the caller hung up"] * 2


WORKS_FOR: ContextVar[str] = ContextVar("works_for", default="nobody")


class Around(Notes):
    """Sets a context variable around each tool, and notes what the tool raised."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__()
        self.fails = fails
        self.raised: list[type[BaseException] | None] = []

    @contextmanager
    def around_tool(self, call: observed.ToolAsked) -> Generator[None]:
        if self.fails:
            raise OSError("no context")
        token = WORKS_FOR.set(call.name)
        try:
            yield
        except BaseException as error:
            self.raised.append(type(error))
            raise
        else:
            self.raised.append(None)
        finally:
            WORKS_FOR.reset(token)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # plain functions run in threads, which need real time
async def test_a_tool_runs_inside_of_what_observers_enter(anyio_backend: str) -> None:
    """Async and plain tools see context variables that an observer sets, and an observer that fails breaks no tool."""
    seen: list[str] = []

    @vp.tool(effect="read")
    async def one() -> str:
        """Return who it works for."""
        seen.append(WORKS_FOR.get())
        return WORKS_FOR.get()

    @vp.tool(effect="read")
    def two() -> str:
        """Fail in a thread."""
        seen.append(WORKS_FOR.get())
        raise ValueError("no")

    around, failing = Around(), Around(fails=True)
    model = ScriptedModel([Calls("one", {}), Calls("two", {}), Says("Done.")])
    voice = ScriptedVoice(character_s=0.001)
    row = model, vp.ToolRouter([one, two]), vp.SentenceChunker(), voice
    async with vp.Pipeline(*row, output=RecordingOutput()).session(observers=[failing, around]) as session:
        await session.user_says("Go.")
    assert seen == ["one", "two"]
    assert around.raised == [None, ValueError]
    assert [(one.name, one.status) for one in around.of(vp.ToolFinished)] == [("one", "done"), ("two", "failed")]
    assert [one.observer for one in around.of(vp.ObserverFailed)] == ["Around"]


async def test_what_belongs_to_a_dropped_draft_is_known() -> None:
    """A draft that guessed wrong is reported to observers with its number, which the next turn has again."""
    user = ScriptedUser().guesses("what", at_s=0.6).says("Where is it?", at_s=1.0).hangs_up(at_s=4.0)
    notes = Notes()
    row = user, ScriptedModel(lambda _: Says("Two.", after_s=0.2)), vp.SentenceChunker(), ScriptedVoice()
    async with vp.Pipeline(*row, output=RecordingOutput()).session(observers=[notes]) as session:
        await session.ended.wait()
    asked = [(one.request_id, one.turn_id, one.model) for one in notes.of(observed.ModelAsked)]
    dropped = notes.of(observed.DraftDropped)
    assert asked == [(1, 1, "ScriptedModel"), (2, 1, "ScriptedModel")]
    assert [one.turn_id for one in dropped] == [1]
    assert notes.of(observed.ModelAsked)[0].at_s < dropped[0].at_s <= notes.of(observed.ModelAsked)[1].at_s
