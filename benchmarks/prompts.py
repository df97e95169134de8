"""Telephone prompts that a person recorded, with their known text: when which words are said, and pauses between them.

Recordings and text come from two packages of Debian, asterisk-core-sounds-en-wav and asterisk-core-sounds-en; nothing
of them is part of this repository.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scenes import ASTERISK, AUDIBLE_DB, RATE, SPEECH_DB, levelled
from voicepipe.audio.wav import read_wav

__all__ = ["Prompt", "Stretch", "known_texts", "missing", "prompts", "stretches", "with_pause"]

TEXTS = Path("/usr/share/doc/asterisk-core-sounds-en")

LEAST_WORDS = 4
"""Prompts of fewer words are pieces that are put together to sentences, and have nothing to be cut in two."""

BLOCK = 160
"""Samples, 10 ms: how finely a pause is looked for."""

NO_WORDS = re.compile(r"[\[\]<>()]|silence")
"""Marks what is described and not spoken: "[ascending tones]"."""

MARK_S = {".": 0.6, "?": 0.6, "!": 0.6, ":": 0.4, ";": 0.4, ",": 0.3}
"""How far from its place by the count of letters a pause is looked for at a punctuation mark, in seconds of speech."""


@dataclass(frozen=True)
class Prompt:
    """What somebody says, and the recording of it.

    Attributes:
        samples: At `RATE`, from -1 to 1, from the first to the last sound.
        is_held_back: Whether it belongs to the half that no rule was tuned on.
    """

    name: str
    text: str
    samples: Any
    is_held_back: bool

    @property
    def is_finished(self) -> bool:
        """Whether its end is written as the end of a sentence."""
        return self.text.endswith((".", "?", "!")) and not self.text.endswith("..")


@dataclass(frozen=True)
class Stretch:
    """Speech between two pauses.

    Attributes:
        words: Those that are said in it.
    """

    starts_s: float
    ends_s: float
    words: tuple[str, ...]


def missing() -> list[str]:
    """Return the packages of Debian without which there are no prompts."""
    packages = (("asterisk-core-sounds-en-wav", ASTERISK), ("asterisk-core-sounds-en", TEXTS))
    return [package for package, folder in packages if not folder.is_dir()]


def known_texts() -> list[tuple[str, str]]:
    """Return the names of all prompts with their texts, by name."""
    packed = TEXTS / "core-sounds-en.txt.gz"
    known = gzip.decompress(packed.read_bytes()).decode() if packed.is_file() else packed.with_suffix("").read_text()
    lines = (line.partition(":") for line in sorted(known.splitlines()))
    return [(name, " ".join(text.split())) for name, colon, text in lines if colon]


@cache
def prompts() -> tuple[Prompt, ...]:
    """Return the prompts of four words or more, by name."""
    found = []
    for name, written in known_texts():
        text = written.lstrip(". ")
        path = ASTERISK / f"{name}.wav"
        if path.is_file() and len(text.split()) >= LEAST_WORDS and not NO_WORDS.search(text):
            is_held_back = hashlib.sha256(name.encode()).digest()[0] % 2 == 1
            found.append(Prompt(name, text, levelled(*read_wav(path)), is_held_back))
    return tuple(found)


def with_pause(samples: Any, pause_s: float) -> Any:
    """Return a recording with a pause at the quietest place of its middle half: longer or shorter than it was."""
    blocks = samples[: len(samples) // BLOCK * BLOCK].reshape(-1, BLOCK)
    level = 10 * np.log10(np.convolve((blocks**2).mean(axis=1), np.ones(3) / 3, mode="same") + 1e-12)
    first, last = len(level) // 4, max(len(level) * 3 // 4, len(level) // 4 + 1)
    start = end = first + int(np.argmin(level[first:last]))
    while start > 0 and level[start - 1] < SPEECH_DB + AUDIBLE_DB:
        start -= 1
    while end + 1 < len(level) and level[end + 1] < SPEECH_DB + AUDIBLE_DB:
        end += 1
    middle = (start + end + 1) * BLOCK // 2
    left, right = min(start * BLOCK, middle), max((end + 1) * BLOCK, middle)
    return np.concatenate([samples[:left], np.zeros(int(pause_s * RATE)), samples[right:]])


def stretches(text: str, spans: list[tuple[float, float]]) -> list[Stretch]:
    """Return which words are said in which span of speech.

    The words are spread over the spans by their letters; a pause that falls near a punctuation mark is taken to be the
    pause at it, because that is where people pause when they read.
    """
    words = text.split()
    spoken_s = sum(end_s - start_s for start_s, end_s in spans)
    letters = np.cumsum([len(word) for word in words])
    ends_s = letters / letters[-1] * spoken_s  # of the words, pauses left out
    cuts, done_s = [0], 0.0
    for number, (start_s, end_s) in enumerate(spans[:-1]):
        done_s += end_s - start_s
        left = len(spans) - 1 - number  # each span that follows has a word
        candidates = range(cuts[-1] + 1, max(len(words) - left + 1, cuts[-1] + 2))
        costs = [abs(ends_s[end - 1] - done_s) - MARK_S.get(words[end - 1][-1], 0.0) for end in candidates]
        cuts.append(min(candidates[int(np.argmin(costs))], len(words)))
    cuts.append(len(words))
    return [
        Stretch(start_s, end_s, tuple(words[first:last]))
        for (start_s, end_s), first, last in zip(spans, cuts, cuts[1:], strict=False)
    ]
