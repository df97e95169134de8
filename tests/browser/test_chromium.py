"""Calls by a real browser: headless Chromium, real ears, a real voice, and a recording as the microphone."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import voicepipe as vp
from tests.helpers.browser import (
    SILENT_MS,
    TimedPage,
    Wire,
    call,
    chromium,
    launched,
    looked_at,
    serving,
    spoken,
    tab,
    text_of,
    until,
    visited,
    with_browser,
)
from voicepipe.cli._demo_script import COST, HOURS, ORDER, RETURNS

if TYPE_CHECKING:
    from playwright.async_api import Browser, Route

pytestmark = with_browser


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def browser() -> AsyncGenerator[Browser]:
    """A browser for the tests in which the microphone has nothing to say."""
    async with launched() as browser:
        yield browser


def url(port: int, host: str = "127.0.0.1") -> str:
    return f"http://{host}:{port}/"


async def test_a_conversation_with_an_interruption(tmp_path: Path) -> None:
    """Four sentences are understood, one with a tool; the last one interrupts, and the page falls silent in time."""
    wav = await spoken(
        [(0.5, HOURS), (3.4, f"{ORDER} one two three four five"), (7.4, RETURNS), (2.6, COST)], tmp_path / "caller.wav"
    )
    shown = TimedPage(title="The shop")
    async with serving(shown) as port, chromium(wav) as context, tab(context, url(port)) as page:
        await looked_at(page, "desktop-start")
        await call(page)
        await until(
            page, "document.querySelectorAll('.said.agent').length === 4 && voicepipe.doing === 'listening'", 40
        )
        await looked_at(page, "desktop")
        await page.emulate_media(color_scheme="dark")
        await looked_at(page, "desktop-dark")
        await page.set_viewport_size({"width": 390, "height": 844})
        await looked_at(page, "phone-dark")
        await page.emulate_media(color_scheme="light")
        await looked_at(page, "phone")
        caller = [" ".join(text.split()) for text in await page.locator(".caller .words").all_inner_texts()]
        agent = await page.locator(".agent .words").all_inner_texts()
        unheard = await page.locator(".unheard").inner_text()
        clears = await page.evaluate(
            "voicepipe.clears.map((clear) => [performance.timeOrigin + clear.at, clear.silentAfterMs])"
        )
        assert await page.evaluate("voicepipe.sound.context.sampleRate") == vp.EspeakTTS.sample_rate
        latency_ms = await page.evaluate("voicepipe.sound.loudspeaker.latency * 1000")
        await page.click("#call")
        await until(page, "voicepipe.call.state === 'ended'")
        assert await text_of(page, "#status") == "The call has ended"

    assert caller == [HOURS, f"{ORDER} one two three four five", RETURNS, COST]
    assert [turn.user_text for turn in shown.events(vp.TurnEnded)] == caller
    cut = shown.events(vp.TurnInterrupted)[0]
    assert agent[2].replace(unheard, "").strip() == cut.heard
    decided = [at_ms for at_ms, event in shown.decided if isinstance(event, vp.Paused)]
    came_ms, silent_after_ms = clears[-1]
    assert silent_after_ms <= SILENT_MS
    # With the loudspeaker's delay it is 50 ms on a quiet machine.
    assert came_ms + silent_after_ms + latency_ms - decided[-1] <= 3 * SILENT_MS


async def test_a_device_at_another_rate(tmp_path: Path) -> None:
    """Where the browser gives the page only the device's own rate, the worklets resample, and speech is understood."""
    wav = await spoken([(0.0, HOURS)], tmp_path / "caller.wav")
    shown = TimedPage()
    own_rate_only = """{
        const Real = window.AudioContext;
        window.AudioContext = class extends Real {
            constructor(options) {
                if (options?.sampleRate) throw new DOMException("no", "NotSupportedError");
                super(options);
            }
        };
    }"""
    async with serving(shown) as port, chromium(wav) as context:
        await context.add_init_script(own_rate_only)
        async with tab(context, url(port)) as page:
            await call(page)
            assert await page.evaluate("voicepipe.sound.context.sampleRate") in (44_100, 48_000)
            await until(page, "document.querySelector('#waterfall li')")
            assert await text_of(page, ".caller .words") == HOURS
            assert await text_of(page, ".agent .words") == "We are open from nine to five."
    (turn,) = shown.events(vp.TurnCompleted)
    assert turn.heard == "We are open from nine to five."


# --- the microphone ---------------------------------------------------------------------------------------------------


async def test_a_caller_who_refuses_the_microphone_may_type() -> None:
    """A refused permission is explained in a sentence, and the caller can type instead."""
    shown = TimedPage()
    async with serving(shown) as port, chromium(allows=False) as context, tab(context, url(port)) as page:
        await page.click("#call")
        await until(page, "!document.getElementById('error').hidden")
        assert "may not use the microphone. Allow it" in await text_of(page, "#error")
        assert await text_of(page, "#status") == "Ready to call"
        await looked_at(page, "desktop-refused")
        await page.get_by_role("button", name="Type instead").press("Enter")
        await until(page, "voicepipe.call?.state === 'live'")
        assert await page.locator("#error").is_hidden()
        await page.get_by_label("Type to the agent").fill("when are you open")
        await page.keyboard.press("Enter")
        await until(page, "document.querySelector('#waterfall li') || document.querySelector('.said.agent')")
        assert await text_of(page, ".caller .words") == HOURS


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("NotFoundError", "No microphone was found."),
        ("NotReadableError", "in use by another program"),
        ("OverconstrainedError", "no longer there"),
        ("AbortError", "cannot be opened (AbortError)"),
    ],
)
async def test_each_error_of_a_microphone_has_its_sentence(browser: Browser, error: str, said: str) -> None:
    """Whatever keeps the browser from opening a microphone, the page says what it is and what to do."""
    fails = f'navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", "{error}"));'
    async with serving(TimedPage()) as port, visited(browser) as context:
        await context.add_init_script(fails)
        async with tab(context, url(port)) as page:
            await page.click("#call")
            await until(page, "!document.getElementById('error').hidden")
            assert said in await text_of(page, "#error")


async def test_a_page_that_is_not_secure_says_so(browser: Browser) -> None:
    """Browsers have no microphone for a page over plain http from elsewhere; the page says what to do."""
    async with serving(TimedPage()) as port, visited(browser) as context:
        async with tab(context, url(port, "shop.test"), "Cross-Origin-Opener-Policy") as page:
            await page.click("#call")
            await until(page, "!document.getElementById('error').hidden")
            assert "Open this page at an https address" in await text_of(page, "#error")


async def test_a_microphone_is_unplugged(browser: Browser) -> None:
    """The page and the application learn of it, silence is sent meanwhile, and another microphone can be chosen."""
    shown = TimedPage()
    async with serving(shown) as port, visited(browser) as context, tab(context, url(port)) as page:
        await call(page)
        await page.evaluate("() => { const { track } = voicepipe.sound.microphone; track.stop(); track.onended(); }")
        await until(page, "!document.getElementById('error').hidden")
        assert "The microphone was disconnected" in await text_of(page, "#error")
        sent = await page.evaluate("voicepipe.call.counts.framesSent")
        await until(page, f"voicepipe.call.counts.framesSent > {sent} + 10")
        assert len(shown.events(vp.MicrophoneLost)) == 1
        await page.select_option("#microphones", index=1)
        await until(page, "document.getElementById('error').hidden")
        assert await page.evaluate("voicepipe.sound.microphone.track.readyState") == "live"


async def test_mute_hold_and_the_keyboard(tmp_path: Path) -> None:
    """The call can be held by keyboard alone; a muted page sends silence, and a held one interrupts the agent."""
    wav = await spoken([], tmp_path / "caller.wav", ends_s=20)
    shown = TimedPage()
    greeting = "Welcome to the shop. You can ask when we are open, where your order is, and how to return it."
    async with serving(shown, greeting=greeting) as port, chromium(wav) as context, tab(context, url(port)) as page:
        await page.keyboard.press("Tab")
        while await page.evaluate("document.activeElement.id") != "call":
            await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await until(page, "voicepipe.doing === 'speaking'")
        mute, hold = page.get_by_role("button", name="Mute"), page.get_by_role("button", name="Hold")
        await mute.press("Enter")
        assert await mute.get_attribute("aria-pressed") == "true"
        await until(page, "voicepipe.level === 0")
        assert await text_of(page, "#status") == "Your microphone is muted"
        assert await page.get_by_role("status").inner_text() == "Your microphone is muted"
        await mute.press("Space")
        await until(page, "voicepipe.level > 0")
        await hold.press("Enter")
        await until(page, "document.querySelector('.mark')")
        assert await text_of(page, "#status") == "On hold"
        await until(page, "voicepipe.level === 0")
        await hold.press("Enter")
        await until(page, "voicepipe.level > 0")
    assert [type(turn) for turn in shown.events(vp.TurnEnded)] == [vp.TurnInterrupted]


# --- the network ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["cut", "stall"])
async def test_the_network_is_gone_and_comes_back(browser: Browser, fault: str) -> None:
    """The page notices, says so, calls again, and says that the conversation is a new one."""
    expected = ("WebSocket connection", "ERR_", "Failed to load resource")
    async with (
        Wire().laid() as wire,
        serving(TimedPage(), greeting="Hello!", origins=[f"http://127.0.0.1:{wire.port}"]) as wire.to_port,
        visited(browser) as context,
    ):
        await context.clock.install()
        async with tab(context, url(wire.port), *expected) as page:
            await call(page)
            await until(page, "document.querySelector('.said.agent') && voicepipe.call.roundTripMs !== null")
            if fault == "cut":
                wire.cut()
            else:
                wire.stall()
                await page.clock.run_for(10_000)  # of the page's timers: four pings without an answer
            await until(page, "voicepipe.call.state === 'lost'")
            assert await text_of(page, "#status") == "Connection lost. Calling again"
            wire.mend()
            await until(
                page, "voicepipe.call.state === 'live' && document.querySelectorAll('.said.agent').length === 2"
            )
            assert "This is a new conversation." in await text_of(page, "#conversation")
            assert await page.evaluate("voicepipe.call.counts.connections") == 2


async def test_a_server_that_is_full_is_tried_again(browser: Browser) -> None:
    """A server that refuses for now is asked again; one that refuses for good is not, and the page says why."""
    answers = [(503, "all lines are busy"), (403, "this page may not call")]

    async def refuse(route: Route) -> None:
        status, message = answers.pop(0) if len(answers) > 1 else answers[0]
        await route.fulfill(status=status, json={"message": message}, headers={"Retry-After": "0"})

    async with serving(TimedPage()) as port, visited(browser) as context:
        await context.route("**/token", refuse)
        async with tab(context, url(port), "Failed to load resource") as page:
            await page.click("#call")
            await until(page, "voicepipe.call?.state === 'ended'")
            assert await text_of(page, "#error") == "this page may not call"
            await context.unroute("**/token")
            await call(page)
            assert await page.locator("#error").is_hidden()


# --- how it looks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [320, 390, 768, 1_280])
async def test_nothing_is_cut_off_at_any_width(browser: Browser, width: int) -> None:
    """The page fits a phone's width, and everything that can be used has a name and is large enough to be touched."""
    async with serving(TimedPage()) as port, visited(browser) as context, tab(context, url(port)) as page:
        await page.set_viewport_size({"width": width, "height": 700})
        await page.get_by_role("button", name="Type instead").click()
        await until(page, "voicepipe.call?.state === 'live'")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        for button in await page.get_by_role("button").all():
            box = await button.bounding_box()
            assert box is not None
            assert box["height"] >= 44
            assert box["x"] + box["width"] <= width
        assert [await field.get_attribute("id") for field in await page.locator("input, select").all()] == [
            "words",
            "microphones",
            "loudspeakers",
        ]
        for name in ("Type to the agent", "Microphone"):
            assert await page.get_by_label(name, exact=True).count() == 1
