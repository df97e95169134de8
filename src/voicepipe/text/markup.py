"""What can be said of a reply's text: a voice is given words, never markup.

Rule 1: pure and linear: the longest sentence with the worst marks takes milliseconds.
Rule 2: words and numbers stay, and text without markup comes back as it is, white space included.
Rule 3: nothing that is left is markup: cleaning clean text changes nothing.

This is no Markdown parser, on purpose: it gets one sentence at a time, so a mark may lack its other half, "1. milk" is
the whole list, and the first character is seldom the first of a line.
"""

from __future__ import annotations

import html
import re
import unicodedata
from itertools import pairwise
from string import ascii_letters
from typing import Final

from voicepipe.text.formulas import without_formulas

__all__ = ["printable", "spoken"]

PASSES: Final = 4
"""How often a text is cleaned, because taking one mark out may complete another. Real replies need one."""


def spoken(text: str) -> str:
    """Return a sentence as it is to be pronounced: without markup, emoji, control and format characters.

    Tags of HTML and SSML go, and so does the "<" of one that does not end; entities are decoded first, so that none
    becomes a tag later. Of Markdown the marks go, paired or not, and the words stay: of a link its text, of code the
    code. A formula in LaTeX becomes plain signs. Numbers of lists stay. Emoji go, because some voices read their names
    out ("smiling face") and others stumble.

    >>> spoken(" **Take** the `A4` to [Oslo](https://example.com/oslo)! 3 * 4 is 12.")
    ' Take the A4 to Oslo! 3 * 4 is 12.'
    """
    for _ in range(PASSES):
        cleaned = _cleaned(text)
        if cleaned == text:
            return text
        text = cleaned
    # Still not stable: nobody writes so but to get something past this function. Whatever might be a mark goes.
    return text if _cleaned(text) == text else _UNPLAIN.sub(" ", text)


def printable(text: str) -> str:
    """Return a text without control and format characters, halves of surrogate pairs and private characters.

    A control character may have stood for a space, so it becomes one; a format character has no width. Newlines and
    tabs stay, and so do the joiners without which some scripts are spelt wrongly.
    """
    if text.isprintable():
        return text
    neighbours = zip(" " + text, text, text[1:] + " ", strict=False)
    return "".join(_printed(before, character, after) for before, character, after in neighbours)


def _printed(before: str, character: str, after: str) -> str:
    category = unicodedata.category(character)
    if category[0] != "C" or character in "\t\n":
        return character
    if character in "\u200c\u200d" and all(_is_joinable(one) for one in (before, after)):
        return character
    return " " if category == "Cc" else ""


def _is_joinable(character: str) -> bool:
    """Return whether a joiner beside this is spelling: from Arabic to Sinhala it is."""
    return "\u0600" <= character <= "\u0dff" and character.isprintable()


def _cleaned(text: str) -> str:
    text = printable(text)
    if not _MARK.search(text):
        return text
    text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    text = without_formulas(text)
    text = _EMOJI.sub(_space, _LAST_EMOJI.sub("", text))
    text = _without_tags(_AUTOLINK.sub(r"\1", text))
    text = _LINK.sub(r"\1\2", _ESCAPE.sub("", text))
    text = _FENCE.sub("", text)
    text = _RULE.sub("", text)
    text = _ROW.sub(_cells, text)
    text = _LINE_MARKS.sub(r"\1", text)
    text = _TICKS.sub(_ticks, text)
    text = _STARS.sub(_stars, _KEYED.sub(_keyed, text)).replace(_KEY_STAR, "*")
    return _UNDERSCORES.sub("", text)


def _gap(match: re.Match[str]) -> str:
    """Return what stands in place of something taken out: a space where two words would grow together."""
    start, end = match.span()
    before, after = match.string[start - 1 : start], match.string[end : end + 1]
    # From here on scripts do without spaces, or hang endings on a word that was marked.
    return " " if before.isalnum() and after.isalnum() and max(before, after) < "\u2e80" else ""


def _space(match: re.Match[str]) -> str:
    """Return the space that stands in place of an emoji with something on both sides."""
    before = match.string[match.start() - 1 : match.start()]
    return " " if before and not before.isspace() else ""


def _without_tags(text: str) -> str:
    """Take tags out, inner ones first, so that what is left of nested ones is no tag either."""
    if "<" not in text:
        return text
    out: list[str] = []
    begins: list[int] = []  # where in `out` a tag may have begun
    pieces = [*filter(None, _ANGLES.split(text)), ""]
    for piece, following in pairwise(pieces):
        if piece == ">" and begins and _begins_tag(out[begins[-1] + 1 : begins[-1] + 2]):
            if begins[-1] == len(out) - 2 and _is_compared("".join(out[-3:-2]), out[-1], following):
                out[begins.pop()] = " < "  # so that it is never a tag
                out.append(piece)
                continue
            del out[begins.pop() :]
            if out[-1:] != ["<"]:  # what follows may make a tag of that
                out.append(_TAKEN)
            continue
        if piece == "<":
            begins.append(len(out))
        out.append(piece)
    return _LONE_TAG.sub(" ", _TAKEN_OUT.sub(_gap, "".join(out)))


def _is_compared(before: str, between: str, after: str) -> bool:
    """Return whether angles are signs of arithmetic: "x<y and y>z" has what no tag with words around it has."""
    return before[-1:].isalnum() and after[:1].isalnum() and " " in between and not set("=\"'/") & set(between)


def _begins_tag(following: list[str]) -> bool:
    return bool(following) and following[0][0] in _TAG_BEGINS


def _cells(match: re.Match[str]) -> str:
    """Return a row of a table as a list."""
    line = match[0]
    indent = line[: len(line) - len(line.lstrip())]
    return indent + ", ".join(filter(None, (cell.strip() for cell in line.split("|"))))


def _ticks(match: re.Match[str]) -> str:
    """Return what is left of marks for code or for what is struck out; of two numbers never becomes one."""
    start, end = match.span()
    is_in_number = match.string[start - 1 : start].isdigit() and match.string[end : end + 1].isdigit()
    return _gap(match) if is_in_number or end - start > 1 else ""


def _keyed(match: re.Match[str]) -> str:
    """Return keys of a telephone with their stars marked as such: "*21*0170#", "*31*#", "1234*"."""
    keys = match[0]
    is_last = _LAST_STAR.fullmatch(keys) and match.string.find("*", 0, match.start()) < 0  # else it ends "*see 12*"
    return keys.replace("*", _KEY_STAR) if is_last or _CODE.fullmatch(keys) else keys


def _stars(match: re.Match[str]) -> str:
    """Return what is left of a run of asterisks: one that stands for itself stays."""
    start, end = match.span()
    text = match.string
    before, after = text[start - 1 : start], text[end : end + 1]
    if end - start > 1:
        return _gap(match)
    is_between = before.isalnum() and after.isalnum() and (before + after).isascii()
    is_alone = (not before or before in _LEFT) and (not after or after in _RIGHT)
    if is_between or is_alone:
        return "*"  # "3*4", "3 * 4", "press *."
    if after in _KEYS and (not before or before.isspace()):
        closing = text.find("*", end)
        if closing < 0 or text[closing - 1].isspace():
            return "*"  # "dial *67"
    return ""


# What any step below reacts to; text without one of these, nearly all of it, is done with at once.
_MARK: Final = re.compile(
    r"[<>&*_`~#\[\]|\\=^\u20e3\u231a-\u2b55\U0001f000-\U0001faff]|\$\$|^[ \t]*[-+:\u2022]", re.MULTILINE
)
_ENTITY: Final = re.compile(r"&(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|[A-Za-z][A-Za-z\d]{1,31});")
# Pictures, flags and what emoji grew out of; digits in circles, stars and musical signs can be said, and stay.
_PICTURE: Final = (
    "\U0001f000-\U0001f0ff\U0001f1e6-\U0001f1ff\U0001f300-\U0001faff"
    "\u231a\u231b\u23e9-\u23f3\u2600-\u2604\u2607-\u266c\u2670-\u2775\u2794-\u27bf\u2b50\u2b55"
)
_EMOJI: Final = re.compile(rf"[{_PICTURE}][{_PICTURE}\ufe0e\ufe0f\u20e3]*+|[\ufe0e\ufe0f\u20e3]++")
# With the space before it where there is another after it, or nothing that it would keep apart.
_LAST_EMOJI: Final = re.compile(rf" ?(?:{_EMOJI.pattern})(?=[*_~`]*+(?:[\s.,;:!?)]|$))")
_AUTOLINK: Final = re.compile(r"<((?:https?://|mailto:)[^<>\s]*+|[\w.+-]++@[\w-]++(?:\.[\w-]++)++)>")
_ANGLES: Final = re.compile(r"([<>])")
_TAG_BEGINS: Final = frozenset(ascii_letters + "/!?")
_LONE_TAG: Final = re.compile(r"<(?=[A-Za-z/!?])")
_TAKEN: Final = "\x00"  # where a tag was; `printable` has left no other
_TAKEN_OUT: Final = re.compile(r"\x00+")
_ESCAPE: Final = re.compile(r"(?<!\\)\\++(?=[*_`~#>\[\]()|$!+.-])")
_LINK: Final = re.compile(
    r"!?\[([^\[\]\n]*+)\]\((?:[^()\n]|\([^()\n]*+\))*+\)"  # [text](address), ![text](address)
    r"|(?<!\w)\[([^\[\]\n]++)\]\[[^\[\]\n]*+\]"  # [text][label], but not "row[1][2]"
)
_FENCE: Final = re.compile(r"^[ \t]*+(?:`{3,}+|~{3,}+)[\w+#.-]*+[ \t]*+$", re.MULTILINE)
_RULE: Final = re.compile(r"^[ \t]*+[-*_=|:+][-*_=|:+ \t]*+$", re.MULTILINE)
_ROW: Final = re.compile(r"^[ \t]*+\|.*+$|^.*\|[ \t]*$", re.MULTILINE)
_LINE_MARKS: Final = re.compile(
    r"^([ \t]*+)(?:(?:>++|\#{1,6}+|[-*+\u2022](?:[ \t]++\[[ xX]\])?)(?:[ \t]++|$))++", re.MULTILINE
)
_TICKS: Final = re.compile(r"`+|~{2,}")
_STARS: Final = re.compile(r"\*+")
_KEYED: Final = re.compile(r"(?<![\w*#])[0-9*#]++(?![\w*#])")
_CODE: Final = re.compile(r"\*{0,2}+#?+[0-9]*+(?:\*[0-9]*+)*+#|\*?[0-9]++(?:\*[0-9]++)++")
_LAST_STAR: Final = re.compile(r"[0-9]++\*")
_KEY_STAR: Final = "\x01"  # a star that stays, for as long as others are taken out; `printable` has left no other
# At the edge of a word, and not inside of an address: "_so_", "__so__", but "snake_case" and "example.com/_so_".
_UNDERSCORES: Final = re.compile(
    r"(?<![^\s(\[{\"'\u201c\u2018\u2014-])_+(?=[^\s_])|(?<=[^\s_])_+(?![^\s)\]}\"'\u201d\u2019\u2014.,;:!?-])"
)
_UNPLAIN: Final = re.compile(r"[^\w\s.,;!?'\"()%$]|_")

_LEFT: Final = " \t\n\"'\u201c\u2018(["
_RIGHT: Final = " \t\n.,;:!?\"'\u201d\u2019)]"
_KEYS: Final = frozenset("0123456789#")
