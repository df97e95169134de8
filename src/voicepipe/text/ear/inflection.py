"""The endings of German ordinals, by the words before them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from voicepipe.text.ear.rule import last_word

if TYPE_CHECKING:
    from voicepipe.text.ear.table import Table

__all__ = ["ending", "inflected"]

SEVERAL: Final = re.compile(r"[0-9]{1,3}\.[ \u00a0](?:und|oder|bis)[ \u00a0]$")
"""An ordinal before another one, which has the same ending."""


def ending(match: re.Match[str], table: Table, wanted: str = "") -> str:
    """Return the ending of an ordinal: "en", "e", or "" where no word before it decides.

    Args:
        match: The ordinal.
        table: What is known of the language.
        wanted: The ending to look for; "" for any.
    """
    text = match.string[: match.start()]
    if several := SEVERAL.search(text):
        text = text[: several.start()]
    word = last_word(text)
    found = ""
    if word == "der":
        found = "en" if last_word(text, 2) in table.words("dative", "endings") else "e"
    elif word in table.words("en", "endings"):
        found = "en"
    elif word in table.words("e", "endings"):
        found = "e"
    return found if not wanted or found == wanted else ""


def inflected(match: re.Match[str], table: Table, ordinal: str) -> str:
    """Return an ordinal with the ending that the words before it ask for; "er" where they do not."""
    return ordinal.removesuffix("e") + (ending(match, table) or "er")
