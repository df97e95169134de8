"""Calls by headless Chromium that outlive their connections and their servers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from starlette.routing import Route

import voicepipe as vp
from tests.helpers.browser import Wire, call, launched, looked_at, tab, text_of, until, visited, with_browser
from voicepipe.serving import Limits, Page, Serve
from voicepipe.serving.token_route import give_token
from voicepipe.testing import Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from voicepipe.serving.desk import Desk

pytestmark = with_browser

STORY = "One two three four five six seven. Eight nine ten eleven twelve thirteen. Fourteen fifteen sixteen."
BROKEN = ("WebSocket", "ERR_", "Failed to load resource")

WATCH = """() => {
    window.seen = { shown: [], announced: [] };
    const look = () => {
        for (const [name, id] of [["shown", "status"], ["announced", "announced"]]) {
            const words = document.getElementById(id).textContent;
            if (seen[name].at(-1) !== words) seen[name].push(words);
        }
    };
    new MutationObserver(look).observe(document.querySelector("header"), { subtree: true, childList: true });
}"""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


def agent() -> vp.Pipeline[None]:
    """Return an agent that answers everything with a story of 3 s."""
    voice = ScriptedVoice(character_s=0.03, sample_rate=24_000)
    return vp.Pipeline(
        vp.STTStage(ScriptedRecogniser()), ScriptedModel(lambda _: Says(STORY)), vp.SentenceChunker(), voice
    )


@asynccontextmanager
async def served(page: Page, **options: Any) -> AsyncGenerator[tuple[Serve[None], int]]:
    serve = Serve(agent(), [page], limits=Limits(lag_s=10, stall_s=10), **options)
    async with serve.listening() as port:
        yield serve, port


async def test_a_connection_breaks_in_mid_sentence() -> None:
    """The page is back with the same microphone, and the agent goes on with the sentence; then the network stays away.

    A short loss is shown; a long one is announced too, and then the page offers to call again.
    """
    sessions: list[vp.Session[None]] = []
    async with Wire().laid() as wire, launched() as browser, visited(browser) as context:
        origins = [f"http://127.0.0.1:{wire.port}"]
        shown = served(Page(), origins=origins, greeting=STORY, store=vp.MemoryStore(), on_call=sessions.append)
        async with shown as (_, wire.to_port), tab(context, origins[0], *BROKEN) as page:
            await page.clock.install()
            await page.evaluate(WATCH)
            await call(page)
            await until(page, "voicepipe.played.samples > 1.5 * 24000")  # in the second sentence
            before = await page.evaluate("[voicepipe.sound.microphone.track.id, voicepipe.call.counts.framesSent]")
            wire.cut()
            wire.mend()
            await until(page, "voicepipe.call.counts.connections === 2")
            await until(page, "voicepipe.doing === 'listening'")
            played = await page.evaluate("voicepipe.played.samples")
            after = await page.evaluate("[voicepipe.sound.microphone.track.id, voicepipe.call.counts.framesSent]")
            (gap_ms,) = await page.evaluate("voicepipe.call.gaps")
            seen = await page.evaluate("seen")
            assert await page.locator(".agent .words").all_inner_texts() == [STORY]
            assert played <= 1.95 * 24_000  # it counts from 0 again, and plays two sentences of 1.9 s
            assert (before[0], before[1] < after[1]) == (after[0], True)
            assert seen["shown"].index("Reconnecting") > seen["shown"].index("Speaking")
            assert gap_ms > 500 or "Reconnecting" not in seen["announced"]
            assert await page.evaluate("voicepipe.sound.microphone.track.readyState") == "live"
            first, second = sessions
            assert first.id == second.id
            assert second.history[-1].text.endswith("Fourteen fifteen sixteen.")

            wire.cut()
            await until(page, "document.getElementById('announced').textContent === 'Reconnecting'")
            assert await page.get_by_role("status").inner_text() == "Reconnecting"
            assert await page.get_by_label("Type to the agent").is_enabled()
            await looked_at(page, "desktop-reconnecting")
            await page.clock.run_for(31_000)
            await until(page, "voicepipe.call.state === 'ended'")
            assert "The connection has been lost for" in await text_of(page, "#error")
            wire.mend()
            await page.get_by_role("button", name="Call again").click()
            await until(page, "voicepipe.call.state === 'live'")
            assert await page.locator("#error").is_hidden()
            assert sessions[2].id != first.id


class Directing(Page):
    """Sends its callers to the websocket of another server, as a gateway does.

    Attributes:
        to: The address of the next caller's websocket.
    """

    to = ""

    def routes(self, desk: Desk) -> Sequence[BaseRoute]:
        others = [route for route in super().routes(desk) if not str(getattr(route, "path", "")).endswith("/token")]

        async def token(request: Request) -> Response:
            return await give_token(self, desk, request, url=self.to)

        return [*others, Route("/token", token, methods=["POST"])]


async def test_a_server_restarts_and_another_one_goes_on() -> None:
    """The page goes where its token leads: to one server, and when that hands the call over, to another one."""
    store, page_of_all = vp.MemoryStore(), Directing()
    sessions: list[vp.Session[None]] = []
    async with AsyncExitStack() as stack:
        wire = await stack.enter_async_context(Wire().laid())
        options = {"origins": [f"http://127.0.0.1:{wire.port}"], "store": store}
        _, wire.to_port = await stack.enter_async_context(
            served(page_of_all, socket_origins=["ws://127.0.0.1:*"], **options)
        )
        workers = [
            await stack.enter_async_context(served(Page(), greeting="Hello!", on_call=sessions.append, **options))
            for _ in range(2)
        ]
        browser = await stack.enter_async_context(launched())
        context = await stack.enter_async_context(visited(browser))
        page = await stack.enter_async_context(tab(context, options["origins"][0]))
        tasks = await stack.enter_async_context(anyio.create_task_group())
        page_of_all.to = f"ws://127.0.0.1:{workers[0][1]}/"
        await call(page)
        await until(page, "document.querySelector('.said.agent') && voicepipe.doing === 'listening'")
        page_of_all.to = f"ws://127.0.0.1:{workers[1][1]}/"
        tasks.start_soon(workers[0][0].desk.drain, 600)
        await until(page, "voicepipe.call.counts.connections === 2")
        assert len(await page.evaluate("voicepipe.call.gaps")) == 1
        await page.get_by_label("Type to the agent").fill("Tell me a story.")
        await page.keyboard.press("Enter")
        await until(page, "document.querySelectorAll('.said.agent').length === 2")
        assert "This is a new conversation." not in await text_of(page, "#conversation")
        assert sessions[0].id == sessions[1].id
        assert [message.text for message in sessions[1].history][:1] == ["Hello!"]
        await page.click("#call")
        await until(page, "voicepipe.call.state === 'ended'")
