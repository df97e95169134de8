"""Shows a call on the terminal: the conversation as it happens, and where the time went.

Rule 1: on a terminal, what is not final stands below the conversation: a view of the call, or where nothing keeps it
        up to date the caller's early words. Elsewhere, and where the caller types into the last line, only final lines
        are printed.
Rule 2: words come from callers, models and services, so nothing in them may control the terminal.
"""

from __future__ import annotations

from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Final, NoReturn

import anyio
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

import voicepipe as vp
from voicepipe.cli._live_view import REFRESH_S, LiveView
from voicepipe.cli._tables import printable
from voicepipe.cli._waterfall import summary, table, waterfall

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

__all__ = ["Display"]

STYLES: Final = {
    "caller": "cyan",
    "agent": "green",
    "tool": "yellow",
    "cut": "magenta",
    "failed": "bold red",
    "echo": "dim",
}


class Display:
    """Shows one conversation.

    Args:
        is_typed: Whether the caller types on this terminal, so that their words are already there.
        is_live: Whether `keep` is going to run, so that the view of the call can be shown.
        console: Where to show it; the standard output by default.
    """

    def __init__(self, *, is_typed: bool = False, is_live: bool = False, console: Console | None = None) -> None:
        self._is_typed = is_typed
        self._console = console or _Console(highlight=False, markup=False, soft_wrap=True)
        # Refreshed explicitly: a thread that redraws would take time from what is being measured.
        self._live = Live(Text(), console=self._console, auto_refresh=False, transient=True)
        self._view = LiveView(STYLES) if is_live and self._can_redraw else None
        self._shown: list[Text] = []

    @property
    def observers(self) -> list[vp.Observer]:
        """What has to watch the session."""
        return [] if self._view is None else [self._view.levels]

    @contextmanager
    def open(self, title: str, notes: Sequence[str]) -> Generator[None]:
        """Print title and notes, and keep the last lines for what is not final yet."""
        self._print(title, "bold")
        for note in notes:
            self._print(f"  {note}")
        self._print()
        if not self._can_redraw:
            yield
            return
        with self._live:
            yield

    async def keep(self, session: vp.Session) -> None:
        """Keep the view of a session up to date until cancelled; returns at once where none is shown."""
        if self._view is None:
            return
        self._view.follow(session)
        while True:
            self._view.look()
            size = self._console.size
            lines = self._view.lines(
                anyio.current_time(), size.width, size.height, ascii_only=self._console.options.ascii_only
            )
            if lines != self._shown:
                self._shown = lines
                self._live.update(Group(*lines), refresh=True)
            await anyio.sleep(REFRESH_S)

    def show(self, at_s: float, event: vp.Event) -> None:
        """Show an event, if it matters to a reader of the conversation."""
        if self._view is not None:
            self._view.notice(anyio.current_time(), event)
        match event:
            case vp.EarlyTranscript(text=text):
                self._show_early(f"{at_s:6.2f}  caller  {text} ...")
            case vp.TurnStarted(user_text=text):
                self._show_early("")
                if text and not self._is_typed:
                    self._line(at_s, "caller", text)
            case vp.EchoIgnored(text=text):
                self._show_early("")
                self._line(at_s, "echo", f"the agent's own voice, ignored: {text}")
            case vp.SentenceStarted(text=text):
                self._line(at_s, "agent", text)
            case vp.ToolFinished(name=name, status=status):
                self._line(at_s, "tool", f"{name}: {status}")
            case vp.TurnEnded():
                self._end_of_turn(at_s, event)
            case vp.AudioDropped(seconds=seconds):
                self._line(at_s, "failed", f"the recogniser lags: {seconds:.1f} s of audio dropped")
            case vp.AudioStopped():
                self._line(at_s, "failed", "no audio comes from the caller's side")
            case vp.DetectorMissing(extra=extra):
                self._line(at_s, "failed", f"no speech detector; run: pip install 'voicepipe[{extra}]'")
            case vp.AudioResumed(after_s=after_s):
                self._line(at_s, "caller", f"audio comes again, after {after_s:.1f} s")
            case vp.MicrophoneLost(error=error):
                self._line(at_s, "failed", f"{error}; waiting for it to come back")
            case vp.RecogniserBehind(late_s=late_s):
                self._line(at_s, "failed", f"the recogniser is slow: the last words came after {late_s:.1f} s")
            case vp.RecogniserLost(error=error):
                self._line(at_s, "failed", f"the recogniser is reconnecting: {error}")
            case vp.ToolServerLost(server=server, error=error):
                self._line(at_s, "failed", f"the tool server {server} is reconnecting: {error}")
            case vp.ToolsChanged(server=server, changes=changes):
                self._line(at_s, "agent", f"(the tool server {server}: {changes})")
            case vp.AgentLost(error=error):
                self._line(at_s, "failed", f"the hosted agent is reconnecting: {error}")
            case vp.RequestRetried(error=error, model=model):
                where = f"sent to {model}" if model else "retried"
                self._line(at_s, "failed", f"the request to the model is {where}: {error}")
            case vp.HedgeStarted(model=model):
                self._line(at_s, "failed", f"the model is late; {model} is asked as well")
            case vp.ModelAnswered(model=model):
                self._line(at_s, "agent", f"({model} answers)")
            case _:
                self._show_floor(at_s, event)

    def _show_floor(self, at_s: float, event: vp.Event) -> None:
        """Show who waits for whom."""
        match event:
            case vp.Backchannel(text=text):
                self._show_early("")
                self._line(at_s, "caller", f"only listens: {text}")
            case vp.Digit(key=key):
                self._line(at_s, "caller", f"presses {key}")
            case vp.Withheld():
                self._line(at_s, "agent", "waits: the caller makes a sound")
            case vp.Released():
                self._line(at_s, "agent", "speaks now: there was no word")
            case vp.Paused(heard_s=heard_s):
                self._line(at_s, "agent", f"pauses after {heard_s:.1f} s of the reply")
            case vp.Resumed(from_s=from_s):
                self._line(at_s, "agent", f"goes on from {from_s:.1f} s of the reply")
            case vp.Idle(silent_s=silent_s, is_last=is_last):
                self._line(at_s, "caller", f"silent for {silent_s:g} s{'; the call ends' if is_last else ''}")
            case vp.Monologue(speech_s=speech_s):
                self._line(at_s, "caller", f"has spoken for {speech_s:.0f} s")
            case vp.MonologueCut(speech_s=speech_s):
                self._line(at_s, "cut", f"the caller has spoken for {speech_s:.0f} s; these words are answered")
            case vp.CallLimit(left_s=left_s):
                self._line(at_s, "cut", f"the call ends in {left_s:.0f} s" if left_s else "the call is at its limit")
            case _:
                pass

    def _end_of_turn(self, at_s: float, turn: vp.TurnEnded) -> None:
        if isinstance(turn, vp.TurnInterrupted) and turn.joined:
            self._line(at_s, "cut", "the caller goes on; all of it is answered together")
        elif isinstance(turn, vp.TurnInterrupted):
            self._line(at_s, "cut", f"the caller interrupts; heard so far: {turn.heard!r}")
        elif isinstance(turn, vp.TurnFailed):
            self._line(at_s, "failed", str(turn.error))
        elif isinstance(turn, vp.TurnEmpty):
            self._line(at_s, "failed", "the model had nothing to say")
        spent_us = turn.timeline.contributions_us
        if self._view is not None:
            lines = [line] if (line := summary(spent_us)) else []  # the bars are below
        else:
            lines = waterfall(spent_us, "#" if self._console.options.ascii_only else "█")
        for line in lines:
            self._print(f"{'':16}{line}", "dim")
        self._print()

    def summarise(self, turns: Sequence[vp.TurnEnded], problems: Sequence[str], files: Sequence[Path]) -> None:
        """Show all turns together, what went wrong, and which files were written."""
        answered = [turn for turn in turns if turn.timeline.waited_us is not None]
        if answered:
            self._print("End of speech to first audio, and where the time went, in milliseconds:")
            for line in table(answered):
                self._print(f"  {line}")
            waits = [turn.timeline.waited_us or 0 for turn in answered]
            self._print(f"  median of {len(waits)} turns: {median(waits) / 1e3:.1f} ms", "bold")
        for problem in problems:
            self._print(f"not as scripted: {problem}", STYLES["failed"])
        self._print("wrote " + ", ".join(map(str, files)))

    def _show_early(self, text: str) -> None:
        """Put a text into the last line, where it stays until the next one. The view has a place of its own for it."""
        if self._can_redraw and self._view is None:
            self._live.update(Text(printable(text), f"dim {STYLES['caller']}"), refresh=True)

    @property
    def _can_redraw(self) -> bool:
        return self._console.is_terminal and not self._console.is_dumb_terminal and not self._is_typed

    def _line(self, at_s: float, who: str, text: str) -> None:
        self._print(f"{at_s:6.2f}  {who:6}  {text}", STYLES[who])

    def _print(self, text: str = "", style: str = "") -> None:
        self._console.print(Text(printable(text), style))


class _Console(Console):
    """Raises an ordinary error when stdout's reader is gone; rich would raise SystemExit among the tasks."""

    def on_broken_pipe(self) -> NoReturn:
        """Print nothing more, and end the conversation."""
        self.quiet = True
        raise BrokenPipeError
