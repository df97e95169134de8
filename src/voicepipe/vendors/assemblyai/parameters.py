"""How streaming recognition is set: what the service takes, checked before it is sent.

Rule 1: seconds here, milliseconds on the wire; a field's docstring says the vendor's name where it is another one.
Rule 2: None is the service's own default, and is not sent.

Source: the vendor's streaming reference and its Python SDK 1.8.2, read 2026-11-22.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic import JsonValue

__all__ = ["StreamingParameters", "is_word_by_word"]

CONTEXT_CHARACTERS: Final = 1750
"""The longest `prompt` and `agent_context`."""

Changes: TypeAlias = "dict[str, JsonValue]"


@dataclass(frozen=True, slots=True)
class _Number:
    name: str
    low: float
    high: float
    is_changeable: bool = False
    is_whole: bool = False
    per_unit: int = 1

    def expected(self, value: object) -> str:
        kinds = int if self.is_whole else (int, float)
        fits = (
            isinstance(value, kinds) and not isinstance(value, bool) and self.low <= cast("float", value) <= self.high
        )
        return "" if fits else f"{'a whole number' if self.is_whole else 'a number'} from {self.low:g} to {self.high:g}"

    def sent(self, value: Any) -> JsonValue:  # noqa: ANN401
        return round(value * self.per_unit) if self.per_unit > 1 or self.is_whole else float(value)


@dataclass(frozen=True, slots=True)
class _Flag:
    name: str
    is_changeable: bool = False

    def expected(self, value: object) -> str:
        return "" if isinstance(value, bool) else "True or False"

    def sent(self, value: Any) -> JsonValue:  # noqa: ANN401
        return bool(value)


@dataclass(frozen=True, slots=True)
class _Text:
    name: str
    most: int
    is_changeable: bool = False
    choices: tuple[str, ...] = ()

    def expected(self, value: object) -> str:
        if self.choices:
            return "" if value in self.choices else f"one of {', '.join(map(repr, self.choices))}"
        return "" if isinstance(value, str) and len(value) <= self.most else f"a text of at most {self.most} characters"

    def sent(self, value: Any) -> JsonValue:  # noqa: ANN401
        return str(value)


@dataclass(frozen=True, slots=True)
class _Texts:
    name: str
    most: int
    most_characters: int
    is_changeable: bool = False

    def expected(self, value: object) -> str:
        texts: Sequence[object] = () if isinstance(value, (str, bytes)) or not isinstance(value, Sequence) else value
        fits = len(texts) <= self.most and all(
            isinstance(text, str) and text.strip() and len(text) <= self.most_characters for text in texts
        )
        if fits and texts is value:
            return ""
        return f"a list of at most {self.most} texts of 1 to {self.most_characters} characters"

    def sent(self, value: Any) -> JsonValue:  # noqa: ANN401
        return list(value)


_Wire: TypeAlias = _Number | _Flag | _Text | _Texts
"""How a field is checked (`expected` returns what was expected, "" when the value will do) and sent."""


def _on(wire: _Wire, *, shown: bool = True) -> Any:  # noqa: ANN401 - a dataclass field of any type
    return field(default=None, metadata={"wire": wire}, repr=shown)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingParameters:
    """Settings of streaming recognition; those marked (*) may change in mid-call by `AssemblyAIRecogniser.update`.

    Audio is always sent as 16-bit PCM, so there is no encoding to choose; `llm_gateway` is not offered, since the
    agent's model is a stage of its own.

    Attributes:
        sample_rate: Samples per second of the audio, 8000 to 96000. 16000 is what the models are made for.
        mode: Presets of the silences on U3 models; set silences override it.
        min_turn_silence_s: (*) Silence after which a turn may end, 0.05 to 10; `min_turn_silence` in ms. With U3
            models it ends there if what was said sounds finished.
        max_turn_silence_s: (*) Silence after which a turn ends in any case, 0.05 to 10; `max_turn_silence` in ms.
        end_of_turn_confidence_threshold: (*) 0 to 1; without effect on U3 models.
        format_turns: (*) Whether final transcripts are punctuated; U3 models always do it.
        vad_threshold: (*) From which probability on something is speech, 0 to 1.
        keyterms_prompt: (*) Words to expect: at most 100 of 50 characters each. An empty list clears them.
        prompt: (*) Instructions to a U3 model, at most 1750 characters.
        agent_context: (*) What the agent said last, at most 1750 characters. The recogniser keeps it by itself.
        previous_context_n_turns: How many earlier turns the model sees, 0 to 100.
        interruption_delay_s: (*) Speech after which the first partial may come, 0 to 1; `interruption_delay` in ms. The
            service adds 0.256.
        continuous_partials: (*) Whether partials go on while somebody speaks.
        include_partial_turns: Whether there are partials at all.
        turn_left_pad_s: (*) `turn_left_pad_ms`.
        language_codes: (*) At most 10, or ["multi"].
        language_detection: Whether the language is told.
        inactivity_timeout_s: The service ends a session that sends nothing for so long, 5 to 3600.
        speaker_labels: Whether speakers are told apart.
        max_speakers: 1 to 10.
        speaker_labels_revision_interval_s: 0, or 120 to 300; `speaker_labels_revision_interval_ms`.
        voice_focus: "near-field" or "far-field".
        voice_focus_threshold: 0 to 1.
        domain: E.g. "medical-v1".
        filter_profanity: (*) Whether swear words are masked.
        redact_pii: Whether personal data is taken out; there are no partials then.
        redact_pii_policies: Which kinds of data.
        redact_pii_sub: What stands in their place.
        session_heartbeat: (*) Whether the service says every 5 s that it is there; asked for unless this is False.
        acknowledge_silence: (*) Whether a U3 model says each second that it hears silence; asked for unless this is
            False. With both a service that has gone silent is noticed within 5 s, also while nobody speaks.
        webhook_url: Where the service reports to as well.
        webhook_auth_header_name: Of a header of those reports.
        webhook_auth_header_value: Its value; part of the URL of the connection, as the service wants it.
        customer_support_audio_capture: Whether the vendor may keep the audio.

    Raises:
        ConfigurationError: A value is out of range.
    """

    sample_rate: int = field(default=16_000, metadata={"wire": _Number("sample_rate", 8_000, 96_000, is_whole=True)})
    mode: Literal["min_latency", "balanced", "max_accuracy"] | None = _on(
        _Text("mode", 0, choices=("min_latency", "balanced", "max_accuracy"))
    )
    min_turn_silence_s: float | None = _on(_Number("min_turn_silence", 0.05, 10, is_changeable=True, per_unit=1000))
    max_turn_silence_s: float | None = _on(_Number("max_turn_silence", 0.05, 10, is_changeable=True, per_unit=1000))
    end_of_turn_confidence_threshold: float | None = _on(
        _Number("end_of_turn_confidence_threshold", 0, 1, is_changeable=True)
    )
    format_turns: bool | None = _on(_Flag("format_turns", is_changeable=True))
    vad_threshold: float | None = _on(_Number("vad_threshold", 0, 1, is_changeable=True))
    keyterms_prompt: Sequence[str] | None = _on(_Texts("keyterms_prompt", 100, 50, is_changeable=True))
    prompt: str | None = _on(_Text("prompt", CONTEXT_CHARACTERS, is_changeable=True))
    agent_context: str | None = _on(_Text("agent_context", CONTEXT_CHARACTERS, is_changeable=True), shown=False)
    previous_context_n_turns: int | None = _on(_Number("previous_context_n_turns", 0, 100, is_whole=True))
    interruption_delay_s: float | None = _on(_Number("interruption_delay", 0, 1, is_changeable=True, per_unit=1000))
    continuous_partials: bool | None = _on(_Flag("continuous_partials", is_changeable=True))
    include_partial_turns: bool | None = _on(_Flag("include_partial_turns"))
    turn_left_pad_s: float | None = _on(_Number("turn_left_pad_ms", 0, 10, is_changeable=True, per_unit=1000))
    language_codes: Sequence[str] | None = _on(_Texts("language_codes", 10, 10, is_changeable=True))
    language_detection: bool | None = _on(_Flag("language_detection"))
    inactivity_timeout_s: int | None = _on(_Number("inactivity_timeout", 5, 3600, is_whole=True))
    speaker_labels: bool | None = _on(_Flag("speaker_labels"))
    max_speakers: int | None = _on(_Number("max_speakers", 1, 10, is_whole=True))
    speaker_labels_revision_interval_s: float | None = _on(
        _Number("speaker_labels_revision_interval_ms", 0, 300, per_unit=1000)
    )
    voice_focus: Literal["near-field", "far-field"] | None = _on(
        _Text("voice_focus", 0, choices=("near-field", "far-field"))
    )
    voice_focus_threshold: float | None = _on(_Number("voice_focus_threshold", 0, 1))
    domain: str | None = _on(_Text("domain", 50))
    filter_profanity: bool | None = _on(_Flag("filter_profanity", is_changeable=True))
    redact_pii: bool | None = _on(_Flag("redact_pii"))
    redact_pii_policies: Sequence[str] | None = _on(_Texts("redact_pii_policies", 100, 50))
    redact_pii_sub: Literal["hash", "entity_name"] | None = _on(
        _Text("redact_pii_sub", 0, choices=("hash", "entity_name"))
    )
    session_heartbeat: bool | None = _on(_Flag("session_heartbeat", is_changeable=True))
    acknowledge_silence: bool | None = _on(_Flag("acknowledge_silence", is_changeable=True))
    webhook_url: str | None = _on(_Text("webhook_url", 2000))
    webhook_auth_header_name: str | None = _on(_Text("webhook_auth_header_name", 200))
    webhook_auth_header_value: str | None = _on(_Text("webhook_auth_header_value", 2000), shown=False)
    customer_support_audio_capture: bool | None = _on(_Flag("customer_support_audio_capture"))

    def __post_init__(self) -> None:
        """Refuse what the service would refuse, before it is asked."""
        for name, wire in WIRES.items():
            value = getattr(self, name)
            if value is None and name != "sample_rate":
                continue
            if expected := wire.expected(value):
                shown = f"not {value!r}" if isinstance(value, (int, float)) else f"which this {_kind(value)} is not"
                raise ConfigurationError(f"StreamingParameters: {name} must be {expected}, {shown}")
            if isinstance(wire, _Texts):
                object.__setattr__(
                    self, name, tuple(cast("Sequence[str]", value))
                )  # what the application's list becomes is its own affair
        low, high = self.min_turn_silence_s, self.max_turn_silence_s
        if low is not None and high is not None and low > high:
            raise ConfigurationError(
                f"StreamingParameters: min_turn_silence_s ({low:g}) must not exceed max_turn_silence_s ({high:g})"
            )

    def changed(self, changes: Mapping[str, object]) -> StreamingParameters:
        """Return these with other values, as far as they may change in mid-call.

        Raises:
            ConfigurationError: A name is unknown, fixed for the call, or its value out of range.
        """
        for name, value in changes.items():
            if name not in WIRES or not WIRES[name].is_changeable:
                changeable = ", ".join(name for name, wire in WIRES.items() if wire.is_changeable)
                known = "is fixed for the call" if name in WIRES else "is unknown"
                raise ConfigurationError(f"update: {name} {known}; what may change is {changeable}")
            if value is None:
                raise ConfigurationError(f"update: {name} needs a value: the service's default cannot be asked for")
        return replace(self, **cast("dict[str, Any]", dict(changes)))

    def restoring(self, names: Sequence[str], model: str) -> dict[str, object]:
        """Return what sets these names back to what they are now, or to the service's documented defaults.

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
                    f"updated: what {name} is by default is not documented; set it in StreamingParameters, so that "
                    "there is something to return to"
                )
        return before

    def on_the_wire(self, model: str) -> Changes:
        """Return what is sent, by the service's names: what is set, and the signs of life that are asked for."""
        asked = {
            wire.name: wire.sent(value) for name, wire in WIRES.items() if (value := getattr(self, name)) is not None
        }
        asked.setdefault("session_heartbeat", True)
        if not is_word_by_word(model):
            asked.setdefault("acknowledge_silence", True)
        return asked

    @property
    def sends_partials(self) -> bool:
        """Whether something is heard from the service while somebody speaks."""
        return not (
            self.include_partial_turns is False
            or self.continuous_partials is False
            or (self.redact_pii and not self.include_partial_turns)
            or (self.speaker_labels and not self.continuous_partials)
        )


WIRES: Final[dict[str, _Wire]] = {one.name: one.metadata["wire"] for one in fields(StreamingParameters)}
"""How each field is checked and sent, by its name here."""

CHANGEABLE: Final = frozenset(wire.name for wire in WIRES.values() if wire.is_changeable)
"""The service's names of what may change in mid-call."""

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
"""What holds where nothing was set: the service's documented defaults, and what `on_the_wire` asks for."""

URL_CHARACTERS: Final = 4_000
"""A query beyond this may be refused on the way; what may change is sent after the connection is made instead."""


def query(asked: Mapping[str, JsonValue]) -> list[tuple[str, str]]:
    """Return the query of a connection. Lists travel as JSON in one value, as repeated names are refused."""
    return [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in asked.items()]


def is_word_by_word(model: str) -> bool:
    """Whether a model is one of the families before U3: words come one by one, and silence is not acknowledged."""
    return model.startswith(("universal-streaming", "whisper"))


def _kind(value: object) -> str:
    return "text" if isinstance(value, str) else type(value).__name__
