"""Functions that the client runs: the model calls them here, and their results come back as items.

Rule 1: a call is made once and answered at most once; an output that nobody waits for is `Rejected`.
Rule 2: the model goes on when the client asks for it (`response.create`), as it does at OpenAI's server. A turn that
        has ended gives its outputs to the conversation at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import anyio

from voicepipe.errors import ToolError, VoicepipeError
from voicepipe.serving.realtime.client_events import Rejected
from voicepipe.session.saying import AT_WORK
from voicepipe.tools.strict_json import read_object
from voicepipe.tools.tool import MAX_ARGUMENT_BYTES, Tool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from voicepipe.conversation.turn import Turn
    from voicepipe.serving.realtime.client_events import FunctionTool
    from voicepipe.tools.tool import ToolContext

__all__ = ["ClientCalls", "ClientTool"]

NEXT_CALL_S: Final = 0.1
"""So soon after a call the next one of the same reply comes, if there is one: then the response with them ends."""

RESULT_S: Final = 0.5
"""How much longer the turn waits than the client may take, so that the model is shown why there is no output."""


@dataclass(slots=True, eq=False)
class _Call:
    """A call that waits for its output."""

    turn_id: int
    is_announced: anyio.Event = field(default_factory=anyio.Event)
    has_output: anyio.Event = field(default_factory=anyio.Event)
    may_go_on: anyio.Event = field(default_factory=anyio.Event)
    output: str = ""


class ClientCalls:
    """The calls of one session that its client answers.

    Args:
        wait_s: How long the client may take for one.
        end_response: Called with the id of a turn once all its calls are made and what was said before was played.
    """

    def __init__(self, wait_s: float, end_response: Callable[[int], Awaitable[None]]) -> None:
        self.wait_s = wait_s
        self._end_response = end_response
        self._calls: dict[str, _Call] = {}
        self._announced: set[str] = set()
        self._newest: _Call | None = None

    async def run(self, call_id: str, turn_id: int) -> str:
        """Return the client's output of a call.

        Raises:
            ToolError: The client gave none in time.
        """
        call = self._newest = self._calls[call_id] = _Call(turn_id)
        if call_id in self._announced:
            call.is_announced.set()
        found = AT_WORK.get()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch, call, found() if found else None)
                with anyio.move_on_after(self.wait_s):
                    await call.has_output.wait()
                    await call.may_go_on.wait()
                tasks.cancel_scope.cancel()
        finally:
            del self._calls[call_id]
        if not call.has_output.is_set():
            raise ToolError(f"the client gave no output within {self.wait_s:g} s")
        return call.output

    def announced(self, call_id: str) -> None:
        """Note that the client has been sent a call, which may be about to wait."""
        self._announced.add(call_id)
        if (call := self._calls.get(call_id)) is not None:
            call.is_announced.set()

    def take(self, call_id: str, output: str) -> None:
        """Take the output of a call.

        Raises:
            Rejected: No call of this id waits for one.
        """
        call = self._calls.get(call_id)
        if call is None or not call.is_announced.is_set() or call.has_output.is_set():
            said = f"no function call {call_id!r} waits for its output: it is unknown, answered, or too late"
            raise Rejected("no_such_call", said, param="item.call_id")
        call.output = output
        call.has_output.set()

    def go_on(self, turn_id: int) -> None:
        """Let a turn go on with the outputs that it has, now or as soon as they come."""
        for call in self._calls.values():
            if call.turn_id == turn_id:
                call.may_go_on.set()

    def hang_up(self) -> None:
        """Wait for no output any more: the client has left."""
        for call in self._calls.values():
            call.has_output.set()
            call.may_go_on.set()

    async def _watch(self, call: _Call, turn: Turn | None) -> None:
        """End the response with this call, unless another call follows it."""
        await call.is_announced.wait()
        await anyio.sleep(NEXT_CALL_S)
        try:
            if turn is not None:
                await turn.speech.wait_silent()
        except VoicepipeError:
            return  # the turn was interrupted, which has ended the response
        if call is self._newest:
            await self._end_response(call.turn_id)


class ClientTool(Tool[..., str]):
    """A tool of the client; the model sees it like any other.

    Args:
        given: Its description and schema, as the client sent them.
        calls: Where its calls wait for their outputs.
    """

    def __init__(self, given: FunctionTool, calls: ClientCalls) -> None:
        schema = given.parameters or {}
        properties = schema.get("properties")
        names = cast("dict[str, Any]", properties) if isinstance(properties, dict) else {}
        self.name = given.name
        self.description = given.description or ""
        self.effect = "write"
        self.timeout_s = calls.wait_s + RESULT_S
        self.say = ""
        self.confirm = False
        self.reply = True
        self.is_unbound = False
        self.parameters = {"type": "object", "properties": {name: {} for name in names}}  # nothing here walks a schema
        self._schema = schema or {"type": "object", "properties": {}}
        self._calls = calls

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        """Refuse: only the client can run it."""
        del args, kwargs
        raise TypeError(f"{self.name} is a function of the client")

    @property
    def origin(self) -> str:
        """Where it comes from."""
        return "the client of the Realtime protocol"

    @property
    def definition(self) -> dict[str, Any]:
        """The entry for the `tools` of a chat completion request."""
        described = {"name": self.name, "description": self.description, "parameters": self._schema}
        return {"type": "function", "function": described}

    def validate(self, arguments: str) -> dict[str, Any]:
        """Return the arguments; whether they fit the schema, the client finds out.

        Raises:
            ToolError: They are not a JSON object.
        """
        return read_object(arguments or "{}", "the arguments", MAX_ARGUMENT_BYTES)

    def with_defaults(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values: only the client knows the defaults."""
        return dict(values)

    async def call(self, values: Mapping[str, Any], context: ToolContext[Any]) -> str:
        """Wait for the client's output. See `Tool.call`."""
        del values
        return await self._calls.run(context.call_id, context.turn_id)
