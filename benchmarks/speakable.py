"""Text for the ear: how many of a hundred sentences are read as they should be, and what a sentence costs."""

from __future__ import annotations

import json
import time
import tomllib
from pathlib import Path
from statistics import fmean

import voicepipe as vp
from benchmarks._figures import Figure

__all__ = ["speakable"]

REPLIES = Path(__file__).with_name("replies_unseen.json")
TABLES = Path(__file__).parents[1] / "tests" / "text"
PLAIN = "I moved the appointment, and the practice will send you a message when everything is ready."
REPEATS = 20


async def speakable() -> list[Figure]:
    """Read the table of sentences in each language, and the replies of other trades that measure the splitter.

    Times are of CPU. Numbers that are said for the first time are measured in a first pass over everything.
    """
    table = tomllib.loads((TABLES / "spoken_sentences.toml").read_text(encoding="utf-8"))
    readers: dict[str, vp.Speakable] = {}
    loading: list[float] = []
    for language in table:
        began = time.process_time()
        readers[language] = vp.Speakable(language)
        readers[language].read_out("")
        loading.append(1000 * (time.process_time() - began))
    right = sum(readers[code].read_out(text) == said for code, rows in table.items() for _, text, said in rows)
    texts = [
        (readers[reply["lang"]], text)
        for reply in json.loads(REPLIES.read_text(encoding="utf-8"))
        if reply["lang"] in readers
        for text in reply["sentences"]
        if any(character.isdigit() for character in text)
    ]
    first = [_ms(reader, text) for reader, text in texts]
    again = fmean(_ms(reader, text) for _ in range(REPEATS) for reader, text in texts)
    plain = fmean(_ms(readers["en"], PLAIN) for _ in range(100 * REPEATS))
    return [
        Figure("sentences of a hundred that are read as they should be", right, at_least=100),
        Figure(f"a sentence with digits, mean of {len(texts)}", again, "ms", 1),
        Figure("the same, its numbers for the first time, mean", fmean(first), "ms", 1),
        Figure("the same, the longest", max(first), "ms"),
        Figure("a sentence without digits", plain, "ms", 1),
        Figure("the words of the first language, with Babel and num2words", loading[0], "ms"),
        Figure("the words of another language, mean", fmean(loading[1:]), "ms"),
    ]


def _ms(reader: vp.Speakable, text: str) -> float:
    began = time.process_time()
    reader.read_out(text)
    return 1000 * (time.process_time() - began)
