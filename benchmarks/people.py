"""What callers who pause get: whether the agent answers inside of what they say, and how soon after it.

A person's recorded prompt is the caller. Its audio goes through the detector, its known words through a recogniser that
is as quick as a service (early words as they are said, the final ones 0.3 s after a stretch of speech), and both
through a whole call on virtual time. The times of the words come from the clean recording in every condition: what
noise does to a recogniser is not measured here.

An answer inside of a prompt counts as such also where the prompt has reached the end of a sentence, and also if it was
taken back before a sound of it was heard, because the caller went on. It cuts a sentence if that has not ended.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise

import anyio
import anyio.to_thread

import voicepipe as vp
from benchmarks._figures import Figure, percentile
from benchmarks.detectors import EARSHOT, WEBRTC, reports
from benchmarks.digits import digits
from benchmarks.prompts import Prompt, Stretch, missing, prompts, stretches, with_pause
from benchmarks.scenes import CONDITIONS, RATE, Scene, Utterance, scene
from voicepipe.audio.pcm import FRAME_S, frames_of
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedVoice, run_on_virtual_time

__all__ = ["people"]

FINAL_S = 0.3
"""From the end of a stretch of speech to its final words."""

EARLY_S = 0.25
"""How often early words come, each time those that were complete so long ago."""

FIRST_SOUND_S = 0.35
"""Of the agent: model and voice."""

PAUSES_S = (0.0, 0.5, 0.9, 1.2)
"""Silence that is put into a prompt, at the quietest place of its middle; 0 for the pauses that it has."""

ANSWERED_S = 1.5
"""An answer that comes later is none."""

IN_NOISE = 4
"""Every so many prompts are heard in noise as well."""


@dataclass
class Outcome:
    """What happened in one call, in seconds of the caller's audio.

    Attributes:
        is_after_sentence: Whether the longest pause of the prompt follows the end of a sentence.
        is_cut: Whether the agent answered inside of the prompt.
        is_sentence_cut: Whether it answered in the middle of a sentence.
        is_heard: Whether the caller heard the agent inside of the prompt.
        silence_s: From the last word to the answer; None without one.
        starts_s: From the first sound to the report of speech; None if it was not found.
        ends_s: From the last sound to the report of its end.
        is_false: Whether speech was reported where there was none.
    """

    prompt: Prompt
    is_after_sentence: bool
    is_cut: bool
    is_sentence_cut: bool
    is_heard: bool
    silence_s: float | None
    starts_s: float | None
    ends_s: float | None
    is_false: bool


class KnownWords(vp.Recogniser):
    """Reports words when they have been said, like a service that recognises without an error.

    Args:
        script: Events, each with the audio after which it comes.
    """

    def __init__(self, script: list[tuple[float, vp.Hearing]]) -> None:
        self._script = script

    async def recognise(self, inbox, outbox, session):
        del session
        script, heard_s = list(self._script), 0.0
        async for frame in inbox:
            heard_s += frame.duration_s
            while script and script[0][0] <= heard_s + 1e-9:
                _, event = script.pop(0)
                await outbox.send(event)


class Line(vp.Source):
    """A caller whose audio is known, 20 ms at a time."""

    sample_rate = RATE

    def __init__(self, pcm: bytes) -> None:
        self._pcm = pcm

    async def frames(self):
        for number, frame in enumerate(frames_of(self._pcm, RATE)):
            await anyio.sleep_until((number + 1) * FRAME_S)
            yield frame
        await anyio.sleep_forever()


def script_of(said: list[Stretch], *, is_punctuated: bool) -> list[tuple[float, vp.Hearing]]:
    """Return what a service reports of stretches of speech: early words, and final ones after 0.3 s of silence."""
    script: list[tuple[float, vp.Hearing]] = []
    waiting: list[str] = []
    for number, stretch in enumerate(said):
        letters, count = sum(map(len, stretch.words)), 0
        at_s = stretch.starts_s
        for word in stretch.words:
            count += len(word)
            waiting.append(word)
            complete_s = stretch.starts_s + (stretch.ends_s - stretch.starts_s) * count / letters
            if complete_s - at_s >= EARLY_S:
                at_s = complete_s
                script.append((complete_s + EARLY_S, vp.EarlyTranscript(_written(waiting, False))))
        final_s = stretch.ends_s + FINAL_S
        if number + 1 == len(said) or said[number + 1].starts_s > final_s:
            script = [one for one in script if one[0] < final_s]  # the final words are quicker
            script.append((final_s, vp.Transcript(_written(waiting, is_punctuated), stretch.ends_s, final_s)))
            waiting = []
    return script


def _written(words: list[str], is_punctuated: bool) -> str:
    """Return words as a service writes them: like sentences, or without capitals and punctuation."""
    text = " ".join(words)
    if is_punctuated:
        return text[0].upper() + text[1:]
    return " ".join(word.strip(".,;:!?") for word in text.casefold().split())


async def call(
    detector: vp.Detector | None, pcm: bytes, recogniser: vp.Recogniser
) -> tuple[list[tuple[float, vp.Event]], RecordingOutput]:
    """Hold a call that begins at 0, and return its events with their times, and what the caller heard."""
    output, events = RecordingOutput(), []
    model = ScriptedModel(lambda _request: Says("Thank you, I have noted that."), first_token_s=FIRST_SOUND_S)
    row = vp.Pipeline(vp.STTStage(recogniser), model, vp.SentenceChunker(), ScriptedVoice(), detector=detector)

    async def listen(session: vp.Session) -> None:
        async for event in session:
            events.append((anyio.current_time(), event))  # noqa: PERF401 - the time of each event

    async with (
        row.open() as host,
        host.session(source=Line(pcm), output=output) as session,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listen, session)
        await anyio.sleep_until(len(pcm) / 2 / RATE + 1.0)
        session.end()
    return events, output


def _ends_sentence(stretch: Stretch) -> bool:
    return stretch.words[-1].endswith((".", "?", "!"))


def outcome(prompt: Prompt, one: Scene, said: list[Stretch], events, output: RecordingOutput) -> Outcome:
    """Say what happened in a call."""
    ends_s = said[-1].ends_s
    answers = [at_s for at_s, event in events if isinstance(event, vp.TurnStarted)]
    after = [at_s for at_s in answers if at_s >= ends_s]
    pauses = [(later.starts_s - before.ends_s, _ends_sentence(before)) for before, later in pairwise(said)]
    inside = [[one for one in said if one.starts_s < at_s][-1] for at_s in answers if at_s < ends_s]
    starts = [(now, event.at_s) for now, event in events if isinstance(event, vp.SpeechStarted)]
    ends = [now for now, event in events if isinstance(event, vp.SpeechEnded) and now >= ends_s]
    right = [now for now, at_s in starts if one.starts_s - 0.1 <= at_s <= one.ends_s]
    return Outcome(
        prompt,
        bool(pauses) and max(pauses)[1],
        bool(inside),
        not all(map(_ends_sentence, inside)),
        any(start_s < ends_s for start_s, _ in output.spans()),
        after[0] - ends_s if after else None,
        right[0] - one.starts_s if right else None,
        ends[0] - one.ends_s if ends and right else None,
        any(not one.starts_s - 0.1 <= at_s <= one.ends_s + 0.3 for _, at_s in starts),
    )


async def spans_of(detector: vp.Detector, pcm: bytes) -> list[tuple[float, float]]:
    """Return the stretches of speech that a detector finds."""
    events = [event.at_s for _, event in await reports(detector, pcm)]
    return list(zip(events[::2], events[1::2], strict=False))


def held(
    detector: vp.Detector,
    prompt: Prompt,
    *,
    pause_s: float = 0.0,
    is_punctuated: bool = True,
    noise=None,
    above_db: float = 60.0,
) -> Outcome:
    """Hold a call with a prompt on a virtual clock of its own, and return what happened."""

    async def hold() -> Outcome:
        utterance = Utterance(prompt.name, True, with_pause(prompt.samples, pause_s) if pause_s else prompt.samples)
        seed = len(utterance.samples)
        clean = scene(utterance, None, 60.0, seed=seed)
        judge = vp.EarshotDetector()
        async with judge.open():
            said = stretches(prompt.text, await spans_of(judge, clean.pcm))
        one = scene(utterance, noise, above_db, seed=seed) if noise else clean
        events, output = await call(detector, one.pcm, KnownWords(script_of(said, is_punctuated=is_punctuated)))
        return outcome(prompt, one, said, events, output)

    return run_on_virtual_time(hold)


async def people() -> list[Figure]:
    """Calls with people who pause, on a clean line and in noise; and digits that people say."""
    if absent := [*missing(), *(name for name in ("earshot", "pocketsphinx") if find_spec(name) is None)]:
        print(f"people: left out, not installed: {', '.join(absent)}", file=sys.stderr)
        return []
    # Virtual clocks need a loop of their own, and so a thread of their own.
    return await anyio.to_thread.run_sync(lambda: [*_pauses(), *_noise(), *digits()])


def _pauses() -> list[Figure]:
    """Print what pauses do, and return what the bars are about."""
    print(
        "\n| words | pause, s | half | calls | answered inside | agent heard inside | with the pause in a sentence: "
        f"cut in a sentence | mean silence, s |\n|{' --- |' * 8}"
    )
    figures = []
    for is_punctuated in (True, False):
        written = "written as sentences" if is_punctuated else "without punctuation"
        halves: dict[str, dict[float, list[Outcome]]] = {"tuned on": {}, "held back": {}}
        for pause_s in PAUSES_S:
            outcomes = [
                held(vp.EarshotDetector(), one, pause_s=pause_s, is_punctuated=is_punctuated) for one in prompts()
            ]
            for half, calls in halves.items():
                calls[pause_s] = [one for one in outcomes if one.prompt.is_held_back == (half == "held back")]
                pause = f"{pause_s:g}" if pause_s else "its own"
                print(f"| {written} | {pause} | {half} | {' | '.join(_pause_cells(calls[pause_s]))} |", flush=True)
        for half, calls in halves.items():
            figures += _pause_figures(f"Prompts {half}, {written}", calls, has_bar=is_punctuated)
    return figures


def _pause_cells(calls: list[Outcome]) -> list[str]:
    inside = [one for one in calls if not one.is_after_sentence]
    counts = [sum(one.is_cut for one in calls), sum(one.is_heard for one in calls)]
    in_sentence = f"{sum(one.is_sentence_cut for one in inside)} of {len(inside)}"
    return [str(len(calls)), *map(str, counts), in_sentence, f"{_mean_s(calls):.2f}"]


def _pause_figures(title: str, calls: dict[float, list[Outcome]], *, has_bar: bool) -> list[Figure]:
    own = calls[0.0]
    in_sentence = [one for some in calls.values() for one in some if not one.is_after_sentence]
    cut, silence_s = (2, 0.45) if has_bar else (None, None)
    return [
        Figure(
            f"{title}, pauses up to {PAUSES_S[-1]} s in a sentence: cut",
            _percent(in_sentence, "is_sentence_cut"),
            "%",
            cut,
        ),
        Figure(f"{title}, their own pauses: answered inside", _percent(own, "is_cut"), "%", cut),
        Figure(f"{title}, their own pauses: agent heard inside", _percent(own, "is_heard"), "%", cut),
        Figure(f"{title}, mean silence after a finished sentence", _mean_s(own), "s", silence_s),
    ]


def _percent(calls: list[Outcome], what: str) -> float:
    return 100 * sum(getattr(one, what) for one in calls) / len(calls)


def _mean_s(calls: list[Outcome]) -> float:
    silences_s = [one.silence_s for one in calls if one.prompt.is_finished and one.silence_s is not None]
    return sum(silences_s) / len(silences_s)


def _noise() -> list[Figure]:
    """Print a line for each condition and detector, and return what the bar is about."""
    figures = []
    some = prompts()[::IN_NOISE]
    for name, detector in ((EARSHOT, vp.EarshotDetector()), (WEBRTC, vp.WebRTCDetector())):
        print(
            f"\n| {name}, prompts of people | found | false starts | answered inside | heard inside | "
            f"whole sentences answered within 1.5 s | start p50 / p95, ms | end p50 / p95, ms |\n|{' --- |' * 8}"
        )
        loud: list[Outcome] = []
        for condition, noise, above_db in CONDITIONS:
            calls = [held(detector, one, noise=noise, above_db=above_db) for one in some]
            label = condition if noise is None else f"{condition} {above_db:.0f} dB"
            print(f"| {label} | {' | '.join(_noise_cells(calls))} |", flush=True)
            loud += calls if condition in {"white", "pink"} and above_db == 0.0 else []
        bar = 0 if name == EARSHOT else None
        scenes = f"{name}: {len(loud)} prompts in white and pink noise, 0 dB"
        figures.append(Figure(f"{scenes}: false starts", sum(one.is_false for one in loud), bar=bar))
        answered, finished = _answered(loud)
        title = f"{scenes}: answered within {ANSWERED_S} s, of {finished} that end with a sentence"
        figures.append(Figure(title, answered, at_least=finished if name == EARSHOT else None))
    return figures


def _noise_cells(calls: list[Outcome]) -> list[str]:
    counts = [
        sum(one.starts_s is not None for one in calls),
        sum(one.is_false for one in calls),
        sum(one.is_cut for one in calls),
        sum(one.is_heard for one in calls),
    ]
    cells = [f"{count} of {len(calls)}" for count in counts] + ["{} of {}".format(*_answered(calls))]
    for latencies in ([one.starts_s for one in calls], [one.ends_s for one in calls]):
        known = [latency for latency in latencies if latency is not None]
        cells.append(" / ".join(f"{percentile(known, share) * 1_000:.0f}" if known else "-" for share in (50, 95)))
    return cells


def _answered(calls: list[Outcome]) -> tuple[int, int]:
    """Return how many prompts that end with a sentence were answered in time, and how many there are."""
    silences_s = [one.silence_s for one in calls if one.prompt.is_finished]
    return sum(silence_s is not None and silence_s <= ANSWERED_S for silence_s in silences_s), len(silences_s)
