"""Cartesia's websocket, without a socket and without a clock; what it shares with ElevenLabs' is tested there."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from voicepipe.errors import AuthenticationError, ConfigurationError, RateLimited, VendorError
from voicepipe.vendors.cartesia.protocol import CartesiaProtocol
from voicepipe.vendors.cartesia.refusals import refusal
from voicepipe.vendors.line.speech_protocol import SpeechRequest

AUDIO = base64.b64encode(bytes(480)).decode()


def begun() -> CartesiaProtocol:
    return CartesiaProtocol(0.0, sample_rate=24_000, clean=str.strip, settings={"model_id": "sonic-3.5"})


def asked(protocol: CartesiaProtocol, *texts: str) -> list[SpeechRequest]:
    requests = [SpeechRequest(text) for text in texts]
    for request in requests:
        protocol.ask(request)
    return requests


def sent(protocol: CartesiaProtocol, now: float = 0.0) -> list[dict[str, Any]]:
    return [json.loads(frame) for frame in protocol.frames(now)]


def received(protocol: CartesiaProtocol, kind: str, context_id: str | None, now: float = 0.0, **fields: Any) -> bool:
    found = {} if context_id is None else {"context_id": context_id}
    return protocol.receive(json.dumps({"type": kind, "done": False, **found, **fields}), now)


def test_a_request_is_one_message_and_two_are_spoken_at_once() -> None:
    """A context holds one whole sentence; a third request waits until one of two contexts is done."""
    protocol = begun()
    one, two, _ = asked(protocol, "Hi you.", "Yes.", "No.")
    assert sent(protocol) == [
        {"model_id": "sonic-3.5", "context_id": "1", "transcript": "Hi you.", "continue": False},
        {"model_id": "sonic-3.5", "context_id": "2", "transcript": "Yes.", "continue": False},
    ]
    assert not received(protocol, "chunk", "2", data=AUDIO)
    assert not received(protocol, "timestamps", "2", word_timestamps={"words": ["Yes"], "start": [0.0], "end": [0.4]})
    assert not received(protocol, "flush_done", "2", flush_id=1)
    assert not received(protocol, "phoneme_timestamps", "2")
    assert received(protocol, "done", "2")
    assert [(word.word, word.end_s) for word in two.words] == [("Yes", 0.4)]
    assert (one.is_done, two.is_done, two.has_all_words, two.came_bytes) == (False, True, True, 480)
    assert [message["transcript"] for message in sent(protocol)] == ["No."]


def test_a_withdrawn_request_is_cancelled_and_forgotten() -> None:
    """Its late audio, its end and its error concern nobody, and its place is free at once."""
    protocol = begun()
    one, two, three = asked(protocol, "a", "b", "c")
    sent(protocol)
    protocol.drop(one, 1.0)
    assert sent(protocol, 1.0) == [
        {"context_id": "1", "cancel": True},
        {"model_id": "sonic-3.5", "context_id": "3", "transcript": "c", "continue": False},
    ]
    for kind, fields in (("chunk", {"data": AUDIO}), ("done", {}), ("error", {"status_code": 500})):
        received(protocol, kind, "1", **fields)
    assert (one.came_bytes, two.error, three.error, protocol.error) == (0, None, None, None)
    assert protocol.wake_at(1.0) == 3.5
    protocol.drop(two, 1.0)
    protocol.drop(three, 1.0)
    protocol.leave()
    assert [message["context_id"] for message in sent(protocol, 1.0)] == ["2", "3"]
    assert protocol.has_ended


def test_too_many_at_once_is_tried_again() -> None:
    """A sentence that the account's limit refuses is asked for once more after half a second, and then it fails."""
    protocol = begun()
    (one,) = asked(protocol, "a")
    sent(protocol)
    assert received(protocol, "error", "1", 1.0, status_code=429, error_code="concurrency_limited", title="Too many")
    assert (one.error, sent(protocol, 1.0), protocol.wake_at(1.0)) == (None, [], 1.5)
    assert [message["context_id"] for message in sent(protocol, 1.5)] == ["2"]
    received(protocol, "error", "2", 2.0, status_code=429, title="Too many")
    assert isinstance(one.error, RateLimited)
    assert protocol.error is None


def test_a_refusal_without_a_context_ends_the_session() -> None:
    """It says more than the close that follows."""
    protocol = begun()
    received(protocol, "error", None, status_code=401, title="Unauthorized", message="Invalid API key")
    assert isinstance(protocol.error, AuthenticationError)
    assert protocol.closed(1008, "") is protocol.error
    assert "code 1000: idle" in str(begun().closed(1000, "idle"))


@pytest.mark.parametrize(
    "message",
    [
        "nothing", "[]", '{"type": "chunk", "context_id": "1"}', '{"type": "chunk", "context_id": "1", "data": "?"}',
        '{"type": "timestamps", "context_id": "1", "word_timestamps": {"words": ["a"], "end": []}}',
        '{"type": "timestamps", "context_id": "1", "word_timestamps": null}', '{"type": ["done"], "context_id": "1"}',
    ],
)  # fmt: skip
def test_unreadable_messages_are_skipped(message: str) -> None:
    """Whatever the service sends, nothing is raised, and the request goes on."""
    protocol = begun()
    (request,) = asked(protocol, "a")
    sent(protocol)
    protocol.receive(message, 0.0)
    received(protocol, "done", "1")
    assert (request.is_done, request.error, request.words, protocol.error) == (True, None, [], None)


@pytest.mark.parametrize(
    ("status", "said", "kind", "error", "words"),
    [
        (401, "Unauthorized", "", AuthenticationError, "CARTESIA_API_KEY"),
        (403, "Not in your plan", "", AuthenticationError, "what it may do"),
        (402, "", "", VendorError, "top up"),
        (403, "You are out of credits", "", VendorError, "top up"),
        (429, "Too many", "concurrency_limited", RateLimited, "fewer calls"),
        (404, "Not found", "voice_not_found", ConfigurationError, "voice_id"),
        (400, "Invalid", "model_not_found", ConfigurationError, "model_id"),
        (400, "language is not supported", "", ConfigurationError, "language"),
        (400, "transcript is empty", "", VendorError, "refuse it again"),
        (500, "", "", VendorError, "immediately"),
    ],
)
def test_refusals_say_what_to_do(status: int, said: str, kind: str, error: type[Exception], words: str) -> None:
    """Each refusal is an error of the kind that says who has to act."""
    found = refusal(status, said, kind=kind)
    assert type(found) is error
    assert words in str(found)
    if type(found) is VendorError:
        assert found.retryable is (status == 500)
