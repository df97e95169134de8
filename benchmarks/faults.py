"""Whole sessions against the fault kit: what caller and application get when the model's service misbehaves.

    FAULT_BUDGET=5 FAULT_LIMIT=8 python benchmarks/faults.py --kit DIR --first-token-s 1.5 --gap-s 2 --turn-s 4.5
    python benchmarks/faults.py --kit DIR --only stall_mid,tool_loop

The kit is a directory with `server.py`, which breaks one promise of the protocol per path, and `drivelib.py`, which
runs and judges every fault. Options not listed by --help are passed to the kit's driver. Exits with 1 unless all pass.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

import voicepipe as vp
from voicepipe.model.tool_router import TURN_S
from voicepipe.vendors.openai.conversation_json import messages_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

KEY = "sk-canary-of-the-fault-driver"
FALLBACK = "Sorry."


class InstantVoice(vp.TTSSink):
    """Says every sentence in one frame, and keeps it."""

    def __init__(self, said: list[str]) -> None:
        self.said = said

    async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes]:
        self.said.append(sentence.text)
        yield bytes(960)


class InstantOutput(vp.Output):
    """Plays everything at once."""

    _played_s = 0.0

    async def write(self, pcm: bytes) -> None:
        self._played_s += len(pcm) / 2 / self.sample_rate

    def flush(self) -> None:
        """Nothing waits here."""

    @property
    def played_s(self) -> float:
        return self._played_s


@dataclass(frozen=True)
class Limits:
    deadlines: vp.Deadlines
    turn_s: float


async def converse(base_url: str, record: dict[str, Any], limits: Limits, kit: Any, began_s: float) -> None:
    """Hold one session of one turn against one fault, and fill the kit's record of it."""

    @vp.tool
    async def get_weather(city: str) -> str:
        """Return the weather in a city."""
        record["tools"].append({"city": city})
        return "sunny, 21 degrees"

    said: list[str] = []
    agent = vp.Pipeline(
        vp.LLMStreamStage("Answer briefly.", base_url=base_url, model="fault", api_key=KEY, deadlines=limits.deadlines),
        vp.ToolRouter([get_weather], turn_s=limits.turn_s),
        vp.SentenceChunker(),
        InstantVoice(said),
        output=InstantOutput(),
        fallback=FALLBACK,
    )
    events: list[vp.Event] = []

    async def watch(session: vp.Session) -> None:
        async for event in session:
            events.append(event)
            if isinstance(event, vp.TurnFailed):
                kit.add_error(record, began_s, event.error, "TurnFailed")
            elif isinstance(event, vp.TurnEmpty):
                kit.add_error(record, began_s, event.finish_reason, "TurnEmpty")
            elif isinstance(event, vp.TurnCompleted):
                record["finish_seen"] = event.finish_reason == "length"

    async with agent.session() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(watch, session)
        with anyio.move_on_after(kit.LIMIT):
            await session.user_says("What is the weather in Paris?")
            record["ended"] = True
        record["t_end"] = round(anyio.current_time() - began_s, 2)
        session.end()
    record["text"] = "".join(said).removesuffix(FALLBACK)
    record["history"] = messages_json("", session.history)
    if KEY in f"{events} {agent} {session} {record['history']}":
        raise AssertionError("the key is shown")


async def main(kit: Any, limits: Limits) -> None:
    async def one(base_url: str, record: dict[str, Any], began_s: float) -> None:
        await converse(base_url, record, limits, kit, began_s)

    await kit.drive("voicepipe", one)


@contextmanager
def served(kit_dir: Path) -> Generator[str]:
    """Run the kit's server in a separate process, and return its port."""
    command = [sys.executable, str(kit_dir / "server.py"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().split(":")[1].split()[0]
        finally:
            server.terminate()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kit", type=Path, required=True, help="directory of the fault kit")
    parser.add_argument("--first-token-s", type=float, default=vp.Deadlines().first_token_s)
    parser.add_argument("--turn-s", type=float, default=TURN_S)
    parser.add_argument("--gap-s", type=float, default=vp.Deadlines().gap_s)
    options, for_kit = parser.parse_known_args()
    sys.path.insert(0, str(options.kit))
    import drivelib  # type: ignore[import-not-found]  # the kit's own

    with served(options.kit) as port, tempfile.NamedTemporaryFile() as results:
        sys.argv[1:] = [*for_kit, "--port", port, "--out", results.name]
        deadlines = vp.Deadlines(first_token_s=options.first_token_s, gap_s=options.gap_s)
        asyncio.run(main(drivelib, Limits(deadlines, options.turn_s)))
        *_, last = Path(results.name).read_text().splitlines()
    summary = json.loads(last)["summary"]
    sys.exit(summary["pass"] < summary["of"] or bool(summary["tasks_left"] or summary["loop_exceptions"]))
