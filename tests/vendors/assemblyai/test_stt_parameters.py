"""Settings of streaming recognition: checked here, sent under the service's names."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl, urlencode

import pytest
from assemblyai.streaming.v3 import RealTimeParameters, RealTimeSessionParameters
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.errors import ConfigurationError
from voicepipe.vendors.assemblyai.parameters import (
    CHANGEABLE,
    OPEN_ENDED,
    StreamingParameters,
    query,
    sent_name,
)

MODEL = "u3-rt-pro"
OLDER = "universal-streaming-english"
FIELDS = {one.name: one for one in fields(StreamingParameters)}
SIGNS = {"session_heartbeat": True, "acknowledge_silence": True}


@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [
        ("mode", "min_latency", {"mode": "min_latency"}),
        ("min_turn_silence_s", 0.1, {"min_turn_silence": 100}),
        ("max_turn_silence_s", 2.5, {"max_turn_silence": 2500}),
        ("end_of_turn_confidence_threshold", 0.4, {"end_of_turn_confidence_threshold": 0.4}),
        ("format_turns", True, {"format_turns": True}),
        ("vad_threshold", 1, {"vad_threshold": 1.0}),
        ("keyterms_prompt", ["IBAN", "Ozeki"], {"keyterms_prompt": ["IBAN", "Ozeki"]}),
        ("keyterms_prompt", [], {"keyterms_prompt": []}),
        ("prompt", "A bank.", {"prompt": "A bank."}),
        ("agent_context", "Your number?", {"agent_context": "Your number?"}),
        ("previous_context_n_turns", 3, {"previous_context_n_turns": 3}),
        ("interruption_delay_s", 0, {"interruption_delay": 0}),
        ("turn_left_pad_s", 0.25, {"turn_left_pad_ms": 250}),
        ("language_codes", ["en", "de"], {"language_codes": ["en", "de"]}),
        ("inactivity_timeout_s", 30, {"inactivity_timeout": 30}),
        ("speaker_labels_revision_interval_s", 120, {"speaker_labels_revision_interval_ms": 120_000}),
        ("voice_focus", "near-field", {"voice_focus": "near-field"}),
        ("redact_pii_sub", "hash", {"redact_pii_sub": "hash"}),
        ("session_heartbeat", False, {"session_heartbeat": False}),
    ],
)
def test_a_setting_is_sent_in_the_services_name_and_unit(name: str, value: object, sent: dict[str, object]) -> None:
    """Settings go out under the service's names, in its units; unset ones are not sent."""
    settings: Any = {name: value}
    assert StreamingParameters(**settings).on_the_wire(MODEL) == {"sample_rate": 16_000, **SIGNS, **sent}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sample_rate": 7_999}, "sample_rate: Input should be greater than or equal to 8000, not 7999"),
        ({"sample_rate": None}, "sample_rate: Input should be a valid integer"),
        ({"sample_rate": 16_000.0}, "sample_rate: Input should be a valid integer, not 16000.0"),
        ({"mode": "fast"}, "mode: Input should be 'min_latency', 'balanced' or 'max_accuracy'"),
        ({"min_turn_silence_s": 100}, "min_turn_silence_s: Input should be less than or equal to 10, not 100"),
        ({"min_turn_silence_s": 0.049}, "min_turn_silence_s: Input should be greater than or equal to 0.05, not 0.049"),
        ({"max_turn_silence_s": float("nan")}, "max_turn_silence_s: Input should be a finite number, not nan"),
        ({"max_turn_silence_s": True}, "max_turn_silence_s: Input should be a valid number, not True"),
        ({"min_turn_silence_s": 2, "max_turn_silence_s": 1}, "(2) must not exceed max_turn_silence_s (1)"),
        ({"vad_threshold": 1.01}, "vad_threshold: Input should be less than or equal to 1, not 1.01"),
        ({"format_turns": 1}, "format_turns: Input should be a valid boolean, not 1"),
        ({"keyterms_prompt": ["x"] * 101}, "keyterms_prompt: Value should have at most 100 items"),
        ({"keyterms_prompt": ["ok", "x" * 51]}, "keyterms_prompt.1: String should have at most 50 characters"),
        ({"keyterms_prompt": [""]}, "keyterms_prompt.0: String should have at least 1 character"),
        ({"keyterms_prompt": [" "]}, "keyterms_prompt.0: String should match"),
        ({"keyterms_prompt": "IBAN"}, "keyterms_prompt: 'str' instances are not allowed"),
        ({"prompt": "x" * 1751}, "prompt: String should have at most 1750 characters"),
        ({"prompt": "half a pair \ud83d"}, "prompt: Input should be a valid string"),
        ({"agent_context": "x" * 1751}, "agent_context: String should have at most 1750 characters"),
        ({"previous_context_n_turns": 101}, "previous_context_n_turns: Input should be less than or equal to 100"),
        ({"interruption_delay_s": 1.1}, "interruption_delay_s: Input should be less than or equal to 1"),
        ({"language_codes": ["en"] * 11}, "language_codes: Value should have at most 10 items"),
        ({"inactivity_timeout_s": 4}, "inactivity_timeout_s: Input should be greater than or equal to 5"),
        ({"max_speakers": 11}, "max_speakers: Input should be less than or equal to 10"),
        ({"voice_focus": "near"}, "voice_focus: Input should be 'near-field' or 'far-field'"),
    ],
)
def test_what_the_service_would_refuse_is_refused_here(settings: dict[str, Any], said: str) -> None:
    """A value out of range is an error before anything is connected, with the field, the limit and what was found."""
    with pytest.raises(ConfigurationError) as raised:
        StreamingParameters(**settings)
    assert said in str(raised.value)


def test_an_unknown_setting_is_refused() -> None:
    """A misspelt name, which the service would ignore silently, is an error."""
    settings: Any = {"min_turn_silence": 100}
    with pytest.raises(TypeError, match="min_turn_silence"):
        StreamingParameters(**settings)


def test_a_text_is_not_repeated_in_the_error() -> None:
    """Text for the model may be private, so an error does not quote it."""
    with pytest.raises(ConfigurationError) as raised:
        StreamingParameters(prompt="secret " * 300)
    assert "secret" not in str(raised.value)


def test_secrets_and_speech_are_not_shown() -> None:
    """The repr shows neither a webhook's header nor the agent's words."""
    shown = repr(StreamingParameters(webhook_auth_header_value="s3cret", agent_context="You owe 40 euros."))
    assert "s3cret" not in shown
    assert "40 euros" not in shown


def test_a_list_is_kept_as_it_was() -> None:
    """Settings do not change with the list they were made from."""
    terms = ["IBAN"]
    parameters = StreamingParameters(keyterms_prompt=terms)
    terms.append("BIC")
    assert parameters.keyterms_prompt == ("IBAN",)


def test_the_query_holds_each_name_once() -> None:
    """Lists travel as JSON in one value and booleans in small letters, because repeated names are refused."""
    parameters = StreamingParameters(keyterms_prompt=["a b", "é"], filter_profanity=True, prompt="x & y=z")
    sent = parse_qsl(urlencode(query(parameters.on_the_wire(MODEL))))

    values = dict(sent)
    assert len(values) == len(sent)
    assert json.loads(values["keyterms_prompt"]) == ["a b", "é"]
    assert (values["filter_profanity"], values["prompt"], values["sample_rate"]) == ("true", "x & y=z", "16000")


def test_models_before_u3_are_not_asked_to_acknowledge_silence() -> None:
    """Older models are not asked for what only newer ones know."""
    assert StreamingParameters().on_the_wire(OLDER) == {"sample_rate": 16_000, "session_heartbeat": True}


def test_what_may_change_is_what_the_service_lets_change() -> None:
    """The names that may change in mid-call are the SDK's list, without a name it has given up, and one it misses."""
    theirs = RealTimeSessionParameters.model_fields.keys() - {"min_end_of_turn_silence_when_confident"}
    assert set(map(sent_name, CHANGEABLE)) == theirs | {"continuous_partials"}


def test_the_fields_are_the_sdks() -> None:
    """Each name on the wire is the SDK's but for the newer ones; what it has beyond ours is not offered on purpose."""
    ours, theirs = set(map(sent_name, FIELDS)), set(RealTimeParameters.model_fields)
    assert ours - theirs == {"previous_context_n_turns"}
    assert theirs - ours == {
        "encoding", "llm_gateway", "speech_model", "language_code",
        "min_end_of_turn_silence_when_confident", "noise_suppression_model", "noise_suppression_threshold",
    }  # fmt: skip


def test_what_the_sdk_does_not_know_yet_is_sent_as_it_is() -> None:
    """A domain or a kind of personal data that is newer than the installed SDK still reaches the service."""
    parameters = StreamingParameters(domain="law-v2", redact_pii_policies=["iris_scan"], previous_context_n_turns=5)
    sent = parameters.on_the_wire(MODEL)
    assert sent.keys() >= OPEN_ENDED
    assert (sent["domain"], sent["redact_pii_policies"]) == ("law-v2", ["iris_scan"])
    assert sent["previous_context_n_turns"] == 5
    assert dict(query(sent))["redact_pii_policies"] == '["iris_scan"]'


def test_what_only_the_sdk_refuses_is_refused_with_the_services_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that a later SDK may have is a configuration error too."""

    class Later(RealTimeParameters):
        max_speakers: Literal[2]  # type: ignore[assignment]

    monkeypatch.setattr("assemblyai.streaming.v3.RealTimeParameters", Later)
    with pytest.raises(ConfigurationError, match="max_speakers: Input should be 2, not 3"):
        StreamingParameters(max_speakers=3).on_the_wire(MODEL)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sample_rate": 8_000}, "sample_rate is fixed for the call; what may change is min_turn_silence_s"),
        ({"min_silence": 1.0}, "min_silence is unknown"),
        ({"prompt": None}, "prompt needs a value"),
        ({"vad_threshold": 2}, "vad_threshold: Input should be less than or equal to 1, not 2"),
    ],
)
def test_a_change_is_checked_likewise(changes: dict[str, object], said: str) -> None:
    """A change of a fixed or unknown setting, or out of range, is refused and changes nothing."""
    parameters = StreamingParameters(vad_threshold=0.5)
    with pytest.raises(ConfigurationError) as raised:
        parameters.changed(changes)
    assert said in str(raised.value)
    assert parameters == StreamingParameters(vad_threshold=0.5)


@pytest.mark.parametrize(
    ("parameters", "model", "names", "before"),
    [
        (StreamingParameters(), MODEL, ["min_turn_silence_s"], {"min_turn_silence_s": 0.1}),
        (StreamingParameters(), OLDER, ["min_turn_silence_s"], {"min_turn_silence_s": 0.4}),
        (StreamingParameters(prompt="A bank."), MODEL, ["prompt"], {"prompt": "A bank."}),
        (StreamingParameters(), MODEL, ["prompt", "keyterms_prompt"], {"prompt": "", "keyterms_prompt": ()}),
    ],
)
def test_a_change_can_be_taken_back(
    parameters: StreamingParameters, model: str, names: list[str], before: dict[str, object]
) -> None:
    """A setting that was set is restored; another takes the service's documented default."""
    assert parameters.restoring(names, model) == before
    parameters.changed(before)  # and that is something that may be sent


@pytest.mark.parametrize(
    ("parameters", "name"),
    [(StreamingParameters(), "language_codes"), (StreamingParameters(mode="min_latency"), "min_turn_silence_s")],
)
def test_what_cannot_be_taken_back_is_not_changed(parameters: StreamingParameters, name: str) -> None:
    """A setting with no documented default cannot be restored unless it was set, so it is not changed."""
    with pytest.raises(ConfigurationError, match=f"the default of {name} is not documented"):
        parameters.restoring([name], MODEL)


@given(
    st.sampled_from(sorted(FIELDS)), st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.lists(st.text()))
)
def test_any_value_is_sent_or_refused(name: str, value: object) -> None:
    """Any value is either refused or makes a query that can be sent."""
    settings: Any = {name: value}
    try:
        parameters = StreamingParameters(**settings)
    except ConfigurationError:
        return
    assert urlencode(query(parameters.on_the_wire(MODEL))).isascii()


def values_of(name: str) -> str:
    """Return a setting's values as the documentation has them."""
    hint, limits = get_type_hints(StreamingParameters)[name], FIELDS[name].metadata
    kind = next((one for one in get_args(hint) if one is not type(None)), hint)
    if get_origin(kind) is Literal:
        return ", ".join(get_args(kind))
    if kind is bool:
        return "True, False"
    if "each" in limits:
        return f"at most {limits['max_length']} texts of {limits['each']} characters"
    return f"{limits['ge']} to {limits['le']}" if "ge" in limits else f"at most {limits['max_length']} characters"


def test_the_documentation_has_every_setting() -> None:
    """The table in docs/assemblyai.md names each field, whether it may change, the vendor's name and the values."""
    page = (Path(__file__).parents[3] / "docs" / "assemblyai.md").read_text(encoding="utf-8")
    table = page.partition("### Every parameter")[2].partition("### ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in table.splitlines() if line.startswith("| `")]
    assert rows == [
        [
            f"`{name}`" + " *" * (name in CHANGEABLE),
            f"`{sent_name(name)}`" if sent_name(name) != name else "",
            values_of(name),
        ]
        for name in FIELDS
    ]
