"""The two kinds of stage, and how their item types are read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Never, TypeVar

import anyio
import pytest

from voicepipe.conversation.turn import Turn
from voicepipe.core.channel import Channel, Inbox, Outbox
from voicepipe.core.stage import SessionStage, Stage, can_follow, flow_of, kind_name, stage
from voicepipe.errors import ConfigurationError
from voicepipe.flow import AudioFrame, EarlyTranscript, Hearing, Sentence, TextDelta, Transcript
from voicepipe.session.session import Session

T = TypeVar("T")


class Redact(Stage[Sentence, Sentence]):
    async def run(self, inbox: Inbox[Sentence], outbox: Outbox[Sentence], turn: Turn) -> None: ...


class Quieter(Redact):
    """A stage that inherits its item types."""


class Pass(Stage[T, T]):
    """A generic stage that leaves its item types open."""

    async def run(self, inbox: Inbox[T], outbox: Outbox[T], turn: Turn) -> None: ...


class PassText(Pass[TextDelta]):
    """A stage that fills in the item types that its base left open."""


class Gate(SessionStage[AudioFrame, AudioFrame]):
    async def run(self, inbox: Inbox[AudioFrame], outbox: Outbox[AudioFrame], session: Session) -> None: ...


class Untyped(Stage):  # type: ignore[type-arg]
    async def run(self, inbox: Any, outbox: Any, turn: Turn) -> None: ...


@stage
async def shout(sentence: Sentence) -> AsyncIterator[Sentence]:
    yield Sentence(sentence.text.upper(), sentence.segment)


@pytest.mark.parametrize(
    ("part", "flow"),
    [
        (Redact(), (Sentence, Sentence)),
        (Quieter(), (Sentence, Sentence)),
        (PassText(), (TextDelta, TextDelta)),
        (Gate(), (AudioFrame, AudioFrame)),
        (shout, (Sentence, Sentence)),
    ],
)
def test_what_flows_is_read_from_the_type_parameters(part: Stage[Any, Any], flow: tuple[Any, Any]) -> None:
    """The types that a stage reads and sends are written once: in its own base, a base class, or annotations."""
    assert flow_of(part) == flow


@pytest.mark.parametrize("part", [Untyped(), Pass()])
def test_a_stage_that_does_not_say_what_flows_is_refused(part: Stage[Any, Any]) -> None:
    """Without both types the error shows how the class should begin."""
    with pytest.raises(ConfigurationError, match=rf"class {part.name}\(Stage\[Sentence, Sentence\]\)"):
        flow_of(part)


@pytest.mark.parametrize(
    ("sent", "read", "fits"),
    [
        (Sentence, Sentence, True),
        (Sentence, TextDelta, False),
        (Transcript, Hearing, True),
        (Hearing, Transcript, False),
        (Transcript | EarlyTranscript, Hearing, True),
        (bool, int, True),
        (int, bool, False),
        (Any, Sentence, True),
        (Sentence, Any, True),
        (Never, Sentence, False),
    ],
)
def test_a_stage_may_follow_one_that_sends_what_it_reads(sent: Any, read: Any, fits: bool) -> None:
    """Every type that may be sent must be one that is read."""
    assert can_follow(sent, read) is fits


@pytest.mark.parametrize(
    ("kind", "name"),
    [(Sentence, "Sentence"), (Transcript | EarlyTranscript, "Transcript | EarlyTranscript"), (Never, "Never")],
)
def test_a_type_is_named_as_a_user_would_write_it(kind: Any, name: str) -> None:
    """Error messages show types without their modules."""
    assert kind_name(kind) == name


def test_a_stage_is_named_after_its_class() -> None:
    """Errors and events name a stage by its class, and a function stage by its function."""
    assert (Quieter().name, shout.name, repr(Gate())) == ("Quieter", "shout", "<Gate>")


async def returns(sentence: Sentence) -> Sentence:
    return sentence


async def unannotated(sentence):  # type: ignore[no-untyped-def]
    yield sentence


async def takes_two(one: Sentence, two: Sentence) -> AsyncIterator[Sentence]:
    yield one


async def gives_a_list(one: Sentence) -> list[Sentence]:  # type: ignore[misc]
    yield one


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (returns, "needs an async generator function, but returns is not one"),
        (unannotated, "reads the item types from the annotations of unannotated"),
        (takes_two, "reads the item types from the annotations of takes_two"),
        (gives_a_list, "reads the item types from the annotations of gives_a_list"),
    ],
)
def test_a_function_that_is_no_stage_is_refused(function: Any, found: str) -> None:
    """`@stage` says immediately what is wrong with the function."""
    with pytest.raises(ConfigurationError, match=found):
        stage(function)


@pytest.mark.anyio
async def test_a_function_sends_what_it_yields(turn: Turn) -> None:
    """Each item is passed through the function, in order."""
    inbox, outbox = Channel[Sentence](4), Channel[Sentence](4)
    for text in ("one", "two"):
        await inbox.send(Sentence(text))
    inbox.close()
    await shout.run(inbox, outbox, turn)
    outbox.close()
    assert [sentence.text async for sentence in outbox] == ["ONE", "TWO"]


@pytest.mark.anyio
async def test_a_function_is_closed_when_its_turn_is_cancelled(turn: Turn) -> None:
    """The generator's own clean-up runs inside the cancelled turn, not whenever memory is collected."""
    closed: list[float] = []

    @stage
    async def endless(sentence: Sentence) -> AsyncIterator[Sentence]:
        try:
            while True:
                yield sentence
        finally:
            closed.append(anyio.current_time())

    inbox, outbox = Channel[Sentence](1), Channel[Sentence](1)
    await inbox.send(Sentence("again"))
    with anyio.move_on_after(1.0):
        await endless.run(inbox, outbox, turn)
    assert closed == [1.0]


@pytest.fixture
def turn() -> Turn:
    """A stage made from a function ignores its turn."""
    return Turn.__new__(Turn)
