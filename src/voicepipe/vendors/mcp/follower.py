"""One session, as it follows what a server offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from voicepipe.tool_events import ToolsChanged, ToolServerLost
from voicepipe.vendors.mcp.tool import MCPTool

if TYPE_CHECKING:
    from voicepipe.core.context import AnySession
    from voicepipe.errors import VoicepipeError
    from voicepipe.tools.toolbox import Toolset
    from voicepipe.vendors.mcp.link import Link

__all__ = ["Follower"]


class Follower:
    """Adds tools of a server to a session and removes them, as the server does, and reports it.

    A tool that the application has removed from the session, or replaced, stays so.

    Args:
        session: The session; its tools are those of the server when it began.
        link: The connection to the server.
    """

    def __init__(self, session: AnySession, link: Link) -> None:
        self._emit = session.emit
        self._tools = cast("Toolset", session.tools)
        self._link = link
        self._mine = {name: one for name, one in self._tools.items() if isinstance(one, MCPTool) and one.link is link}
        self._taken = set[str]()  # names about which the application has decided otherwise
        self._reported = set(link.left_out)

    def lost(self, error: VoicepipeError) -> None:
        """Report that the server is gone; not again while it has no tools."""
        if self._link.tools:
            self._emit(ToolServerLost(server=self._link.name, error=error))

    def follow(self) -> None:
        """Take over what the server offers now."""
        for name, one in [*self._mine.items()]:
            if self._tools.get(name) is not one:
                self._taken.add(name)
                del self._mine[name]
        offered = self._link.tools
        gone = [name for name, one in self._mine.items() if offered.get(name) is not one]
        if gone:
            self._tools.remove(*gone)
        for name in gone:
            del self._mine[name]
        left_out = {name: why for name, why in self._link.left_out.items() if name not in self._reported}
        added: list[str] = []
        for name, one in offered.items():
            if name in self._mine or name in self._taken:
                continue
            if name in self._tools:
                left_out[name] = "the session has another tool of this name"
                self._taken.add(name)
            else:
                self._tools.add(one)
                self._mine[name] = one
                added.append(name)
        self._reported.update(left_out)
        if added or gone or left_out:
            reasons = tuple(f"{name}: {why}" for name, why in left_out.items())
            changes = ToolsChanged(server=self._link.name, added=tuple(added), removed=tuple(gone), left_out=reasons)
            self._emit(changes)
