"""What every protocol of contexts keeps to, whatever callers and services do."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.errors import VendorError
from voicepipe.vendors.cartesia.protocol import CartesiaProtocol
from voicepipe.vendors.elevenlabs.protocol import ElevenLabsProtocol
from voicepipe.vendors.line.context_protocol import ContextProtocol
from voicepipe.vendors.line.speech_protocol import SpeechRequest

AUDIO = base64.b64encode(bytes(48)).decode()


class ElevenLabs:
    """The vendor's messages."""

    most = 5  # the service closes the socket for a sixth

    @staticmethod
    def begun() -> ContextProtocol:
        return ElevenLabsProtocol(0.0, sample_rate=24_000, clean=str, voice_settings={})

    @staticmethod
    def begins(message: dict[str, Any]) -> bool:
        return bool(message.get("text") == " ")

    @staticmethod
    def frees(message: dict[str, Any]) -> bool:
        del message
        return False

    audio = staticmethod(lambda name: {"contextId": name, "audio": AUDIO})
    final = staticmethod(lambda name: {"contextId": name, "isFinal": True})
    refusal = staticmethod(lambda name: {"contextId": name, "error": "too_many_concurrent_requests", "code": 1008})


class Cartesia:
    """The vendor's messages."""

    most = 2  # as many as the smallest plan has

    @staticmethod
    def begun() -> ContextProtocol:
        return CartesiaProtocol(0.0, sample_rate=24_000, clean=str, settings={})

    @staticmethod
    def begins(message: dict[str, Any]) -> bool:
        return "transcript" in message

    @staticmethod
    def frees(message: dict[str, Any]) -> bool:
        return "cancel" in message

    audio = staticmethod(lambda name: {"context_id": name, "type": "chunk", "data": AUDIO})
    final = staticmethod(lambda name: {"context_id": name, "type": "done"})
    refusal = staticmethod(lambda name: {"context_id": name, "type": "error", "status_code": 429, "title": "too many"})


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "ask", "drop", "audio", "final", "refusal", "wait"]), st.integers(0, 5)
    ),
    min_size=5,
    max_size=60,
)


@pytest.mark.parametrize("vendor", [ElevenLabs, Cartesia])
@given(actions=ACTIONS)
def test_no_request_is_lost_and_no_limit_is_broken(vendor: Any, actions: list[tuple[str, int]]) -> None:
    """In any order of requests, withdrawals, audio and refusals the service has few contexts, and each request ends."""
    protocol, now = vendor.begun(), 0.0
    requests: list[SpeechRequest] = []
    at_service: list[str] = []

    def deliver() -> None:
        for frame in protocol.frames(now):
            message = json.loads(frame)
            if vendor.begins(message):
                at_service.append(message["context_id"])
            elif vendor.frees(message):
                at_service.remove(message["context_id"])
            else:
                assert message["context_id"] in at_service
        assert len(at_service) <= vendor.most

    for action, which in actions:
        name = at_service[which % len(at_service)] if at_service else None
        match action:
            case "ask":
                requests.append(SpeechRequest("text"))
                protocol.ask(requests[-1])
            case "drop" if requests:
                protocol.drop(requests[which % len(requests)], now)
            case "audio" if name:
                protocol.receive(json.dumps(vendor.audio(name)), now)
            case "final" | "refusal" if name:
                protocol.receive(json.dumps(getattr(vendor, action)(name)), now)
                at_service.remove(name)
            case "wait":
                now += 0.6
        deliver()
        assert protocol.wake_at(now) > now or protocol.overdue(now) is not None
        assert not any(request.audio for request in requests if request.is_dropped)

    now += 0.6
    deliver()
    while at_service:
        protocol.receive(json.dumps(vendor.final(at_service.pop(0))), now)
        deliver()
    assert all(request.is_done or request.error or request.is_dropped for request in requests)
    assert all(request.asked <= 2 for request in requests)
    assert protocol.lose(VendorError("gone", vendor="x", retryable=True)) == []
    assert (protocol.unreadable, protocol.wake_at(now)) == (0, float("inf"))
