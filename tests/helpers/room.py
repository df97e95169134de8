"""A room with one sound card, on the loop's clock: the microphone picks up the loudspeaker, a caller and some noise."""

from __future__ import annotations

import asyncio
import wave
from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers.virtual_card import CardMic, CardSpeaker, VirtualCard, VirtualStream
from voicepipe import EspeakTTS
from voicepipe.audio.devices.portaudio import INPUT_BLOCK_S
from voicepipe.audio.resample import Resampler
from voicepipe.vendors.espeak.engine import engine

RATE = 16_000
LONGEST_S = 120
TAIL_S = 0.1
WET = 0.3
NOISE = 15.0
"""Standard deviation of the noise in units of a 16-bit sample: a quiet room."""

RECORDINGS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
"""Where Debian's package asterisk-core-sounds-en-wav puts prompts that a person has spoken."""


class Room:
    """The way of the sound from a loudspeaker to a microphone: 16-bit mono at 16 kHz.

    Args:
        delay_s: From the time at which a sample is audible to its echo.
        gain: How loud the echo is, against what is played.
        ppm: How much faster than the loop's the card's clock runs, in millionths.
    """

    def __init__(self, *, delay_s: float, gain: float, ppm: float = 0.0) -> None:
        self.delay_s = delay_s
        self.impulse = gain * impulse()
        self.card = VirtualCard(ppm=ppm, sound=self._block)
        self.microphone = CardMic(self.card, sample_rate=RATE)
        self.loudspeaker = CardSpeaker(self.card, sample_rate=RATE)
        self.recorded: list[Any] = []
        self.echoes: list[Any] = []
        self._noise = np.random.default_rng(0)
        self._caller = np.zeros(0)
        self._far = np.zeros(LONGEST_S * RATE)
        self._end = 0
        self._taken = 0
        self._ahead: int | None = None

    def caller_says(self, samples: Any) -> None:
        """Let the caller speak from now on."""
        begin = len(self.recorded) * round(INPUT_BLOCK_S * RATE)
        self._caller = np.concatenate([self._caller[:begin], np.zeros(max(0, begin - len(self._caller))), samples])

    def _block(self, number: int) -> bytes:
        count = round(INPUT_BLOCK_S * RATE)
        begin = number * count
        echo = self._echo(begin, count)
        caller = self._caller[begin : begin + count]
        heard = echo + self._noise.normal(0.0, NOISE, count)
        heard[: len(caller)] += caller
        self.recorded.append(heard)
        self.echoes.append(echo)
        return pcm(heard)

    def _echo(self, begin: int, count: int) -> Any:
        """Return the echo of what was audible `delay_s` before, counted in samples of the card."""
        stream = self._played()
        for _, block in stream.played[self._taken :]:
            self._far[self._end : self._end + len(block) // 2] = np.frombuffer(block, "<i2")
            self._end += len(block) // 2
        self._taken = len(stream.played)
        if self._ahead is None:  # how many samples the loudspeaker is ahead of the microphone, once and for all
            since_s = asyncio.get_running_loop().time() - stream._began_s
            self._ahead = round(since_s * RATE * (1 + self.card.ppm * 1e-6)) - begin - count
        first = begin + self._ahead - round(self.delay_s * RATE) - len(self.impulse) + 1
        length = count + len(self.impulse) - 1
        needed = self._far[max(0, first) : max(0, first + length)]
        return np.convolve(np.concatenate([np.zeros(length - len(needed)), needed]), self.impulse, "valid")

    def _played(self) -> VirtualStream:
        return next(stream for stream in self.card.streams if stream.played)


def impulse(seed: int = 1) -> Any:
    """Return the answer of a small furnished room to a click, without the delay: of the energy 1."""
    count = round(TAIL_S * RATE)
    tail = np.random.default_rng(seed).normal(size=count) * np.exp(-np.arange(count) / (count / 6))
    tail *= WET / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return tail / np.sqrt(np.sum(tail**2))


def pcm(samples: Any) -> bytes:
    """Return samples as 16-bit PCM."""
    return bytes(np.rint(np.clip(samples, -32_768, 32_767)).astype("<i2").tobytes())


def loudness(samples: Any) -> float:
    """Return the root mean square of the frames that are not silent."""
    energies = np.mean(np.reshape(samples[: len(samples) // 320 * 320], (-1, 320)) ** 2.0, axis=1)
    return float(np.sqrt(np.mean(energies[energies > energies.max() / 1000])))


def at_level(samples: Any, level: float) -> Any:
    """Return speech at a loudness."""
    return samples * (level / loudness(samples))


def synthesised(text: str, voice: str) -> Any:
    """Return what eSpeak says, at 16 kHz."""
    pieces: list[bytes] = []

    def take(piece: bytes, words: list[tuple[int, float]]) -> bool:
        pieces.append(piece)
        return False

    engine().speak(text, take, voice=voice, words_per_minute=160)
    resampler = Resampler(EspeakTTS.sample_rate, RATE)
    return np.frombuffer(resampler.feed(b"".join(pieces)) + resampler.flush(), "<i2").astype(float)


def recordings(*, shortest_s: float, longest_s: float) -> list[Any]:
    """Return what a person has spoken, at 16 kHz, in the order of the names of the files."""
    found = []
    for path in sorted(RECORDINGS.glob("*.wav")):
        with wave.open(str(path)) as file:
            rate, frames = file.getframerate(), file.getnframes()
            if not shortest_s <= frames / rate <= longest_s:
                continue
            resampler = Resampler(rate, RATE)
            said = resampler.feed(file.readframes(frames)) + resampler.flush()
        found.append(np.frombuffer(said, "<i2").astype(float))
    return found
