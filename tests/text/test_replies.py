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

FOLDER: Final = Path(__file__).parents[2] / "benchmarks"
REPLIES: Final[list[Reply]] = json.loads((FOLDER / "replies.json").read_text(encoding="utf-8"))
UNSEEN: Final[list[Reply]] = json.loads((FOLDER / "replies_unseen.json").read_text(encoding="utf-8"))

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
    "pharmacy-en-1": (1, 0),  # "Take your time... I'll wait." is one sentence for us
    "garage-nl-2": (0, 1),  # "excl. btw." may go on
    "moving-firm-fr-1": (0, 1),  # "env." mostly leads on
}
KNOWN_WITHOUT_LANGUAGE: Final = {
    "school-es-1": (0, 1),  # "B. La ..." is a name elsewhere
    "school-it-1": (0, 1),
    "bank-nl-3": (0, 1),  # "Die" begins sentences in Dutch only
}
KNOWN_IF_MARKS_COME_ALONE: Final = {
    "school-es-2": (1, 0),  # "ana" + "." + "ruiz@": nothing has shown yet that dots come apart from names
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
    if way == "each mark alone":
        known = known | KNOWN_IF_MARKS_COME_ALONE

    found: dict[str, tuple[int, int]] = {}
    for reply in REPLIES + UNSEEN:
        chunks = chunks_of(WAYS[way](reply["text"]), reply["lang"] if is_language_given else None)
        if any(judged := faults(reply, chunks)):
            found[reply["id"]] = judged

    assert found == known


@pytest.mark.parametrize("way", WAYS)
def test_replies_come_out_unaltered(way: str) -> None:
    """Every reply comes out as it went in, to the last space, however it arrives."""
    texts = [reply["text"] for reply in REPLIES + UNSEEN]

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
    assert len({reply["id"] for reply in REPLIES + UNSEEN}) == len(REPLIES + UNSEEN)
    assert len(REPLIES) >= 160
    assert len(UNSEEN) >= 200
    assert len({reply["lang"] for reply in REPLIES}) == 11
    assert len({reply["lang"] for reply in UNSEEN}) == 8
    assert {reply["half"] for reply in UNSEEN} == {"development", "held back", "written afterwards"}
    for reply in REPLIES + UNSEEN:
        for reading in (reply, *reply.get("alternatives", ())):
            assert "".join("".join(reading["sentences"]).split()) == "".join(reply["text"].split())
