"""The agent's voice as a track: 20 ms every 20 ms, exact on virtual time."""

from __future__ import annotations

import anyio
import pytest

from tests.helpers.webrtc import needs_aiortc

pytestmark = [pytest.mark.anyio, needs_aiortc]

RATE = 24_000


async def test_a_track_keeps_its_own_pace() -> None:
    """Each 20 ms have their frame: what was put, in order, and silence where nothing was."""
    from voicepipe.serving.webrtc.voice_track import VoiceTrack

    track, began_s = VoiceTrack(RATE), anyio.current_time()
    loud = [bytes([number, 1]) * (RATE // 50) for number in range(3)]
    for pcm in loud:
        track.put(pcm)
    frames = []
    for _ in range(4):
        frame = await track.recv()
        frames.append((round((anyio.current_time() - began_s) * 1_000), frame.pts, bytes(frame.planes[0])))
    silence = bytes(RATE // 25)
    assert frames == [(0, 0, loud[0]), (20, 480, loud[1]), (40, 960, loud[2]), (60, 1_440, silence)]


async def test_what_waits_can_be_dropped() -> None:
    """After `clear` the next frame is silent, and what is put then comes next."""
    from voicepipe.serving.webrtc.voice_track import VoiceTrack

    track = VoiceTrack(RATE)
    before, after = (bytes([number]) * (RATE // 25) for number in (1, 2))
    for _ in range(3):
        track.put(before)
    assert bytes((await track.recv()).planes[0]) == before
    track.clear()
    assert bytes((await track.recv()).planes[0]) == bytes(RATE // 25)
    track.put(after)
    assert bytes((await track.recv()).planes[0]) == after


async def test_a_late_track_catches_up() -> None:
    """After 60 ms the frames that are owed come at once; after half a second the track begins again instead."""
    from voicepipe.serving.webrtc.voice_track import VoiceTrack

    track, began_s = VoiceTrack(RATE), anyio.current_time()
    at_ms = []
    for late_s in (0.0, 0.06, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0):
        await anyio.sleep(late_s)
        await track.recv()
        at_ms.append(round((anyio.current_time() - began_s) * 1_000))
    assert at_ms == [0, 60, 60, 60, 80, 580, 600, 620]


async def test_a_stopped_track_ends() -> None:
    """A track that was stopped has no further frame."""
    from aiortc.mediastreams import MediaStreamError

    from voicepipe.serving.webrtc.voice_track import VoiceTrack

    track = VoiceTrack(RATE)
    track.stop()
    with pytest.raises(MediaStreamError):
        await track.recv()
