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
from typing import Final

from voicepipe.text.clauses import Clauses
from voicepipe.text.followers import Follower
from voicepipe.text.holds import CERTAIN, CLOSED, GLUED, ITEM, LATE, LIVELY, NAME, QUOTED, Hold
from voicepipe.text.languages import words_for
from voicepipe.text.left import (
    DOTS,
    EMPHASIS,
    JOINING,
    MARKS,
    NEWLINES,
    OPENING,
    QUOTES,
    Left,
    is_emoji,
)
from voicepipe.text.marks import joined_by, judge

__all__ = ["SentenceSplitter"]


class SentenceSplitter:
    """Cut a reply into sentences while it arrives.

    Args:
        language: ISO 639-1 code, e.g. "de" or "pt-BR"; chooses the abbreviations. None and unknown codes take English
            and what the other languages add without contradicting it.
        first_words: Whether the first chunk of a text may be its first words instead of its first sentence: at least
            two words and 12 characters, up to a mark at which a speaker would pause ("Good morning,").

    Of text without an end at most 300 characters are held, or 600 if there are clause marks in it: then the best part
    of them leaves, cut at a clause mark, a conjunction or white space, and inside no word that is shorter than that.

    A splitter serves one text at a time; after `flush` it is as new. It raises nothing.

    >>> splitter = SentenceSplitter()
    >>> [splitter.feed(delta) for delta in ["It", "'s", " 3", ".", "5", " miles", ".", " Walk", "!"]]
    [[], [], [], [], [], [], ["It's 3.5 miles."], [], [' Walk!']]
    """

    _next_marker: str  # in an item of a list the marker of the next one: "3." after "2."
    _bullet: str  # likewise, if the item began with a bullet
    _visible: int  # how many pending characters there are up to the last that is no white space
    _gap: int  # what that was before the latest word
    _has_words: bool  # whether a mark may end the sentence
    _has_content: bool  # whether a newline ends it

    def __init__(self, language: str | None = None, *, first_words: bool = False) -> None:
        self._words = words_for(language)
        self._first_words = first_words
        self._clauses = Clauses(self._words, first_words=first_words)
        self._marks = MARKS | self._words.marks
        self._follower = Follower(self._words, self._marks)
        self._out: list[str] = []
        self._pending: list[str] = []  # the sentence's characters, up to the held mark if there is one
        self._hold: Hold | None = None
        self._held = 0  # how many characters have come since the held mark
        self._tail: list[str] = []  # those of them that did not join it
        self._left = Left()
        self._begin_sentence()

    def feed(self, delta: str) -> list[str]:
        """Return the sentences that `delta` completes, often none. It may end anywhere, also within a word.

        A sentence goes out with the very mark that ends it, unless that mark may mean something else ("3.", "Dr.").
        """
        left = self._left
        if delta[:1] in JOINING or left.cutting.may_show or (len(delta) == 1 and delta.isalpha()):
            left.cutting.take(delta, left.last)
        for letters, other in _RUNS.findall(delta):
            if other:
                self._take(other)
            elif self._hold is None:
                self._take_letters(letters)
            else:
                self._take(letters[0])  # what follows a mark is decided with the first letter of a word
                if rest := letters[1:]:
                    self._take_letters(rest)
        if self._hold is CERTAIN:
            if left.cutting.is_spelled and delta in ".!?*_":
                self._hold = LIVELY  # a stream that comes letter by letter brings what follows at once
            else:
                self._settle(ends=True)
        if first := self._clauses.first:
            self._cut_inside(first)
        return self._handed_out() if self._out else []

    @property
    def may_release(self) -> bool:
        """Whether `release` would hand out anything now, that is, whether a pause of the stream means anything."""
        if self._hold is None or not self._hold.may_stand or self._left.is_open():
            return False
        return not "".join(self._tail).strip()

    def release(self) -> list[str]:
        """Return the held sentence if it may stand as it is; for a stream that has paused.

        "It opens at 9 a.m." may stand. "I asked Dr.", an open quotation and half a sentence are kept.
        """
        if self.may_release:
            self._settle(ends=True)
        return self._handed_out()

    def flush(self) -> list[str]:
        """Return everything that is left, finished or not, because nothing follows."""
        if self._hold is not None:
            self._settle(ends=bool(self._follower.word) and self._follower.begins_sentence(self._hold))
        if self._pending:
            self._cut(len(self._pending))
        self._left = Left()
        self._clauses = Clauses(self._words, first_words=self._first_words)
        return self._handed_out()

    def __repr__(self) -> str:
        """Show the end of what is held, and why it is."""
        if not self._pending:
            return "<SentenceSplitter empty>"
        text = "".join([*self._pending[-_SHOWN:], *self._tail])
        return f"<SentenceSplitter holds {text!r}: {self._hold.why if self._hold else 'no end yet'}>"

    # --- one character at a time --------------------------------------------------------------------------------------

    def _take(self, character: str) -> None:
        if self._hold is None or self._decide(self._hold, character):
            self._scan(character)
        if count := self._clauses.take(character, in_quotes=bool(self._left.open)):
            self._cut_inside(count)

    def _take_letters(self, run: str) -> None:
        """Take letters of ASCII, as `_take` would one by one."""
        if self._hold is not None or not self._clauses.take_letters(run):
            for character in run:
                self._take(character)
            return
        left = self._left
        if not left.word:
            self._gap = self._visible
        self._pending += run
        self._visible = len(self._pending)
        self._has_words = self._has_content = True
        left.count += len(run)
        left.word = (left.word + run)[:_LONGEST]
        left.last = run[-1]

    def _decide(self, hold: Hold, character: str) -> bool:
        """Let a character join the held mark, or decide about the mark; return whether the sentence goes on with it."""
        self._held += 1
        if self._held > _PATIENCE:
            self._settle(ends=hold.may_stand)
            return True
        if self._joins(character, hold):
            return False
        if not self._tail and self._follower.is_glued(character, hold, self._left):
            self._hold = hold = GLUED
        ends = self._follower.verdict(character, hold, self._left, is_spaced=bool(self._tail))
        if ends is None:
            self._tail.append(character)
            return False
        self._settle(ends=ends)
        return True

    def _scan(self, character: str) -> None:
        """Add a character to the sentence; hold it if it is a mark that may end it."""
        if character.isspace():
            self._add_space(character)
        else:
            self._add(character)
        self._left.last = character

    def _add_space(self, character: str) -> None:
        left = self._left
        self._pending.append(character)
        if left.last in EMPHASIS:  # a bullet, not the beginning of *emphasis*
            left.open.pop(left.last, None)
        if left.word:
            self._end_word(character)
        if character in NEWLINES:
            left.open.clear()  # whoever forgot to close a quote does so once a line
            if self._has_content:
                self._cut(self._visible)

    def _add(self, character: str) -> None:
        left = self._left
        if not left.word:
            self._gap = self._visible
        if character.isalnum():
            self._pending.append(character)
            self._visible = len(self._pending)
            self._has_words = self._has_content = True
            left.count += 1
        else:
            self._add_sign(character)
            if not left.word and character in QUOTES:
                return  # a word begins after its quote
        if len(left.word) < _LONGEST and (self._has_words or character not in _BULLETS):
            left.word += character

    def _add_sign(self, character: str) -> None:
        left = self._left
        if character in _ITEM_BULLETS:
            if self._has_words and self._bullet == character:
                self._cut(self._visible)  # "• tea • milk"
            self._bullet = "" if self._has_words else character
        self._pending.append(character)
        self._visible = len(self._pending)
        if character in self._marks:
            self._meet_mark(character)
        elif left.turn_quote(character):
            self._has_content = self._has_content or left.is_fenced
        else:
            self._has_content = self._has_content or character not in _BULLETS
            is_late = not self._has_words and character >= "\u2600" and is_emoji(character)
            left.is_lively = left.is_lively or is_late

    def _meet_mark(self, mark: str) -> None:
        left = self._left
        if self._has_words:
            if left.last not in self._marks:  # the rest of "[...]"
                is_marker = bool(left.word) and self._next_marker.startswith(left.word + mark)
                self._hold, self._held = None if is_marker else judge(mark, left, self._words), 0
        elif left.last in self._marks:
            left.is_lively = True
            if len(self._pending) == 1:
                self._hold, self._held = LATE, 0

    def _end_word(self, follower: str) -> None:
        left = self._left
        word = left.word
        if word == self._next_marker and follower not in NEWLINES and left.before[-1].lower() not in _COUNTING:
            self._cut(self._gap)  # "1. Tea 2. Milk"
            self._visible = len(self._pending) - 1
            self._has_words = True
        is_first = not left.before[-1] or left.before[-1].endswith(":")
        is_marker = is_first and self._pending[-len(word) - 2 : -len(word) - 1] != ["("] and _MARKER.fullmatch(word)
        if is_marker and not (self._words.has_ordinals and word.endswith(".")):
            self._next_marker = _successor(word)
            self._has_content = False
        if self._has_words:
            left.before = (*left.before[1:], word)
        if "." in word and _DOTTED_NAME.match(word):
            left.name = word.partition(".")[0]
        left.word = ""

    # --- deciding about a held mark by what follows -------------------------------------------------------------------

    def _joins(self, character: str, hold: Hold) -> bool:
        """Move the held mark on over what belongs to it: more marks, closing quotes and brackets, emoji."""
        left, kind = self._left, QUOTES.get(character)
        if self._tail and not self._joins_over_space(character, kind):
            return False
        if character in self._marks:
            self._hold = joined_by(character, hold, left, self._held)
        elif kind is not None:
            if character in OPENING or (kind not in left.open and character in "“'’"):
                return False
            left.open.pop(kind, None)
            if hold in (CERTAIN, LIVELY, NAME, QUOTED):
                self._hold = CERTAIN if character in EMPHASIS and not left.open else CLOSED
        elif character.isalnum() or not is_emoji(character):
            return False
        else:
            left.is_lively = True
        if not self._tail and len(left.word) < _LONGEST:
            left.word += character
        self._pending += [*self._tail, character]
        self._tail.clear()
        self._visible = len(self._pending)
        left.last = character
        return True

    def _joins_over_space(self, character: str, kind: str | None) -> bool:
        """Return whether white space does not keep a character from the held mark: "wait . . .", "« Oui. »"."""
        if self._follower.word or not self._tail[-1].isspace():
            return False
        if character in DOTS:
            return self._left.last in DOTS
        return (character in "»›" and kind in self._left.open) or (character >= "\u2600" and is_emoji(character))

    # --- handing out --------------------------------------------------------------------------------------------------

    def _settle(self, *, ends: bool) -> None:
        """Take the held mark as the end of the sentence or as a part of it, and go on with what came after it."""
        if ends:
            self._cut(len(self._pending))
        elif self._hold is ITEM:
            self._has_content = False  # a list marker stays with its item, also over a newline
        self._hold = None
        self._follower.begin()
        tail, self._tail = self._tail, []
        for character in tail:  # there is no mark in it, so this ends here
            self._scan(character)

    def _cut(self, count: int) -> None:
        self._hand_out(count)
        self._begin_sentence()

    def _cut_inside(self, count: int) -> None:
        """Cut off the beginning of a sentence whose end is not known; the rest goes on as if it were still there."""
        if self._hold is not None and count >= len(self._pending):
            self._settle(ends=True)  # the held mark is the nearest place
            return
        self._hand_out(count)
        self._visible, self._gap = max(0, self._visible - count), max(0, self._gap - count)
        self._has_words = any(map(str.isalnum, self._pending))

    def _hand_out(self, count: int) -> None:
        if count:  # a list's next item may begin where the text was just cut
            self._out.append("".join(self._pending[:count]))
            del self._pending[:count]
            self._clauses.cut(count)

    def _begin_sentence(self) -> None:
        self._left.begin_sentence()
        self._next_marker = self._bullet = ""
        self._visible = self._gap = 0
        self._has_words = self._has_content = False

    def _handed_out(self) -> list[str]:
        out, self._out = self._out, []
        return out


def _successor(marker: str) -> str:
    """Return the marker of the next item: "2." after "1.", "b)" after "a)"."""
    name = marker.rstrip(".)")
    return (str(int(name) + 1) if name.isdigit() else chr(ord(name) + 1)) + marker[len(name) :]


_RUNS: Final = re.compile(r"([A-Za-z]+)|([^A-Za-z])")  # letters go through in one piece, anything else alone
_BULLETS: Final = frozenset("-–—•‣⁃◦▪*+#>")
_ITEM_BULLETS: Final = frozenset("•‣⁃◦▪")  # unlike the others these have no other meaning within a line
_MARKER: Final = re.compile(r"([0-9]{1,2}|[a-y])[.)]{1,2}")
_DOTTED_NAME: Final = re.compile(r"[^\W\d][\w-]{2,}\.\w{2,}")
_COUNTING: Final = frozenset(("and", "or", "to", "press", "dial", "number", "option", "step", "no.", "line", "room"))
_LONGEST: Final = 40  # characters of a word that are kept; no abbreviation is longer
_PATIENCE: Final = 40  # characters after a mark within which it is decided: a hold has an end, whatever follows
_SHOWN: Final = 60  # characters in a repr
