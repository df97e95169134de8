"""Sounds in which nobody says anything: what a recogniser must stay silent at. `scenes` has noise and an organ.

All are generated, always the same, but the music on hold of Debian's asterisk-moh-opsound-wav.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scenes import RATE, music, pink, white
from voicepipe.audio.resample import Resampler
from voicepipe.audio.wav import read_wav

__all__ = ["MUSIC_ON_HOLD", "sounds"]

MUSIC_ON_HOLD = Path("/usr/share/asterisk/moh")


def silence(count: int, seed: int) -> Any:
    """Return a line that is switched off."""
    del seed
    return np.zeros(count)


def brown(count: int, seed: int) -> Any:
    """Return noise as of wind or a car: low."""
    spectrum = np.fft.rfft(white(count, seed))
    return np.fft.irfft(spectrum / np.maximum(np.fft.rfftfreq(count, 1 / RATE), 20.0), count)


def hum(count: int, seed: int) -> Any:
    """Return the mains, with overtones."""
    time_s = np.arange(count) / RATE
    return sum(np.sin(2 * np.pi * 50 * part * time_s + seed * part) / part for part in range(1, 12))


def ringing(count: int, seed: int) -> Any:
    """Return the ringing tone of a telephone: 2 s of 440 and 480 Hz, 4 s of nothing."""
    del seed
    time_s = np.arange(count) / RATE
    return (np.sin(2 * np.pi * 440 * time_s) + np.sin(2 * np.pi * 480 * time_s)) * (time_s % 6 < 2)


def breath(count: int, seed: int) -> Any:
    """Return somebody who breathes into the microphone: swells of noise around 0.5 to 1.8 kHz."""
    draw = np.random.default_rng(seed)
    heard, at = np.zeros(count), 0
    while at < count - 2 * RATE:
        length = int(draw.uniform(0.4, 1.5) * RATE)
        frequency = np.maximum(np.fft.rfftfreq(length, 1 / RATE), 20.0)
        shape = np.exp(-((np.log2(frequency / draw.uniform(500, 1_800))) ** 2) / 1.2) + 0.05 * (frequency < 5_000)
        swell = np.fft.irfft(np.fft.rfft(draw.normal(0.0, 1.0, length)) * shape, length)
        heard[at : at + length] += swell * np.hanning(length) ** 0.7
        at += length + int(draw.uniform(0.5, 2.0) * RATE)
    return heard


def knocks(count: int, seed: int) -> Any:
    """Return knocking and typing: short sounds of some frequency, with noise."""
    draw = np.random.default_rng(seed)
    heard, at = np.zeros(count), 0
    while at < count - RATE // 2:
        time_s = np.arange(int(draw.uniform(0.02, 0.12) * RATE)) / RATE
        tone = np.sin(2 * np.pi * draw.uniform(100, 2_500) * time_s) + 0.5 * draw.normal(0.0, 1.0, len(time_s))
        heard[at : at + len(time_s)] += np.exp(-draw.uniform(20, 80) * time_s) * tone
        at += len(time_s) + int(draw.uniform(0.03, 0.6) * RATE)
    return heard


def _recorded(path: Path, count: int, seed: int) -> Any:
    del seed
    pcm, rate = read_wav(path)
    resampler = Resampler(rate, RATE)
    return np.resize(np.frombuffer(resampler.feed(pcm) + resampler.flush(), "<i2").astype("float64"), count)


def sounds(seconds: float, seed: int) -> dict[str, bytes]:
    """Return each sound at the level of a voice and 15 dB below, as 16-bit mono at `RATE`."""
    makers: dict[str, Any] = {
        maker.__name__: maker for maker in (silence, white, pink, brown, hum, ringing, breath, knocks, music)
    }
    makers |= {path.stem: partial(_recorded, path) for path in sorted(MUSIC_ON_HOLD.glob("*.wav"))}
    found: dict[str, bytes] = {}
    for name, maker in makers.items():
        samples = maker(round(seconds * RATE), seed)
        samples = samples / (np.sqrt((samples**2).mean()) or 1.0)
        for level_db in (-20.0, -35.0):
            scaled = samples * 10 ** (level_db / 20) * 32_768
            found[f"{name} {level_db:.0f} dB"] = np.rint(scaled).clip(-32_768, 32_767).astype("<i2").tobytes()
    return found
