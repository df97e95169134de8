"""What the report of a long call costs: its size, the time to build it, and the time until a browser shows it.

The call is held by the real pipeline and recorded by the real `Recorder`, on virtual time and in a process of its own:
half an hour, a turn about every ten seconds, replies of `replies.json`. Both sides are eSpeak, said once and never
twice the same, and the caller's line has noise: sound that repeats or is silent would make the page look small.
"""

from __future__ import annotations

import json
import random
import sys
import time
from array import array
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import anyio

import voicepipe as vp
from benchmarks._figures import Figure
from voicepipe.audio.resample import Resampler
from voicepipe.cli import main
from voicepipe.testing import (
    RecordingOutput,
    Says,
    ScriptedModel,
    ScriptedRecogniser,
    ScriptedVoice,
    run_on_virtual_time,
)
from voicepipe.watching.recording import Recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["report"]

LENGTH_S = 1_800.0
RATE = 16_000
NOISE = 30
OPENED = 5
BAR_MS = 1_000.0


async def report() -> list[Figure]:
    """Make a report of a call of half an hour, and open it."""
    with TemporaryDirectory() as name:
        folder = anyio.Path(name)
        await anyio.run_process([sys.executable, "-m", "benchmarks.report", name], stderr=None)
        recording = await anext(aiter(folder.glob("*.vprec")))
        turns = (await (recording / "events.jsonl").read_text()).count('"TurnStarted"')
        size = sum([(await file.stat()).st_size async for file in recording.iterdir()])
        figures = [
            Figure("report: length of the call", LENGTH_S / 60, "min"),
            Figure("report: turns", turns),
            Figure("report: the recording", size / 1e6, "MB"),
        ]
        page = folder / "call.html"
        for what, options in (("", []), (" without sound", ["--no-audio"])):
            command = [sys.executable, "-m", "benchmarks.report", str(recording), str(page), *options]
            done = await anyio.run_process(command, stderr=None)
            figures.append(Figure(f"report{what}: CPU to build it", float(done.stdout.split()[-1]), "s"))
            figures.append(Figure(f"report{what}: the page", (await page.stat()).st_size / 1e6, "MB"))
            figures += await opened(page.as_uri(), what)
        return figures


async def opened(url: str, what: str) -> list[Figure]:
    """Open the page in Chromium several times, each time in a new window, and take the medians."""
    from tests.helpers.browser import CHROMIUM, launched, visited  # noqa: PLC0415 - the other benchmarks do without

    if not CHROMIUM or find_spec("playwright") is None:
        return []
    paint, ready, click = [], [], []
    async with launched() as browser:
        for _ in range(OPENED):
            async with visited(browser) as context:
                tab = await context.new_page()
                await tab.goto(url)
                await tab.wait_for_function("() => document.body.dataset.ready === 'yes'")
                first = "performance.getEntriesByName('first-contentful-paint')[0]"
                await tab.wait_for_function(f"() => {first} !== undefined")
                paint.append(await tab.evaluate(f"{first}.startTime"))
                ready.append(await tab.evaluate("performance.getEntriesByName('ready')[0].startTime"))
                if what:
                    continue
                await tab.wait_for_function("() => voicepipe.sound.url")
                began_s = anyio.current_time()
                await tab.click("#play")
                await tab.wait_for_function("() => voicepipe.sound.audio.currentTime > 0", polling=5)
                click.append((anyio.current_time() - began_s) * 1e3)
    figures = [
        Figure(f"report{what}: first paint in Chromium", median(paint), "ms", bar=BAR_MS),
        Figure(f"report{what}: all in view drawn in Chromium", median(ready), "ms", bar=BAR_MS),
    ]
    return [*figures, Figure("report: from the click to sound", median(click), "ms")] if click else figures


# --- the call ---------------------------------------------------------------------------------------------------------


class SpokenBefore(ScriptedVoice):
    """Gives audio that was made before the call, for eSpeak has no place on virtual time: piece after piece of it."""

    def __init__(self, pcm: bytes) -> None:
        super().__init__(sample_rate=vp.EspeakTTS.sample_rate)
        self._pcm = memoryview(pcm)
        self._at = 0

    async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes | vp.WordMark]:
        await anyio.sleep(0.2)
        size = 2 * round(0.06 * len(sentence.text) * self.sample_rate)
        pcm, self._at = bytes(self._pcm[self._at : self._at + size]), self._at + size
        step = 2 * (self.sample_rate // 10)
        for at in range(0, len(pcm), step):
            yield pcm[at : at + step]


async def spoken(texts: list[str], name: str) -> bytes:
    """Return what eSpeak makes of texts."""
    voice = vp.EspeakTTS(name)
    async with voice.open():
        return b"".join(
            [piece for text in texts async for piece in voice.synthesize(vp.Sentence(text)) if isinstance(piece, bytes)]
        )


def hold(folder: Path) -> None:
    """Hold the call and record it."""
    given = json.loads(Path(__file__).with_name("replies.json").read_text(encoding="utf-8"))
    texts = [one["text"] for one in given if one["lang"] == "en"]
    agent_pcm, caller_pcm = (anyio.run(spoken, texts * 2, name) for name in ("en-us", "en-us+f2"))
    resampler = Resampler(vp.EspeakTTS.sample_rate, RATE)
    caller = array("h", resampler.feed(caller_pcm) + resampler.flush())
    ears, line = ScriptedRecogniser(RATE), array("h", bytes(2 * round(LENGTH_S * RATE)))
    dice, at_s, used = random.Random(1), 3.0, 0
    while at_s < LENGTH_S - 20:
        speech_s = dice.uniform(1.0, 4.0)
        count = round(speech_s * RATE)
        first = round(at_s * RATE)
        line[first : first + count] = caller[used : used + count]
        used += count
        ears.guesses("Where is", at_s=at_s + 0.6, stable=False)
        ears.says(f"Where is order {used}?", at_s=at_s + speech_s + 0.3, speech_s=speech_s, silence_s=0.3)
        at_s += speech_s + dice.uniform(5.0, 11.0)
    ears.hangs_up(at_s=LENGTH_S)
    noise = [round(dice.gauss(0, NOISE)) for _ in range(RATE * 7)]
    noisy = (max(-32_768, min(32_767, one + noise[at % len(noise)])) for at, one in enumerate(line))
    wav = folder / "caller.wav"
    vp.write_wav(wav, array("h", noisy).tobytes(), RATE)
    model = ScriptedModel([Says(dice.choice(texts), after_s=0.4, token_s=0.02) for _ in range(1_000)])
    run_on_virtual_time(partial(held, wav, ears, model, SpokenBefore(agent_pcm), Recorder(folder)))
    wav.unlink()


async def held(
    wav: Path, ears: ScriptedRecogniser, model: ScriptedModel, voice: SpokenBefore, recorder: Recorder
) -> None:
    row = vp.Pipeline(vp.STTStage(ears), model, vp.SentenceChunker(), voice, detector=None, output=RecordingOutput())
    async with row.session(source=vp.WavSource(wav), observers=[recorder], greeting="Hello.") as session:
        await session.ended.wait()


def build(recording: str, page: str, *options: str) -> None:
    """Make the page, and print the CPU that it took, with all imports."""
    main(["report", recording, "-o", page, *options])
    print(time.process_time())


if __name__ == "__main__":
    if len(sys.argv) == 2:
        hold(Path(sys.argv[1]))
    else:
        build(*sys.argv[1:])
