"""How well and how cheaply detectors notice speech, and what one costs a call.

Each scene is an utterance in noise (see `scenes.py`), pushed through the same code as in a call. A start is false if it
lies more than 0.1 s before the voice or more than 0.3 s after it; a scene has ended if nobody is taken to be speaking
1 s after the voice. Latencies are from the sound to the report, of scenes without a false start.
"""

from __future__ import annotations

import math
import os
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import cycle

import anyio
import anyio.lowlevel

import voicepipe as vp
from benchmarks._figures import Figure, percentile
from benchmarks.parts import MICROPHONE_FRAME, agent, called
from benchmarks.scenes import CONDITIONS, RATE, missing, scene, utterances
from benchmarks.server import served
from voicepipe.audio.pcm import FRAME_S, frames_of
from voicepipe.hearing.detecting import Detecting

__all__ = ["EARSHOT", "WEBRTC", "detectors", "reports"]

WEBRTC, EARSHOT = "WebRTC mode 3", "Earshot"

SILERO = "VOICEPIPE_SILERO"
"""Names the file of the model; without it Silero is left out."""

CALLS = 50
MEASURED_S = 10.0
WARM_UP_TICKS = 50
SETTLED_STEPS = 10
"""Steps of the loop after which nothing is left to do about a frame."""


@dataclass
class Counts:
    """What a detector did in the scenes of one condition."""

    scenes: int = 0
    found: int = 0
    false: int = 0
    ended: int = 0
    starts_s: list[float] = field(default_factory=list)
    ends_s: list[float] = field(default_factory=list)

    def take(self, scene, events) -> None:
        """Count one scene; `events` are reports with the times at which they came."""
        self.scenes += 1
        starts = [(now, event.at_s) for now, event in events if isinstance(event, vp.SpeechStarted)]
        ends = [now for now, event in events if isinstance(event, vp.SpeechEnded)]
        right = [now for now, at_s in starts if scene.starts_s - 0.1 <= at_s <= scene.ends_s]
        false = sum(not scene.starts_s - 0.1 <= at_s <= scene.ends_s + 0.3 for _, at_s in starts)
        self.false += bool(false)
        self.found += bool(right)
        has_ended = len(starts) == len(ends) and (not ends or ends[-1] <= scene.ends_s + 1.0)
        self.ended += bool(right) and has_ended
        if right and not false:
            self.starts_s.append(right[0] - scene.starts_s)
            if has_ended:
                self.ends_s.append(ends[-1] - scene.ends_s)


def _cells(counts: Counts) -> list[str]:
    latencies = [
        f"{percentile(some, share) * 1_000:.0f}" if some else "-"
        for some in (counts.starts_s, counts.ends_s)
        for share in (50, 95)
    ]
    return [f"{one} of {counts.scenes}" for one in (counts.found, counts.false, counts.ended)] + latencies


def _available() -> dict[str, vp.Detector]:
    found: dict[str, vp.Detector] = {}
    if find_spec("pocketsphinx"):
        found[WEBRTC] = vp.WebRTCDetector()
    if find_spec("earshot"):
        found[EARSHOT] = vp.EarshotDetector()
    if path := os.environ.get(SILERO):
        found["Silero"] = vp.SileroDetector(path)
    return found


async def detectors() -> list[Figure]:
    """Detectors in noise, what a frame costs, and what 50 lines cost."""
    for package in missing():
        print(f"detectors: without the people of {package}, which is not installed", file=sys.stderr)
    names = _available()
    if "Silero" not in names:
        print(f"detectors: without Silero; name its file in {SILERO}", file=sys.stderr)
    figures: list[Figure] = []
    async with AsyncExitStack() as stack:
        for detector in names.values():
            await stack.enter_async_context(detector.open())
        for name, detector in names.items():
            figures += await _in_noise(name, detector)
        figures += await _frame_costs(names)
    return figures + await _line_costs()


async def _in_noise(name: str, detector: vp.Detector) -> list[Figure]:
    """Print a line for each condition, and return what the bars are about."""
    print(f"\n| {name} | found | false starts | ended | start p50 / p95, ms | end p50 / p95, ms |\n|{' --- |' * 6}")
    loud = Counts()
    for condition, noise, above_db in CONDITIONS:
        counts = Counts()
        for number, utterance in enumerate(utterances()):
            one = scene(utterance, noise, above_db, seed=number)
            events = await reports(detector, one.pcm)
            counts.take(one, events)
            if condition in {"white", "pink"} and above_db == 0.0:
                loud.take(one, events)
        found, false, ended, *latencies = _cells(counts)
        label = condition if noise is None else f"{condition} {above_db:.0f} dB"
        print(f"| {label} | {found} | {false} | {ended} | {' / '.join(latencies[:2])} | {' / '.join(latencies[2:])} |")
    has_bar = name == EARSHOT
    scenes = f"{name}: {loud.scenes} scenes of white and pink noise, 0 dB"
    return [
        Figure(f"{scenes}: false starts", loud.false, bar=0 if has_bar else None),
        Figure(f"{scenes}: found and ended", loud.ended, at_least=49 / 52 * loud.scenes if has_bar else None),
    ]


async def reports(detector: vp.Detector, pcm: bytes):
    """Return what is reported about a recording, each with the time at which the report came."""
    events = []
    async with detector.attach(None):
        detecting = Detecting(detector, RATE)
        for number, frame in enumerate(frames_of(pcm, RATE)):
            detecting.feed(vp.AudioFrame(pcm=frame, sample_rate=RATE, start_s=number * FRAME_S))
            events += [((number + 1) * FRAME_S, event) for event in detecting.take()]
        detecting.check()
    return events


async def _frame_costs(names: dict[str, vp.Detector]) -> list[Figure]:
    """CPU for 20 ms of speech, the least of several rounds that take turns: the detector alone, and with the rest."""
    one = scene(utterances()[0], None, 20.0, seed=0)
    pieces = [piece for piece in frames_of(one.pcm, RATE) if len(piece) == 640] * 10
    frames = [
        vp.AudioFrame(pcm=piece, sample_rate=RATE, start_s=number * FRAME_S) for number, piece in enumerate(pieces)
    ]
    alone_us, all_us = dict.fromkeys(names, math.inf), dict.fromkeys(names, math.inf)
    for _ in range(9):
        for name, detector in names.items():
            async with detector.attach(None):
                alone_us[name] = min(alone_us[name], _cpu_us(detector.speech, pieces))
                all_us[name] = min(all_us[name], _cpu_us(Detecting(detector, RATE).feed, frames))
    figures = [Figure(f"{name}: 20 ms of speech, from the frame to the events", all_us[name], "µs") for name in names]
    figures += [Figure(f"{name}: 20 ms of speech, its `speech` alone", alone_us[name], "µs") for name in names]
    if {EARSHOT, WEBRTC} <= set(names):
        times = f"{EARSHOT} by {WEBRTC}, 20 ms of speech"
        figures.append(Figure(f"{times}, from the frame to the events", all_us[EARSHOT] / all_us[WEBRTC], "times", 5))
        figures.append(Figure(f"{times}, its `speech` alone", alone_us[EARSHOT] / alone_us[WEBRTC], "times"))
    return figures


def _cpu_us(look, frames) -> float:
    began_s = time.process_time()
    for frame in frames:
        look(frame)
    return (time.process_time() - began_s) / len(frames) * 1e6


async def _line_costs() -> list[Figure]:
    """CPU that the default detector adds to 50 calls, in percent of a core."""
    spoken = scene(utterances()[1], None, 40.0, seed=0)
    talk = [frame for frame in frames_of(spoken.pcm, RATE) if len(frame) == 640][75:-75]  # without the pauses around it
    figures = []
    async with served(first_token_s=0.08, token_s=0.01) as server:
        parts = agent(server.base_url).parts
        async with (
            vp.Pipeline(*parts, detector=None).open() as plain,
            vp.Pipeline(*parts).open() as detecting,
            called(plain, CALLS) as without,
            called(detecting, CALLS) as with_detector,
        ):
            for what, frames, bar in (("silent", [MICROPHONE_FRAME], 1), ("that speak", talk, 6)):
                shares = await _cpu_shares((without, with_detector), frames)
                figures.append(Figure(f"{CALLS} lines {what}, without a detector", shares[0], "% of a core"))
                figures.append(Figure(f"{CALLS} lines {what}, added by it", shares[1] - shares[0], "% of a core", bar))
    return figures


async def _cpu_shares(groups, frames) -> list[float]:
    """Return the CPU of groups of calls whose frames are pushed in real time, in percent of a core.

    The groups take turns in each tick, because a processor that others use changes its speed from second to second.
    """
    began_s = anyio.current_time()
    cpu_s = [0.0 for _ in groups]
    ticks = round(MEASURED_S / FRAME_S)
    for tick, frame in zip(range(WARM_UP_TICKS + ticks), cycle(frames), strict=False):
        for number in range(len(groups))[:: 1 if tick % 2 else -1]:
            before_s = time.process_time()
            for call in groups[number]:
                call.source.push(frame)
            for _ in range(SETTLED_STEPS):
                await anyio.lowlevel.checkpoint()
            if tick >= WARM_UP_TICKS:
                cpu_s[number] += time.process_time() - before_s
        await anyio.sleep_until(began_s + (tick + 1) * FRAME_S)
    return [one / MEASURED_S * 100 for one in cpu_s]
