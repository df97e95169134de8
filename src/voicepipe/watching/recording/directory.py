"""The directory that recordings go to, and their names in it: by their date, so that a listing is in order."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from voicepipe.errors import ConfigurationError
from voicepipe.watching.recording.manifest import SUFFIX

if TYPE_CHECKING:
    from pathlib import Path

    from voicepipe.watching.recording.manifest import Manifest

__all__ = ["made", "prepare", "today"]


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
        trial = directory / ".trial"
        trial.touch(mode=0o600)
        trial.unlink()
    except FileExistsError:
        raise ConfigurationError(f"Recorder: {directory} is a file; name a directory for the recordings") from None
    except OSError as error:
        raise ConfigurationError(
            f"Recorder: {directory} cannot be written ({error.strerror}); name another directory, or make it writable"
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
