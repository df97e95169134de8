"""What a voice agent would really say, in eleven languages: cut where a listener expects it, however it arrives."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import pytest

from voicepipe.text.sentences import SentenceSplitter

Reply = dict[str, Any]

REPLIES: Final[list[Reply]] = json.loads(
    (Path(__file__).parents[2] / "benchmarks" / "replies.json").read_text(encoding="utf-8")
)

_GPT: Final = re.compile(r"[^\w\r\n]?\w+|\s?[^\w\s]+[\r\n]*|\s+")
_MARK: Final = re.compile(r" ?\w+|(.)\1*", re.DOTALL)

WAYS: Final[dict[str, Callable[[str], list[str]]]] = {
    "as models send": _GPT.findall,
    "each mark alone": lambda text: [token[0] for token in _MARK.finditer(text)],
    "characters": list,
    "whole": lambda text: [text],
}

# Cuts that are wrong and cuts that are missing, by the name of the reply, and why the text on the left does not tell.
KNOWN: Final = {
    "ack-10": (0, 1),  # "No." is an answer, and a number follows
    "initials-5": (0, 1),  # "row C." looks like the initial of a name
}
KNOWN_WITHOUT_LANGUAGE: Final = {
    "fr-2": (0, 1),  # "14 h." may go on
    "it-5": (1, 0),  # "ad es." is no abbreviation elsewhere
}


def chunks_of(deltas: list[str], language: str | None) -> list[str]:
    splitter = SentenceSplitter(language)
    return [*(chunk for delta in deltas for chunk in splitter.feed(delta)), *splitter.flush()]


def ends_of(pieces: list[str]) -> set[int]:
    """Return where pieces end within the text, not counting white space, which belongs to either side."""
    ends = list(accumulate(len("".join(piece.split())) for piece in pieces))
    return {*ends} - {0, ends[-1]}


def faults(reply: Reply, chunks: list[str]) -> tuple[int, int]:
    """Return how many cuts are wrong and how many are missing, by the reading that is nearest."""
    cuts = ends_of(chunks)
    optional = {len("".join(reply["text"][:offset].split())) for offset in reply.get("optional", ())}
    readings = [ends_of(reading["sentences"]) for reading in (reply, *reply.get("alternatives", ()))]
    return min(((len(cuts - ends - optional), len(ends - cuts)) for ends in readings), key=sum)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_language_given", [False, True])
def test_replies_are_cut_where_a_listener_expects_it(way: str, is_language_given: bool) -> None:
    """Our replies are cut at the ends of their sentences and nowhere else, but for the ones that are named."""
    known = KNOWN if is_language_given else KNOWN | KNOWN_WITHOUT_LANGUAGE

    found: dict[str, tuple[int, int]] = {}
    for reply in REPLIES:
        chunks = chunks_of(WAYS[way](reply["text"]), reply["lang"] if is_language_given else None)
        if any(judged := faults(reply, chunks)):
            found[reply["id"]] = judged

    assert found == known


@pytest.mark.parametrize("way", WAYS)
def test_replies_come_out_unaltered(way: str) -> None:
    """Every reply comes out as it went in, to the last space, however it arrives."""
    texts = [reply["text"] for reply in REPLIES]

    assert ["".join(chunks_of(WAYS[way](text), None)) for text in texts] == texts


def test_a_worse_splitter_is_found_out() -> None:
    """The judgement counts a cut too many, a cut too few, and accepts what is marked as a matter of taste."""
    reply = {"text": "So… it is. Good.", "sentences": ["So… it is.", "Good."], "optional": [3]}

    assert faults(reply, ["So… it is.", " Good."]) == (0, 0)
    assert faults(reply, ["So…", " it is.", " Good."]) == (0, 0)
    assert faults(reply, ["So… it", " is.", " Good."]) == (1, 0)
    assert faults(reply, ["So… it is. Good."]) == (0, 1)
    assert faults(reply, ["So… it is", ". Good."]) == (1, 1)
    assert faults({**reply, "alternatives": [{"sentences": ["So… it is. Good."]}]}, ["So… it is. Good."]) == (0, 0)


def test_the_replies_are_what_they_claim() -> None:
    """Each reply has a name of its own, and its sentences are its text."""
    assert len({reply["id"] for reply in REPLIES}) == len(REPLIES) >= 160
    assert len({reply["lang"] for reply in REPLIES}) == 11
    for reply in REPLIES:
        for reading in (reply, *reply.get("alternatives", ())):
            assert "".join("".join(reading["sentences"]).split()) == "".join(reply["text"].split())
