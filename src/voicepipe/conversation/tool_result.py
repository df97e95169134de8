"""The result of a tool call as a model may see it. Pure.

Rule 1: data from a tool is marked as untrusted, whatever it says and whichever service reads it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from voicepipe.history import ToolCall

__all__ = ["dumped", "result_of"]

dumped: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def result_of(call: ToolCall) -> str:
    """Return a call's result as JSON."""
    if call.status == "pending":
        return dumped({"pending": call.result})
    if call.status != "done":
        return call.result  # this library's own text, which is JSON already
    return f'{{"untrusted_result":{call.result if _is_data(call.result) else dumped(call.result)}}}'


def _is_data(result: str) -> bool:
    """Return whether a result is a JSON object or array, as it is for tools that return no text."""
    try:
        return result[:1] in ("{", "[") and isinstance(json.loads(result, parse_constant=_refuse), (dict, list))
    except (ValueError, RecursionError):
        return False


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")
