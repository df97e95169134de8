"""When the end of the sound ends the caller's turn, before the final words come.

Rule 1: pure. The early words are a guess: the final ones may replace it.
Rule 2: a guess that was replaced never stays in a message next to its correction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.turntaking.phrases import is_sentence, joined

if TYPE_CHECKING:
    from voicepipe.flow import Transcript
    from voicepipe.turntaking.floor_view import FloorView
    from voicepipe.turntaking.patience import Patience
    from voicepipe.turntaking.phrases import Phrases
    from voicepipe.turntaking.rules import TurnRules
    from voicepipe.turntaking.utterance import Utterance

__all__ = ["LocalEnd"]


class LocalEnd:
    """The turns of one session that end with their sound.

    Args:
        rules: The settings.
        floor: What the agent does.
        speech: What the caller is saying.
        patience: What is known about the caller's pauses.
        phrases: The words of their language.
    """

    def __init__(
        self, rules: TurnRules, floor: FloorView, speech: Utterance, patience: Patience, phrases: Phrases
    ) -> None:
        self._floor = floor
        self._speech = speech
        self._patience = patience
        self._phrases = phrases
        self._is_on = rules.local_end
        self._before: Transcript | None = None  # what was held before the early words were taken
        self._guess: Transcript | None = None  # and with them

    @property
    def is_due(self) -> bool:
        """Whether the turn is over: the agent is quiet, and a whole sentence was heard after the end of its sound."""
        if not self._is_on or self._floor.phase != "quiet" or not self._speech.has_ended:
            return False
        text = self._speech.text
        return is_sentence(text) and self._patience.sounds_finished(text) and not self._phrases.is_backchannel(text)

    def take(self, before: Transcript | None, early: Transcript) -> Transcript:
        """Return what was held, joined with early words that are answered; their final may replace them."""
        self._before, self._guess = before, joined(before, early)
        return self._guess

    def kept(self, asked: Transcript | None) -> Transcript | None:
        """Return what stays of a message whose answer is taken back: a guess that was revised does not."""
        return self._before if self._speech.is_revised and asked is self._guess else asked
