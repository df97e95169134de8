"""From loudspeaker to microphone: how late a chirp arrives, whatever happened to it on the way."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

np = pytest.importorskip("numpy")

from voicepipe.audio.devices.round_trip import chirp, round_trips  # noqa: E402

RATE = 16_000


def recording(*chirps: tuple[float, float], seconds: float = 4.0, noise: float = 0.0, seed: int = 0) -> bytes:
    """Return silence or noise that contains chirps, each (time, loudness)."""
    samples = np.random.default_rng(seed).normal(0.0, noise, round(seconds * RATE)) if noise else np.zeros(64_000)
    pattern = np.frombuffer(chirp(RATE), "<i2")
    for at_s, gain in chirps:
        at = round(at_s * RATE)
        samples[at : at + len(pattern)] += gain * pattern
    return samples.clip(-32_768, 32_767).astype("<i2").tobytes()


def in_ms(trips: list[float | None]) -> list[float | None]:
    return [None if trip is None else round(trip * 1e3, 2) for trip in trips]


@pytest.mark.parametrize("delay_ms", [0, 1, 40, 119, 500, 999])
def test_the_delay_is_found_to_the_sample(delay_ms: int) -> None:
    """The measured delay of a chirp that was played at 0.5 s is its true delay."""
    heard = recording((0.5 + delay_ms / 1e3, 1.0))
    assert in_ms(round_trips(heard, RATE, [0.5])) == [delay_ms]


@pytest.mark.parametrize("gain", [1.0, 0.1, 0.005, -0.5, 2.0])
def test_loudness_and_polarity_do_not_count(gain: float) -> None:
    """Faint, clipped or upside down: the same chirp, the same delay."""
    assert in_ms(round_trips(recording((0.62, gain)), RATE, [0.5])) == [120.0]


def test_each_chirp_has_its_own_delay() -> None:
    """Several chirps are distinguished by when they were played; a missing one is None."""
    heard = recording((0.31, 1.0), (2.85, 1.0))
    assert in_ms(round_trips(heard, RATE, [0.2, 1.5, 2.7])) == [110.0, None, 150.0]


def test_an_echo_of_the_room_does_not_count() -> None:
    """With reverberation, the louder direct sound is measured."""
    assert in_ms(round_trips(recording((0.6, 0.5), (0.65, 0.3), (0.73, 0.2)), RATE, [0.5])) == [100.0]


@given(delay=st.integers(0, 15_000), seed=st.integers(0, 50))
@settings(max_examples=40)
def test_noise_as_loud_as_the_chirp_does_not_hide_it(delay: int, seed: int) -> None:
    """In noise as loud as the chirp the delay is right to 2 samples."""
    power = float(np.sqrt(np.mean(np.frombuffer(chirp(RATE), "<i2").astype(float) ** 2)))
    heard = recording((0.5 + delay / RATE, 1.0), noise=power, seed=seed)
    (trip,) = round_trips(heard, RATE, [0.5])
    assert trip is not None
    assert abs(trip * RATE - delay) <= 2


@given(seed=st.integers(0, 200), noise=st.sampled_from([0.0, 1.0, 30.0, 3_000.0]))
@settings(max_examples=60)
@pytest.mark.slow
def test_noise_alone_is_no_chirp(seed: int, noise: float) -> None:
    """Without a chirp nothing is found."""
    assert round_trips(recording(noise=noise, seed=seed), RATE, [0.0, 1.0, 2.5]) == [None, None, None]


def test_a_tone_is_no_chirp() -> None:
    """Hum and whistles of any loudness are not taken for a chirp."""
    at_s = np.arange(4 * RATE) / RATE
    for hertz in (50, 440, 1_000, 2_250):
        tone = (20_000 * np.sin(2 * np.pi * hertz * at_s)).astype("<i2").tobytes()
        assert round_trips(tone, RATE, [0.5]) == [None]


@pytest.mark.parametrize("seconds", [0.0, 0.5, 0.54])
def test_a_recording_that_is_too_short_holds_none(seconds: float) -> None:
    """A chirp that is not within the recording is None."""
    assert round_trips(bytes(2 * round(seconds * RATE)), RATE, [0.5]) == [None]
