"""Which session a log record is about.

Rule 1: the session is a context variable, set around everything that runs for it. Tasks and threads inherit it, so a
        part that logs a warning need not know its session.
Rule 2: what is personal is in no record.
Rule 3: what sessions share has no session of its own: a record from there has the id "" and no facts.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from voicepipe.core.context import Fact

__all__ = ["Personal", "SessionLabel", "log", "transcripts"]

log: Final = logging.getLogger("voicepipe")
"""What happens in sessions, without anything that was said."""

transcripts: Final = logging.getLogger("voicepipe.transcripts")
"""What was said, once its own level is DEBUG; a level that it inherits does not count."""


class Personal(str):
    """A text among the facts of a session that stays out of the log: `facts={"caller": vp.Personal("+15550100")}`.

    To tools, prompts and stages it is a text like any other; only its `repr` does not show it.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        """Show nothing of it."""
        return "***"


@dataclass(frozen=True, slots=True)
class SessionLabel:
    """What log records say about the session that they belong to.

    It is not the session itself: context variables outlive sessions, and would keep them in memory.

    Attributes:
        session_id: The session's id; "" outside of sessions.
        facts: What the application said about the session.
        logged: What of it stands on records: all but what is `Personal`.
    """

    session_id: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict[str, "Fact"])
    logged: Mapping[str, Fact] = field(init=False)

    def __post_init__(self) -> None:
        """Choose what is logged once, and not for each record."""
        logged = {name: fact for name, fact in self.facts.items() if not isinstance(fact, Personal)}
        object.__setattr__(self, "logged", logged)

    @contextmanager
    def on_records(self) -> Generator[None]:
        """Label the records that are made in the block, and by the tasks and threads that are started in it."""
        token = _label.set(self)
        try:
            yield
        finally:
            _label.reset(token)


_label: Final = ContextVar("voicepipe_session", default=SessionLabel())  # noqa: B039 - it is immutable


class _Labels(logging.Filter):
    """Writes the label onto each record, and the id in front of its message."""

    def filter(self, record: logging.LogRecord) -> bool:
        if hasattr(record, "session_id"):  # made in another process, and handled by this logger once more
            return True
        label = _label.get()
        record.session_id, record.facts = label.session_id, label.logged
        if label.session_id:
            name = label.session_id.replace("%", "%%") if record.args else label.session_id
            record.msg = f"session {name}: {record.msg}"
        return True


for _logger in (log, transcripts):  # a logger's filter does not see the records of the loggers below it
    _logger.addFilter(_Labels())
