"""PCM: frames, and from which sample on audio is audible."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from voicepipe.audio.pcm import QUIET, first_audible, frames_of

SAMPLE = st.integers(-32768, 32767)
SOFT = st.sampled_from(QUIET)
LOUD = SAMPLE.filter(lambda sample: sample not in QUIET)


def bytes_of(samples: list[int]) -> bytes:
    return struct.pack(f"<{len(samples)}h", *samples)


@given(quiet=st.lists(SOFT, max_size=700), loud=LOUD, rest=st.lists(SAMPLE, max_size=50))
def test_audio_is_audible_from_the_first_loud_sample_on(quiet: list[int], loud: int, rest: list[int]) -> None:
    """Whatever comes before and after it, the first sample out of the quiet range is found; or none is."""
    assert first_audible(bytes_of([*quiet, loud, *rest])) == len(quiet)
    assert first_audible(bytes_of(quiet)) is None


@given(samples=st.lists(SAMPLE, max_size=2000), rate=st.sampled_from([8_000, 16_000, 24_000]))
def test_frames_find_what_the_whole_finds(samples: list[int], rate: int) -> None:
    """Frame by frame the same sample is found as in one piece."""
    pcm, before = bytes_of(samples), 0
    for frame in frames_of(pcm, rate):
        if (at := first_audible(frame)) is not None:
            assert first_audible(pcm) == before + at
            return
        before += len(frame) // 2
    assert first_audible(pcm) is None
