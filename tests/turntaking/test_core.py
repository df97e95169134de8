"""When the agent answers, waits, is silent, goes on, and gives up the floor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.spoken_call import Agent, SpokenCall
from voicepipe.floor_events import Backchannel, Idle, Monologue, MonologueCut
from voicepipe.flow import Digit, EarlyTranscript, SpeechEnded, SpeechStarted, Transcript
from voicepipe.turntaking.decisions import (
    Commit,
    Draft,
    Interrupt,
    Pause,
    Release,
    Resume,
    RollBack,
    Start,
    Withhold,
)
from voicepipe.turntaking.rules import TurnRules

if TYPE_CHECKING:
    from voicepipe.flow import Hearing
    from voicepipe.turntaking.rules import Eagerness

    Script = list[tuple[float, Hearing | Digit]]


def start(at_s: float) -> tuple[float, Hearing]:
    return at_s, SpeechStarted(at_s=at_s)


def end(at_s: float) -> tuple[float, Hearing]:
    return at_s, SpeechEnded(at_s=at_s)


def early(at_s: float, text: str, *, stable: bool = False) -> tuple[float, Hearing]:
    return at_s, EarlyTranscript(text, stable)


def final(at_s: float, text: str, *, ended_s: float | None = None) -> tuple[float, Hearing]:
    return at_s, Transcript(text, at_s - 0.28 if ended_s is None else ended_s, at_s)


ASKED = [final(1.0, "Tell me about it.")]

BACKCHANNELS = [
    ("mhm", 0.35),
    ("yeah", 0.4),
    ("Okay.", 0.5),
    ("right", 0.45),
    ("uh-huh, yeah", 0.7),
    ("Yeah, okay", 0.6),
]


@pytest.mark.parametrize(("text", "length_s"), BACKCHANNELS)
@pytest.mark.parametrize("is_early", [True, False])
def test_a_backchannel_ends_nothing(text: str, length_s: float, is_early: bool) -> None:
    """A back-channel pauses the agent for at most a second; it is reported once, and never answered."""
    early_words = [early(4.0 + length_s - 0.05, text)] if is_early else []
    call = SpokenCall().plays([*ASKED, start(4.0), *early_words, end(4.0 + length_s), final(4.28 + length_s, text)])
    assert call.agent.answered == ["Tell me about it."]
    assert call.times(Interrupt) == []
    assert len(call.times(Backchannel)) == 1
    assert [resumed - paused <= 1.0 for paused, resumed in pauses(call)] == [True]
    assert len(call.quiet_at) == 1, "the reply was heard whole"


def pauses(call: SpokenCall) -> list[tuple[float, float]]:
    """Return when the agent paused and resumed."""
    return list(zip(call.times(Pause), call.times(Resume), strict=True))


@pytest.mark.parametrize(
    ("length_s", "expected"), [(0.25, []), (0.45, [(4.3, 5.25)]), (1.2, [(4.3, 6.0)]), (5.0, [(4.3, 6.3)])]
)
def test_a_sound_without_words_ends_nothing(length_s: float, expected: list[tuple[float, float]]) -> None:
    """A cough pauses the agent from `min_speech_s` on, until 0.8 s after its end, and for 2 s at most."""
    call = SpokenCall().plays([*ASKED, start(4.0), end(4.0 + length_s)])
    assert pauses(call) == expected
    assert len(call.quiet_at) == 1


def test_stop_is_obeyed_at_the_word() -> None:
    """The agent is silent once speech has lasted 0.3 s, and its reply is over with the first word."""
    call = SpokenCall().plays([*ASKED, start(4.0), early(4.6, "Stop"), final(5.0, "Stop.")])
    assert (call.times(Pause), call.times(Interrupt)) == ([4.3], [4.6])
    assert call.agent.answered == ["Tell me about it.", "Stop."]


def test_a_backchannel_that_goes_on_interrupts() -> None:
    """ "Yeah" keeps the reply, "yeah but I" ends it, and the whole text is answered once."""
    script = [start(4.0), early(4.4, "yeah"), early(4.8, "yeah but I"), end(5.4), final(5.7, "Yeah, but I can't.")]
    call = SpokenCall().plays([*ASKED, *script])
    assert (call.times(Pause), call.times(Interrupt)) == ([4.3], [4.8])
    assert call.agent.answered == ["Tell me about it.", "Yeah, but I can't."]


def test_words_that_break_off_are_no_draft() -> None:
    """ "I want to" in a breath costs no request: more words are on their way."""
    script = [start(0.5), early(1.0, "I want to"), end(1.1), final(2.0, "I want to go.", ended_s=1.6)]
    call = SpokenCall().plays(script)
    assert (call.times(Draft), call.times(Start)) == ([], [2.0])


@pytest.mark.parametrize("over_s", [0.3, -0.5])
def test_a_backchannel_can_be_the_answer(over_s: float) -> None:
    """ "Yeah" after a question, or over its last half second, answers it."""
    agent = Agent(question=True)
    at_s = 1.5 + agent.speak_s - over_s
    call = SpokenCall(agent=agent).plays(
        [*ASKED, start(at_s), end(at_s + 0.2), final(at_s + 0.25, "Yeah.")], until_s=15
    )
    assert call.agent.answered == ["Tell me about it.", "Yeah."]
    assert call.times(Backchannel) == []


def test_a_late_backchannel_to_a_statement_is_no_turn() -> None:
    """ "Okay" over the last words of a statement is not answered, although it is recognised after them."""
    at_s = 1.5 + 9.0 - 0.2
    call = SpokenCall().plays([*ASKED, start(at_s), end(at_s + 0.3), final(at_s + 0.6, "Okay.")])
    assert call.agent.answered == ["Tell me about it."]
    assert len(call.times(Backchannel)) == 1


def test_only_what_began_over_the_agent_is_a_late_backchannel() -> None:
    """A cough over the last words of a statement does not swallow the "okay" that comes seconds later."""
    script = [*ASKED, start(10.3), end(10.5), final(15.0, "..."), final(16.0, "Okay.")]
    assert SpokenCall().plays(script).agent.answered[-1] == "Okay."


def test_a_caller_who_begins_again_is_not_spoken_over() -> None:
    """Words after a sound that had paused the agent interrupt it before it resumes."""
    script = [start(4.0), end(4.6), start(5.3), early(5.8, "No wait"), final(6.3, "No, wait.")]
    call = SpokenCall().plays([*ASKED, *script])
    assert (call.times(Resume), call.times(Interrupt)) == ([], [5.8])
    assert call.agent.answered == ["Tell me about it.", "No, wait."]


def test_a_number_in_two_breaths_is_one_message() -> None:
    """Digits are waited for: the pause between them ends no turn."""
    script = [
        *(start(0.2), end(1.5), final(1.78, "the code is seven eight", ended_s=1.5)),
        *(start(2.3), end(3.1), final(3.4, "nine one six", ended_s=3.1)),
    ]
    call = SpokenCall().plays(script)
    assert call.agent.answered == ["the code is seven eight nine one six"]
    assert call.times(Start, Commit) == [4.5]  # 1.4 s after the last digit


def test_a_number_that_is_complete_is_answered() -> None:
    """When nothing follows the digits, they are answered within the patience for digits, by the draft."""
    call = SpokenCall().plays([start(0.2), end(1.5), final(1.78, "the code is seven eight", ended_s=1.5)])
    assert (call.times(Draft), call.times(Commit)) == ([1.78], [2.9])


@pytest.mark.parametrize(
    ("text", "patience_s"),
    [
        ("Please take my order", 1.5),
        ("take my order, please", 1.5),
        ("Please take my", 1.5),
        ("please take my order", 0.6),
        ("I take it", 0.6),
        ("Please", 1.5),
        ("Please take my order.", 0.3),
    ],
)
def test_a_sentence_that_is_written_without_its_end_is_waited_for(text: str, patience_s: float) -> None:
    """Where the recogniser writes sentences, one that has no end has not ended; others are waited for as little."""
    call = SpokenCall().plays([start(0.0), end(1.0), final(1.3, text, ended_s=1.0)])
    assert call.times(Start, Commit) == [pytest.approx(1.0 + patience_s)]


def test_a_caller_who_goes_on_after_a_full_stop_is_heard_out() -> None:
    """No sound comes into the second sentence, and both are one message."""
    agent = Agent(think_s=0.4)
    script = [final(1.25, "I want to cancel."), start(1.5), end(2.4), final(2.7, "My subscription.")]
    call = SpokenCall(agent=agent).plays(script)
    assert call.agent.answered == ["I want to cancel.", "I want to cancel. My subscription."]
    assert call.decisions[1:4] == [
        (1.5, Withhold()),
        (2.7, Interrupt(joins=True)),
        (2.7, Start(Transcript("I want to cancel. My subscription.", 2.42, 2.7), 2.7)),
    ]


def test_two_finals_in_a_row_are_one_message() -> None:
    """A final right after another one joins it: one reply answers both."""
    call = SpokenCall().plays([final(1.0, "Hello there."), final(1.1, "I have a question.")])
    assert call.agent.answered[-1] == "Hello there. I have a question."
    assert len(call.quiet_at) == 1


@pytest.mark.parametrize("text", ["", "...", " "])
def test_a_final_without_words_is_nothing(text: str) -> None:
    """Nothing is answered where nothing was said."""
    assert SpokenCall().plays([start(0.5), end(0.8), final(1.0, text)]).decisions == []


def test_a_repeated_final_is_taken_once() -> None:
    """The same words within half a second are one message; later they are said again."""
    repeated = [final(1.0, "Hello."), final(1.4, "hello")]
    assert SpokenCall().plays(repeated).agent.answered == ["Hello."]
    assert len(SpokenCall().plays([final(1.0, "Next."), final(1.6, "Next.")]).agent.answered) == 2


def test_noise_while_the_agent_thinks_throws_nothing_away() -> None:
    """The reply waits for the end of the noise and half a second, and is spoken whole."""
    call = SpokenCall().plays([*ASKED, start(1.15), end(1.7)])
    assert (call.times(Withhold), call.times(Release)) == ([1.15], [2.2])
    assert call.times(Interrupt) == []
    assert call.quiet_at == [11.2]


def test_noise_without_end_does_not_withhold_for_ever() -> None:
    """A reply is spoken 1.5 s after the beginning of a noise that does not end, and that noise does not pause it."""
    call = SpokenCall().plays([*ASKED, start(1.15)])
    assert (call.times(Release), call.times(Pause), call.quiet_at) == ([2.65], [], [11.65])


def test_words_while_the_agent_thinks_are_joined() -> None:
    """Words that come before the reply is heard take it back, and go on the message."""
    script = [*ASKED, start(1.15), early(1.5, "and the price"), end(2.2), final(2.5, "And the price.")]
    call = SpokenCall().plays(script)
    assert call.times(Interrupt) == [1.5]
    assert call.agent.answered[-1] == "Tell me about it. And the price."


def test_a_reply_whose_tools_ran_is_not_taken_back() -> None:
    """What a tool has done stays in the conversation: the words that follow are a message of their own."""
    agent = Agent(is_working=True)
    call = SpokenCall(agent=agent).plays([*ASKED, final(1.3, "And the price.")])
    assert call.agent.answered == ["Tell me about it.", "And the price."]


def test_bursts_of_noise_do_not_chop_the_reply() -> None:
    """After two pauses for nothing, speech alone pauses the agent no more for 10 s; words still do."""
    bursts = [event for at in range(6) for event in (start(3.0 + 1.5 * at), end(3.5 + 1.5 * at))]
    call = SpokenCall(agent=Agent(speak_s=12)).plays([*ASKED, *bursts, start(12.1), early(12.3, "Stop")])
    assert len(call.times(Pause)) == 2
    assert call.times(Interrupt) == [12.3]


def test_a_protected_reply_is_heard_whole() -> None:
    """Words over protected speech are kept and answered afterwards as one message."""
    script = [*ASKED, start(3.0), final(4.0, "But I"), start(6.0), final(7.0, "have a question.")]
    call = SpokenCall(agent=Agent(protected=True, speak_s=9)).plays(script, until_s=12)
    assert call.times(Pause, Withhold, Interrupt) == []
    assert call.agent.answered == ["Tell me about it.", "But I have a question."]
    assert call.times(Start)[1] == 10.5


def test_a_stop_word_twice_ends_protected_speech() -> None:
    """Who says "stop" twice means it."""
    script = [*ASKED, early(4.0, "Stop"), final(4.5, "Stop."), early(5.0, "Please stop"), final(5.5, "Please stop.")]
    assert SpokenCall(agent=Agent(protected=True)).plays(script).times(Interrupt) == [5.0]


def test_a_monologue_is_reported_and_not_cut() -> None:
    """50 s of words are heard out, reported at 30 s, and cost at most three drafts."""
    partials = [early(float(at), "so " * at, stable=at % 5 == 0) for at in range(1, 50)]
    call = SpokenCall().plays([start(0.0), *partials, end(50.0), final(50.3, "so " * 50 + "that is it.")], until_s=70)
    assert call.times(Monologue) == [30.0]
    assert call.agent.drafts <= 3
    assert len(call.agent.answered) == 1


def test_words_without_end_are_answered_in_the_end() -> None:
    """After 60 s the words so far are answered; those that follow are no interruption, and are not heard twice."""
    partials = [early(float(at), " ".join(f"w{n}" for n in range(at))) for at in range(1, 70)]
    words = " ".join(f"w{n}" for n in range(72))
    call = SpokenCall().plays([start(0.0), *partials, end(70.5), final(71.0, words, ended_s=70.5)], until_s=90)
    assert (call.times(Monologue), call.times(MonologueCut)) == ([30.0], [60.0])
    assert call.agent.answered[0].split() == [f"w{n}" for n in range(60)]
    assert " ".join(call.agent.answered).split() == words.split()


def test_words_whose_final_never_comes_are_answered() -> None:
    """Early words are taken as they are once their final is 5 s late."""
    call = SpokenCall().plays([start(0.5), early(1.0, "hello there"), end(1.2)])
    assert call.agent.answered == ["hello there"]
    assert call.times(Start, Commit) == [6.2]


def test_a_silent_caller_is_spoken_to() -> None:
    """The ladder goes by the time of silence: each step once, noise or not, and the last one ends the call."""
    rules = TurnRules(idle=(10, 20, 30))
    noise: Script = [start(9.0), end(9.4), start(15.0), end(15.2)]
    call = SpokenCall(rules).plays(noise, until_s=60)
    idles = [(at_s, decision.step, decision.is_last) for at_s, decision in call.decisions if isinstance(decision, Idle)]
    assert idles == [(10.0, 1, False), (20.0, 2, False), (30.0, 3, True)]


@pytest.mark.parametrize("ended_by", ["#", ""])
def test_keys_make_one_turn(ended_by: str) -> None:
    """The first key stops the agent; the keys are one message once the end key or 3 s come."""
    keys: Script = [(4.0 + at / 4, Digit(key)) for at, key in enumerate("1234" + ended_by)]
    call = SpokenCall().plays([*ASKED, *keys])
    assert call.times(Interrupt) == [4.0]
    assert call.agent.answered[1:] == ["1234"]
    assert call.times(Start)[1] == (5.0 if ended_by else 7.75)


def test_a_closed_grammar_makes_no_words_of_a_cough() -> None:
    """Words of a short sound do not interrupt if the recogniser makes words of any sound, but stop words do."""
    cough = [*ASKED, start(4.0), early(4.02, "large pizza"), end(4.2), final(4.5, "large pizza", ended_s=4.2)]
    assert SpokenCall(is_closed=True).plays(cough).times(Interrupt) == []
    stop = [*ASKED, start(4.0), early(4.02, "stop"), end(4.2), final(4.5, "stop", ended_s=4.2)]
    assert SpokenCall(is_closed=True).plays(stop).times(Interrupt) == [4.02]


@pytest.mark.parametrize(("words_s", "drafted"), [(1.2, []), (1.35, [1.72]), (1.6, [1.72])])
def test_silence_makes_no_draft_of_words_that_came_long_before_it(words_s: float, drafted: list[float]) -> None:
    """Early words that came more than 0.2 s before the end of the sound lack its last word: nothing is prepared."""
    script = [start(0.2), early(words_s, "Where is the parcel"), (1.72, SpeechEnded(at_s=1.5))]
    assert SpokenCall().plays(script, until_s=2.0).times(Draft) == drafted


@pytest.mark.parametrize(
    ("later", "dropped", "started"),
    [
        (early(1.9, "Where is my parcel?"), [1.9], [2.5]),
        (early(1.9, "Where is my parcel? The"), [1.9], [2.5]),
        (early(1.9, "Where is my parcel?", stable=True), [], []),
        (early(1.9, "Where is my part"), [], []),
    ],
)
def test_a_draft_is_dropped_when_the_end_of_the_turn_is_taken_back(
    later: tuple[float, Hearing], dropped: list[float], started: list[float]
) -> None:
    """Words that were stable and no longer are go on; other words are but another guess at them."""
    script = [start(0.2), early(1.6, "Where is my parcel?", stable=True), later, final(2.5, "Where is my parcel?")]
    call = SpokenCall().plays(script, until_s=3.0)
    assert (call.times(Draft)[:1], call.times(RollBack), call.times(Start)) == ([1.6], dropped, started)


LOCAL_END = TurnRules(local_end=True)


def guessed(*more: tuple[float, Hearing], rules: TurnRules = LOCAL_END, agent: Agent | None = None) -> SpokenCall:
    """A sentence that was spoken until 1.5 s, is guessed at 1.6 s, and known to have ended at 1.72 s."""
    script = [start(0.2), early(1.6, "Where is my parcel?"), (1.72, SpeechEnded(at_s=1.5))]
    return SpokenCall(rules, agent).plays([*script, *more])


def test_the_end_of_the_sound_ends_the_turn_if_that_is_wanted() -> None:
    """With `local_end` a whole sentence is answered when the detector hears its end, and its final changes nothing."""
    known = final(2.3, "Where is my parcel?", ended_s=1.5)
    call = guessed(known)
    assert (call.times(Draft), call.times(Commit), call.times(Start)) == ([1.6], [1.72], [])
    assert call.agent.answered == ["Where is my parcel?"]
    assert call.times(Interrupt) == []
    assert guessed(known, rules=TurnRules()).times(Commit) == [2.3]


def test_words_that_come_after_the_end_of_the_sound_end_the_turn() -> None:
    """With `local_end` a sentence that is recognised after its sound is answered at once."""
    script = [start(0.2), (1.72, SpeechEnded(at_s=1.5)), early(1.8, "Where is my parcel?")]
    call = SpokenCall(LOCAL_END).plays([*script, final(2.3, "Where is my parcel?", ended_s=1.5)])
    assert (call.times(Start), call.agent.answered) == ([1.8], ["Where is my parcel?"])


@pytest.mark.parametrize(
    "script",
    [
        [start(0.2), early(1.4, "Where is my parcel?"), (1.72, SpeechEnded(at_s=1.5))],
        [start(0.2), early(1.6, "Where is my"), (1.72, SpeechEnded(at_s=1.5))],
        [start(0.2), early(1.6, "My number is 4, 2."), (1.72, SpeechEnded(at_s=1.5))],
        [early(1.6, "Where is my parcel?"), (1.72, SpeechEnded(at_s=1.5))],
        [start(0.2), (0.7, SpeechEnded(at_s=0.5)), start(0.8), early(1.6, "Where is my parcel?")],
    ],
    ids=["words from before the end", "no sentence", "digits", "no start", "speech goes on"],
)
def test_the_end_of_the_sound_does_not_end_other_turns(script: Script) -> None:
    """With `local_end` the final is waited for unless a whole sentence was heard after the end of its sound."""
    call = SpokenCall(LOCAL_END).plays(script, until_s=2.3)
    assert call.agent.answered == []


@pytest.mark.parametrize("is_early", [True, False])
def test_a_wrong_guess_is_replaced(is_early: bool) -> None:
    """Words that the recogniser changes after the turn was ended by its sound are answered in place of the guess."""
    revised = [early(2.0, "Where is my partner?")] if is_early else []
    call = guessed(*revised, final(2.1, "Where is my partner?", ended_s=1.5), agent=Agent(think_s=1.0))
    (interrupted,) = [decision for _, decision in call.decisions if isinstance(decision, Interrupt)]
    assert interrupted.joins, "nothing of the reply was heard"
    assert call.agent.answered == ["Where is my parcel?", "Where is my partner?"]


def test_a_wrong_guess_that_was_answered_is_answered_again() -> None:
    """If the caller has heard the answer to a wrong guess, it is interrupted, and their words are answered."""
    call = guessed(final(4.1, "Where is my partner?", ended_s=1.5), agent=Agent(think_s=0.2))
    (interrupted,) = [decision for _, decision in call.decisions if isinstance(decision, Interrupt)]
    assert not interrupted.joins
    assert call.agent.answered == ["Where is my parcel?", "Where is my partner?"]


def test_a_guess_that_returns_is_answered() -> None:
    """A recogniser that changes its mind twice is believed in the end."""
    call = guessed(early(1.9, "Where is my partner?"), final(2.1, "Where is my parcel?", ended_s=1.5))
    assert call.agent.answered == ["Where is my parcel?", "Where is my parcel?"]
    assert len(call.quiet_at) == 1, "the second one was heard"


def test_a_caller_who_goes_on_after_a_guess_is_answered_once() -> None:
    """Words after a guess that was right are joined to it."""
    more = [start(1.9), early(2.1, "Where is my parcel? And"), end(2.9)]
    call = guessed(*more, final(3.2, "Where is my parcel? And my letter?", ended_s=2.9), agent=Agent(think_s=1.0))
    assert call.agent.answered[-1] == "Where is my parcel? And my letter?"


def test_what_was_said_before_a_wrong_guess_is_kept() -> None:
    """Only the guess is replaced, not the words that were held before it."""
    before = [start(0.2), (1.2, SpeechEnded(at_s=1.0)), final(1.25, "I moved and", ended_s=1.0)]
    guess = [start(1.4), early(2.6, "I lost a parcel."), (2.7, SpeechEnded(at_s=2.5))]
    known = final(2.9, "I lost a partner.", ended_s=2.5)
    call = SpokenCall(LOCAL_END, Agent(think_s=1.0)).plays([*before, *guess, known])
    assert call.agent.answered == ["I moved and I lost a parcel.", "I moved and I lost a partner."]


TEXTS = [
    "mhm",
    "yeah",
    "Stop.",
    "the code is seven",
    "I want to go.",
    "and then",
    "no",
    "...",
    "Hello there",
    "one two",
]


@st.composite
def timelines(draw: st.DrawFn) -> Script:
    """Sounds and words in any order that a recogniser may report, honest or not."""
    script: Script = []
    at_s = 0.0
    for _ in range(draw(st.integers(1, 14))):
        at_s += draw(st.sampled_from([0.05, 0.1, 0.3, 0.5, 0.9, 1.5, 2.5, 6.0, 12.0]))
        kind = draw(st.sampled_from(["start", "end", "early", "final", "final", "said", "digit"]))
        text = draw(st.sampled_from(TEXTS))
        match kind:
            case "start":
                script.append((at_s, SpeechStarted(at_s=at_s - draw(st.sampled_from([0.0, 0.1, 0.6])))))
            case "end":
                script.append((at_s, SpeechEnded(at_s=at_s - draw(st.sampled_from([0.0, 0.2])))))
            case "early":
                script.append(early(at_s, text, stable=draw(st.booleans())))
            case "digit":
                script.append((at_s, Digit(draw(st.sampled_from("12#")))))
            case "final":
                script.append(final(at_s, text))
            case _:
                script += [start(at_s), early(at_s + 0.4, text), end(at_s + 0.8), final(at_s + 1.1, text)]
                at_s += 1.1
    return script


@given(
    timelines(), st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.sampled_from(["low", "normal", "high"])
)
def test_whatever_happens_nobody_is_left_waiting(
    script: Script, protected: bool, question: bool, is_closed: bool, local_end: bool, eagerness: Eagerness
) -> None:
    """A while after the last event nothing is held up, every final that wants an answer has one, and time goes on."""
    agent = Agent(protected=protected, question=question, speak_s=4.0)
    rules = TurnRules(eagerness=eagerness, local_end=local_end)
    call = SpokenCall(rules, agent, is_closed=is_closed)
    call.plays(script, until_s=script[-1][0] + 40.0)
    assert agent.phase == "quiet", "a reply was never finished"
    assert len(call.times(Pause)) >= len(call.times(Resume))
    said = " ".join(agent.answered)
    finals = [event.text for _, event in script if isinstance(event, Transcript)]
    for text in finals:
        if any(c.isalnum() for c in text) and not is_closed and text not in ("mhm", "yeah"):
            assert text in said, f"{text!r} was never answered"
