"""The output of a WebRTC call: what an interruption does, and how it is known what was heard."""

from __future__ import annotations

import json

import pytest

from voicepipe.serving import Peer
from voicepipe.serving.webrtc.output import WebRTCOutput

pytestmark = pytest.mark.anyio


class Notes(Peer):
    """Notes what is asked of it."""

    def __init__(self) -> None:
        self.facts = {}
        self.address = ""
        self.done: list[str] = []

    async def receive(self) -> str | bytes:
        raise AssertionError

    async def send(self, message: str | bytes) -> None:
        self.done.append("audio" if isinstance(message, bytes) else json.loads(message)["type"])

    def discard(self) -> None:
        self.done.append("discard")

    async def close(self, code: int = 1000, reason: str = "") -> None:
        raise AssertionError

    def takes_audio(self, seconds: float) -> None:
        raise AssertionError


async def test_an_interruption_empties_the_queue_first() -> None:
    """What has not left the server is dropped before the page is asked to be silent."""
    peer = Notes()
    output = WebRTCOutput(peer, sample_rate=24_000, has_echo=False)
    await output.send(bytes(960))
    await output.clear()
    assert peer.done == ["audio", "discard", "clear"]


async def test_what_was_heard_is_known_by_the_clock() -> None:
    """A browser does not report which part of a track it has played."""
    output = WebRTCOutput(Notes(), sample_rate=24_000, has_echo=False)
    assert (output.heard_by, output.peer_buffer_s) == ("clock", 0.2)
