"""A canary key is used with all three of AssemblyAI's services, and every library logs at DEBUG."""

from __future__ import annotations

import asyncio
import logging
import socket
import traceback
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import voicepipe as vp
from voicepipe.testing import Calls, RecordingOutput, Refuses, Reply, Says
from voicepipe.testing.simulators.gateway import GatewaySimulator
from voicepipe.testing.simulators.stt import Closes, Spoken, STTSimulator
from voicepipe.testing.simulators.tts import TTSFault, TTSSimulator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio

KEY = "canary-9b60f1"


class Silence(vp.Source):
    """A caller who is on the line for some seconds; the recogniser's script says what they say."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def frames(self) -> AsyncGenerator[bytes]:
        due = anyio.current_time()
        for _ in range(round(self.seconds / 0.02)):
            due += 0.02
            await anyio.sleep_until(due)
            yield bytes(640)


class Everything(vp.Observer):
    """Keeps what a recorder would write."""

    def __init__(self) -> None:
        self.wire: list[vp.WireMessage] = []
        self.exchanges: list[vp.Exchange] = []

    def on_wire(self, message: vp.WireMessage) -> None:
        self.wire.append(message)

    def on_exchange(self, exchange: vp.Exchange) -> None:
        self.exchanges.append(exchange)


def agent(stt: str, gateway: str, tts: str, *tools: vp.Tool[..., Any]) -> vp.Pipeline:
    return vp.Pipeline(
        vp.STTStage(vp.AssemblyAIRecogniser(url=stt, api_key=KEY)),
        vp.LLMStreamStage("Be brief.", base_url=gateway, model="gpt-5.2", api_key=KEY),
        vp.ToolRouter(tools),
        vp.SentenceChunker(),
        vp.AssemblyAITTS(url=tts, api_key=KEY),
    )


def everything(log: pytest.LogCaptureFixture, *shown: object) -> str:
    """Return everything that could be seen: texts, representations, errors with their causes, log records."""
    texts = [log.text, *(repr(vars(record)) for record in log.records)]
    texts += [repr(record.exc_info) for record in log.records]
    for one in shown:
        texts += [repr(one), str(one), repr(getattr(one, "__dict__", ""))]
        if isinstance(one, BaseException):
            texts += traceback.format_exception(one)
            texts += [repr(vars(link)) for link in chain(one)]
    return "\n".join(texts)


def chain(error: BaseException | None) -> list[BaseException]:
    """Return an error with its causes and contexts."""
    links: list[BaseException] = []
    while error is not None and error not in links:
        links.append(error)
        error = error.__cause__ or error.__context__
    return links


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Enable every logger, the root's and the libraries' own."""
    caplog.set_level(logging.DEBUG)
    for name in ("asyncio", "httpcore", "httpx", "websockets", "websockets.client", "websockets.server", "voicepipe"):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


@pytest.mark.slow
async def test_a_key_is_nowhere_in_a_whole_call(log: pytest.LogCaptureFixture) -> None:
    """In a call with a tool, lost sessions of both sockets and a refused request, nothing shows the key."""
    asyncio.get_running_loop().set_debug(True)
    shown: list[object] = []

    @vp.tool(effect="read")
    async def look(call: vp.ToolContext[None]) -> str:
        """Look it up."""
        shown.extend([call, vars(call), call.session, call.session.recogniser, vars(call.session.recogniser)])
        return "found"

    def script(session: Any) -> list[Spoken]:
        return [Spoken("Where is it?", 0.5, 1.5)] if session.number == 1 else [Spoken("And now?", 0.5, 1.5)]

    replies: list[Reply] = [Calls("look", {}), Says("Here it is."), *[Refuses(401, f"no such key: {KEY}")] * 3]
    stt = STTSimulator(script, api_key=KEY, faults={1: Closes(1011, at_s=8.0, reason=KEY, error=f"lost {KEY}")})
    gateway = GatewaySimulator(replies, api_key=KEY)
    tts = TTSSimulator(api_key=KEY, faults=[TTSFault(how="close", after_frames=3)])
    seen = Everything()
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(one.serve()) for one in (stt, gateway, tts)]
        row = agent(*urls, look)
        async with row.session(source=Silence(14.0), output=RecordingOutput(), observers=[seen]) as session:
            events = [event async for event in session]
    turns = [event for event in events if isinstance(event, vp.TurnEnded)]
    shown += [row, session, vars(session), *events, *turns, session.history.to_json()]
    shown += [(one.query, one.headers) for one in stt.sessions]  # and not what they were told to say
    shown += [*gateway.requests, *tts.sessions, *seen.wire, *seen.exchanges]
    shown += [error for event in events if (error := getattr(event, "error", None)) is not None]

    heads = [one.head for one in seen.wire if one.head]
    assert {"websocket /v3/ws", "websocket /v1/ws", "POST /v1/chat/completions", "401 application/json"} <= {*heads}
    assert sum("***" in str(one.data) for one in seen.wire) == 2  # what the recogniser and the gateway quoted
    assert any(isinstance(event, vp.RecogniserLost) for event in events)
    assert [type(turn) for turn in turns] == [vp.TurnFailed] * 2  # the first for its voice, the second for its key
    assert {record.name.partition(".")[0] for record in log.records} >= {"httpcore", "voicepipe", "asyncio"}
    assert KEY not in everything(log, *shown)


@pytest.mark.parametrize("service", ["stt", "tts"])
@pytest.mark.parametrize("how", ["nobody listens", "HTTP 401", "hangs up", "refused after the handshake", "no HTTP"])
async def test_a_key_is_nowhere_in_what_went_wrong(service: str, how: str, log: pytest.LogCaptureFixture) -> None:
    """When a call cannot begin, neither the error, nor its causes, nor any log holds the key."""

    async def answer(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            asked = await stream.receive()
            if how == "HTTP 401":
                said = f"bad key {KEY}".encode()
                await stream.send(b"HTTP/1.1 401 No\r\ncontent-length: %d\r\n\r\n%s" % (len(said), said))
            elif how == "no HTTP":
                await stream.send(asked + b"\r\n\r\n")  # the key comes back where no key is expected

    server = socket.create_server(("127.0.0.1", 0))
    url = f"ws://127.0.0.1:{server.getsockname()[1]}"
    async with AsyncExitStack() as stack:
        if how == "refused after the handshake":
            refusing = STTSimulator(api_key="another") if service == "stt" else TTSSimulator(api_key="another")
            url = await stack.enter_async_context(refusing.serve())
        if how == "nobody listens":
            server.close()
        else:
            listener = await stack.enter_async_context(await anyio.abc.SocketListener.from_socket(server))
            tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(tasks.cancel_scope.cancel)
            tasks.start_soon(listener.serve, answer)
        others = [
            await stack.enter_async_context(one.serve())
            for one in (STTSimulator(), GatewaySimulator([]), TTSSimulator())
        ]
        urls = [url, *others[1:]] if service == "stt" else [*others[:2], url]
        with pytest.raises(vp.VendorError) as raised:
            async with agent(*urls).session(source=Silence(1.0), output=RecordingOutput()):
                raise AssertionError("it opened")

    assert KEY not in everything(log, *chain(raised.value))
