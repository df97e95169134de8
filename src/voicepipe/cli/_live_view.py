"""What `voicepipe talk` shows below the conversation while it goes on: who speaks, how loudly, and where the time goes.

Rule 1: it is drawn from what has happened already, at most ten times a second, and never by a thread: that would take
        time from what is being measured.
Rule 2: it never gets lower, and its bars have a scale of whole seconds, so that nothing jumps while somebody reads.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final

from rich.text import Text

import voicepipe as vp
from voicepipe.cli._levels import Levels
from voicepipe.cli._tables import printable
from voicepipe.cli._waterfall import BAR, LEAST_US, waterfall
from voicepipe.timeline import Timeline, base_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["REFRESH_S", "LiveView"]

REFRESH_S: Final = 0.1

METER: Final = 12
"""Levels that are shown of each side: the last 1.2 s."""

STEPS: Final = "▁▂▃▄▅▆▇█"
ASCII_STEPS: Final = " .:-=+*#"

LOWEST: Final = 16
"""In a terminal with fewer lines, the conversation needs them more than the waterfall."""

SECOND_US: Final = 1_000_000

NEXT: Final = {
    "turn_started": "request",
    "llm_request": "llm",
    "llm_first_token": "sentence",
    "tool_called": "tools",
    "filler_due": "tools",
    "tools_done": "request",
    "chunked": "sentence",
    "first_sentence": "tts",
    "tts_first_audio": "output",
}
"""What the time *from* a mark on is spent on, while the next mark is not there yet."""

WHOSE: Final = {"silence": "caller", "stt": "caller", "patience": "caller", "tools": "tool"}
"""Whose time a contribution is, where it is not the agent's."""


class LiveView:
    """The lines below a conversation.

    Args:
        styles: The colours of "caller", "agent" and "tool".

    Attributes:
        levels: Has to watch the session.
    """

    def __init__(self, styles: Mapping[str, str]) -> None:
        self.levels = Levels()
        self._styles = styles
        self._meters = {name: deque([0.0] * METER, METER) for name in ("caller", "agent")}
        self._words = ""  # of the caller, not final yet
        self._caller_speaks = False
        self._does = "listens"  # what the agent does, or says at the moment
        self._since_s: float | None = None  # when it began to think
        self._agent_speaks = False
        self._current: Callable[[], Timeline | None] = lambda: None
        self._spent_us: dict[str, int] = {}  # of the last turn that had a wait
        self._tallest = 0

    def follow(self, session: vp.Session) -> None:
        """Show where the time of the session's turns goes while it goes."""

        def current() -> Timeline | None:
            turn = session._floor.turn
            return turn.timeline if turn else None

        self._current = current

    def notice(self, at_s: float, event: vp.Event) -> None:
        """Take an event.

        Args:
            at_s: When it came, on the loop's clock.
            event: The event.
        """
        match event:
            case vp.SpeechStarted():
                self._caller_speaks = True
            case vp.SpeechEnded():
                self._caller_speaks = False
            case vp.EarlyTranscript(text=text):
                self._words, self._caller_speaks = f"{text} ...", True
            case vp.Transcript(text=text):  # the agent may wait for more before it takes this as a turn
                self._words, self._caller_speaks = text, False
            case vp.EchoIgnored() | vp.Backchannel():
                self._words, self._caller_speaks = "", False
            case vp.TurnStarted(user_text=text):
                self._words, self._caller_speaks = "", False
                self._agent("thinks" if text else "begins to speak", since_s=at_s)
            case vp.ToolStarted(name=name):
                self._agent(f"calls {name}", since_s=at_s)
            case vp.ToolFinished():
                self._agent("thinks", since_s=at_s)
            case vp.SentenceStarted(text=text):
                self._agent(text, speaks=True)
            case vp.Paused():
                self._agent("pauses: the caller makes a sound")
            case vp.Resumed():
                self._agent("goes on", speaks=True)
            case vp.TurnEnded(timeline=timeline):
                self._agent("listens")
                self._spent_us = timeline.contributions_us or self._spent_us
            case _:
                pass

    def _agent(self, does: str, *, speaks: bool = False, since_s: float | None = None) -> None:
        self._does, self._agent_speaks, self._since_s = does, speaks, since_s

    def look(self) -> None:
        """Take the levels since the last look, which is a tenth of a second ago."""
        for meter, level in zip(self._meters.values(), self.levels.take(), strict=True):
            meter.append(level)

    def lines(self, now_s: float, width: int, height: int, *, ascii_only: bool) -> list[Text]:
        """Return what to show, each line at most as wide as the terminal.

        Args:
            now_s: The time on the loop's clock.
            width: Of the terminal, in characters.
            height: Of the terminal, in lines.
            ascii_only: Whether the terminal shows no other characters.
        """
        does = self._does if self._since_s is None else f"{self._does}, {now_s - self._since_s:.1f} s"
        rows = [
            Text(("-" if ascii_only else "─") * width, "dim"),
            self._side("caller", self._words, speaks=self._caller_speaks, ascii_only=ascii_only),
            self._side("agent", does, speaks=self._agent_speaks, ascii_only=ascii_only),
        ]
        if height >= LOWEST:
            rows += self._waterfall(now_s, max(10, min(BAR, width - 26)), "#" if ascii_only else "█")
            self._tallest = max(self._tallest, len(rows))
            rows += [Text()] * (self._tallest - len(rows))
        for row in rows:
            row.truncate(width, overflow="crop" if ascii_only else "ellipsis")
        return rows

    def _waterfall(self, now_s: float, bar: int, block: str) -> list[Text]:
        spent_us = self._spent(now_s)
        scale_us = -(-sum(spent_us.values()) // SECOND_US) * SECOND_US
        rows: list[Text] = []
        for line in waterfall(spent_us, block, bar=bar, scale_us=scale_us, least_us=LEAST_US):
            row = Text(f"  {line}", "dim")
            row.highlight_regex(f"{re.escape(block)}+", self._styles[WHOSE.get(line.split()[0], "agent")])
            rows.append(row)
        return rows

    def _side(self, name: str, says: str, *, speaks: bool, ascii_only: bool) -> Text:
        style = self._styles[name]
        steps = ASCII_STEPS if ascii_only else STEPS
        meter = "".join(steps[min(len(steps) - 1, int(level * len(steps)))] for level in self._meters[name])
        marks = ("*", " ") if ascii_only else ("●", "○")
        return Text.assemble(
            (marks[0] if speaks else marks[1], style if speaks else "dim"),
            (f" {name:6} ", style),
            (meter, style if speaks else "dim"),
            (f"  {printable(says)}", "" if speaks and name == "agent" else "dim"),
        )

    def _spent(self, now_s: float) -> dict[str, int]:
        """Return where the time of the present wait goes, or where that of the last one went."""
        timeline = self._current()
        if timeline is None or "speech_ended" not in timeline:
            return self._spent_us
        return timeline.contributions_us if timeline.waited_us is not None else _so_far(timeline, now_s)


def _so_far(timeline: Timeline, now_s: float) -> dict[str, int]:
    """Return the contributions to a wait that goes on: those of a copy whose first frame comes now."""
    so_far = Timeline.from_marks(timeline.marks)
    so_far.mark("first_frame", now_s)
    spent = so_far.contributions_us
    lasts_us = spent.pop("output", 0)
    # The marks of a draft may be older than the end of the caller's turn, which is over when the turn has begun.
    replying = [base for name in timeline.marks if (base := base_of(name)) in NEXT]
    goes_on = NEXT[replying[-1]] if replying else "turn"
    return {**spent, goes_on: spent.get(goes_on, 0) + lasts_us}
