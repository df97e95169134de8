"""Samples on one axis of time: where they belong, in whatever order they come, and in bounded memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voicepipe.watching.recording.sound import KEPT_S, Channels, Track

RATE = 1_000


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4_000), st.integers(1, 300)), max_size=30), st.data())
def test_a_file_that_is_patched_is_the_same_as_one_that_is_written_at_once(
    pieces: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    """Whatever comes when, and whenever it is taken: the file has each sample where it belongs, and silence else."""
    channels, file = Channels(2, RATE), bytearray()
    expected = [0] * 2 * 4_300
    for number, (channel, at, count) in enumerate(pieces, 1):
        channels.put(channel, at, number.to_bytes(2, "little") * count)
        expected[2 * at + channel : 2 * (at + count) : 2] = [number] * count
        if data.draw(st.booleans()):
            patch(file, *channels.take())
    patch(file, *channels.take())
    end = max((at + count for _, at, count in pieces), default=0)
    assert memoryview(bytes(file)).cast("h").tolist() == expected[: 2 * end]


def patch(file: bytearray, at: int, pcm: bytes) -> None:
    file += bytes(max(0, 4 * at - len(file)))
    file[4 * at : 4 * at + len(pcm)] = pcm


def test_what_comes_late_has_its_place_and_what_comes_too_late_is_lost() -> None:
    """A mobile network gives 10 s at once; what is older than is kept does not fit any more."""
    channels = Channels(1, RATE)
    for second in range(60):
        channels.reach(second * RATE)
        channels.take()
    assert len(channels._samples) <= (KEPT_S + 1) * RATE
    channels.put(0, 49 * RATE, b"\x01\x00" * 10)
    at, pcm = channels.take()
    assert (at, pcm[:22]) == (49 * RATE, b"\x01\x00" * 10 + bytes(2))
    channels.put(0, 10 * RATE, b"\x01\x00" * 10)
    assert channels.take()[1] == b""


def test_pieces_that_follow_each_other_are_one_sound() -> None:
    """Times that are rounded leave no gap and no overlap; a real gap is silence."""
    channels = Channels(1, RATE)
    track = Track(channels, 0, lambda rate: None)
    for at_s in (1.0, 1.0199, 1.0401, 1.5):
        track.add(at_s, b"\x01\x00" * 20, RATE)
    track.finish()
    _, pcm = channels.take()
    assert memoryview(pcm).cast("h").tolist() == [0] * 1_000 + [1] * 60 + [0] * 440 + [1] * 20
