"""A call as a picture: what the caller and the agent do, second by second, and which events are emitted.

Rule 1: everything in it comes from a session that was held: its events, and the sound that its output played.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import anyio

import voicepipe as vp
from tests.project.svg import line, picture, rect, text
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedUser, ScriptedVoice

__all__ = ["Call", "drawn"]

CHARACTER_S = 0.06
"""The voice takes this long for each letter, so each letter of a picture stands where it was heard."""

SHOWN = (
    vp.TurnStarted, vp.Withheld, vp.Released, vp.Paused, vp.Resumed, vp.Backchannel, vp.TurnInterrupted,
    vp.TurnCompleted,
)  # fmt: skip
WIDTH, LEFT, RIGHT = 860.0, 70.0, 20.0
CALLER_Y, AGENT_Y, EVENTS_Y, BAR = 20.0, 66.0, 118.0, 30.0


@dataclass(frozen=True)
class Call:
    """A call to be drawn.

    Attributes:
        title: What happens in it.
        caller: What the caller does.
        replies: What the model says, half a second after it was asked.
        ends_s: How many seconds are drawn.
    """

    title: str
    caller: ScriptedUser
    replies: list[str]
    ends_s: float


@dataclass(frozen=True)
class Block:
    """Something that lasts: in which lane, from when to when, which kind, and the words in it.

    Attributes:
        is_exact: Whether the words fill the block exactly, letter by letter.
    """

    y: float
    start_s: float
    end_s: float
    kind: str
    words: str
    is_exact: bool = False


Happened = list[tuple[float, vp.Event]]


async def drawn(call: Call) -> str:
    """Hold a call and return its picture."""
    output, happened = RecordingOutput(), Happened()
    model = ScriptedModel([Says(reply, after_s=0.5) for reply in call.replies])
    voice = ScriptedVoice(character_s=CHARACTER_S)
    row = vp.Pipeline(call.caller, model, vp.SentenceChunker(), voice, output=output)
    async with row.session() as session, anyio.create_task_group() as tasks:

        async def listen() -> None:
            async for event in session:
                happened.append((round(anyio.current_time(), 3), event))

        tasks.start_soon(listen)
        await anyio.sleep_until(call.ends_s)
        session.end()
    blocks = [*heard_of_caller(happened), *done_by_agent(happened, output.spans())]
    return picture((WIDTH, 200), call.title, shapes(call, blocks, happened))


def heard_of_caller(happened: Happened) -> Iterator[Block]:
    texts = {round(event.speech_ended_s, 3): event.text for _, event in happened if isinstance(event, vp.Transcript)}
    sounds = [event for _, event in happened if isinstance(event, vp.SpeechStarted | vp.SpeechEnded)]
    for start, end in pairwise(sounds):
        if isinstance(start, vp.SpeechStarted) and isinstance(end, vp.SpeechEnded):
            words = texts.get(round(end.at_s, 3))
            yield Block(CALLER_Y, start.at_s, end.at_s, "caller" if words else "noise", words or "cough")


def done_by_agent(happened: Happened, spans: list[tuple[float, float]]) -> Iterator[Block]:
    waits_s: float | None = None
    thinks_s: float | None = None
    reply, from_s = "", 0.0
    for at_s, event in happened:
        match event:
            case vp.Transcript():
                waits_s = at_s if waits_s is None else waits_s
            case vp.TurnStarted():
                if waits_s is not None and waits_s < at_s:
                    yield Block(AGENT_Y, waits_s, at_s, "waits", "waits for the rest, and drafts the reply")
                thinks_s, waits_s = at_s, None
            case vp.Withheld() | vp.Paused():
                yield from thought(thinks_s, at_s)
                kind = "paused" if isinstance(event, vp.Paused) else "withheld"
                yield Block(AGENT_Y, at_s, next_after(at_s, happened), kind, kind)
                thinks_s = None
            case vp.SentenceStarted(text=words):
                yield from thought(thinks_s, at_s)
                reply, from_s, thinks_s = words, 0.0, None
                yield spoken(at_s, spans, reply, from_s)
            case vp.Resumed(from_s=from_s):
                yield spoken(at_s, spans, reply, from_s)
            case vp.Backchannel():
                waits_s = None
            case _:
                pass


def thought(since_s: float | None, at_s: float) -> Iterator[Block]:
    if since_s is not None and since_s < at_s:
        yield Block(AGENT_Y, since_s, at_s, "thinks", "thinks")


def next_after(at_s: float, happened: Happened) -> float:
    """Return when the reply that is held up at a time goes on, or is over."""
    ends = (vp.Resumed, vp.Released, vp.TurnInterrupted)
    return next(when for when, event in happened if when > at_s and isinstance(event, ends))


def spoken(at_s: float, spans: list[tuple[float, float]], reply: str, from_s: float) -> Block:
    """Return the stretch of sound that begins at a time, with the letters that were heard in it."""
    start_s, end_s = next(span for span in spans if abs(span[0] - at_s) < 0.005)
    first, last = round(from_s / CHARACTER_S), round((from_s + end_s - start_s) / CHARACTER_S)
    return Block(AGENT_Y, start_s, end_s, "agent", reply[first:last], is_exact=True)


# --- drawing ----------------------------------------------------------------------------------------------------------

FILLS = {"caller": "caller", "noise": "held", "agent": "agent", "thinks": "thinks", "waits": "waits"}


def shapes(call: Call, blocks: list[Block], happened: Happened) -> Iterator[str]:
    scale = (WIDTH - LEFT - RIGHT) / call.ends_s

    def x(at_s: float) -> float:
        return LEFT + at_s * scale

    for second in range(int(call.ends_s) + 1):
        yield line((x(second), 14), (x(second), 174), "grid")
        yield text((x(second), 190), f"{second} s", "s", anchor="middle")
    for y, name in ((CALLER_Y, "caller"), (AGENT_Y, "agent"), (EVENTS_Y - 4, "events")):
        yield text((14, y + 19), name, "b")
    yield from events(happened, x)
    for block in blocks:
        width = (block.end_s - block.start_s) * scale
        is_held = block.kind in ("paused", "withheld")
        stroke = "alarm" if is_held or block.kind == "noise" else "edge" if block.kind in ("waits", "thinks") else ""
        fill = FILLS.get(block.kind, "page")
        yield rect((x(block.start_s), block.y), (width, BAR), fill, stroke=stroke, dashed=is_held)
        yield from label(block, x(block.start_s), width)


LETTER = 6.4
"""How wide a letter is at most, on average."""


def label(block: Block, x: float, width: float) -> Iterator[str]:
    """Write what it is into a block, if there is room: colour and dashes say the same."""
    style = "on" if block.kind in ("caller", "agent") else ""
    y = block.y + BAR / 2 + 4
    if block.is_exact:
        words = block.words.rstrip()
        yield text((x + 2, y), words, style, width=width * len(words) / len(block.words) - 4)
    elif len(block.words) * LETTER < width:
        yield text((x + width / 2, y), block.words, style, anchor="middle")


def events(happened: Happened, x: Callable[[float], float]) -> Iterator[str]:
    """Name the events, in rows where they would cover each other."""
    free_from = [0.0, 0.0, 0.0]
    names: list[str] = []
    for at_s, event in happened:
        if not isinstance(event, SHOWN):
            continue
        name = type(event).__name__
        place, width = x(at_s), len(name) * 6.7 + 8
        is_last = place + width > WIDTH - 4
        left = place - width if is_last else place
        row = next(row for row, free in enumerate(free_from) if free <= left)
        free_from[row] = left + width
        y = EVENTS_Y + 15 + row * 17
        yield line((place, AGENT_Y + BAR), (place, y), "accent", dashed=True)
        names.append(text((place + (-4 if is_last else 4), y), name, "m halo", anchor="end" if is_last else "start"))
    yield from names
