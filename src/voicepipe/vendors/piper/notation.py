"""What a text means to Piper, which reads some of it as a notation of its own.

Rule 1: a place in the text stays the same place.
"""

from __future__ import annotations

import re
from typing import Final

from voicepipe.text.languages import words_for

__all__ = ["without_notation"]

_ABBREVIATION: Final = re.compile(r"(?<!\w)([\w.]*\w)\.(?=\s+\S)")


def without_notation(text: str, language: str) -> str:
    """Return a text of the same length that means to Piper what it means to a reader.

    Piper reads phonemes between double brackets, and eSpeak ends a sentence after "Dr." before a name. NUL and a lone
    half of a surrogate pair cannot be encoded.
    """
    words = words_for(language)

    def without_dot(found: re.Match[str]) -> str:
        forms = {found[1], found[1].lower()}
        return f"{found[1]} " if forms & words.leading or forms & words.counted else found[0]

    text = text.replace("\0", " ").replace("[[", "  ").replace("]]", "  ")
    return _ABBREVIATION.sub(without_dot, text).encode(errors="replace").decode()
