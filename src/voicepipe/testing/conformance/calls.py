"""Holds a part in real calls: a host, sessions and turns around it, in which a check does what the library would do.

Rule 1: lifetimes, copies and sessions are the library's own, so that a part meets here what it meets in a program.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Generic, Never, TypeVar

import anyio

from voicepipe.audio.output import PullOutput
from voicepipe.core.observer import Observer
from voicepipe.core.part import Part
from voicepipe.core.stage import SessionStage
from voicepipe.flow import Hearing, ReplyEnd
from voicepipe.model.model import Model, ReplyPart, Request
from voicepipe.session.pipeline import Pipeline
from voicepipe.testing.scripted import ScriptedVoice
from voicepipe.text.chunker import SentenceChunker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.observed import WireMessage
    from voicepipe.session.pipeline import Host
    from voicepipe.session.session import Session
    from voicepipe.testing.conformance.notes import Notes

__all__ = ["Call", "NothingHeld", "SearchedWire", "calling", "hosting"]

P = TypeVar("P", bound=Part)


class Call(Generic[P]):
    """A call with the part in it.

    Attributes:
        part: The part's copy for this call, opened and attached.
        session: The call.
    """

    def __init__(self) -> None:
        self.part: P
        self.session: Session[Any]
        self._is_ready = anyio.Event()
        self._work: Callable[[Turn], Awaitable[None]] | None = None

    async def in_turn(self, work: Callable[[Turn], Awaitable[None]]) -> None:
        """Let the caller say something, and do some work in the turn that answers it.

        Raises:
            Exception: What the work raised.
        """
        raised: list[Exception] = []

        async def keep(turn: Turn) -> None:
            try:
                await work(turn)
            except Exception as error:  # noqa: BLE001 - raised below: the turn is not what failed
                raised.append(error)

        self._work = keep
        await self.session.user_says("Hello?")
        if raised:
            raise raised[0]


class _Holds(SessionStage[Never, Hearing]):
    """Stands in for the caller, and holds the part that is checked, so that it lives as long as the call."""

    def __init__(self, part: Part) -> None:
        self.part = part

    async def run(self, inbox: Inbox[Never], outbox: Outbox[Hearing], session: Session[Call[Any]]) -> None:
        del inbox, outbox
        session.deps.part, session.deps.session = self.part, session
        session.deps._is_ready.set()
        await anyio.sleep_forever()


class NothingHeld(Part):
    """Stands in where the part that is checked is not held by the call, but used beside it."""


class _Works(Model):
    """Stands in for the model: does what the check wants to have done in a turn."""

    async def reply(self, request: Request, outbox: Outbox[ReplyPart], turn: Turn) -> None:
        del request
        call: Call[Any] = turn.session.deps
        if call._work is not None:
            await call._work(turn)
        await outbox.send(ReplyEnd(finish_reason="stop"))


class SearchedWire(Observer):
    """Looks for secrets in every message to and from the service."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def on_wire(self, message: WireMessage) -> None:
        """Search one."""
        data = message.data if isinstance(message.data, str) else message.data.decode("latin-1")
        self._notes.look_for_keys("a wire message that observers get", f"{message.head} {data}")


@asynccontextmanager
async def hosting(part: Part) -> AsyncGenerator[Host[Any]]:
    """Open a part for any number of calls."""
    row = Pipeline(_Holds(part), _Works(), SentenceChunker(), ScriptedVoice(), fallback="")
    async with row.open(freeze_gc=False) as host:
        yield host


@asynccontextmanager
async def calling(host: Host[Any], observers: Sequence[Observer] = ()) -> AsyncGenerator[Call[Any]]:
    """Hold a call."""
    call = Call[Any]()
    async with host.session(output=PullOutput(), deps=call, observers=observers):
        await call._is_ready.wait()
        yield call
