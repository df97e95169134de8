"""WebRTC's echo canceller by itself: what it takes out, what it leaves, what it refuses."""

from __future__ import annotations

import sys

import pytest

import voicepipe as vp


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline with it cannot even be built, and the error has the command that helps."""
    monkeypatch.setitem(sys.modules, "livekit.rtc", None)  # as Python notes a module that is not there
    with pytest.raises(vp.MissingExtra, match=r"WebRTCEchoCanceller needs .* livekit.*pip install 'voicepipe\[aec\]'"):
        vp.WebRTCEchoCanceller()


@pytest.mark.parametrize("rates", [(6_000, 16_000), (16_000, 96_000)])
def test_a_rate_that_it_does_not_know_is_refused(rates: tuple[int, int]) -> None:
    """The error names the rate, and whose it may be."""
    pytest.importorskip("livekit.rtc", reason="needs the extra aec")
    with pytest.raises(
        vp.ConfigurationError, match=r"works at sample rates of 8000 to 48000, not .*; set the sample_rate"
    ):
        vp.WebRTCEchoCanceller().prepare(*rates)


@pytest.mark.parametrize("far_rate", [8_000, 16_000, 24_000, 44_100, 48_000])
@pytest.mark.slow
def test_an_echo_goes_and_a_voice_stays(far_rate: int) -> None:
    """In the third second 20 dB of an echo are gone, whatever the output's rate is; without an echo the level stays."""
    pytest.importorskip("livekit.rtc", reason="needs the extra aec")
    np = pytest.importorskip("numpy")

    # Noise in syllables, low enough for each of the rates.
    base = np.random.default_rng(0).normal(0.0, 1.0, 3 * 8_000) * (np.sin(np.arange(3 * 8_000) / 600) > 0)
    at = np.arange(3 * 48_000) / 48_000
    sound = 3_000.0 * np.interp(at * 8_000, np.arange(3 * 8_000), np.convolve(base, np.ones(8) / 8, "same"))

    def at_rate(rate: int, delay_s: float) -> bytes:
        times = (np.arange(3 * rate) / rate - delay_s) * 48_000
        return bytes(np.interp(times, np.arange(len(sound)), sound, left=0.0).astype("<i2").tobytes())

    def last_second(near: bytes, far: bytes) -> float:
        canceller = vp.WebRTCEchoCanceller()
        canceller.prepare(16_000, far_rate)
        size, far_size = 320, far_rate // 50
        heard = [canceller.process(near[n * size :][:size], far[n * far_size :][:far_size]) for n in range(300)]
        assert {len(block) for block in heard} == {size}
        return float(np.mean(np.frombuffer(b"".join(heard[200:]), "<i2").astype(float) ** 2))

    near, far = at_rate(16_000, 0.06), at_rate(far_rate, 0.0)
    level = float(np.mean(np.frombuffer(near[-32_000:], "<i2").astype(float) ** 2))
    assert last_second(near, far) < level / 100
    assert level / 2 < last_second(near, bytes(len(far))) < level * 1.2
