"""From what is spoken back to what was written, for the record of what a caller heard.

Rule 1: pure and monotone: who hears more has heard at least as much of what was written.
Rule 2: something that is said in other words counts once all of them were heard. In doubt, less was heard.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from voicepipe.flow import Wording

if TYPE_CHECKING:
    from voicepipe.flow import Sentence

__all__ = ["WORD_END", "after_space", "as_written", "has_wording", "written", "written_until"]

WORD_END: Final = re.compile(r"\S(?=\s|$)")


def has_wording(sentence: Sentence) -> bool:
    """Return whether it is known how a sentence was written: not if its text was changed afterwards."""
    return bool(sentence.wording) and "".join(piece.spoken for piece in sentence.wording) == sentence.text


def written(sentence: Sentence) -> str:
    """Return what the model wrote of a sentence."""
    return "".join(piece.written for piece in sentence.wording) if has_wording(sentence) else sentence.text


def as_written(sentence: Sentence) -> Sentence:
    """Return a sentence as the model wrote it."""
    return replace(sentence, text=written(sentence), wording=()) if sentence.wording else sentence


def written_until(sentence: Sentence, char_end: int) -> str:
    """Return what the model wrote of the first `char_end` characters of a sentence: whole words before a cut."""
    if not has_wording(sentence):
        return sentence.text[:char_end]
    whole, left = written(sentence), max(0, char_end)
    at = heard = 0  # of what was written: where a piece begins, and how far it was heard
    for piece in sentence.wording:
        is_whole = left >= len(piece.spoken)
        if piece.spoken != piece.written and not is_whole:
            ends = (end.end() for end in WORD_END.finditer(whole) if end.end() <= at)
            return whole[: min(heard, max(ends, default=0))]
        at += len(piece.written)
        heard += len(piece.written) if is_whole else left
        left = left - len(piece.spoken) if is_whole else 0
    return whole[:heard]


def after_space(sentence: Sentence, space: str) -> Sentence:
    """Return a sentence with white space before it."""
    wording = (Wording(space, space), *sentence.wording) if space and sentence.wording else sentence.wording
    return replace(sentence, text=space + sentence.text, wording=wording)
