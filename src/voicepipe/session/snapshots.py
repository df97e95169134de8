"""What a session puts into its snapshots, read in one step of the loop.

Rule 1: reading changes nothing, and a part that cannot give its state loses it and nothing else.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio

from voicepipe.conversation.turn_state import TurnState
from voicepipe.core.failures import is_fault
from voicepipe.core.log import Personal, log
from voicepipe.history import AssistantMessage
from voicepipe.session.fingerprint import fingerprint, held_parts
from voicepipe.session.snapshot import Asked, LeftTurn, Snapshot, Waiting, messages_json
from voicepipe.tools.toolbox import Toolset

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.context import SessionContext
    from voicepipe.history import Message
    from voicepipe.session.floor import Floor
    from voicepipe.session.wiring import Row
    from voicepipe.turntaking.waits import CallClock

__all__ = ["Snapshots"]


class Snapshots:
    """The snapshots of one session.

    Args:
        session: The session.
        row: Its parts.
        floor: Its turns.
        clock: How long its caller has been silent.

    Attributes:
        lasted_s: For how long the call had lasted when this session began.
        left: What this session is resumed from, until it goes on; None then.
    """

    def __init__(self, session: SessionContext[Any], row: Row, floor: Floor, clock: CallClock) -> None:
        self.lasted_s = 0.0
        self.left: bytes | None = None
        self._session = session
        self._row = row
        self._floor = floor
        self._clock = clock
        self._began_s = anyio.current_time()
        self._agent: dict[str, str] | None = None
        self._lost: set[str] = set()  # parts of which it was logged that they gave no state

    def take(self) -> bytes:
        """Return a snapshot of the session as it is now."""
        return self._read().to_bytes() if self.left is None else self.left

    def _read(self) -> Snapshot:
        session, floor, router = self._session, self._floor, self._row.router
        turn = floor.turn if floor.turn is not None and floor.turn.state is not TurnState.DRAFT else None
        own = {id(message) for message in turn.own_messages} if turn is not None else set[int]()
        settled = [message for message in session.history if id(message) not in own]
        given = Toolset(router._given)
        states, lost = self._states()
        self._agent = self._agent or fingerprint(self._row)
        return Snapshot(
            id=session.id,
            facts=dict(session.facts),
            personal=[name for name, fact in session.facts.items() if isinstance(fact, Personal)],
            agent=self._agent,
            lasted_s=round(self.lasted_s + anyio.current_time() - self._began_s, 3),
            idle_step=self._clock.step,
            turns=floor.turns_so_far - (floor.turn is not None and turn is None),
            history=messages_json(settled),
            turn=self._left(turn) if turn is not None else None,
            begun=self._begun(settled, turn),
            late=[call.call_id for call in floor.late],
            asked=[
                Asked(call_id=question.call_id, ended_well=question.ended_well())
                for question in router._calls.confirmations
            ],
            waiting=[
                Waiting(text=one.text, instructions=one.instructions, protected=one.is_protected)
                for one in floor.waiting
            ],
            is_closing=floor.is_closing,
            system=router.system,
            added=[name for name in router.tools if name not in given],
            removed=[name for name in given if name not in router.tools],
            parts=states,
            lost_state=lost,
        )

    def _left(self, turn: Turn) -> LeftTurn:
        saying = self._floor.saying
        text = saying.text if saying is not None else None
        return LeftTurn(
            kind="reply" if turn.transcript is not None else "note" if text is None else "say",
            words=turn.user_text or text or self._floor.instructions,
            messages=messages_json(turn.messages_so_far),
            is_written=turn.is_written,
            protected=turn.is_protected,
        )

    def _begun(self, settled: Iterable[Message], turn: Turn | None) -> list[str]:
        """Return the ids of the writing calls that have begun: those without a result, and all of this turn."""
        begun = self._row.router._calls.begun
        own = turn.own_messages if turn is not None else ()
        open_ones = [call for call in _calls(settled) if call.status == "pending"]
        return [call.call_id for call in (*open_ones, *_calls(own)) if call.call_id in begun]

    def _states(self) -> tuple[dict[str, Any], list[str]]:
        """Return the state of each part that has one, and the names of those that cannot give theirs."""
        states: dict[str, Any] = {}
        lost: list[str] = []
        for name, part in held_parts(self._row):
            try:
                if (state := part.state()) is not None:
                    states[name] = json.loads(json.dumps(state))
            except BaseException as error:
                if not is_fault(error):
                    raise
                lost.append(name)
                if name not in self._lost:
                    self._lost.add(name)
                    log.warning("the state of %s is not kept: %s", name, type(error).__name__, exc_info=error)
        return states, lost


def _calls(messages: Iterable[Message]) -> list[Any]:
    return [call for message in messages if isinstance(message, AssistantMessage) for call in message.calls]
