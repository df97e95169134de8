"""A caller whose audio tells which moment of the script it is of, and a call with the simulated Deepgram.

So what a client sends twice, leaves out or shifts is heard as such, on whichever connection, at whichever time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio

import voicepipe as vp
from voicepipe.hearing.recogniser import Recogniser
from voicepipe.listening_events import RecogniserLost
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedVoice
from voicepipe.testing.simulators.deepgram import DeepgramSession, DeepgramSimulator
from voicepipe.testing.simulators.stt import Spoken, SpokenWord, remaining

RATE = 16_000
KEY = "canary-7f3a"
STEP_S = 0.01
CLIPPED_S = 0.1
LOUD = (b"\x40\x1f\xc0\xe0" * 80)[2:]
QUIET = bytes(318)


class Caller(vp.Source):
    """Says a script, and hangs up. The first sample of each 10 ms counts them; the rest is loud while they speak.

    Args:
        script: What is said.
        hangs_up_s: When the caller hangs up.
        pauses: At these times nothing comes for so long: the line is dead, then it goes on.
    """

    def __init__(
        self, script: Sequence[Spoken], hangs_up_s: float, *, pauses: dict[float, float] | None = None
    ) -> None:
        self.script = script
        self.hangs_up_s = hangs_up_s
        self.pauses = pauses or {}

    async def frames(self) -> AsyncIterator[bytes]:
        due_s = anyio.current_time()
        for number in range(0, round(self.hangs_up_s / STEP_S), 2):
            due_s += 2 * STEP_S + self.pauses.get(round(number * STEP_S, 6), 0.0)
            await anyio.sleep_until(due_s)
            yield self.step(number) + self.step(number + 1)

    def step(self, number: int) -> bytes:
        at_s = round(number * STEP_S, 6)
        is_loud = any(one.start_s <= at_s < one.end_s for one in self.script)
        return (number + 1).to_bytes(2, "little") + (LOUD if is_loud else QUIET)


def hearing(script: Sequence[Spoken]) -> Callable[[DeepgramSession], Sequence[Spoken]]:
    """What each session of a call hears of a script: that of which the audio came, but for a word's first moment."""

    def heard(session: DeepgramSession) -> Sequence[Spoken]:
        from_s = (int.from_bytes(session.first_frame[:2], "little") - 1) * STEP_S
        rest = [tuple(map(shifted, one.words)) for one in remaining(script, from_s - CLIPPED_S)]
        return [
            Spoken(" ".join(word.text for word in words), words[0].start_s, words[-1].end_s, words=words)
            for words in rest
        ]

    def shifted(word: SpokenWord) -> SpokenWord:
        return SpokenWord(word.text, max(0.0, word.start_s - CLIPPED_S), word.end_s - CLIPPED_S)

    return heard


@dataclass
class Held:
    """A call that was held, and what the application learned in it."""

    events: list[tuple[float, vp.Event]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    history: list[str] = field(default_factory=list)
    error: vp.VoicepipeError | None = None

    def of(self, kind: type) -> list[Any]:
        return [event for _, event in self.events if isinstance(event, kind)]

    @property
    def said(self) -> list[str]:
        return [event.text for event in self.of(vp.Transcript)]

    @property
    def words(self) -> list[tuple[str, float]]:
        return [(word.text, round(word.start_s, 2)) for event in self.of(vp.Transcript) for word in event.words]

    @property
    def losses(self) -> int:
        return len(self.of(RecogniserLost))


async def hold(
    simulator: DeepgramSimulator,
    caller: vp.Source,
    make: Callable[[str], Recogniser],
    during: Callable[[vp.Session], Awaitable[None]] | None = None,
    *,
    voice: vp.TTSSink | None = None,
    **pipeline: Any,
) -> Held:
    """Hold a call in which the agent says yes to everything."""
    held = Held()
    model = ScriptedModel(lambda _request: Says("Yes.", after_s=0.2))
    try:
        async with simulator.serve() as url:
            agent = vp.Pipeline(
                caller,
                vp.STTStage(make(url)),
                model,
                vp.SentenceChunker(),
                voice or ScriptedVoice(character_s=0.01),
                output=RecordingOutput(),
                **{"detector": None, **pipeline},
            )
            async with agent.session() as session, anyio.create_task_group() as tasks:
                if during is not None:
                    tasks.start_soon(during, session)
                async for event in session:
                    held.events.append((anyio.current_time(), event))
                tasks.cancel_scope.cancel()
                held.history = [message.text for message in session.history]
    except vp.VoicepipeError as error:
        held.error = error
    held.requests = [request.last_user_text for request in model.requests]
    return held
