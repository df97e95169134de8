# ruff: noqa: RUF001 - this file is about marks of many scripts, look-alikes included
"""What a mark means, judged by the text on its left.

Rule: a mark is certain, or held for a reason that says what has to follow, or it ends nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from voicepipe.text.holds import (
    ABBREVIATION,
    ACRONYM,
    ALONE,
    BRAND,
    BRANDED,
    CERTAIN,
    CLIPPED,
    CLOSING,
    COUNTED,
    DOTTED,
    ELLIPSIS,
    INITIAL,
    ITEM,
    LATE,
    LEADING,
    LETTERED,
    LIVELY,
    NAME,
    QUOTED,
    SPACED,
    TIME,
    TITLE,
    TWO_DOTS,
    UNIT,
    Hold,
)
from voicepipe.text.left import DOTS, QUOTES, Left, is_letter
from voicepipe.text.numbers import (
    BEFORE_ORDINALS,
    is_clipped,
    is_symbol,
    judge_amount,
    judge_label,
    judge_number,
    unit_of,
)

if TYPE_CHECKING:
    from voicepipe.text.languages import Words

__all__ = ["joined_by", "judge"]


def judge(mark: str, left: Left, known: Words) -> Hold | None:
    """Return what a mark means; None: it ends nothing."""
    is_open = left.is_open()
    if left.is_fenced or "`" in left.open:
        return None  # code
    if mark in DOTS:
        hold = _judge_dot(left, known)
    elif mark == "…":
        hold = None if left.last in "[(" else ELLIPSIS  # "[…]" leaves something out
    elif mark in "!?！？":
        hold = _judge_call(mark, left, known)
    else:
        hold = CERTAIN
    if hold is CERTAIN and left.is_lively:
        hold = LIVELY
    return QUOTED if is_open and hold in (CERTAIN, LIVELY, NAME) else hold


def joined_by(mark: str, hold: Hold, left: Left, count: int) -> Hold:
    """Return what a held mark means when it is followed by another one, the `count`th character after it."""
    if hold is LATE:
        return LATE
    if mark in DOTS or mark == "…":
        if left.last not in DOTS and left.last != "…":
            return hold
        if hold in (ALONE, SPACED) and count < 6:  # with a fourth dot they end the sentence
            return SPACED
        return TWO_DOTS if count == 1 and mark in DOTS and left.last in DOTS else ELLIPSIS
    if left.is_open():
        return QUOTED
    return LIVELY if count > 1 or left.is_lively else CERTAIN  # who writes three writes more


def _judge_call(mark: str, left: Left, known: Words) -> Hold:
    word = left.word
    if "//" in word or ("/" in word and "." in word):
        return DOTTED  # "example.com/find?" may go on with a query
    if mark in "?？":
        return LIVELY if not left.before[0] and word.lower() in _ASTONISHED else CERTAIN  # "What?" + "!"
    if word in known.brands:
        return BRANDED
    before, earlier = left.before[-1], left.before[-2]
    is_named = before.lower() in _BEFORE_BRANDS or (before[:1].isupper() and earlier in _BEFORE_BRANDS)
    return BRAND if word[:1].isupper() and is_named else CERTAIN


def _judge_dot(left: Left, known: Words) -> Hold | None:
    word, last = left.word, left.last
    if not word:
        return _judge_lone_dot(left)
    if (label := judge_label(word, left, known)) is not None:
        return label
    if last.isdigit():
        return judge_number(word, left, known)
    if not last.isalnum() and not is_letter(last):
        return _judge_sign(word, left, known)
    unit = unit_of(word, left)
    if unit and is_symbol(unit):
        return UNIT
    listed = _judge_listed(word, unit, left, known)
    if listed is not None:
        return listed
    return _judge_letter(word, left, known) if len(word) == 1 else _judge_unknown(word, unit, left, known)


def _judge_sign(word: str, left: Left, known: Words) -> Hold:
    """Judge a word whose last character is neither a letter nor a digit."""
    if word[-1] in _KEYS:
        return DOTTED  # "Press Ctrl+." + " and"
    return judge_amount(word, left) or _judge_listed(word, "", left, known) or CERTAIN  # "(as agreed).", "5 %.", "n°."


def _judge_letter(word: str, left: Left, known: Words) -> Hold:
    before = left.before[-1].lower()
    if word.isupper() and before in known.places:
        return LETTERED  # "Gate B."
    return INITIAL if before else ITEM


def _judge_lone_dot(left: Left) -> Hold | None:
    if left.last.isspace():
        return ALONE
    kind = QUOTES.get(left.last)
    return CERTAIN if kind is not None and kind not in left.open else None  # "« Oui »."


def _judge_listed(word: str, unit: str, left: Left, known: Words) -> Hold | None:
    """Judge a word that is in one of the lists."""
    word = _ELIDED.sub("", word)
    lower, before = word.lower(), left.before[-1].lower()
    if word.isupper() and before.rstrip(".") in known.times:
        return CERTAIN  # "at 9 p.m. EST."
    if word in known.leading or lower in known.leading:
        return TITLE if before in _ARTICLES else LEADING
    if lower in known.counted or (before and (word in known.abroad or lower in known.abroad)):
        return COUNTED
    if (unit.lower() or ("." in lower and lower)) in known.times:  # "9 am", "9am", "this p.m."
        is_fronted = not left.before[0] and left.before[1].lower() in _FRONTED
        return ABBREVIATION if is_fronted else TIME  # "At 9 a.m. Mr. Lund arrives."
    if lower in known.closing:
        return CLOSING
    if unit.lower() in known.units:
        return ABBREVIATION
    if word in known.either or lower in known.either:
        return ABBREVIATION
    return ELLIPSIS if lower in known.links else None  # no sentence ends with "and."


def _judge_unknown(word: str, unit: str, left: Left, known: Words) -> Hold:
    """Judge a word that is in no list by its looks."""
    if "." in word:
        parts = word.split(".")
        names = [part.lstrip("-") for part in parts]
        if all(name in known.either or name.lower() in known.leading for name in names):
            return LEADING if names[-1].lower() in known.leading else ABBREVIATION  # "Dipl.-Ing.", "Mon.-Fri."
        return ACRONYM if all(len(part) <= 2 and part.isalpha() for part in parts) else DOTTED
    if _WHOLE_WORD.fullmatch(word):
        return CERTAIN
    if _ROMAN.issuperset(word):
        return ABBREVIATION
    is_code = word.isascii() and word.isupper()
    if (is_code and len(word) == 2) or any(character.isdigit() or character in _CODE for character in word):
        return DOTTED  # "Flight BA." + "117"
    if _VOWELLESS.fullmatch(word) or word.endswith(_STREET):
        return CLIPPED
    lower = word.lower()
    if unit and lower not in known.starters and is_clipped(unit):
        return UNIT
    if is_code or left.cutting.is_split or word == left.name:
        return NAME  # "policy HXR." + "204"
    if lower in known.hesitations and not left.before[0]:
        return LIVELY
    if left.before[-1].lower() in _BEFORE_SITES:
        return NAME
    return NAME if lower not in known.dates and lower not in known.starters and _is_name(word, left, known) else CERTAIN


def _is_name(word: str, left: Left, known: Words) -> bool:
    """Return whether a word may be the first half of the name of a site, a file or a product."""
    before, earlier = left.before[-1].lower(), left.before[-2].lower()
    if word[-1].isascii() and (_is_uncased(word) or _is_uncased(before)):
        return True  # Latin letters among others, whose sentences end otherwise: "फ़ाइल report." + "pdf"
    if not before:
        return word.islower() and word.isascii()  # "example." + "com": else a text begins with a capital
    if before in _INTRODUCING and word.islower() and not left.cutting.is_whole:
        return True  # "You find it on acme." + "example"
    return (
        (before in _COPULAS and (word[0].isupper() or earlier in _BEFORE_SITES))
        or (before in _BEFORE_FILES and earlier in _URGING)
        or (before in ("as", "at", "to") and earlier in _BEFORE_AT)
        or (word[0].isupper() and (before in _BEFORE_NAMES or _is_naming(left, known)))
        or (left.name and before in _BETWEEN_NAMES)
        or (before not in _DETERMINERS and (word in known.stems or word.lower() in known.stems))
    )


def _is_naming(left: Left, known: Words) -> bool:
    """Return whether a name with a dot may stand here: "tariff Eco.24", "update Lumo.Desk", but not "in Oslo."."""
    before, lower = left.before[-1], left.before[-1].lower()
    if not before.isalpha() or not (before.islower() or not left.before[-2]):
        return False  # "J. Marsh", "Thanks, Mia", "Lena Marsh"
    return lower not in known.starters and lower not in known.opening and lower not in BEFORE_ORDINALS


def _is_uncased(word: str) -> bool:
    return word[:1] > "\u0590" and word[0].isalpha() and word[0].lower() == word[0].upper()


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_KEYS: Final = frozenset("+<=>~^|")
_CODE: Final = frozenset("@/\\_:=&#")
_STREET: Final = "str"  # German compounds: "Parkstr. 5"
_ROMAN: Final = frozenset("IVX")
_ARTICLES: Final = _words("the a my your our his her their")
_DETERMINERS: Final = _ARTICLES | _words("an this that these those its any some each every no another")
_FRONTED: Final = _words("at by around before after until from since")
_BEFORE_BRANDS: Final = _words("at by for from in of on the to use via with")
_BEFORE_SITES: Final = _words(
    "address app attachment called contact domain email file host link login named network password photo server "
    "site url user username visit website archivo arquivo bestand datei fichier page plik seite sitio strona web"
)
_INTRODUCING: Final = _words("at from on via auf heißt unter von sur à em su naar op na")
_COPULAS: Final = _words("is ist est es è é")
_BEFORE_FILES: Final = _words(
    "attach check copy delete download edit find import install load move open read rename replace restart run save "
    "start stop update upload"
)
_BEFORE_NAMES: Final = _words("tried try use using via from like on to with")
_URGING: Final = frozenset(("", "and", "or", "please", "then", "to"))  # before the verb of a request
_BEFORE_AT: Final = _words("us me them it this online out go head log in on over back write email mail send")
_BETWEEN_NAMES: Final = _words("and by from into or than to via with")
_ASTONISHED: Final = _words(
    "what really seriously huh why cómo qué serio verdad quoi vraiment cosa davvero echt wirklich wat "
    "क्या सच 什么 真的 真的吗 是吗 え えっ 本当 本当ですか"
)
# "Blvd." and "Rd.", but not "TV." and "Hmm."
_VOWELLESS: Final = re.compile(r"(?!(?i:[hmsz]+)$)[B-DF-HJ-NP-TV-XZb-df-hj-np-tv-xzçł][b-df-hj-np-tv-xzçł]{1,4}")
_WHOLE_WORD: Final = re.compile(r"\d+(st|nd|rd|th|s)|-?[\d.,]+°[CF]")  # "the 5th", "the 1990s", "20°C"
_ELIDED: Final = re.compile(r"^\w{1,4}['’](?=\w{2})")  # "L'avv. Serra"
