# ruff: noqa: RUF001 - this file is about marks of many scripts, look-alikes included
"""Sentences from a stream of text.

Rule 1: this module knows text only. No audio, no network, no clock, no await.
Rule 2: text that went in comes out exactly once, in order; white space leads the sentence that follows it.
Rule 3: a mark is judged from the text on its left, when it arrives. Only what the left cannot tell is held.
Rule 4: a character costs the same whatever is pending: nothing pending is read again.

A wrong cut is heard, a late one hardly: in doubt the splitter waits, usually for one word.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from voicepipe._abbreviations import prefixes, words_for

__all__ = ["SentenceSplitter"]


class SentenceSplitter:
    """Cut a reply into sentences while it arrives.

    Args:
        language: ISO 639-1 code, e.g. "de" or "pt-BR"; chooses the abbreviations. None and unknown codes take English
            and what the other languages add without contradicting it.

    A splitter serves one text at a time; after `flush` it is as new. It raises nothing.

    >>> splitter = SentenceSplitter()
    >>> [splitter.feed(delta) for delta in ["It", "'s", " 3", ".", "5", " miles", ".", " Walk", "!"]]
    [[], [], [], [], [], [], ["It's 3.5 miles."], [], [' Walk!']]
    """

    _word: str  # up to the latest character, at most _LONGEST characters of it
    _word_before: str  # "" for the first word of a sentence
    _next_word: str  # the word after the held mark, as far as it matters and is there
    _visible: int  # how many pending characters there are up to the last that is no white space
    _has_words: bool  # whether a mark may end the sentence
    _has_content: bool  # whether a newline ends it

    def __init__(self, language: str | None = None) -> None:
        self._words = words_for(language)
        self._out: list[str] = []
        self._pending: list[str] = []  # the sentence's characters, up to the held mark if there is one
        self._hold: _Hold | None = None
        self._tail: list[str] = []  # what came after the held mark
        self._open: set[str] = set()  # kinds of quotes and brackets that wait for their other half
        self._last = ""
        self._begin_sentence()

    def feed(self, delta: str) -> list[str]:
        """Return the sentences that `delta` completes, often none. It may end anywhere, also within a word.

        A sentence goes out with the very mark that ends it, unless that mark may mean something else ("3.", "Dr.").
        """
        for character in delta:
            self._take(character)
        if self._hold is _CERTAIN:
            self._settle(ends=True)
        return self._handed_out()

    def release(self) -> list[str]:
        """Return the held sentence if it may stand as it is; for a stream that has paused.

        "It opens at 9 a.m." may stand. "I asked Dr.", an open quotation and half a sentence are kept.
        """
        if self._hold is not None and self._hold.may_stand and not self._open and not "".join(self._tail).strip():
            self._settle(ends=True)
        return self._handed_out()

    def flush(self) -> list[str]:
        """Return everything that is left, finished or not, because nothing follows."""
        if self._hold is not None:
            self._settle(ends=bool(self._next_word) and self._begins_sentence(self._next_word, ""))
        if self._pending:
            self._cut(len(self._pending))
        self._open.clear()
        self._last = ""
        return self._handed_out()

    def __repr__(self) -> str:
        """Show the end of what is held, and why it is."""
        if not self._pending:
            return "<SentenceSplitter empty>"
        text = "".join([*self._pending[-_SHOWN:], *self._tail[:_SHOWN]])
        return f"<SentenceSplitter holds {text!r}: {self._hold.why if self._hold else 'no end yet'}>"

    # --- one character at a time --------------------------------------------------------------------------------------

    def _take(self, character: str) -> None:
        """Let a character join the held mark, decide about it, or go on with the sentence."""
        if self._hold is not None:
            if self._joins(character, self._hold):
                return
            ends = self._verdict(character, self._hold)
            if ends is None:
                self._tail.append(character)
                return
            self._settle(ends=ends)
        self._scan(character)

    def _scan(self, character: str) -> None:
        """Add a character to the sentence; hold it if it is a mark that may end it."""
        last, self._last = self._last, character
        self._pending.append(character)
        if character.isspace():
            self._end_word(last)
            if character in _NEWLINES:
                self._open.clear()  # whoever forgot to close a quote does so once a line
                if self._has_content:
                    self._cut(self._visible)
            return
        self._visible = len(self._pending)
        if character in _MARKS:
            # Before any word (a leading "...", the rest of "!!") it goes with the words that follow.
            self._hold = self._judge(character, last) if self._has_words else None
        elif not self._turn_quote(character, last):
            self._has_content = self._has_content or character not in _BULLETS
            self._has_words = self._has_words or character.isalnum()
        elif not self._word:
            return  # a word begins after its quote
        if not self._has_words and character in _BULLETS:
            return
        if len(self._word) < _LONGEST:
            self._word += character

    def _end_word(self, last: str) -> None:
        if last in _EMPHASIS:  # a bullet, not the beginning of *emphasis*
            self._open.discard(last)
        if self._has_words and self._word:
            self._word_before = self._word
        self._word = ""

    def _turn_quote(self, character: str, last: str) -> bool:
        """Note a quote or bracket that opens or closes; return whether the character is one."""
        kind = _QUOTES.get(character)
        if kind is None:
            return False
        if character == last and character in _EMPHASIS:  # the second half of "**"
            return True
        begins = not last or last.isspace() or last in _QUOTES or last in _DASHES
        if kind in self._open and character not in _OPENING:
            if not (kind == "'" and last.isalnum()):  # the apostrophe of 'it's so'
                self._open.discard(kind)
        elif character in _OPENING or character == "“" or (begins and character not in _CLOSING):
            self._open.add(kind)
        return True

    # --- judging a mark by what is on its left ------------------------------------------------------------------------

    def _judge(self, mark: str, last: str) -> _Hold | None:
        """Return what a mark means; None: it ends nothing."""
        if mark == "…":
            return _ELLIPSIS
        hold: _Hold | None = _CERTAIN
        if mark in _DOTS:
            hold = self._judge_dot(self._word, last)
        elif mark in "!?" and ("/" in self._word or "." in self._word):
            hold = _DOTTED  # "example.com/find?" may go on with a query
        return _QUOTED if self._open and hold in (_CERTAIN, _NAME) else hold

    def _judge_dot(self, word: str, last: str) -> _Hold | None:
        if not word:
            return None  # " .5", " .com"
        known, lower = self._words, word.lower()
        is_first = not self._word_before
        if last.isdigit():
            return self._judge_number(word)
        if not last.isalnum() and last != "°":
            return _CERTAIN  # "(as agreed).", "5 %."
        if word in known.leading or lower in known.leading:
            return _LEADING
        if lower in known.counted:
            return _ANSWER if is_first else _COUNTED
        if lower.lstrip("0123456789.:") in known.times:
            return _TIME
        if word in known.either or lower in known.either:
            return _ABBREVIATION
        if len(word) == 1:
            return _ITEM if is_first else _INITIAL
        return self._judge_unknown(word)

    def _judge_number(self, word: str) -> _Hold:
        if _WHOLE_NUMBER.fullmatch(word):
            return _CERTAIN
        if len(word) > 2 or not word.isdigit():
            return _NUMBER
        if not self._word_before:
            return _ITEM
        is_ordinal = self._words.has_ordinals or self._word_before.lower() in _BEFORE_ORDINALS
        return _ORDINAL if is_ordinal else _DAY

    def _judge_unknown(self, word: str) -> _Hold:
        """Judge a word that is in no list by its looks."""
        if "." in word:
            parts = word.split(".")
            return _ACRONYM if all(len(part) <= 2 for part in parts) and parts[-1].isalpha() else _DOTTED
        if any(character.isdigit() or character in _CODE for character in word):
            return _DOTTED
        if _VOWELLESS.fullmatch(word):
            return _CLIPPED
        if _ROMAN.issuperset(word):
            return _ABBREVIATION
        before = self._word_before.lower()
        is_site = before in _BEFORE_SITES or (before in _BEFORE_NAMES and word[0].isupper())
        return _NAME if is_site and word.lower() not in self._words.dates else _CERTAIN

    # --- deciding about a held mark by what follows -------------------------------------------------------------------

    def _joins(self, character: str, hold: _Hold) -> bool:
        """Move the held mark on over what belongs to it: more marks, closing quotes and brackets, emoji."""
        kind = _QUOTES.get(character)
        if self._tail:  # "wait . . .", "« Oui. »"
            spaced_dots = character in _DOTS and self._last in _DOTS
            spaced_quote = character in "»›" and kind in self._open
            if not self._tail[-1].isspace() or self._next_word or not (spaced_dots or spaced_quote):
                return False
            self._pending += self._tail
            self._tail.clear()
        if character in _MARKS:
            if character not in _DOTS and character != "…":
                self._hold = _QUOTED if self._open else _CERTAIN
            elif self._last in _DOTS or self._last == "…":
                self._hold = _ELLIPSIS
        elif kind is not None:
            if character in _OPENING or (kind not in self._open and character in "“'’"):
                return False
            self._open.discard(kind)
            if hold in (_CERTAIN, _NAME, _QUOTED):
                self._hold = _CERTAIN if character in _EMPHASIS and not self._open else _CLOSED
        elif character.isalnum() or unicodedata.category(character) not in _EMOJI:
            return False
        self._pending.append(character)
        self._visible = len(self._pending)
        self._last = character
        return True

    def _verdict(self, character: str, hold: _Hold) -> bool | None:
        """Return whether the held mark ends a sentence now that `character` follows it; None: not decided."""
        if self._next_word:
            if not character.isalpha():
                return self._begins_sentence(self._next_word, character)
            self._next_word += character
            return self._ruled_out(self._next_word, hold)
        if character.isspace():
            if character in _NEWLINES:
                return hold is not _ITEM
            return True if hold.needs is _Needs.SPACE else None
        if not self._tail:
            return self._verdict_without_space(character, hold)
        if not character.isalnum():
            return None  # a quote, a dash, a bullet: what follows it tells
        if hold.needs is _Needs.NEWLINE or character.islower():
            return False
        if character.isdigit():
            return hold.needs is _Needs.CAPITAL and hold is not _COUNTED and hold is not _ANSWER
        if hold.needs is _Needs.CAPITAL:
            return True
        self._next_word = character
        return self._ruled_out(character, hold)

    def _verdict_without_space(self, character: str, hold: _Hold) -> bool:
        """Only scripts that write no spaces end a sentence here: "3.5", "example.com", "etc.," go on."""
        if self._open or character in _QUOTATIVE or hold.needs not in (_Needs.SPACE, _Needs.CAPITAL):
            return False
        uncased = character.isalpha() and not character.isupper() and not character.islower()
        return uncased or (self._last in _WIDE and (character.isalnum() or character in _QUOTES))

    def _ruled_out(self, word: str, hold: _Hold) -> bool | None:
        """Decide about a mark before the word after it is complete, if no list has a word that begins so."""
        if hold.needs is _Needs.STARTER:
            return None if word.lower() in prefixes(self._words.starters) else False
        return None if word.lower() in prefixes(self._words.dates) else True

    def _begins_sentence(self, word: str, follower: str) -> bool:
        """Return whether the complete word after the held mark begins a sentence."""
        if follower in _DOTS and (len(word) == 1 or word.lower() in self._words.counted):
            return False  # "J. A. Smith", "the U.S. No. 1"
        if self._hold is not None and self._hold.needs is _Needs.STARTER:
            return word.lower() in self._words.starters
        return word.lower() not in self._words.dates

    # --- handing out --------------------------------------------------------------------------------------------------

    def _settle(self, *, ends: bool) -> None:
        """Take the held mark as the end of the sentence or as a part of it, and go on with what came after it."""
        if ends:
            self._cut(len(self._pending))
        elif self._hold is _ITEM:
            self._has_content = False  # a list marker stays with its item, also over a newline
        self._hold, self._next_word = None, ""
        tail, self._tail = self._tail, []
        for character in tail:  # there is no mark in it, so this ends here
            self._scan(character)

    def _cut(self, count: int) -> None:
        self._out.append("".join(self._pending[:count]))
        del self._pending[:count]
        self._begin_sentence()

    def _begin_sentence(self) -> None:
        self._word = self._word_before = self._next_word = ""
        self._visible = 0
        self._has_words = self._has_content = False
        self._open.discard("'")  # often an apostrophe that never closes

    def _handed_out(self) -> list[str]:
        out, self._out = self._out, []
        return out


class _Needs(Enum):
    """What has to follow a held mark to end a sentence with it. A newline always does, save after a list marker."""

    SPACE = auto()
    CAPITAL = auto()  # white space, then no lower-case letter
    NO_DATE = auto()  # white space, then a capital that does not begin the name of a month, a day or a time zone
    STARTER = auto()  # white space, then a word that begins sentences and is no name
    NEWLINE = auto()


@dataclass(frozen=True, slots=True)
class _Hold:
    """Why a mark is not taken for the end of a sentence at once.

    Attributes:
        why: For people.
        needs: What decides that it is the end after all.
        may_stand: Whether the text up to it looks complete.
    """

    why: str
    needs: _Needs
    may_stand: bool = True


_CERTAIN: Final = _Hold("the end", _Needs.SPACE)  # not held beyond its delta, in which "?!" or ".)" may follow
_NAME: Final = _Hold("a name with a dot may go on", _Needs.SPACE)  # "Visit example." + "com"
_NUMBER: Final = _Hold("a number may go on", _Needs.CAPITAL)  # "It's $3." + "50"
_DAY: Final = _Hold("a number may go on", _Needs.NO_DATE)  # as above, and "am 12." + " Juni"
_ORDINAL: Final = _Hold("a number may go on", _Needs.STARTER)  # as above, and "die 5." + " Klasse"
_ITEM: Final = _Hold("a list marker belongs to its item", _Needs.NEWLINE, may_stand=False)  # "1." + " Red"
_LEADING: Final = _Hold("something follows this abbreviation", _Needs.NEWLINE, may_stand=False)  # "Dr." + " Smith"
_COUNTED: Final = _Hold("a number may follow", _Needs.CAPITAL, may_stand=False)  # "Order no." + " 7"
_ANSWER: Final = _Hold("a number may follow", _Needs.CAPITAL)  # "No." + " 7"; more often the answer
_TIME: Final = _Hold("the sentence may go on after the time", _Needs.NO_DATE)  # "at 9 a.m." + " on Monday"
_ABBREVIATION: Final = _Hold("the sentence may go on after the abbreviation", _Needs.STARTER)  # "Acme Inc." + " is"
_ACRONYM: Final = _Hold("the sentence may go on after the acronym", _Needs.STARTER)  # "the U.S." + " office"
_CLIPPED: Final = _Hold("this may be an abbreviation", _Needs.STARTER, may_stand=False)  # "12 Elm Blvd." + " is"
_INITIAL: Final = _Hold("a name may follow the initial", _Needs.STARTER, may_stand=False)  # "J." + " Smith"
_DOTTED: Final = _Hold("an address, id or version may go on", _Needs.CAPITAL)  # "on example.co." + "uk"
_ELLIPSIS: Final = _Hold("the sentence may go on after the ellipsis", _Needs.CAPITAL)  # "Well..." + " maybe"
_QUOTED: Final = _Hold("a quote or bracket is open", _Needs.CAPITAL, may_stand=False)  # '"Next.' + '"'
_CLOSED: Final = _Hold("the sentence may go on after the quote", _Needs.CAPITAL)  # '"Really?"' + " she asked"

_DOTS: Final = frozenset(".．")
_WIDE_MARKS: Final = frozenset("。｡！？")
_MARKS: Final = _DOTS | _WIDE_MARKS | frozenset("!?…‼⁇⁈⁉‽\u037e؟۔؞।॥።፧፨։။៕៚᠃᠉⸮꓿")
_NEWLINES: Final = frozenset("\n\r\v\f\x85\u2028\u2029")
_DASHES: Final = frozenset("-–—/=:")
_BULLETS: Final = frozenset("-–—•‣⁃*+#>")
_EMPHASIS: Final = frozenset("*_`~")
_EMOJI: Final = frozenset(("So", "Sk", "Mn", "Me", "Cf"))  # Unicode categories of emoji and what modifies them

# Each quote and bracket with its kind: a kind is open or not. "“" opens in English and closes in German.
_QUOTES: Final = (
    dict.fromkeys('"“”„«»‹›＂', '"')
    | dict.fromkeys("'‘’‚", "'")
    | dict.fromkeys("([{)]}（［｛）］｝", "(")
    | dict.fromkeys("「『【《〈〔」』】》〉〕", "「")
    | {mark: mark for mark in _EMPHASIS}
)
_OPENING: Final = frozenset("„‘‚([{（［｛「『【《〈〔")
_CLOSING: Final = frozenset("”’)]}）］｝」』】》〉〕")
_WIDE: Final = _WIDE_MARKS | frozenset("”’」』）】》〉〕")
_QUOTATIVE: Final = frozenset("とっ")  # Japanese goes on after a quotation: "...」と言いました。"

_CODE: Final = frozenset("@/\\_:=&#")
_ROMAN: Final = frozenset("IVX")
_BEFORE_SITES: Final = frozenset(("visit", "website", "site", "domain", "url", "address", "file", "at", "to"))
_BEFORE_NAMES: Final = frozenset(("tried", "try", "use", "using", "on", "via", "from", "with", "check", "like"))
_BEFORE_ORDINALS: Final = frozenset(("der", "die", "das", "den", "dem", "des", "im", "vom", "zum", "zur"))  # German
# "Blvd." and "Rd.", but not "TV." and "Hmm."
_VOWELLESS: Final = re.compile(r"(?!(?i:[hmsz]+)$)[B-DF-HJ-NP-TV-XZb-df-hj-np-tv-xz][b-df-hj-np-tv-xz]{1,4}")
# Prices, times of day and telephone numbers have their last digit.
_WHOLE_NUMBER: Final = re.compile(r"[$€£]\d[\d,]*\.\d\d|\d{1,2}:\d\d|(\d[\d-]*-)?\d{3}-\d{4}")
_LONGEST: Final = 40  # characters of a word that are kept; no abbreviation is longer
_SHOWN: Final = 60  # characters in a repr
