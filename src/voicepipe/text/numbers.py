"""What a dot behind a number means: whether the number is whole, a day, a list marker, or may go on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from voicepipe.text.holds import CERTAIN, DAY, ITEM, NUMBER, ORDINAL, Hold

if TYPE_CHECKING:
    from voicepipe.text.languages import Words
    from voicepipe.text.left import Left

__all__ = ["judge_number"]


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
    is_ordinal = known.has_ordinals or before in _BEFORE_ORDINALS or before.endswith(",")  # "Parkstr. 8, 2. Stock"
    return ORDINAL if is_ordinal else DAY


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BEFORE_ORDINALS: Final = _words("der die das den dem des im vom zum zur")  # German
_BEFORE_YEARS: Final = _words("in since of by until from for year before after en de desde depuis nel dal em")
_MONTHS: Final = _words(
    "january february march april may june july august september october november december "
    "jan feb mar apr jun jul aug sep sept oct nov dec"
)
_BEFORE_TIMES: Final = _words("at um ab bis alle las às vers om kl")
# Prices, times of day, dates and telephone numbers have their last digit.
_WHOLE_NUMBER: Final = re.compile(
    r"[$€£¥₹]\d[\d,]*\.\d\d|\d{1,2}:\d\d(:\d\d)?|(\d[\d-]*-)?\d{3}-\d{4}|\d+(/\d+)+|\d{4}-\d\d-\d\d"
)
_DAY: Final = re.compile(r"[1-9]|[12]\d|3[01]")
_YEAR: Final = re.compile(r"(19|20)\d\d")
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3])\.[0-5]\d")
