"""The description and the parameters in a docstring.

Rule 1: three notations are read, even mixed: sections with a colon (Google), underlined sections (NumPy), and fields
        like `:param name:` (Sphinx).
Rule 2: nothing gets lost. Text that is not recognised as being about parameters, results or errors stays in the
        description, word for word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["Documentation", "read_docstring"]

_PARAMETERS = re.compile(r"(keyword |other )?(arg|argument|param|parameter)s", re.IGNORECASE)
_RESULTS = re.compile(r"(return|yield|receive|raise|except|exception)s?", re.IGNORECASE)
_PARAMETER_FIELD = re.compile(r"param|parameter|arg|argument|key|keyword|kwarg")
_OTHER_FIELD = re.compile(r"type|rtype|(return|yield|raise|except)s?|exception")

_HEADING = re.compile(r"([A-Z][A-Za-z ]*):\s*")
_ENTRY = re.compile(r"(\*{0,2}\w+)\s*(?:\(.*?\))?\s*:(?:\s+(.*)|)")
_TITLE = re.compile(r"[A-Za-z][A-Za-z ]*")
_UNDERLINE = re.compile(r"[-=]{3,}\s*")
_UNDERLINED_ENTRY = re.compile(r"(\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?")
_FIELD = re.compile(r":(\w+)(?:[ \t]+([^:]*))?:(?:\s+(.*)|)")


@dataclass(frozen=True, slots=True)
class Documentation:
    """The contents of a docstring.

    Attributes:
        description: The text without its sections on parameters, results and errors.
        parameters: Descriptions by name, without asterisks; empty for a name without a description.
    """

    description: str
    parameters: dict[str, str]


def read_docstring(text: str) -> Documentation:
    """Read a docstring without a margin, as `inspect.getdoc` returns it."""
    lines = text.splitlines()
    found = _Found()
    at = 0
    while at < len(lines):
        end = _colon_section(lines, at, found) or _underlined_section(lines, at, found) or _field(lines, at, found)
        if not end:
            found.prose.append(lines[at])
        at = end or at + 1
    prose = re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in found.prose))
    return Documentation(prose.strip(), {name: " ".join(words).strip() for name, words in found.entries.items()})


@dataclass(slots=True)
class _Found:
    prose: list[str] = field(default_factory=list[str])
    entries: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def add(self, names: str, words: str) -> list[str]:
        """Add the description of one or several names, and return the list to which its further lines belong."""
        said = [words.strip()]
        for name in names.split(","):
            self.entries[name.strip().lstrip("*")] = said
        return said


def _colon_section(lines: list[str], at: int, found: _Found) -> int:
    """Read `Args:` and the deeper lines below, and return where the section ends; 0 without a section."""
    heading = _HEADING.fullmatch(lines[at])
    if not heading or not _is_known(heading[1]):
        return 0
    end = at + 1
    while end < len(lines) and (not lines[end].strip() or lines[end][0].isspace()):
        end += 1
    body = lines[at + 1 : end]
    if not any(line.strip() for line in body):  # a sentence that ends with a colon
        return 0
    if _PARAMETERS.fullmatch(heading[1]):
        _colon_entries(body, found, heading=lines[at])
    return _removed(found, end)


def _is_known(title: str) -> bool:
    return bool(_PARAMETERS.fullmatch(title) or _RESULTS.fullmatch(title))


def _colon_entries(body: list[str], found: _Found, heading: str) -> None:
    """Read `name: words` and `name (type): words`; a line without a name continues an entry, or stays text."""
    margin = min(len(line) - len(line.lstrip()) for line in body if line.strip())
    current: list[str] | None = None
    for line in body:
        if entry := _ENTRY.fullmatch(line[margin:]):
            current = found.add(entry[1], entry[2] or "")
        elif current is not None:
            current.extend(line.split())
        elif line.strip():
            found.prose.extend([heading, line] if heading else [line])
            heading = ""


def _underlined_section(lines: list[str], at: int, found: _Found) -> int:
    """Read a title, its underline and the lines up to the next title, and return where they end; 0 without a title."""
    title = lines[at].strip()
    if not _is_title(lines, at) or not _is_known(title):
        return 0
    end = at + 2
    while end < len(lines) and not _is_title(lines, end):
        end += 1
    if _PARAMETERS.fullmatch(title):
        _underlined_entries(lines[at + 2 : end], found)
    return _removed(found, end)


def _is_title(lines: list[str], at: int) -> bool:
    return at + 1 < len(lines) and bool(_TITLE.fullmatch(lines[at].strip()) and _UNDERLINE.fullmatch(lines[at + 1]))


def _underlined_entries(body: list[str], found: _Found) -> None:
    """Read `name : type` with deeper lines below; a line at the margin without a name stays text."""
    current: list[str] = []
    for line in body:
        if not line.strip() or line[0].isspace():
            current.extend(line.split())
        elif entry := _UNDERLINED_ENTRY.fullmatch(line.strip()):
            current = found.add(entry[1], "")
        else:
            found.prose.append(line)


def _field(lines: list[str], at: int, found: _Found) -> int:
    """Read `:param type name: words`, which ends at the next field, or at text at the margin after a blank line."""
    entry = _FIELD.fullmatch(lines[at])
    if not entry or not (_PARAMETER_FIELD.fullmatch(entry[1]) or _OTHER_FIELD.fullmatch(entry[1])):
        return 0
    end = at + 1
    while end < len(lines) and not _FIELD.fullmatch(lines[end]):
        if lines[end].strip() and not lines[end][0].isspace() and not lines[end - 1].strip():
            break
        end += 1
    if _PARAMETER_FIELD.fullmatch(entry[1]) and entry[2]:
        said = found.add(entry[2].split()[-1], entry[3] or "")
        said.extend(" ".join(lines[at + 1 : end]).split())
    return _removed(found, end)


def _removed(found: _Found, end: int) -> int:
    """Keep the text before a removed section apart from the text after it."""
    found.prose.append("")
    return end
