"""What the trials of one part have shown, and where keys were found that no part may show."""

from __future__ import annotations

import logging
import traceback
from base64 import b64encode
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

__all__ = ["Notes", "everything_logged"]


@dataclass
class Notes:
    """What the trials of one part have shown.

    Attributes:
        secrets: What must not be shown.
        tasks: Tasks that were left, with the trial.
        connections: Connections that were left.
        threads: Threads that were left.
        lost: Errors that nobody saw.
        shown: Where a secret was shown.
        blocked: What held the loop.
        where: The check that is being made.
        was_sent: Whether a secret was sent to the service, without which looking for it elsewhere says nothing.
    """

    secrets: Sequence[str]
    tasks: list[str] = field(default_factory=list[str])
    connections: list[str] = field(default_factory=list[str])
    threads: list[str] = field(default_factory=list[str])
    lost: list[str] = field(default_factory=list[str])
    shown: list[str] = field(default_factory=list[str])
    blocked: list[str] = field(default_factory=list[str])
    where: str = ""
    was_sent: bool = False

    def sent(self, data: bytes) -> None:
        """Look at what the part has sent."""
        self.was_sent = self.was_sent or self._has_secret(data.decode("latin-1"))

    def look_for_keys(self, where: str, text: str) -> None:
        """Note a text that shows a secret, in whatever form a request carries it."""
        if self._has_secret(text) and where not in self.shown:
            self.shown.append(where)

    def _has_secret(self, text: str) -> bool:
        return any(
            form in text
            for secret in self.secrets
            for form in (secret, quote(secret, safe=""), b64encode(secret.encode()).decode())
        )

    def saw(self, error: BaseException, where: str) -> None:
        """Look for secrets in an error, its causes and its traceback."""
        seen: BaseException | None = error
        while seen is not None:
            self.look_for_keys(f"the message of {type(seen).__name__} ({where})", f"{seen} {seen!r}")
            seen = seen.__cause__ or seen.__context__
        lines = "".join(traceback.format_exception(error))
        self.look_for_keys(f"the traceback of {type(error).__name__} ({where})", lines)


@contextmanager
def everything_logged(notes: Notes) -> Generator[None]:
    """Look for secrets in every record of every logger, at every level, while the block runs.

    No other handler gets the records: most of them are about what is broken on purpose.
    """
    handler = _Searching(notes)
    loggers = [
        logging.root,
        *(one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger)),
    ]
    before = [(one, one.level, one.handlers[:], one.propagate, one.disabled) for one in loggers]
    disabled = logging.root.manager.disable
    try:
        logging.disable(logging.NOTSET)
        for one in loggers:
            one.handlers[:] = [handler] if one is logging.root else []
            one.propagate, one.disabled = True, False
            one.setLevel(logging.DEBUG if one is logging.root else logging.NOTSET)
        yield
    finally:
        logging.disable(disabled)
        for one, level, handlers, propagate, is_disabled in before:
            one.handlers[:], one.propagate, one.disabled = handlers, propagate, is_disabled
            one.setLevel(level)


class _Searching(logging.Handler):
    def __init__(self, notes: Notes) -> None:
        super().__init__()
        self._notes = notes

    def emit(self, record: logging.LogRecord) -> None:
        self._notes.look_for_keys(f"a log record of {record.name} ({self._notes.where})", self.format(record))
