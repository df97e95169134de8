"""The options of `voicepipe report` and `voicepipe stats`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

__all__ = ["add_report", "add_stats"]


def add_report(commands: Any) -> None:  # noqa: ANN401 - argparse does not export what it returns
    """Add `voicepipe report`."""
    report = commands.add_parser(
        "report",
        help="show a recorded call as a page: sound, words, and where the time went",
        description="Write one HTML page about a recorded call, which opens from disk and loads nothing: both voices, "
        "what was said and heard, the wait of each turn, requests, tools, interruptions, all on one axis of time. "
        "--svg draws only the waits. Files are private (0600).",
    )
    report.add_argument("recording", type=Path, metavar="FILE", help="the recording: a directory NAME.vprec")
    report.add_argument(
        "-o", "--out", type=Path, metavar="OUT", help="where to write; NAME.html or NAME.svg next to it by default"
    )
    report.add_argument(
        "--no-content", action="store_true", help="leave out words, arguments, results and the sound; times remain"
    )
    report.add_argument("--no-audio", action="store_true", help="leave out the sound, which most of the size is")
    report.add_argument("--svg", action="store_true", help="draw the wait of each turn that was answered, as SVG")
    report.add_argument("--turn", type=int, metavar="N", help="with --svg: only this turn")


def add_stats(commands: Any) -> None:  # noqa: ANN401 - as above
    """Add `voicepipe stats`."""
    stats = commands.add_parser(
        "stats",
        help="figures of many recorded calls: how long callers waited, what failed, what it cost",
        description="Read all recordings in a directory, and show percentiles of the silence that callers heard and of "
        "what it was spent on, turns by outcome, interruptions, tools, tokens, audio, and costs if prices are given. A "
        "recording that cannot be read is named and left out; then, and if a budget is not met, the exit status is 1.",
    )
    stats.add_argument("directory", type=Path, metavar="DIR", help="where the recordings are, also below it")
    how = stats.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print JSON, and nothing else")
    how.add_argument("--html", type=Path, metavar="FILE", help="write a page that opens from disk and loads nothing")
    stats.add_argument("--prices", type=Path, metavar="FILE", help="a TOML or JSON file with prices")
    stats.add_argument(
        "--price",
        action="append",
        default=[],
        metavar="MODEL=IN,OUT",
        help="prices of a million tokens of a model; may be repeated",
    )
    stats.add_argument(
        "--budget", metavar="NAME=S,...", help="exit with 1 if a percentile is above, e.g. first_audio=0.9,llm=0.4"
    )
    stats.add_argument(
        "--percentile", type=_percent, default=95.0, metavar="P", help="which one --budget compares (%(default)g)"
    )


def _percent(text: str) -> float:
    try:
        percent = float(text)
    except ValueError:
        percent = 0.0
    if not 0 < percent <= 100:
        raise argparse.ArgumentTypeError(f"expected a percentage from above 0 to 100, not {text!r}")
    return percent
