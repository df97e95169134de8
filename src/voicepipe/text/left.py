# ruff: noqa: RUF001 - the marks of many scripts, look-alikes included
"""What is remembered of the text on the left of a mark.

Rule: it has a constant size, and costs the same a character.
"""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = [
    "DOTS",
    "EMPHASIS",
    "JOINING",
    "MARKS",
    "NEWLINES",
    "OPENING",
    "QUOTES",
    "WIDE",
    "Cutting",
    "Left",
    "is_emoji",
    "is_letter",
]

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
_FORGOTTEN: Final = 200  # visible characters after which nobody closes a quote any more


class Left:
    """What is remembered of the text on the left of the next character.

    Attributes:
        word: Up to the latest character, at most 40 characters of it.
        before: The three words before it, "" where the sentence had not begun.
        last: The latest character.
        count: How many letters, digits and signs there were.
        open: Kinds of quotes and brackets that wait for their other half, and when they were opened.
        is_fenced: Whether this is a block of code.
        is_lively: Whether the text has shown an emoji or marks that came late, so that more of them may come.
        name: What stood before the dot of the latest name with one, "" if the text has shown none: others may come.
        cutting: How the text comes, which tells whether any dot may be inside of a name.
    """

    __slots__ = ("_ticks", "before", "count", "cutting", "is_fenced", "is_lively", "last", "name", "open", "word")

    word: str
    before: tuple[str, str, str]

    def __init__(self) -> None:
        self.last = self.name = ""
        self.cutting = Cutting()
        self.open: dict[str, int] = {}
        self.is_fenced = self.is_lively = False
        self.count = self._ticks = 0
        self.begin_sentence()

    def begin_sentence(self) -> None:
        """Forget the words of the last sentence, not its quotes."""
        self.word, self.before = "", ("", "", "")
        self.open.pop("'", None)  # often an apostrophe that never closes

    def turn_quote(self, character: str) -> bool:
        """Note a quote or bracket that opens or closes; return whether the character is one."""
        self.count += 1
        kind, last = QUOTES.get(character), self.last
        if kind is None:
            return False
        self._ticks = 0 if kind != "`" else self._ticks + 1 if last == kind else 1
        if self._ticks == 3:
            self.is_fenced = not self.is_fenced
            self.open.pop(kind, None)
        elif character == last and character in EMPHASIS:  # the second half of "**"
            pass
        elif kind in self.open and character not in OPENING:
            if not (kind == "'" and last.isalnum()):  # the apostrophe of 'it's so'
                del self.open[kind]
        elif character in OPENING or character == "“" or (_may_open(last) and character not in _CLOSING):
            self.open[kind] = self.count
        return True

    def is_open(self) -> bool:
        """Return whether a quote or bracket is open that somebody may still close."""
        for kind in [kind for kind, since in self.open.items() if self.count - since > _FORGOTTEN]:
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


class Cutting:
    """How a stream cuts its text, as far as its deltas have shown it.

    Attributes:
        is_split: Whether marks come apart from the words they belong to: "e", "-", "mail".
        is_whole: Whether they come with them: "e", "-mail".
        is_spelled: Whether text comes letter by letter, so that what follows a mark comes at once.
        may_show: Whether the next delta may show something, whatever it is.
    """

    __slots__ = ("_alone", "_joins", "is_spelled", "is_split", "is_whole", "may_show")

    def __init__(self) -> None:
        self.is_split = self.is_whole = self.is_spelled = self.may_show = False
        self._joins = False  # whether the last delta was a mark right behind a word
        self._alone = 0  # how many letters came alone since the last delta of more than one character

    def take(self, delta: str, last: str) -> None:
        """Note the next delta, which comes after the character `last`.

        To save time it need not be called for one that neither begins with one of `JOINING` nor is a letter alone,
        unless `may_show`.
        """
        if self._joins and delta[:1].isalpha():
            self.is_split = True
        is_alone = len(delta) == 1
        if not is_alone and delta[:1] in JOINING and delta[1].isalpha() and last.isalnum():
            self.is_whole = True
        self._joins = is_alone and delta in JOINING and last.isalnum()
        self._alone = self._alone + delta.isalpha() if is_alone else 0
        self.is_spelled = self._alone > _SPELLED
        self.may_show = self._joins or self._alone > 0


JOINING: Final = frozenset(".-'’@_/&")  # marks inside of words, which most tokenisers keep with what follows
_SPELLED: Final = 1  # letters alone in a row that are no chance
