# ruff: noqa: RUF001 - this file is about marks of many scripts, look-alikes included
"""What a mark means, judged by the text on its left.

Rule 1: a mark is certain, or held for a reason that says what has to follow, or it ends nothing.
Rule 2: what is remembered of the left has a constant size and costs the same a character.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from voicepipe.text.languages import Words

__all__ = [
    "CERTAIN",
    "CLOSED",
    "COUNTED",
    "DOTS",
    "EMPHASIS",
    "GLUED",
    "ITEM",
    "LIVELY",
    "MARKS",
    "NAME",
    "NEWLINES",
    "OPENING",
    "QUOTED",
    "QUOTES",
    "WIDE",
    "Hold",
    "Left",
    "Needs",
    "is_emoji",
    "is_letter",
    "joined_by",
    "judge",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


class Needs(Enum):
    """What has to follow a held mark to end a sentence with it. A newline always does, save after a list marker."""

    SPACE = auto()
    CAPITAL = auto()  # white space, then no lower-case letter
    NO_DATE = auto()  # white space, then a capital that does not begin the name of a month, a day or a time zone
    NO_LINK = auto()  # white space, then a capital that does not begin an "And"
    STARTER = auto()  # white space, then a word that begins sentences and is no name
    NEWLINE = auto()


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a mark is not taken for the end of a sentence at once.

    Attributes:
        why: For people.
        needs: What decides that it is the end after all.
        may_stand: Whether the text up to it looks complete.
    """

    why: str
    needs: Needs
    may_stand: bool = True


CERTAIN: Final = Hold("the end", Needs.SPACE)  # not held beyond its delta, in which "?!" or ".)" may follow
LIVELY: Final = Hold("more marks or an emoji may follow", Needs.SPACE)  # "No!!!" + "!!"
NAME: Final = Hold("a name with a dot may go on", Needs.SPACE)  # "Visit example." + "com"
BRAND: Final = Hold("the mark may be part of a name", Needs.CAPITAL)  # "I saw it at Wham!" + " last week"
BRANDED: Final = Hold("the mark is part of a name", Needs.STARTER)  # "Yahoo!" + " Mail"
NUMBER: Final = Hold("a number may go on", Needs.CAPITAL)  # "It's $3." + "50"
DAY: Final = Hold("a number may go on", Needs.NO_DATE)  # as above, and "am 12." + " Juni"
ORDINAL: Final = Hold("a number may go on", Needs.STARTER)  # as above, and "die 5." + " Klasse"
ITEM: Final = Hold("a list marker belongs to its item", Needs.NEWLINE, may_stand=False)  # "1." + " Red"
LEADING: Final = Hold("something follows this abbreviation", Needs.NEWLINE, may_stand=False)  # "Dr." + " Smith"
TITLE: Final = Hold("a name may follow the title", Needs.STARTER)  # "I called the Dr." + " He ..."
COUNTED: Final = Hold("a number may follow", Needs.CAPITAL)  # "Take no." + " 7"; as often the word itself
TIME: Final = Hold("the sentence may go on after the time", Needs.NO_DATE)  # "at 9 a.m." + " on Monday"
ABBREVIATION: Final = Hold("the sentence may go on after the abbreviation", Needs.STARTER)  # "Acme Inc." + " is"
CLOSING: Final = Hold("the sentence may go on after the list", Needs.CAPITAL)  # "Tea, milk, etc." + " are here"
ACRONYM: Final = Hold("the sentence may go on after the acronym", Needs.STARTER)  # "the U.S." + " office"
CLIPPED: Final = Hold("this may be an abbreviation", Needs.STARTER, may_stand=False)  # "12 Elm Blvd." + " is"
INITIAL: Final = Hold("a name may follow the initial", Needs.STARTER, may_stand=False)  # "J." + " Smith"
DOTTED: Final = Hold("an address, id or version may go on", Needs.CAPITAL)  # "on example.co." + "uk"
ELLIPSIS: Final = Hold("the sentence may go on after the ellipsis", Needs.NO_LINK)  # "Well..." + " maybe"
SPACED: Final = Hold("the sentence may go on after the dots", Needs.NEWLINE)  # "Wait . . ." + " I see"
TWO_DOTS: Final = Hold("the sentence may go on after two dots", Needs.STARTER)  # "Let me see.." + "."
ALONE: Final = Hold("something may follow the dot", Needs.CAPITAL)  # " ." + "5", but also " ." + " Next"
GLUED: Final = Hold("a word follows without a space", Needs.STARTER, may_stand=False)  # "here.Then" and "Acme.Shop"
QUOTED: Final = Hold("a quote or bracket is open", Needs.CAPITAL, may_stand=False)  # '"Next.' + '"'
CLOSED: Final = Hold("the sentence may go on after the quote", Needs.CAPITAL)  # '"Really?"' + " she asked"

DOTS: Final = frozenset(".．")
_WIDE_MARKS: Final = frozenset("。｡！？")
MARKS: Final = DOTS | _WIDE_MARKS | frozenset("!?…‼⁇⁈⁉‽\u037e؟۔؞।॥።፧፨։။៕៚᠃᠉⸮꓿")
NEWLINES: Final = frozenset("\n\r\v\f\x85\u2028\u2029")
_DASHES: Final = frozenset("-–—/=:")
EMPHASIS: Final = frozenset("*_`")

# Each quote and bracket with its kind: a kind is open or not. "“" opens in English and closes in German.
QUOTES: Final = (
    dict.fromkeys('"“”„«»‹›＂', '"')
    | dict.fromkeys("'‘’‚", "'")
    | dict.fromkeys("([{)]}（［｛）］｝", "(")
    | dict.fromkeys("「『【《〈〔」』】》〉〕", "「")
    | {mark: mark for mark in EMPHASIS}
)
OPENING: Final = frozenset("„‘‚([{（［｛「『【《〈〔")
_CLOSING: Final = frozenset("”’)]}）］｝」』】》〉〕")
WIDE: Final = _WIDE_MARKS | frozenset("”’」』）】》〉〕")

_CODE: Final = frozenset("@/\\_:=&#")
_STREET: Final = "str"  # German compounds: "Parkstr. 5"
_ROMAN: Final = frozenset("IVX")
_ARTICLES: Final = _words("the a my your our his her their")
_DETERMINERS: Final = _ARTICLES | _words("an this that these those its any some each every no another")
_FRONTED: Final = _words("at by around before after until from since")
_BEFORE_BRANDS: Final = _words("at by for from in of on the to use via with")
_BEFORE_SITES: Final = _words("address called contact domain email file named site url visit website")
_BEFORE_FILES: Final = _words("attach check delete download edit import load open read rename run save upload")
_URGING: Final = frozenset(("", "and", "or", "please", "then", "to"))  # before the verb of a request
_BEFORE_AT: Final = _words("us me them it this online out go head log in on over back write email mail send")
_BETWEEN_NAMES: Final = _words("and by from into or than to via with")
_ASTONISHED: Final = _words(
    "what really seriously huh why cómo qué serio verdad quoi vraiment cosa davvero echt wirklich wat "
    "क्या सच 什么 真的 真的吗 是吗 え えっ 本当 本当ですか"
)
_BEFORE_NAMES: Final = _words("tried try use using on via from with check like")
_BEFORE_ORDINALS: Final = _words("der die das den dem des im vom zum zur")  # German
_BEFORE_YEARS: Final = _words("in since of by until from for year before after en de desde depuis nel dal em")
_MONTHS: Final = _words(
    "january february march april may june july august september october november december "
    "jan feb mar apr jun jul aug sep sept oct nov dec"
)
_BEFORE_TIMES: Final = _words("at um ab bis alle las às vers om kl")
# "Blvd." and "Rd.", but not "TV." and "Hmm."
_VOWELLESS: Final = re.compile(r"(?!(?i:[hmsz]+)$)[B-DF-HJ-NP-TV-XZb-df-hj-np-tv-xz][b-df-hj-np-tv-xz]{1,4}")
# Prices, times of day, dates and telephone numbers have their last digit.
_WHOLE_NUMBER: Final = re.compile(
    r"[$€£¥₹]\d[\d,]*\.\d\d|\d{1,2}:\d\d(:\d\d)?|(\d[\d-]*-)?\d{3}-\d{4}|\d+(/\d+)+|\d{4}-\d\d-\d\d"
)
_DAY: Final = re.compile(r"[1-9]|[12]\d|3[01]")
_YEAR: Final = re.compile(r"(19|20)\d\d")
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3])\.[0-5]\d")
_WHOLE_WORD: Final = re.compile(r"\d+(st|nd|rd|th|s)|-?[\d.,]+°[CF]")  # "the 5th", "the 1990s", "20°C"
_ELIDED: Final = re.compile(r"^\w{1,4}['’](?=\w{2})")  # "L'avv. Serra"
_DIGITS: Final = "0123456789.:"
_FORGOTTEN: Final = 200  # visible characters after which nobody closes a quote any more


class Left:
    """What is remembered of the text on the left of the next character.

    Attributes:
        word: Up to the latest character, at most 40 characters of it.
        before: The three words before it, "" where the sentence had not begun.
        last: The latest character.
        open: Kinds of quotes and brackets that wait for their other half, and when they were opened.
        is_fenced: Whether this is a block of code.
        is_lively: Whether the text has shown an emoji or marks that came late, so that more of them may come.
        has_names: Whether the text has shown a name with a dot, so that another one may come.
    """

    __slots__ = ("_count", "_ticks", "before", "has_names", "is_fenced", "is_lively", "last", "open", "word")

    word: str
    before: tuple[str, str, str]

    def __init__(self) -> None:
        self.last = ""
        self.open: dict[str, int] = {}
        self.is_fenced = self.is_lively = self.has_names = False
        self._count = self._ticks = 0
        self.begin_sentence()

    def begin_sentence(self) -> None:
        """Forget the words of the last sentence, not its quotes."""
        self.word, self.before = "", ("", "", "")
        self.open.pop("'", None)  # often an apostrophe that never closes

    def turn_quote(self, character: str) -> bool:
        """Note a quote or bracket that opens or closes; return whether the character is one."""
        self._count += 1
        kind, last = QUOTES.get(character), self.last
        if kind is None:
            self._ticks = 0
            return False
        self._ticks = self._ticks + 1 if kind == "`" else 0
        if self._ticks == 3:
            self.is_fenced = not self.is_fenced
            self.open.pop(kind, None)
        elif character == last and character in EMPHASIS:  # the second half of "**"
            pass
        elif kind in self.open and character not in OPENING:
            if not (kind == "'" and last.isalnum()):  # the apostrophe of 'it's so'
                del self.open[kind]
        elif character in OPENING or character == "“" or (_may_open(last) and character not in _CLOSING):
            self.open[kind] = self._count
        return True

    def is_open(self) -> bool:
        """Return whether a quote or bracket is open that somebody may still close."""
        for kind in [kind for kind, since in self.open.items() if self._count - since > _FORGOTTEN]:
            del self.open[kind]
        return bool(self.open)


def _may_open(last: str) -> bool:
    return not last or last.isspace() or last in QUOTES or last in _DASHES


def is_emoji(character: str) -> bool:
    """Return whether this is an emoji or what modifies one."""
    category = unicodedata.category(character)
    return character >= "\u2600" if category == "So" else category in ("Sk", "Mn", "Me", "Cf")


def is_letter(character: str) -> bool:
    """Return whether this is a letter, or a sign that some scripts put on one."""
    return character.isalpha() or unicodedata.category(character).startswith("M")


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
    word, last, before = left.word, left.last, left.before[-1].lower()
    if not word:
        return _judge_lone_dot(left)
    if last.isdigit():
        return _judge_number(word, left, known)
    listed = _judge_listed(word, left, known)
    if listed is not None:
        return listed
    if not last.isalnum() and not is_letter(last):
        return CERTAIN  # "(as agreed).", "5 %."
    if len(word) == 1:
        return INITIAL if before else ITEM
    return _judge_unknown(word, left, known)


def _judge_lone_dot(left: Left) -> Hold | None:
    if left.last.isspace():
        return ALONE
    kind = QUOTES.get(left.last)
    return CERTAIN if kind is not None and kind not in left.open else None  # "« Oui »."


def _judge_listed(word: str, left: Left, known: Words) -> Hold | None:
    """Judge a word that is in one of the lists."""
    word = _ELIDED.sub("", word)
    lower, before = word.lower(), left.before[-1].lower()
    if word.isupper() and before.rstrip(".") in known.times:
        return CERTAIN  # "at 9 p.m. EST."
    if word in known.leading or lower in known.leading:
        return TITLE if before in _ARTICLES else LEADING
    if lower in known.counted:
        return COUNTED
    name = lower.lstrip(_DIGITS)  # "9am", "5km"
    is_after_number = name != lower or before[-1:].isdigit()
    if name in known.times and (is_after_number or "." in name):
        is_fronted = not left.before[0] and left.before[1].lower() in _FRONTED
        return ABBREVIATION if is_fronted else TIME  # "At 9 a.m. Mr. Lund arrives."
    if lower in known.closing:
        return CLOSING
    if name in known.units and is_after_number:
        return ABBREVIATION
    if word in known.either or lower in known.either:
        return ABBREVIATION
    return ELLIPSIS if lower in known.links else None  # no sentence ends with "and."


def _judge_number(word: str, left: Left, known: Words) -> Hold:
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


def _judge_unknown(word: str, left: Left, known: Words) -> Hold:
    """Judge a word that is in no list by its looks."""
    if "." in word:
        parts = word.split(".")
        names = [part.lstrip("-") for part in parts]
        if all(name in known.either or name.lower() in known.leading for name in names):
            return LEADING if names[-1].lower() in known.leading else ABBREVIATION  # "Dipl.-Ing.", "Mon.-Fri."
        return ACRONYM if all(len(part) <= 2 for part in parts) and parts[-1].isalpha() else DOTTED
    if _WHOLE_WORD.fullmatch(word):
        return CERTAIN
    if _ROMAN.issuperset(word):
        return ABBREVIATION
    is_code = word.isascii() and word.isupper() and len(word) == 2  # "Flight BA." + "117"
    if is_code or any(character.isdigit() or character in _CODE for character in word):
        return DOTTED
    if _VOWELLESS.fullmatch(word) or word.endswith(_STREET):
        return CLIPPED
    lower = word.lower()
    return NAME if _is_name(word, left, known) and lower not in known.dates and lower not in known.starters else CERTAIN


def _is_name(word: str, left: Left, known: Words) -> bool:
    """Return whether a word may be the first half of the name of a site, a file or a product."""
    before, earlier = left.before[-1].lower(), left.before[-2].lower()
    if word[-1].isascii() and (_is_uncased(word) or _is_uncased(before)):
        return True  # Latin letters among others, whose sentences end otherwise: "फ़ाइल report." + "pdf"
    if not before:
        return word.islower() and word.isascii()  # "example." + "com": else a text begins with a capital
    return (
        before in _BEFORE_SITES
        or (before in _BEFORE_FILES and earlier in _URGING)
        or (before in ("as", "at", "to") and earlier in _BEFORE_AT)
        or (before in _BEFORE_NAMES and word[0].isupper())
        or (left.has_names and before in _BETWEEN_NAMES)
        or (before not in _DETERMINERS and (word in known.stems or word.lower() in known.stems))
    )


def _is_uncased(word: str) -> bool:
    return word[:1] > "\u0590" and word[0].isalpha() and word[0].lower() == word[0].upper()
