"""When the agent takes its turn, and when it gives it up.

Rule 1: pure: no await, no clock, no I/O. Events and the time go in, decisions come out.
Rule 2: the table below is the whole rule; `TurnPolicy` is its transcription.

| event | no turn | draft | committed or speaking |
|---|---|---|---|
| early transcript, stable | start a draft | same text: keep it; otherwise roll back and start again | as speech |
| final transcript | start, committed | same text: commit; otherwise roll back and start | interrupt and start |
| speech started | nothing | nothing | interrupt once it has lasted `min_speech_s` or a word was recognised |

With `TurnRules(loudspeaker=True)` the microphone picks up the agent. For speech that began while the agent was audible,
`EchoGuard` decides whether it is the agent's own; the table above applies to what is not:

| event | its words are the agent's | enough words are not |
|---|---|---|
| early transcript | nothing | as above |
| final transcript | roll back a draft, start nothing | as above |
| speech started, lasting | nothing, as long as the agent is audible | - |
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from voicepipe.errors import ConfigurationError
from voicepipe.flow import EarlyTranscript, Hearing, SpeechEnded, SpeechStarted, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.turntaking.echo import EchoGuard

__all__ = ["Commit", "Decision", "Ignore", "Interrupt", "RollBack", "Start", "Tick", "TurnPolicy", "TurnRules"]


WORDLESS_S: Final = 5.0
"""Speech that is not reported to have ended, and of which no word has come for so long, was none: not every recogniser
reports the end of a noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRules:
    """How turns are taken; given to `Pipeline(turns=...)`.

    Attributes:
        min_speech_s: While the agent speaks, speech without a recognised word interrupts after this many seconds.
        drafts: Whether a stable early transcript starts a draft reply.
        loudspeaker: Whether the microphone picks up the agent, as it does with a loudspeaker, without headphones and
            without echo cancellation. The agent then does not interrupt itself: while it is audible, speech alone does
            not interrupt it, and words interrupt it only if it did not just say them. None decides by the output: True
            for `Speaker`, False for lines without echo such as telephones and browsers. Use False with headphones.
    """

    min_speech_s: float = 0.3
    drafts: bool = True
    loudspeaker: bool | None = None

    def __post_init__(self) -> None:
        """Refuse invalid settings."""
        if not 0 <= self.min_speech_s <= 10:
            raise ConfigurationError(f"TurnRules: min_speech_s must be 0 to 10 seconds, not {self.min_speech_s}")


@dataclass(frozen=True, slots=True)
class Start:
    """Start a turn on this text."""

    transcript: Transcript
    is_draft: bool = False


@dataclass(frozen=True, slots=True)
class Commit:
    """The draft's text was right: let it be played."""

    transcript: Transcript


@dataclass(frozen=True, slots=True)
class RollBack:
    """The draft's text was wrong: drop it without a trace."""


@dataclass(frozen=True, slots=True)
class Interrupt:
    """The caller wants to speak: stop speaking immediately."""


@dataclass(frozen=True, slots=True)
class Ignore:
    """The event is the agent's own voice."""


Decision: TypeAlias = Start | Commit | RollBack | Interrupt | Ignore


@dataclass(frozen=True, slots=True)
class Tick:
    """The time that `wake_at` asked for has come."""


class TurnPolicy:
    """The rules of one session.

    Args:
        rules: The settings.
        phase: Returns the phase of the current turn: none, a draft, or a live reply (committed or speaking).
        echo: Remembers what the agent has just said; None where the microphone does not pick it up.

    Attributes:
        speaks_until_s: Until when the caller is taken to be speaking, as far as the recogniser reports it.
    """

    def __init__(
        self, rules: TurnRules, phase: Callable[[], Literal["none", "draft", "live"]], echo: EchoGuard | None = None
    ) -> None:
        self._rules = rules
        self._phase = phase
        self._echo = echo
        self.speaks_until_s = -math.inf
        self._draft_text = ""
        self._wake_at: float | None = None

    @property
    def wake_at(self) -> float | None:
        """When a `Tick` is due unless another event comes first; None for no tick."""
        return self._wake_at

    def handle(self, event: Hearing | Tick, now: float, *, is_typed: bool = False) -> list[Decision]:
        """Return what to do about an event that happened at `now`, in order; typed words are never an echo."""
        if isinstance(event, (SpeechEnded, Transcript)):
            self.speaks_until_s = now
        if self._echo and not is_typed and not isinstance(event, Tick) and self._echo.is_echo(event, now):
            return self._own_voice(event)
        if isinstance(event, (SpeechStarted, EarlyTranscript)):
            self.speaks_until_s = now + WORDLESS_S
        match event:
            case SpeechStarted(at_s=at_s, until_s=until_s):
                # Measured from the first speech sample, so that a late report does not add its own delay.
                self._wake_at = round(at_s + self._rules.min_speech_s, 6) if self._phase() == "live" else None
                decisions = self._speech_lasted(now if until_s is None else until_s)
                if until_s is not None:
                    self._wake_at = None  # the speech is over
                return decisions
            case SpeechEnded():
                self._wake_at = None
                return []
            case Tick():
                return self._speech_lasted(now)
            case EarlyTranscript():
                return self._early(event, now)
            case Transcript():
                return self._final(event)
            case _:
                raise ConfigurationError(
                    "a recogniser may send SpeechStarted, SpeechEnded, EarlyTranscript or Transcript, "
                    f"not {type(event).__name__}"
                )

    def _speech_lasted(self, now: float) -> list[Decision]:
        if self._wake_at is None or now < self._wake_at:
            return []
        self._wake_at = None
        if self._echo and self._echo.is_audible(now):
            return []  # the agent has begun to speak, so the speech that goes on may be its own
        return [Interrupt()] if self._phase() == "live" else []

    def _own_voice(self, event: Hearing) -> list[Decision]:
        if isinstance(event, EarlyTranscript):
            return [Ignore()]
        self._wake_at = None
        if isinstance(event, Transcript):
            return [RollBack(), Ignore()] if self._phase() == "draft" else [Ignore()]
        return []

    def _early(self, event: EarlyTranscript, now: float) -> list[Decision]:
        has_word = any(c.isalnum() for c in event.text)
        phase = self._phase()
        if phase == "live":
            self._wake_at = None if has_word else self._wake_at
            return [Interrupt()] if has_word else []
        if not (event.stable and has_word and self._rules.drafts):
            return []
        if phase == "draft" and _normal(event.text) == self._draft_text:
            return []
        self._draft_text = _normal(event.text)
        start = Start(Transcript(event.text, now, now), is_draft=True)
        return [RollBack(), start] if phase == "draft" else [start]

    def _final(self, event: Transcript) -> list[Decision]:
        self._wake_at = None
        if not any(c.isalnum() for c in event.text):
            return [RollBack()] if self._phase() == "draft" else []
        match self._phase():
            case "none":
                return [Start(event)]
            case "draft":
                return [Commit(event)] if _normal(event.text) == self._draft_text else [RollBack(), Start(event)]
            case "live":
                return [Interrupt(), Start(event)]


def _normal(text: str) -> str:
    """Return only the words: case and punctuation change between an early and a final transcript."""
    return " ".join(re.findall(r"\w+", text.casefold()))
