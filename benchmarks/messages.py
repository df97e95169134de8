"""What a message of the two websockets costs by itself, again and again, so that everything is in the caches."""

from __future__ import annotations

import base64
import json
import time
import timeit

import anyio
from websockets.asyncio.client import connect

from benchmarks._figures import Figure
from benchmarks.services import AUDIO_MESSAGE, QUESTION, QUESTION_S, Services
from voicepipe.testing.simulators._stt_parameters import Parameters
from voicepipe.testing.simulators._stt_turns import Quirks, Spoken, TurnWriter
from voicepipe.vendors.assemblyai.stt_messages import MessageReader

__all__ = ["message_costs"]

MESSAGES = 500
HEARD = Parameters(sample_rate=16_000)
TURN = json.dumps(next(TurnWriter(Quirks()).final(Spoken(QUESTION, 0.0, QUESTION_S).words, HEARD))).encode()


async def message_costs(at: Services) -> list[Figure]:
    """Return the CPU of each kind of message, of its JSON and its base64."""
    async with connect(at.mirror_url, compression=None, ping_interval=None) as socket:
        sent_s = [await _cpu_of_sending(socket) for _ in range(5)]
        received_s = [await _cpu_of_receiving(socket) for _ in range(5)]
    audio = json.loads(AUDIO_MESSAGE)["audio"]
    read = MessageReader().read
    return [
        Figure("sockets: a websocket's send, 50 ms of the caller", min(sent_s) * 1e6, "µs"),
        Figure("sockets: a websocket's recv, 80 ms of the voice", min(received_s) * 1e6, "µs"),
        Figure("sockets: the JSON of that", _cpu_of(lambda: json.loads(AUDIO_MESSAGE)) * 1e6, "µs"),
        Figure("sockets: the base64 of that", _cpu_of(lambda: base64.b64decode(audio, validate=True)) * 1e6, "µs"),
        Figure("sockets: a turn of the recogniser, read and validated", _cpu_of(lambda: read(TURN)) * 1e6, "µs"),
    ]


async def _cpu_of_sending(socket) -> float:
    began_s = time.process_time()
    for _ in range(MESSAGES):
        await socket.send(bytes(1_600))
    spent_s = time.process_time() - began_s
    await anyio.sleep(0.1)  # until the other side has read them
    return spent_s / MESSAGES


async def _cpu_of_receiving(socket) -> float:
    began_s = time.process_time()
    await socket.send(str(MESSAGES))
    for _ in range(MESSAGES):
        await socket.recv(decode=False)
    return (time.process_time() - began_s) / MESSAGES


def _cpu_of(function) -> float:
    return min(timeit.repeat(function, timer=time.process_time, number=MESSAGES, repeat=5)) / MESSAGES
