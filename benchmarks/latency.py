"""The silence that a caller hears: real sessions on virtual time, with the delays of services drawn at random.

Each row runs the same turns through a real pipeline: the same words, delays and tool calls; only what the row names
differs. What a row shows is therefore exact and repeatable, and contains no time of this machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final, Never

import anyio
import anyio.to_process

import voicepipe as vp
from benchmarks._figures import Figure, percentile
from benchmarks.latency_delays import EARLY_SILENCE_S, FAST, SLOW, Services, TurnDelays, turn_delays
from benchmarks.latency_picture import Bar, picture
from benchmarks.parts import FRAME, RATE, Loudspeaker
from voicepipe.testing import run_on_virtual_time
from voicepipe.testing.script import tokens
from voicepipe.text.sentences import SentenceSplitter

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["TURNS", "latency"]

SEED: Final = 13
TURNS: Final = 10_000
PROCESSES: Final = 2
TURNS_OF_A_CALL: Final = 25
TURN_S: Final = 60.0
"""From one question to the next, in virtual time: longer than any answer takes."""

SPEECH_S: Final = 1.5
SENTENCE_FRAMES: Final = 3
REPLY: Final = (
    "Let me have a look at that for you, it is just a moment. "
    "Your parcel left our depot this morning, and it will be with you by noon tomorrow."
)
RIGHT, WRONG = "Where is my parcel?", "Where is my partner?"
"""What the caller has said, and what the recogniser takes it for at first."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        name: What is special about it.
        services: What its recogniser and model take.
        is_serial: Whether the reply is spoken only when the model has ended it.
        first_words: Whether the first clause is spoken before its sentence is complete.
        drafts: Whether a reply is prepared on the early text.
        local_end: Whether the detector's end of speech ends the turn, before the final transcript.
        is_streamed: Whether the recogniser sends words while they are spoken, without waiting for a silence.
        waits_s: How much longer than usual the recogniser waits for the caller to go on, before its final transcript.
        hedge_s: After what time without a token the model is asked a second time; 0 for never.
        bars_ms: The largest p50 and p95 at the socket and at the ear of turns without a tool; None for no promise.
    """

    name: str
    services: Services = FAST
    is_serial: bool = False
    first_words: bool = True
    drafts: bool = False
    local_end: bool = False
    is_streamed: bool = False
    waits_s: float = 0.0
    hedge_s: float = 0.0
    bars_ms: tuple[float | None, ...] = (None, None, None, None)


PATIENT: Final = replace(FAST, name="the same, waiting for 0.4 s of silence")
PATIENT_S: Final = 0.4 - EARLY_SILENCE_S
FAST_BARS_MS: Final = (600, 1000, 700, 1100)

ROWS: Final = (
    Row("everything serial", SLOW, is_serial=True, first_words=False),
    Row("by first clause", SLOW),
    Row("by first clause, hedged", SLOW, hedge_s=1.0),
    Row("everything serial", is_serial=True, first_words=False),
    Row("by sentence", first_words=False),
    Row("by first clause", bars_ms=(None, None, 850, None)),
    Row("by first clause, hedged", hedge_s=0.16),
    Row("drafts", drafts=True, bars_ms=FAST_BARS_MS),
    Row("drafts, local end", drafts=True, local_end=True, bars_ms=FAST_BARS_MS),
    Row("drafts, streamed words", drafts=True, is_streamed=True, bars_ms=FAST_BARS_MS),
    Row("drafts, streamed words, local end", drafts=True, local_end=True, is_streamed=True, bars_ms=FAST_BARS_MS),
    Row("by first clause", PATIENT, waits_s=PATIENT_S),
    Row("drafts", PATIENT, drafts=True, waits_s=PATIENT_S),
    Row("drafts, local end", PATIENT, drafts=True, local_end=True, waits_s=PATIENT_S),
)


@dataclass
class Current:
    """The turn that is being taken; kept outside of the parts, because a pipeline copies those."""

    delays: TurnDelays
    requests: int = 0
    sentences: int = 0
    asked: list[int] = field(default_factory=list)

    def begin(self, delays: TurnDelays) -> None:
        self.delays, self.requests, self.sentences = delays, 0, 0


class Caller(vp.SessionStage[Never, vp.Hearing]):
    """Asks a question again and again; what recogniser and detector report of it comes with the turn's delays."""

    def __init__(self, row: Row, current: Current, turns: list[TurnDelays]) -> None:
        self.row = row
        self.current = current
        self.turns = turns

    async def run(self, inbox, outbox, session):
        del inbox, session
        for number, delays in enumerate(self.turns):
            ended_s = (number + 1) * TURN_S
            await anyio.sleep_until(ended_s - SPEECH_S)
            self.current.begin(delays)
            early_s = delays.streamed_s if self.row.is_streamed else delays.early_s
            recognised_s = delays.final_s + self.row.waits_s
            final_s = ended_s + recognised_s
            reports = [
                (ended_s - SPEECH_S, vp.SpeechStarted(at_s=ended_s - SPEECH_S)),
                (ended_s + delays.detected_s, vp.SpeechEnded(at_s=ended_s)),
                (final_s, vp.Transcript(RIGHT, ended_s, final_s)),
            ]
            if early_s < recognised_s:
                reports.append((ended_s + early_s, vp.EarlyTranscript(RIGHT if delays.is_right else WRONG)))
            for at_s, report in sorted(reports, key=lambda line: line[0]):
                await anyio.sleep_until(at_s)
                await outbox.send(report)
            await anyio.sleep_until(ended_s + TURN_S - 2 * SPEECH_S)
            self.current.asked.append(self.current.requests)


class DrawnModel(vp.Model):
    """A model with the turn's delays; the pace of its tokens follows from the time that the first clause takes."""

    def __init__(self, current: Current) -> None:
        self.current = current

    async def reply(self, request, outbox, turn):
        turn.timeline.mark_again("llm_request")
        number, delays = self.current.requests, self.current.delays
        self.current.requests += 1
        first_s = anyio.current_time() + delays.first_token_s[number]
        token_s = delays.clause_s[number] / CLAUSE_TOKENS
        calls = delays.has_tool and not request.step
        if calls:
            pieces = [vp.ToolCallDelta(index=0, name="track"), *(vp.ToolCallDelta(index=0, arguments=a) for a in "{}")]
        else:
            pieces = [vp.TextDelta(token) for token in TOKENS]
        for count, piece in enumerate(pieces):
            await anyio.sleep_until(first_s + count * token_s)
            await outbox.send(piece)
        await outbox.send(vp.ReplyEnd(finish_reason="tool_calls" if calls else "stop"))


class Whole(vp.Stage[vp.TextDelta, vp.TextDelta]):
    """Holds the text back until the model has ended it: what a program does that does not stream."""

    async def run(self, inbox, outbox, turn):
        del turn
        text = "".join([delta.text async for delta in inbox])
        await outbox.send(vp.TextDelta(text))


class DrawnVoice(vp.TTSSink):
    """A voice with the turn's delays."""

    sample_rate = RATE

    def __init__(self, current: Current) -> None:
        self.current = current

    async def synthesize(self, sentence):
        del sentence
        number = self.current.sentences
        self.current.sentences += 1
        await anyio.sleep(self.current.delays.first_audio_s[number])
        for _ in range(SENTENCE_FRAMES):
            yield FRAME


TOKENS: Final = tokens(REPLY)


def _clause_tokens() -> int:
    splitter = SentenceSplitter(first_words=True)
    return next(number for number, token in enumerate(TOKENS) if splitter.feed(token))


CLAUSE_TOKENS: Final = _clause_tokens()
"""How many tokens follow the first one until the first clause is complete."""


@dataclass
class Result:
    """What a row has measured.

    Attributes:
        socket_ms: The silence of each turn without a tool, from the last speech sample to the first frame written.
        ear_ms: The same with the caller's line.
        tool_ear_ms: The silence at the ear of turns with a tool.
        requests: Sent for each turn.
        wasted: Requests for each turn that nobody heard anything of.
        heard_wrong: Turns in which the caller heard a reply to words that they had not said.
    """

    socket_ms: list[float] = field(default_factory=list)
    ear_ms: list[float] = field(default_factory=list)
    tool_ear_ms: list[float] = field(default_factory=list)
    requests: float = 0.0
    wasted: float = 0.0
    heard_wrong: int = 0


async def hold(row: Row, turns: list[TurnDelays]) -> tuple[list[vp.TurnEnded], list[int]]:
    """Hold one call, and return how its turns ended, and how many requests each question took."""
    current = Current(turns[0])

    @vp.tool(effect="read")
    async def track() -> str:
        """Look up where the parcel is."""
        await anyio.sleep(current.delays.tool_s)
        return "on its way"

    model = DrawnModel(current)
    if row.hedge_s:
        model = vp.FirstOf(model, DrawnModel(current), after_s=row.hedge_s)
    stages = [Caller(row, current, turns), model, vp.ToolRouter([track])]
    if row.is_serial:
        stages.append(Whole())
    stages += [vp.SentenceChunker(first_words=row.first_words), DrawnVoice(current)]
    rules = vp.TurnRules(drafts=row.drafts, local_end=row.local_end)
    agent = vp.Pipeline(*stages, output=Loudspeaker(), fallback="", turns=rules)
    async with agent.session() as session:
        await session.ended.wait()
        return [event async for event in session if isinstance(event, vp.TurnEnded)], current.asked


def measure(row: Row, count: int) -> Result:
    """Hold calls with so many turns in all, on virtual time."""
    result, requests, needed = Result(), 0, 0
    for start in range(0, count, TURNS_OF_A_CALL):
        turns = [
            turn_delays(number, row.services, SEED) for number in range(start, min(start + TURNS_OF_A_CALL, count))
        ]
        ended, asked = run_on_virtual_time(partial(hold, row, turns))
        requests += sum(asked)
        needed += sum(1 + turn.has_tool for turn in turns)
        answered = set()
        for event in ended:
            number = math.floor(event.timeline.turn_started / TURN_S) - 1
            if event.user_text != RIGHT:
                result.heard_wrong += "first_frame" in event.timeline
                continue
            assert isinstance(event, vp.TurnCompleted), event
            answered.add(number)
            socket_ms = (event.timeline.first_frame - (number + 1) * TURN_S) * 1e3
            ear_ms = socket_ms + turns[number].line_s * 1e3
            if turns[number].has_tool:
                result.tool_ear_ms.append(ear_ms)
            else:
                result.socket_ms.append(socket_ms)
                result.ear_ms.append(ear_ms)
        assert len(answered) == len(turns), "a question was left without an answer"
    result.requests, result.wasted = requests / count, (requests - needed) / count
    return result


async def latency(turns: int = TURNS, drawing: Path | None = None) -> list[Figure]:
    """Measure each row, two at a time in processes of their own.

    Args:
        turns: Of each row.
        drawing: Where to write the picture; None for nowhere.
    """
    results: dict[int, Result] = {}
    limiter = anyio.CapacityLimiter(PROCESSES)

    async def run(index: int) -> None:
        results[index] = await anyio.to_process.run_sync(measure, ROWS[index], turns, limiter=limiter)

    async with anyio.create_task_group() as tasks:
        for index in range(len(ROWS)):
            tasks.start_soon(run, index)
    if drawing is not None:
        bars = [
            Bar(row.services.name, row.name, *(percentile(results[index].ear_ms, share) for share in (5, 50, 95)))
            for index, row in enumerate(ROWS)
        ]
        await anyio.Path(drawing).write_text(picture(bars, turns))
    return [figure for index, row in enumerate(ROWS) for figure in _figures(row, results[index])]


def _figures(row: Row, result: Result) -> list[Figure]:
    name = f"latency: {row.services.name}, {row.name}"
    places = [("socket", result.socket_ms), ("ear", result.ear_ms)]
    measured = [(f"{place} p{share}", percentile(ms, share)) for place, ms in places for share in (50, 95)]
    figures = [
        Figure(f"{name}: {what}", value, "ms", bar) for (what, value), bar in zip(measured, row.bars_ms, strict=True)
    ]
    figures += [
        Figure(f"{name}: turns with a tool, ear p{share}", percentile(result.tool_ear_ms, share), "ms")
        for share in (50, 95)
    ]
    figures.append(Figure(f"{name}: requests a turn", result.requests))
    if row.drafts or row.hedge_s:
        figures.append(Figure(f"{name}: requests wasted a turn", result.wasted))
    if row.drafts:
        figures.append(Figure(f"{name}: replies heard to words that were not said", result.heard_wrong, "", 0))
    return figures
