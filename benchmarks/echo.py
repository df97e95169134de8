"""What the echo canceller takes off the agent, and off a caller who speaks at the same time, in generated rooms."""

from __future__ import annotations

import math
import time
from statistics import mean
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._figures import Figure
from tests.helpers.room import NOISE, RATE, RECORDINGS, at_level, impulse, pcm, recordings, synthesised
from voicepipe import WebRTCEchoCanceller

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["echo"]

ROOMS = ((0.04, 1.0), (0.08, 0.5), (0.12, 0.7), (0.16, 1.0), (0.2, 0.6))
LEVEL = 3_000.0
BLOCK = RATE // 100
AGENT = "Your order left our warehouse on Tuesday morning, and it should arrive at your address tomorrow before noon."
CALLER = "Excuse me, I would like to ask you something else."
FIRST_CALLER_S, EVERY_S, CALLERS = 8, 5, 4
"""Callers speak from the eighth second on: the room is known by then."""


async def echo() -> list[Figure]:
    """Five rooms for each of two voices: eSpeak's, and recordings of a person where they are installed."""
    figures, costs = list[Figure](), list[float]()
    for voice, (agent, caller) in voices():
        firsts, seconds, later, losses = [], [], [], []
        for delay_s, gain in ROOMS:
            only_echo = echo_of(agent, delay_s, gain)
            begin = time.process_time()
            cleaned = without_echo(only_echo, agent)
            costs.append((time.process_time() - begin) / (len(agent) / BLOCK) * 1e6)
            taken = [
                decibels(*(power(side[s * RATE : (s + 1) * RATE]) for side in (only_echo, cleaned))) for s in range(20)
            ]
            firsts.append(taken[0])
            seconds.append(taken[1])
            later.append(min(taken[2:]))
            losses.append(loss_of(caller, only_echo, agent))
        figures += [
            Figure(f"echo: {voice}, taken off in the first second, worst room", min(firsts), "dB"),
            Figure(f"echo: {voice}, in the second one, worst room", min(seconds), "dB"),
            Figure(f"echo: {voice}, in each later one, worst room and second", min(later), "dB"),
            *(
                Figure(
                    f"echo: {voice}, off a caller as loud as the agent, {delay_s * 1e3:.0f} ms, gain {gain:g}",
                    loss,
                    "dB",
                    4,
                )
                for (delay_s, gain), loss in zip(ROOMS, losses, strict=True)
            ),
        ]
    return [*figures, Figure("echo: CPU of 10 ms", mean(costs), "µs")]


def voices() -> Iterator[tuple[str, tuple[Any, Any]]]:
    said = synthesised(AGENT, "en-us")
    yield (
        "eSpeak",
        (at_level(np.tile(np.append(said, np.zeros(RATE // 3)), 5), LEVEL), synthesised(CALLER, "en-gb-scotland")),
    )
    if RECORDINGS.is_dir():
        prompts = [np.append(prompt, np.zeros(RATE // 3)) for prompt in recordings(shortest_s=3.0, longest_s=7.0)[:7]]
        yield "a person", (at_level(np.concatenate(prompts), LEVEL), recordings(shortest_s=1.5, longest_s=2.5)[3])


def echo_of(agent: Any, delay_s: float, gain: float) -> Any:
    """Return what a microphone hears of the agent, with the noise of the room."""
    answer, delay = impulse() * gain, round(delay_s * RATE)
    size = 1 << (len(agent) + len(answer)).bit_length()
    heard = np.fft.irfft(np.fft.rfft(agent, size) * np.fft.rfft(answer, size), size)
    late = np.append(np.zeros(delay), heard)[: len(agent)]
    return late + np.random.default_rng(0).normal(0.0, NOISE, len(agent))


def without_echo(near: Any, far: Any) -> Any:
    canceller = WebRTCEchoCanceller()
    canceller.prepare(RATE, RATE)
    near_pcm, far_pcm, size = pcm(near), pcm(far), 2 * BLOCK
    whole = len(near_pcm) - len(near_pcm) % size
    blocks = [canceller.process(near_pcm[at : at + size], far_pcm[at : at + size]) for at in range(0, whole, size)]
    return np.frombuffer(b"".join(blocks), "<i2").astype(float)


def loss_of(caller: Any, only_echo: Any, far: Any) -> float:
    """Return how much softer callers are after the canceller, over all that is not a pause."""
    spoken = np.zeros(len(far))
    sentence = at_level(caller, LEVEL)
    for begin in range(FIRST_CALLER_S * RATE, (FIRST_CALLER_S + EVERY_S * CALLERS) * RATE, EVERY_S * RATE):
        part = sentence[: max(0, len(spoken) - begin)]
        spoken[begin : begin + len(part)] = part
    cleaned = without_echo(only_echo + spoken, far)
    frames = len(cleaned) // 320
    before, after = (
        np.mean(np.reshape(side[: frames * 320], (frames, 320)) ** 2, axis=1) for side in (spoken, cleaned)
    )
    voiced = before > before.max() / 100
    return decibels(float(np.sum(before[voiced])), float(np.sum(after[voiced])))


def power(samples: Any) -> float:
    return float(np.mean(np.square(samples))) + 1e-3


def decibels(before: float, after: float) -> float:
    return 10 * math.log10(before / after)
