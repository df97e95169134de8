"""Why a mark is not taken for the end of a sentence at once, and what has to follow.

Rule: a reason is one constant; what it needs is data that `followers` reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

__all__ = [
    "ABBREVIATION",
    "ACRONYM",
    "ALONE",
    "BRAND",
    "BRANDED",
    "CERTAIN",
    "CLIPPED",
    "CLOSED",
    "CLOSING",
    "COUNTED",
    "DAY",
    "DOTTED",
    "ELLIPSIS",
    "GLUED",
    "INITIAL",
    "ITEM",
    "LEADING",
    "LIVELY",
    "NAME",
    "NUMBER",
    "ORDINAL",
    "QUOTED",
    "SPACED",
    "TIME",
    "TITLE",
    "TWO_DOTS",
    "Hold",
    "Needs",
]


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
