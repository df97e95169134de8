"""A voice of your own: subclass `TTSSink`, implement `synthesize`, and open your connection in `open`.

`AcmeTTS` is all that a vendor needs. Below it is a small HTTP service on loopback that answers with a tone, so that the
example runs as it is.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import anyio
import h11
import httpx

import voicepipe as vp
from voicepipe.testing import RecordingOutput, Says, ScriptedModel


class AcmeTTS(vp.TTSSink):
    """Acme's HTTP synthesis: text in, 16-bit PCM out."""

    sample_rate = 24_000
    http: httpx.AsyncClient

    def __init__(self, url: str) -> None:
        self.url = url

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        async with httpx.AsyncClient(base_url=self.url) as self.http:
            yield

    async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes]:
        async with self.http.stream("POST", "/speak", json={"text": sentence.text}) as reply:
            async for pcm in reply.aiter_bytes():
                yield pcm


async def main() -> None:
    async with acme_service() as url:
        model = ScriptedModel([Says("Hello there. How can I help?")])
        agent = vp.Pipeline(model, vp.SentenceChunker(), AcmeTTS(url))
        output = RecordingOutput()

        async with agent.session(output=output) as session:
            turn = await session.user_says("Hello?")

        print(turn.timeline)
        print(f"played {output.played_s:.2f} s: {session.history[-1].text}")
        assert session.history[-1].text == "Hello there. How can I help?"


@asynccontextmanager
async def acme_service() -> AsyncGenerator[str]:
    """Answer each request with 0.2 s of a tone."""

    async def answer(stream: anyio.abc.SocketStream) -> None:
        http = h11.Connection(h11.SERVER)
        async with stream:
            while True:
                while (event := http.next_event()) is h11.NEED_DATA:
                    try:
                        http.receive_data(await stream.receive())
                    except anyio.EndOfStream:
                        return
                if isinstance(event, h11.EndOfMessage):
                    tone = b"\x00\x10" * 4_800
                    head = h11.Response(status_code=200, headers=[("content-length", str(len(tone)))])
                    for part in (head, h11.Data(data=tone), h11.EndOfMessage()):
                        await stream.send(http.send(part) or b"")
                    http.start_next_cycle()
                elif isinstance(event, h11.ConnectionClosed):
                    return

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        yield f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main)
