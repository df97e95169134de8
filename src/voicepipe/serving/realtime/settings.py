"""The settings of a session: what the client may choose, and what holds. Pure.

Rule 1: `session.updated` shows what holds, and not what was asked for.
Rule 2: what a client may not choose is left out without an error: stock clients send all settings at all times.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from voicepipe.serving.realtime.client_events import FunctionTool, Rejected, VoiceId, read_tool
from voicepipe.serving.realtime.formats import PCM, Format, format_of
from voicepipe.serving.resumption import NEW_CALL, Resumption

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from voicepipe.serving.realtime.client_events import AudioWishes, SessionWishes

__all__ = ["ALLOWABLE", "Allowable", "Settings", "updated"]

Allowable: TypeAlias = Literal["instructions", "tools", "voice"]
"""What a client may choose only where `Realtime(allow=...)` names it."""

ALLOWABLE: Final = frozenset(get_args(Allowable))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings that hold.

    Attributes:
        session_id: The id of the session in the protocol.
        model: What clients see as the model.
        instructions: The client's system prompt; None for the agent's own, which is shown to nobody.
        tools: The client's tools.
        modality: Whether replies are speech, or text only.
        detection: Who ends the caller's turns; None if the client does (push to talk).
        input_format: The caller's audio.
        output_format: The agent's audio.
        voice: The voice that the client has chosen; None for the agent's own.
        resumed: Whether the call goes on, and how the client can come back to it.
    """

    session_id: str
    model: str = "voicepipe"
    instructions: str | None = None
    tools: tuple[FunctionTool, ...] = ()
    modality: Literal["audio", "text"] = "audio"
    detection: Literal["server_vad", "semantic_vad"] | None = "server_vad"
    input_format: Format = field(default=PCM)
    output_format: Format = field(default=PCM)
    voice: str | None = None
    resumed: Resumption = NEW_CALL

    @property
    def json(self) -> dict[str, Any]:
        """The settings as `session.created` and `session.updated` have them."""
        detection = self.detection and {
            "type": self.detection,
            "create_response": True,
            "interrupt_response": True,
            **({"idle_timeout_ms": None} if self.detection == "server_vad" else {}),
        }
        resumed = self.resumed
        ours = {"resume": resumed.key or None, "resumed": resumed.is_resumed, "why": resumed.why_not or None}
        return {
            "type": "realtime",
            "object": "realtime.session",
            "id": self.session_id,
            "model": self.model,
            "output_modalities": [self.modality],
            "instructions": self.instructions,
            "tools": [one.model_dump(exclude_none=True) for one in self.tools],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "tracing": None,
            "prompt": None,
            "include": None,
            "audio": {
                "input": {
                    "format": self.input_format.json,
                    "transcription": {"model": self.model},
                    "noise_reduction": None,
                    "turn_detection": detection,
                },
                "output": {"format": self.output_format.json, "voice": self.voice, "speed": 1.0},
            },
            **({} if resumed == NEW_CALL else {"voicepipe": ours}),
        }


def updated(settings: Settings, wishes: SessionWishes, allow: AbstractSet[str], *, is_live: bool) -> Settings:
    """Return the settings after `session.update`: a field that is absent stays as it is.

    Args:
        settings: Those that hold.
        wishes: What the client asks for.
        allow: Which of `Allowable` it may choose.
        is_live: Whether the call has begun: then formats, voice and modality are fixed.

    Raises:
        Rejected: A setting does not exist here, or is fixed; then nothing changes.
    """
    given = wishes.model_fields_set
    found = settings
    if "instructions" in given and "instructions" in allow:
        found = replace(found, instructions=wishes.instructions)
    if "tools" in given and "tools" in allow:
        found = replace(found, tools=_tools(wishes.tools or []))
    if "output_modalities" in given and wishes.output_modalities is not None:
        found = replace(found, modality="audio" if "audio" in wishes.output_modalities else "text")
    if wishes.audio is not None:
        found = _with_audio(found, wishes.audio, allow)
    if is_live:
        _check_fixed(settings, found)
    return found


def _with_audio(settings: Settings, audio: AudioWishes, allow: AbstractSet[str]) -> Settings:
    if audio.input is not None:
        if audio.input.format is not None:
            found = format_of(audio.input.format, "session.audio.input.format")
            settings = replace(settings, input_format=found)
        if "turn_detection" in audio.input.model_fields_set:
            detection = audio.input.turn_detection
            settings = replace(settings, detection=None if detection is None else detection.type)
    if audio.output is not None:
        if audio.output.format is not None:
            found = format_of(audio.output.format, "session.audio.output.format")
            settings = replace(settings, output_format=found)
        if audio.output.voice is not None and "voice" in allow:
            voice = audio.output.voice.id if isinstance(audio.output.voice, VoiceId) else audio.output.voice
            if not voice.strip() or not voice.isprintable():
                raise Rejected("invalid_value", "a voice has a printable name", param="session.audio.output.voice")
            settings = replace(settings, voice=voice)
    return settings


def _tools(given: list[Any]) -> tuple[FunctionTool, ...]:
    tools = tuple(read_tool(one, f"session.tools.{at}") for at, one in enumerate(given))
    names = [one.name for one in tools]
    for at, name in enumerate(names):
        if name in names[:at]:
            raise Rejected("invalid_value", f"two tools have the name {name}", param=f"session.tools.{at}.name")
    return tools


def _check_fixed(before: Settings, after: Settings) -> None:
    for name, param in (
        ("input_format", "session.audio.input.format"),
        ("output_format", "session.audio.output.format"),
        ("voice", "session.audio.output.voice"),
        ("modality", "session.output_modalities"),
    ):
        if getattr(before, name) != getattr(after, name):
            said = (
                f"{param} is fixed once the call has begun; send it in the first session.update, before anything else"
            )
            raise Rejected("cannot_update", said, param=param)
