"""What a simulated language model answers: calls of tools, the texts of the command line, then an echo.

Rule 1: each call of the command line is made once, in the first request that offers its tool, one in each turn.
Rule 2: what it cannot do is refused as a service refuses it, with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from voicepipe.testing.script import Calls, ChatRequest, Refuses, Says

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from voicepipe.testing.script import Reply

__all__ = ["SimulatedModel"]

TOKEN_S: Final = 0.02


class SimulatedModel:
    """The script of a gateway simulator.

    Args:
        say: The replies in words, one for each turn.
        calls: The calls to make, each a tool's name and its arguments.
        after_s: Seconds from a request to the first token.
    """

    def __init__(
        self, say: Sequence[str] = (), calls: Sequence[tuple[str, Mapping[str, Any]]] = (), *, after_s: float
    ) -> None:
        self._texts = list(say)
        self._calls = list(calls)
        self._after_s = after_s

    def __call__(self, request: ChatRequest) -> Reply:
        """Return the reply to a request."""
        if request.response_format or request.must_call:
            return Refuses(400, "the simulated model gives no structured answers; use ScriptedModel in a test")
        if results := request.tool_results:
            names = {call.call_id: call.name for message in request.messages for call in message.tool_calls}
            return self._says(" ".join(f"{names[call_id]} returned {result}" for call_id, result in results.items()))
        if self._calls and request.tools:
            return self._called(request.tools)
        return self._says(self._texts.pop(0) if self._texts else f"You said: {request.last_user_text}")

    def _called(self, offered: Sequence[str]) -> Reply:
        for call in self._calls:
            name, arguments = call
            if name in offered:
                self._calls.remove(call)
                return Calls(name, arguments, after_s=self._after_s, token_s=TOKEN_S)
        waiting = ", ".join(dict.fromkeys(name for name, _ in self._calls))
        return Refuses(
            400, f"--calls names {waiting}, but this request offers {', '.join(offered)}; correct the name in --calls"
        )

    def _says(self, text: str) -> Says:
        return Says(text, after_s=self._after_s, token_s=TOKEN_S)
