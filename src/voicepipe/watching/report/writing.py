"""Files that a report is written to: private, and whole or not there."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from voicepipe.errors import ConfigurationError

__all__ = ["write_private"]


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, completely or not at all; one that is there is replaced.

    Raises:
        ConfigurationError: It cannot be written.
    """
    unfinished: Path | None = None
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a directory")
        with NamedTemporaryFile(
            "w", encoding="utf-8", newline="\n", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:  # made with 0600
            unfinished = Path(file.name)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        if unfinished is not None:
            with suppress(OSError):
                unfinished.unlink()
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}; name another file") from error
