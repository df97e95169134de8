"""What a caller's short words mean for turn-taking: back-channels, stop words, digits, and phrases that go on.

Rule 1: pure: text goes in, a verdict comes out. The words of a language are data, in `languages/`.
Rule 2: only words count, not case or punctuation.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from voicepipe.flow import Transcript

__all__ = ["Phrases", "is_sentence", "is_written", "joined", "known_languages", "normal", "phrases_for"]

MOST_WORDS: Final = 6
"""A back-channel of more words is none: "yeah yeah okay right sure yeah yeah" wants the floor."""

_WORD: Final = re.compile(r"\w+")
_APOSTROPHES: Final = re.compile("['\u2018\u2019]")
_ENDS: Final = re.compile(r"(?<![.\u2026])[.!?\u061f\u0964\u3002\uff01\uff1f][\"'\u2019\u201d)\]]*\s*$")
"""A sentence's end, but not dots that trail off."""

_INNER: Final = re.compile(r"[,;:.!?](?=\s|$)")
"""Punctuation after a word, not within a number."""

_FOLDER: Final = files("voicepipe.turntaking") / "languages"


def normal(text: str) -> str:
    """Return only the words: case and punctuation change between an early and a final transcript.

    >>> normal("Don't: order 42!")
    'dont order 42'
    """
    return " ".join(_WORD.findall(_APOSTROPHES.sub("", text).casefold()))


@dataclass(frozen=True, slots=True)
class Phrases:
    """One language's words; a phrase is a tuple of words.

    Attributes:
        backchannels: Phrases by which somebody shows that they listen: "mhm", "got it".
        stops: Phrases that claim the floor: "stop", "hold on".
        openers: Words after which a sentence goes on: "and", "my", "um".
        digits: Words for digits and small numbers: "oh", "double", "seven".
    """

    backchannels: frozenset[tuple[str, ...]] = frozenset()
    stops: frozenset[tuple[str, ...]] = frozenset()
    openers: frozenset[tuple[str, ...]] = frozenset()
    digits: frozenset[str] = frozenset()

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
    return frozenset(file.name.removesuffix(".toml") for file in _FOLDER.iterdir() if file.name.endswith(".toml"))


@cache
def _phrases(code: str) -> Phrases:
    lists: dict[str, list[str]] = tomllib.loads((_FOLDER / f"{code}.toml").read_text(encoding="utf-8"))

    def phrases(name: str) -> frozenset[tuple[str, ...]]:
        return frozenset(tuple(normal(phrase).split()) for phrase in lists[name])

    def words(name: str) -> frozenset[str]:
        return frozenset(normal(word) for word in lists[name])

    return Phrases(phrases("backchannels"), phrases("stop_words"), phrases("openers"), words("digits"))
