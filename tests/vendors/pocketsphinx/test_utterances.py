"""UtteranceDetector: a table of verdicts in, a table of events out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.errors import ConfigurationError
from voicepipe.flow import SpeechEnded, SpeechStarted
from voicepipe.vendors.pocketsphinx.utterances import BLOCK_S, HANG_OVER_S, Endpoint, UtteranceDetector

Happened = SpeechStarted | SpeechEnded | Endpoint


def hear(verdicts: str, silence_s: float = 0.28) -> list[tuple[int, str, float]]:
    """Feed "x" for speech and "." for silence; return (block, kind, block of the event's time) of what happened."""
    detector = UtteranceDetector(silence_s)
    told: list[tuple[int, str, float]] = []

    def tell(block: int, events: list[Happened]) -> None:
        for event in events:
            at_s = event.speech_ended_s if isinstance(event, Endpoint) else event.at_s
            told.append((block, type(event).__name__, round(at_s / BLOCK_S, 3)))

    for block, verdict in enumerate(verdicts):
        tell(block, detector.feed(block * BLOCK_S, is_speech=verdict == "x"))
    tell(len(verdicts), detector.hang_up(len(verdicts) * BLOCK_S))
    return told


TABLE = {
    "nothing": ("..........", []),
    "a click": ("...xxx....xxx.........", []),
    "a word": (
        "..xxxxxx..........",
        [(5, "SpeechStarted", 2), (8, "SpeechEnded", 5), (13, "Endpoint", 5)],
    ),
    "a pause within a turn": (
        "xxxxxx....xxxxx......",
        [
            (3, "SpeechStarted", 0),
            (6, "SpeechEnded", 3),
            (10, "SpeechStarted", 10),
            (15, "SpeechEnded", 12),
            (20, "Endpoint", 12),
        ],
    ),
    "a stretch shorter than the hang-over": (
        "xxxxxx....x......",
        [
            (3, "SpeechStarted", 0),
            (6, "SpeechEnded", 3),
            (10, "SpeechStarted", 10),
            (11, "SpeechEnded", 10),
            (16, "Endpoint", 10),
        ],
    ),
    "two turns": (
        "xxxx......xxxx......",
        [
            (3, "SpeechStarted", 0),
            (4, "SpeechEnded", 1),
            (9, "Endpoint", 1),
            (13, "SpeechStarted", 10),
            (14, "SpeechEnded", 11),
            (19, "Endpoint", 11),
        ],
    ),
    "a hang-up while speaking": ("xxxxx", [(3, "SpeechStarted", 0), (5, "SpeechEnded", 5), (5, "Endpoint", 5)]),
    "a hang-up in the silence": ("xxxxx..", [(3, "SpeechStarted", 0), (5, "SpeechEnded", 2), (7, "Endpoint", 2)]),
}


@pytest.mark.parametrize("case", TABLE)
def test_verdicts_become_events(case: str) -> None:
    """Each row's verdicts give that row's events, at those blocks, with those times."""
    verdicts, expected = TABLE[case]
    assert hear(verdicts) == expected


@pytest.mark.parametrize(("silence_s", "blocks"), [(0.12, 1), (0.15, 2), (0.28, 6), (0.5, 14)])
def test_the_silence_counts_from_the_speech(silence_s: float, blocks: int) -> None:
    """The hang-over is part of the silence, so only the rest of it is waited for."""
    assert hear("xxxxxx" + "." * 20, silence_s)[-1] == (5 + blocks, "Endpoint", 3)


def test_a_turn_that_never_falls_silent_ends() -> None:
    """Noise that sounds like speech ends a turn after 30 s, and the next one may begin."""
    told = hear("x" * 1_010)
    assert told[:4] == [
        (3, "SpeechStarted", 0),
        (999, "SpeechEnded", 1_000),
        (999, "Endpoint", 1_000),
        (1_003, "SpeechStarted", 1_000),
    ]


@pytest.mark.parametrize("silence_s", [0.119, 0.0, -1.0, float("nan")])
def test_silence_that_cannot_be_noticed_is_refused(silence_s: float) -> None:
    """A silence below what the detector can tell is a mistake of configuration, with the minimum named."""
    with pytest.raises(ConfigurationError, match=r"at least 0\.12"):
        UtteranceDetector(silence_s)


@given(st.text("x.", max_size=200), st.floats(0.12, 1.0))
def test_events_pair_up(verdicts: str, silence_s: float) -> None:
    """Starts and ends alternate, times never go back, and each turn's endpoint has the time of its last end."""
    told = hear(verdicts, silence_s)

    kinds = [kind for _, kind, _ in told if kind != "Endpoint"]
    assert kinds == ["SpeechStarted", "SpeechEnded"] * (len(kinds) // 2)
    times = [at for _, _, at in told]
    assert times == sorted(times)
    for before, (_, kind, at) in zip([None, *told], told, strict=False):
        if kind == "Endpoint":
            assert before is not None
            assert before[1:] == ("SpeechEnded", at)
    assert all(at <= block + 1 for block, _, at in told)
    assert not told or told[-1][1] == "Endpoint"


def test_the_hang_over_is_shorter_than_the_shortest_start() -> None:
    """A first stretch always lasts longer than what is taken off its end."""
    assert hear("xxxx" + "." * 10)[:2] == [
        (3, "SpeechStarted", 0),
        (4, "SpeechEnded", round(4 - HANG_OVER_S / BLOCK_S, 3)),
    ]
