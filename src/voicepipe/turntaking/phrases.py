"""What a caller's short words mean for turn-taking: back-channels, stop words, digits, and phrases that go on.

Rule 1: pure: text goes in, a verdict comes out. The words of a language are data, in `languages/`, read when the
        language is used for the first time, with all that reading needs.
Rule 2: only words count, not case or punctuation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable

    from voicepipe.flow import Transcript

__all__ = ["Numbers", "Phrases", "is_sentence", "is_written", "joined", "known_languages", "normal", "phrases_for"]

MOST_WORDS: Final = 6
"""A back-channel of more words is none: "yeah yeah okay right sure yeah yeah" wants the floor."""

_WORD: Final = re.compile(r"\w+")
_APOSTROPHES: Final = re.compile("['\u2018\u2019]")
_ENDS: Final = re.compile(r"(?<![.\u2026])[.!?\u061f\u0964\u3002\uff01\uff1f][\"'\u2019\u201d)\]]*\s*$")
"""A sentence's end, but not dots that trail off."""

_INNER: Final = re.compile(r"[,;:.!?](?=\s|$)")
"""Punctuation after a word, not within a number."""


def normal(text: str) -> str:
    """Return only the words: case and punctuation change between an early and a final transcript.

    >>> normal("Don't: order 42!")
    'dont order 42'
    """
    return " ".join(_WORD.findall(_APOSTROPHES.sub("", text).casefold()))


@dataclass(frozen=True, slots=True)
class Numbers:
    """How one language says numbers.

    Attributes:
        kinds: What each phrase is: "zero", "unit", "teen" (two digits, complete), "ten" (two digits, of which a unit
            may fill the second), "hundred", "thousand", "double" or "triple".
        units: The words for one digit.
        tens: The words for twenty, thirty and so on, for languages that write numbers in one word.
        links: What stands between unit and ten: "and".
    """

    kinds: Mapping[tuple[str, ...], str] = field(default_factory=dict[tuple[str, ...], str])
    units: frozenset[str] = frozenset()
    tens: frozenset[str] = frozenset()
    links: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Phrases:
    """One language's words; a phrase is a tuple of words.

    Attributes:
        backchannels: Phrases by which somebody shows that they listen: "mhm", "got it".
        stops: Phrases that claim the floor: "stop", "hold on".
        openers: Words after which a sentence goes on: "and", "my", "um".
        digits: Words for digits and small numbers: "oh", "double", "seven".
        numbers: How many digits they stand for.
        at: Phrases for the sign @ in an address.
        dot: Words for the point in an address.
        months: The names of the months.
    """

    backchannels: frozenset[tuple[str, ...]] = frozenset()
    stops: frozenset[tuple[str, ...]] = frozenset()
    openers: frozenset[tuple[str, ...]] = frozenset()
    digits: frozenset[str] = frozenset()
    numbers: Numbers = field(default_factory=Numbers)
    at: frozenset[tuple[str, ...]] = frozenset()
    dot: frozenset[str] = frozenset()
    months: frozenset[str] = frozenset()

    def is_backchannel(self, text: str) -> bool:
        """Return whether a text consists of back-channels alone."""
        words = normal(text).split()
        if not 0 < len(words) <= MOST_WORDS:
            return False
        covered = {0}
        for at in range(len(words)):
            if at in covered:
                covered |= {at + len(one) for one in self.backchannels if tuple(words[at : at + len(one)]) == one}
        return len(words) in covered

    def stops_in(self, text: str) -> int:
        """Return how often a text claims the floor."""
        words = normal(text).split()
        return sum(tuple(words[at : at + len(one)]) == one for at in range(len(words)) for one in self.stops)

    def opens(self, text: str) -> bool:
        """Return whether a text breaks off at a word after which a sentence goes on."""
        words = tuple(normal(text).split())
        return any(words[-length:] in self.openers for length in (1, 2))

    def is_filler(self, text: str) -> bool:
        """Return whether a text consists of words that only lead on: "um, so"."""
        return all((word,) in self.openers for word in normal(text).split())

    def digits_at_end(self, text: str) -> int:
        """Return how many numbers, in digits or words, a text ends with.

        >>> phrases_for("en").digits_at_end("The code is seven eight 91")
        3
        """
        count = 0
        for word in reversed(normal(text).split()):
            if not (word.isdigit() or word in self.digits):
                break
            count += 1
        return count


def is_sentence(text: str) -> bool:
    """Return whether a text is written as a whole sentence."""
    return _ENDS.search(text) is not None


def is_written(text: str) -> bool:
    """Return whether a text is written as sentences are, so that one without an end is known not to have ended.

    Some recognisers write neither capitals nor punctuation.

    >>> [is_written(text) for text in ("Please take", "please, take", "please take", "I take")]
    [True, True, False, False]
    """
    first = text.lstrip().partition(" ")[0]
    return (len(first) > 1 and first[0].isupper()) or _INNER.search(text) is not None


def joined(before: Transcript | None, after: Transcript | None) -> Transcript:
    """Return what the caller said in two parts as one message; one of them may be None."""
    if before is None or after is None:
        return before or after  # type: ignore[return-value]  # one of them is there
    text = f"{before.text.rstrip()} {after.text.lstrip()}"
    return replace(after, text=text, words=(*before.words, *after.words))


def phrases_for(language: str | None) -> Phrases:
    """Return the words of a language ("de", "pt-BR"); None is English, and "" and unknown codes have none."""
    code = "en" if language is None else language.replace("_", "-").partition("-")[0].lower()
    return _phrases(code) if code in known_languages() else Phrases()


@cache
def known_languages() -> frozenset[str]:
    """Return the codes of the languages whose words are known."""
    return frozenset(file.name.removesuffix(".toml") for file in _folder().iterdir() if file.name.endswith(".toml"))


@cache
def _folder() -> Traversable:
    from importlib.resources import files  # noqa: PLC0415 - Rule 1

    return files("voicepipe.turntaking") / "languages"


@cache
def _phrases(code: str) -> Phrases:
    import tomllib  # noqa: PLC0415 - Rule 1

    lists: dict[str, list[str]] = tomllib.loads((_folder() / f"{code}.toml").read_text(encoding="utf-8"))

    def phrases(name: str) -> frozenset[tuple[str, ...]]:
        return frozenset(tuple(normal(phrase).split()) for phrase in lists[name])

    def words(name: str) -> frozenset[str]:
        return frozenset(normal(word) for word in lists[name])

    return Phrases(
        backchannels=phrases("backchannels"),
        stops=phrases("stop_words"),
        openers=phrases("openers"),
        digits=words("digits"),
        numbers=_numbers(lists),
        at=phrases("at"),
        dot=words("dot"),
        months=words("months"),
    )


def _numbers(lists: Mapping[str, list[str]]) -> Numbers:
    kinds: dict[tuple[str, ...], str] = {(normal(word),): "unit" for word in lists["digits"]}
    for name in ("zeros", "teens", "tens", "hundreds", "thousands", "doubles", "triples"):
        kinds |= {tuple(normal(phrase).split()): name.removesuffix("s") for phrase in lists[name]}
    return Numbers(
        kinds,
        units=frozenset(words[0] for words, kind in kinds.items() if kind == "unit"),
        tens=frozenset(words[0] for words, kind in kinds.items() if kind == "ten" and len(words) == 1),
        links=frozenset(normal(word) for word in lists["links"]),
    )
