"""The view of `voicepipe talk` below the conversation, of calls on virtual time in a terminal that is only a file."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import TYPE_CHECKING

import anyio
import pytest
from rich.console import Console

import voicepipe as vp
from voicepipe.cli._display import STYLES, Display
from voicepipe.cli._levels import KEPT, Levels
from voicepipe.cli._live_view import LiveView
from voicepipe.cli.talk import Call, converse
from voicepipe.testing import (
    Calls,
    ChatRequest,
    RecordingOutput,
    Reply,
    Says,
    ScriptedModel,
    ScriptedUser,
    ScriptedVoice,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.anyio


class Screen(io.StringIO):
    """What a terminal is sent, with the time of each piece."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[tuple[float, str]] = []

    def write(self, text: str) -> int:
        self.pieces.append((round(anyio.current_time(), 6), text))
        return super().write(text)


def terminal(width: int = 70, height: int = 24, *, is_one: bool = True) -> Console:
    return Console(
        file=Screen(),
        force_terminal=is_one,
        width=width,
        height=height,
        color_system=None,
        soft_wrap=True,
        legacy_windows=False,
    )


@vp.tool(effect="read")
async def get_order_status(order_id: str) -> str:
    """Look up an order."""
    await anyio.sleep(0.4)
    return f"{order_id} has been shipped"


def reply(request: ChatRequest) -> Reply:
    if request.tool_results:
        return Says("It has been shipped.", after_s=0.2)
    return Calls("get_order_status", {"order_id": "ORD-1"}, after_s=0.3)


async def shown(console: Console, times: Sequence[float], *, is_typed: bool = False) -> list[str]:
    """Hold a call, and return what stands below the conversation at each time."""
    caller = ScriptedUser().guesses("where is", at_s=2.5)
    caller.says("Where is my order?", at_s=3.5, speech_s=1.5, silence_s=0.3).hangs_up(at_s=9.0)
    voice = ScriptedVoice(first_audio_s=0.1, character_s=0.05)
    row = caller, ScriptedModel(reply), vp.ToolRouter([get_order_status]), vp.SentenceChunker(), voice
    call = Call(agent=vp.Pipeline(*row, output=RecordingOutput()))
    display, frames = Display(is_live=True, is_typed=is_typed, console=console), list[str]()
    began_s = anyio.current_time()

    async def look() -> None:
        for at_s in times:
            await anyio.sleep_until(began_s + at_s)
            frames.append("\n".join(line.plain.rstrip() for line in display._shown))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        with display.open("A call.", ()):
            await converse(call, "Hello.", display)
    return frames


RULE = "─" * 70
QUIET = "▁▁▁▁▁▁▁▁▁▁▁▁"


async def test_who_speaks_and_where_the_time_goes() -> None:
    """Words appear as they are understood, thinking is counted, and the bars of a wait grow until it is over."""
    frames = await shown(terminal(), [0.35, 2.65, 4.05, 4.95, 8.95])
    assert frames == [
        f"{RULE}\n○ caller {QUIET}\n● agent  ▁▁▁▁▁▁▁▁▁▁▆▆  Hello.",
        f"{RULE}\n● caller {QUIET}  where is ...\n○ agent  {QUIET}  listens",
        f"""\
{RULE}
○ caller {QUIET}
○ agent  {QUIET}  calls get_order_status, 0.2 s
  silence   ████████████                               300.0 ms
  llm                   ████████████                   300.0 ms
  tools                             ████████           200.0 ms
  waited                                               800.0 ms""",
        f"""\
{RULE}
○ caller {QUIET}
● agent  ▁▁▁▁▁▁▁▁▆▆▆▆  It has been shipped.
  silence   ██████                                     300.0 ms
  llm             ██████████                           500.0 ms
  tools                     ████████                   400.0 ms
  tts                               ██                 100.0 ms
  waited                                              1300.0 ms""",
        f"""\
{RULE}
○ caller {QUIET}
○ agent  {QUIET}  listens
  silence   ██████                                     300.0 ms
  llm             ██████████                           500.0 ms
  tools                     ████████                   400.0 ms
  tts                               ██                 100.0 ms
  waited                                              1300.0 ms""",
    ]


async def test_it_is_calm() -> None:
    """It is redrawn ten times a second at most, each time in one piece; not at all in silence; and it never shrinks."""
    console = terminal()
    await shown(console, [])
    assert isinstance(console.file, Screen)
    redrawn = [(at_s, text) for at_s, text in console.file.pieces if RULE in text]
    ticks = [at_s for at_s, _ in redrawn if at_s * 10 == pytest.approx(round(at_s * 10))]
    assert min(later - sooner for sooner, later in pairwise(sorted(set(ticks)))) == pytest.approx(0.1)
    assert [
        at_s for at_s, _ in redrawn if 1.85 < at_s < 2.5
    ] == []  # the meters are empty again, and the caller is silent
    heights = [text.partition(RULE)[2].count("\n") for _, text in redrawn]
    assert heights == sorted(heights)


async def test_the_conversation_stays() -> None:
    """What was said stands above the view, with the wait of each turn in one line, and the view is gone in the end."""
    console = terminal()
    await shown(console, [])
    assert isinstance(console.file, Screen)
    text = console.file.getvalue()
    assert "  3.50  caller  Where is my order?\n" in text
    assert f"{'':16}waited 1300 ms: silence 300, llm 500, tools 400, tts 100\n" in text
    assert text.endswith("\x1b[1A\x1b[2K" * 8)  # the last frame is erased


@pytest.mark.parametrize(("is_one", "is_typed"), [(False, False), (True, True)])
async def test_plain_lines_elsewhere(is_one: bool, is_typed: bool) -> None:
    """Where stdout is no terminal, or the caller types into it, nothing is redrawn and nobody watches the audio."""
    console = terminal(is_one=is_one)
    assert await shown(console, [1.0, 4.05], is_typed=is_typed) == ["", ""]
    assert isinstance(console.file, Screen)
    text = console.file.getvalue()
    assert ("\x1b" in text, RULE in text, "waited" in text) == (False, False, True)
    assert Display(is_live=True, is_typed=is_typed, console=console).observers == []


async def test_it_fits_the_terminal() -> None:
    """No line is wider than the terminal; a low one has no bars, and one with ASCII alone gets no other character."""
    for width, height, lines in ((30, 24, 7), (200, 24, 7), (70, 15, 3)):
        (frame,) = await shown(terminal(width, height), [4.05])
        assert (max(map(len, frame.splitlines())) <= width, frame.count("\n") + 1) == (True, lines)
    view = LiveView(STYLES)
    view.notice(0.0, vp.SentenceStarted(turn_id=1, text="A sentence that is longer than the line."))
    frame = "\n".join(line.plain for line in view.lines(0.0, 40, 24, ascii_only=True))
    assert (frame.isascii(), max(map(len, frame.splitlines()))) == (True, 40)


def test_levels_are_measured_when_somebody_looks() -> None:
    """A level is the peak since the last look, in decibels from silence to full scale; old audio is dropped."""
    levels = Levels()
    loud, half = (sample.to_bytes(2, "little", signed=True) * 320 for sample in (-32_768, 1_036))
    assert levels.take() == (0.0, 0.0)
    for pcm in (loud, *[half] * KEPT):
        levels.on_heard(vp.AudioFrame(pcm=pcm, sample_rate=16_000, start_s=0.0))
    levels.on_played(vp.PlayedAudio(pcm=loud, sample_rate=16_000, at_s=0.0, turn_id=1))
    heard, played = levels.take()
    assert (round(heard, 3), played) == (0.5, 1.0)
    assert levels.take() == (0.0, 0.0)
