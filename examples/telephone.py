"""A telephone line: the caller's audio comes over a websocket, the agent's goes back, both as mu-law in JSON messages.

The protocol is like Twilio Media Streams: the line sends `start`, `media`, `dtmf`, `mark` and `stop`, and takes
`media`, `mark` and `clear`. `serve` can be deployed as it is, behind TLS, with an agent that has a real recogniser,
model and voice. Here all three are scripted, and so is the telephone that calls.
"""

import base64
import json
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as websocket_server
from websockets.exceptions import ConnectionClosed

import voicepipe as vp
from voicepipe.testing import Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice

KEYS = tuple("0123456789*#")


class Telephone(vp.PacedOutput):
    """The agent's voice on one line. The line buffers audio, so it has to clear it on request; it reports marks."""

    sample_rate = 8_000

    def __init__(self, socket: ServerConnection, stream: str) -> None:
        self._socket = socket
        self._stream = stream

    async def send(self, pcm: bytes) -> None:
        await self._tell("media", media={"payload": base64.b64encode(vp.audio.to_ulaw(pcm)).decode()})

    async def clear(self) -> None:
        await self._tell("clear")

    async def mark(self, name: str) -> None:
        await self._tell("mark", mark={"name": name})

    async def _tell(self, event: str, **fields: object) -> None:
        with suppress(ConnectionClosed):  # the caller has hung up; `listen` notices, and ends the call
            await self._socket.send(json.dumps({"event": event, "streamSid": self._stream, **fields}))


async def hold_call(host: vp.Host, socket: ServerConnection) -> None:
    """Hold the call that a websocket brings, until one side hangs up."""
    message: dict[str, Any] = {}
    with anyio.fail_after(10.0):
        while message.get("event") != "start":  # "connected" comes first
            message = json.loads(await socket.recv())
    caller, telephone = vp.PushSource(sample_rate=8_000), Telephone(socket, message["start"]["streamSid"])

    async def listen(session: vp.Session) -> None:
        try:
            async for text in socket:
                match json.loads(text):
                    case {"event": "media", "media": {"track": "outbound"}}:
                        pass  # a line that sends both tracks: this one is the agent's own voice
                    case {"event": "media", "media": {"payload": str(payload)}}:
                        caller.push(vp.audio.from_ulaw(base64.b64decode(payload, validate=True)))
                    case {"event": "mark", "mark": {"name": str(name)}}:
                        telephone.marked(name)
                    case {"event": "dtmf", "dtmf": {"digit": str(key)}} if key in KEYS:
                        session.press(key)
                    case {"event": "stop"}:
                        break
                    case _:
                        pass  # messages that may be added one day
        except ConnectionClosed:
            pass
        except ValueError as error:  # neither JSON nor base64: this call ends in order, and the others go on
            print(f"agent: the line sent a message that cannot be read: {error}")
            await socket.close(1007)
        caller.end()

    async with (
        host.session(source=caller, output=telephone, greeting="Parcel line, hello!") as session,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listen, session)
        async for event in session:
            if isinstance(event, vp.Transcript):
                print(f"agent: the caller said {event.text!r}")
            elif isinstance(event, vp.TurnEnded):
                print(f"agent: {type(event).__name__}, heard {event.heard!r}")
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def serve(agent: vp.Pipeline, address: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[Server]:
    """Accept calls while the block lasts; the telephone network's webhook has the URL of this server."""
    async with agent.open() as host, websocket_server(partial(hold_call, host), address, port) as server:
        yield server


def scripted_agent() -> vp.Pipeline:
    """Return an agent with a scripted recogniser, model and voice: times are seconds of the caller's audio."""
    ears = ScriptedRecogniser(sample_rate=8_000)
    ears.says("Where is my parcel?", at_s=1.5).coughs(at_s=2.5, for_s=0.5).says("Thanks, that will do.", at_s=3.3)
    replies = [
        Says("It left Lyon on Monday, was in Paris on Tuesday, and it is on the road to you since."),
        Says("Bye!"),
    ]
    voice = ScriptedVoice(character_s=0.04, sample_rate=8_000)
    return vp.Pipeline(vp.STTStage(ears), ScriptedModel(replies), vp.SentenceChunker(), voice)


# --- the other end ----------------------------------------------------------------------------------------------------


class Phone:
    """A telephone network: buffers the audio that it gets, plays it at the pace of speech, reports marks.

    Attributes:
        log: What the caller noticed, with the seconds since the call began.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.log: list[tuple[float, str]] = []
        self._socket = socket
        self._store: deque[dict[str, Any]] = deque()
        self._began_s = anyio.current_time()

    def note(self, what: str) -> None:
        self.log.append((anyio.current_time() - self._began_s, what))
        print(f"caller, {self.log[-1][0]:.1f} s: {what}")

    async def tell(self, event: str, **fields: object) -> None:
        await self._socket.send(json.dumps({"event": event, "streamSid": "MZ1", **fields}))

    async def receive(self) -> None:
        async for text in self._socket:
            message = json.loads(text)
            if message["event"] != "clear":
                self._store.append(message)
                continue
            self.note("the agent is cut off")
            marks = [kept for kept in self._store if kept["event"] == "mark"]
            self._store.clear()
            for mark in marks:  # even of audio that was never played
                await self.tell("mark", mark=mark["mark"])

    async def call(self, answers: int) -> None:
        """Speak all the time, and hang up when the agent has spoken and fallen silent this many times."""
        await self.tell("connected", protocol="Call", version="1.0.0")
        await self.tell("start", start={"streamSid": "MZ1", "mediaFormat": {"encoding": "audio/x-mulaw"}})
        speech = base64.b64encode(vp.audio.to_ulaw(b"\x00\x10" * 160)).decode()
        tick, last_sound, is_sounding = 0, 0, False
        while answers:
            await anyio.sleep(0.02)
            tick += 1
            await self.tell("media", media={"track": "inbound", "payload": speech})
            while self._store and self._store[0]["event"] == "mark":
                await self.tell("mark", mark=self._store.popleft()["mark"])
            if self._store:
                payload = base64.b64decode(self._store.popleft()["media"]["payload"])
                assert len(payload) == 160  # 20 ms
                last_sound = tick
                if not is_sounding:
                    self.note("the agent speaks")
                is_sounding = True
            elif is_sounding and tick - last_sound > 15:  # 0.3 s
                self.note("the agent is silent")
                is_sounding = False
                answers -= 1
        await self.tell("stop", stop={})
        await self._socket.close()


async def main() -> None:
    async with serve(scripted_agent()) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}") as socket, anyio.create_task_group() as tasks:
            phone = Phone(socket)
            tasks.start_soon(phone.receive)
            await phone.call(answers=3)
            noticed = [what for _, what in phone.log]
            answer = ["the agent speaks", "the agent is silent"]
            assert noticed == [*answer, "the agent speaks", "the agent is cut off", "the agent is silent", *answer]


if __name__ == "__main__":
    anyio.run(main)
