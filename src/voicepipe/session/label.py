"""The id and the facts of a session, checked when the application gives them."""

from __future__ import annotations

from collections.abc import Mapping
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

from voicepipe.core.log import SessionLabel
from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from voicepipe.core.context import Fact

__all__ = ["label_of"]

ID_BYTES: Final = 8
"""Random bytes of an id that was not given, enough to find one session among those of many processes."""


def label_of(id: str | None, facts: Mapping[str, Fact] | None) -> SessionLabel:  # noqa: A002 - the field's name for it
    """Return the label of a session; later changes of `facts` do not change it.

    Raises:
        ConfigurationError: An id or a name could forge a log line, or a value is no plain one.
    """
    if id is not None and not _is_printable(id):
        raise ConfigurationError(f"host.session: id needs printable characters for the log, not {id!r}")
    given: Any = {} if facts is None else facts
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"host.session: facts must be a mapping of names to values, not {type(given).__name__}"
        )
    copied: dict[Any, Any] = dict(given)
    for name, value in copied.items():
        if not _is_printable(name):
            raise ConfigurationError(f"host.session: a name in facts must be printable text, not {name!r}")
        if not isinstance(value, str | int | float):  # a bool is an int
            raise ConfigurationError(
                f"host.session: facts[{name!r}] must be a str, an int, a float or a bool, not {type(value).__name__}; "
                "give other objects as deps"
            )
    return SessionLabel(token_hex(ID_BYTES) if id is None else id, copied)


def _is_printable(name: object) -> bool:
    return isinstance(name, str) and bool(name.strip()) and name.isprintable()
