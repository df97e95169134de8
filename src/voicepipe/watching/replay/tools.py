"""The recorded tools: each call returns what it returned, after as long."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import anyio

from voicepipe.errors import ToolError
from voicepipe.model.running_call import GIVE_UP
from voicepipe.tools.tool import Tool, ToolContext
from voicepipe.watching.replay.application import use
from voicepipe.watching.replay.recorded_call import error_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voicepipe.observed import ToolOffered
    from voicepipe.watching.replay.playhead import Playhead
    from voicepipe.watching.replay.recorded_call import RecordedCall, RecordedTool

__all__ = ["PastTool"]


class PastTool(Tool[..., str]):
    """Stands in for a tool: it does nothing, and returns what the tool returned to the same call.

    Args:
        like: How the tool is declared: the application's own, or as it was offered in the recording.
        call: The recording.
        playhead: Where its replay stands.
    """

    def __init__(self, like: Tool[..., Any] | ToolOffered, call: RecordedCall, playhead: Playhead) -> None:
        self.is_unbound = False
        self.name = like.name
        self.description = like.description
        self.effect = cast("Any", like.effect)
        self.timeout_s = like.timeout_s
        self.say = like.say
        self.confirm = like.confirm
        self.reply = like.reply
        self.parameters = dict(like.parameters)
        self._checks = like.validate if isinstance(like, Tool) else None
        self._call = call
        self._playhead = playhead
        self._refused = {arguments: why for (name, arguments), why in call.refused.items() if name == self.name}
        self._left = [run for run in call.runs.values() if run.asked.name == self.name]

    @property
    def origin(self) -> str:
        """Where the tool is defined: in the recording."""
        return f"the recorded {self.name}"

    def validate(self, arguments: str) -> dict[str, Any]:
        """Refuse the arguments as they were refused. See `Tool.validate`."""
        if self._checks is not None:
            self._checks(arguments)
        if (why := self._refused.get(arguments)) is not None:
            raise ToolError(why.removesuffix(GIVE_UP))  # the router adds it again
        return _object_in(arguments)

    def with_defaults(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values as they are; which defaults there were, nobody knows."""
        return dict(values)

    async def call(self, values: Mapping[str, Any], context: ToolContext[Any]) -> str:
        """Return what the tool returned, when it did, and use the session as it did meanwhile.

        Raises:
            ToolError: The tool failed, or the recording has no such call.
        """
        now_s = self._playhead.now_s
        run = self._taken(dict(values), context.call_id)
        if run is None:
            raise ToolError(f"this is a replay, and {self.name} was not called with these arguments in the recording")
        shift_s = self._playhead.shift_s(run.asked.at_s, now_s)
        for asked in run.used:
            await self._playhead.until(asked.at_s + shift_s)
            use(cast("Any", context.session), asked, self._call)
        if (gave := run.gave) is None or gave.status == "unknown":
            await anyio.sleep_forever()  # until it is cancelled as it was, with its turn or with the call
            raise AssertionError
        await self._playhead.until(gave.at_s + shift_s)
        if gave.status == "done":
            return gave.result
        raise ToolError(error_in(gave.result))

    def render(self, result: Any) -> str:  # noqa: ANN401 - as the base class has it
        """Return the result as the model saw it."""
        return cast("str", result)

    def _taken(self, values: dict[str, Any], call_id: str) -> RecordedTool | None:
        """Return the recorded run: that of the same call, or else one with the same arguments."""
        equal = [run for run in self._left if _object_in(run.asked.arguments) == values]
        run = next((run for run in equal if run.asked.call_id == call_id), next(iter(equal), None))
        if run is not None:
            self._left.remove(run)
        return run


def _object_in(arguments: str) -> dict[str, Any]:
    if not arguments:
        return {}
    try:
        found: object = json.loads(arguments)
    except ValueError as error:
        raise ToolError(f"the arguments are not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ToolError("the arguments must be a JSON object")
    return cast("dict[str, Any]", found)
