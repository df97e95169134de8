"""What the service sends, as the SDK's models: whole, or field by field where it does not fit them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from voicepipe.vendors.assemblyai.stt_messages import MANY, MOST_REPORTS, MessageReader

WORD = {"text": "Yes.", "start": 1000, "end": 1300, "confidence": 0.9, "word_is_final": True}
TURN = {
    "type": "Turn",
    "turn_order": 3,
    "turn_is_formatted": True,
    "end_of_turn": True,
    "end_of_turn_confidence": 1.0,
    "transcript": "Yes.",
    "words": [WORD],
}
BEGIN = {"type": "Begin", "id": "a", "expires_at": 1_790_000_000}


def read(message: dict[str, Any]) -> Any:
    """Read one message."""
    return MessageReader().read(json.dumps(message).encode())


def without(name: str) -> dict[str, Any]:
    """A turn that lacks a field."""
    return {key: value for key, value in TURN.items() if key != name}


@pytest.mark.parametrize(
    "message",
    [
        TURN,
        BEGIN | {"configuration": {"model": "u3-rt-pro"}},
        {"type": "SpeechStarted", "timestamp": 1480, "confidence": 0.93},
        {"type": "Silence", "start_ms": 0, "end_ms": 1000},
        {"type": "Heartbeat", "total_audio_received_ms": 1, "total_duration_ms": 1, "realtime_factor": 1.0},
        {"type": "Warning", "warning_code": 3101, "warning": "text"},
        {"type": "Error", "error_code": 3007, "error": "too short"},
        {"type": "Termination", "audio_duration_seconds": 1, "session_duration_seconds": 1},
        {"type": "SpeakerRevision", "revisions": [{"turn_order": 3, "words": [WORD]}]},
        {"type": "LLMGatewayResponse", "turn_order": 3, "transcript": "Yes.", "data": {}},
    ],
)
def test_each_kind_of_message_is_read_without_a_word(message: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """What the references describe fits the models, and nothing is logged."""
    assert read(message).type == message["type"]
    assert caplog.messages == []


def test_what_the_sdk_does_not_know_is_kept() -> None:
    """A field that is newer than the SDK can be read from its model."""
    assert read(TURN | {"utterance": "Yes."}).utterance == "Yes."


@pytest.mark.parametrize(
    ("message", "field", "value", "fault"),
    [
        (without("turn_order"), "turn_order", -1, "turn_order: Field required"),
        (without("end_of_turn"), "end_of_turn", False, "end_of_turn: Field required"),
        (without("turn_is_formatted"), "turn_is_formatted", False, "turn_is_formatted: Field required"),
        (without("end_of_turn_confidence"), "end_of_turn_confidence", 0.0, "end_of_turn_confidence: Field required"),
        (without("words"), "words", [], "words: Field required"),
        (TURN | {"words": "Yes."}, "words", [], "words: Input should be a valid list"),
        (TURN | {"turn_order": "third"}, "turn_order", -1, "turn_order: Input should be a valid integer"),
        (TURN | {"language_code": 5}, "language_code", None, "language_code: Input should be a valid string"),
        ({"type": "SpeechStarted"}, "timestamp", -1, "timestamp: Field required"),
        ({"type": "SpeechStarted", "timestamp": 1.5}, "timestamp", 1, "timestamp: Input should be a valid integer"),
        ({"type": "Error", "error_code": "x", "error": "no"}, "error", "no", "error_code: Input should be a valid"),
        ({"type": "Error", "error_code": 3005}, "error", "", "error: Field required"),
        ({"type": "Begin", "id": "a"}, "id", "a", "expires_at: Field required"),
        (BEGIN | {"configuration": {"mode": 5}}, "id", "a", "configuration.mode: Input should be a valid string"),
        ({"type": "Silence"}, "type", "Silence", "start_ms: Field required"),
    ],
)
def test_a_message_that_does_not_fit_is_read_by_its_fields(
    message: dict[str, Any], field: str, value: object, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A field that is wrong or missing says nothing, the others count, and the log says which one it is."""
    assert getattr(read(message), field) == value
    said = f"AssemblyAI sent a message of type {message['type']} that does not fit the SDK's model: {fault}"
    assert caplog.messages[0].startswith(said)


def test_half_of_an_emoji_costs_nothing() -> None:
    """A text that was cut between two halves of a character is read, although it is not strict JSON."""
    assert read(TURN | {"transcript": "Yes \ud83d"}).transcript == "Yes \ud83d"


def test_a_word_that_does_not_fit_costs_no_other() -> None:
    """Of words that lack something, or are no words, the rest is kept."""
    lacking = {key: value for key, value in WORD.items() if key not in {"word_is_final", "end"}}
    words = read(TURN | {"words": [lacking, 5, WORD]}).words
    found = [(word.text, word.start, word.end) for word in words]
    assert found == [("Yes.", 1000, -1), ("", -1, -1), ("Yes.", 1000, 1300)]


def test_a_turn_without_its_text_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """What was said cannot be made up, and the log says what was missing."""
    assert read(without("transcript")) is None
    assert "transcript: Field required" in caplog.text


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        ({"error": "not authorized"}, None, "not authorized"),
        ({"error": "too short", "error_code": 3007}, 3007, "too short"),
        ({"error": {"a": 1}}, None, ""),
    ],
)
def test_an_error_is_read_in_its_old_shape(message: dict[str, Any], code: int | None, text: str) -> None:
    """A message that has no type and an error is one."""
    error = read(message)
    assert (error.type, error.error_code, error.error) == ("Error", code, text)


@pytest.mark.parametrize(
    "raw",
    [b"", b"not json {", b"42", b"null", b'"Turn"', b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"type": ["Turn"]}', b"{}"],
)
def test_what_is_no_message_is_skipped(raw: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Broken JSON, JSON of another kind and broken UTF-8 are reported, and the next message is read."""
    messages = MessageReader()
    assert messages.read(raw) is None
    assert len(caplog.messages) == 1
    assert messages.read(json.dumps(TURN).encode()) is not None


def test_the_log_names_a_fault_once_for_each_connection(caplog: pytest.LogCaptureFixture) -> None:
    """A service that has changed logs a line, not ten a second; one that sends nonsense logs a few."""
    messages = MessageReader()
    for _ in range(100):
        messages.read(json.dumps(without("end_of_turn")).encode())
    assert len(caplog.messages) == 1
    for number in range(100):
        messages.read(json.dumps({"type": f"New{number}"}).encode())
    assert len(caplog.messages) == MOST_REPORTS


def test_the_log_does_not_repeat_what_was_said(caplog: pytest.LogCaptureFixture) -> None:
    """A fault names the field and never its content, which may be a caller's words."""
    read(TURN | {"transcript": ["my number is 1234"], "words": [{"text": "1234", "start": "1234"}]})
    assert "1234" not in caplog.text


def test_thousands_of_faults_cost_the_words_alone() -> None:
    """Where every word is broken the turn's text still counts, in one piece of work."""
    turn = read(TURN | {"words": [{}] * MANY})
    assert (turn.transcript, turn.words) == ("Yes.", [])
