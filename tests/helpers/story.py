"""A voice whose audio says where in the reply it is from, and calls in which that is looked at."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import anyio

import voicepipe as vp
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedUser

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from voicepipe.testing import Reply

RATE = 24_000
STEP = 100  # samples that have the same value, so that each place of a reply can be told from the others
CHARACTER_S = 0.05
STORY = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen end."
STORY_S = len(STORY) * CHARACTER_S


class CountingVoice(vp.TTSSink):
    """A voice whose samples count up, so that what was heard can be read from what was played."""

    sample_rate = RATE

    def __init__(self, *, marks: bool = True, rate: int = RATE) -> None:
        self.marks = marks
        self.sample_rate = rate

    async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes | vp.WordMark]:
        text = sentence.text.rstrip()
        if self.marks:
            for end in [at for at in range(1, len(text) + 1) if text[at - 1 : at + 1].rstrip() == text[at - 1]]:
                yield vp.WordMark(char_end=end, end_s=end * CHARACTER_S)
        count = round(len(text) * CHARACTER_S * self.sample_rate)
        samples = array("h", (at // STEP + 1 for at in range(count)))
        frame = self.sample_rate // 50
        for at in range(0, count, frame):
            yield samples[at : at + frame].tobytes()
            await anyio.sleep(0.001)


def heard_places(output: RecordingOutput) -> list[tuple[float, float, float]]:
    """Return what was played: see `places_in`."""
    return places_in(bytes(output.played), RATE)


def places_in(sound: bytes, rate: int) -> list[tuple[float, float, float]]:
    """Return the stretches of sound: when each began, and from which to which second of the reply it went."""
    stretches: list[tuple[int, list[int]]] = []
    silent = rate
    for at, sample in enumerate(array("h", sound)):
        if sample:
            if silent >= rate // 20:  # a paced line may wait for the rest of a frame
                stretches.append((at, []))
            stretches[-1][1].append(sample)
        silent = 0 if sample else silent + 1
    faded_s = 0.015  # a reply that goes on is faded in

    def first_place(samples: list[int]) -> float:
        return round((samples[round(faded_s * rate)] - 1) * STEP / rate - faded_s, 2) + 0.0

    return [
        (round(at / rate, 3), first_place(samples), round(samples[-1] * STEP / rate, 2)) for at, samples in stretches
    ]


async def hold(
    user: ScriptedUser,
    *replies: Reply,
    until_s: float = 14.0,
    voice: CountingVoice | None = None,
    model: ScriptedModel | None = None,
    **options: Any,
) -> tuple[vp.Session, list[tuple[float, vp.Event]], RecordingOutput]:
    """Hold a call, and return its session, its events with their times, and what was played."""
    output, events = RecordingOutput(RATE), list[tuple[float, vp.Event]]()
    model = model or ScriptedModel(list(replies) or [Says(STORY)])
    row = vp.Pipeline(
        user, model, vp.SentenceChunker(), voice or CountingVoice(), output=output, fallback="", **options
    )
    async with row.session() as session, anyio.create_task_group() as tasks:

        async def listen() -> None:
            async for event in session:
                events.append((round(anyio.current_time(), 6), event))

        tasks.start_soon(listen)
        await anyio.sleep_until(until_s)
        session.end()
    return session, events, output


def times(events: list[tuple[float, vp.Event]], *kinds: type) -> list[float]:
    return [at_s for at_s, event in events if isinstance(event, kinds)]
