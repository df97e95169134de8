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
    from pathlib import Path

    from voicepipe.watching.report.records import Records
    from voicepipe.watching.report.story import Story

__all__ = ["report"]


def report(options: Namespace) -> int:
    """Write a report and say where it is.

    Raises:
        ConfigurationError: The recording cannot be read, has no such turn, or the report cannot be written.
    """
    path: Path = options.recording
    if not path.name:  # "." or "..", whose names are needed below
        path = path.resolve()
    try:
        records = read_records(path)
        with reading(path):
            text = _drawn(records, options)
    except RecordingError as error:
        raise ConfigurationError(str(error)) from error
    if records.is_cut:
        print(f"voicepipe: {path} breaks off before the end of the call; the report ends there", file=sys.stderr)
    out = options.out or path.with_name(records.name + (".svg" if options.svg else ".html"))
    write_private(out, text)
    print(out)
    return 0


def _drawn(records: Records, options: Namespace) -> str:
    """Return the page or the picture."""
    story = story_of(records)
    if options.no_content:
        story = without_content(story)
    if options.svg:
        return _waterfalls(story, options)
    with_audio = not (options.no_audio or options.no_content)
    return page(records, story, figures=figures_of(stats_of(records, story)), with_audio=with_audio)


def _waterfalls(story: Story, options: Namespace) -> str:
    answered = [turn for turn in story.turns if turn.spans]
    wanted = [turn for turn in answered if options.turn in (None, turn.turn_id)]
    if not wanted:
        which = "no turn answers" if options.turn is None else f"there is no turn {options.turn} that answers"
        there = ", ".join(str(turn.turn_id) for turn in answered) or "none"
        raise ConfigurationError(f"{options.recording}: {which} a caller; those that do: {there}")
    return waterfall_svg(wanted)
