"""The directory that recordings go to, and their names in it: by their date, so that a listing is in order.

Rule 1: only what is a recording is ever removed, and none that may still be written.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from voicepipe.core.log import log
from voicepipe.errors import ConfigurationError
from voicepipe.watching.recording import manifest as names
from voicepipe.watching.recording.files import created
from voicepipe.watching.recording.manifest import SUFFIX

if TYPE_CHECKING:
    from pathlib import Path

    from voicepipe.watching.recording.manifest import Manifest

__all__ = ["Limits", "made", "make_room", "prepare", "today"]

STILL_WRITTEN_S: Final = 60.0
"""A recording that was written so recently may be that of a call that goes on, in whatever process."""

FILES: Final = frozenset({names.MANIFEST, names.EVENTS, names.EXCHANGES, names.WIRE, names.HISTORY, names.TURNS})


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a directory may hold.

    Attributes:
        max_age_s: How old recordings may be; None for any age.
        max_bytes: How many bytes all recordings may have; None for any number.
    """

    max_age_s: float | None = None
    max_bytes: int | None = None


def today() -> datetime:
    """Return the date and the time of day, which no loop knows."""
    return datetime.now(UTC)  # noqa: TID251 - when a call was is a date; everything in it is the loop's time


def prepare(directory: Path) -> None:
    """Make the directory, and try to write there.

    Raises:
        ConfigurationError: It cannot be written.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        trial = directory / f".trial-{secrets.token_hex(4)}"
        try:
            with created(trial) as file:
                file.write(b"-")
        finally:
            trial.unlink(missing_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ConfigurationError(f"Recorder: {directory} is a file; name a directory for the recordings") from None
    except OSError as error:
        raise ConfigurationError(
            f"Recorder: {directory} cannot be written ({error.strerror}); name another directory, or make room or "
            "permission in it"
        ) from error


def made(directory: Path, manifest: Manifest) -> Path:
    """Make the directory of one recording, whose name no other has.

    Raises:
        OSError: It cannot be made.
    """
    name = f"{manifest.began:%Y-%m-%dT%H-%M-%SZ}-{re.sub(r'[^A-Za-z0-9._-]+', '_', manifest.id)[:80]}"
    number = 1
    while True:
        path = directory / f"{name}{f'-{number}' if number > 1 else ''}{SUFFIX}"
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            number += 1
        else:
            return path


def make_room(directory: Path, limits: Limits, now: datetime, but: Path | None = None) -> None:
    """Remove the oldest recordings until those that are left keep to the limits; `but` does not count."""
    if limits.max_age_s is None and limits.max_bytes is None:
        return
    found = sorted(one for one in _recordings(directory) if one[1] != but)
    total = sum(size for _, _, size in found)
    for written_s, path, size in found:
        age_s = now.timestamp() - written_s
        is_old = limits.max_age_s is not None and age_s > limits.max_age_s
        is_much = limits.max_bytes is not None and total > limits.max_bytes
        if (is_old or is_much) and age_s > STILL_WRITTEN_S:
            _remove(path)
            total -= size


def _recordings(directory: Path) -> list[tuple[float, Path, int]]:
    """Return when each recording was last written, where it is, and how many bytes it has."""
    found: list[tuple[float, Path, int]] = []
    for path in directory.glob(f"*{SUFFIX}"):
        try:
            if path.is_symlink() or not (path / names.MANIFEST).is_file():
                continue
            files = [file.stat() for file in path.iterdir()]
        except OSError:  # somebody else is removing it
            continue
        found.append((max(file.st_mtime for file in files), path, sum(file.st_size for file in files)))
    return found


def _remove(path: Path) -> None:
    """Remove a recording, but nothing that somebody else has put there."""
    try:
        # The manifest last: without it nobody would know any more that this is a recording.
        for file in sorted(path.iterdir(), key=lambda file: file.name == names.MANIFEST):
            if (
                file.name in FILES
                or file.name.startswith((f"{names.AUDIO}.", f"{names.VOICE}."))
                or file.name.endswith(".part")
            ):
                file.unlink()
        path.rmdir()
    except OSError as error:
        log.warning("%s: an old recording cannot be removed: %s", path, error.strerror)
