"""ElevenLabs' times of characters as times of words. Pure.

Rule 1: a word ends with its last letter or digit. The characters after it (a full stop) hold the pause that follows.
Rule 2: the reference counts times from the start of each piece of audio, and LiveKit's plugin from the start of the
        context. The start of the second piece shows which of both it is.
Rule 3: a piece begins where its audio does. If that is far from where the characters before it ended, messages held
        audio without times, and the characters go on where those ended.
Rule 4: a word may go on in the next piece, so it is complete with the white space after it, or at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voicepipe.vendors.line.json_values import required
from voicepipe.vendors.line.speech_text import TimedWord, is_unspaced

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Alignment"]

NEAR_MS: Final = 500.0
"""The last character of a piece may be cut by its end, by no more than this."""


class Alignment:
    """The words of one context, as their characters come."""

    def __init__(self) -> None:
        self._base_ms = 0.0  # where the times of the present piece begin
        self._is_relative: bool | None = None
        self._ended_ms = 0.0  # where the last character ended
        self._run = ""
        self._is_word = False  # whether the run has a letter or a digit
        self._run_ends_ms = 0.0

    def feed(self, alignment: Mapping[str, object], audio_s: float) -> list[TimedWord]:
        """Return the words that are complete with the characters of another piece.

        Args:
            alignment: `chars`, and for each its start and its duration in milliseconds. The names of both lists differ
                by one letter between the reference and the service.
            audio_s: How much audio of the context came before this piece.

        Raises:
            ValueError: The lists do not belong together.
        """
        chars = _list(alignment.get("chars"))
        starts = _list(alignment.get("charStartTimesMs") or alignment.get("charsStartTimesMs"))
        lengths = _list(alignment.get("charDurationsMs") or alignment.get("charsDurationsMs"))
        if not len(chars) == len(starts) == len(lengths):
            raise ValueError
        if starts and self._ended_ms:
            if self._is_relative is None:
                self._is_relative = required(starts[0]) < self._ended_ms / 2
            self._base_ms = self._place_ms(1000 * audio_s) if self._is_relative else 0.0
        words: list[TimedWord] = []
        for text, start, length in zip(chars, starts, lengths, strict=True):
            self._ended_ms = self._base_ms + required(start) + required(length)
            for character in str(text):
                words += self._add(character)
        return words

    def finish(self) -> list[TimedWord]:
        """Return the last word, if there is one."""
        run, self._run, self._is_word = self._run, "", False
        return [TimedWord(run, self._run_ends_ms / 1000)] if run else []

    def _place_ms(self, audio_ms: float) -> float:
        return audio_ms if abs(audio_ms - self._ended_ms) < NEAR_MS else self._ended_ms

    def _add(self, character: str) -> list[TimedWord]:
        if character.isspace():
            return self.finish()
        # Without spaces between words, each character is one: what was heard then ends at a character.
        done = self.finish() if self._run and character.isalnum() and self._is_between(character) else []
        if character.isalnum() or not self._is_word:
            self._run_ends_ms = self._ended_ms
        self._is_word = self._is_word or character.isalnum()
        self._run += character
        return done

    def _is_between(self, character: str) -> bool:
        return is_unspaced(character) or is_unspaced(self._run[-1])


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else []
