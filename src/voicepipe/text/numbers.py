# ruff: noqa: RUF001 - dashes of all lengths
"""What a dot means behind a number, behind what is counted, and behind a letter that counts.

Rule: judged by shape. Words are asked about only where two shapes are the same.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

from voicepipe.text.holds import (
    CERTAIN,
    DAY,
    FRACTION,
    ITEM,
    LABEL,
    MONTH,
    NUMBER,
    NUMBERED,
    ORDINAL,
    Hold,
)

if TYPE_CHECKING:
    from voicepipe.text.languages import Words
    from voicepipe.text.left import Left

__all__ = ["BEFORE_ORDINALS", "is_clipped", "is_symbol", "judge_amount", "judge_label", "judge_number", "unit_of"]


def judge_number(word: str, left: Left, known: Words) -> Hold:
    """Judge a word whose last character is a digit."""
    before = left.before[-1].lower()
    if _WHOLE_NUMBER.fullmatch(word):
        return CERTAIN
    is_dated = before.rstrip(".") in _MONTHS
    if is_dated and _DAY.fullmatch(word):
        return CERTAIN  # "on Jan. 14."
    if _YEAR.fullmatch(word) and (is_dated or before in _BEFORE_YEARS or before in known.dates or before.endswith(",")):
        return CERTAIN
    if (_CLOCK.fullmatch(word) and before in _BEFORE_TIMES) or (before == "h" and len(word) == 2):
        return CERTAIN  # "alle 16.30", "à 15 h 30"
    if len(word) > 2 or not word.isdigit():
        return NUMBER
    if not before or (before.endswith(":") and word == "1"):
        return ITEM  # "1. Tea", "Choose one: 1. Tea"
    if _ORDINAL.fullmatch(before):
        return MONTH  # "am 3. 5. 2024"
    is_ordinal = (
        known.has_ordinals
        or before in BEFORE_ORDINALS
        or before.endswith(",")  # "Parkstr. 8, 2. Stock"
        or (before in known.joining and _ORDINAL.fullmatch(left.before[-2]) is not None)  # "die 1. und 2. Stunde"
    )
    return ORDINAL if is_ordinal else DAY


def judge_label(word: str, left: Left, known: Words) -> Hold | None:
    """Judge a sentence that is a noun with a letter or number and no more: "Part C.", "Section 4.2.", "Teil IV."."""
    noun, earlier = left.before[-1], left.before[-2]
    if not noun or (earlier and earlier[-1] != ":") or not _LABEL.fullmatch(word):
        return None
    if noun != "§" and not (noun.isalpha() and noun[0].isupper()):
        return None
    lower = noun.lower()
    if lower in known.starters or lower in known.places or lower in known.dates or lower in _MONTHS:
        return None  # "Take 3.", "Gate C.", "Monday 3."
    return NUMBERED if word[0].isdigit() else LABEL


def judge_amount(word: str, left: Left) -> Hold | None:
    """Judge a word that ends with a sign of a currency: "$.50" begins there, "5 €." ends."""
    if unicodedata.category(word[-1]) != "Sc":
        return None
    has_number = left.before[-1][-1:].isdigit() or any(map(str.isdigit, word))
    return CERTAIN if has_number else FRACTION


def unit_of(word: str, left: Left) -> str:
    """Return a word that counts something, without the number if that is in it: "5 kg", "5kg"; "" for others."""
    before = left.before[-1]
    if before and (before[-1].isdigit() or (before[-1] in _AFTER_DIGITS and before[0].isdigit())):
        return word.lstrip(_NUMERIC)
    name = word.lstrip(_NUMERIC)
    return "" if name == word else name


def is_symbol(unit: str) -> bool:
    """Return whether a unit has no dot of its own, so that one ends a sentence unless a small letter follows: "kg"."""
    return _SYMBOL.fullmatch(unit) is not None


def is_clipped(unit: str) -> bool:
    """Return whether a unit in no list may be an abbreviation, because it is short and ends in a consonant: "tabl"."""
    return len(unit) <= _SHORT and unit.islower() and unit[-1] in _CONSONANTS


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


BEFORE_ORDINALS: Final = _words("der die das den dem des im vom zum zur")  # German
_BEFORE_YEARS: Final = _words("in since of by until from for year before after en de desde depuis nel dal em")
_MONTHS: Final = _words(
    "january february march april may june july august september october november december "
    "jan feb mar apr jun jul aug sep sept oct nov dec"
)
_BEFORE_TIMES: Final = _words("at um ab bis alle las às vers om kl")
# Prices, times of day, dates and telephone numbers have their last digit.
_WHOLE_NUMBER: Final = re.compile(
    r"[$€£¥₹]\d[\d,]*\.\d\d|\d{1,2}:\d\d(:\d\d)?|(\d[\d-]*-)?\d{3}-\d{4}|\d{1,3}/\d{1,3}(/\d{2,4})?|\d{4}-\d\d-\d\d"
)
_DAY: Final = re.compile(r"[1-9]|[12]\d|3[01]")
_ORDINAL: Final = re.compile(r"\d{1,2}\.")
_YEAR: Final = re.compile(r"(19|20)\d\d")
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3])\.[0-5]\d")
_LABEL: Final = re.compile(r"[A-Z]([.-]?\d{1,3})*|[IVX]{1,5}|\d{1,3}[a-z]?([.-]\d{1,3})*(\(\w{1,3}\))*")

# International symbols, with their prefixes; and what people write like them.
_SYMBOL: Final = re.compile(
    r"[kMGTmcdµμ]?([mgls]|Wh|Ah|Hz|Nm|Pa|bit|bar|bps)[²³]?|[kMGmcd]([LWVANJB])|h|t|ha|dB|rpm|psi|mph|"
    r"zł|Kč|kr|Ft"
)
_NUMERIC: Final = "0123456789.,:/-"
_AFTER_DIGITS: Final = "-–—½¼¾"  # "49,- zł", "2½ tabl."
_SHORT: Final = 5  # letters of "tabl", and of most abbreviated units
_CONSONANTS: Final = frozenset("bcdfghjklmnpqrtvwxz")  # without "s", which ends the plural of a whole word
