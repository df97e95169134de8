"""Tools for testing an application: virtual time, scripted parts, a scripted LLM service.

Install `voicepipe[testing]`. See docs/testing.md.
"""

from voicepipe.testing._record import RecordedRequest
from voicepipe.testing.clock import VIRTUAL_TIME, DeadlockError, VirtualTimeLoop, run_on_virtual_time
from voicepipe.testing.gateway import ScriptedGateway
from voicepipe.testing.script import Breaks, Calls, ChatMessage, ChatRequest, ChatToolCall, Refuses, Reply, Says, Script
from voicepipe.testing.scripted import (
    RecordingOutput,
    ScriptedModel,
    ScriptedRecogniser,
    ScriptedUser,
    ScriptedVoice,
)

__all__ = [
    "VIRTUAL_TIME",
    "Breaks",
    "Calls",
    "ChatMessage",
    "ChatRequest",
    "ChatToolCall",
    "DeadlockError",
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
