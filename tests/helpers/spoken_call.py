"""A call for the pure rules of turn-taking: a script of what the caller does, and an agent reduced to its times."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from voicepipe.floor_events import Backchannel, CallLimit, Idle, Monologue, MonologueCut
from voicepipe.turntaking.core import Quiet, Tick, TurnCore
from voicepipe.turntaking.decisions import (
    Commit,
    Decision,
    Draft,
    ForceEndpoint,
    Ignore,
    Interrupt,
    Pause,
    Release,
    Resume,
    RollBack,
    Start,
    Withhold,
)
from voicepipe.turntaking.rules import TurnRules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.flow import Digit, Hearing
    from voicepipe.turntaking.echo import EchoGuard
    from voicepipe.turntaking.expectation import Expectation, Progress
    from voicepipe.turntaking.floor_view import Phase

WORDS_PER_S = 2.5


@dataclass
class Agent:
    """Carries out decisions as a session does: thinks for a while, then speaks for a while.

    Attributes:
        think_s: From the start of a reply to its first sample.
        speak_s: How long a reply is.
        question: Whether its replies end with a question.
        protected: Whether its replies must be heard whole.
        expected: What it expects of the caller's words, until it replies.
    """

    think_s: float = 0.5
    speak_s: float = 9.0
    question: bool = False
    protected: bool = False
    is_working: bool = False
    expected: Expectation | None = None
    answered: list[str] = field(default_factory=list[str])
    drafts: int = 0
    reply_id: int = 0
    now: float = 0.0
    has_draft: bool = False
    _first_s: float = math.inf  # when the first sample is due
    _played_s: float = 0.0
    _since_s: float = math.inf  # from when it is played on; inf while it is held up
    _is_live: bool = False
    _is_held: bool = False
    _is_paused: bool = False

    @property
    def phase(self) -> Phase:
        if not self._is_live:
            return "quiet"
        return "speaking" if self._is_paused or self.heard_s > 0 or self._since_s <= self.now else "thinking"

    @property
    def heard_s(self) -> float:
        return self._played_s + (max(0.0, self.now - self._since_s) if self._since_s < math.inf else 0.0)

    @property
    def heard_words(self) -> int:
        return int(self.heard_s * WORDS_PER_S)

    @property
    def left_s(self) -> float:
        return max(0.0, self.speak_s - self.heard_s) if self._is_live else 0.0

    @property
    def asks(self) -> bool:
        return self.question

    @property
    def is_protected(self) -> bool:
        return self._is_live and self.protected

    @property
    def is_joinable(self) -> bool:
        return self._is_live and not self.is_working

    @property
    def ends_s(self) -> float:
        """When the reply has been heard whole, if nothing happens."""
        return self._since_s + self.speak_s - self._played_s if self._is_live else math.inf

    def end(self) -> None:
        self._is_live = self._is_paused = self._is_held = False
        self._since_s, self._played_s = math.inf, 0.0

    def progress(self, text: str) -> Progress:
        return self.expected.progress(text, None) if self.expected else "none"

    def carry_out(self, decision: Decision) -> None:
        match decision:
            case Draft():
                assert not self._is_live, "a draft was started while a reply lives"
                assert not self.has_draft, "two drafts live"
                self.has_draft, self.drafts, self._first_s = True, self.drafts + 1, self.now + self.think_s
            case RollBack():
                assert self.has_draft, "something else than a draft was rolled back"
                self.has_draft = False
            case Start(transcript=transcript) | Commit(transcript=transcript):
                assert not self._is_live, "a reply was started while another one lives"
                assert self.has_draft == isinstance(decision, Commit), "only a draft is committed"
                first_s = self._first_s if self.has_draft else self.now + self.think_s
                self._is_live, self.has_draft, self._played_s = True, False, 0.0
                self._since_s = self._first_s = max(first_s, self.now)
                self.reply_id += 1
                self.expected = None
                self.answered.append(transcript.text)
            case Withhold():
                assert self.phase == "thinking", "a reply that is spoken was withheld"
                self._is_held, self._since_s = True, math.inf
            case Release():
                assert self._is_held, "nothing was withheld"
                self._is_held, self._since_s = False, max(self._first_s, self.now)
            case Pause():
                assert self.phase == "speaking", "nothing was there to pause"
                assert not self._is_paused, "a reply was paused twice"
                self._played_s, self._since_s, self._is_paused = self.heard_s, math.inf, True
            case Resume():
                assert self._is_paused, "nothing was paused"
                self._since_s, self._is_paused = self.now, False
            case Interrupt():
                assert self._is_live, "nothing was there to interrupt"
                self.end()
            case Backchannel() | Ignore() | Idle() | Monologue() | MonologueCut() | CallLimit() | ForceEndpoint():
                pass


class SpokenCall:
    """Plays a script of the caller's events to the rules and an agent, exactly in time.

    Attributes:
        decisions: What was decided, with the times.
        quiet_at: When the agent had said everything.
    """

    def __init__(
        self,
        rules: TurnRules | None = None,
        agent: Agent | None = None,
        *,
        echo: EchoGuard | None = None,
        is_closed: bool = False,
    ) -> None:
        self.agent = agent or Agent()
        self.core = TurnCore(rules or TurnRules(), self.agent, echo, is_closed=is_closed)
        self.decisions: list[tuple[float, Decision]] = []
        self.quiet_at: list[float] = []
        self._handle(Quiet())

    def plays(self, script: Sequence[tuple[float, Hearing | Digit]], *, until_s: float = 30.0) -> SpokenCall:
        """Play the script, and what follows from it until a time."""
        for at_s, event in [*script, (until_s, None)]:
            self._run_until(at_s)
            if event is not None:
                self._handle(event)
        return self

    def _run_until(self, until_s: float) -> None:
        for _ in range(10_000):
            at_s = min(self.core.wake_at, self.agent.ends_s)
            if at_s >= until_s:
                self.agent.now = until_s
                return
            self.agent.now = max(self.agent.now, at_s)
            if self.agent.ends_s <= self.agent.now:
                self.agent.end()
                self.quiet_at.append(round(self.agent.now, 6))
                self._handle(Quiet())
            else:
                self._handle(Tick())
        raise AssertionError("time does not go on")

    def _handle(self, event: Hearing | Digit | Tick | Quiet) -> None:
        for decision in self.core.handle(event, self.agent.now):
            self.agent.carry_out(decision)
            self.decisions.append((round(self.agent.now, 6), decision))
        if not isinstance(event, Quiet) and self.agent.phase == "quiet":
            self._handle(Quiet())

    def times(self, *kinds: type) -> list[float]:
        """Return when decisions of these kinds were made."""
        return [at_s for at_s, decision in self.decisions if isinstance(decision, kinds)]
