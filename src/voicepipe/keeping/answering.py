"""How voicepipe asks a store, which anybody may have written.

Rule 1: whatever a store does, who asks it gets an answer in time or a `StoreError`, and the call goes on.
"""

from __future__ import annotations

import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.core.failures import is_fault
from voicepipe.errors import StoreError, VoicepipeError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["STORE_S", "answering"]

STORE_S: Final = 5.0
"""How long a store may take that knows no limit by itself."""


@contextmanager
def answering(within_s: float = STORE_S) -> Generator[None]:
    """Wait for a store in this block; cancelling works as without it.

    Raises:
        StoreError: The store has failed in whatever way, or has not answered in time.
    """
    try:
        with anyio.fail_after(within_s):
            yield
    except StoreError:
        raise
    except TimeoutError as error:
        raise StoreError(f"the store did not answer in time, within {within_s:g} s at most") from error
    except VoicepipeError as error:
        raise StoreError(f"the store refused: {error}") from error
    except BaseException as error:
        if not is_fault(error):
            raise
        raise StoreError(f"the store raised {type(error).__name__}{_where(error)}") from error


def _where(error: BaseException) -> str:
    """Return where an error was raised; its words are left out, because they may quote the caller."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
