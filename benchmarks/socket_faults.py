"""Whole sessions against the fault kit's streaming socket: what is reported when the recogniser's service breaks.

    python -m benchmarks.socket_faults --kit DIR
    python -m benchmarks.socket_faults --kit DIR --only stall,close_3005 --speech

The kit is a directory with `ws_server.py`, which breaks one promise of the protocol per path. A caller is connected to
each of them for some seconds of real time, hangs up, and the reports to the application are judged:

error    the fault is reported within 5 s, by `RecogniserLost` or by the session's error
survive  turns go on after the bad message, or it is reported
slow     at most 5 s of audio wait, in the library and in the socket's buffer
ok       the session ends within 3 s of the hang-up with the last turn, or the fault is reported

Exits with 1 unless all pass and nothing is left running.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx

import voicepipe as vp
from voicepipe.listening_events import RecogniserLost
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedVoice
from voicepipe.vendors.assemblyai.stt import AssemblyAIRecogniser
from voicepipe.vendors.assemblyai.stt_session import PIECE_S
from voicepipe.vendors.line.audio_backlog import KEPT_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

    from voicepipe.hearing.recogniser import Recogniser

KEY = "sk-canary-of-the-fault-driver"
RATE = 16_000
AT_ONCE = 12
TOLD_S = 5.0
END_S = 3.0
SPEECH = (b"\xb8\x0b\x48\xf4" * 160, bytes(640))
"""A frame that sounds like somebody, and one that does not."""


class Caller(vp.Source):
    """Speaks half of each second, or not at all, and hangs up after some seconds."""

    def __init__(self, seconds: float, *, speaks: bool) -> None:
        self.seconds = seconds
        self.speaks = speaks

    async def frames(self) -> AsyncIterator[bytes]:
        due = anyio.current_time()
        for number in range(round(self.seconds / 0.02)):
            due += 0.02
            await anyio.sleep_until(due)
            yield SPEECH[0 if self.speaks and number % 50 < 25 else 1]


@dataclass
class Record:
    """What the application got. Times are seconds since the epoch, like the kit's."""

    told: list[tuple[float, str]] = field(default_factory=list)
    transcripts: list[str] = field(default_factory=list)
    began: float = 0.0
    hung_up: float = 0.0
    ended: float = 0.0
    most_waiting_s: float = 0.0
    events: list[vp.Event] = field(default_factory=list)


def now() -> float:
    return time.time()  # noqa: TID251 - the kit's server reports its faults in seconds since the epoch


async def call(url: str, seconds: float, *, speaks: bool) -> Record:
    """Hold one session with a faulty service."""
    record = Record(began=now())
    caller = Caller(seconds, speaks=speaks)
    agent = vp.Pipeline(
        caller,
        vp.STTStage(AssemblyAIRecogniser(url=url, api_key=KEY)),
        ScriptedModel(lambda _request: Says("Yes.")),
        vp.SentenceChunker(),
        ScriptedVoice(character_s=0.01),
        output=RecordingOutput(),
    )
    shown = repr(agent)
    try:
        async with agent.session() as session, anyio.create_task_group() as tasks:
            tasks.start_soon(measure, session.recogniser, record)
            async for event in session:
                record.events.append(event)
                match event:
                    case vp.Transcript(text=text):
                        record.transcripts.append(text)
                    case RecogniserLost(error=error):
                        record.told.append((now(), str(error)))
            shown += repr(session)
            tasks.cancel_scope.cancel()
    except vp.VoicepipeError as error:
        record.told.append((now(), f"{type(error).__name__}: {error}"))
    record.ended = now()
    if KEY in f"{shown} {record.events} {record.told}":
        raise AssertionError("the key is shown")
    return record


async def measure(recogniser: Recogniser, record: Record) -> None:
    """Note how much audio waits; it is not public, so it is read from private attributes."""
    inside: Any = recogniser
    record.hung_up = now() + inside._line._session._source.seconds
    while True:
        backlog, link = inside._line._backlog, inside._line._link
        waiting_s = (backlog.pushed - backlog.taken) * PIECE_S
        buffered = link.socket._connection.transport.get_write_buffer_size()
        record.most_waiting_s = max(record.most_waiting_s, waiting_s, buffered / 2 / RATE)
        await anyio.sleep(0.1)


def judge(kind: str, record: Record, fault_at: float | None) -> tuple[bool, str]:
    """Return whether a fault was handled well, and what was observed."""
    told = [(at - (fault_at or record.began), text) for at, text in record.told]
    first = f"reported after {told[0][0]:.2f} s: {told[0][1]}" if told else "never reported to the application"
    if kind == "error":
        return bool(told) and told[0][0] <= TOLD_S, first
    if kind == "survive":
        turns = len(record.transcripts)
        return turns >= 3 or bool(told), f"{turns} turns" if turns >= 3 else first
    if kind == "slow":
        return record.most_waiting_s <= KEPT_S, f"{record.most_waiting_s:.2f} s of audio waited at most; {first}"
    took_s = record.ended - record.hung_up
    last = record.transcripts[-1] if record.transcripts else "nothing"
    passed = took_s <= END_S and (last == "last words" or bool(told))
    return passed, f"ended {took_s:.2f} s after the hang-up, last heard {last!r}" + (f"; {first}" if told else "")


async def main(kit: Any, port: str, options: argparse.Namespace) -> bool:
    """Run every fault, and print the result."""
    names: list[str] = options.only.split(",") if options.only else list(kit.FAULTS)
    records: dict[str, Record] = {}
    limiter = anyio.CapacityLimiter(AT_ONCE)

    async def one(name: str) -> None:
        async with limiter:
            url = f"ws://127.0.0.1:{port}/f/{name}@ours"
            records[name] = await call(url, options.seconds, speaks=options.speech)

    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(one, name)
    async with httpx.AsyncClient(trust_env=False) as client:
        stats = (await client.get(f"http://127.0.0.1:{port}/__stats")).json()
    passed = 0
    for name in names:
        kind = kit.FAULTS[name][0]
        seen = stats.get(f"{name}@ours", {})
        fault_at = seen.get("t_fault")
        if seen.get("sessions", 0) > 1:  # the kit reports the last session's fault, but the first one counts
            fault_at = records[name].began
        is_borne, why = judge(kind, records[name], fault_at)
        passed += is_borne
        print(f"{name:22} {kind:8} {'PASS' if is_borne else 'FAIL'}  {seen.get('sessions', 0)} session(s), {why}")
    left = [task.name for task in anyio.get_running_tasks() if task != anyio.get_current_task()]
    print(json.dumps({"pass": passed, "of": len(names), "tasks_left": left}))
    return passed == len(names) and not left


@contextmanager
def served(kit_dir: Path) -> Generator[str]:
    """Run the kit's server in a separate process, and return its port."""
    command = [sys.executable, str(kit_dir / "ws_server.py"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().rpartition(":")[2].strip()
        finally:
            server.terminate()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kit", type=Path, required=True, help="directory of the fault kit")
    parser.add_argument("--only", help="faults, with commas between them")
    parser.add_argument("--seconds", type=float, default=6.5, help="how long each call is")
    parser.add_argument("--speech", action="store_true", help="the caller speaks half of each second; else never")
    given = parser.parse_args()
    sys.path.insert(0, str(given.kit))
    import ws_server  # type: ignore[import-not-found]  # the kit's own

    with served(given.kit) as served_port:
        has_passed = anyio.run(main, ws_server, served_port, given)
    sys.exit(not has_passed)
