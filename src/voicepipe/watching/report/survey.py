"""All recordings of a directory: the figures of each call, and what could not be read.

Rule 1: a recording that cannot be read spoils nothing: it is named, and the others count.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from voicepipe.errors import ConfigurationError, RecordingError
from voicepipe.watching.report.records import read_records, reading
from voicepipe.watching.report.stats import CallStats, stats_of, summed
from voicepipe.watching.report.story import story_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from voicepipe.watching.report.limits import Limit
    from voicepipe.watching.report.stats import Cost

__all__ = ["CallRow", "Survey", "survey"]

SUFFIX: Final = ".vprec"


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call of a survey.

    Attributes:
        path: Its recording, from the directory on.
        began: When it began, as the recording has it: ISO 8601.
        stats: Its figures.
    """

    path: str
    began: str
    stats: CallStats


@dataclass
class Survey:
    """The calls of a directory.

    Attributes:
        calls: Those that could be read, by path.
        problems: A sentence about each that could not.
    """

    calls: list[CallRow] = field(default_factory=list[CallRow])
    problems: list[str] = field(default_factory=list[str])

    @cached_property
    def total(self) -> CallStats:
        """The figures of all calls together."""
        return summed(row.stats for row in self.calls)

    def as_json(self, cost: Cost | None, limits: Sequence[Limit] = ()) -> dict[str, Any]:
        """Return everything as JSON, times in seconds."""
        rows = [
            {
                "recording": row.path,
                "began": row.began,
                "seconds": round(row.stats.call_s, 3),
                "turns": sum(row.stats.turns.values()),
                "silence_s": None if row.stats.wait is None else asdict(row.stats.wait),
            }
            for row in self.calls
        ]
        return {**self.total.as_json(cost, limits), "recordings": rows, "left_out": self.problems}


def survey(directory: Path) -> Survey:
    """Read all recordings in a directory and below it; or the one recording that it is.

    Raises:
        ConfigurationError: There is no such directory, or no recording in it.
    """
    found = Survey()
    paths = sorted(_recordings(directory))
    if not paths:
        raise ConfigurationError(f"{directory}: there is no recording in it; name a directory with NAME{SUFFIX}")
    for path in paths:
        name = str(path.relative_to(directory)) if path != directory else path.name
        try:
            records = read_records(path)
            with reading(path):
                stats = stats_of(records, story_of(records))
        except RecordingError as error:
            found.problems.append(str(error))
        else:
            found.calls.append(CallRow(name, str(records.manifest.get("began", "")), stats))
    return found


def _recordings(directory: Path) -> Iterator[Path]:
    if directory.suffix == SUFFIX:
        yield directory
    elif not directory.is_dir():
        what = "is a file" if directory.exists() else "does not exist"
        raise ConfigurationError(f"{directory}: {what}; name a directory with recordings (NAME{SUFFIX})")
    else:
        yield from (path for path in directory.rglob(f"*{SUFFIX}"))
