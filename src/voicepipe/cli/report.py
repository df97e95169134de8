"""`voicepipe report`: a recorded call as a page, or its waits as a picture."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from voicepipe.errors import ConfigurationError, RecordingError
from voicepipe.watching.report.content import without_content
from voicepipe.watching.report.page import page
from voicepipe.watching.report.records import read_records, reading
from voicepipe.watching.report.stats import figures_of, stats_of
from voicepipe.watching.report.story import story_of
from voicepipe.watching.report.waterfall import waterfall_svg
from voicepipe.watching.report.writing import write_private

if TYPE_CHECKING:
    from argparse import Namespace

    from voicepipe.watching.report.story import Story

__all__ = ["report"]


def report(options: Namespace) -> int:
    """Write a report and say where it is.

    Raises:
        ConfigurationError: The recording cannot be read, has no such turn, or the report cannot be written.
    """
    path = options.recording
    try:
        records = read_records(path)
        with reading(path):
            story = story_of(records)
            stats = stats_of(records, story)
    except RecordingError as error:
        raise ConfigurationError(str(error)) from error
    if records.is_cut:
        print(f"voicepipe: {path} breaks off before the end of the call; the report ends there", file=sys.stderr)
    if options.no_content:
        story = without_content(story)
    if options.svg:
        text, ending = _waterfalls(story, options), ".svg"
    else:
        with_audio = not (options.no_audio or options.no_content)
        text, ending = page(records, story, figures=figures_of(stats), with_audio=with_audio), ".html"
    out = options.out or path.with_name(records.name + ending)
    write_private(out, text)
    print(out)
    return 0


def _waterfalls(story: Story, options: Namespace) -> str:
    answered = [turn for turn in story.turns if turn.spans]
    wanted = [turn for turn in answered if options.turn in (None, turn.turn_id)]
    if not wanted:
        which = "no turn answers" if options.turn is None else f"there is no turn {options.turn} that answers"
        there = ", ".join(str(turn.turn_id) for turn in answered) or "none"
        raise ConfigurationError(f"{options.recording}: {which} a caller; those that do: {there}")
    return waterfall_svg(wanted)
