"""The settings of turn-taking."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, TypeAlias, cast

from voicepipe.errors import ConfigurationError
from voicepipe.flow import KEYS
from voicepipe.turntaking.phrases import known_languages

__all__ = ["Eagerness", "TurnRules"]

Eagerness: TypeAlias = Literal["low", "normal", "high"]
"""How soon the agent answers a caller who may go on."""

TYPES: Final[tuple[tuple[tuple[str, ...], tuple[type, ...], str], ...]] = (
    (("min_speech_s", "max_call_s", "monologue_s", "monologue_cut_s", "dtmf_s"), (int, float), "a number of seconds"),
    (("max_call_text", "dtmf_end"), (str,), "a text"),
    (("language",), (str, type(None)), "a language's code or None"),
    (("drafts", "local_end"), (bool,), "True or False"),
    (("loudspeaker",), (bool, type(None)), "True, False or None"),
)
"""The settings' types, and how an error calls them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRules:
    """How turns are taken; given to `Pipeline(turns=...)`. All times are in seconds.

    Attributes:
        eagerness: The one knob: how soon the agent answers a caller who may go on. "low" waits half as long again as
            "normal", "high" waits 0.6 times as long. Whoever has finished a sentence is answered at once in any case.
        language: The language of the caller's back-channels, unfinished phrases, digits and stop words: "de", "pt-BR".
            None is English; "" goes by the sound alone.
        min_speech_s: While the agent speaks, speech without a recognised word pauses it after this long.
        drafts: Whether a reply is prepared while the caller may still go on.
        local_end: Whether the speech detector ends the caller's turn before the final transcript comes, if the early
            words that came after the end of the sound are a whole sentence. Should the final transcript say something
            else, the reply is taken back, or interrupted if the caller has heard of it; a writing tool may have run
            by then.
        loudspeaker: Whether the microphone picks up the agent, as it does with a loudspeaker, without headphones and
            without echo cancellation. The agent then does not interrupt itself: while it is audible, speech alone does
            not pause it, and words interrupt it only if it did not just say them. None decides by the output: True
            for `Speaker` unless the pipeline has an `echo_canceller`, False for lines without echo such as telephones
            and browsers. Use False with headphones.
        idle: After how much silence of the caller, in all, each of `idle_texts` is said; after the last one the call
            ends. Empty for never. The time while the agent speaks or works does not count.
        idle_texts: What is said then, one text for each time; "" says nothing, the `Idle` event comes all the same.
        max_call_s: After how long a call is ended, politely; infinite by default.
        max_call_text: What is said then.
        monologue_s: Words of one turn that go on for so long are reported as `Monologue`.
        monologue_cut_s: And after so long the words so far are answered.
        dtmf_end: The key that ends what the caller types on a telephone; "" for none.
        dtmf_s: And how long after the last key the agent takes it as complete.
    """

    eagerness: Eagerness = "normal"
    language: str | None = None
    min_speech_s: float = 0.3
    drafts: bool = True
    local_end: bool = False
    loudspeaker: bool | None = None
    idle: tuple[float, ...] = ()
    idle_texts: tuple[str, ...] = (
        "Are you still there?",
        "I cannot hear you. Are you still there?",
        "I still cannot hear you, so I am ending the call. Goodbye.",
    )
    max_call_s: float = math.inf
    max_call_text: str = "We have reached the end of the time for this call. Goodbye."
    monologue_s: float = 30.0
    monologue_cut_s: float = 60.0
    dtmf_end: str = "#"
    dtmf_s: float = 3.0

    def __post_init__(self) -> None:
        """Refuse invalid settings."""
        self._check_types()
        if self.eagerness not in ("low", "normal", "high"):
            raise ConfigurationError(f'TurnRules: eagerness must be "low", "normal" or "high", not {self.eagerness!r}')
        if self.language and (code := _code(self.language)) not in known_languages():
            raise ConfigurationError(
                f"TurnRules: language {self.language!r} is unknown; known are {', '.join(sorted(known_languages()))}. "
                f'Write language="" to go by the sound alone (found {code!r})'
            )
        self._check_times()
        if len(self.idle) > len(self.idle_texts):
            raise ConfigurationError(
                f"TurnRules: idle has {len(self.idle)} times and idle_texts {len(self.idle_texts)} texts; give one "
                "text for each time"
            )
        if len(self.dtmf_end) > 1 or self.dtmf_end not in KEYS:
            raise ConfigurationError(f'TurnRules: dtmf_end must be one key of "{KEYS}" or "", not {self.dtmf_end!r}')

    def _check_types(self) -> None:
        """Refuse what the type checker would refuse: settings often come from files."""
        for names, kinds, expected in TYPES:
            for name in names:
                value: object = getattr(self, name)
                if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                    raise ConfigurationError(f"TurnRules: {name} must be {expected}, not {value!r}")
        for name, kinds, expected in (("idle", (int, float), "times"), ("idle_texts", (str,), "texts")):
            values: object = getattr(self, name)
            entries = cast("tuple[object, ...]", values) if isinstance(values, tuple) else (None,)
            if not all(isinstance(entry, kinds) for entry in entries):
                raise ConfigurationError(f"TurnRules: {name} must be a tuple of {expected}, not {values!r}")

    def _check_times(self) -> None:
        if not 0 <= self.min_speech_s <= 10:
            raise ConfigurationError(f"TurnRules: min_speech_s must be 0 to 10 seconds, not {self.min_speech_s}")
        for name in ("max_call_s", "monologue_s", "monologue_cut_s", "dtmf_s"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"TurnRules: {name} must be more than 0 seconds, not {getattr(self, name)}")
        if self.dtmf_s == math.inf:
            raise ConfigurationError("TurnRules: dtmf_s must have an end: keys without dtmf_end would wait for ever")
        if not self.monologue_s <= self.monologue_cut_s:
            raise ConfigurationError(
                f"TurnRules: monologue_s must not be later than monologue_cut_s, but {self.monologue_s} is later than "
                f"{self.monologue_cut_s}"
            )
        if not all(before < after for before, after in pairwise((0.0, *self.idle))):
            raise ConfigurationError(f"TurnRules: idle must be rising times of more than 0 seconds, not {self.idle}")


def _code(language: str) -> str:
    return language.replace("_", "-").partition("-")[0].lower()
