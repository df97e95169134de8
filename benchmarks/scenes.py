"""Recordings of speech in noise, with the times at which somebody speaks: what detectors are measured with.

The voices are eSpeak's and people's, the noise is generated, always the same. People come from two packages of Debian,
asterisk-core-sounds-en-wav and codec2-examples; without one its utterances are left out.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from voicepipe.audio.resample import Resampler
from voicepipe.audio.wav import read_wav
from voicepipe.vendors.espeak.engine import engine

__all__ = [
    "CONDITIONS",
    "RATE",
    "Scene",
    "Utterance",
    "babble",
    "espeak",
    "levelled",
    "missing",
    "music",
    "pink",
    "scene",
    "utterances",
    "white",
]

RATE = 16_000
BEFORE_S = AFTER_S = 1.5
"""Noise alone, before and after the utterance."""

SPEECH_DB = -26.0
"""The level of the voice, over its loud parts. Half of full scale is left for the noise."""

AUDIBLE_DB = -35.0
"""Below the loudest 20 ms of an utterance, from where on it counts as begun and ended."""

SENTENCES = (
    ("en-us", "Where is my order?"),
    ("en-us+f3", "I would like to cancel my subscription, please."),
    ("en-gb-x-rp", "Could you tell me the weather for tomorrow?"),
    ("en-gb-scotland", "The code is seven eight nine one six."),
    ("en-029", "No wait, that is not what I ordered."),
    ("en-us+m3", "Please book a table for four at eight."),
    ("de", "Ich möchte bitte meine Bestellung ändern."),
    ("fr", "Je voudrais annuler ma commande."),
    ("es", "Quiero cambiar la dirección de entrega."),
    ("it", "Vorrei parlare con un operatore."),
    ("nl", "Kunt u mij helpen met mijn rekening?"),
    ("en-us+f2", "Yes, that is right."),
)

ASTERISK = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
PROMPTS = (
    *("agent-newlocation", "agent-pass", "auth-thankyou", "conf-enteringno", "conf-getpin"),
    *("vm-goodbye", "vm-intro", "pbx-invalid", "tt-weasels", "invalid"),
)

CODEC2 = Path("/usr/share/codec2/raw")
SAMPLES = ("forig.raw", "morig.raw", "hts1a.raw", "hts2a.raw")


@dataclass(frozen=True)
class Utterance:
    """Somebody says something: from the first to the last sample, at `RATE`.

    Attributes:
        name: The package's name for it, or the voice.
        is_human: Whether a person says it.
        samples: From -1 to 1.
    """

    name: str
    is_human: bool
    samples: Any


@dataclass(frozen=True)
class Scene:
    """An utterance in noise.

    Attributes:
        pcm: 16-bit mono at `RATE`.
        starts_s: When the voice begins.
        ends_s: When it ends.
    """

    pcm: bytes
    starts_s: float
    ends_s: float


def missing() -> list[str]:
    """Return the packages of Debian that would add voices of people."""
    packages = (("asterisk-core-sounds-en-wav", ASTERISK), ("codec2-examples", CODEC2))
    return [package for package, folder in packages if not folder.is_dir()]


@cache
def utterances() -> tuple[Utterance, ...]:
    """Return all utterances that this machine has."""
    human = [(path.stem, *read_wav(path)) for name in PROMPTS if (path := ASTERISK / f"{name}.wav").is_file()]
    human += [(path.stem, path.read_bytes(), 8_000) for name in SAMPLES if (path := CODEC2 / name).is_file()]
    spoken = [(voice, *espeak(voice, text)) for voice, text in SENTENCES]
    return tuple(
        Utterance(name, is_human, levelled(pcm, rate))
        for is_human, recordings in ((False, spoken), (True, human))
        for name, pcm, rate in recordings
    )


def espeak(voice: str, text: str) -> tuple[bytes, int]:
    pieces: list[bytes] = []

    def take(pcm: bytes, _words: object) -> bool:
        pieces.append(pcm)
        return False

    engine().speak(text, take, voice=voice, words_per_minute=165)
    return b"".join(pieces), engine().sample_rate


def levelled(pcm: bytes, rate: int) -> Any:
    """Return the audible part of a recording, at `RATE` and at the level of all."""
    if rate != RATE:
        resampler = Resampler(rate, RATE)
        pcm = resampler.feed(pcm) + resampler.flush()
    samples = np.frombuffer(pcm, "<i2").astype("float64") / 32_768
    blocks = samples[: len(samples) // 320 * 320].reshape(-1, 320)
    level = 10 * np.log10((blocks**2).mean(axis=1) + 1e-12)
    audible = np.flatnonzero(level > level.max() + AUDIBLE_DB)
    samples = samples[audible[0] * 320 : (audible[-1] + 1) * 320]
    loud = 10 ** (level[level > level.max() - 20] / 10)
    return samples * 10 ** (SPEECH_DB / 20) / np.sqrt(loud.mean())


# --- noise, at the level of the voice ---------------------------------------------------------------------------------


def white(count: int, seed: int) -> Any:
    """Return noise as of a bad line."""
    return np.random.default_rng(seed).normal(0.0, 1.0, count)


def pink(count: int, seed: int) -> Any:
    """Return noise as of a room or a road: each octave has the same power."""
    spectrum = np.fft.rfft(white(count, seed))
    frequency = np.fft.rfftfreq(count, 1 / RATE)
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(frequency, 20.0)), count)


def babble(count: int, seed: int) -> Any:
    """Return eight synthetic people who speak at the same time, without a pause."""
    draw = np.random.default_rng(seed)
    voices = [one.samples for one in utterances() if not one.is_human]
    mixed = np.zeros(count)
    for _ in range(8):
        order = draw.permutation(len(voices))
        line = np.concatenate([voices[one] for one in order])
        mixed += np.resize(np.roll(line, int(draw.integers(len(line)))), count)
    return mixed


def music(count: int, seed: int) -> Any:
    """Return four chords on an organ, with a melody above and a drum below, at 100 beats a minute."""
    draw = np.random.default_rng(seed)
    time_s = np.arange(count) / RATE
    beat_s = 0.6
    played = np.zeros(count)
    chords = itertools.cycle(
        ((220.0, 261.6, 329.6), (174.6, 220.0, 261.6), (196.0, 246.9, 293.7), (130.8, 164.8, 196.0))
    )
    for number, chord in zip(range(int(count / RATE / beat_s) + 1), chords, strict=False):
        since_s = time_s - number * beat_s
        on = (since_s >= 0) & (since_s < beat_s)
        swell = np.exp(-2.0 * since_s[on])
        for note in (*chord, 2 * chord[int(draw.integers(3))]):
            for partial in range(1, 7):
                played[on] += swell * np.sin(2 * np.pi * note * partial * since_s[on]) / partial
        played[on] += 4 * np.exp(-30 * since_s[on]) * draw.normal(0.0, 1.0, int(on.sum()))
    return played


CONDITIONS = (
    ("clean", None, 60.0),
    *((noise.__name__, noise, level) for noise in (white, pink, babble, music) for level in (20.0, 10.0, 0.0)),
)
"""Name, noise, and by how many dB the voice is louder. A clean line has the noise of a good microphone."""


def scene(utterance: Utterance, noise: Any, above_db: float, seed: int) -> Scene:
    """Return an utterance with noise around and under it."""
    before, after = int(BEFORE_S * RATE), int(AFTER_S * RATE)
    voice = np.concatenate([np.zeros(before), utterance.samples, np.zeros(after)])
    under = (noise or white)(len(voice), seed)
    under = under / np.sqrt((under**2).mean()) * 10 ** ((SPEECH_DB - above_db) / 20)
    pcm = np.rint((voice + under) * 32_768).clip(-32_768, 32_767).astype("<i2").tobytes()
    return Scene(pcm, BEFORE_S, BEFORE_S + len(utterance.samples) / RATE)
