"""The report of a call in a real browser, opened from disk."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.browser import launched, looked_at, tab, text_of, until, visited, with_browser
from tests.helpers.firefox import firefox, with_firefox
from tests.helpers.pulse import PulseDaemon
from tests.helpers.recorded_calls import MARKUP, recorded_shop_call
from voicepipe.cli import main

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = with_browser

READY = "document.body.dataset.ready === 'yes'"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calls")
    recording = recorded_shop_call(folder / "recordings")
    for command in (
        ["report", recording, "-o", folder / "call.html"],
        ["report", recording, "-o", folder / "quiet.html", "--no-content"],
        ["stats", recording, "--html", folder / "stats.html"],
    ):
        assert main([str(word) for word in command]) == 0
    return folder


@pytest.fixture(scope="module")
async def browser(calls: Path) -> AsyncGenerator[Browser]:  # the calls first: they are held on a loop of their own
    async with launched() as browser:
        yield browser


async def place_of(page: Page, at_s: float, lane: str) -> tuple[float, float]:
    """Return where a time is in a lane, as an offset into the canvas."""
    x, y = await page.evaluate(
        """([at, kind]) => {
            let top = 18;
            for (const lane of voicepipe.lanes.lanes) {
                if (lane.kind === kind) return [voicepipe.axis.x(at), top + lane.height / 2];
                top += lane.height + 3;
            }
        }""",
        [at_s, lane],
    )
    return x, y


async def test_the_call_is_shown_and_played(browser: Browser, calls: Path) -> None:
    """Words, waits and both waves are there; a click plays that moment, and the page goes along with it."""
    async with visited(browser) as context, tab(context, (calls / "call.html").as_uri()) as page:
        await until(page, READY)
        await looked_at(page, "report")
        assert await page.locator(".turn").count() == 5
        assert await text_of(page, "#turn-2 .caller .words") == "How much is the tea?"
        assert await text_of(page, "#turn-2 .unheard") == "have it in a tin of half a kilo, which is nine."
        assert await text_of(page, "#turn-5 .caller .words") == f"Thanks. {MARKUP}"
        assert await page.locator("#turn-2 .waterfall li").all_inner_texts() == [
            "Silence\n200 ms", "Model\n250 ms", "Sentence\n60 ms", "Voice\n150 ms", "Lead-in\n40 ms",
        ]  # fmt: skip
        x, y = await place_of(page, 9.6, "wave")
        await page.locator("#lanes").click(position={"x": x, "y": y})
        await until(page, "voicepipe.sound.audio.currentTime > 9.8 && !voicepipe.sound.audio.paused")
        await until(page, "document.querySelector('#turn-3.is-now')")
        await page.get_by_role("button", name="Pause").click()
        assert 9.8 < await page.evaluate("voicepipe.sound.now") < 12
        assert await page.evaluate("document.documentElement.scrollWidth") <= 1_280


async def test_each_side_can_be_heard_alone(browser: Browser, calls: Path) -> None:
    """What is played are the samples of one side or the sum of both, and the time stays where it is."""
    sample = "async () => new Int16Array(await (await new Response(voicepipe.sound.file)).arrayBuffer(), 44)"
    loud = f"async () => (await ({sample})()).slice(4 * 8000, 4.5 * 8000).some((one) => Math.abs(one) > 2000)"
    async with visited(browser) as context, tab(context, (calls / "call.html").as_uri()) as page:
        await until(page, "voicepipe.sound.url")
        await page.locator("#turn-2 .said.caller .moment").click()
        await until(page, "voicepipe.sound.now > 3.6")
        assert await page.evaluate(loud)
        await page.get_by_label("Hear").select_option("agent")
        await until(page, "voicepipe.sound.now > 3.6 && voicepipe.sound.audio.readyState > 1")
        assert not await page.evaluate(loud)
        await page.get_by_label("Speed").select_option("2")
        assert await page.evaluate("voicepipe.sound.audio.playbackRate") == 2


async def test_what_is_behind_a_turn_is_unfolded(browser: Browser, calls: Path) -> None:
    """What the model was sent, what it gave, and the marks are made when asked for; tools say what they did."""
    async with visited(browser) as context, tab(context, (calls / "call.html").as_uri()) as page:
        await until(page, READY)
        assert await page.locator(".request, .marks").count() == 0
        turn = page.locator("#turn-2")
        await turn.get_by_text("What the model was sent").click()
        assert await turn.locator(".request").count() == 2
        assert await turn.locator(".messages .result .text").all_inner_texts() == ["tea: 2 euros a bag"]
        assert "Let me look." in await turn.locator(".reply").first.inner_text()
        await turn.get_by_text("Marks").click()
        assert "first_frame\n+660 ms" in await turn.locator(".marks").inner_text()
        assert "+200 ms" in await turn.locator(".marks").inner_text()
        await page.locator("#turn-4").get_by_text("What the model was sent").click()
        assert "Dropped draft, request 5" in await page.locator("#turn-4").inner_text()
        tool = page.locator("#turn-3 .tool")
        assert await tool.get_attribute("data-status") == "failed"
        assert await tool.locator("code").all_inner_texts() == ['{"what": "gold"}', '{"error": "we do not sell gold"}']
        await page.get_by_label("Show").select_option("tools")
        assert await text_of(page, "#shown") == "2 of 5 turns"
        await turn.scroll_into_view_if_needed()
        await looked_at(page, "report-unfolded")


async def test_the_keyboard_is_enough(browser: Browser, calls: Path) -> None:
    """The time is a slider: keys move it, step from turn to turn, zoom and play; a screen reader hears where it is."""
    async with visited(browser) as context, tab(context, (calls / "call.html").as_uri()) as page:
        await until(page, READY)
        slider = page.get_by_role("slider", name="Time in the call")
        await slider.focus()
        for key, at in (
            ("ArrowRight", "0:01.0"),
            ("PageDown", "0:03.6"),
            ("PageDown", "0:09.4"),
            ("ArrowLeft", "0:08.4"),
        ):
            await page.keyboard.press(key)
            await until(page, f"document.getElementById('lanes').getAttribute('aria-valuetext') === '{at}'")
        span = await page.evaluate("voicepipe.axis.span")
        await page.keyboard.press("+")
        assert await page.evaluate("voicepipe.axis.span") == span / 2
        await page.keyboard.press("Space")
        await until(page, "voicepipe.sound.audio.currentTime > 8.5")
        await page.keyboard.press("Space")
        assert await page.evaluate("voicepipe.sound.audio.paused")


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1_280, "dark")])
async def test_it_can_be_read_anywhere(browser: Browser, calls: Path, width: int, scheme: str) -> None:
    """On a phone and on a desktop, by day and by night, nothing is cut off, and what was left out is not there."""
    async with visited(browser) as context:
        for name in ("call", "quiet", "stats"):
            async with tab(context, (calls / f"{name}.html").as_uri()) as page:
                await page.set_viewport_size({"width": width, "height": 844})
                await page.emulate_media(color_scheme=scheme)
                if name != "stats":
                    await until(page, READY)
                await looked_at(page, f"report-{name}-{width}-{scheme}")
                assert await page.evaluate("document.documentElement.scrollWidth") <= width
                if name == "quiet":
                    assert await page.get_by_role("button", name="Play", exact=True).count() == 0
                    assert await text_of(page, "#turn-2 .caller .words") == "(5 words)"


@with_firefox[-1]
async def test_it_plays_in_firefox(calls: Path, tmp_path: Path) -> None:
    """Another browser unpacks the same file, draws both sides, and plays."""
    with tempfile.TemporaryDirectory() as folder:  # the path of the sound server's socket has to be short
        sound = PulseDaemon(Path(folder))
        try:
            async with firefox(tmp_path, sound) as browser:
                await browser.open((calls / "call.html").as_uri())
                await browser.until(READY)
                assert await browser.evaluate("Object.keys(window.voicepipe.call.turns).length") == 5
                await browser.evaluate("document.querySelector('#turn-3 .said.caller .moment').click()")
                await browser.until("window.voicepipe.sound.audio.currentTime > 9.6")
                await browser.until("document.querySelector('#turn-3.is-now') !== null")
        finally:
            sound.kill()
