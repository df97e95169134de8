"""A transport of your own: the forty lines between a protocol and an agent.

The protocol here: a first text message {"name": ..., "token": ...}, then binary messages of 16-bit PCM at 16 kHz, both
ways. The text message "clear" makes the peer drop the audio in its buffer, because the caller has interrupted.
"""

import json
from collections.abc import Mapping

import anyio
from starlette.requests import HTTPConnection
from websockets.asyncio.client import connect

import voicepipe as vp
from voicepipe.serving import Line, Peer, Refused, Serve, Transport
from voicepipe.serving.desk import Desk
from voicepipe.testing import Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice

RATE = 16_000
KEYS = {"s3cret-of-the-shop": "shop"}  # in an application: from its database


class Voice(vp.PacedOutput):
    """The agent's voice at the peer."""

    sample_rate = RATE

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def send(self, pcm: bytes) -> None:
        await self._peer.send(pcm)

    async def clear(self) -> None:
        await self._peer.send("clear")


class Plain(Transport):
    """Plain audio over a websocket."""

    name = "plain"
    path = "/plain"
    proof = "a key of the application"

    async def check(self, request: HTTPConnection, desk: Desk) -> Mapping[str, str]:
        subject = KEYS.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if subject is None:
            raise Refused("key", "this needs a key", status=401)
        return {"subject": subject}

    async def start(self, peer: Peer, desk: Desk) -> Line:
        try:
            name = str(json.loads(await peer.receive())["name"])
        except (ValueError, TypeError, KeyError, RecursionError):
            raise Refused("malformed", "the first message must be a JSON object with a name", code=1007) from None
        return Line(source=vp.PushSource(RATE), output=Voice(peer), facts={"name": name})

    async def listen(self, peer: Peer, line: Line, session: vp.Session) -> None:
        assert isinstance(line.source, vp.PushSource)
        async for message in peer:
            if isinstance(message, str) or len(message) % 2:
                raise Refused("malformed", "only audio of 16 bits follows the first message", code=1007)
            peer.takes_audio(len(message) / 2 / RATE)
            line.source.push(message)


# --- a call by it -----------------------------------------------------------------------------------------------------


def scripted_agent() -> vp.Pipeline:
    ears = ScriptedRecogniser().says("Hello?", at_s=0.4)  # after 0.4 s of audio, whatever was said
    model = ScriptedModel(lambda request: Says(f"You said {request.last_user_text}"))
    voice = ScriptedVoice(character_s=0.03, sample_rate=RATE)
    return vp.Pipeline(vp.STTStage(ears), model, vp.SentenceChunker(), voice)


async def main() -> None:
    serve = Serve(scripted_agent(), [Plain()], greeting="Hello!")
    async with serve.listening() as port:  # as a program: serve.run()
        headers = {"Authorization": "Bearer s3cret-of-the-shop"}
        async with connect(f"ws://127.0.0.1:{port}/plain", additional_headers=headers) as socket:
            await socket.send(json.dumps({"name": "Ada"}))
            heard_s = 0.0
            while heard_s < 0.5:  # the greeting, and the answer
                await socket.send(b"\x00\x10" * (RATE // 50))
                with anyio.move_on_after(0.02):
                    heard_s += len(await socket.recv()) / 2 / RATE
            print(f"heard {heard_s:.2f} s of the agent")


if __name__ == "__main__":
    anyio.run(main)
