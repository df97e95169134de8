"""Resampler: length, content, pieces of any length, errors."""

from __future__ import annotations

import importlib.util
import os
import sys
from array import array
from math import pi, sin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicepipe.audio.resample import Resampler, resampler
from voicepipe.errors import AudioError, ConfigurationError, MissingExtra

needs_soxr = pytest.mark.skipif(
    importlib.util.find_spec("soxr") is None and os.environ.get("VOICEPIPE_TEST_ALL") != "1",
    reason="soxr is not installed (extra local)",
)


def tone(rate: int, seconds: float, hertz: float = 440.0) -> bytes:
    return array("h", (round(10_000 * sin(2 * pi * hertz * n / rate)) for n in range(round(rate * seconds)))).tobytes()


def resample(pcm: bytes, from_rate: int, to_rate: int) -> bytes:
    stream = Resampler(from_rate, to_rate)
    return stream.feed(pcm) + stream.flush()


@needs_soxr
@pytest.mark.parametrize(
    ("from_rate", "to_rate"), [(22_050, 16_000), (24_000, 16_000), (16_000, 24_000), (16_000, 8_000), (16_000, 16_000)]
)
def test_the_length_in_seconds_stays(from_rate: int, to_rate: int) -> None:
    """One second stays one second at the other rate."""
    assert len(resample(tone(from_rate, 1.0), from_rate, to_rate)) == 2 * to_rate


@needs_soxr
def test_a_tone_stays_the_tone() -> None:
    """Away from the edges, a tone keeps its pitch, time and loudness at the other rate."""
    got, expected = array("h", resample(tone(22_050, 0.5), 22_050, 16_000)), array("h", tone(16_000, 0.5))

    assert max(abs(a - b) for a, b in zip(got[800:-800], expected[800:-800], strict=True)) < 50  # of 10,000


@needs_soxr
@settings(max_examples=30)
@given(st.lists(st.integers(1, 3_000), max_size=12))
def test_cutting_changes_nothing(cuts: list[int]) -> None:
    """Pieces of any length give the same samples as one piece."""
    pcm = tone(22_050, 0.3)
    stream, out, at = Resampler(22_050, 16_000), b"", 0
    for cut in cuts:
        out += stream.feed(pcm[2 * at : 2 * (at + cut)])
        at += cut
    out += stream.feed(pcm[2 * at :]) + stream.flush()

    assert out == resample(pcm, 22_050, 16_000)


@needs_soxr
@pytest.mark.parametrize(("from_rate", "to_rate"), [(24_000, 8_000), (8_000, 16_000), (22_050, 24_000)])
@pytest.mark.parametrize("piece_s", [0.02, 0.1, 0.0537])
def test_it_says_how_much_it_holds_back(from_rate: int, to_rate: int, piece_s: float) -> None:
    """Whatever has been fed, no more than that is still to come; and less would not be true."""
    stream, piece = Resampler(from_rate, to_rate), b"\x00\x10" * round(piece_s * from_rate)
    held_s, fed, came = [], 0, 0
    for _ in range(100):
        fed, came = fed + len(piece) // 2, came + len(stream.feed(piece)) // 2
        held_s.append(fed / from_rate - came / to_rate)
    assert max(held_s) <= stream.holds_back_s + 0.005
    assert max(held_s) >= stream.holds_back_s - 0.02


def test_begins_anew_after_a_flush() -> None:
    """After a flush nothing of the earlier recording is left."""
    stream = Resampler(22_050, 16_000)
    first = stream.feed(tone(22_050, 0.2)) + stream.flush()

    assert stream.feed(tone(22_050, 0.2)) + stream.flush() == first


@needs_soxr
def test_refuses_half_a_sample() -> None:
    """An odd number of bytes is refused as damaged audio."""
    with pytest.raises(AudioError, match="got 3 bytes"):
        Resampler(22_050, 16_000).feed(b"abc")


@pytest.mark.parametrize("rates", [(0, 16_000), (16_000, -1)])
def test_refuses_a_rate_that_is_none(rates: tuple[int, int]) -> None:
    """Rates that are not positive are refused."""
    with pytest.raises(ConfigurationError, match=r"must be positive"):
        Resampler(*rates)


def test_names_the_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without soxr the error says what to install."""
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(MissingExtra, match=r"voicepipe\[local\]") as caught:
        Resampler(22_050, 16_000)
    assert (caught.value.package, caught.value.extra) == ("soxr", "local")


def test_equal_rates_need_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between parts of the same rate there is no resampler, and soxr is not needed."""
    monkeypatch.setitem(sys.modules, "soxr", None)
    assert resampler(16_000, 16_000, "MicSource", "STTStage") is None


@needs_soxr
def test_different_rates_get_a_resampler() -> None:
    """Between parts of different rates there is a resampler from one to the other."""
    assert repr(resampler(24_000, 16_000, "AcmeTTS", "Speaker")) == "<Resampler 24000 -> 16000 Hz>"


def test_different_rates_without_soxr_name_both_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without soxr the error names both parts, their rates, and both remedies."""
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(ConfigurationError, match=r"AcmeTTS gives 24000 Hz, Speaker takes 16000 Hz; set .* or run pip"):
        resampler(24_000, 16_000, "AcmeTTS", "Speaker")
