"""ElevenLabs' multi-context websocket, without a socket and without a clock."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from voicepipe.errors import AuthenticationError, ConfigurationError, RateLimited, VendorError
from voicepipe.vendors.elevenlabs.protocol import ElevenLabsProtocol
from voicepipe.vendors.elevenlabs.refusals import refusal
from voicepipe.vendors.line.speech_protocol import SpeechRequest


def begun(**settings: float | bool) -> ElevenLabsProtocol:
    return ElevenLabsProtocol(0.0, sample_rate=24_000, clean=str.strip, voice_settings=settings)


def asked(protocol: ElevenLabsProtocol, *texts: str, now: float = 0.0) -> list[SpeechRequest]:
    requests = [SpeechRequest(text) for text in texts]
    for request in requests:
        protocol.ask(request)
    protocol.frames(now)
    return requests


def received(protocol: ElevenLabsProtocol, now: float = 0.0, **message: Any) -> bool:
    return protocol.receive(json.dumps(message), now)


AUDIO = base64.b64encode(bytes(480)).decode()


def test_a_request_is_a_context_that_is_opened_flushed_and_closed() -> None:
    """The text ends with a space, and settings travel with the first message alone."""
    protocol = begun(stability=0.5, speed=1.1)
    protocol.ask(SpeechRequest("Hello."))
    assert [json.loads(frame) for frame in protocol.frames(0.0)] == [
        {"text": " ", "context_id": "1", "voice_settings": {"stability": 0.5, "speed": 1.1}},
        {"text": "Hello. ", "context_id": "1", "flush": True},
        {"context_id": "1", "close_context": True},
    ]


@pytest.mark.parametrize("name", ["contextId", "context_id"])
def test_audio_and_words_go_to_their_request(name: str) -> None:
    """Contexts may answer in any order, under either spelling of their id; what is no context's is skipped."""
    protocol = begun()
    one, two = asked(protocol, "Hi you.", "Yes.")
    times = {"chars": list("Yes."), "charStartTimesMs": [0, 1, 2, 3], "charDurationsMs": [1, 1, 1, 5]}
    assert not received(protocol, **{name: "2"}, audio=AUDIO, alignment=times)
    assert not received(protocol, **{name: "1"}, audio=AUDIO, alignment=None, normalizedAlignment=None)
    assert not received(protocol, **{name: "9"}, audio=AUDIO)
    assert not received(protocol, type="flush_done", **{name: "1"})
    assert received(protocol, **{name: "2"}, isFinal=True)

    assert [(one.came_bytes, one.is_done), (two.came_bytes, two.is_done)] == [(480, False), (480, True)]
    assert [(word.word, word.end_s) for word in two.words] == [("Yes.", 0.003)]
    assert (two.has_all_words, one.has_all_words) == (True, False)


def test_contexts_are_limited_and_count_until_they_end() -> None:
    """A withdrawn request keeps its context, so the fifth request waits until one of four contexts has ended."""
    protocol = begun()
    requests = asked(protocol, "a", "b", "c", "d", "e")
    for request in requests[:3]:
        protocol.drop(request, 0.1)
    assert protocol.frames(0.1) == []
    received(protocol, 0.2, contextId="1", audio=AUDIO)
    assert not requests[0].audio
    received(protocol, 0.2, contextId="1", isFinal=True)
    assert [json.loads(frame).get("text") for frame in protocol.frames(0.2)] == [" ", "e ", None]


def test_a_silent_service_is_noticed() -> None:
    """The oldest context may be without a message for 2.5 s; the next one has that time from then on."""
    protocol = begun()
    asked(protocol, "a", "b")
    assert protocol.wake_at(0.0) == 2.5
    received(protocol, 1.0, contextId="2", audio=AUDIO)
    assert protocol.wake_at(1.0) == 2.5
    received(protocol, 2.0, contextId="1", isFinal=True)
    assert (protocol.overdue(4.4), protocol.wake_at(2.0)) == (None, 4.5)
    error = protocol.overdue(4.5)
    assert error is not None
    assert "sent nothing for 2.5 s" in str(error)


def test_a_loss_gives_back_what_had_no_audio() -> None:
    """After a loss, a request without audio is sent once more, and none a third time."""
    protocol = begun()
    one, two, three = asked(protocol, "a", "b", "c")
    received(protocol, contextId="1", audio=AUDIO)
    protocol.drop(three, 0.0)
    gone = VendorError("gone", vendor="ElevenLabs", retryable=True)
    assert protocol.lose(gone) == [two]
    assert one.error is gone

    again = begun()
    again.ask(two)
    again.frames(0.0)
    assert again.lose(gone) == []
    assert two.error is gone


def test_audio_without_an_end_is_given_up() -> None:
    """A request that got five minutes of audio fails, because no sentence of ours needs as much."""
    protocol = begun()
    (request,) = asked(protocol, "a")
    minute = base64.b64encode(bytes(60 * 48_000)).decode()
    for _ in range(6):
        received(protocol, contextId="1", audio=minute)
    assert "more than 300 s of audio" in str(request.error)
    assert (request.is_dropped, len(request.audio)) == (True, 0)


def test_an_idle_session_is_renewed() -> None:
    """Another session takes over 135 s after the last request, before the service's 180 s are over."""
    protocol = begun()
    assert protocol.renew_at == 135.0
    asked(protocol, "a", now=50.0)
    assert protocol.renew_at == 185.0
    protocol.leave()
    protocol.frames(51.0)
    assert not protocol.has_ended
    received(protocol, 52.0, contextId="1", isFinal=True)
    protocol.frames(52.0)
    assert protocol.has_ended


@pytest.mark.parametrize(
    "message",
    [
        "nothing", "[]", "null", "{}", '{"contextId": 1, "audio": "AAAA"}', '{"contextId": "1", "audio": "?"}',
        '{"contextId": "1", "audio": 5}', '{"contextId": "1", "alignment": {"chars": "a"}}', '{"contextId": ["1"]}',
    ],
)  # fmt: skip
def test_unreadable_messages_are_skipped(message: str) -> None:
    """Whatever the service sends, nothing is raised, and the request goes on."""
    protocol = begun()
    (request,) = asked(protocol, "a")
    protocol.receive(message, 0.0)
    received(protocol, contextId="1", isFinal=True)
    assert (request.is_done, request.error, protocol.error) == (True, None, None)


@pytest.mark.parametrize(
    ("said", "kind", "code", "error", "words"),
    [
        ("Invalid API key", "invalid_api_key", 1008, AuthenticationError, "ELEVENLABS_API_KEY"),
        ("A voice with voice_id x does not exist.", "", 1008, ConfigurationError, "voice_id names no voice"),
        ("A model with model ID x does not exist", "model_not_found", 1008, ConfigurationError, "model_id"),
        ("voice_settings: speed", "invalid_voice_settings", 1008, ConfigurationError, "check voice_settings"),
        ("", "output_format_not_allowed", 1008, ConfigurationError, "sample_rate"),
        ("Model x does not support the language_code", "", 1008, ConfigurationError, "language"),
        ("This request exceeds your quota of 10000.", "quota_exceeded", 1008, VendorError, "add credits"),
        ("Too many concurrent requests", "too_many_concurrent_requests", 1008, RateLimited, "fewer calls"),
        ("Maximum simultaneous contexts exceeded (5).", "max_active_conversations", 1008, VendorError, "immediately"),
        ("Have not received a new text input within 20 s", "", 1008, VendorError, "immediately"),
        ("", "", 1006, VendorError, "no reason given"),
        ("", "", 1009, VendorError, "defect of the library"),
    ],
)
def test_refusals_say_what_to_do(said: str, kind: str, code: int, error: type[Exception], words: str) -> None:
    """Each refusal is an error of the kind that says who has to act."""
    found = refusal(said, kind=kind, code=code)
    assert type(found) is error
    assert words in str(found)
    if type(found) is VendorError:
        assert found.retryable is ("immediately" in words or "no reason" in words)


def test_a_refusal_of_one_context_leaves_the_others() -> None:
    """An error with a context fails it alone, or has it sent again; one without ends the session."""
    protocol = begun()
    one, two = asked(protocol, "a", "b")
    assert received(protocol, 1.0, contextId="1", error="quota_exceeded", message="no credits", code=1008)
    assert received(protocol, 1.0, contextId="2", error="too_many_concurrent_requests", message="wait", code=1008)
    assert isinstance(one.error, VendorError)
    assert two.error is None
    assert (protocol.frames(1.0), protocol.wake_at(1.0)) == ([], 1.5)
    assert [json.loads(frame).get("text") for frame in protocol.frames(1.5)] == [" ", "b ", None]
    received(protocol, 2.0, contextId="3", error="too_many_concurrent_requests", message="wait", code=1008)
    assert isinstance(two.error, RateLimited)
    assert protocol.closed(1008, "") is two.error

    received(protocol, 3.0, error="invalid_api_key", message="Invalid API key", code=1008)
    assert isinstance(protocol.error, AuthenticationError)
    assert protocol.closed(1008, "Invalid API key") is protocol.error
