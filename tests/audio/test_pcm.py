"""PCM: frames, and from which sample on audio is audible."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from voicepipe.audio.pcm import AUDIBLE, first_audible, frames_of

SAMPLE = st.integers(-32768, 32767)
QUIET = st.integers(1 - AUDIBLE, AUDIBLE - 1)
LOUD = st.one_of(st.integers(AUDIBLE, 32767), st.integers(-32768, -AUDIBLE))


@given(quiet=st.lists(QUIET, max_size=700), loud=LOUD, rest=st.lists(SAMPLE, max_size=50))
def test_audio_is_audible_from_the_first_loud_sample_on(quiet: list[int], loud: int, rest: list[int]) -> None:
    """Whatever comes before and after it, the first sample of 1 % of full scale is found; without one there is none."""
    assert first_audible(array("h", [*quiet, loud, *rest]).tobytes()) == len(quiet)
    assert first_audible(array("h", quiet).tobytes()) is None


@given(samples=st.lists(SAMPLE, max_size=2000), rate=st.sampled_from([8_000, 16_000, 24_000]))
def test_frames_find_what_the_whole_finds(samples: list[int], rate: int) -> None:
    """Frame by frame the same sample is found as in one piece."""
    pcm, before = array("h", samples).tobytes(), 0
    for frame in frames_of(pcm, rate):
        if (at := first_audible(frame)) is not None:
            assert first_audible(pcm) == before + at
            return
        before += len(frame) // 2
    assert first_audible(pcm) is None
