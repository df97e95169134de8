"""The picture of talking.md: a terminal in the middle of a call, from what `voicepipe talk` really sends to it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import anyio
from rich.console import Console

import voicepipe as vp
from tests.project.svg import picture, rect, text
from voicepipe.cli._display import Display
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

__all__ = ["talking"]

COLUMNS, ROWS = 76, 40
CELL, ROW, EDGE = 7.2, 17.0, 16.0
AT_S = 8.3
"""In the middle of the answer."""

TITLE = "voicepipe talk in the middle of a call: what was said, who speaks, and where the time of the turn went"

CLASSES = {"36": "caller", "32": "agent", "33": "alarm", "2": "dim", "1": "ink"}
"""The colours of the picture, by those of the terminal."""

FONT = '.t { font: 12px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace }'

STEPS = "▁▂▃▄▅▆▇█"


@vp.tool(effect="read")
async def get_order_status(order_id: str) -> str:
    """Look up an order."""
    await anyio.sleep(0.3)
    return f"{order_id} has been shipped"


def reply(request: ChatRequest) -> Reply:
    if request.tool_results:
        return Says("Your order was shipped on Monday.", after_s=0.25)
    return Calls("get_order_status", {"order_id": "ORD-12345"}, after_s=0.35)


async def screen() -> str:
    """Return what the terminal was sent until `AT_S`."""
    caller = ScriptedUser().guesses("where is my", at_s=4.2)
    caller.says("Where is my order, please?", at_s=6.0, speech_s=2.0, silence_s=0.3).hangs_up(at_s=12.0)
    voice = ScriptedVoice(first_audio_s=0.15, character_s=0.06)
    row = caller, ScriptedModel(reply), vp.ToolRouter([get_order_status]), vp.SentenceChunker(), voice
    call = Call(agent=vp.Pipeline(*row, output=RecordingOutput()), notes=("end the call: Ctrl-C",))
    file = io.StringIO()
    console = Console(
        file=file, force_terminal=True, width=COLUMNS, height=ROWS, color_system="standard", soft_wrap=True,
        highlight=False, markup=False, legacy_windows=False,
    )  # fmt: skip
    display = Display(is_live=True, console=console)
    sent: list[str] = []

    async def look() -> None:
        await anyio.sleep(AT_S)
        sent.append(file.getvalue())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        with display.open("A call with app.py.", call.notes):
            await converse(call, "Hello, this is the shop.", display)
    return sent[0]


def rows_of(sent: str) -> list[str]:
    """Return the rows of a terminal, with their colours: it moves up, erases rows, and writes."""
    rows, at = [""], 0
    for code, written in re.findall(r"(\r|\n|\x1b\[[0-9;?]*[A-Za-z])|([^\r\n\x1b]+)", sent):
        match code:
            case "":
                rows[at] += written
            case "\n":
                at += 1
                rows += [""] * (at + 1 - len(rows))
            case "\x1b[1A":
                at -= 1
            case "\x1b[2K":
                rows[at] = ""
            case _ if code.endswith("m"):
                rows[at] += code
    return rows


def shapes(row: str, y: float) -> Iterator[str]:
    """Yield the shapes of a row: words as text, each exactly as wide as its cells, and blocks as boxes."""
    at, styles = 0, list[str]()
    for codes, written in re.findall(r"\x1b\[([0-9;]*)m|([^\x1b]+)", row):
        if not written:
            styles = [] if codes in ("", "0") else codes.split(";")
            continue
        fill = next((CLASSES[code] for code in (*styles[::-1],) if code in CLASSES), "ink")
        for found in re.finditer(rf"─+|([{STEPS}])\1*|\S+(?: \S+)*", written):
            x, wide = EDGE + (at + found.start()) * CELL, len(found[0]) * CELL
            if found[0][0] == "─":
                yield rect((x, y + ROW / 2), (wide, 1), "dim", radius=0)
            elif found[0][0] in STEPS:
                high = (ROW - 4) * (STEPS.index(found[0][0]) + 1) / len(STEPS)
                yield rect((x, y + ROW - 2 - high), (wide, high), fill, radius=0)
            else:
                yield text((x, y + ROW - 5), found[0], f"t f-{fill}{' b' if '1' in styles else ''}", width=wide)
        at += len(written)


async def talking() -> str:
    """Return the picture."""
    rows = rows_of(await screen())
    drawn = [shape for number, row in enumerate(rows) for shape in shapes(row, EDGE + number * ROW)]
    whole = picture((COLUMNS * CELL + 2 * EDGE, len(rows) * ROW + 2 * EDGE), TITLE, drawn)
    return whole.replace("</style>", f"    {FONT}\n</style>", 1)
