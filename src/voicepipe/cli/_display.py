"""The demo on the terminal: the conversation as it comes, and where the time went.

Rule 1: on a terminal the caller's early words stand in the last line until they are sure; anywhere else there are only
        lines that stay.
"""

from __future__ import annotations

from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Final, NoReturn

from rich.console import Console
from rich.live import Live
from rich.text import Text

import voicepipe as vp

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

__all__ = ["Display"]

BAR: Final = 40
"""Characters for the whole wait of a turn."""

STYLES: Final = {"caller": "cyan", "agent": "green", "tool": "yellow", "cut": "magenta", "failed": "bold red"}


class Display:
    """Shows one conversation."""

    def __init__(self) -> None:
        self._console = _Console(highlight=False, markup=False, soft_wrap=True)
        # Refreshed by hand: a thread that redraws would take time from what is being measured.
        self._live = Live(Text(), console=self._console, auto_refresh=False, transient=True)

    @contextmanager
    def open(self, title: str, notes: Sequence[str]) -> Generator[None]:
        """Say what is to be known first, and keep the last line for words that are not sure yet."""
        self._print(title, "bold")
        for note in notes:
            self._print(f"  {note}")
        self._print()
        if not self._console.is_terminal:
            yield
            return
        with self._live:
            yield

    def show(self, at_s: float, event: vp.Event) -> None:
        """Show an event, if a reader of the conversation wants to know of it."""
        match event:
            case vp.EarlyTranscript(text=text):
                self._unsure(f"{at_s:6.2f}  caller  {text} ...")
            case vp.TurnStarted(user_text=text):
                self._unsure("")
                self._line(at_s, "caller", text)
            case vp.SentenceStarted(text=text):
                self._line(at_s, "agent", text)
            case vp.ToolFinished(name=name, status=status):
                self._line(at_s, "tool", f"{name}: {status}")
            case vp.TurnEnded():
                self._end_of_turn(at_s, event)
            case vp.AudioDropped(seconds=seconds):
                self._line(at_s, "failed", f"the recogniser lags: {seconds:.1f} s of audio dropped")
            case _:
                pass

    def _end_of_turn(self, at_s: float, turn: vp.TurnEnded) -> None:
        if isinstance(turn, vp.TurnInterrupted):
            self._line(at_s, "cut", f"the caller cuts in; heard so far: {turn.heard!r}")
        elif isinstance(turn, vp.TurnFailed):
            self._line(at_s, "failed", str(turn.error))
        elif isinstance(turn, vp.TurnEmpty):
            self._line(at_s, "failed", "the model had nothing to say")
        for line in _waterfall(turn.timeline.contributions_us, "#" if self._console.options.ascii_only else "█"):
            self._print(f"{'':16}{line}", "dim")
        self._print()

    def summarise(self, turns: Sequence[vp.TurnEnded], problems: Sequence[str], files: Sequence[Path]) -> None:
        """Show all turns together, what went wrong, and what was written."""
        answered = [turn for turn in turns if turn.timeline.waited_us is not None]
        if answered:
            self._print("End of speech to first audio, and what it was spent on, in milliseconds:")
            for line in _table(answered):
                self._print(f"  {line}")
            waits = [turn.timeline.waited_us or 0 for turn in answered]
            self._print(f"  median of {len(waits)} turns: {median(waits) / 1e3:.1f} ms", "bold")
        for problem in problems:
            self._print(f"not as scripted: {problem}", STYLES["failed"])
        self._print("wrote " + ", ".join(map(str, files)))

    def _unsure(self, text: str) -> None:
        """Put a text into the last line, where it stays until the next one."""
        if self._console.is_terminal:
            self._live.update(Text(text, f"dim {STYLES['caller']}"), refresh=True)

    def _line(self, at_s: float, who: str, text: str) -> None:
        self._print(f"{at_s:6.2f}  {who:6}  {text}", STYLES[who])

    def _print(self, text: str = "", style: str = "") -> None:
        self._console.print(Text(text, style))


class _Console(Console):
    """Takes a reader that has gone for an error like any other; rich would raise SystemExit among the tasks."""

    def on_broken_pipe(self) -> NoReturn:
        """Print nothing more, and end the conversation."""
        self.quiet = True
        raise BrokenPipeError


def _waterfall(contributions_us: dict[str, int], block: str) -> list[str]:
    """Return a line for each contribution, each bar beginning where the one before it ended."""
    total_us, before_us = sum(contributions_us.values()), 0
    lines: list[str] = []
    for name, us in contributions_us.items():
        begin, end = (round(BAR * at / total_us) for at in (before_us, before_us + us))
        lines.append(f"{name:10}{'':{begin}}{block * (end - begin) or '|':{BAR + 1 - begin}}{us / 1e3:7.1f} ms")
        before_us += us
    return [*lines, f"{'waited':10}{'':{BAR + 1}}{total_us / 1e3:7.1f} ms"] if lines else []


def _table(turns: Sequence[vp.TurnEnded]) -> list[str]:
    """Return a line for each turn, under the names of all contributions that occur."""
    names = list(dict.fromkeys(name for turn in turns for name in turn.timeline.contributions_us))
    lines = ["turn" + "".join(f"{name:>10}" for name in [*names, "waited"])]
    for turn in turns:
        spent = turn.timeline.contributions_us
        cells = [*(spent.get(name, 0) for name in names), sum(spent.values())]
        lines.append(f"{turn.turn_id:4}" + "".join(f"{us / 1e3:10.1f}" for us in cells))
    return lines
