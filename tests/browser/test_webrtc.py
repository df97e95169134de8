"""A call over WebRTC by a real browser: headless Chromium, with real ears, a real voice and a recorded caller."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

import voicepipe as vp
from tests.helpers.browser import SILENT_MS, call, chromium, shop, spoken, tab, text_of, until, with_browser
from tests.helpers.webrtc import needs_aiortc
from voicepipe.cli._demo_script import COST, RETURNS
from voicepipe.serving import Limits, Page, Serve
from voicepipe.serving.webrtc import WebRTC
from voicepipe.serving.webrtc.output import WebRTCOutput

pytestmark = [*with_browser, needs_aiortc]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_conversation_with_an_interruption(tmp_path: Path) -> None:
    """At `/?path=webrtc` a caller is understood, hears the answer, interrupts it and hangs up, as by websocket."""
    wav = await spoken([(0.0, RETURNS), (2.6, COST)], tmp_path / "caller.wav", ends_s=15.0)
    turns: list[vp.TurnEnded] = []
    both_ended = anyio.Event()

    async def note(session: vp.Session[None]) -> None:
        async for event in session:
            if isinstance(event, vp.TurnEnded):
                turns.append(event)
                if len(turns) == 2:
                    both_ended.set()

    serve = Serve(shop(), [Page(), WebRTC()], on_call=note, limits=Limits(lag_s=10, stall_s=10))
    async with (
        serve.listening() as port,
        chromium(wav) as context,
        tab(context, f"http://127.0.0.1:{port}/?path=webrtc") as page,
    ):
        await call(page)
        await until(page, "voicepipe.sound.loudspeaker?.level > 0.01")
        with anyio.fail_after(20):
            await both_ended.wait()
        caller = [" ".join(text.split()) for text in await page.locator(".caller .words").all_inner_texts()]
        silent_after_ms = await page.evaluate("voicepipe.clears.map((clear) => clear.silentAfterMs)")
        buffer_ms = await page.evaluate(
            """async () => {
                const all = [...(await voicepipe.call.socket.connection.getStats()).values()];
                const { jitterBufferDelay, jitterBufferEmittedCount } = all.find((one) => one.type === "inbound-rtp");
                return 1000 * jitterBufferDelay / jitterBufferEmittedCount;
            }"""
        )
        assert await page.evaluate("voicepipe.call.counts.framesSent") == 0  # nothing went by websocket
        before = await page.evaluate("voicepipe.call.socket.sender.track.id")
        await page.select_option("#microphones", index=1)
        await until(page, f"voicepipe.call.socket.sender.track.id !== '{before}'")
        assert await page.evaluate("voicepipe.call.socket.sender.track === voicepipe.sound.microphone.track")
        await page.click("#call")
        await until(page, "voicepipe.call.state === 'ended'")
        assert await text_of(page, "#status") == "The call has ended"
        await serve.desk.wait_empty()
    assert caller == [RETURNS, COST]
    assert [type(turn) for turn in turns] == [vp.TurnInterrupted, vp.TurnCompleted]
    assert max(silent_after_ms) <= SILENT_MS
    assert buffer_ms < 2_000 * WebRTCOutput.peer_buffer_s  # half of it, where the browser need not wait for the machine


async def test_a_caller_may_type() -> None:
    """Without a microphone the page only listens, and hears the answer to what is typed."""
    serve = Serve(shop(), [Page(), WebRTC()], limits=Limits(lag_s=10, stall_s=10))
    async with (
        serve.listening() as port,
        chromium() as context,
        tab(context, f"http://127.0.0.1:{port}/?path=webrtc") as page,
    ):
        await page.get_by_role("button", name="Type instead").click()
        await until(page, "voicepipe.call?.state === 'live'")
        await page.get_by_label("Type to the agent").fill(COST)
        await page.keyboard.press("Enter")
        await until(page, "voicepipe.sound.loudspeaker.level > 0.01")
        assert await text_of(page, ".caller .words") == COST
