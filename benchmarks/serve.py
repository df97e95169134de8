"""Calls over real websockets of a real server: how many one core holds, and what one costs.

The server is uvicorn with `Serve` and a transport of bare audio, as in `examples/own_transport.py`; the parts are
scripted and cost nothing, and there is no speech detector. The clients are bare protocols with prepared frames.

How many calls: server and clients share one simulated core, whose time is the CPU that the process has used (see
`scale`), so what the clients cost counts as well. A frame's lateness is the time from its tick until it reaches the
recogniser, or its message is written to the socket.

What one costs: the server is a process of its own, whose CPU is measured while the agents speak all the time, in turns
with a server that sends each frame back as it comes, and with the same sessions without any server.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from subprocess import PIPE

import anyio
from anyio.streams.text import TextReceiveStream

import voicepipe as vp
from benchmarks._figures import Figure, percentile
from benchmarks.scale import REPLY, Ears, Feed, Lateness, Measured, OwnCore, Voice
from benchmarks.scale import Line as TimedLine
from voicepipe.serving import Limits, Line, Serve, Transport
from voicepipe.serving.uvicorn_server import Server, bound, configured
from voicepipe.testing import Says, ScriptedModel

__all__ = ["serve"]

FRAME_S = 0.02
LATE_S = 0.02
SETTLE_S = 5.0
MEASURED_S = 8.0
PROMISED = 80
TRIES = 2
ECHO_CALLS = 40
ECHO_ROUNDS = 3
MOST_OF_AN_ECHO = 1.5
SHORT_CALLS = 1_000
FLOODED_CALLS = 20
FLOODING = 1_000_000
"""From this number on, calls flood, and their own frames do not count."""

FRAME = bytes(640)
SENT = b"\x82\xfe" + len(FRAME).to_bytes(2, "big") + bytes(4) + FRAME  # masked with zeros
CAME_BYTES = len(FRAME) + 4
UPGRADE = (
    "GET /plain HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Number: {number}\r\n\r\n"
)
HANG_UP = b"\x88\x82" + bytes(4) + (1000).to_bytes(2, "big")
OPEN = Limits(sessions=100_000, opening_per_s=100_000, idle_s=3600, lag_s=3600, stall_s=3600)


# --- the server -------------------------------------------------------------------------------------------------------


class Output(TimedLine):
    """The agent's voice on a websocket."""

    def __init__(self, peer, lateness) -> None:
        super().__init__(lateness)
        self._peer = peer

    async def send(self, pcm: bytes) -> None:
        await self._peer.send(pcm)
        await super().send(pcm)


class Plain(Transport):
    """Bare audio, both ways."""

    name = "plain"
    path = "/plain"
    proof = "this machine alone"

    def __init__(self, lateness: Lateness) -> None:
        self.lateness = lateness
        self.outputs = {}

    async def check(self, request, desk):
        del desk
        return {"number": int(request.headers["x-number"])}

    async def start(self, peer, desk):
        del desk
        lateness = self.lateness if peer.facts["number"] < FLOODING else Lateness()
        output = self.outputs[peer.facts["number"]] = Output(peer, lateness)
        return Line(source=vp.PushSource(), output=output)

    async def listen(self, peer, line, session):
        del session
        del self.outputs[peer.facts["number"]]
        async for pcm in peer:
            peer.takes_audio(FRAME_S)
            line.source.push(pcm)


@dataclass
class Call:
    """What the recogniser of `scale` needs of its call."""

    number: int
    feed: Feed
    lateness: Lateness
    output: Output


class Deaf(vp.Recogniser):
    """Takes the audio and hears nothing."""

    sample_rate = 16_000

    async def recognise(self, inbox, outbox, session):
        del outbox, session
        async for _ in inbox:
            pass


class Endless(vp.TTSSink):
    """Speaks on and on."""

    sample_rate = 16_000

    async def synthesize(self, sentence):
        del sentence
        while True:
            yield b"\x00\x10" * 1_600


def asking(feed: Feed, lateness: Lateness) -> Serve:
    """Return a server whose callers ask, and whose agents speak most of the time."""
    plain = Plain(lateness)
    row = vp.Pipeline(
        vp.STTStage(Ears()), ScriptedModel(lambda _: Says(REPLY)), vp.SentenceChunker(), Voice(), detector=None
    )
    return Serve(
        row,
        [plain],
        limits=OPEN,
        deps=lambda facts: Call(facts["number"], feed, (output := plain.outputs[facts["number"]])._lateness, output),
    )


def speaking() -> Serve:
    """Return a server whose agents speak all the time."""
    return Serve(speaking_row(), [Plain(Lateness())], limits=OPEN, greeting="Hello.")


def speaking_row() -> vp.Pipeline:
    return vp.Pipeline(vp.STTStage(Deaf()), ScriptedModel([]), vp.SentenceChunker(), Endless(), detector=None)


def greeting() -> Serve:
    """Return a server whose agents greet briefly."""
    row = vp.Pipeline(vp.STTStage(Deaf()), ScriptedModel([]), vp.SentenceChunker(), Voice(), detector=None)
    return Serve(row, [Plain(Lateness())], limits=OPEN, greeting="Hello.")


async def echo(scope, receive, send) -> None:
    """Send each frame back: an ASGI application with nothing in it."""
    del scope
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": event["bytes"]})


@asynccontextmanager
async def _listening(kind: str):
    """Run what a process of its own runs, and yield the port; the sessions have none."""
    if kind == "sessions":
        feed = Feed()

        async def hold(host: vp.Host) -> None:
            source = vp.PushSource()
            feed.listeners.append(source.push)
            async with host.session(source=source, output=TimedLine(Lateness()), greeting="Hello.") as session:
                await session.ended.wait()

        async with speaking_row().open() as host, anyio.create_task_group() as tasks:
            for _ in range(ECHO_CALLS):
                tasks.start_soon(hold, host)
            tasks.start_soon(feed.run)
            yield 0
            tasks.cancel_scope.cancel()
        return
    made = greeting() if kind == "greeting" else speaking()
    with bound("127.0.0.1", 0) as listener:
        async with made.lifespan(), anyio.create_task_group() as tasks:
            tasks.start_soon(Server(configured(echo if kind == "echo" else made.app), made.desk).serve, [listener])
            yield listener.getsockname()[1]
            tasks.cancel_scope.cancel()


async def _serve(kind: str) -> None:
    """Serve in a process of its own; each line on stdin asks for the CPU used so far."""
    async with _listening(kind) as port:
        print(port, flush=True)
        loop, done = asyncio.get_running_loop(), anyio.Event()

        def asked() -> None:
            if sys.stdin.readline():
                print(time.process_time(), flush=True)
            else:
                done.set()

        loop.add_reader(sys.stdin.fileno(), asked)
        await done.wait()
        loop.remove_reader(sys.stdin.fileno())


# --- the clients ------------------------------------------------------------------------------------------------------


class Client(asyncio.Protocol):
    """Sends prepared frames, and counts what comes."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.came_bytes = 0
        self.opened = anyio.Event()
        self.heard = anyio.Event()
        self.lost = anyio.Event()

    def connection_made(self, transport) -> None:
        self.transport = transport
        transport.write(UPGRADE.format(number=self.number).encode())

    def data_received(self, data: bytes) -> None:
        if not self.opened.is_set():
            assert data.startswith(b"HTTP/1.1 101"), data
            self.opened.set()
            return
        self.came_bytes += len(data)
        self.heard.set()

    def connection_lost(self, error) -> None:
        del error
        self.lost.set()

    def speak(self, _frame: bytes = FRAME) -> None:
        self.transport.write(SENT)

    async def hang_up(self) -> None:
        self.transport.write(HANG_UP)
        await self.lost.wait()


async def connected(port: int, number: int) -> Client:
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(partial(Client, number), "127.0.0.1", port)
    await client.opened.wait()
    return client


@asynccontextmanager
async def calling(port: int, count: int, feed: Feed):
    """Hold this many calls while the block lasts."""
    clients = []
    for number in range(count):
        clients.append(await connected(port, number))
        await anyio.sleep(0.005)
    feed.listeners = [client.speak for client in clients]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(feed.run)
        yield clients
        tasks.cancel_scope.cancel()
    for client in clients:
        client.transport.abort()


# --- what is measured -------------------------------------------------------------------------------------------------


async def _flood(port: int) -> None:
    """Send far too much, as often as the server lets one in."""
    for number in itertools.count(FLOODING):
        client = await connected(port, number)
        client.transport.write(SENT * 1_000)  # 20 s of audio at once; the server takes 10 s, and closes the connection
        await client.heard.wait()
        client.transport.abort()


async def _measure(count: int, *, is_flooded: bool = False) -> Measured:
    lateness, feed = Lateness(), Feed()
    async with (
        asking(feed, lateness).listening() as port,
        calling(port, count, feed),
        anyio.create_task_group() as floods,
    ):
        if is_flooded:
            floods.start_soon(_flood, port)
        await anyio.sleep(SETTLE_S)
        gc.collect()
        gc.freeze()
        await anyio.sleep(0.5)
        cpu_s, began_s = time.process_time(), anyio.current_time()
        lateness.is_on = True
        await anyio.sleep(MEASURED_S)
        lateness.is_on = False
        spent_s = anyio.current_time() - began_s
        cpu = (time.process_time() - cpu_s) / spent_s * 100
        speaks = len(lateness.sent_s) / count * FRAME_S / spent_s * 100
        floods.cancel_scope.cancel()
    late_s = max(percentile(lateness.heard_s, 99), percentile(lateness.sent_s, 99))
    return Measured(count, late_s * 1e3, cpu, speaks)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


async def _measured(count: int, kind: str = "calls") -> Measured:
    command = [sys.executable, "-m", "benchmarks.serve", kind, str(count)]
    done = await anyio.run_process(command, stderr=None, env=_environment())
    return Measured(**json.loads(done.stdout))


async def _most(first: int, step: int) -> Measured:
    """Return the result for the largest number of calls that meets the bar."""
    best = Measured(0, 0.0, 0.0, 0.0)
    for count in itertools.count(first, step):
        for _ in range(TRIES):
            found = await _measured(count)
            print(f"serve {found}", file=sys.stderr, flush=True)
            if found.late_ms <= LATE_S * 1e3:
                best = found
                break
        else:
            return best
    raise AssertionError


class Other:
    """A server in another process."""

    def __init__(self, process, lines, port: int) -> None:
        self._process = process
        self._lines = lines
        self.port = port

    async def cpu_s(self) -> float:
        await self._process.stdin.send(b"\n")
        return float(await self._lines())


@asynccontextmanager
async def _other(kind: str):
    command = [sys.executable, "-m", "benchmarks.serve", "server", kind]
    async with await anyio.open_process(command, stdin=PIPE, stdout=PIPE, stderr=None, env=_environment()) as process:
        stream, rest = TextReceiveStream(process.stdout), ""

        async def line() -> str:
            nonlocal rest
            while "\n" not in rest:
                rest += await stream.receive()
            one, _, rest = rest.partition("\n")
            return one

        yield Other(process, line, int(await line()))
        await process.stdin.aclose()


async def _cost(kind: str) -> tuple[float, float]:
    """Return the CPU of a call in percent of a core, and the frames that came a second."""
    count = 0 if kind == "sessions" else ECHO_CALLS  # they feed themselves
    async with _other(kind) as server, calling(server.port, count, Feed()) as clients:
        await anyio.sleep(2.0)
        cpu_s, came, began_s = await server.cpu_s(), sum(client.came_bytes for client in clients), anyio.current_time()
        await anyio.sleep(5.0)
        cpu_s, spent_s = await server.cpu_s() - cpu_s, anyio.current_time() - began_s
        came = sum(client.came_bytes for client in clients) - came
    return cpu_s / spent_s / ECHO_CALLS * 100, came / CAME_BYTES / ECHO_CALLS / spent_s


async def _opening() -> list[float]:
    """Return the milliseconds from connecting to the first audio of the greeting, one call at a time."""
    found = []
    async with _other("greeting") as server:
        for number in range(220):
            began_s = anyio.current_time()
            client = await connected(server.port, number)
            await client.heard.wait()
            found.append((anyio.current_time() - began_s) * 1e3)
            await client.hang_up()
    return found[20:]


def _resident_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * (os.sysconf("SC_PAGE_SIZE") // 1024)


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def _short() -> list[float]:
    """Return what a thousand short calls leave: descriptors, tasks, KiB."""

    async def short_calls(port: int, count: int) -> None:
        for number in range(count):
            client = await connected(port, number)
            client.speak()
            await client.heard.wait()
            if number % 3:
                await client.hang_up()
            else:
                client.transport.abort()
        await made.desk.wait_empty()
        await anyio.sleep(0.2)
        gc.collect()

    made = greeting()
    async with made.listening() as port:
        await short_calls(port, 500)
        before = _descriptors(), len(asyncio.all_tasks()), _resident_kib()
        await short_calls(port, SHORT_CALLS)
        after = _descriptors(), len(asyncio.all_tasks()), _resident_kib()
    return [two - one for one, two in zip(before, after, strict=True)]


async def _short_calls() -> list[float]:
    command = [sys.executable, "-m", "benchmarks.serve", "short"]
    done = await anyio.run_process(command, stderr=None, env=_environment())
    return json.loads(done.stdout)


async def serve() -> list[Figure]:
    """Calls over real websockets, compared with an echo of the same frames."""
    most = await _most(60, 20)
    rounds = [[await _cost(kind) for kind in ("speaking", "echo", "sessions")] for _ in range(ECHO_ROUNDS)]
    for costs in rounds:
        print(f"serve: speaking, echo, sessions {costs}", file=sys.stderr, flush=True)
    (calls, came), (echoes, _), (sessions, _) = (
        (median(one) for one in zip(*kind, strict=True)) for kind in zip(*rounds, strict=True)
    )
    ratio = median(ours / bare for (ours, _), (bare, _), _ in rounds)
    rest = median((ours - session) / bare for (ours, _), (bare, _), (session, _) in rounds)
    flooded = await _measured(FLOODED_CALLS, "flood")
    opening = await _opening()
    left = await _short_calls()
    return [
        Figure("serve: calls on a core, clients included", most.calls, at_least=PROMISED),
        Figure("serve: frame lateness there, p99", most.late_ms, "ms", LATE_S * 1e3),
        Figure("serve: CPU there, clients included", most.cpu_percent, "% of the core"),
        Figure("serve: time that an agent speaks there", most.speaks_percent, "%"),
        Figure("serve: CPU of a call, both speak", calls, "% of a core"),
        Figure("serve: frames that come, a second", came),
        Figure("serve: CPU of a bare echo of the same frames", echoes, "% of a core"),
        Figure("serve: their ratio, without a detector", ratio, "", MOST_OF_AN_ECHO),
        Figure("serve: CPU of the same session without a server", sessions, "% of a core"),
        Figure("serve: the rest, which is the server's, compared with the echo", rest),
        Figure(f"serve: lateness of {FLOODED_CALLS} calls while one floods, p99", flooded.late_ms, "ms", 40),
        Figure("serve: from connecting to the first audio, p50", percentile(opening, 50), "ms"),
        Figure("serve: from connecting to the first audio, p99", percentile(opening, 99), "ms"),
        Figure("serve: descriptors left of 1,000 short calls", left[0], "", 0),
        Figure("serve: tasks left", left[1], "", 0),
        Figure("serve: memory left", left[2] / 1024, "MiB", 1),
    ]


if __name__ == "__main__":
    if sys.argv[1] in ("calls", "flood"):
        measure = partial(_measure, int(sys.argv[2]), is_flooded=sys.argv[1] == "flood")
        print(json.dumps(asdict(anyio.run(measure, backend_options={"loop_factory": OwnCore}))))
    elif sys.argv[1] == "short":
        print(json.dumps(anyio.run(_short)))
    else:
        anyio.run(_serve, sys.argv[2], backend_options={"use_uvloop": True})
