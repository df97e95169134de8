"""When the agent takes its turn, and when it gives it up."""

from __future__ import annotations

from typing import Literal, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.errors import ConfigurationError
from voicepipe.flow import EarlyTranscript, Hearing, SpeechEnded, SpeechStarted, Transcript
from voicepipe.turntaking.echo import EchoGuard
from voicepipe.turntaking.policy import (
    Commit,
    Decision,
    Ignore,
    Interrupt,
    RollBack,
    Start,
    Tick,
    TurnPolicy,
    TurnRules,
)

Phase: TypeAlias = Literal["none", "draft", "live"]


class World:
    """Carries out decisions as a session does, reduced to the phase of the current turn."""

    def __init__(self, phase: Phase = "none", *, rules: TurnRules | None = None, echo: EchoGuard | None = None) -> None:
        self.phase: Phase = phase
        self.policy = TurnPolicy(rules or TurnRules(), lambda: self.phase, echo)

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
    """Each row of the table: an event at 5.0 s in a phase leads to these decisions."""
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
    """After a draft on "hello there", each event at 5.0 s leads to these decisions."""
    world = World()
    world.hears(STABLE, 4.0)
    assert world.hears(event, 5.0) == decisions


def test_drafts_can_be_turned_off() -> None:
    """With `drafts=False` a stable early transcript starts nothing."""
    assert World(rules=TurnRules(drafts=False)).hears(STABLE, 5.0) == []


def test_a_draft_that_failed_is_started_anew() -> None:
    """After a draft was dropped, the same words start another draft."""
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
    """Speech since 5.0 s interrupts a reply once: after 0.3 s or with the first word; a cough does not interrupt."""
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
    """A tick is asked for only when speech begins during a reply, counted from its first sample."""
    world = World(phase)
    world.hears(event, 5.0)
    assert world.policy.wake_at == wake_at


@pytest.mark.parametrize("tenth", range(1, 100))
def test_the_time_to_wake_is_one_that_a_clock_can_show(tenth: int) -> None:
    """`wake_at` is a whole number of microseconds, so that a tick at that time is not slightly early."""
    world = World("live")
    world.hears(SpeechStarted(at_s=tenth / 10), tenth / 10)
    assert world.policy.wake_at == round(tenth / 10 + 0.3, 6)
    assert world.hears(Tick(), round(tenth / 10 + 0.3, 6)) == [Interrupt()]


def test_a_reply_that_ends_meanwhile_is_not_interrupted() -> None:
    """When the reply ends before the speech has lasted long enough, the tick does nothing."""
    world = World("live")
    world.hears(SpeechStarted(at_s=5.0), 5.0)
    world.phase = "none"
    assert (world.hears(Tick(), 5.3), world.policy.wake_at) == ([], None)


def test_speech_can_interrupt_at_once() -> None:
    """With `min_speech_s=0` the first sample of speech interrupts."""
    assert World("live", rules=TurnRules(min_speech_s=0)).hears(SpeechStarted(at_s=5.0), 5.0) == [Interrupt()]


@pytest.mark.parametrize("min_speech_s", [-0.1, 10.1, float("nan"), float("inf")])
def test_rules_that_cannot_be_meant_are_refused(min_speech_s: float) -> None:
    """Negative, infinite and undefined times are refused when the rules are created."""
    with pytest.raises(ConfigurationError, match="min_speech_s must be 0 to 10 seconds"):
        TurnRules(min_speech_s=min_speech_s)


# --- with a loudspeaker -----------------------------------------------------------------------------------------------

SAID = "we are open from nine to five"


def speaks_aloud(phase: Phase, *, until_s: float = 6.0) -> World:
    """A world whose agent has been saying SAID since 4.0 s, audible to the microphone."""
    guard = EchoGuard(lambda: until_s)
    guard.says(SAID, 4.0)
    return World(phase, echo=guard)


OWN = EarlyTranscript("we are open", stable=True)
OTHER = EarlyTranscript("we are open stop please", stable=True)
HIS_OWN = Transcript("We are open.", 4.9, 5.0)
ANOTHERS = Transcript("We are open. Stop, please!", 4.9, 5.0)

WITH_A_LOUDSPEAKER: list[tuple[str, Phase, Hearing, list[Decision]]] = [
    ("speech does not interrupt", "live", SpeechStarted(at_s=4.1), []),
    ("its own words do not interrupt", "live", OWN, [Ignore()]),
    ("its own words start no draft", "none", OWN, [Ignore()]),
    ("its own words leave a draft", "draft", OWN, [Ignore()]),
    ("its own words in the end do not interrupt", "live", HIS_OWN, [Ignore()]),
    ("its own words in the end start nothing", "none", HIS_OWN, [Ignore()]),
    ("its own words in the end drop a draft", "draft", HIS_OWN, [RollBack(), Ignore()]),
    ("others interrupt", "live", OTHER, [Interrupt()]),
    ("others start a draft", "none", OTHER, [draft(OTHER.text, 5.0)]),
    ("others in the end interrupt and start", "live", ANOTHERS, [Interrupt(), Start(ANOTHERS)]),
    ("others in the end start", "none", ANOTHERS, [Start(ANOTHERS)]),
]


@pytest.mark.parametrize(
    ("phase", "event", "decisions"), [row[1:] for row in WITH_A_LOUDSPEAKER], ids=[row[0] for row in WITH_A_LOUDSPEAKER]
)
def test_the_table_with_a_loudspeaker(phase: Phase, event: Hearing, decisions: list[Decision]) -> None:
    """Each row: an event at 5.0 s, while the agent has been audible since 4.0 s, leads to these decisions."""
    world = speaks_aloud(phase)
    assert world.hears(event, 5.0) == decisions
    assert world.policy.wake_at is None


def test_what_was_typed_is_no_echo() -> None:
    """Typed words are the caller's, whatever the agent is saying."""
    typed = Transcript(SAID, 5.0, 5.0)
    assert speaks_aloud("live").policy.handle(typed, 5.0, is_typed=True) == [Interrupt(), Start(typed)]


def test_a_cough_before_the_agent_speaks_does_not_interrupt_it() -> None:
    """Speech that began in silence does not interrupt if the agent has become audible within `min_speech_s`."""
    guard = EchoGuard(lambda: 6.0)
    world = World("live", echo=guard)
    assert world.hears(SpeechStarted(at_s=3.8), 3.9) == []
    assert world.policy.wake_at == 4.1
    guard.says(SAID, 4.0)
    assert world.hears(Tick(), 4.1) == []


def test_an_agent_that_thinks_is_interrupted_by_speech() -> None:
    """With a loudspeaker too, speech alone interrupts a reply that is not audible yet."""
    world = speaks_aloud("live", until_s=6.0)
    assert world.hears(SpeechStarted(at_s=6.5), 6.6) == []
    assert world.hears(Tick(), 6.8) == [Interrupt()]


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


@given(events=st.lists(HEARD, max_size=40), step_s=st.floats(0.0, 0.5), with_guard=st.booleans())
def test_no_sequence_makes_it_contradict_itself(
    events: list[Hearing | Tick | str], step_s: float, with_guard: bool
) -> None:
    """For any events: no interruption without a reply, no second turn next to the first, no draft mixed up."""
    guard, now = EchoGuard(lambda: now), 0.0
    world = World(echo=guard if with_guard else None)
    for event in events:
        now += step_s
        if world.phase == "live":
            guard.says("Hello.", now)
        if event == "the turn ends by itself":
            world.phase = "none"
        elif event == "the agent speaks on its own":
            world.phase = "live" if world.phase == "none" else world.phase
        elif not isinstance(event, str):
            world.hears(event, now)


@given(events=st.lists(HEARD, max_size=20), text=st.sampled_from(["hello", "Hello there!"]))
def test_final_words_are_always_answered(events: list[Hearing | Tick | str], text: str) -> None:
    """Whatever came before, a final transcript leaves a committed turn and no tick to wait for."""
    world = World()
    for now, event in enumerate(events):
        if not isinstance(event, str):
            world.hears(event, float(now))
    world.hears(final(text), 50.0)
    assert (world.phase, world.policy.wake_at) == ("live", None)
