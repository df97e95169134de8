"""What of a reply's text is spoken: not its thoughts, not a call written as text, no control tokens.

Rule 1: the same text comes out however the deltas cut it.
Rule 2: ordinary text goes on at once and unchanged. Only what may still become a mark is held back, and the white space
        in front of the first word.
Rule 3: a tag that is made of letters may be quoted by a sentence. One that opens thoughts counts only at the beginning
        of the reply or of a line, where models write it; any other, unless blanks or quotes surround it. A special
        token (`<|...|>`) counts everywhere: a model cannot write it as words.
"""

from __future__ import annotations

import re
from typing import Final

from voicepipe.vendors.openai import written_calls
from voicepipe.vendors.openai.control_marks import (
    BARE,
    CALLS,
    FOREIGN,
    HARMONY,
    HEADERS,
    MARK,
    THOUGHTS,
    any_of,
    is_special,
    tail,
)

__all__ = ["SpokenText"]

BEGINS: Final = re.compile(r"[<\[{`◁]")
"""What every mark begins with, apart from the bare words at the beginning of a reply."""

BLANK: Final = " \t\r\n"

CLOSES_THOUGHTS: Final = tuple(THOUGHTS.values())
CLOSES_CALLS: Final = frozenset(CALLS.values())
OWN_ROLES: Final = ("", "assistant", "model", "chatbot")
ENDS_HARMONY: Final = ("<|end|>", "<|return|>", "<|call|>", *HARMONY)
BARE_CALL: Final = "assistantcommentary to="
BARE_ENDS: Final = ("assistantfinal", BARE_CALL, *ENDS_HARMONY)

PARSER: Final = (
    "which did not run; turn on the server's tool parser (vLLM: --enable-auto-tool-choice and --tool-call-parser, "
    "llama.cpp: --jinja), or ask a model that it can parse"
)

QUOTES: Final = "\"'`\u201c\u2018\u00ab("
QUOTES_END: Final = "\"'`\u201d\u2019\u00bb).,;:!?"


class SpokenText:
    """Takes a reply's text delta by delta, and returns what of it is spoken.

    Args:
        begins_in_thoughts: Whether the chat template opens the thoughts, so that only the mark that closes them comes.
        keeps_json: Whether the reply is to be JSON, which may look like a call and is none.

    Attributes:
        has_text: Whether a word was returned.
        call: The mark of the first call that was written as text; "" without one.
        ends_unopened: Whether thoughts ended in the middle of the text: their beginning was taken for the reply.
    """

    def __init__(self, *, begins_in_thoughts: bool = False, keeps_json: bool = False) -> None:
        self.has_text = False
        self.call = ""
        self.ends_unopened = False
        self._begins_in_thoughts = begins_in_thoughts
        self._keeps_json = keeps_json
        self._held = ""  # what may be the beginning of a mark, or of a word
        self._blank = ""  # the white space before the first word
        self._until: tuple[str, ...] = CLOSES_THOUGHTS if begins_in_thoughts else ()
        self._header = ""  # the mark that opened the head of a message
        self._is_over = False
        self._control = ""
        self._before = ""  # the last character that came as text
        self._begins_line = True
        self._strips = ""  # what is not given in front of the next word

    @property
    def is_hiding(self) -> bool:
        """Whether the text that comes now is not spoken, as far as is known."""
        if self._until or self._header or self._is_over:
            return True
        return bool(self._held) and not self._keeps_json and written_calls.begins_with(self._held)

    def feed(self, delta: str) -> str:
        """Return the text that can be spoken now; it may be empty."""
        is_read = self._held or self._until or self._header or self._is_over or self._strips
        if self.has_text and not is_read and not BEGINS.search(delta):
            self._remember(delta)
            return delta
        self._held += delta
        return self._read(is_end=False)

    def end(self) -> str:
        """Return what was held back, now that nothing follows. Calling it again returns nothing."""
        return self._read(is_end=True)

    def foresee(self, text: str) -> None:
        """Look through the whole text before it is fed: thoughts that end and did not begin have begun with it."""
        for found in any_of(CLOSES_THOUGHTS).finditer(text):
            before, after = text[: found.start()], text[found.end() :]
            if any(opens in before for opens, closes in THOUGHTS.items() if closes == found[0]):
                return
            if is_special(found[0]) or not (after and _is_quoted(before[-1:], after[:1])):
                self._until = CLOSES_THOUGHTS
                return

    def fault(self) -> str:
        """Return why nothing of a reply that has ended is spoken; "" if there was nothing in it."""
        if self.has_text:
            return ""
        if self.call:
            return f"wrote a tool call as text ({self.call}), {PARSER}"
        if self._until and self._begins_in_thoughts and not self._control:
            return "did not end its thoughts; raise max_tokens, or leave begins_in_thoughts out if it did not think"
        if self._until:
            return "did not end its thoughts; raise max_tokens, or let the model think less"
        control = self._header or self._control
        if control and control not in THOUGHTS:
            return f"sent control text alone ({control}); check the server's chat template and stop tokens"
        return ""

    def hint(self) -> str:
        """Return what went wrong with a reply of which something is spoken; "" if nothing is known."""
        if self.ends_unopened:
            return "ended its thoughts in the middle of the text that was spoken; set begins_in_thoughts=True"
        return f"wrote a tool call as text ({self.call}), {PARSER}" if self.call else ""

    # --- reading ------------------------------------------------------------------------------------------------------

    def _read(self, *, is_end: bool) -> str:
        pieces: list[str] = []
        while self._held and (piece := self._next(is_end)) is not None:
            pieces.append(self._given(piece))
        if is_end:
            self._held = self._blank = ""
        return "".join(pieces)

    def _next(self, is_end: bool) -> str | None:
        """Return the next piece of text, "" for what is not spoken, or None as long as that is not known."""
        if self._is_over:
            self._held = ""
            return None
        if self._until:
            return self._skipped()
        if self._header:
            return self._after_header()
        return self._text(is_end)

    def _skipped(self) -> str | None:
        found = any_of(self._until).search(self._held)
        if found is None:
            kept = tail(self._held, self._until)
            self._held = self._held[len(self._held) - kept :]
            return None
        self._held = self._held[found.start() if found[0] in HARMONY else found.end() :]
        self._until = ()
        if found[0] == BARE_CALL:
            self.call, self._until = self.call or found[0], BARE_ENDS
        self._hid()
        return ""

    def _after_header(self) -> str | None:
        """Read whose message it is, and which channel of thoughts, calls or words it comes on."""
        head, closes, rest = self._held.partition(HEADERS[self._header])
        if not closes:
            return None
        opened, self._header, self._held = self._header, "", rest
        role, _, channel = head.partition("<|channel|>") if opened == "<|start|>" else ("", "", head)
        if opened not in HARMONY:
            role, channel = head, ""
        if " to=" in head or head.startswith("to="):
            self.call = self.call or opened
            self._until = ENDS_HARMONY
        elif channel.strip().startswith("analysis"):
            self._until = ENDS_HARMONY
        elif role.strip().lower() not in OWN_ROLES:
            self._is_over = True
        return ""

    def _text(self, is_end: bool) -> str | None:
        held = self._held
        if not self.has_text and (blanks := len(held) - len(held.lstrip(BLANK))):
            return self._take(blanks)
        if not self.has_text and (found := BARE.match(held)):
            return self._bare(found[0])
        if mark := MARK.match(held):
            return self._mark(mark[0], is_end=is_end)
        if not self._keeps_json and written_calls.begins_with(held):
            return self._written_call(is_end=is_end)
        if count := self._plain(held, is_end):
            return self._take(count)
        return None

    def _plain(self, held: str, is_end: bool) -> int:
        """Return how many characters come before anything that is a mark or a call, or may become one."""
        mark = MARK.search(held)
        end = mark.start() if mark else len(held)
        if not self._keeps_json and (call := written_calls.begins(held, end)):
            return call.start()
        if mark or is_end:
            return end
        kept = tail(held, bare=not self.has_text)
        return end - (kept if self._keeps_json else max(kept, written_calls.begun_at(held)))

    def _take(self, count: int) -> str:
        text, self._held = self._held[:count], self._held[count:]
        return text

    def _given(self, text: str) -> str:
        self._remember(text)
        if self._strips:
            text = text.lstrip(self._strips)
            self._strips = "" if text else self._strips
        if self.has_text:
            return text
        text = self._blank = self._blank + text
        self.has_text = bool(text.strip())
        return text if self.has_text else ""

    def _remember(self, text: str) -> None:
        if bare := text.rstrip(" \t"):
            self._begins_line = bare[-1] == "\n"
        self._before = text[-1:] or self._before

    def _hid(self, mark: str = "", strips: str = BLANK) -> None:
        """Something was not spoken. Of the white space around it only that before it is given, between two words."""
        self._control = self._control or mark
        self._blank = ""
        self._strips = strips if not self.has_text or self._before.isspace() else ""

    # --- marks --------------------------------------------------------------------------------------------------------

    def _bare(self, word: str) -> str:
        self._hid(word)
        self._held = self._held[len(word) :]
        if word == "analysis":
            self._until = BARE_ENDS
        else:
            self.call, self._is_over = word, True
        return ""

    def _written_call(self, *, is_end: bool) -> str | None:
        known = written_calls.resolved(self._held, is_end=is_end)
        if known is None:
            return None
        count, is_call = known
        if not is_call:
            return self._take(count)
        self.call = self.call or "JSON"
        self._until = ("```",) if written_calls.is_fenced(self._held) else ()
        self._hid("JSON", f"{BLANK};,")
        self._held = self._held[count:]
        return ""

    def _mark(self, mark: str, *, is_end: bool) -> str | None:
        """Read a mark with which the held text begins. Whether a tag is quoted is known with the character after it."""
        after = self._held[len(mark) :]
        if not is_special(mark) and not self._begins_line:
            if mark in THOUGHTS:
                return self._take(len(mark))
            if not (follows := after.strip(" ")) and not is_end:
                return None
            is_call = mark in CALLS and follows[:1] in ("{", "[", "<")
            if follows and not is_call and _is_quoted(self._before, after[:1]):
                return self._take(len(mark))
        self._held = after
        self._hid("" if mark in HARMONY else mark)
        if mark in THOUGHTS:
            self._until = (THOUGHTS[mark],)
        elif mark in CALLS:
            self.call = self.call or mark
            self._until = (CALLS[mark],)
        elif mark in HEADERS:
            self._header = mark
        elif mark in FOREIGN:
            self._is_over = True
        elif mark in CLOSES_THOUGHTS:
            self.ends_unopened = self.has_text
        elif mark in CLOSES_CALLS and mark != "</s>":
            self.call = self.call or mark
        return ""


def _is_quoted(before: str, after: str) -> bool:
    """Return whether a tag stands between these two characters as a word of a sentence would."""
    return before in f" {QUOTES}" and after in f" {QUOTES_END}"
