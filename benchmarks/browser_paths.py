"""What a call from a page costs its server, by websocket and by WebRTC.

The server runs in another process. Its ears are scripted and its voice is a tone that speaks all the time, so sound
goes both ways and nothing else costs anything: what is measured is the way from and to the page. Encoder, decoder and
encryption of WebRTC, which have threads of their own, are included.
"""

from __future__ import annotations

import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from subprocess import PIPE
from typing import TYPE_CHECKING

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

from benchmarks._figures import Figure
from tests.helpers import page_client
from tests.helpers.webrtc import CHARACTER_S, agent
from voicepipe.serving import Limits, Page, Serve, WebRTC

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["browser_paths"]

CALLS = 4
SETTLE_S = 1.0
MEASURED_S = 6.0
SPEAKS_S = 60.0


async def browser_paths() -> list[Figure]:
    """Hold four calls of each kind, one kind after the other, and read the server's processor time."""
    from tests.helpers import webrtc_client  # noqa: PLC0415 - the other benchmarks do without aiortc

    figures = []
    async with server() as ask:
        port = int(await ask())
        for name, calling in (("websocket", page_client.calling), ("WebRTC", webrtc_client.calling)):
            async with AsyncExitStack() as calls:
                for _ in range(CALLS):
                    await calls.enter_async_context(calling(port))
                await anyio.sleep(SETTLE_S)
                began, spent = anyio.current_time(), float(await ask())
                await anyio.sleep(MEASURED_S)
                spent, took = float(await ask()) - spent, anyio.current_time() - began
            figures.append(Figure(f"page by {name}: of a core, each call", 100 * spent / took / CALLS, "%"))
    return figures


@asynccontextmanager
async def server() -> AsyncGenerator:
    """Start the server; what is given answers with the port at first, and then with its processor time so far."""
    command = [sys.executable, "-m", "benchmarks.browser_paths"]
    async with await anyio.open_process(command, stdin=PIPE, stdout=PIPE, stderr=None) as process:
        lines = BufferedByteReceiveStream(process.stdout)

        async def ask() -> str:
            await process.stdin.send(b"\n")
            return (await lines.receive_until(b"\n", 100)).decode()

        try:
            yield ask
        finally:
            process.terminate()


async def serve() -> None:
    """Be the server, until the process is ended."""
    greeting = "".join("a" if at % 40 else " " for at in range(1, round(SPEAKS_S / CHARACTER_S))) + "."
    limits = Limits(opening_per_s=100, lag_s=10, stall_s=10)
    async with Serve(agent(), [Page(), WebRTC()], greeting=greeting, limits=limits).listening() as port:
        await anyio.to_thread.run_sync(sys.stdin.readline)
        print(port, flush=True)
        while await anyio.to_thread.run_sync(sys.stdin.readline):
            print(time.process_time(), flush=True)


if __name__ == "__main__":
    anyio.run(serve)
