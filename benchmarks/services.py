"""The services of `sockets` in one process of their own: a recogniser and a voice of AssemblyAI's kind, and a model.

    async with services(core) as at: ... at.stt_url ... at.cpu_s()

The first two are the simulators of `voicepipe.testing`, which check what a client sends. A fourth server only passes
messages, for the cost of a websocket alone. The CPU of the process is read from outside.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import sys
from argparse import Namespace
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE

import anyio
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.server import REPLIES, listening
from voicepipe.testing.simulators.stt import Spoken, STTSession, STTSimulator
from voicepipe.testing.simulators.tts import TTSSimulator

__all__ = [
    "AUDIO_MESSAGE",
    "CHARACTER_S",
    "CYCLE_S",
    "QUESTION",
    "QUESTION_S",
    "REPLY",
    "Services",
    "asks_at_s",
    "services",
]

CYCLE_S = 8.0
"""From one question of a caller to the next."""

QUESTION = "Good morning, can you please tell me where my parcel is?"
QUESTION_S = 2.5

REPLY = " ".join(REPLIES["parcel"])

CHARACTER_S = 0.06
"""How long the voice takes for a character: half of the time for the reply, in whole frames."""

HOUR_S = 3600.0

AUDIO_MESSAGE = json.dumps({"type": "Audio", "flush_id": 3, "audio": base64.b64encode(b"\x00\x10" * 1_920).decode()})
"""80 ms of the voice at 24 kHz, as the service sends it."""


def asks_at_s(number: int) -> float:
    """Return when the caller with this number asks first, so that not all ask at once."""
    return 0.5 + number * 0.618 * CYCLE_S % CYCLE_S


@dataclass(frozen=True, slots=True)
class Services:
    """The running services.

    Attributes:
        stt_url: Of the recogniser.
        tts_url: Of the voice.
        model_url: Of the model.
        mirror_url: Of a websocket that takes binary messages, and answers a number with as many `AUDIO_MESSAGE`.
        process: The id of their process.
    """

    stt_url: str
    tts_url: str
    model_url: str
    mirror_url: str
    process: int

    def cpu_s(self) -> float:
        """Return the CPU that they have used, in seconds."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def services(core: int):
    """Run the services on a core while the block lasts."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "benchmarks.services", str(core)]
    async with await anyio.open_process(command, stdout=PIPE, stderr=None, env=environment) as process:
        try:
            yield Services(*(await process.stdout.receive()).decode().split(), process.pid)
        finally:
            process.kill()


def _script(session: STTSession) -> list[Spoken]:
    first_s = asks_at_s(session.number)
    times_s = [first_s + CYCLE_S * count for count in range(int(HOUR_S / CYCLE_S))]
    return [Spoken(QUESTION, at_s, at_s + QUESTION_S) for at_s in times_s]


async def _mirror(connection: ServerConnection) -> None:
    async for message in connection:
        if isinstance(message, str):
            for _ in range(int(message)):
                await connection.send(AUDIO_MESSAGE)


async def _serve(core: int) -> None:
    os.sched_setaffinity(0, {core})
    stt = STTSimulator(_script, sessions_per_minute=None, record=False)
    tts = TTSSimulator(first_audio_s=0.2, character_s=CHARACTER_S, record=False)
    model = Namespace(first_token_s=0.08, token_s=0.01, reply="parcel")
    async with (
        stt.serve() as stt_url,
        tts.serve() as tts_url,
        listening(model) as model_url,
        serve(_mirror, "127.0.0.1", 0, compression=None, ping_interval=None) as mirror,
    ):
        mirror_url = f"ws://127.0.0.1:{mirror.sockets[0].getsockname()[1]}"
        sys.stdout.write(f"{stt_url} {tts_url} {model_url} {mirror_url}\n")
        sys.stdout.flush()
        gc.freeze()
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(_serve, int(sys.argv[1]))
