"""The file .env, whose settings a command adds to the environment before it runs an application.

Rule 1: the environment wins, and only the current folder is looked in: what a program sees can be seen where it starts.
Rule 2: no message shows a line of the file; it holds keys.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from voicepipe.errors import ConfigurationError

__all__ = ["READERS", "read_env_file"]

READERS: Final = ("demo", "doctor", "replay", "scale", "serve", "talk")
"""The commands that read it. `dev` leaves it to the `serve` that it starts, so that a change counts at once."""

NAME: Final = ".env"


def read_env_file() -> None:
    """Add the settings of the file to the environment; without the package that reads it, say so in one line.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    if not Path(NAME).is_file():
        return
    if find_spec("dotenv") is None:
        hint = f"{NAME} is not read: that needs the package python-dotenv; run: pip install 'voicepipe[cli]'"
        print(f"voicepipe: {hint}", file=sys.stderr)
        return
    from dotenv import dotenv_values  # noqa: PLC0415 - where there is no such file, it costs nothing

    try:
        for name, value in dotenv_values(NAME).items():
            if value is not None:  # a name without an equals sign
                os.environ.setdefault(name, value)
    except OSError as error:
        raise ConfigurationError(f"{NAME} cannot be read: {error.strerror}; correct it, or move it away") from error
    except ValueError:  # without its cause, which quotes the file
        raise ConfigurationError(
            f"{NAME} cannot be read: it is not text in UTF-8; correct it, or move it away"
        ) from None
