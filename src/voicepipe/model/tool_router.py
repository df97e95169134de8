"""The tool loop: ask the model, run what it calls, ask again, until it has nothing left to call.

Rule 1: a reply that breaks off after a call has run is followed by the next request; any other fails the turn.
Rule 2: each call gets exactly one result, and runs at most once, with arguments that validate as they are.
Rule 3: a writing tool belongs to the session: a barge-in does not touch it. A reading tool is cancelled with the turn.
"""

from __future__ import annotations

import copy
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import anyio

from voicepipe.core.abandon import run_abandonably
from voicepipe.core.failures import named
from voicepipe.core.part import at_once
from voicepipe.core.stage import Stage
from voicepipe.errors import ConfigurationError, IncompleteReply, StageError, VoicepipeError
from voicepipe.flow import TextDelta, Transcript
from voicepipe.history import AssistantMessage
from voicepipe.model.calling_reply import CallingReply
from voicepipe.model.model import Model, Request
from voicepipe.model.running_call import SessionCalls, TurnCalls
from voicepipe.tools.tool import Tool
from voicepipe.tools.toolbox import Toolbox, Toolset

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from typing import Self

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.core.context import AnySession
    from voicepipe.history import Message

__all__ = ["ToolRouter"]

MAX_STEPS: Final = 5
"""Rounds of tool calls in one turn; then the model must answer without tools."""

TURN_S: Final = 60.0
"""From a turn's start to its last text, tools included."""

SAY_AFTER_S: Final = 0.7
"""How long a tool may take before its `say` is spoken; people in conversation pause for about half a second."""


class ToolRouter(Stage[Transcript, TextDelta]):
    """Lets the model before it call tools.

    Args:
        tools: Functions decorated with `@tool`, and `Toolbox` objects. Only these can be called.
        turn_s: Seconds from a turn's start to its last text, tools included. Then the turn fails; what was said stays
            said.
        say_after_s: Seconds that a tool may take before its `say` is spoken.
        follows_up: Whether the model is asked once more, as soon as nobody speaks, when a writing tool ends after the
            turn that called it, so that the caller hears of it.

    Attributes:
        tools: The tools that can be called; a session may change its own (`Session.tools`).
        system: The system prompt of this session; None for the model's own.

    Raises:
        ConfigurationError: An element is not a tool, two tools have the same name, or a time is invalid.
    """

    _obeys = True

    def __init__(
        self,
        tools: Iterable[Tool[Any, Any] | Toolbox],
        *,
        turn_s: float = TURN_S,
        say_after_s: float = SAY_AFTER_S,
        follows_up: bool = True,
    ) -> None:
        if isinstance(cast("object", tools), (Tool, Toolbox)):
            raise ConfigurationError(f"ToolRouter takes a list of tools; write ToolRouter([{tools!r}])")
        if not turn_s > 0:
            raise ConfigurationError(f"ToolRouter: turn_s must be positive seconds, not {turn_s}")
        if not 0 <= say_after_s < math.inf:
            raise ConfigurationError(f"ToolRouter: say_after_s must be seconds, 0 or more, not {say_after_s}")
        self._given = tuple(tools)
        self.tools = Toolset(self._given)
        self.system: str | None = None
        self.turn_s = turn_s
        self.say_after_s = say_after_s
        self.model: Model | None = None
        self.follows_up = follows_up
        self._calls = self._new_calls()

    @property
    def _learns_tools(self) -> bool:
        """Whether some of its tools are known only when the pipeline is open."""
        return any(isinstance(one, Toolbox) and one._finds_its_tools for one in self._given)

    def with_model(self, model: Model) -> Self:
        """Return a router that asks this model; the pipeline gives it the model before it."""
        router = copy.copy(self)
        router.model = model
        return router

    def _copied(self) -> Self:
        """Return a copy, with copies of the toolboxes, that calls their tools."""
        twin = super()._copied()
        twin.tools = Toolset(twin._given)
        twin._calls = twin._new_calls()
        return twin

    def _new_calls(self, history: Iterable[Message] = ()) -> SessionCalls:
        replies = (message for message in history if isinstance(message, AssistantMessage))
        return SessionCalls(
            self.tools,
            say_after_s=self.say_after_s,
            follows_up=self.follows_up,
            call_ids={call.call_id for reply in replies for call in reply.calls},
        )

    @at_once
    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Refuse two tools of one name where a toolbox has learned only now which tools it has."""
        Toolset(self._given)
        yield

    @at_once
    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Keep what this caller was asked to confirm, which calls are running, and the ids of all calls so far."""
        self._calls = self._new_calls(session.history)
        yield

    async def run(self, inbox: Inbox[Transcript], outbox: Outbox[TextDelta], turn: Turn) -> None:
        """Reply to the turn's transcript, or in a turn without one to what the application asks of the model.

        If the model fails, the turn notes it, and what was said stays said.
        """
        model, transcript = cast("Model", self.model), None  # the pipeline puts the model there
        called: list[str] = []  # the tools that the turn waits for
        with anyio.move_on_after(self.turn_s) as limit:
            try:
                transcript = await inbox.receive()
                if turn.transcript is not None:
                    turn.understood(transcript.text)
                await self._answer(model, outbox, turn, called)
            except anyio.EndOfStream:
                turn.withhold()
            except VoicepipeError as error:
                turn.fail(error)
        if limit.cancelled_caught and transcript is None:
            # Raised, not noted on the turn: the stage that hangs has to be cancelled, or the turn would never end.
            part = turn._first_at_work
            waited = f"what the caller said did not reach the model within {self.turn_s:g} s"
            raise StageError(f"{waited}; {part} has not passed it on", part=part)
        if limit.cancelled_caught:
            late = f"the tools {', '.join(called)} have not ended" if called else f"{model.name} has not ended it"
            turn.fail(IncompleteReply(f"the reply was not complete after {self.turn_s:g} s; {late}", vendor=model.name))

    async def _answer(self, model: Model, outbox: Outbox[TextDelta], turn: Turn, called: list[str]) -> None:
        calls, first_error = TurnCalls(), None
        for step in range(MAX_STEPS + 1):
            may_call = step < MAX_STEPS and not calls.are_hopeless
            offered = self.tools.definitions if may_call else ()
            request = Request(messages=turn.request_messages, tools=offered, step=step, system=self.system)
            message = turn.begin_reply()
            reply = CallingReply(request, message, self._calls, calls, outbox, turn, model)
            async with reply.running():
                try:
                    with reply.shown(), named(model.name), turn.working(model.name):
                        await self._ask(model, request, reply, turn)
                    reply.complete()
                except VoicepipeError as error:
                    first_error = first_error or error
                    if not reply.has_called:
                        raise first_error from first_error.__cause__
                    # Nothing is said twice, and what the tool brings must not be lost.
                    await reply.cut(error)
                called += [call.name for call in message.calls]
            called.clear()
            if not reply.wants_reply:
                if message.calls:
                    turn.needs_no_words()
                return
            turn.timeline.mark_again("tools_done")

    async def _ask(self, model: Model, request: Request, reply: CallingReply, turn: Turn) -> None:
        if model._is_ours:
            await model.reply(request, reply, turn)
            return
        deadline, report = anyio.current_effective_deadline(), turn.session.emit
        await run_abandonably(model.reply, request, reply, turn, name=model.name, deadline=deadline, report=report)
