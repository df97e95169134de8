"""How streaming recognition is set: what the service takes, checked before it is sent.

Rule 1: seconds here, milliseconds on the wire; a field's docstring says the vendor's name where it is another one.
Rule 2: None is the service's own default, and is not sent.
Rule 3: a field's type and limits are checked by pydantic, imported with the first settings; what is sent has passed the
        parameter model of the vendor's SDK, imported when a part opens.

Source: the vendor's streaming reference and its Python SDK 1.8.2, read 2026-11-22.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias, cast, get_type_hints

from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic import BaseModel, JsonValue, ValidationError

__all__ = ["StreamingParameters", "is_word_by_word"]

CONTEXT_CHARACTERS: Final = 1750
"""The longest `prompt` and `agent_context`."""

Changes: TypeAlias = "dict[str, JsonValue]"


def _within(*, shown: bool = True, **limits: float) -> Any:  # noqa: ANN401 - a dataclass field of any type
    """Return a field with the limits of pydantic's `Field`; `each` is the longest text in a list of texts."""
    return field(default=None, metadata=limits, repr=shown)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingParameters:
    """Settings of streaming recognition; `AssemblyAIRecogniser.update` changes those marked (*) in mid-call.

    Audio is always sent as 16-bit PCM, so there is no encoding to choose; there is no `llm_gateway` either, since the
    agent's model is a stage of its own.

    Attributes:
        sample_rate: Samples per second of the audio, 8000 to 96000. The models expect 16000.
        mode: Preset of the silences on U3 models; silences that are set override it.
        min_turn_silence_s: (*) Silence after which a turn may end, 0.05 to 10; `min_turn_silence` in ms. With U3
            models it ends there if the text sounds finished.
        max_turn_silence_s: (*) Silence after which a turn ends in any case, 0.05 to 10; `max_turn_silence` in ms.
        end_of_turn_confidence_threshold: (*) 0 to 1; without effect on U3 models.
        format_turns: (*) Whether final transcripts are punctuated; U3 models always do it.
        vad_threshold: (*) Probability from which on sound counts as speech, 0 to 1.
        keyterms_prompt: (*) Words to expect: at most 100 of 50 characters each. An empty list clears them.
        prompt: (*) Instructions to a U3 model, at most 1750 characters.
        agent_context: (*) What the agent said last, at most 1750 characters. The recogniser updates it by itself.
        previous_context_n_turns: How many earlier turns the model sees, 0 to 100.
        interruption_delay_s: (*) How much speech comes before the first partial, 0 to 1; `interruption_delay` in ms.
            The service adds 0.256.
        continuous_partials: (*) Whether further partials come while somebody speaks.
        include_partial_turns: Whether there are partials at all.
        turn_left_pad_s: (*) `turn_left_pad_ms`.
        language_codes: (*) At most 10, or ["multi"].
        language_detection: Whether turns name their language.
        inactivity_timeout_s: How long a session may send nothing before the service ends it, 5 to 3600.
        speaker_labels: Whether words name their speaker.
        max_speakers: 1 to 10.
        speaker_labels_revision_interval_s: 0, or 120 to 300; `speaker_labels_revision_interval_ms`.
        voice_focus: "near-field" or "far-field".
        voice_focus_threshold: 0 to 1.
        domain: E.g. "medical-v1".
        filter_profanity: (*) Whether swear words are masked.
        redact_pii: Whether personal data is removed; there are no partials then.
        redact_pii_policies: Which kinds of personal data.
        redact_pii_sub: What replaces it.
        session_heartbeat: (*) Whether the service sends a sign of life every 5 s; requested unless this is False.
        acknowledge_silence: (*) Whether a U3 model reports silence every second; requested unless this is False.
            With both, a service that stops responding is noticed within 5 s, even while nobody speaks.
        webhook_url: Where the service also sends its results.
        webhook_auth_header_name: Name of a header of those requests.
        webhook_auth_header_value: Its value; the service takes it in the connection's URL.
        customer_support_audio_capture: Whether the vendor may keep the audio.

    Raises:
        ConfigurationError: A value is out of range.
    """

    sample_rate: int = field(default=16_000, metadata={"ge": 8_000, "le": 96_000})
    mode: Literal["min_latency", "balanced", "max_accuracy"] | None = None
    min_turn_silence_s: float | None = _within(ge=0.05, le=10)
    max_turn_silence_s: float | None = _within(ge=0.05, le=10)
    end_of_turn_confidence_threshold: float | None = _within(ge=0, le=1)
    format_turns: bool | None = None
    vad_threshold: float | None = _within(ge=0, le=1)
    keyterms_prompt: Sequence[str] | None = _within(max_length=100, each=50)
    prompt: str | None = _within(max_length=CONTEXT_CHARACTERS)
    agent_context: str | None = _within(max_length=CONTEXT_CHARACTERS, shown=False)
    previous_context_n_turns: int | None = _within(ge=0, le=100)
    interruption_delay_s: float | None = _within(ge=0, le=1)
    continuous_partials: bool | None = None
    include_partial_turns: bool | None = None
    turn_left_pad_s: float | None = _within(ge=0, le=10)
    language_codes: Sequence[str] | None = _within(max_length=10, each=10)
    language_detection: bool | None = None
    inactivity_timeout_s: int | None = _within(ge=5, le=3600)
    speaker_labels: bool | None = None
    max_speakers: int | None = _within(ge=1, le=10)
    speaker_labels_revision_interval_s: float | None = _within(ge=0, le=300)
    voice_focus: Literal["near-field", "far-field"] | None = None
    voice_focus_threshold: float | None = _within(ge=0, le=1)
    domain: str | None = _within(max_length=50)
    filter_profanity: bool | None = None
    redact_pii: bool | None = None
    redact_pii_policies: Sequence[str] | None = _within(max_length=100, each=50)
    redact_pii_sub: Literal["hash", "entity_name"] | None = None
    session_heartbeat: bool | None = None
    acknowledge_silence: bool | None = None
    webhook_url: str | None = _within(max_length=2000)
    webhook_auth_header_name: str | None = _within(max_length=200)
    webhook_auth_header_value: str | None = _within(max_length=2000, shown=False)
    customer_support_audio_capture: bool | None = None

    def __post_init__(self) -> None:
        """Refuse here what the service would refuse."""
        from pydantic import ValidationError  # noqa: PLC0415 - see Rule 3

        try:
            _checks().model_validate({one.name: getattr(self, one.name) for one in fields(self)})
        except ValidationError as error:
            raise _refused(error) from None
        for name in LISTS:
            if (texts := getattr(self, name)) is not None:
                object.__setattr__(self, name, tuple(texts))  # the application may change its list later
        low, high = self.min_turn_silence_s, self.max_turn_silence_s
        if low is not None and high is not None and low > high:
            raise ConfigurationError(
                f"StreamingParameters: min_turn_silence_s ({low:g}) must not exceed max_turn_silence_s ({high:g})"
            )

    def changed(self, changes: Mapping[str, object]) -> StreamingParameters:
        """Return a copy with these changes, which must be of settings that may change in mid-call.

        Raises:
            ConfigurationError: A name is unknown, fixed for the call, or its value out of range.
        """
        for name, value in changes.items():
            if name not in CHANGEABLE:
                known = "is fixed for the call" if hasattr(self, name) else "is unknown"
                raise ConfigurationError(f"update: {name} {known}; what may change is {', '.join(CHANGEABLE)}")
            if value is None:
                raise ConfigurationError(f"update: {name} needs a value: the service's default cannot be requested")
        return replace(self, **cast("dict[str, Any]", dict(changes)))

    def restoring(self, names: Sequence[str], model: str) -> dict[str, object]:
        """Return the changes that restore these settings: their present values, or the service's documented defaults.

        Raises:
            ConfigurationError: A value is not set, and the default is not documented.
        """
        defaults: Mapping[str, object] = DEFAULTS["word by word" if is_word_by_word(model) else "u3"]
        before: dict[str, object] = {}
        for name in names:
            value = getattr(self, name, None)
            before[name] = defaults.get(name) if value is None else value
            if before[name] is None or (value is None and self.mode is not None and "silence" in name):
                raise ConfigurationError(
                    f"updated: the default of {name} is not documented; set it in StreamingParameters, so that it can "
                    "be restored"
                )
        return before

    def on_the_wire(self, model: str) -> Changes:
        """Return what is sent, by the service's names: what is set, and the signs of life that are requested.

        Raises:
            ConfigurationError: The installed SDK refuses a value.
        """
        from assemblyai.streaming.v3 import RealTimeParameters  # noqa: PLC0415 - see Rule 3
        from pydantic import ValidationError  # noqa: PLC0415

        asked: dict[str, Any] = {"session_heartbeat": True}
        if not is_word_by_word(model):
            asked["acknowledge_silence"] = True
        for one in fields(self):
            if (value := getattr(self, one.name)) is not None:
                asked[sent_name(one.name)] = (
                    round(value * 1000) if one.name in MILLISECONDS else list(value) if one.name in LISTS else value
                )
        # The SDK's model drops fields that it does not know yet, and some of its lists of values end with its own day.
        names = RealTimeParameters.model_fields.keys() - OPEN_ENDED
        newer = {name: value for name, value in asked.items() if name not in names}
        try:
            known = RealTimeParameters.model_validate({name: asked[name] for name in asked if name in names})
        except ValidationError as error:
            raise _refused(error) from None
        return {**known.model_dump(mode="json", exclude_none=True), **newer}

    @property
    def sends_partials(self) -> bool:
        """Whether the service sends messages while somebody speaks."""
        return not (
            self.include_partial_turns is False
            or self.continuous_partials is False
            or (self.redact_pii and not self.include_partial_turns)
            or (self.speaker_labels and not self.continuous_partials)
        )


CHANGEABLE: Final = (
    "min_turn_silence_s", "max_turn_silence_s", "end_of_turn_confidence_threshold", "format_turns", "vad_threshold",
    "keyterms_prompt", "prompt", "agent_context", "interruption_delay_s", "continuous_partials", "turn_left_pad_s",
    "language_codes", "filter_profanity", "session_heartbeat", "acknowledge_silence",
)  # fmt: skip
"""What may change in mid-call."""

MILLISECONDS: Final = {
    "min_turn_silence_s": "min_turn_silence",
    "max_turn_silence_s": "max_turn_silence",
    "interruption_delay_s": "interruption_delay",
    "turn_left_pad_s": "turn_left_pad_ms",
    "speaker_labels_revision_interval_s": "speaker_labels_revision_interval_ms",
}
"""Seconds here, milliseconds under these names at the service."""

LISTS: Final = ("keyterms_prompt", "language_codes", "redact_pii_policies")

OPEN_ENDED: Final = {"domain", "redact_pii_policies"}
"""Any text here; the SDK lists only some values, and the service decides."""

SHARED: Final = {
    "keyterms_prompt": (),
    "agent_context": "",
    "filter_profanity": False,
    "session_heartbeat": True,
    "format_turns": False,
}

DEFAULTS: Final[dict[str, dict[str, object]]] = {
    "u3": {
        **SHARED,
        "min_turn_silence_s": 0.1,
        "max_turn_silence_s": 1.0,
        "vad_threshold": 0.3,
        "prompt": "",
        "interruption_delay_s": 0.5,
        "continuous_partials": True,
        "acknowledge_silence": True,
    },
    "word by word": {
        **SHARED,
        "min_turn_silence_s": 0.4,
        "max_turn_silence_s": 1.28,
        "vad_threshold": 0.4,
        "end_of_turn_confidence_threshold": 0.4,
    },
}
"""What applies where nothing was set: the service's documented defaults, and what `on_the_wire` requests."""

URL_CHARACTERS: Final = 4_000
"""A longer query may be refused on the way; long settings are then sent once the connection is made."""


def sent_name(name: str) -> str:
    """Return a field's name at the service."""
    return MILLISECONDS.get(name) or name.removesuffix("_s")


def query(asked: Mapping[str, JsonValue]) -> list[tuple[str, str]]:
    """Return the query of a connection. Lists travel as JSON in one value, as repeated names are refused."""
    return [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in asked.items()]


def is_word_by_word(model: str) -> bool:
    """Whether a model is one of the families before U3: words come one by one, and silence is not acknowledged."""
    return model.startswith(("universal-streaming", "whisper"))


@cache
def _checks() -> type[BaseModel]:
    """Return the fields of `StreamingParameters` with their limits as a model of pydantic."""
    from pydantic import ConfigDict, Field, create_model  # noqa: PLC0415 - see Rule 3

    types = get_type_hints(StreamingParameters)
    checks: dict[str, Any] = {}
    for one in fields(StreamingParameters):
        limits = dict(one.metadata)
        if each := limits.pop("each", None):
            text = Annotated[str, Field(min_length=1, max_length=each, pattern=r"\S")]
            types[one.name] = Sequence[text] | None
        checks[one.name] = (types[one.name], Field(**limits))
    return create_model("StreamingParameters", __config__=ConfigDict(strict=True, allow_inf_nan=False), **checks)


def _refused(error: ValidationError) -> ConfigurationError:
    first = error.errors(include_url=False)[0]
    name, found = ".".join(map(str, first["loc"])), first["input"]
    # Only numbers are shown: a text may be private.
    shown = f", not {found!r}" if isinstance(found, (int, float)) else ""
    return ConfigurationError(f"StreamingParameters: {name}: {first['msg']}{shown}")
