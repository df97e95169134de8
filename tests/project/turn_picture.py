"""A turn of a real call as a picture: the sound of both sides, and what the caller's wait was spent on.

make demo && python -m tests.project.turn_picture    # draws conversation/ into docs/pictures/turn.svg

Rule 1: everything in it comes from the recording and the events of the call; nothing is scaled to look better.
"""

from __future__ import annotations

import array
import json
import sys
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.project.pictures import FOLDER
from tests.project.svg import line, number, picture, rect, text

__all__ = ["drawn"]

WIDTH, LEFT, RIGHT = 860.0, 74.0, 24.0
LANES = {"caller": 48.0, "agent": 116.0}
AXIS_Y, ROWS_Y, ROW = 160.0, 206.0, 21.0
HALF = 22.0
"""Half the height of a lane, in pixels."""
STEP = 2.0
"""A stroke of the waveform stands for this many pixels."""


@dataclass(frozen=True)
class Window:
    """What is drawn: a turn, and the seconds of the call around it."""

    turn: dict[str, Any]
    start_s: float
    end_s: float

    def x(self, at_s: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (at_s - self.start_s) / (self.end_s - self.start_s)


def drawn(folder: Path, turn_id: int) -> str:
    """Return the picture of a turn of the call that `voicepipe demo` has written to a folder."""
    call = json.loads((folder / "conversation.json").read_text(encoding="utf-8"))
    turn = next(turn for turn in call["turns"] if turn["turn_id"] == turn_id)
    following = next((one["marks_s"]["ended"] for one in call["turns"] if one["turn_id"] == turn_id + 1), None)
    asked_s = min(event["at_s"] for event in speech(call["events"], turn["marks_s"]["speech_ended"]))
    window = Window(turn, asked_s - 0.4, (following or turn["marks_s"]["ended"]) + 0.3)
    spent = {name: us for name, us in turn["contributions_us"].items() if us}
    waited_ms = turn["waited_us"] / 1_000
    title = f"A turn of the demo: the caller waited {waited_ms:.0f} ms, then heard {turn['heard']!r}."
    shapes = [*sides(folder / call["recording"]["file"], call["events"], window), *waterfall(spent, window)]
    return picture((WIDTH, ROWS_Y + ROW * len(spent) + 34), title, shapes)


def speech(events: list[dict[str, Any]], until_s: float) -> list[dict[str, Any]]:
    """Return the starts of speech that belong to the words that end at a time."""
    ends = [event["at_s"] for event in events if event["event"] == "SpeechEnded" and event["at_s"] < until_s - 0.05]
    since_s = max(ends, default=0.0)
    return [event for event in events if event["event"] == "SpeechStarted" and since_s < event["at_s"] < until_s]


# --- the sound --------------------------------------------------------------------------------------------------------


def sides(recording: Path, events: list[dict[str, Any]], window: Window) -> Iterator[str]:
    for second in range(int(window.start_s) + 1, int(window.end_s) + 1):
        yield line((window.x(second), 12), (window.x(second), AXIS_Y), "grid")
        yield text((window.x(second), AXIS_Y + 14), f"{second} s", "s", anchor="middle")
    with wave.open(str(recording)) as file:
        rate = file.getframerate()
        file.setpos(int(window.start_s * rate))
        both = array.array("h", file.readframes(int((window.end_s - window.start_s) * rate)))
    for channel, (name, y) in enumerate(LANES.items()):
        yield text((14, y + 4), name, "b")
        yield waveform(both[channel::2], rate, window, y, name)
        for at_s, words in captions(events, name):
            if window.start_s <= at_s <= window.end_s - 0.3:
                yield text((window.x(at_s), y - HALF - 3), words, "s halo")
    for row, (at_s, name) in enumerate(stops(events, window)):
        yield line(
            (window.x(at_s), LANES["caller"] + HALF), (window.x(at_s), LANES["agent"] + HALF), "alarm", dashed=True
        )
        yield text((window.x(at_s) + 5, LANES["agent"] + HALF - 1 + 12 * row), name, "m halo")


def stops(events: list[dict[str, Any]], window: Window) -> list[tuple[float, str]]:
    """Return when the agent fell silent, and when its reply was over."""
    names = ("Paused", "TurnInterrupted")
    found = [(event["emitted_s"], event["event"]) for event in events if event["event"] in names]
    return [(at_s, name) for at_s, name in found if window.start_s < at_s < window.end_s]


def captions(events: list[dict[str, Any]], side: str) -> Iterator[tuple[float, str]]:
    """Yield when each side says what."""
    started_s = 0.0
    cut = {event["turn_id"]: f"{event['heard']} —" for event in events if event["event"] == "TurnInterrupted"}
    for event in events:
        if event["event"] == "SpeechStarted":
            started_s = event["at_s"]
        elif event["event"] == "Transcript" and side == "caller":
            yield started_s, event["text"]
        elif event["event"] == "SentenceStarted" and side == "agent":
            yield event["emitted_s"], cut.get(event["turn_id"], event["text"].strip())  # what was heard of it


def waveform(samples: array.array[int], rate: int, window: Window, y: float, style: str) -> str:
    """Return the loudest sample of each step as a stroke, half above the line and half below it."""
    seconds = (window.end_s - window.start_s) * STEP / (WIDTH - LEFT - RIGHT)
    size = int(seconds * rate)
    strokes = []
    for index in range(len(samples) // size):
        loudest = max(map(abs, samples[index * size : (index + 1) * size])) / 32_768 * HALF * 1.15
        if loudest > 0.3:
            x = LEFT + STEP * index
            strokes.append(f"M{number(x)} {number(y - loudest)}v{number(2 * loudest)}")
    return f'<path class="s-{style}" d="{"".join(strokes)}" fill="none" stroke-width="1.4"/>'


# --- the wait ---------------------------------------------------------------------------------------------------------


def waterfall(spent: dict[str, int], window: Window) -> Iterator[str]:
    """Draw the wait once more, wider: a row for each contribution, one where the other ends."""
    start_s, total = window.turn["marks_s"]["speech_ended"], window.turn["waited_us"]
    scale = (WIDTH - LEFT - RIGHT - 190) / total
    bottom = ROWS_Y + ROW * len(spent)
    for at_s, x in ((start_s, LEFT + 76), (start_s + total / 1e6, LEFT + 76 + total * scale)):
        yield line((window.x(at_s), LANES["agent"] + HALF), (window.x(at_s), AXIS_Y + 2), "accent", dashed=True)
        yield line((window.x(at_s), AXIS_Y + 2), (x, ROWS_Y - 6), "accent", dashed=True)
        yield line((x, ROWS_Y - 6), (x, bottom), "accent", dashed=True)
    before = 0
    for row, (name, us) in enumerate(spent.items()):
        y, x = ROWS_Y + ROW * row, LEFT + 76 + before * scale
        yield text((LEFT + 66, y + 13), name, anchor="end")
        yield rect((x, y + 2), (max(1.5, us * scale), ROW - 6), "caller" if name == "silence" else "accent", radius=2)
        yield text((x + us * scale + 6, y + 13), f"{us / 1_000:.0f} ms", "s")
        before += us
    words = f"{total / 1_000:.0f} ms from the caller's last sound to the agent's first one; the parts add up exactly"
    yield text((LEFT + 76, bottom + 20), words, "s")


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "conversation")
    (FOLDER / "turn.svg").write_text(drawn(folder, 3), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
