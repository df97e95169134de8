"""What recording a call of an hour costs: CPU, memory, disk."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio

import voicepipe as vp
from benchmarks._figures import Figure
from voicepipe.testing import Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice, run_on_virtual_time

__all__ = ["recording"]

HOUR_S = 3600
EVERY_S = 12.0
SPEECH_S = 2.0
REPLY = "That is a good question, and here is the whole answer to it. It takes about five seconds to say all of this."

KINDS = {"alone": None, "as WAV": "wav", "as FLAC": "flac"}


async def recording() -> list[Figure]:
    """An hour on virtual time, in a fresh process each: 300 turns, 20 ms frames both ways, with and without a recorder.

    The difference of the CPU is what recording costs, and that of the largest resident memory is what it holds. numpy
    and soundfile are there on each side: a process loads them once, for however many calls.
    """
    sides = {name: await anyio.to_thread.run_sync(_measured, kind or "") for name, kind in KINDS.items()}
    alone = sides.pop("alone")
    figures = [Figure("recording: the call of an hour itself", alone["cpu_s"] / HOUR_S * 100, "% of a core")]
    for name, side in sides.items():
        share = (side["cpu_s"] - alone["cpu_s"]) / HOUR_S * 100
        figures += [
            Figure(f"recording {name}: CPU", share, "% of a core", bar=1.0),
            Figure(f"recording {name}: memory", (side["peak_kib"] - alone["peak_kib"]) / 1024, "MiB", bar=20.0),
            Figure(f"recording {name}: on the disk", side["disk"] / 1e6, "MB an hour"),
        ]
    return figures


def _measured(kind: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.recording", kind]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


class _Caller(vp.Source):
    """A caller whose frames come every 20 ms."""

    sample_rate = 16_000

    async def frames(self):
        began_s, speech, silence = anyio.current_time(), _speech(), bytes(640)
        for number in range(HOUR_S * 50):
            await anyio.sleep_until(began_s + (number + 1) / 50)
            yield speech[number % 50] if number / 50 % EVERY_S < SPEECH_S else silence


def _speech() -> list[bytes]:
    """Return a second of noise, which no encoder makes small."""
    import random  # noqa: PLC0415

    return [random.Random(number).randbytes(640) for number in range(50)]


async def _call(kind: str, directory: Path) -> None:
    recogniser = ScriptedRecogniser()
    for number in range(round(HOUR_S / EVERY_S)):
        at_s = number * EVERY_S + SPEECH_S
        recogniser.guesses("and what about", at_s=at_s - 0.5, stable=False)
        recogniser.says(f"And what about number {number}?", at_s=at_s + 0.3, speech_s=SPEECH_S, silence_s=0.3)
    row = (
        vp.STTStage(recogniser),
        ScriptedModel(lambda _: Says(REPLY), token_s=0.02),
        vp.SentenceChunker(),
        ScriptedVoice(first_audio_s=0.2, speed=4.0),
    )
    output = vp.ClockedOutput(24_000)
    pipeline = vp.Pipeline(*row, output=output, detector=None)
    observers = [vp.Recorder(directory, audio=kind)] if kind else []
    async with pipeline.session(source=_Caller(), observers=observers) as session:
        async for _ in session:
            pass


def main() -> None:
    """Hold the call, and print what it cost."""
    import numpy  # noqa: F401, ICN001, PLC0415 - 20 MB once a process, whichever way a call is recorded
    import soundfile  # noqa: F401, PLC0415

    with tempfile.TemporaryDirectory() as directory:
        began_s = time.process_time()
        run_on_virtual_time(lambda: _call(sys.argv[1], Path(directory)))
        cpu_s = time.process_time() - began_s
        disk = sum(file.stat().st_size for file in Path(directory).rglob("*") if file.is_file())
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"cpu_s": cpu_s, "peak_kib": peak_kib, "disk": disk}))


if __name__ == "__main__":
    main()
