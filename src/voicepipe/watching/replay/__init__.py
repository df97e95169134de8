"""Recorded calls, held again: replays, what came of them, and how two calls differ."""

from voicepipe.watching.replay.difference import Change, Difference, TurnPair
from voicepipe.watching.replay.loading import load_call
from voicepipe.watching.replay.notes import CallNotes
from voicepipe.watching.replay.recorded_call import RecordedCall
from voicepipe.watching.replay.replay import LIVE, LivePart, Replay, Replayed
from voicepipe.watching.replay.side_by_side import side_by_side
from voicepipe.watching.replay.turns import CallTurn, Outcome, ToolUse, turns_of

__all__ = [
    "LIVE",
    "CallNotes",
    "CallTurn",
    "Change",
    "Difference",
    "LivePart",
    "Outcome",
    "RecordedCall",
    "Replay",
    "Replayed",
    "ToolUse",
    "TurnPair",
    "load_call",
    "side_by_side",
    "turns_of",
]
