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
    "FRACTION",
    "GLUED",
    "INITIAL",
    "ITEM",
    "LABEL",
    "LATE",
    "LEADING",
    "LETTERED",
    "LIVELY",
    "MONTH",
    "NAME",
    "NUMBER",
    "NUMBERED",
    "ORDINAL",
    "QUOTED",
    "SPACED",
    "TIME",
    "TITLE",
    "TWO_DOTS",
    "UNIT",
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


@dataclass(frozen=True, slots=True, eq=False)
class Hold:
    """Why a mark is not taken for the end of a sentence at once.

    Attributes:
        why: For people.
        needs: What decides that it is the end after all.
        may_stand: Whether the text up to it looks complete.
        takes_number: Whether a number that follows goes on with it; else a number ends it as a capital does.
    """

    why: str
    needs: Needs
    may_stand: bool = True
    takes_number: bool = False


CERTAIN: Final = Hold("the end", Needs.SPACE)  # not held beyond its delta, in which "?!" or ".)" may follow
LIVELY: Final = Hold("more marks or an emoji may follow", Needs.SPACE)  # "No!!!" + "!!", "Let me see." + "."
LATE: Final = Hold("more of the last sentence's marks may follow", Needs.SPACE)  # "That is it." + "." + "."
NAME: Final = Hold("a name with a dot may go on", Needs.SPACE)  # "Visit example." + "com"
FRACTION: Final = Hold("an amount may begin with the dot", Needs.SPACE, may_stand=False)  # "$." + "50"
CLOSED: Final = Hold("the sentence may go on after the quote", Needs.CAPITAL)  # '"Really?"' + " she asked"
QUOTED: Final = Hold("a quote or bracket is open", Needs.CAPITAL, may_stand=False)  # '"Next.' + '"'

# Numbers, letters that count, and what is counted.
NUMBER: Final = Hold("a number may go on", Needs.CAPITAL)  # "It's $3." + "50"
DAY: Final = Hold("a number may go on", Needs.NO_DATE)  # as above, and "am 12." + " Juni"
ORDINAL: Final = Hold("a number may go on", Needs.STARTER)  # as above, and "die 5." + " Klasse"
MONTH: Final = Hold("a year may follow the month", Needs.STARTER, takes_number=True)  # "am 3. 5." + " 2024"
DOTTED: Final = Hold("an address, id or version may go on", Needs.CAPITAL)  # "on example.co." + "uk"
LETTERED: Final = Hold("the sentence may go on after the letter", Needs.CAPITAL)  # "Gate B." + " is"
UNIT: Final = Hold("the sentence may go on after the unit", Needs.CAPITAL)  # "80 cm." + " It", "2 tabl." + " daily"
TIME: Final = Hold("the sentence may go on after the time", Needs.NO_DATE)  # "at 9 a.m." + " on Monday"

# What heads something.
# "1." + " Red"
ITEM: Final = Hold("a list marker belongs to its item", Needs.NEWLINE, may_stand=False, takes_number=True)
# "Part C." + " Your rights"
LABEL: Final = Hold("a label belongs to what it heads", Needs.NEWLINE, may_stand=False, takes_number=True)
# "Unit 3." + " Water", not " 5 more"
NUMBERED: Final = Hold("a label belongs to what it heads", Needs.NEWLINE, may_stand=False)
# "Dr." + " Smith"
LEADING: Final = Hold("something follows this abbreviation", Needs.NEWLINE, may_stand=False, takes_number=True)
TITLE: Final = Hold("a name may follow the title", Needs.STARTER, takes_number=True)  # "I called the Dr." + " He ..."
# "J." + " Smith", "p." + " 9"
INITIAL: Final = Hold("a name may follow the initial", Needs.STARTER, may_stand=False, takes_number=True)
COUNTED: Final = Hold("a number may follow", Needs.CAPITAL, takes_number=True)  # "Take no." + " 7"; as often the word

# Abbreviations that end sentences as well.
ABBREVIATION: Final = Hold("the sentence may go on after the abbreviation", Needs.STARTER, takes_number=True)  # "Inc."
CLOSING: Final = Hold("the sentence may go on after the list", Needs.CAPITAL)  # "Tea, milk, etc." + " are here"
ACRONYM: Final = Hold("the sentence may go on after the acronym", Needs.STARTER, takes_number=True)  # "the U.S."
# "12 Elm Blvd." + " is"
CLIPPED: Final = Hold("this may be an abbreviation", Needs.STARTER, may_stand=False, takes_number=True)

# Marks that mean something else.
BRAND: Final = Hold("the mark may be part of a name", Needs.CAPITAL)  # "I saw it at Wham!" + " last week"
BRANDED: Final = Hold("the mark is part of a name", Needs.STARTER, takes_number=True)  # "Yahoo!" + " Mail"
ELLIPSIS: Final = Hold("the sentence may go on after the ellipsis", Needs.NO_LINK)  # "Well..." + " maybe"
SPACED: Final = Hold("the sentence may go on after the dots", Needs.NEWLINE, takes_number=True)  # "Wait . . ." + " I"
TWO_DOTS: Final = Hold("the sentence may go on after two dots", Needs.STARTER)  # "Let me see.." + "."
ALONE: Final = Hold("something may follow the dot", Needs.CAPITAL)  # " ." + "5", but also " ." + " Next"
GLUED: Final = Hold("a word follows without a space", Needs.STARTER, may_stand=False)  # "here.Then" and "Acme.Shop"
