"""A pipeline: checked when it is built, immutable, and with parts that a test can replace."""

from __future__ import annotations

from typing import Any

import pytest

from voicepipe import (
    ConfigurationError,
    Inbox,
    Outbox,
    Pipeline,
    PullOutput,
    PushSource,
    Sentence,
    SentenceChunker,
    Session,
    SessionStage,
    Stage,
    STTStage,
    TextDelta,
    ToolRouter,
    Transcript,
    TTSSink,
    Turn,
    TurnRules,
)
from voicepipe.audio.output import Output
from voicepipe.flow import AudioFrame, Hearing
from voicepipe.session.wiring import compiled
from voicepipe.testing import RecordingOutput, ScriptedModel, ScriptedRecogniser, ScriptedUser, ScriptedVoice
from voicepipe.turntaking.rules import TurnRules as Rules


class Redact(Stage[Sentence, Sentence]):
    async def run(self, inbox: Inbox[Sentence], outbox: Outbox[Sentence], turn: Turn) -> None: ...


class Shorten(Stage[Transcript, Transcript]):
    async def run(self, inbox: Inbox[Transcript], outbox: Outbox[Transcript], turn: Turn) -> None: ...


class Recite(Stage[Sentence, Transcript]):
    async def run(self, inbox: Inbox[Sentence], outbox: Outbox[Transcript], turn: Turn) -> None: ...


class Gate(SessionStage[AudioFrame, AudioFrame]):
    async def run(self, inbox: Inbox[AudioFrame], outbox: Outbox[AudioFrame], session: Session) -> None: ...


class Spy(SessionStage[Hearing, Hearing]):
    async def run(self, inbox: Inbox[Hearing], outbox: Outbox[Hearing], session: Session) -> None: ...


def source() -> PushSource:
    return PushSource()


def stt() -> STTStage:
    return STTStage(ScriptedRecogniser())


def model() -> ScriptedModel:
    return ScriptedModel([])


def voice() -> ScriptedVoice:
    return ScriptedVoice()


GOOD: list[tuple[str, list[Any]]] = [
    ("the shortest", [model(), SentenceChunker(), voice()]),
    ("with tools", [model(), ToolRouter([]), SentenceChunker(), voice()]),
    ("with a source", [source(), stt(), model(), SentenceChunker(), voice()]),
    ("the source comes per session", [stt(), model(), SentenceChunker(), voice()]),
    ("a stage before the recogniser", [source(), Gate(), stt(), model(), SentenceChunker(), voice()]),
    ("a stage behind it", [source(), stt(), Spy(), model(), SentenceChunker(), voice()]),
    ("a stage for the turn's one text", [source(), stt(), Shorten(), model(), SentenceChunker(), voice()]),
    ("a stage between sentences and voice", [model(), SentenceChunker(), Redact(), voice()]),
    ("a scripted caller", [ScriptedUser(), model(), SentenceChunker(), voice()]),
    ("a scripted caller in the place of a recogniser", [source(), ScriptedUser(), model(), SentenceChunker(), voice()]),
]


@pytest.mark.parametrize("parts", [row for _, row in GOOD], ids=[name for name, _ in GOOD])
def test_a_row_that_fits_is_taken(parts: list[Any]) -> None:
    """Each legal order of parts makes a pipeline that holds exactly these parts."""
    assert Pipeline(*parts).parts == tuple(parts)


BAD: list[tuple[str, list[Any]]] = [
    ("a pipeline needs exactly one model", []),
    ("a pipeline needs exactly one model", [SentenceChunker(), voice()]),
    ("a pipeline needs exactly one model", [model(), model(), SentenceChunker(), voice()]),
    ("a pipeline ends with a TTSSink, but the last part is SentenceChunker", [model(), SentenceChunker()]),
    (
        "ScriptedVoice cannot follow ScriptedModel: ScriptedModel sends TextDelta, ScriptedVoice reads Sentence",
        [model(), voice()],
    ),
    (
        "ScriptedModel cannot follow PushSource: PushSource sends AudioFrame, ScriptedModel reads Transcript",
        [source(), model(), SentenceChunker(), voice()],
    ),
    ("ToolRouter must directly follow a model", [model(), SentenceChunker(), ToolRouter([]), voice()]),
    ("ToolRouter must directly follow a model", [model(), ToolRouter([]), ToolRouter([]), SentenceChunker(), voice()]),
    (
        "a TTSSink is the last part, but Redact follows ScriptedVoice",
        [model(), SentenceChunker(), voice(), Redact(), voice()],
    ),
    ("a source comes first, but PushSource follows STTStage", [stt(), source(), model(), SentenceChunker(), voice()]),
    (
        "Spy lives for the whole session, so it cannot follow Shorten",
        [source(), stt(), Shorten(), Spy(), model(), SentenceChunker(), voice()],
    ),
    ("Recite reads Sentence, but no part before it sends that", [Recite(), model(), SentenceChunker(), voice()]),
    ("ScriptedVoice is a class; write ScriptedVoice", [model(), SentenceChunker(), ScriptedVoice]),
    ("RecordingOutput is an output; give it as", [model(), SentenceChunker(), voice(), RecordingOutput()]),
    ("len is not a part of a pipeline; decorate it with @stage", [model(), len, SentenceChunker(), voice()]),
    ("'hello' is not a part of a pipeline; the order is", [model(), "hello", SentenceChunker(), voice()]),
]


@pytest.mark.parametrize(("message", "parts"), BAD)
def test_a_row_that_does_not_fit_is_refused(message: str, parts: list[Any]) -> None:
    """A wiring mistake is raised when the pipeline is built, and the message names the parts that do not fit."""
    with pytest.raises(ConfigurationError, match=message):
        Pipeline(*parts)


def test_an_output_must_be_one() -> None:
    """Anything but an output is refused as `output` when the pipeline is built."""
    with pytest.raises(ConfigurationError, match="output must be of the type Output, not str"):
        Pipeline(model(), SentenceChunker(), voice(), output="agent.wav")  # type: ignore[arg-type]


def test_building_touches_no_part() -> None:
    """A pipeline is a description: building it changes none of its parts."""
    parts = [model(), ToolRouter([]), SentenceChunker(), voice()]
    before = [dict(vars(part)) for part in parts]
    compiled(parts, Rules(), "")
    assert [vars(part) for part in Pipeline(*parts).parts] == before


def test_the_tool_loop_stands_around_every_model() -> None:
    """The tool loop asks the model even without tools, and is the first of the reply stages."""
    row = compiled([model(), SentenceChunker(), voice()], TurnRules(), "")
    assert [part.name for part in row.reply_stages] == ["ToolRouter", "SentenceChunker", "ScriptedVoice"]


def test_a_router_of_ones_own_stays_what_it_is() -> None:
    """A subclass of `ToolRouter` keeps its class and attributes when the pipeline gives it the model."""

    class Regional(ToolRouter):
        def __init__(self, *, region: str) -> None:
            super().__init__([])
            self.region = region

    row = compiled([asked := model(), Regional(region="eu"), SentenceChunker(), voice()], TurnRules(), "")
    router = row.reply_stages[0]
    assert isinstance(router, Regional)
    assert (router.region, router.model) == ("eu", asked)


def test_the_end_of_the_row_speaks_without_the_model() -> None:
    """A greeting passes through all stages after the model, custom ones included."""
    row = compiled([model(), ToolRouter([]), SentenceChunker(), Redact(), voice()], TurnRules(), "")
    assert [part.name for part in row.speech_stages] == ["SentenceChunker", "Redact", "ScriptedVoice"]


@pytest.mark.parametrize(("rate", "heard_at"), [(16_000, 16_000), (8_000, 8_000)])
def test_audio_is_heard_at_the_recognisers_rate(rate: int, heard_at: int) -> None:
    """The hearing stages run at the recogniser's rate."""
    parts = [source(), STTStage(ScriptedRecogniser(rate)), model(), SentenceChunker(), voice()]
    assert compiled(parts, TurnRules(), "").hearing_rate == heard_at


def test_a_part_can_be_replaced_by_class_or_by_itself() -> None:
    """A test can replace parts of an application's pipeline, which itself stays as it was."""
    old, new = voice(), voice()
    agent = Pipeline(source(), stt(), asked := model(), SentenceChunker(), old)
    other = agent.replace({STTStage: (user := ScriptedUser()), TTSSink: new, asked: (answers := model())})
    assert other.parts == (agent.parts[0], user, answers, agent.parts[3], new)
    assert agent.parts[-1] is old


def test_the_output_can_be_replaced() -> None:
    """An output can be replaced by its class, or added where there was none."""
    row = [model(), SentenceChunker(), voice()]
    new = RecordingOutput()
    assert Pipeline(*row, output=RecordingOutput()).replace({RecordingOutput: new})._output is new
    assert Pipeline(*row).replace({Output: new})._output is new


def test_replacing_keeps_the_rest() -> None:
    """`replace` keeps the rules of turns and the fallback."""
    rules = TurnRules(min_speech_s=1.0)
    agent = Pipeline(model(), SentenceChunker(), voice(), turns=rules, fallback="Oh.").replace({TTSSink: voice()})
    assert (agent._turns, agent._fallback) == (rules, "Oh.")


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({STTStage: ScriptedUser()}, "<Pipeline .*> has no STTStage"),
        ({PullOutput: RecordingOutput()}, "has no PullOutput"),
        ({SentenceChunker: Shorten()}, "Shorten cannot follow ScriptedModel"),
    ],
)
def test_an_invalid_replacement_is_refused(others: dict[Any, Any], message: str) -> None:
    """A key that matches nothing, or a part that does not fit in its place, is refused."""
    with pytest.raises(ConfigurationError, match=message):
        Pipeline(model(), SentenceChunker(), voice()).replace(others)


def test_it_shows_its_row() -> None:
    """The repr shows the parts in their order."""
    agent = Pipeline(model(), SentenceChunker(), voice())
    assert repr(agent) == "<Pipeline ScriptedModel > SentenceChunker > ScriptedVoice>"


def test_text_deltas_can_be_edited() -> None:
    """A stage may stand between the model and the chunker when it reads and sends text."""

    class Lower(Stage[TextDelta, TextDelta]):
        async def run(self, inbox: Inbox[TextDelta], outbox: Outbox[TextDelta], turn: Turn) -> None: ...

    assert len(Pipeline(model(), ToolRouter([]), Lower(), SentenceChunker(), voice()).parts) == 5


@pytest.mark.anyio
async def test_a_session_needs_an_output() -> None:
    """Without an output, opening a session says how to give one."""
    async with Pipeline(model(), SentenceChunker(), voice()).open() as host:
        with pytest.raises(
            ConfigurationError, match=r"there is no output for the agent's audio; write Pipeline\(\.\.\., output="
        ):
            async with host.session():
                raise AssertionError("a session without an output began")
