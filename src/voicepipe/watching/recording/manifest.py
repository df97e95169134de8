"""What a recording says about itself: `manifest.json`."""

from __future__ import annotations

import dataclasses
import math
from datetime import datetime  # noqa: TC003 - pydantic reads the annotation
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, Field

from voicepipe.turntaking.rules import TurnRules

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AUDIO",
    "EVENTS",
    "EXCHANGES",
    "FORMAT",
    "HISTORY",
    "MANIFEST",
    "SUFFIX",
    "TURNS",
    "VOICE",
    "WIRE",
    "Agent",
    "Ended",
    "Manifest",
    "Sides",
    "Sound",
    "plain",
    "rules_as_json",
]

FORMAT: Final = 1
"""The form of a recording; one that this program would misread has another number."""

SUFFIX: Final = ".vprec"

MANIFEST: Final = "manifest.json"
EVENTS: Final = "events.jsonl"
EXCHANGES: Final = "exchanges.jsonl"
WIRE: Final = "wire.jsonl"
HISTORY: Final = "history.json"
TURNS: Final = "turns.csv"
AUDIO: Final = "audio"
VOICE: Final = "voice"

Sides = Literal["both", "caller", "agent"]


class Sound(BaseModel):
    """An audio file of a recording.

    Attributes:
        file: Its name. It is there once there was audio to write.
        rate: Samples per second.
        channels: Who is on which channel.
    """

    file: str = Field(pattern=rf"^({AUDIO}|{VOICE})\.(wav|flac)$")  # no other file is ever read
    rate: int = Field(gt=0)
    channels: tuple[str, ...] = Field(min_length=1)


class Ended(BaseModel):
    """The end of a call.

    Attributes:
        t_s: When it ended, in seconds since the recording began.
        reason: Why, in a few words.
    """

    t_s: float
    reason: str


class Agent(BaseModel):
    """The pipeline that was recorded.

    Attributes:
        parts: The names of its parts, from the first one that listens to the voice.
        detector: The name of its speech detector; None without one.
        output: The name of the output.
        has_echo: Whether the microphone may pick up what the output plays.
        hears: Whether there was somebody to listen to; False for a call that is typed.
        turns: The fields of its `TurnRules`; null is infinite, where a number of seconds is meant.
        fallback: What it says when there is no reply.
        voice_rate: Samples per second of its voice.
        hearing_rate: Samples per second of what it hears.
        output_rate: Samples per second of what it plays.
    """

    parts: tuple[str, ...]
    detector: str | None = None
    output: str
    has_echo: bool
    hears: bool
    turns: dict[str, Any]
    fallback: str
    voice_rate: int
    hearing_rate: int
    output_rate: int

    def turn_rules(self) -> TurnRules:
        """Return its rules of turn-taking; of fields that this voicepipe does not know, nothing is kept."""
        known = {field.name: field.default for field in dataclasses.fields(TurnRules)}
        rules = {name: value for name, value in self.turns.items() if name in known}
        for name, value in rules.items():
            if isinstance(value, list):
                rules[name] = tuple(value)
            elif value is None and isinstance(known[name], float):
                rules[name] = math.inf
        return TurnRules(**rules)


class Manifest(BaseModel):
    """What a recording says about itself. Written when the recording begins, and once more when it ends.

    Attributes:
        format: The form of the recording; see `FORMAT`.
        voicepipe: The version that wrote it.
        id: The id of the session.
        facts: The facts of the session; what is `Personal` is "***".
        began: When the recording began, and with it all its times.
        agent: The pipeline.
        audio: What both sides said, aligned in time.
        voice: All that the voice gave, in order; exchanges refer to it.
        ended: The end of the call; None if the recording was cut off before.
        stopped: Where the recording was ended on purpose, if that was before the end of the call.
        sides: Whose words and sound were recorded.
        redacted: Whether something may have been left out of it.
    """

    format: int = FORMAT
    voicepipe: str
    id: str
    facts: dict[str, Any]
    began: datetime
    agent: Agent
    audio: Sound
    voice: Sound
    ended: Ended | None = None
    stopped: Ended | None = None
    sides: Sides = "both"
    redacted: bool = False


def rules_as_json(rules: TurnRules) -> dict[str, Any]:
    """Return the fields of rules of turn-taking as JSON, in which nothing is infinite."""
    fields: Mapping[str, object] = dataclasses.asdict(rules)
    return {name: plain(value) for name, value in fields.items()}


def plain(value: object) -> object:
    """Return a value as JSON has it: for what is infinite, or no number, it has only null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
