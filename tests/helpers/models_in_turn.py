"""Scripted models that several of one race can be told apart by, and a row that holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

import voicepipe as vp
from tests.helpers.tool_rows import Row
from voicepipe.testing import Reply, ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.tools.tool import Tool

__all__ = ["NamedModel", "asked", "first_of", "race_table"]


class NamedModel(ScriptedModel):
    """A scripted model with a name, which notes when it was asked and when its request ended.

    Attributes:
        spans: From when to when each request ran.
    """

    def __init__(self, label: str, *replies: Reply) -> None:
        super().__init__(replies)
        self.spans: list[tuple[float, float]] = []
        self._label = label

    @property
    def label(self) -> str:
        return self._label

    async def reply(self, request: vp.Request, outbox: vp.Outbox[vp.ReplyPart], turn: vp.Turn) -> None:
        began_s = anyio.current_time()
        try:
            await super().reply(request, outbox, turn)
        finally:
            self.spans.append((round(began_s, 6), round(anyio.current_time(), 6)))


def first_of(
    *models: vp.Model, after_s: float | None = None, tools: Sequence[Tool[Any, Any]] = (), **options: Any
) -> Row:
    return Row(vp.FirstOf(*models, after_s=after_s), tools, **options)


async def asked(row: Row) -> Row:
    """Ask the row one question, and let everything end."""
    async with row.session() as session:
        await session.user_says("How are you?")
    return row


def race_table(row: Row) -> list[tuple[Any, ...]]:
    """What was reported about the race: when, what, which model."""
    found: list[tuple[Any, ...]] = []
    for at_s, event in row.events:
        match event:
            case vp.HedgeStarted(model=model):
                found.append((at_s, "late", model))
            case vp.RequestRetried(error=error, model=model):
                found.append((at_s, f"failed: {error}", model))
            case vp.ModelAnswered(model=model, was_first=was_first):
                found.append((at_s, "first answers" if was_first else "answers", model))
            case _:
                pass
    return found
