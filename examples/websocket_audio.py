"""A websocket that carries plain audio: binary messages of 16-bit PCM at 16 kHz, in both directions.

The only text message is "clear": the peer drops the audio in its buffer, because the caller has interrupted. Such a
peer reports nothing, so audio counts as heard by the clock. `serve` can be deployed as it is, behind TLS, with a real
agent; here recogniser, model and voice are scripted, and so is the peer that calls.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as websocket_server
from websockets.exceptions import ConnectionClosed

import voicepipe as vp
from voicepipe.testing import Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice

RATE = 16_000


class Peer(vp.PacedOutput):
    """The agent's voice at the other end of a websocket."""

    sample_rate = RATE

    def __init__(self, socket: ServerConnection) -> None:
        self._socket = socket

    async def send(self, pcm: bytes) -> None:
        with suppress(ConnectionClosed):  # the peer has hung up; `listen` notices, and ends the call
            await self._socket.send(pcm)

    async def clear(self) -> None:
        with suppress(ConnectionClosed):
            await self._socket.send("clear")


async def hold_call(host: vp.Host, socket: ServerConnection) -> None:
    """Hold the call that a websocket brings, until one side hangs up."""
    caller = vp.PushSource(sample_rate=RATE)

    async def listen() -> None:
        try:
            async for pcm in socket:
                if isinstance(pcm, bytes):
                    caller.push(pcm)
        except ConnectionClosed:
            pass
        except vp.AudioError as error:  # half a sample: this call ends in order, and the others go on
            print(f"agent: the peer sent a message that is no audio: {error}")
            await socket.close(1007)
        caller.end()

    async with (
        host.session(source=caller, output=Peer(socket), greeting="Hello!") as session,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listen)
        async for event in session:
            if isinstance(event, vp.Transcript):
                print(f"agent: the caller said {event.text!r}")
            elif isinstance(event, vp.TurnEnded):
                print(f"agent: {type(event).__name__}, heard {event.heard!r}")
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def serve(agent: vp.Pipeline, address: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[Server]:
    """Accept calls while the block lasts."""
    async with agent.open() as host, websocket_server(partial(hold_call, host), address, port) as server:
        yield server


def scripted_agent() -> vp.Pipeline:
    """Return an agent with a scripted recogniser, model and voice: times are seconds of the caller's audio."""
    ears = ScriptedRecogniser().says("Tell me a story.", at_s=1.0).coughs(at_s=2.0).says("Enough!", at_s=3.2)
    replies = [Says("Once upon a time there was a queue that had no end, and so it had no beginning."), Says("Bye!")]
    voice = ScriptedVoice(character_s=0.05, sample_rate=RATE)
    return vp.Pipeline(vp.STTStage(ears), ScriptedModel(replies), vp.SentenceChunker(), voice)


# --- the other end ----------------------------------------------------------------------------------------------------


async def call(socket: ClientConnection) -> list[str]:
    """Speak all the time, log what comes back, and hang up when "Bye!" has been played; return the log."""
    notes: list[str] = []
    began_s = anyio.current_time()
    heard_bye = anyio.Event()

    async def speak() -> None:
        tick = 0
        while not heard_bye.is_set():
            tick += 1
            await socket.send(b"\x00\x10" * (RATE // 50))
            await anyio.sleep_until(began_s + tick * 0.02)
        await socket.close()

    async def listen() -> None:
        spoken_s = 0.0
        while True:
            message = None
            with anyio.move_on_after(0.5):
                message = await socket.recv()
            if isinstance(message, bytes):
                spoken_s += len(message) / 2 / RATE
                continue
            if spoken_s:
                notes.append("heard speech")
                print(f"caller, {anyio.current_time() - began_s:.1f} s: heard {spoken_s:.2f} s of speech")
            if message == "clear":
                notes.append("cut off")
                print(f"caller, {anyio.current_time() - began_s:.1f} s: the agent was cut off")
            if spoken_s and "cut off" in notes and message is None:
                break
            spoken_s = 0.0
        heard_bye.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(speak)
        tasks.start_soon(listen)
    return notes


async def main() -> None:
    async with serve(scripted_agent()) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}") as socket:
            notes = await call(socket)
    # On a busy machine the cough may last long enough to pause the agent, which clears the audio as well.
    assert [note for note in notes if note == "cut off"]
    assert (notes[0], notes[-1]) == ("heard speech", "heard speech")


if __name__ == "__main__":
    anyio.run(main)
