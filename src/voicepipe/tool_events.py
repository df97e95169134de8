"""What a session reports about the servers that its tools come from; see `events`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from voicepipe.flow import Stamped

if TYPE_CHECKING:
    from voicepipe.errors import VoicepipeError

__all__ = ["ToolServerLost", "ToolsChanged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolServerLost(Stamped):
    """The connection to a server of tools broke, or its process ended. It is opened again, with growing pauses.

    `ToolsChanged` follows: the model is no longer offered its tools. Another one follows when the server is back.

    Attributes:
        server: Its name, as `mcp_tools` was given it.
        error: Why.
    """

    server: str
    error: VoicepipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolsChanged(Stamped):
    """A server of tools offers others than before; the next request to the model has the new ones.

    Attributes:
        server: Its name, as `mcp_tools` was given it.
        added: The tools that the model can call from now on, by the names that it sees.
        removed: Those that it can no longer call. A tool that has changed is in both.
        left_out: Those that it cannot be offered, each with the reason, e.g. that the name is taken.
    """

    server: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def changes(self) -> str:
        """What has changed, in one line: "+find_order -book"."""
        return " ".join([*(f"+{name}" for name in self.added), *(f"-{name}" for name in self.removed), *self.left_out])
