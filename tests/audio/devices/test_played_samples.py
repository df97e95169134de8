"""Counting the samples that a device has played."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voicepipe.audio.devices.played_samples import PlayedSamples

RATE = 1_000


def test_samples_count_when_they_are_heard() -> None:
    """A block counts only once it is audible; within a block the clock decides."""
    played = PlayedSamples()
    played.add(0.03, 10)
    played.add(0.04, 10)
    assert [played.until(at_s, RATE) for at_s in (0.0, 0.03, 0.035, 0.04, 0.047, 0.05, 9.0)] == [
        0,
        0,
        5,
        10,
        17,
        20,
        20,
    ]


def test_a_pause_between_two_blocks_does_not_count() -> None:
    """Silence that the device played does not count as speech."""
    played = PlayedSamples()
    played.add(0.0, 10)
    played.add(1.0, 10)
    assert [played.until(at_s, RATE) for at_s in (0.5, 1.0, 1.004)] == [10, 10, 14]


def test_what_was_forgotten_never_counts() -> None:
    """After a flush the count stays where it was, and later blocks are added to it."""
    played = PlayedSamples()
    played.add(0.0, 10)
    played.add(0.01, 10)
    played.forget(0.013, RATE)
    assert played.until(5.0, RATE) == 13
    played.add(6.0, 10)
    assert [played.until(at_s, RATE) for at_s in (6.0, 6.005, 7.0)] == [13, 18, 23]


@given(
    st.lists(st.tuples(st.floats(0, 0.05), st.integers(1, 240), st.booleans()), max_size=40),
    st.lists(st.floats(0, 0.02), min_size=1, max_size=40),
)
def test_the_count_never_falls_and_never_exceeds_what_was_given(
    blocks: list[tuple[float, int, bool]], steps: list[float]
) -> None:
    """For any latencies of the driver, the count only grows, at most to what was given."""
    played, now, given_samples, before = PlayedSamples(), 0.0, 0, 0
    for number, (latency_s, samples, flushes) in enumerate(blocks):
        played.add(now + latency_s, samples)
        given_samples += samples
        if flushes:
            played.forget(now, 24_000)
        now += steps[number % len(steps)]
        count = played.until(now, 24_000)
        assert before <= count <= given_samples
        before = count
