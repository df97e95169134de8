"""Tools for testing an application: virtual time, scripted parts, a scripted LLM service, recorded calls.

Install `voicepipe[testing]`. See docs/testing.md.
"""

from voicepipe.testing._record import RecordedRequest
from voicepipe.testing.asserting import assert_turn, assert_turns
from voicepipe.testing.cassettes import cassette
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
from voicepipe.testing.scripted_agent import ScriptedAgent
from voicepipe.watching.replay import CallNotes, CallTurn, Difference, Replayed, ToolUse

__all__ = [
    "VIRTUAL_TIME",
    "Breaks",
    "CallNotes",
    "CallTurn",
    "Calls",
    "ChatMessage",
    "ChatRequest",
    "ChatToolCall",
    "DeadlockError",
    "Difference",
    "RecordedRequest",
    "RecordingOutput",
    "Refuses",
    "Replayed",
    "Reply",
    "Says",
    "Script",
    "ScriptedAgent",
    "ScriptedGateway",
    "ScriptedModel",
    "ScriptedRecogniser",
    "ScriptedUser",
    "ScriptedVoice",
    "ToolUse",
    "VirtualTimeLoop",
    "assert_turn",
    "assert_turns",
    "cassette",
    "run_on_virtual_time",
]
