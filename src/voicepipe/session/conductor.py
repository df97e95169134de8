"""Carries out what `TurnCore` decides, and tells it the time that it asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import anyio

from voicepipe.floor_events import Backchannel, CallLimit, Idle, Monologue, MonologueCut
from voicepipe.flow import Transcript
from voicepipe.hearing.stt import recogniser_of
from voicepipe.listening_events import EchoIgnored
from voicepipe.observed import Heard
from voicepipe.session.expecting import Expecting
from voicepipe.session.floor_facts import FloorFacts
from voicepipe.session.observing import by_the_rules
from voicepipe.turntaking.agent_yielded import AgentYielded
from voicepipe.turntaking.core import Quiet, Tick, TurnCore
from voicepipe.turntaking.decisions import (
    Commit,
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
from voicepipe.turntaking.following import FollowingCore
from voicepipe.turntaking.waits import CallClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.core.context import SessionContext
    from voicepipe.flow import Hearing
    from voicepipe.session.floor import Floor
    from voicepipe.session.wiring import Row
    from voicepipe.turntaking.decisions import Decision
    from voicepipe.turntaking.echo import EchoGuard
    from voicepipe.turntaking.following import DecidingCore

__all__ = ["Conductor"]

CLOSED_TO: Final = (Draft, Start, Commit, Interrupt, Withhold, Pause, Idle, CallLimit)
"""What is not carried out any more once the last words are being spoken: they are heard to their end."""

ROUNDING_S: Final = 1e-3
"""How much too early a timer may fire; the clock of an event loop is coarse."""


class Conductor:
    """The turn-taking of one session.

    Args:
        session: The session.
        floor: Its turns.
        row: The recogniser, and the settings of turn-taking.
        echo: Remembers what the agent has just said; None where the microphone does not pick it up.
        is_working: Whether a tool is at work outside of the turns.

    Attributes:
        expecting: What is expected of the caller.
        clock: How long the caller has been silent, and the call has lasted.
    """

    def __init__(
        self,
        session: SessionContext[Any],
        floor: Floor,
        row: Row,
        echo: EchoGuard | None,
        is_working: Callable[[], bool],
    ) -> None:
        rules, recogniser = row.turns, recogniser_of(row.hearing_stages)
        self.expecting = Expecting(floor, recogniser, rules)
        self._session = session
        self._floor = floor
        self._max_call_text = rules.max_call_text
        facts = FloorFacts(floor, self.expecting, is_working)
        self._agent = row.agent
        core = TurnCore if row.agent is None else FollowingCore
        self.clock = CallClock(rules, anyio.current_time())
        made = core(rules, facts, echo, is_closed=recogniser.is_closed, clock=self.clock)
        self._core = cast("DecidingCore", made)
        self._alarm = anyio.CancelScope()  # its deadline is the time that the core asks for

    @property
    def speaks_until_s(self) -> float:
        """Until when the caller is taken to be speaking."""
        return self._core.speaks_until_s

    async def keep_time(self) -> None:
        """Tell the core when the time has come that it asked for; never returns."""
        if self._agent is not None:
            self._agent._report_to(self.hear)
        while True:
            with anyio.CancelScope(deadline=self._core.wake_at) as self._alarm:
                await anyio.sleep_forever()
            # A timer may fire a rounding error before its time. The time may also have been put off since it fired.
            now = anyio.current_time()
            self._handle(Tick(), max(now, min(self._alarm.deadline, now + ROUNDING_S)))

    def hear(self, event: Hearing | Quiet | AgentYielded, *, is_typed: bool = False) -> None:
        """Have the core decide about an event, report the event, and carry the decisions out; nothing after the end."""
        if not self._session.ended.is_set():
            now, watch = anyio.current_time(), self._session.watch
            if watch is not None and not isinstance(event, (Quiet, AgentYielded)):
                watch.exchange(Heard(at_s=now, hearing=event, is_typed=is_typed))
            self._handle(event, now, is_typed=is_typed)

    def _handle(self, event: Hearing | Tick | Quiet | AgentYielded, now: float, *, is_typed: bool = False) -> None:
        self.expecting.look()
        made = self._core.handle(event, now, is_typed=is_typed)
        if isinstance(event, Transcript) and Ignore() in made:
            self._session.emit(EchoIgnored(text=event.text))
        elif not isinstance(event, (Tick, Quiet, AgentYielded)) and Ignore() not in made:
            self._session.emit(event)
        for decision in made:
            if not self._session.ended.is_set():  # an interruption may have ended the session
                self._carry_out(decision)
        if not isinstance(event, Quiet):
            self._floor.go_on()  # a draft may have been dropped, and nothing started in its place
        self._alarm.deadline = self._core.wake_at

    def _carry_out(self, decision: Decision) -> None:
        floor = self._floor
        if floor.is_closing and isinstance(decision, CLOSED_TO):
            return
        match decision:
            case Draft(transcript):
                floor.draft(transcript)
            case ForceEndpoint():
                self.expecting.force_endpoint()
            case Start(transcript, heard_s):
                floor.start(transcript, heard_s)
                self.expecting.answered()
            case Commit(transcript, heard_s):
                floor.commit(transcript, heard_s)
                self.expecting.answered()
            case RollBack():
                floor.roll_back()
            case Withhold():
                floor.withhold()
            case Release():
                floor.release()
            case Pause():
                floor.pause()
            case Resume():
                floor.resume()
            case Interrupt(joins):
                floor.interrupt(joins=joins, by="caller")
                if joins:
                    self.expecting.taken_back()
            case Backchannel() | Monologue() | MonologueCut():
                self._session.emit(decision)
            case Idle(text=text, is_last=is_last):
                self._session.emit(decision)
                self._say(text, ends_call=is_last)
            case CallLimit(left_s=left_s):
                self._session.emit(decision)
                if not left_s:
                    self._say(self._max_call_text, ends_call=True)
            case Ignore():
                pass

    def _say(self, text: str, *, ends_call: bool) -> None:
        with by_the_rules():
            self._session.say(text)
            if ends_call:
                self._session.end(after_reply=True)
