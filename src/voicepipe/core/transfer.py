"""Where a call goes after the agent: the result that a session ends with when it hands the caller over."""

from __future__ import annotations

from dataclasses import dataclass

from voicepipe.errors import ConfigurationError

__all__ = ["Transfer"]


@dataclass(frozen=True, slots=True)
class Transfer:
    """The caller is connected with somebody else: `session.end(after_reply=True, result=Transfer("+15550100"))`.

    A transport that can transfer does it when the agent's last words have been heard; `Session.result` keeps it for the
    application.

    Attributes:
        to: A telephone number, or an address that the line knows, e.g. "sip:desk@example.com".

    Raises:
        ConfigurationError: `to` is empty, or holds spaces or control characters.
    """

    to: str

    def __post_init__(self) -> None:
        if not self.to or not self.to.isprintable() or " " in self.to:
            raise ConfigurationError(f'Transfer needs a number or an address, e.g. "+15550100", not {self.to!r}')
