"""How long the service waits before it ends a turn, as far as turn-taking decides about it. Pure.

| | `min_turn_silence` | `max_turn_silence` |
|---|---|---|
| eagerness "normal" | the service's default | the service's default: 1.0 s with U3 models |
| "low", "high" | the same: a finished sentence is answered at once | half as long again; 0.6 times as long |
| while something is expected of the caller | 1.0 s | 2.5 s, by eagerness as before |

The last row is for what is said in several breaths: forced ends in the middle of it cost accuracy (a word error rate of
13.8 % was reported with an end each 1.4 s), and `Session.expect` ends the turn by itself as soon as the value is
complete. Source: the vendor's streaming reference ("Turn detection"), whose example for spelled words is 1.0 and 3.0 s,
read 2026-11-22.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from voicepipe.turntaking.patience import EXPECTED_S, FACTORS
from voicepipe.vendors.assemblyai.parameters import DEFAULTS, is_word_by_word

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Self

    from voicepipe.turntaking.rules import Eagerness
    from voicepipe.vendors.assemblyai.parameters import StreamingParameters

__all__ = ["Pace"]

SILENCES: Final = ("min_turn_silence_s", "max_turn_silence_s")

EXPECTING_MIN_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Pace:
    """The silences of one call.

    Attributes:
        model: The model's name.
        is_given: Whether the application has set the silences, so that they are left alone.
        wanted: What turn-taking wants; empty before it has said so.
    """

    model: str
    is_given: bool
    wanted: Mapping[str, float] = field(default_factory=dict[str, float])

    @classmethod
    def of(cls, model: str, given: StreamingParameters) -> Self:
        """Return the pace of a call; a `mode` sets silences as well."""
        return cls(model, is_given=given.mode is not None or any(getattr(given, name) is not None for name in SILENCES))

    def wanting(self, eagerness: Eagerness, *, is_expecting: bool) -> Self:
        """Return the pace that turn-taking wants."""
        factor, (low, high) = FACTORS[eagerness], (self._defaults[name] for name in SILENCES)
        low, high = (EXPECTING_MIN_S, EXPECTED_S * factor) if is_expecting else (low, high * factor)
        return replace(self, wanted=dict(zip(SILENCES, (low, round(high, 3)), strict=True)))

    def after(self, changes: Iterable[str]) -> Self:
        """Return the pace after the application has changed these settings."""
        return replace(self, is_given=self.is_given or any(name in SILENCES for name in changes))

    def changes(self, parameters: StreamingParameters) -> dict[str, float]:
        """Return the settings that differ from what is wanted; nothing where the application has set them."""
        if self.is_given:
            return {}
        found = {name: getattr(parameters, name) for name in SILENCES}
        present = {name: self._defaults[name] if value is None else value for name, value in found.items()}
        return {name: value for name, value in self.wanted.items() if present[name] != value}

    @property
    def _defaults(self) -> dict[str, Any]:
        return DEFAULTS["word by word" if is_word_by_word(self.model) else "u3"]
