"""`voicepipe devices`: lists microphones and loudspeakers, and tests them."""

from __future__ import annotations

import json
import math
from array import array
from contextlib import asynccontextmanager
from dataclasses import asdict
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING, Final, cast

import anyio

import voicepipe as vp
from voicepipe.audio.devices.round_trip import LONGEST_S, chirp, round_trips
from voicepipe.core.failures import single_error
from voicepipe.core.lifetimes import attached, opened
from voicepipe.core.process import run
from voicepipe.errors import AudioDeviceError, MissingExtra
from voicepipe.turntaking.echo import ECHO_S

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncGenerator, Sequence

    from voicepipe.audio.devices.device import AudioDevice

__all__ = ["devices"]

RATE: Final = 16_000
CHIRPS: Final = 5
SETTLE_S: Final = 0.5
"""Sound servers need time to wake an idle device, and drop or delay the first audio."""

SHOWN_S: Final = 0.1
PRINTED_S: Final = 1.0
"""How often the level is shown on a terminal, and how often it is printed elsewhere."""

BAR: Final = 40
QUIETEST_DB: Final = -80.0
FULL_SCALE: Final = 32_768.0


def devices(options: argparse.Namespace) -> int:
    """List the devices, show the level of one, or measure the round trip; return 0, or 1 if there was no sound.

    Raises:
        AudioDeviceError: There is no device, or it cannot be opened.
        AudioError: The device was lost.
        KeyboardInterrupt: Ctrl-C.
    """
    if options.level:
        return run(_show_level, options)
    if options.loopback:
        return run(_measure, options)
    listed = run(vp.devices)
    if not listed:
        raise AudioDeviceError("found no sound device; plug one in, or start the sound server")
    if options.json:
        print(json.dumps([asdict(device) for device in listed], indent=2))
    else:
        _print_list(listed)
    return 0


# --- the list ---------------------------------------------------------------------------------------------------------


def _print_list(listed: Sequence[AudioDevice]) -> None:
    rows = [
        (str(one.index), one.name, one.host_api, str(one.inputs), str(one.outputs), str(one.default_rate), _marks(one))
        for one in listed
    ]
    names = ("", "name", "system", "in", "out", "Hz", "default")
    widths = [max(len(row[at]) for row in (names, *rows)) for at in range(len(names))]
    for row in (names, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _marks(device: AudioDevice) -> str:
    is_default = {"microphone": device.is_default_input, "loudspeaker": device.is_default_output}
    return ", ".join(role for role, is_so in is_default.items() if is_so)


# --- the level --------------------------------------------------------------------------------------------------------


async def _show_level(options: argparse.Namespace) -> int:
    from rich.console import Console  # noqa: PLC0415 - the others need no package of the extra `cli`
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False, markup=False)
    is_silent = True
    shown_s = min(options.seconds or math.inf, SHOWN_S if console.is_terminal else PRINTED_S)
    with Live(Text(), console=console, auto_refresh=False, transient=True) as live:
        source = vp.MicSource(options.input, sample_rate=RATE)
        async with plugged(source):
            samples = array("h")
            with anyio.CancelScope() as limit:
                async for pcm in source.frames():
                    if options.seconds and limit.deadline == math.inf:  # a device may take a while to wake
                        limit.deadline = anyio.current_time() + options.seconds
                    samples.frombytes(pcm)
                    is_silent = is_silent and not any(pcm)
                    if len(samples) < shown_s * source.sample_rate:
                        continue
                    line = _level_line(samples)
                    if console.is_terminal:
                        live.update(Text(line), refresh=True)
                    else:
                        print(line, flush=True)
                    samples = array("h")
    if is_silent:
        print("nothing but zeros: the microphone is muted, or this program has no permission to use it")
    return 1 if is_silent else 0


def _level_line(samples: array[int]) -> str:
    """Return the level as text: the mean as a bar and as a figure, and the peak."""
    mean = _decibels(math.sqrt(sum(sample * sample for sample in samples) / len(samples)))
    peak = _decibels(max(map(abs, samples)))
    bar = "#" * round(BAR * (1 - mean / QUIETEST_DB))
    return f"{bar:{BAR}} {mean:6.1f} dB, peak {peak:6.1f} dB" + (", clipped" if peak > -0.1 else "")


def _decibels(amplitude: float) -> float:
    """Return an amplitude in decibels relative to full scale."""
    return max(QUIETEST_DB, 20 * math.log10(amplitude / FULL_SCALE)) if amplitude else QUIETEST_DB


# --- the round trip ---------------------------------------------------------------------------------------------------


async def _measure(options: argparse.Namespace) -> int:
    if find_spec("numpy") is None:
        raise MissingExtra("voicepipe devices --loopback", "numpy", "local")
    source, output = vp.MicSource(options.input, sample_rate=RATE), vp.Speaker(options.output, sample_rate=RATE)
    recorder, played_s = _Recorder(), list[float]()
    async with plugged(source, output), anyio.create_task_group() as tasks:
        tasks.start_soon(recorder.record, source)
        await recorder.has_begun.wait()
        await anyio.sleep(SETTLE_S)
        sound, frame = chirp(output.sample_rate), 2 * round(0.02 * output.sample_rate)
        for _ in range(CHIRPS):
            played_s.append(anyio.current_time())
            for at in range(0, len(sound), frame):
                await output.write(sound[at : at + frame])
            await anyio.sleep(LONGEST_S + SETTLE_S)
        tasks.cancel_scope.cancel()
    trips = round_trips(bytes(recorder.pcm), source.sample_rate, [at_s - recorder.began_s for at_s in played_s])
    return _report(trips, as_json=options.json)


def _report(trips: Sequence[float | None], *, as_json: bool) -> int:
    """Print how long the chirps took that were found, and return 0; 1 if most were not."""
    found = [trip for trip in trips if trip is not None]
    has_found = len(found) > len(trips) / 2
    if as_json:
        times = {"median_s": median(found), "least_s": min(found), "most_s": max(found)} if has_found else {}
        print(json.dumps({"played": len(trips), "recorded": len(found), **times}, indent=2))
    elif has_found:
        trip_s = median(found)
        spread = f"{min(found) * 1e3:.0f} to {max(found) * 1e3:.0f}"
        print(f"round trip {trip_s * 1e3:.0f} ms (median of {len(found)}; {spread})")
        if trip_s > ECHO_S:
            print(f"that is more than the {ECHO_S * 1e3:.0f} ms within which sound is taken for echo: use headphones")
    else:
        print(
            f"recorded {len(found)} of {len(trips)} chirps: turn the loudspeaker and the microphone up, move them "
            "closer together, and name them with --output and --input"
        )
    return 0 if has_found else 1


class _Recorder:
    """Records a source, and knows when the recording began.

    Attributes:
        pcm: The audio so far.
        began_s: When its first sample was recorded, by the loop's clock.
        has_begun: Set with the first audio.
    """

    def __init__(self) -> None:
        self.pcm = bytearray()
        self.began_s = math.inf
        self.has_begun = anyio.Event()

    async def record(self, source: vp.Source) -> None:
        """Record until cancelled."""
        async for pcm in source.frames():
            self.pcm += pcm
            # The earliest estimate is right: audio may arrive late, but never before it was recorded.
            self.began_s = min(self.began_s, anyio.current_time() - len(self.pcm) / 2 / source.sample_rate)
            self.has_begun.set()


@asynccontextmanager
async def plugged(*parts: vp.Part) -> AsyncGenerator[None]:
    """Open devices without a session."""
    with single_error():
        async with opened(parts), attached(parts, cast("vp.Session", None)):
            yield
