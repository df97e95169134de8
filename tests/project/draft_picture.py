"""What a draft saves: the same call twice, with and without drafts, as bars on one axis.

Rule 1: each bar is the distance of two marks of a turn's timeline, of a session that was held.
"""

from __future__ import annotations

from collections.abc import Iterator

import voicepipe as vp
from tests.project.svg import line, picture, rect, text
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedUser, ScriptedVoice

__all__ = ["drafts"]

TITLE = "The same call without and with drafts: model and voice work while the agent waits for the caller to go on."
WORDS, REPLY = "Please take my order", "Of course. What would you like?"
ENDS_S = 4.6
WIDTH, LEFT, RIGHT, TOP, ROW, GAP = 860.0, 180.0, 20.0, 40.0, 24.0, 22.0

BARS = (
    ("patience", "transcript", "committed", "waits"),
    ("llm", "llm_request", "llm_first_token", "accent"),
    ("tts", "first_sentence", "tts_first_audio", "accent"),
    ("reply", "first_frame", "ended", "agent"),
)
"""Name, first and last mark, colour."""


async def drafts() -> str:
    """Hold both calls and return their picture."""
    held = {"without drafts": await timeline(has_drafts=False), "with drafts": await timeline(has_drafts=True)}
    return picture((WIDTH, TOP + 2 * (len(BARS) * ROW + GAP) + 18), TITLE, shapes(held))


async def timeline(*, has_drafts: bool) -> dict[str, float]:
    """Return the marks of a turn, in seconds after the caller's last sound."""
    caller = ScriptedUser().says(WORDS, at_s=1.2, speech_s=1.0, silence_s=0.2).hangs_up(at_s=9.0)
    row = [caller, ScriptedModel([Says(REPLY, after_s=0.6)]), vp.SentenceChunker(), ScriptedVoice(first_audio_s=0.4)]
    turns = vp.TurnRules(drafts=has_drafts)
    async with vp.Pipeline(*row, output=RecordingOutput(), turns=turns).session() as session:
        (turn,) = [event async for event in session if isinstance(event, vp.TurnCompleted)]
    return {name: at_s - turn.timeline.speech_ended for name, at_s in turn.timeline.marks.items()}


def shapes(held: dict[str, dict[str, float]]) -> Iterator[str]:
    def x(at_s: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * at_s / ENDS_S

    bottom = TOP + 2 * (len(BARS) * ROW + GAP) - GAP
    for second in range(int(ENDS_S) + 1):
        yield line((x(second), TOP - 14), (x(second), bottom), "grid")
        yield text((x(second), bottom + 16), f"{second} s", "s", anchor="middle")
    yield text((x(0), TOP - 20), f"the caller has said “{WORDS}”, and may go on", "s")
    for call, (name, marks) in enumerate(held.items()):
        top = TOP + call * (len(BARS) * ROW + GAP)
        yield text((14, top + 16), name, "b")
        for row, (part, start, end, colour) in enumerate(BARS):
            y, (start_s, end_s) = top + row * ROW, (marks[start], marks[end])
            yield text((LEFT - 8, y + 16), part, "s", anchor="end")
            yield rect((x(start_s), y + 3), (x(end_s) - x(start_s), ROW - 6), colour, stroke="edge", radius=2)
            yield text((x(end_s) + 6, y + 16), f"{(end_s - start_s) * 1_000:.0f} ms", "s")
        yield line(
            (x(marks["first_frame"]), top), (x(marks["first_frame"]), top + len(BARS) * ROW), "alarm", dashed=True
        )
        words = f"the caller waits {marks['first_frame'] * 1_000:.0f} ms"
        yield text((x(marks["first_frame"]) - 6, top + len(BARS) * ROW - 7), words, "m halo", anchor="end")
