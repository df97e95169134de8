"""When the agent takes its turn, and when it gives it up."""

from __future__ import annotations

from typing import Literal, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe._policy import Commit, Decision, Interrupt, RollBack, Start, Tick, TurnPolicy, TurnRules
from voicepipe.errors import ConfigurationError
from voicepipe.events import EarlyTranscript, Hearing, SpeechEnded, SpeechStarted, Transcript

Phase: TypeAlias = Literal["none", "draft", "live"]


class World:
    """What a session does with the decisions, reduced to the phase of the current turn."""

    def __init__(self, phase: Phase = "none", *, rules: TurnRules | None = None) -> None:
        self.phase: Phase = phase
        self.policy = TurnPolicy(rules or TurnRules(), lambda: self.phase)

    def hears(self, event: Hearing | Tick, at_s: float) -> list[Decision]:
        decisions = self.policy.handle(event, at_s)
        for decision in decisions:
            match decision:
                case Start(is_draft=is_draft):
                    assert self.phase == "none", "a turn was started while another one lives"
                    self.phase = "draft" if is_draft else "live"
                case Commit():
                    assert self.phase == "draft", "something else than a draft was committed"
                    self.phase = "live"
                case RollBack():
                    assert self.phase == "draft", "something else than a draft was rolled back"
                    self.phase = "none"
                case Interrupt():
                    assert self.phase == "live", "nothing was there to interrupt"
                    self.phase = "none"
        return decisions


def final(text: str, at_s: float = 5.0) -> Transcript:
    return Transcript(text, at_s - 0.3, at_s)


def draft(text: str, at_s: float) -> Start:
    return Start(Transcript(text, at_s, at_s), is_draft=True)


STABLE = EarlyTranscript("hello there", stable=True)

TABLE: list[tuple[str, Phase, Hearing, list[Decision]]] = [
    ("a stable early transcript starts a draft", "none", STABLE, [draft("hello there", 5.0)]),
    ("an unstable one does not", "none", EarlyTranscript("hello there"), []),
    ("a stable one without words does not", "none", EarlyTranscript(" ... ", stable=True), []),
    ("a stable early transcript interrupts a reply", "live", STABLE, [Interrupt()]),
    ("an unstable one with a word interrupts it too", "live", EarlyTranscript("hm"), [Interrupt()]),
    ("one without a word does not", "live", EarlyTranscript("..."), []),
    ("a final transcript starts a turn", "none", final("Hello."), [Start(final("Hello."))]),
    ("a final transcript interrupts a reply", "live", final("No."), [Interrupt(), Start(final("No."))]),
    ("speech alone does nothing when nobody speaks", "none", SpeechStarted(at_s=5.0), []),
    ("speech alone does not touch a draft", "draft", SpeechStarted(at_s=5.0), []),
    ("speech alone does not interrupt at once", "live", SpeechStarted(at_s=5.0), []),
    ("speech that is told late interrupts at once", "live", SpeechStarted(at_s=4.5), [Interrupt()]),
    ("the end of speech does nothing", "none", SpeechEnded(at_s=5.0), []),
    ("the end of speech does not touch a draft", "draft", SpeechEnded(at_s=5.0), []),
    ("the end of speech does not interrupt", "live", SpeechEnded(at_s=5.0), []),
]


@pytest.mark.parametrize(("phase", "event", "decisions"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_table(phase: Phase, event: Hearing, decisions: list[Decision]) -> None:
    """Each row of the table: what is heard at 5.0 s in which phase leads to which decisions."""
    assert World(phase).hears(event, 5.0) == decisions


AFTER_A_DRAFT: list[tuple[str, Hearing, list[Decision]]] = [
    ("the same words keep it", STABLE, []),
    ("the same words written otherwise keep it", EarlyTranscript("Hello, there!", stable=True), []),
    ("an unstable guess keeps it", EarlyTranscript("hello there now"), []),
    (
        "other words start anew",
        EarlyTranscript("hello there now", stable=True),
        [RollBack(), draft("hello there now", 5.0)],
    ),
    ("the same final words commit it", final("Hello there."), [Commit(final("Hello there."))]),
    ("other final words roll it back", final("Hello you."), [RollBack(), Start(final("Hello you."))]),
    ("final words that go on roll it back", final("Hello there you."), [RollBack(), Start(final("Hello there you."))]),
]


@pytest.mark.parametrize(
    ("event", "decisions"), [row[1:] for row in AFTER_A_DRAFT], ids=[row[0] for row in AFTER_A_DRAFT]
)
def test_a_draft_stands_or_falls_with_its_words(event: Hearing, decisions: list[Decision]) -> None:
    """After a draft on "hello there", each thing that can be heard at 5.0 s leads to these decisions."""
    world = World()
    world.hears(STABLE, 4.0)
    assert world.hears(event, 5.0) == decisions


def test_drafts_can_be_turned_off() -> None:
    """With `drafts=False` a stable guess starts nothing."""
    assert World(rules=TurnRules(drafts=False)).hears(STABLE, 5.0) == []


def test_a_draft_that_failed_is_started_anew() -> None:
    """When a draft is gone without a word, the same words start another one."""
    world = World()
    world.hears(STABLE, 4.0)
    world.phase = "none"
    assert world.hears(STABLE, 5.0) == [draft("hello there", 5.0)]


@pytest.mark.parametrize(
    ("heard", "decisions"),
    [
        ([(5.3, Tick())], [Interrupt()]),
        ([(5.299, Tick())], []),
        ([(5.2, SpeechEnded(at_s=5.2)), (5.3, Tick())], []),
        ([(5.2, SpeechEnded(at_s=5.2)), (5.25, SpeechStarted(at_s=5.25)), (5.3, Tick())], []),
        ([(5.2, SpeechEnded(at_s=5.2)), (5.25, SpeechStarted(at_s=5.25)), (5.55, Tick())], [Interrupt()]),
        ([(5.1, EarlyTranscript("...")), (5.3, Tick())], [Interrupt()]),
        ([(5.1, EarlyTranscript("no"))], [Interrupt()]),
        ([(5.1, EarlyTranscript("no")), (5.3, Tick())], [Interrupt()]),
    ],
)
def test_speech_interrupts_once_it_lasted(heard: list[tuple[float, Hearing | Tick]], decisions: list[Decision]) -> None:
    """Speech since 5.0 s interrupts a reply after 0.3 s, or with the first word; a cough does not, and none twice."""
    world = World("live")
    world.hears(SpeechStarted(at_s=5.0), 5.0)
    assert [decision for at_s, event in heard for decision in world.hears(event, at_s)] == decisions


@pytest.mark.parametrize(
    ("phase", "event", "wake_at"),
    [
        ("none", SpeechStarted(at_s=5.0), None),
        ("draft", SpeechStarted(at_s=5.0), None),
        ("live", SpeechStarted(at_s=5.0), 5.3),
        ("live", SpeechStarted(at_s=4.9), 5.2),
        ("live", SpeechEnded(at_s=5.0), None),
    ],
)
def test_it_says_when_to_ask_again(phase: Phase, event: Hearing, wake_at: float | None) -> None:
    """A tick is wanted only for speech into a reply, counted from its first sample."""
    world = World(phase)
    world.hears(event, 5.0)
    assert world.policy.wake_at == wake_at


@pytest.mark.parametrize("tenth", range(1, 100))
def test_the_time_to_wake_is_one_that_a_clock_can_show(tenth: int) -> None:
    """It is a whole number of microseconds: a tick at that time must not be a bit early."""
    world = World("live")
    world.hears(SpeechStarted(at_s=tenth / 10), tenth / 10)
    assert world.policy.wake_at == round(tenth / 10 + 0.3, 6)
    assert world.hears(Tick(), round(tenth / 10 + 0.3, 6)) == [Interrupt()]


def test_a_reply_that_ends_meanwhile_is_not_interrupted() -> None:
    """When the reply is over before the speech has lasted, the tick does nothing."""
    world = World("live")
    world.hears(SpeechStarted(at_s=5.0), 5.0)
    world.phase = "none"
    assert (world.hears(Tick(), 5.3), world.policy.wake_at) == ([], None)


def test_speech_can_interrupt_at_once() -> None:
    """With `min_speech_s=0` the first sample of speech interrupts."""
    assert World("live", rules=TurnRules(min_speech_s=0)).hears(SpeechStarted(at_s=5.0), 5.0) == [Interrupt()]


@pytest.mark.parametrize("min_speech_s", [-0.1, 10.1, float("nan"), float("inf")])
def test_rules_that_cannot_be_meant_are_refused(min_speech_s: float) -> None:
    """Negative, endless and undefined times are errors when the rules are written."""
    with pytest.raises(ConfigurationError, match="min_speech_s must be 0 to 10 seconds"):
        TurnRules(min_speech_s=min_speech_s)


TEXTS = st.sampled_from(["hello", "Hello.", "hello there", "", "..."])
HEARD = st.one_of(
    st.builds(SpeechStarted, at_s=st.floats(0, 10)),
    st.builds(SpeechEnded, at_s=st.floats(0, 10)),
    st.builds(EarlyTranscript, TEXTS, st.booleans()),
    st.builds(Transcript, TEXTS, st.just(0.0), st.just(0.0)),
    st.just(Tick()),
    st.just("the turn ends by itself"),
    st.just("the agent speaks on its own"),
)


@given(events=st.lists(HEARD, max_size=40), step_s=st.floats(0.0, 0.5))
def test_no_sequence_makes_it_contradict_itself(events: list[Hearing | Tick | str], step_s: float) -> None:
    """Whatever is heard: no interruption without a reply, no second turn beside the first, no draft confused."""
    world, now = World(), 0.0
    for event in events:
        now += step_s
        if event == "the turn ends by itself":
            world.phase = "none"
        elif event == "the agent speaks on its own":
            world.phase = "live" if world.phase == "none" else world.phase
        elif not isinstance(event, str):
            world.hears(event, now)


@given(events=st.lists(HEARD, max_size=20), text=st.sampled_from(["hello", "Hello there!"]))
def test_final_words_are_always_answered(events: list[Hearing | Tick | str], text: str) -> None:
    """Whatever was heard before, final words leave a committed turn, and no tick is wanted any more."""
    world = World()
    for now, event in enumerate(events):
        if not isinstance(event, str):
            world.hears(event, float(now))
    world.hears(final(text), 50.0)
    assert (world.phase, world.policy.wake_at) == ("live", None)
