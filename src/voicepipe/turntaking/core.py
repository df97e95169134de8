"""Turn-taking: when the agent answers, waits, is silent, goes on, or gives up the floor.

Rule 1: pure: no await, no clock, no I/O. Events and the time go in, decisions come out.
Rule 2: a sound is no command. While the agent thinks or speaks it only makes it wait; words decide.
Rule 3: what the caller has said is kept until it is answered, and every wait for more of it has an end.

| the agent | event | decision |
|---|---|---|
| is quiet | early words that are stable | `Draft`, at most three times a turn; `ForceEndpoint` if no more is expected |
| is quiet | final words | held until the caller's patience is over, then `Start`, or `Commit` of the draft |
| is quiet | speech, while words are held | held on; what follows joins them to one message |
| thinks | speech | `Withhold`; without a word 0.5 s after its end, or 1.5 s after its beginning: `Release` |
| speaks | speech of `min_speech_s` | `Pause`; without a word 0.8 s after its end, or 2.0 s after the pause: `Resume` |
| thinks, speaks | back-channels: "mhm" | `Backchannel`; a pause ends 0.6 s after them |
| thinks, speaks | other words | `Interrupt`; it joins words whose answer was hardly heard |
| speaks, protected | words | held, and answered afterwards |

A back-channel over the last 0.5 s of a question is the answer to it. After two pauses in 10 s that were for nothing,
speech alone pauses no more for 10 s. The same final words within 0.5 s are reported once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from voicepipe.errors import ConfigurationError
from voicepipe.floor_events import Backchannel, Monologue, MonologueCut
from voicepipe.flow import Digit, EarlyTranscript, Hearing, SpeechEnded, SpeechStarted, Transcript
from voicepipe.turntaking.decisions import Commit, Decision, Ignore, Interrupt, RollBack, Start
from voicepipe.turntaking.drafts import Drafts
from voicepipe.turntaking.local_end import LocalEnd
from voicepipe.turntaking.patience import Patience
from voicepipe.turntaking.phrases import joined, normal, phrases_for
from voicepipe.turntaking.states import State, state_of
from voicepipe.turntaking.utterance import Utterance
from voicepipe.turntaking.waits import CallClock, Keypad
from voicepipe.turntaking.yielding import WITHHELD_S, Yielding

if TYPE_CHECKING:
    from voicepipe.turntaking.echo import EchoGuard
    from voicepipe.turntaking.floor_view import FloorView
    from voicepipe.turntaking.rules import TurnRules

__all__ = ["Quiet", "Tick", "TurnCore"]

WORDLESS_S: Final = 5.0
"""Speech that is not reported to have ended, and of which no word has come for so long, was none: not every recogniser
reports the end of a noise."""

HELD_SILENCE_S: Final = 0.5
"""Held words are answered no sooner than this after a sound, whose words may come yet."""

SCRAP_S: Final = 1.0
SCRAP_WORDS: Final = 3
"""Less than this of a reply was hardly heard: nobody is shown it."""

ANSWERING_S: Final = 0.5
"""How much of a question people leave out when they answer early."""

REPEATED_S: Final = 0.5
CLOSED_S: Final = 0.5
"""A closed grammar makes words of any sound; those of a shorter one interrupt only if they are stop words."""


@dataclass(frozen=True, slots=True)
class Tick:
    """The time that `wake_at` asked for has come."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """Nobody has the floor any more, and nothing waits to be said."""


class TurnCore:
    """The turn-taking of one session.

    Args:
        rules: The settings.
        floor: What the agent does.
        echo: Remembers what the agent has just said; None where the microphone does not pick it up.
        is_closed: Whether the recogniser forces all speech into a fixed set of phrases.
        clock: How long the caller has been silent, and the call has lasted; by default of a call that began at 0.

    Attributes:
        speaks_until_s: Until when the caller is taken to be speaking, as far as the recogniser reports it.
    """

    def __init__(
        self,
        rules: TurnRules,
        floor: FloorView,
        echo: EchoGuard | None = None,
        *,
        is_closed: bool = False,
        clock: CallClock | None = None,
    ) -> None:
        self._rules = rules
        self._floor = floor
        self._echo = echo
        self._is_closed = is_closed
        self._phrases = phrases_for(rules.language)
        self._patience = Patience(rules.eagerness, self._phrases, floor, is_closed=is_closed)
        self._clock = clock or CallClock(rules, 0.0)
        self._keypad = Keypad(rules.dtmf_end, rules.dtmf_s, floor)
        self._speech = Utterance()
        self._local = LocalEnd(rules, floor, self._speech, self._patience, self._phrases)
        self._drafts = Drafts(floor, self._speech, self._phrases, is_on=rules.drafts, is_closed=is_closed)
        self._yielding = Yielding(
            rules.min_speech_s, floor, self._speech, echo.is_audible if echo is not None else lambda _now: False
        )
        self._held: Transcript | None = None  # what the caller has said and nobody has answered
        self._asked: Transcript | None = None  # what the present reply answers
        self._heard_s = 0.0  # when the newest final words came
        self._due_s = math.inf  # when the held words are answered
        self._patient_until_s = -math.inf
        self._began_over = False  # whether the newest stretch of speech began while the agent spoke
        self._is_reported = False  # whether this turn of the caller's was reported as a monologue
        self._last_final = ("", -math.inf)
        self._said_until_s = -math.inf  # when the newest final words ended
        self.speaks_until_s = -math.inf

    @property
    def state(self) -> State:
        """Who waits for whom; `states` has what leads from one state to another."""
        return state_of(self._floor.phase, self._speech, self._yielding, is_holding=self._held is not None)

    @property
    def wake_at(self) -> float:
        """When a `Tick` is due unless another event comes first; inf for no tick."""
        long_s = self._speech.lost_at_s
        if self._floor.phase == "quiet":
            limit_s = self._rules.monologue_cut_s if self._is_reported else self._rules.monologue_s
            long_s = min(long_s, self._speech.spoken_at_s(limit_s))
        return min(
            self._due_s, self._drafts.due_s, long_s, self._yielding.wake_at, self._keypad.due_s, self._clock.wake_at
        )

    def handle(self, event: Hearing | Tick | Quiet, now: float, *, is_typed: bool = False) -> list[Decision]:
        """Return what to do about an event that happened at `now`, in order; typed words are never an echo."""
        if isinstance(event, (SpeechEnded, Transcript)):
            self.speaks_until_s = now
        self._yielding.look()
        if self._echo and not is_typed and isinstance(event, Hearing) and self._echo.is_echo(event, now):
            return self._own_voice(event)
        if isinstance(event, (SpeechStarted, EarlyTranscript)):
            self.speaks_until_s = now + WORDLESS_S
        match event:
            case SpeechStarted():
                return self._speech_started(event, now)
            case SpeechEnded(at_s=at_s):
                return self._speech_ended(at_s, now)
            case EarlyTranscript():
                return self._early(event, now)
            case Transcript():
                return self._final(event, now, is_typed=is_typed)
            case Digit(key=key):
                return self._pressed(key, now)
            case Quiet():
                return self._quiet(now)
            case Tick():
                return self._tick(now)
            case _:
                raise ConfigurationError(
                    "a recogniser may send SpeechStarted, SpeechEnded, EarlyTranscript, Transcript or Digit, "
                    f"not {type(event).__name__}"
                )

    # --- sounds -------------------------------------------------------------------------------------------------------

    def _speech_started(self, event: SpeechStarted, now: float) -> list[Decision]:
        if event.at_s < self._said_until_s:
            return []  # a late report of speech whose final words have come already
        self._speech.start(event.at_s, now)
        self._began_over = self._floor.phase == "speaking"
        if self._due_s < math.inf:  # the caller may be going on
            self._due_s = max(self._due_s, event.at_s + WITHHELD_S)
        return self._yielding.speech_started(event, now)

    def _speech_ended(self, at_s: float, now: float) -> list[Decision]:
        self._speech.end(at_s, now)
        if self._due_s < math.inf:
            self._due_s = max(self._patient_until_s, at_s + HELD_SILENCE_S)
        self._yielding.speech_ended(at_s, now)
        return self._taken(now) if self._local.is_due else []

    # --- words --------------------------------------------------------------------------------------------------------

    def _early(self, event: EarlyTranscript, now: float) -> list[Decision]:
        if not self._speech.hear(event.text, now):
            return []
        self._goes_on()
        if self._floor.phase == "quiet":
            return self._taken(now) if self._local.is_due else self._drafts.heard(self._held, event, now)
        return self._over_reply(self._speech.text, now, is_final=False)

    def _over_reply(self, text: str, now: float, *, is_final: bool) -> list[Decision]:
        """Decide about words while the agent thinks or speaks; the floor may be the caller's after it."""
        if self._must_listen:
            return self._interrupt() if self._stops_in(text) > 1 else []
        is_backchannel = self._phrases.is_backchannel(text)
        if is_backchannel and not self._is_answer:
            return self._welcome(text, now, is_final=is_final)
        is_scrap = self._is_closed and self._speech.lasted_s(now) < CLOSED_S and not self._phrases.stops_in(text)
        if is_scrap or (is_backchannel and not is_final):  # an early answer may go on, or be over in a moment
            return []
        return self._interrupt(joins=not is_backchannel)

    def _final(self, event: Transcript, now: float, *, is_typed: bool) -> list[Decision]:
        words, (last, last_s) = normal(event.text), self._last_final
        is_repeated = not is_typed and words == last and now - last_s <= REPEATED_S
        self._last_final = (words, now)
        self._said_until_s = event.speech_ended_s
        if is_repeated or (final := self._speech.close(event)) is None:
            return self._said_nothing(now)
        self._yielding.said()
        decisions: list[Decision] = []
        if self._floor.phase == "quiet":
            if self._was_backchannel(final.text) and not is_typed:
                return self._welcome(final.text, now, is_final=True)
        else:
            decisions = self._interrupt(joins=False) if is_typed else self._over_reply(final.text, now, is_final=True)
            if not any(isinstance(decision, Interrupt) for decision in decisions):
                if self._must_listen:
                    self._hold(final, now)
                return decisions
        self._goes_on()
        self._hold(final, now)
        return decisions + self._answer_or_wait(now, is_typed=is_typed)

    def _said_nothing(self, now: float) -> list[Decision]:
        """A final transcript came without words, or a second time."""
        self._yielding.said()
        self._began_over = False
        if self._floor.phase != "quiet":
            return []
        if self._held is not None:
            return self._answer_or_wait(now)
        return [RollBack()] if self._floor.has_draft else []

    @property
    def _must_listen(self) -> bool:
        """Whether the caller must hear the agent to its end."""
        return self._floor.is_protected or self._speech.is_cut

    @property
    def _is_answer(self) -> bool:
        """Whether a back-channel is the answer to the agent's question."""
        return self._floor.asks and self._floor.left_s < ANSWERING_S

    def _stops_in(self, text: str) -> int:
        return self._phrases.stops_in(f"{self._held.text if self._held else ''} {text}")

    def _welcome(self, text: str, now: float, *, is_final: bool) -> list[Decision]:
        decisions: list[Decision] = [] if self._speech.is_reported else [Backchannel(text)]
        self._speech.is_reported = not is_final
        self._yielding.welcomed(now)
        return decisions

    def _was_backchannel(self, text: str) -> bool:
        """Return whether words that come when the agent has just ended were said while it spoke, and want nothing."""
        began_over, self._began_over = self._began_over, False
        is_over = began_over and self._held is None and not self._floor.asks
        return is_over and self._phrases.is_backchannel(text)

    def _interrupt(self, *, joins: bool = True) -> list[Decision]:
        floor = self._floor
        is_scrap = floor.heard_s < SCRAP_S or floor.heard_words < SCRAP_WORDS
        joins = joins and self._asked is not None and floor.is_joinable and is_scrap
        if joins and self._asked is not None:
            self._learn(self._asked.speech_ended_s)
            self._held = joined(self._local.kept(self._asked), self._held)
        self._speech.give_back()
        self._asked = None
        self._due_s = math.inf
        self._speech.is_cut = self._began_over = False
        self._yielding.forget()
        return [Interrupt(joins)]

    # --- the caller's turn --------------------------------------------------------------------------------------------

    def _goes_on(self) -> None:
        """Words came: held ones wait for their end."""
        if self._held is not None and self._due_s < math.inf:
            self._learn(self._held.speech_ended_s)
            self._due_s = math.inf

    def _learn(self, ended_s: float) -> None:
        if 0 < (pause_s := self._speech.started_s - ended_s) < WORDLESS_S:
            self._patience.learn(pause_s)

    def _hold(self, final: Transcript, now: float) -> None:
        self._held = joined(self._held, final)
        self._heard_s = now

    def _answer_or_wait(self, now: float, *, is_typed: bool = False) -> list[Decision]:
        assert self._held is not None  # noqa: S101 - called when words are held
        patience_s = 0.0 if is_typed else self._patience.after_s(self._held.text)
        self._patient_until_s = self._due_s = max(now, round(self._held.speech_ended_s + patience_s, 6))
        if self._speech.is_open:
            self._due_s = max(self._due_s, self._speech.started_s + WITHHELD_S)
        if self._due_s <= now:
            return self._answer()
        return self._drafts.on(self._held)

    def _answer(self) -> list[Decision]:
        assert self._held is not None  # noqa: S101 - called when words are held
        self._asked, self._held = self._held, None
        self._due_s, self._is_reported = math.inf, False
        self._drafts.answered()
        self._speech.answer()
        self._clock.answered()
        if self._drafts.fits(self._asked):
            return [Commit(self._asked, self._heard_s)]
        start = Start(self._asked, self._heard_s)
        return [RollBack(), start] if self._floor.has_draft else [start]

    # --- time ---------------------------------------------------------------------------------------------------------

    def _tick(self, now: float) -> list[Decision]:
        """Return what is due, one thing at a time: what comes next must see what was done before."""
        return (
            self._yielding.due(now)
            or self._due(now)
            or (self._typed(self._keypad.take(), now) if self._keypad.due_s <= now else [])
            or (self._drafts.early(self._held, now) if self._drafts.due_s <= now else [])
            or self._spoke_long(now)
            or self._clock_due(now)
        )

    def _due(self, now: float) -> list[Decision]:
        """Answer held words once the caller's patience is over."""
        if now < self._due_s:
            return []
        self._due_s = math.inf
        return self._answer() if self._floor.phase == "quiet" else []  # else they are answered when the agent is quiet

    def _clock_due(self, now: float) -> list[Decision]:
        is_quiet = self._floor.phase == "quiet" and not self._floor.is_working and self._held is None
        speaks_until_s = self._speech.started_s + WORDLESS_S if self._speech.is_open else -math.inf
        return [*self._clock.due(now, is_quiet=is_quiet, waits_until_s=speaks_until_s)]

    def _spoke_long(self, now: float) -> list[Decision]:
        """Report a long turn of the caller, take what they have said of a longer one, or what its final never said."""
        speech, rules = self._speech, self._rules
        if speech.lost_at_s <= now:
            if speech.is_reported or self._phrases.is_filler(speech.text):  # nothing that wants an answer
                speech.take()
                return self._answer_or_wait(now) if self._held and self._floor.phase == "quiet" else []
            return self._taken(now)
        if self._floor.phase != "quiet":
            return []
        spoken_s = speech.spoken_s(now)
        if spoken_s >= rules.monologue_cut_s:
            decisions: list[Decision] = [MonologueCut(speech_s=spoken_s), *self._taken(now)]
            speech.is_cut = speech.is_open
            return decisions
        if spoken_s >= rules.monologue_s and not self._is_reported:
            self._is_reported = True
            return [Monologue(speech_s=spoken_s)]
        return []

    def _taken(self, now: float) -> list[Decision]:
        """Answer early words without their final."""
        ended_s = now if self._speech.is_open else min(now, max(self._speech.ended_s, self._heard_s))
        self._held, self._heard_s = self._local.take(self._held, Transcript(self._speech.take(), ended_s, now)), now
        return self._answer() if self._floor.phase == "quiet" else []

    def _quiet(self, now: float) -> list[Decision]:
        self._clock.quiet(self._floor.reply_id, now)
        if self._held is not None and self._due_s == math.inf and not self._speech.text and not self._keypad.is_active:
            return self._answer_or_wait(now)
        return []

    def _pressed(self, key: str, now: float) -> list[Decision]:
        decisions = [] if self._keypad.is_active else self._make_quiet()
        self._due_s = math.inf  # held words wait for the keys
        return decisions + self._typed(self._keypad.press(key, now), now)

    def _typed(self, keys: str, now: float) -> list[Decision]:
        if not keys:
            return []
        decisions = self._make_quiet()
        is_quiet = self._floor.phase == "quiet" or bool(decisions)
        self._hold(Transcript(keys, now, now), now)
        return decisions + self._answer() if is_quiet else []

    def _make_quiet(self) -> list[Decision]:
        """Interrupt the agent if it speaks and may be interrupted."""
        return [] if self._floor.phase == "quiet" or self._must_listen else self._interrupt()

    def _own_voice(self, event: Hearing) -> list[Decision]:
        if isinstance(event, EarlyTranscript):
            return [Ignore()]
        self._yielding.said()
        if isinstance(event, Transcript):
            return [RollBack(), Ignore()] if self._floor.has_draft else [Ignore()]
        return []
