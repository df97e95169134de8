"""Tools for testing an application: virtual time, scripted parts, a scripted LLM service.

Install `voicepipe[testing]`. See docs/testing.md. Only virtual time needs looptime, so it is loaded on first use.
"""

from typing import TYPE_CHECKING, Any

from voicepipe.errors import MissingExtra
from voicepipe.testing._record import RecordedRequest
from voicepipe.testing.gateway import ScriptedGateway
from voicepipe.testing.script import Breaks, Calls, ChatMessage, ChatRequest, ChatToolCall, Refuses, Reply, Says, Script
from voicepipe.testing.scripted import (
    RecordingOutput,
    ScriptedModel,
    ScriptedRecogniser,
    ScriptedUser,
    ScriptedVoice,
)

if TYPE_CHECKING:
    from voicepipe.testing.clock import VIRTUAL_TIME, VirtualTimeLoop, run_on_virtual_time

__all__ = [
    "VIRTUAL_TIME",
    "Breaks",
    "Calls",
    "ChatMessage",
    "ChatRequest",
    "ChatToolCall",
    "RecordedRequest",
    "RecordingOutput",
    "Refuses",
    "Reply",
    "Says",
    "Script",
    "ScriptedGateway",
    "ScriptedModel",
    "ScriptedRecogniser",
    "ScriptedUser",
    "ScriptedVoice",
    "VirtualTimeLoop",
    "run_on_virtual_time",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attributes are of any type
    if name not in ("VIRTUAL_TIME", "VirtualTimeLoop", "run_on_virtual_time"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from voicepipe.testing import clock  # noqa: PLC0415 - see above
    except ImportError as error:
        raise MissingExtra("virtual time", "looptime", "testing") from error
    return getattr(clock, name)
