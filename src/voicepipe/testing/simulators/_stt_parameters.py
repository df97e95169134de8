"""What a client may configure, and how the service refuses the rest.

Rule 1: unknown names are ignored silently, as by the service; a known name with a bad value ends the session.
Rule 2: pure; no error repeats a value, which may be private.

Source: the vendor's streaming reference and its SDK 1.8.2, read in September 2026.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import parse_qsl

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

__all__ = ["Parameters", "Refusal", "changed_parameters", "parse_query"]


class Refusal(Exception):  # noqa: N818 - names what happens
    """The service ends the session with an `Error` message and a close code.

    Attributes:
        code: The error code and the close code, which are the same.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


MODELS: Final = {
    "universal-streaming-english", "universal-streaming-multilingual",
    "u3-rt-pro", "u3-rt-pro-beta-1", "u3-pro", "u3-rt-agent",
    "universal-3-5-pro", "universal-3-6", "universal-3-6-pro", "whisper-rt",
}  # fmt: skip

SILENCES_MS: Final = {"u3-": (100, 1000), "universal-streaming": (400, 1280)}
"""min_turn_silence and max_turn_silence, by the beginning of the model's name."""

NEWER_SILENCES_MS: Final = (128, 1280)
"""Of the models since universal-3-5-pro, in mode "balanced"."""

RENAMED: Final = {
    "min_end_of_turn_silence_when_confident": "min_turn_silence",
    "noise_suppression_model": "voice_focus",
    "noise_suppression_threshold": "voice_focus_threshold",
}


def _known(model: str) -> str:
    if model not in MODELS:
        raise ValueError("there is no such model")
    return model


def _clamped(value: Any) -> Any:  # noqa: ANN401 - what is no number is refused by the field
    return min(max(value, 50), 10_000) if isinstance(value, int) and not isinstance(value, bool) else value


Silence = Annotated[int, BeforeValidator(_clamped)]
Share = Annotated[float, Field(ge=0, le=1)]
Prompt = Annotated[str, Field(max_length=1750)]
Term = Annotated[str, Field(max_length=50)]


class Parameters(BaseModel):
    """A session's configuration, with the vendor's names and units."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    sample_rate: Annotated[int, Field(ge=8_000, le=96_000)]
    encoding: Literal["pcm_s16le", "pcm_mulaw"] = "pcm_s16le"
    speech_model: Annotated[str, BeforeValidator(_known)] = "universal-3-5-pro"
    mode: Literal["min_latency", "balanced", "max_accuracy"] = "balanced"
    min_turn_silence: Silence | None = None
    max_turn_silence: Silence | None = None
    end_of_turn_confidence_threshold: Share = 0.4
    format_turns: bool = False
    vad_threshold: Share = 0.3
    keyterms_prompt: Annotated[list[Term], Field(max_length=100)] = []
    prompt: Prompt = ""
    agent_context: Prompt = ""
    previous_context_n_turns: Annotated[int, Field(ge=0, le=100)] = 3
    interruption_delay: Annotated[int, Field(ge=0, le=1_000)] = 500
    continuous_partials: bool = True
    include_partial_turns: bool | None = None
    turn_left_pad_ms: Annotated[int, Field(ge=0)] = 0
    language_codes: Annotated[list[str], Field(max_length=10)] = []
    language_detection: bool = False
    inactivity_timeout: Annotated[int, Field(ge=5, le=3_600)] | None = None
    speaker_labels: bool = False
    max_speakers: Annotated[int, Field(ge=1, le=10)] | None = None
    voice_focus: Literal["near-field", "far-field"] | None = None
    voice_focus_threshold: Share | None = None
    domain: Literal["medical-v1"] | None = None
    filter_profanity: bool = False
    redact_pii: bool = False
    session_heartbeat: bool = False
    acknowledge_silence: bool = False

    @property
    def is_word_by_word(self) -> bool:
        """Whether the model belongs to the older family: partials grow, and a confidence decides."""
        return self.speech_model.startswith("universal-streaming")

    @property
    def silences_s(self) -> tuple[float, float]:
        """How much silence a turn may end after, and how much it must end after."""
        prefix = next((prefix for prefix in SILENCES_MS if self.speech_model.startswith(prefix)), "")
        least, most = SILENCES_MS.get(prefix, NEWER_SILENCES_MS)
        return (self.min_turn_silence or least) / 1e3, (self.max_turn_silence or most) / 1e3

    @property
    def sends_partials(self) -> bool:
        """Whether messages come before a turn has ended."""
        return not self.redact_pii if self.include_partial_turns is None else self.include_partial_turns

    @property
    def bytes_per_s(self) -> int:
        """Bytes in a second of audio."""
        return self.sample_rate * (2 if self.encoding == "pcm_s16le" else 1)


LISTS: Final = {"keyterms_prompt", "language_codes"}

CHANGEABLE: Final = {
    "min_turn_silence", "max_turn_silence", "end_of_turn_confidence_threshold", "format_turns", "vad_threshold",
    "keyterms_prompt", "prompt", "agent_context", "interruption_delay", "continuous_partials", "turn_left_pad_ms",
    "language_codes", "filter_profanity", "session_heartbeat", "acknowledge_silence",
}  # fmt: skip


def parse_query(query: str) -> Parameters:
    """Read the parameters of a connection.

    Raises:
        Refusal: 3006; a name is repeated, or a value is out of its range.
    """
    given: dict[str, JsonValue] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in given:
            raise Refusal(3006, f"Invalid parameter: {name} is given more than once")
        given[name] = _parsed(name, value) if name in LISTS else value
    return _checked(given, is_strict=False)


def changed_parameters(parameters: Parameters, changes: Mapping[str, JsonValue]) -> Parameters:
    """Return what an `UpdateConfiguration` makes of the parameters; names that cannot change are ignored.

    Raises:
        Refusal: 3006; a value is out of its range or of the wrong type.
    """
    wanted = {RENAMED.get(name, name): value for name, value in changes.items()}
    changed = {name: value for name, value in wanted.items() if name in CHANGEABLE}
    return _checked(parameters.model_dump() | changed, is_strict=True)


def _parsed(name: str, value: str) -> JsonValue:
    try:
        parsed: JsonValue = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise Refusal(3006, f"Invalid parameter: {name} must be a JSON list") from error
    return parsed


def _checked(given: Mapping[str, Any], *, is_strict: bool) -> Parameters:
    given = {RENAMED.get(name, name): value for name, value in given.items()}
    try:
        return Parameters.model_validate(given, strict=is_strict)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        raise Refusal(3006, f"Invalid parameter: {first['loc'][0]}: {first['msg']}") from None
