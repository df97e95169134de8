"""The chunker as tables: what came when, and what went on when. Times are ticks of 10 ms on virtual time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
import pytest

from voicepipe import CallSettings, Sentence, SentenceChunker, TextDelta
from voicepipe.core.channel import Channel
from voicepipe.text import languages
from voicepipe.text.chunker import RELEASE_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.conversation.turn import Turn

pytestmark = pytest.mark.anyio

TICK_S: Final = 0.01
END: Final = None  # the reply is over


@dataclass
class Beginning:
    """As much of a turn as the stage looks at."""

    first_segment: int = 0


@dataclass
class Chunking:
    """A chunker at work on one reply."""

    stage: SentenceChunker
    first_segment: int = 0
    capacity: int = 8
    listens_at: int = 0

    def __post_init__(self) -> None:
        self.deltas = Channel[TextDelta](8)
        self.sentences = Channel[Sentence](self.capacity)
        self.out: list[tuple[int, Sentence]] = []

    async def run(self, came: Sequence[tuple[int, str | TextDelta | None]]) -> list[tuple[int, Sentence]]:
        """Bring the deltas at their ticks; return what went on, each at its tick."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._work)
            tasks.start_soon(self._listen)
            for tick, delta in came:
                await anyio.sleep_until(tick * TICK_S)
                if delta is None:
                    self.deltas.close()
                else:
                    await self.deltas.send(delta if isinstance(delta, TextDelta) else TextDelta(delta))
        return self.out

    async def _work(self) -> None:
        await self.stage.run(self.deltas, self.sentences, cast("Turn", Beginning(self.first_segment)))
        self.sentences.close()

    async def _listen(self) -> None:
        await anyio.sleep_until(self.listens_at * TICK_S)
        async for sentence in self.sentences:
            self.out.append((round(anyio.current_time() / TICK_S), sentence))


async def went(came: Sequence[tuple[int, str | None]], **options: Any) -> list[tuple[int, str]]:
    return [(tick, sentence.text) for tick, sentence in await Chunking(SentenceChunker(**options)).run(came)]


TABLES: Final[dict[str, tuple[list[tuple[int, str | None]], list[tuple[int, str]]]]] = {
    "a plain sentence leaves with its mark": (
        [(0, "It"), (2, " rains"), (4, "."), (6, " Stay"), (8, " put"), (10, "."), (12, END)],
        [(4, "It rains."), (10, " Stay put.")],
    ),
    "a mark that may stand ends after 80 ms": (
        [(0, "It opens at 9 a.m."), (30, " Come early."), (40, END)],
        [(8, "It opens at 9 a.m."), (30, " Come early.")],
    ),
    "white space after it is no reason to wait": (
        [(0, "It opens at 9 a.m."), (3, " "), (30, "Come early."), (40, END)],
        [(11, "It opens at 9 a.m."), (30, " Come early.")],
    ),
    "each delta begins the pause anew": (
        [(0, "It is 3."), (7, "5"), (14, " or 4."), (20, "2"), (27, " miles."), (40, END)],
        [(27, "It is 3.5 or 4.2 miles.")],
    ),
    "a word that follows decides before the pause does": (
        [(0, "It opens at 9 a.m."), (5, " on Monday."), (40, END)],
        [(5, "It opens at 9 a.m. on Monday.")],
    ),
    "what is visibly unfinished waits for the rest": (
        [(0, "Please ask Dr."), (50, " Lund."), (60, END)],
        [(50, "Please ask Dr. Lund.")],
    ),
    "half a sentence waits for the rest": (
        [(0, "Please ask"), (50, " her."), (60, END)],
        [(50, "Please ask her.")],
    ),
    "the end hands on everything at once": (
        [(0, "Please ask"), (2, END)],
        [(2, "Please ask")],
    ),
    "the end decides a hold": (
        [(0, "It opens at 9 a.m."), (3, END)],
        [(3, "It opens at 9 a.m.")],
    ),
    "the first words leave before their sentence does": (
        [(0, "I can"), (2, " do that"), (4, ","), (6, " but"), (8, " not"), (10, " now, you see."), (12, END)],
        [(8, "I can do that,"), (10, " but not now, you see.")],
    ),
    "only the first chunk is less than a sentence": (
        [(0, "Sure."), (2, " I can do that, but not"), (4, " now."), (6, END)],
        [(0, "Sure."), (4, " I can do that, but not now.")],
    ),
    "an empty reply": ([(0, END)], []),
    "empty deltas": ([(0, ""), (2, "Yes."), (4, ""), (6, END)], [(2, "Yes.")]),
}


@pytest.mark.parametrize(("came", "expected"), TABLES.values(), ids=TABLES)
async def test_what_went_on_when(came: list[tuple[int, str | None]], expected: list[tuple[int, str]]) -> None:
    """Each chunk leaves as soon as it may, to the tick."""
    assert await went(came) == expected


async def test_the_first_words_can_be_had_with_their_sentence() -> None:
    """`first_words=False` hands on whole sentences only."""
    came = [(0, "I can do that,"), (2, " but not"), (4, " now."), (6, END)]
    assert await went(came, first_words=False) == [(4, "I can do that, but not now.")]


async def test_text_without_an_end_is_not_kept() -> None:
    """The first of 20,000 characters without a mark leave when the 300th comes."""
    out = await went([(tick, "wend " * 4) for tick in range(1000)] + [(1000, END)])

    assert out[0] == (14, ("wend " * 60)[:299])
    assert "".join(text for _, text in out) == "wend " * 4000
    assert max(len(text) for _, text in out) <= 300


async def test_a_segment_ends_what_is_held() -> None:
    """At the end of a segment everything leaves at once, under its number; the next begins with first words again."""
    came = [
        (0, "I will look that up"),
        (2, TextDelta(" at 9 a.m.", ends_segment=True)),
        (40, "I found one table, so shall"),
        (42, " I?"),
        (44, TextDelta("", ends_segment=True)),
        (46, "Yes."),
        (48, END),
    ]
    assert await Chunking(SentenceChunker(), first_segment=3).run(came) == [
        (2, Sentence("I will look that up at 9 a.m.", 3)),
        (40, Sentence("I found one table,", 4)),
        (42, Sentence(" so shall I?", 4)),
        (46, Sentence("Yes.", 5)),
    ]


async def test_the_language_is_the_splitters() -> None:
    """German "die" begins a clause, unless the reply is said to be English."""
    came = [(0, "You need one cup, die and board"), (2, "."), (4, END)]
    assert await went(came, language="en") == [(2, "You need one cup, die and board.")]
    came = [(tick + 10, delta) for tick, delta in came]
    assert await went(came) == [(10, "You need one cup,"), (12, " die and board.")]


async def test_a_deadline_is_set_only_for_a_hold() -> None:
    """A token that leaves nothing to release costs no timer."""
    deadlines: list[float] = []

    class Watched(Channel[TextDelta]):
        async def receive(self) -> TextDelta:
            deadlines.append(anyio.current_effective_deadline())
            return await super().receive()

    chunking = Chunking(SentenceChunker())
    chunking.deltas = Watched(8)
    await chunking.run([(0, "It rains."), (2, " Stay"), (4, " until 9 a.m."), (6, " Then"), (8, " ask Dr."), (10, END)])

    assert deadlines == [math.inf, math.inf, math.inf, pytest.approx(0.04 + RELEASE_S), math.inf, math.inf]


async def test_a_late_reader_ends_no_hold() -> None:
    """When sentences are not taken the stage waits, and what came meanwhile decides about a held mark."""
    chunking = Chunking(SentenceChunker(), capacity=1, listens_at=50)

    assert await chunking.run([(0, "One. Two. It is 9 a.m."), (1, " on Monday."), (2, END)]) == [
        (50, Sentence("One.")),
        (50, Sentence(" Two.")),
        (50, Sentence(" It is 9 a.m. on Monday.")),
    ]


def test_repr_shows_what_was_set() -> None:
    """The stage says its language, and that it keeps sentences whole."""
    assert repr(SentenceChunker()) == "<SentenceChunker>"
    assert repr(SentenceChunker("de", first_words=False)) == "<SentenceChunker de whole sentences>"


@pytest.mark.parametrize("language", [None, "pl"])
async def test_no_reply_waits_for_the_words_of_a_language(language: str | None) -> None:
    """The words of the pipeline's language are read when it is opened, and those of a call's when it begins."""
    languages._words.cache_clear()
    languages._file.cache_clear()
    stage = SentenceChunker(language)
    async with stage.open():
        assert await cut(stage) == 0
        stage.adapt(CallSettings(language="cs"))
        assert await cut(stage) == 0


async def cut(stage: SentenceChunker) -> int:
    """Cut a reply, and return how many files that read."""
    before = languages._file.cache_info().misses
    assert await Chunking(stage).run([(0, "Dobrze. Dobrze."), (1, END)]) != []
    return languages._file.cache_info().misses - before
