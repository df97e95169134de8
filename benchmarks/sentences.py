"""Sentences from a stream of tokens: how often they are cut wrongly, and how long they wait, beside the naive rule.

The replies of `replies.json` and `replies_unseen.json` are ours and were written before anything was measured with
them. `half` in the second says which rules may have been mended with a reply: "development", "held back" from them, or
"written afterwards". `--kit DIR` measures every `*.json` of a directory as well: lists of objects with `id`, `lang`,
`text`, `sentences`, and where more than one reading is right `optional` (offsets in the text where a cut is neither
right nor wrong) or `alternatives`.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from benchmarks._figures import Figure, percentile
from voicepipe.text.clauses import LONGEST
from voicepipe.text.sentences import SentenceSplitter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Compared", "Marks", "Reply", "gpt_tokens", "mark_tokens", "replies", "score", "sentences"]

OWN = Path(__file__).with_name("replies.json")
UNSEEN = Path(__file__).with_name("replies_unseen.json")
DELTA_MS = 20.0
TOKENS_PER_S = 60.0


class Bars(NamedTuple):
    """What a set has to reach with GPT-like tokens: at least, at most (per 1,000 sentences, in ms), at least."""

    f1: float
    wrong: float
    at_once: float | None = None
    wait_ms: float | None = None
    wait_p95_ms: float | None = None


VOICE = Bars(0.985, 5, 0.55, 12, 40)
FURTHER = Bars(0.985, 5)
BARS = {
    "replies": VOICE,
    "voice_dev": VOICE,
    "ewt_paragraphs": Bars(0.99, 5, 0.85),
    "pud": Bars(0.993, 6, 0.85),
    "unseen, development": FURTHER,
    "unseen, held back": FURTHER,
    "unseen, written afterwards": FURTHER,
}


async def sentences(kit: Path | None = None) -> list[Figure]:
    """Measure the splitter on our replies, on the sets of `kit`, and on texts without end."""
    own = replies(OWN)
    figures = [*_accuracy("replies", own), *_first_words("replies", own), *_cost(own)]
    unseen = replies(UNSEEN)
    for half in dict.fromkeys(reply.half for reply in unseen):
        figures += _accuracy(f"unseen, {half}", [reply for reply in unseen if reply.half == half])
    for path in sorted(kit.glob("*.json")) if kit else ():  # noqa: ASYNC240 - nothing else runs
        cases = replies(path)
        figures += _accuracy(path.stem, cases)
        figures += _first_words(path.stem, cases) if BARS.get(path.stem) is VOICE else []
    return figures


# --- replies, and how they arrive -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to cut a reply, in visible characters from its beginning, so that white space belongs to nobody."""

    ends: tuple[int, ...]
    optional: frozenset[int]


@dataclass(frozen=True, slots=True)
class Reply:
    """A text and the ways to cut it that are right."""

    name: str
    language: str
    category: str
    text: str
    readings: tuple[Reading, ...]
    half: str = ""


def replies(path: Path) -> list[Reply]:
    """Read a set."""
    return [_reply(case) for case in json.loads(path.read_text(encoding="utf-8"))]


def _reply(case: dict[str, Any]) -> Reply:
    text = case["text"]
    readings = tuple(
        Reading(
            tuple(accumulate(len(_visible(sentence)) for sentence in reading["sentences"])),
            frozenset(len(_visible(text[:offset])) for offset in reading.get("optional", ())),
        )
        for reading in (case, *case.get("alternatives", ()))
    )
    return Reply(case["id"], case["lang"], case["category"], text, readings, case.get("half", ""))


def _visible(text: str) -> str:
    return "".join(text.split())


# Letters with the vowel signs and accents that are written after them, which `\w` leaves out.
_LETTER = r"(?:[^\W\d_]|[\u0300-\u036f\u064b-\u065f\u0900-\u0903\u093a-\u0963])"
_GPT = re.compile(rf"[^\w\r\n]?{_LETTER}+|\d{{1,3}}| ?(?:(?!{_LETTER})[^\s\d])+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s")
_MARK = re.compile(rf" ?{_LETTER}+| ?\d{{1,3}}|(?P<mark>[^\w\s]|_)(?P=mark)*|\s")
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]")


def gpt_tokens(text: str) -> list[str]:
    """Cut as byte-pair tokenisers do: one space or mark leads a word, digits come by three, marks stay together."""
    return [piece for token in _GPT.findall(text) for piece in _pieces(token)]


def mark_tokens(text: str) -> list[str]:
    """Cut so that no mark comes with a word or another mark: "example", ".", "com"; "..." stays together."""
    return [piece for token in _MARK.finditer(text) for piece in _pieces(token[0])]


def _pieces(token: str) -> list[str]:
    """Cut a long token: rare words come in pieces, scripts without spaces by one or two characters."""
    rare = 5 if len(token) > 9 else 9
    size = 1 + len(token) % 2 if _UNSPACED.search(token) else rare
    return [token[start : start + size] for start in range(0, len(token), size)]


# --- scoring ----------------------------------------------------------------------------------------------------------


class Chunker(Protocol):
    """What is measured."""

    def feed(self, delta: str) -> list[str]: ...
    def flush(self) -> list[str]: ...


class Marks:
    """The naive rule: a chunk ends at every mark that may end a sentence."""

    def __init__(self) -> None:
        self._pending = ""

    def feed(self, delta: str) -> list[str]:
        self._pending += delta
        end = max(self._pending.rfind(mark) for mark in ".!?।؟。！？") + 1  # noqa: RUF001 - marks of many scripts
        chunk, self._pending = self._pending[:end], self._pending[end:]
        return [chunk] if chunk else []

    def flush(self) -> list[str]:
        chunk, self._pending = self._pending, ""
        return [chunk] if chunk else []


@dataclass(frozen=True, slots=True)
class Score:
    """How one reply was cut.

    Attributes:
        right: Boundaries within the reply that were found.
        wrong: Cuts that are none.
        missed: Boundaries that were not found.
        heard: Wrong cuts that do more than hand a quote or bracket to the neighbour.
        sentences: How many there are.
        waits: For each sentence but the last, deltas from the one that completes it to the one it went out with.
        last_waits: Whether the last sentence went out with the flush only.
        altered: Whether the chunks do not add up to the text.
    """

    right: int
    wrong: int
    missed: int
    heard: int
    sentences: int
    waits: tuple[int, ...]
    last_waits: bool
    altered: bool


def chunks_of(chunker: Chunker, deltas: Sequence[str]) -> list[tuple[int, str]]:
    """Return each chunk with the index of the delta it went out with; the flush comes after the last."""
    out = [(index, chunk) for index, delta in enumerate(deltas) for chunk in chunker.feed(delta)]
    return [*out, *((len(deltas), chunk) for chunk in chunker.flush())]


def score(reply: Reply, deltas: Sequence[str], chunks: Sequence[tuple[int, str]]) -> Score:
    """Compare chunks with the reading of the reply they are nearest to."""
    text = _visible(reply.text)
    sizes = [len(_visible(chunk)) for _, chunk in chunks]
    cuts = list(accumulate(sizes))
    inner = {cut for cut, size in zip(cuts, sizes, strict=True) if size and cut < len(text)}
    spoken = [0, *accumulate(character.isalnum() for character in text)]  # letters and digits up to a place

    def compared(reading: Reading) -> tuple[int, int, int, int]:
        expected = set(reading.ends[:-1])
        chosen = inner - (reading.optional - expected)
        sound = {spoken[end] for end in expected | reading.optional} | {0, spoken[-1]}
        heard = {spoken[cut] for cut in inner} - sound
        return len(chosen - expected), len(expected - chosen), len(expected & chosen), len(heard)

    best = min(reply.readings, key=lambda reading: (sum(compared(reading)[:2]), compared(reading)[0]))
    wrong, missed, right, heard = compared(best)
    arrived = list(accumulate(len(_visible(delta)) for delta in deltas))
    waits = []
    for end in best.ends:
        complete = next(index for index, count in enumerate(arrived) if count >= end)
        out = next((index for cut, (index, _) in zip(cuts, chunks, strict=True) if cut >= end), len(deltas))
        waits.append((out - complete, out))
    return Score(
        right,
        wrong,
        missed,
        heard,
        len(best.ends),
        tuple(wait for wait, _ in waits[:-1]),
        last_waits=waits[-1][1] == len(deltas),
        altered="".join(chunk for _, chunk in chunks) != reply.text,
    )


# --- figures ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Compared(Figure):
    """A figure of ours, beside that of the naive rule.

    Attributes:
        naive: The figure of the naive rule; None if it says nothing.
    """

    naive: float | None = None

    def cells(self) -> tuple[str, str, str, str]:
        """Return the line as text."""
        value = f"{_digits(self.value)} {self.unit}".strip()
        if self.naive is not None:
            value += f" (naive rule: {_digits(self.naive)})"
        if self.at_least is not None:
            return self.name, value, f"≥ {_digits(self.at_least)}", "yes" if self.value >= self.at_least else "**no**"
        if self.bar is not None:
            return self.name, value, f"≤ {_digits(self.bar)}", "yes" if self.value <= self.bar else "**no**"
        return self.name, value, "-", "-"


def _digits(number: float) -> str:
    return f"{number:.3f}".rstrip("0").rstrip(".") if abs(number) < 1 else f"{number:.1f}".removesuffix(".0")


def _totals(scores: Sequence[Score]) -> dict[str, float]:
    """Return the figures of a set by name."""
    right, wrong, missed, heard, count = (
        sum(getattr(result, name) for result in scores) for name in ("right", "wrong", "missed", "heard", "sentences")
    )
    waits = [wait for result in scores for wait in result.waits]
    return {
        "F1 of the boundaries": 2 * right / (2 * right + wrong + missed),
        "cut exactly, share": fmean(not (result.wrong or result.missed) for result in scores),
        "wrong cuts in 1,000 sentences": 1000 * wrong / count,
        "wrong cuts that are heard": 1000 * heard / count,
        "out at once, share": fmean(wait == 0 for wait in waits),
        "last sentence out before the end, share": fmean(not result.last_waits for result in scores),
        "wait, mean": DELTA_MS * fmean(waits),
        "wait, p95": DELTA_MS * percentile(waits, 95),
        "texts altered": sum(result.altered for result in scores),
    }


def _measured(
    cases: Sequence[Reply], cut: Callable[[str], list[str]], make: Callable[[Reply], Chunker]
) -> dict[str, float]:
    scores = []
    for case in cases:
        deltas = cut(case.text)
        scores.append(score(case, deltas, chunks_of(make(case), deltas)))
    return _totals(scores)


def _accuracy(name: str, cases: Sequence[Reply]) -> list[Figure]:
    """Compare with the naive rule on GPT-like tokens, then see what other tokens and a language code change."""
    bars = BARS.get(name)
    wanted = {
        "F1 of the boundaries": bars and bars.f1,
        "wrong cuts that are heard" if name == "ewt_paragraphs" else "wrong cuts in 1,000 sentences": bars
        and bars.wrong,
        "out at once, share": bars and bars.at_once,
        "last sentence out before the end, share": 0.85 if bars is VOICE else None,
        "wait, mean": bars and bars.wait_ms,
        "wait, p95": bars and bars.wait_p95_ms,
        "texts altered": 0,
    }
    ours = _measured(cases, gpt_tokens, lambda _: SentenceSplitter())
    naive = _measured(cases, gpt_tokens, lambda _: Marks())
    figures: list[Figure] = []
    for measure, value in ours.items():
        figures.append(_compared(f"{name}: {measure}", measure, value, wanted.get(measure), naive[measure]))
    marks = _measured(cases, mark_tokens, lambda _: SentenceSplitter())
    coded = _measured(cases, gpt_tokens, lambda case: SentenceSplitter(case.language))
    for label, found in (("a token for each mark", marks), ("language given", coded)):
        for measure in ("F1 of the boundaries", "wrong cuts in 1,000 sentences"):
            bar = wanted[measure] if bars in (VOICE, FURTHER) else None
            figures.append(_compared(f"{name}, {label}: {measure}", measure, found[measure], bar))
    return figures


def _compared(name: str, measure: str, value: float, bar: float | None, naive: float | None = None) -> Figure:
    """Return a figure whose bar is the least or the most, as its measure has it."""
    unit = "ms" if measure.startswith("wait") else ""
    if "share" in measure or measure.startswith("F1"):
        return Compared(name, value, unit, at_least=bar, naive=naive)
    return Compared(name, value, unit, bar, naive=naive)


def _first_words(name: str, cases: Sequence[Reply]) -> list[Figure]:
    """From the first token to the first text at TTS, in English; a flush comes one token after the last."""
    english = [case for case in cases if case.language == "en"]
    delivered = [gpt_tokens(case.text) for case in english]

    def mean_ms(make: Callable[[], Chunker]) -> float:
        return fmean(chunks_of(make(), deltas)[0][0] for deltas in delivered) * 1000 / TOKENS_PER_S

    whole = [
        next(
            i
            for i, count in enumerate(accumulate(len(_visible(d)) for d in deltas))
            if count >= case.readings[0].ends[0]
        )
        for case, deltas in zip(english, delivered, strict=True)
    ]
    name, naive = f"{name}: first text at TTS, 60 tokens/s", mean_ms(Marks)
    return [
        Compared(
            f"{name}, first words on", mean_ms(lambda: SentenceSplitter(first_words=True)), "ms", 120, naive=naive
        ),
        Compared(f"{name}, first words off", mean_ms(SentenceSplitter), "ms", 145, naive=naive),
        Compared(f"{name}, the first sentence is whole", fmean(whole) * 1000 / TOKENS_PER_S, "ms"),
    ]


def _cost(cases: Sequence[Reply]) -> list[Figure]:
    """What a delta costs, and how the cost grows with the text."""
    texts = [case.text for case in cases if case.language == "en" and case.category != "list"]
    words = re.findall(r"[a-z]{2,9}", " ".join(texts).lower())
    prose, unpunctuated = (" ".join(part * 30) for part in (texts, words))
    deltas = sum(len(gpt_tokens(case.text)) for case in cases)
    seconds = min(sum(_seconds(gpt_tokens(case.text)) for case in cases) for _ in range(5))
    figures: list[Figure] = [Compared("cost of a delta", 1e6 * seconds / deltas, "us", 10)]
    for name, text, size in (("characters", prose, 100_000), ("characters unpunctuated", unpunctuated, 20_000)):
        assert len(text) >= size
        short, long = (min(_seconds(gpt_tokens(text[:count])) for _ in range(9)) for count in (size // 10, size))
        figures.append(Compared(f"{size:,} {name}", long, "s"))
        figures.append(Compared(f"{size:,} {name}: times the cost of a tenth", long / short, "", 12))
    first = chunks_of(SentenceSplitter(), gpt_tokens(unpunctuated[:20_000]))[0][1]
    return [*figures, Compared("20,000 characters unpunctuated: first chunk", len(first), "characters", LONGEST)]


def _seconds(deltas: Sequence[str]) -> float:
    splitter = SentenceSplitter()
    began = time.process_time()
    for delta in deltas:
        splitter.feed(delta)
    splitter.flush()
    return time.process_time() - began
