# ruff: noqa: RUF001 - marks of many scripts, look-alikes included
"""When the words of a text end, from the lengths of their phonemes.

Rule 1: a word without a certain end gets none. eSpeak joins words ("on the" is one), takes numbers apart, and names
        emoji, so a text is not cut at its spaces: what each beginning of it sounds like says where a word ends.
Rule 2: pure. How a text sounds comes in as a function, and lengths as numbers.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["Phoneme", "word_ends"]

Phoneme: TypeAlias = "tuple[str, int]"
"""A phoneme and how many samples it lasts."""

_WORD: Final = re.compile(r"\S+")
_BETWEEN: Final = frozenset((" ", "^", "$"))
"""What separates the words of phonemes: a space, and the beginning and end of what Piper says in one go."""

_UNSPOKEN: Final = frozenset("ˈˌ.,;:!?…-–—'\"()[]_ˑ")
"""Stress, which changes with what follows, and marks, which are the pause after a word."""


def word_ends(
    text: str, phonemes: Sequence[Phoneme], sounds: Callable[[str], Iterable[Sequence[str]]]
) -> list[tuple[int, int]]:
    """Return the end of each word that has a certain one: its place in the text, and the samples up to there.

    Args:
        text: What is spoken.
        phonemes: What it sounds like, with "^" and "$" around each part that is spoken in one go.
        sounds: Returns the phonemes of a text, for each such part.
    """
    spoken = list(_words(phonemes))
    sounded = [sound for sound, _ in spoken]
    beginnings = [(word.end(), _sounding(sounds(text[: word.end()]))) for word in _WORD.finditer(text)]
    if not beginnings or beginnings[-1][1] != sounded:
        return []
    found: list[tuple[int, int]] = []
    for (char_end, beginning), (_, longer) in pairwise([*beginnings, (len(text), [*sounded, ""])]):
        count = len(beginning)
        # As long as the longer one: the next word is silent, or sounds as one with this. The last word of a beginning
        # sounds otherwise than it does with a word after it, so the longer one is compared.
        if 0 < count < len(longer) and longer[:count] == sounded[:count]:
            found.append((char_end, spoken[count - 1][1]))
    return found


def _sounding(parts: Iterable[Sequence[str]]) -> list[str]:
    """Return the words of what a text sounds like."""
    return [sound for part in parts for sound, _ in _words((phoneme, 0) for phoneme in ("^", *part, "$"))]


def _words(phonemes: Iterable[Phoneme]) -> Iterator[tuple[str, int]]:
    """Yield each word that is heard, and the samples up to the end of its last sound."""
    word, at, end = "", 0, 0
    for phoneme, samples in phonemes:
        at += samples
        if phoneme in _BETWEEN:
            if word:
                yield word, end
            word = ""
        elif phoneme not in _UNSPOKEN:
            word, end = word + phoneme, at
    if word:
        yield word, end
