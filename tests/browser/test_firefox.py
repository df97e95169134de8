"""A call by headless Firefox, whose fake microphone is a tone: what the caller says follows a script."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

import voicepipe as vp
from tests.helpers.browser import SILENT_MS, TimedPage, Wire, serving
from tests.helpers.firefox import firefox, with_firefox
from tests.helpers.pulse import PulseDaemon
from tests.helpers.webrtc import agent as audible_agent
from tests.helpers.webrtc import needs_aiortc
from voicepipe.serving import Limits, Page, Serve, WebRTC
from voicepipe.testing import Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice

pytestmark = with_firefox

STORY = "Once upon a time there was a queue that had no end, and so it had no beginning."


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_call_by_firefox(tmp_path: Path) -> None:
    """The context runs at the rate of the voice; the agent is heard, interrupted in time, and heard to its end."""
    ears = ScriptedRecogniser().says("A story!", at_s=1.0).interrupts("Stop it now", at_s=3.5)  # seconds of its audio
    voice = ScriptedVoice(character_s=0.05, sample_rate=24_000)
    model = ScriptedModel(lambda request: Says(STORY if "story" in request.last_user_text else "Fine."))
    agent = vp.Pipeline(vp.STTStage(ears), model, vp.SentenceChunker(), voice)
    shown = TimedPage()
    with tempfile.TemporaryDirectory() as folder:  # the path of the sound server's socket has to be short
        sound = PulseDaemon(Path(folder))
        try:
            async with serving(shown, agent) as port, firefox(tmp_path, sound) as browser:
                await browser.open(f"http://127.0.0.1:{port}/")
                await browser.evaluate("document.getElementById('call').click()")
                await browser.until("document.getElementById('conversation').innerText.includes('Fine.')")
                await browser.until("voicepipe.doing === 'listening'")
                clears = await browser.evaluate("voicepipe.clears.map((clear) => clear.silentAfterMs)")
                rate = await browser.evaluate("voicepipe.sound.context.sampleRate")
                sent = await browser.evaluate("voicepipe.call.counts.framesSent")
                await browser.evaluate("document.getElementById('call').click()")
                await browser.until("voicepipe.call.state === 'ended'")
        finally:
            sound.kill()
    story, fine = shown.events(vp.TurnEnded)
    assert isinstance(story, vp.TurnInterrupted)
    assert story.heard
    assert STORY.startswith(story.heard)
    assert (type(fine), fine.heard) == (vp.TurnCompleted, "Fine.")
    assert rate == 24_000
    assert sent > 4 * 50
    assert max(clears) <= SILENT_MS


async def test_a_call_by_firefox_goes_on_after_a_break(tmp_path: Path) -> None:
    """The connection breaks while the agent speaks; the page comes back, and what it had shown is said once."""
    voice = ScriptedVoice(character_s=0.03, sample_rate=24_000)
    agent = vp.Pipeline(vp.STTStage(ScriptedRecogniser()), ScriptedModel([]), vp.SentenceChunker(), voice)
    greeting = f"Welcome to the library. {STORY} Good night."
    with tempfile.TemporaryDirectory() as folder:
        sound = PulseDaemon(Path(folder))
        try:
            async with Wire().laid() as wire:
                origins = [f"http://127.0.0.1:{wire.port}"]
                kept = serving(Page(), agent, greeting=greeting, origins=origins, store=vp.MemoryStore())
                async with kept as wire.to_port, firefox(tmp_path, sound) as browser:
                    await browser.open(origins[0])
                    await browser.evaluate("document.getElementById('call').click()")
                    await browser.until("voicepipe.played.samples > 24000")  # in the second sentence
                    wire.cut()
                    wire.mend()
                    await browser.until("voicepipe.call.counts.connections === 2")
                    await browser.until("voicepipe.doing === 'listening'")
                    words = await browser.evaluate("document.querySelector('.agent .words').textContent")
                    said = await browser.evaluate("document.querySelectorAll('.said.agent').length")
                    microphone = await browser.evaluate("voicepipe.sound.microphone.track.readyState")
                    await browser.evaluate("document.getElementById('call').click()")
                    await browser.until("voicepipe.call.state === 'ended'")
        finally:
            sound.kill()
    assert (words, said, microphone) == (greeting, 1, "live")


@needs_aiortc
async def test_a_call_by_firefox_over_webrtc(tmp_path: Path) -> None:
    """Firefox hides its addresses from the server, and the agent is heard all the same."""
    serve = Serve(audible_agent(), [Page(), WebRTC()], greeting="Hello there!", limits=Limits(lag_s=10, stall_s=10))
    with tempfile.TemporaryDirectory() as folder:
        sound = PulseDaemon(Path(folder))
        try:
            async with serve.listening() as port, firefox(tmp_path, sound) as browser:
                await browser.open(f"http://127.0.0.1:{port}/?path=webrtc")
                await browser.evaluate("document.getElementById('call').click()")
                await browser.until("voicepipe.sound?.loudspeaker?.level > 0.01")
                await browser.evaluate("document.getElementById('call').click()")
                await browser.until("voicepipe.call.state === 'ended'")
        finally:
            sound.kill()
