"""How exactly a recorded call is replayed: the call of `voicepipe demo`, held in real time, recorded and held again."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import anyio.to_thread

import voicepipe as vp
from benchmarks._figures import Figure
from voicepipe.cli import demo
from voicepipe.cli._demo_stack import local
from voicepipe.testing import Difference, Replayed, run_on_virtual_time
from voicepipe.watching.recording.records import to_json
from voicepipe.watching.replay import RecordedCall, Replay, load_call

__all__ = ["replay"]


async def replay() -> list[Figure]:
    """Record the demo's call, replay it twice on virtual time, and compare."""
    with tempfile.TemporaryDirectory() as folder:
        _, notes, opened = local()
        call = demo.Call(notes=notes, observers=[vp.Recorder(folder)])
        await demo._hold(call, opened, demo._ignore)
        began_s = time.process_time()
        first, second = await anyio.to_thread.run_sync(_replayed, Path(folder))
        cpu_s = time.process_time() - began_s
    between = Difference(first.replay, second.replay, times="marks", tolerance_s=0.0)
    unequal = sum(one != other for one, other in zip(_lines(first.replay), _lines(second.replay), strict=True))
    return [
        Figure("differences of a replay from the recorded call", len(first.difference.changes), "", bar=0),
        Figure("marks of replay and recording, apart at most", first.difference.largest_s * 1e3, "ms", bar=20),
        Figure("marks of two replays, apart at most", between.largest_s * 1e6, "us", bar=0),
        Figure("events of two replays that differ", unequal, "", bar=0),
        Figure("CPU time of a replay, reading it included", cpu_s / 2, "s"),
        Figure("the recorded call lasted", first.recording.ended_s, "s"),
    ]


def _replayed(folder: Path) -> tuple[Replayed, Replayed]:
    """Replay the recording in a folder twice; virtual time needs a loop, and so a thread, of its own."""
    (path,) = folder.iterdir()
    return (
        run_on_virtual_time(Replay(load_call(path)).run),
        run_on_virtual_time(Replay(load_call(path)).run),
    )


def _lines(call: RecordedCall) -> list[str]:
    return [f"{at_s:.6f} {type(event).__name__} {to_json(event, 0.0)}" for at_s, event in call.events]
