"""A real browser that calls the agent: headless Chromium with a recording as its microphone.

Tests run in real time, because sound does. The recording begins to play when the page asks for the microphone.
"""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import time
from array import array
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import voicepipe as vp
from voicepipe.audio.resample import Resampler
from voicepipe.cli._demo_script import CALLER, GRAMMAR, TOOLS, answer
from voicepipe.serving import Limits, Page, Serve
from voicepipe.serving.page.output import PageOutput
from voicepipe.serving.page.transport import PageLine
from voicepipe.testing import ScriptedModel

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext
    from playwright.async_api import Page as Tab

    from voicepipe.serving import Peer
    from voicepipe.serving.desk import Desk

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome") or ""
SILENT_MS = 100
"""A page that falls silent within this time after `clear` does it at once; on a quiet machine it takes 7 to 10 ms. A
machine that is busy with other tests may let its browser wait."""

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"

MISSING = [name for name in ("playwright", "pocketsphinx", "soxr") if importlib.util.find_spec(name) is None]
MISSING += [] if CHROMIUM else ["chromium"]

with_browser = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.anyio,
    pytest.mark.skipif(
        bool(MISSING) and os.environ.get("VOICEPIPE_TEST_ALL") != "1", reason=f"not installed: {', '.join(MISSING)}"
    ),
]

RATE = 16_000
QUIET_FIRST_S = 3.0
NOISE = 30  # PocketSphinx hears words in perfect silence


async def spoken(
    lines: Sequence[tuple[float, str]], path: Path, *, first_s: float = QUIET_FIRST_S, ends_s: float = 60.0
) -> str:
    """Write what the caller says into a WAV file, each line after so many seconds of quiet, and return its path."""
    samples = array("h", bytes(2 * round(first_s * RATE)))
    voice = vp.EspeakTTS(CALLER)
    async with voice.open():
        for gap_s, text in lines:
            pieces = [piece async for piece in voice.synthesize(vp.Sentence(text)) if isinstance(piece, bytes)]
            resampler = Resampler(voice.sample_rate, RATE)
            samples.frombytes(bytes(2 * round(gap_s * RATE)))
            samples.frombytes(resampler.feed(b"".join(pieces)) + resampler.flush())
    samples.frombytes(bytes(2 * round(ends_s * RATE)))
    dice = random.Random(1)
    noise = [round(dice.gauss(0, NOISE)) for _ in range(RATE)]
    noisy = (max(-32_768, min(32_767, sample + noise[at % RATE])) for at, sample in enumerate(samples))
    vp.write_wav(path, array("h", noisy).tobytes(), RATE)
    return str(path)


# --- the server -------------------------------------------------------------------------------------------------------


class TimedOutput(PageOutput):
    """Notes when an event was decided, in ms of the computer's clock, which the browser shares."""

    decided: list[tuple[float, vp.Event]]

    def on_event(self, event: vp.Event) -> None:
        self.decided.append((time.time() * 1_000, event))  # noqa: TID251 - compared with the browser's clock
        super().on_event(event)


class TimedPage(Page):
    """A page that keeps the events of its calls.

    Attributes:
        decided: Each event, with the time in ms of the computer's clock.
        outputs: The output of each call.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.decided: list[tuple[float, vp.Event]] = []
        self.outputs: list[TimedOutput] = []

    async def start(self, peer: Peer, desk: Desk) -> PageLine:
        line = await super().start(peer, desk)
        output = TimedOutput(peer, sample_rate=line.voice.sample_rate, has_echo=line.voice.has_echo)
        output.decided, output.line, output.resume_s = self.decided, line, line.voice.resume_s
        self.outputs.append(output)
        line.output = line.voice = output
        return line

    def events(self, kind: type[vp.Event]) -> list[Any]:
        return [event for _, event in self.decided if isinstance(event, kind)]


def shop() -> vp.Pipeline[None]:
    """The agent of the demo: embedded ears and voice, and a scripted model."""
    ears = vp.PocketsphinxRecogniser(GRAMMAR, silence_s=0.28)
    return vp.Pipeline(
        vp.STTStage(ears), ScriptedModel(answer), vp.ToolRouter(TOOLS), vp.SentenceChunker(), vp.EspeakTTS()
    )


@asynccontextmanager
async def serving(page: Page, agent: vp.Pipeline[None] | None = None, **options: Any) -> AsyncGenerator[int]:
    """Run the agent's server, and provide its port. A machine that is busy with other tests does not close it."""
    serve = Serve(agent or shop(), [page], limits=Limits(lag_s=10, stall_s=10), **options)
    async with serve.listening() as port:
        yield port


# --- the browser ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def launched(wav: str | None = None, *, allows: bool = True) -> AsyncGenerator[Browser]:
    """Start Chromium.

    Args:
        wav: The recording that is its microphone; None for the tone of its own fake microphone.
        allows: Whether it lets pages use the microphone.
    """
    from playwright.async_api import async_playwright

    arguments = ["--no-sandbox", "--use-fake-device-for-media-stream", "--host-resolver-rules=MAP shop.test 127.0.0.1"]
    arguments += ["--use-fake-ui-for-media-stream"] if allows else []
    arguments += [f"--use-file-for-fake-audio-capture={wav}%noloop"] if wav else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=arguments)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def visited(browser: Browser) -> AsyncGenerator[BrowserContext]:
    """Provide a browser's window without history, of a desktop's size."""
    async with await browser.new_context(viewport={"width": 1_280, "height": 800}) as context:
        yield context


@asynccontextmanager
async def chromium(wav: str | None = None, *, allows: bool = True) -> AsyncGenerator[BrowserContext]:
    """Start Chromium for one test. See `launched`."""
    async with launched(wav, allows=allows) as browser, visited(browser) as context:
        yield context


@asynccontextmanager
async def tab(context: BrowserContext, url: str, *expected: str) -> AsyncGenerator[Tab]:
    """Open a page; whatever it complains about in its console fails the test, unless it contains an expected text."""
    complaints: list[str] = []
    page = await context.new_page()
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(url)
    yield page
    assert [text for text in complaints if not any(part in text for part in expected)] == []


async def call(page: Tab) -> None:
    """Start a call, and wait until the server has answered."""
    await page.click("#call")
    await until(page, "voicepipe.call?.state === 'live'")


async def until(page: Tab, condition: str, within_s: float = 15.0) -> None:
    """Wait for a condition, which is an expression of the page's script."""
    await page.wait_for_function(f"() => {condition}", timeout=within_s * 1_000, polling=20)


async def text_of(page: Tab, selector: str) -> str:
    """Return the words of an element."""
    return " ".join((await page.inner_text(selector)).split())


async def looked_at(page: Tab, name: str) -> None:
    """Keep a screenshot for people."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / f"{name}.png")


# --- the network ------------------------------------------------------------------------------------------------------


class Wire:
    """A wire between browser and server that can be cut.

    Attributes:
        port: Where the browser connects.
        to_port: Where the server is.
    """

    def __init__(self) -> None:
        self.port = self.to_port = 0
        self._is_cut = False
        self._flows = anyio.Event()
        self._flows.set()
        self._scopes: set[anyio.CancelScope] = set()

    def cut(self) -> None:
        """Break all connections, and refuse new ones."""
        self._is_cut = True
        for scope in list(self._scopes):
            scope.cancel()

    def stall(self) -> None:
        """Carry nothing any more, and say so to nobody, as a network does that is gone."""
        self._flows = anyio.Event()

    def mend(self) -> None:
        """Take connections again, and carry what has waited."""
        self._is_cut = False
        self._flows.set()

    @asynccontextmanager
    async def laid(self) -> AsyncGenerator[Wire]:
        """Carry connections while the block lasts."""
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, self._carry)
            yield self
            tasks.cancel_scope.cancel()

    async def _carry(self, client: anyio.abc.SocketStream) -> None:
        async with client:
            if self._is_cut:
                return
            try:
                reached = await anyio.connect_tcp("127.0.0.1", self.to_port)
            except OSError:  # no server listens there at the moment
                return
            async with reached as server:
                async with anyio.create_task_group() as tasks:
                    self._scopes.add(tasks.cancel_scope)
                    tasks.start_soon(self._pass_on, client, server, tasks.cancel_scope)
                    tasks.start_soon(self._pass_on, server, client, tasks.cancel_scope)
                self._scopes.discard(tasks.cancel_scope)

    async def _pass_on(
        self, source: anyio.abc.SocketStream, sink: anyio.abc.SocketStream, both: anyio.CancelScope
    ) -> None:
        try:
            while True:
                data = await source.receive()
                await self._flows.wait()
                await sink.send(data)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            both.cancel()
