"""Tokens to sentences: what is sent to the voice and when, compared with the rule "cut after every . ! ?".

    python examples/chunking.py                 # one line per token
    python examples/chunking.py --svg FILE      # the same as a picture

The real `SentenceChunker` reads a scripted model that writes 60 tokens a second. Runs without key or network, on
virtual time. `CutAtEveryMark` also shows how to write your own chunker.
"""

import argparse
from dataclasses import dataclass
from html import escape
from itertools import accumulate
from pathlib import Path

import anyio

import voicepipe as vp
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedVoice, run_on_virtual_time

# In the pieces after which a speaker may pause: what is cut elsewhere sounds wrong.
BREATHS = (
    "I can look that up,",
    " just give me a second.",
    " Dr. Lee is in at 9 a.m. on Friday.",
    " A visit is $42.50.",
    " Is that all right?",
)
REPLY = "".join(BREATHS)
TOKEN_S = 1 / 60


class CutAtEveryMark(vp.Stage[vp.TextDelta, vp.Sentence]):
    """The naive rule."""

    async def run(self, inbox: vp.Inbox[vp.TextDelta], outbox: vp.Outbox[vp.Sentence], turn: vp.Turn) -> None:
        pending = ""
        async for delta in inbox:
            pending += delta.text
            if pending.endswith((".", "!", "?")):
                await outbox.send(vp.Sentence(pending))
                pending = ""
        if pending:
            await outbox.send(vp.Sentence(pending))


@dataclass(frozen=True)
class Piece:
    """A token or chunk, when it came, and where it lies in the reply, without the white space around it."""

    at_ms: int
    text: str
    start: int
    end: int

    @property
    def is_cut_wrongly(self) -> bool:
        return self.end not in accumulate(map(len, BREATHS))


class NoteTokens(vp.Stage[vp.TextDelta, vp.TextDelta]):
    """Passes tokens on and notes when they arrived."""

    def __init__(self, noted: list[tuple[float, str]]) -> None:
        self.noted = noted

    async def run(self, inbox: vp.Inbox[vp.TextDelta], outbox: vp.Outbox[vp.TextDelta], turn: vp.Turn) -> None:
        async for delta in inbox:
            if delta.text:  # the end of a segment may come without text
                self.noted.append((anyio.current_time(), delta.text))
            await outbox.send(delta)


class NoteChunks(vp.Stage[vp.Sentence, vp.Sentence]):
    """Notes when chunks come, and passes them on only at the end, so that no voice makes them wait."""

    def __init__(self, noted: list[tuple[float, str]]) -> None:
        self.noted = noted

    async def run(self, inbox: vp.Inbox[vp.Sentence], outbox: vp.Outbox[vp.Sentence], turn: vp.Turn) -> None:
        chunks: list[vp.Sentence] = []
        async for chunk in inbox:
            self.noted.append((anyio.current_time(), chunk.text))
            chunks.append(chunk)
        for chunk in chunks:
            await outbox.send(chunk)


async def observe(chunker: vp.Stage[vp.TextDelta, vp.Sentence]) -> tuple[list[Piece], list[Piece]]:
    """Return the tokens and the chunks of one reply."""
    tokens: list[tuple[float, str]] = []
    chunks: list[tuple[float, str]] = []
    model = ScriptedModel([Says(REPLY, token_s=TOKEN_S)])
    agent = vp.Pipeline(
        model, NoteTokens(tokens), chunker, NoteChunks(chunks), ScriptedVoice(), output=RecordingOutput()
    )
    async with agent.session() as session:
        await session.user_says("Can I see the doctor this week?")
    assert "".join(text for _, text in chunks) == REPLY
    return pieces(tokens, since_s=tokens[0][0]), pieces(chunks, since_s=tokens[0][0])


def pieces(noted: list[tuple[float, str]], *, since_s: float) -> list[Piece]:
    ends = list(accumulate(len(text) for _, text in noted))
    return [
        Piece(round((at_s - since_s) * 1000), text.strip(), end - len(text.lstrip()), end)
        for (at_s, text), end in zip(noted, ends, strict=True)
    ]


def summary(chunks: list[Piece]) -> str:
    wrong = sum(chunk.is_cut_wrongly for chunk in chunks)
    return f"first words after {chunks[0].at_ms} ms; {wrong or 'none'} of {len(chunks)} chunks cut wrongly"


def as_text(tokens: list[Piece], naive: list[Piece], ours: list[Piece]) -> str:
    """Draw one line for each token, with the chunks that leave with it."""
    width = max(len(chunk.text) for chunk in naive) + 3
    lines = [f"{'ms':>5}  {'token':9} {'cut after every . ! ?':{width}} SentenceChunker"]
    for token in tokens:
        left, right = (
            " | ".join(chunk.text + " ✗" * chunk.is_cut_wrongly for chunk in chunks if chunk.at_ms == token.at_ms)
            for chunks in (naive, ours)
        )
        lines.append(f"{token.at_ms:5}  {token.text:9} {left:{width}} {right}".rstrip())
    return "\n".join([*lines, "", f"cut after every . ! ?: {summary(naive)}", f"SentenceChunker: {summary(ours)}"])


CHARACTER, MARGIN = 8.6, 24  # pixels
FONT = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
INK, PALE = "#1f2733", "#6a7380"
GREY, GREEN, RED = ("#f1f3f6", "#c3c9d1", PALE), ("#e3f4e8", "#1a7f45", "#1a7f45"), ("#fde7e7", "#c62828", "#c62828")


def as_svg(tokens: list[Piece], naive: list[Piece], ours: list[Piece]) -> str:
    """Draw the reply three times, letter below letter: as it arrived, as the naive rule and as the chunker cut it."""
    width, height = round(2 * MARGIN + CHARACTER * len(REPLY)), 286
    cut = {piece: RED if piece.is_cut_wrongly else GREEN for piece in (*naive, *ours)}
    parts = [
        *_lane(48, "The model writes", "60 tokens a second; times in ms since the first", dict.fromkeys(tokens, GREY)),
        *_lane(136, "Cut after every . ! ?", summary(naive), {piece: cut[piece] for piece in naive}),
        *_lane(224, "SentenceChunker()", summary(ours), {piece: cut[piece] for piece in ours}),
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="{FONT}" fill="{INK}">'
    paper = f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>'
    return "\n".join([head, paper, *parts, "</svg>", ""])


def _lane(y: int, title: str, note: str, colours: dict[Piece, tuple[str, str, str]]) -> list[str]:
    """Draw a title, the pieces, a cross above each wrong cut, and below the ends the times."""
    boxes: list[str] = []
    texts = [
        _text(MARGIN, y - 18, title, 'font-size="13" font-weight="bold"'),
        _text(MARGIN + 190, y - 18, note, f'font-size="12" fill="{PALE}"'),
    ]
    free = 0.0  # where the latest time ends; a time without room is left out
    for piece, (fill, line, pen) in colours.items():
        x, length = MARGIN + CHARACTER * piece.start, CHARACTER * (piece.end - piece.start)
        place = f'x="{x - 1:.1f}" y="{y}" width="{length + 2:.1f}" height="24" rx="3"'
        boxes.append(f'<rect {place} fill="{fill}" stroke="{line}"/>')
        texts.append(_text(x, y + 17, piece.text, f'font-size="14" textLength="{length:.1f}"'))
        end, label = x + length, str(piece.at_ms)
        if end - 7 * len(label) > free:
            texts.append(_text(end, y + 38, label, f'font-size="11" text-anchor="end" fill="{pen}"'))
            free = end + 3
        if pen == RED[2]:
            texts.append(_text(end, y - 3, "✗", f'font-size="12" text-anchor="middle" fill="{pen}"'))
    return [*boxes, *texts]


def _text(x: float, y: float, text: str, attributes: str) -> str:
    return f'<text x="{x:.1f}" y="{y}" {attributes}>{escape(text)}</text>'


async def main(svg: Path | None = None) -> None:
    tokens, naive = await observe(CutAtEveryMark())
    _, ours = await observe(vp.SentenceChunker())
    print(as_text(tokens, naive, ours))
    if svg:
        svg.write_text(as_svg(tokens, naive, ours), encoding="utf-8")
    assert not any(chunk.is_cut_wrongly for chunk in ours)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Show what a chunker hands to the voice, and when.")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw it as well")
    options = parser.parse_args()
    run_on_virtual_time(lambda: main(options.svg))
