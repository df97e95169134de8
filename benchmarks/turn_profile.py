"""Where the time goes that `added` measures: a profile of the same windows, by part, of both sides in one run.

One call at a time, so that what is measured belongs to the turn. A timer interrupts the process 2,000 times a second
and notes whose code runs. Counted are the samples between the words and the request at the server, between the awaited
token and the voice's first wait, and between its first audio and the first frame: the parts add up to what is added.
"""

from __future__ import annotations

import signal
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio

from benchmarks._figures import Figure
from benchmarks.added import Side, find_parcel, minimal_calls
from benchmarks.parts import Voice, agent, called
from benchmarks.server import Server, served

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType

__all__ = ["profile"]

EVERY_S: Final = 0.0005
KINDS = (("answer", "answer"), ("tool", "tool"))
BLOCKS, TURNS = 10, 15
FIRST_TOKEN_S, TOKEN_S, REPLY_S, PAUSE_S = 0.02, 0.003, 0.35, 0.05

LIBRARIES: Final = {"httpx_sse": "httpx-sse", "httpx": "httpx", "httpcore": "httpcore, h11", "h11": "httpcore, h11"}
LIBRARIES |= {"pydantic": "pydantic", "benchmarks": "the benchmark, the minimal loop"}
OURS: Final = {
    "vendors.openai": "request and reply of the model",
    "http": "pool of connections",
    "model": "tool loop",
    "tools": "tool loop",
    "text": "sentences",
    "speaking": "voice and playback",
    "session.event_log": "events",
    "session.log_writer": "events",
    "events": "events",
    "timeline": "events",
    "core.channel": "channels",
    "core.handover": "channels",
    "core.abandon": "tasks and scopes",
    "core.failures": "tasks and scopes",
    "core.waits": "tasks and scopes",
    "session.replying": "tasks and scopes",
}
"""Folders and modules of voicepipe; what is not here is the turn and who has the floor."""


def part_of(frame: FrameType | None) -> str:
    """Return whose code runs: the innermost code that is neither Python's nor anyio's."""
    in_anyio = False
    modules: list[str] = []
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        top = module.partition(".")[0]
        modules.append(module)
        if top == "voicepipe":
            if in_anyio:
                return "tasks and scopes"
            inner = module.removeprefix("voicepipe.")
            return next((part for start, part in OURS.items() if (inner + ".").startswith(start + ".")), "turn, floor")
        if top in LIBRARIES:
            return LIBRARIES[top]
        in_anyio |= top == "anyio"
        frame = frame.f_back
    if modules[0] == "selectors":
        return "waiting"
    return "tasks and scopes" if in_anyio else "event loop"


class Samples:
    """Whose code ran when."""

    def __init__(self) -> None:
        self.taken: list[tuple[float, str]] = []

    @contextmanager
    def running(self) -> Generator[None]:
        """Take samples while the block lasts."""
        before = signal.signal(signal.SIGALRM, self._take)
        signal.setitimer(signal.ITIMER_REAL, EVERY_S, EVERY_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def _take(self, _number: int, frame: FrameType | None) -> None:
        self.taken.append((anyio.current_time(), part_of(frame)))

    def within(self, windows: list[tuple[float, float]]) -> Counter[str]:
        """Count the samples inside of these times, by part."""
        counted = Counter[str]()
        ahead = iter(sorted(windows))
        window = next(ahead, None)
        for at_s, part in self.taken:
            while window is not None and window[1] < at_s:
                window = next(ahead, None)
            if window is not None and window[0] <= at_s:
                counted[part] += 1
        return counted


def windows_of(side: Side, log: dict[int, dict[str, Any]]) -> list[tuple[float, float]]:
    """Return the times in which the model was not awaited."""
    windows: list[tuple[float, float]] = []
    for number, asked_s, spoke_s in side.turns:
        marks = [asked_s, *(at_s for wait in log[number]["waits"] for at_s in wait), spoke_s]
        windows += zip(marks[::2], marks[1::2], strict=True)
    return windows


async def profile() -> list[Figure]:
    """Both sides with one call, by part: a turn with an answer, and one with a tool call."""
    figures: list[Figure] = []
    async with served(first_token_s=FIRST_TOKEN_S, token_s=TOKEN_S) as server:
        for kind, reply in KINDS:
            figures += await _profiled(server, kind, reply)
    return figures


async def _profiled(server: Server, kind: str, reply: str) -> list[Figure]:
    voice = Voice(first_audio_s=0.0)
    async with (
        minimal_calls(server.base_url, 1, voice_s=0.0) as minimal_side,
        agent(server.base_url, voice, tools=[find_parcel]).open() as host,
        called(host, 1) as voicepipe_side,
    ):
        sides = Side(minimal_side, REPLY_S), Side(voicepipe_side, REPLY_S)
        for side in sides:
            await side.block(10, PAUSE_S, reply)
            side.turns.clear()
        samples = Samples(), Samples()
        for block in range(BLOCKS):
            for side, taken in list(zip(sides, samples, strict=True))[:: 1 if block % 2 else -1]:
                with taken.running():
                    await side.block(TURNS, PAUSE_S, reply)
    log = await server.log()
    all_windows = [windows_of(side, log) for side in sides]
    counted = [taken.within(windows) for taken, windows in zip(samples, all_windows, strict=True)]
    total_ms = [_total_ms(windows, side) for windows, side in zip(all_windows, sides, strict=True)]
    figures: list[Figure] = []
    names = ("minimal", "voicepipe")
    for part in sorted({*counted[0], *counted[1]}, key=lambda part: counted[0][part] - counted[1][part]):
        for name, count, whole_ms in zip(names, counted, total_ms, strict=True):
            figures.append(Figure(f"profile: {kind}, {part}, {name}", count[part] / count.total() * whole_ms, "ms"))
    figures += [
        Figure(f"profile: {kind}, sum, {name}", whole_ms, "ms") for name, whole_ms in zip(names, total_ms, strict=True)
    ]
    return figures


def _total_ms(windows: list[tuple[float, float]], side: Side) -> float:
    return sum(end - start for start, end in windows) / len(side.turns) * 1e3
