"""A page's call that outlives its connection, and its server, on virtual time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.page_client import PageClient, ResumingCall, calling, page_server, resuming
from tests.serving.page.test_page import RATE
from voicepipe.serving import Page, Serve
from voicepipe.testing import Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice

pytestmark = pytest.mark.anyio

REPLY = "One two three. Four five six. Seven eight nine."


def agent() -> vp.Pipeline[None]:
    """Return an agent that answers everything with three sentences of 0.7 s."""
    voice = ScriptedVoice(character_s=0.05, sample_rate=RATE)
    return vp.Pipeline(
        vp.STTStage(ScriptedRecogniser()), ScriptedModel(lambda _: Says(REPLY)), vp.SentenceChunker(), voice
    )


@asynccontextmanager
async def workers(
    count: int = 1, *, store: vp.Store | None = None, **options: Any
) -> AsyncGenerator[list[tuple[Serve[None], int]]]:
    """Run servers that share a store, and provide them with their ports."""
    shared = vp.MemoryStore() if store is None else store
    async with AsyncExitStack() as stack:
        found: list[tuple[Serve[None], int]] = []
        for _ in range(count):
            serve = Serve(agent(), [Page()], store=shared, greeting="Hello!", **options)
            found.append((serve, await stack.enter_async_context(serve.listening())))
        yield found


def sentences(page: PageClient) -> list[str]:
    """Return what the agent has begun to say over a connection."""
    return [message["text"] for message in page.messages if message["type"] == "sentence"]


async def asked(call: ResumingCall) -> PageClient:
    """Let the caller ask after the greeting, wait until 0.3 s of the reply's second sentence was heard."""
    page = call.page
    await page.until("turn_ended")
    await page.send("text", text="Count!")
    await page.until("sentence", 3)
    await anyio.sleep(0.4)  # 0.1 s of it are the lead
    return page


async def test_a_connection_breaks_while_the_agent_speaks() -> None:
    """The page is back at once with its key; the sentence that was cut is said again, and no other words."""
    async with workers() as ((_, port),), resuming(port) as call:
        first = await asked(call)
        first.socket.transport.abort()
        second = await call.until_connections(2)
        ended = await second.until("turn_ended")
        position = second.position
        await second.send("end")
        await call.over.wait()
    assert call.gaps_s == [0.0]
    assert sentences(first) == ["Hello!", "One two three.", "Four five six."]
    assert sentences(second) == ["Four five six.", "Seven eight nine."]
    assert second.messages[0] == {**first.messages[0], "resumed": True}
    assert first.messages[0]["resume_s"] == 30.0
    assert ended["outcome"] == "completed"
    assert position == len(second.pcm) // 2 == round(1.6 * RATE)  # it counts from 0 again


async def test_a_server_restarts() -> None:
    """Between two turns it says that the call goes on, and the page does not wait for the end of the connection."""
    async with workers(2) as ((one, port), (_, other)), resuming(port) as call, anyio.create_task_group() as tasks:
        first = await asked(call)
        call.port = other
        tasks.start_soon(one.desk.drain, 600)
        second = await call.until_connections(2)
        await second.send("text", text="And then?")
        await second.until("turn_ended")
        await second.send("end")
        await call.over.wait()
        await first.closed.wait()
    assert call.gaps_s == [0.0]
    assert first.messages[-2:] == [await first.until("turn_ended", 2), await first.until("bye")]
    assert first.messages[-1] == {"type": "bye", "reason": "restarting", "resumable": True}
    assert first.code == 1012
    assert sentences(second) == ["One two three.", "Four five six.", "Seven eight nine."]


async def test_a_page_that_shows_a_key_learns_why_its_call_is_new() -> None:
    """A call that was hung up is over, a made-up key opens nothing, and a server without a store has no keys."""
    ready = []
    async with workers() as ((_, port),):
        async with calling(port) as page:
            key = page.key
            assert key is not None
            await page.send("end")
            await page.closed.wait()
        for shown in (key, "made-up.key"):
            async with calling(port, resume=shown) as again:
                ready.append(again.messages[0])
    async with page_server(agent()) as (_, port):
        async with calling(port, resume=key) as again, calling(port) as new:
            ready += [again.messages[0], new.messages[0]]
    assert [(one["resumed"], one.get("why"), "resume" in one) for one in ready] == [
        (False, "unknown", True),
        (False, "unknown", True),
        (False, "off", False),
        (False, None, False),
    ]


async def test_a_call_that_another_page_takes_over() -> None:
    """The connection before is closed with 4409, which says that the call goes on elsewhere."""
    async with workers() as ((_, port),), calling(port) as page:
        await page.until("turn_ended")
        async with calling(port, resume=page.key) as other:
            await page.closed.wait()
            assert other.messages[0]["resumed"]
    assert page.code == 4409
