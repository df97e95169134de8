"""A row of scripted parts around a tool router, and what came out of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

import voicepipe as vp
from voicepipe.history import AssistantMessage, ToolCall
from voicepipe.model.model import Model, ReplyPart, Request
from voicepipe.testing import RecordingOutput, Reply, Says, ScriptedModel, ScriptedUser, ScriptedVoice

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.channel import Outbox
    from voicepipe.testing import ChatRequest
    from voicepipe.tools.tool import Tool
    from voicepipe.tools.toolbox import Toolbox

__all__ = ["DONE", "PieceModel", "Row", "calls_of", "scripted", "sleeper"]

DONE = Says("Done.")


@dataclass
class Row:
    """A row of scripted parts around a tool router, and what came out of it."""

    model: Model
    tools: Sequence[Tool[Any, Any] | Toolbox]
    user: ScriptedUser | None = None
    voice: ScriptedVoice = field(default_factory=lambda: ScriptedVoice(character_s=0.0))
    fallback: str = ""
    follows_up: bool = True
    events: list[tuple[float, vp.Event]] = field(default_factory=list)

    def pipeline(self) -> vp.Pipeline:
        parts = [self.user] if self.user else []
        return vp.Pipeline(
            *parts,
            self.model,
            vp.ToolRouter(self.tools, follows_up=self.follows_up),
            vp.SentenceChunker(),
            self.voice,
            output=RecordingOutput(),
            fallback=self.fallback,
        )

    @asynccontextmanager
    async def session(self, **options: Any) -> AsyncGenerator[vp.Session]:
        async with anyio.create_task_group() as tasks, self.pipeline().session(**options) as session:
            tasks.start_soon(self._watch, session)
            yield session

    async def _watch(self, session: vp.Session) -> None:
        async for event in session:
            self.events.append((round(anyio.current_time(), 6), event))

    def reported(self, *kinds: type[Any]) -> list[Any]:
        return [event for _, event in self.events if isinstance(event, kinds)]

    @property
    def tool_table(self) -> list[tuple[float, str, str]]:
        """When each call started and ended, and how."""
        return [
            (at_s, event.name, event.status if isinstance(event, vp.ToolFinished) else "started")
            for at_s, event in self.events
            if isinstance(event, vp.ToolStarted | vp.ToolFinished)
        ]


def scripted(
    replies: Sequence[Reply] | Callable[[ChatRequest], Reply],
    *tools: Tool[Any, Any] | Toolbox,
    user: ScriptedUser | None = None,
) -> tuple[Row, ScriptedModel]:
    model = ScriptedModel(replies)
    return Row(model, tools, user), model


class PieceModel(Model):
    """Sends the pieces of a list, as they are; what is an error is raised."""

    def __init__(self, *replies: Sequence[ReplyPart | Exception]) -> None:
        self.requests: list[Request] = []
        self._replies = replies

    async def reply(self, request: Request, outbox: Outbox[ReplyPart], turn: Turn) -> None:
        self.requests.append(request)
        for piece in self._replies[len(self.requests) - 1]:
            if isinstance(piece, Exception):
                raise piece
            await outbox.send(piece)


def calls_of(session: vp.Session) -> list[ToolCall]:
    return [call for message in session.history if isinstance(message, AssistantMessage) for call in message.calls]


def sleeper(name: str, seconds: float, *, effect: Any = "read", timeout_s: float = 10.0) -> Tool[Any, Any]:
    """A tool that takes so long."""

    @vp.tool(effect=effect, name=name, timeout_s=timeout_s)
    async def sleep() -> str:
        """Take a while."""
        await anyio.sleep(seconds)
        return f"{name} ended"

    return sleep
