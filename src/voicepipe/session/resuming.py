"""How a session goes on from a snapshot: what it begins with, and what it does first.

Rule 1: what differs or is missing is reported in `CallResumed`, and never keeps a call from going on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from voicepipe.call_events import CallResumed
from voicepipe.core.failures import is_fault
from voicepipe.core.log import log
from voicepipe.flow import Transcript
from voicepipe.history import AssistantMessage
from voicepipe.model.running_call import values_of
from voicepipe.session.fingerprint import differences, fingerprint, held_parts
from voicepipe.session.left_turn import plan
from voicepipe.session.saying import Saying
from voicepipe.session.snapshot import read
from voicepipe.tools.confirmation import Question

if TYPE_CHECKING:
    from voicepipe.history import Message, ToolCall
    from voicepipe.session.session import Session
    from voicepipe.session.wiring import Row

__all__ = ["Resuming"]


class Resuming:
    """A call that goes on.

    Args:
        data: What `Session.snapshot` returned.
        row: The parts of the session that goes on; they are given their state.
        is_stale: Whether more may have happened than the snapshot says.

    Attributes:
        id: The session's id.
        facts: Its facts.
        history: The messages that it begins with.

    Raises:
        SnapshotError: The data is no snapshot, or of another version.
    """

    def __init__(self, data: bytes, row: Row, *, is_stale: bool) -> None:
        self._snapshot = snapshot = read(data)
        tools = row.router.tools
        writes = any(tool.effect == "write" for tool in tools.values())
        self._plan = plan(snapshot, is_stale=is_stale, writes=writes, language=row.turns.language)
        self.id = snapshot.id
        self.facts = snapshot.known
        self.history: tuple[Message, ...] = self._plan.history
        tools.remove(*(name for name in snapshot.removed if name in tools))
        row.router.system = snapshot.system
        self._event = CallResumed(
            turn=self._plan.turn,
            differs=differences(snapshot.agent, fingerprint(row)),
            unknown_calls=tuple(call.call_id for _, call in _calls(self.history) if call.status == "unknown"),
            missing_tools=tuple(name for name in snapshot.added if name not in tools),
            lost_state=(*snapshot.lost_state, *self._restore(row)),
        )

    def _restore(self, row: Row) -> list[str]:
        """Give the parts their state, and return the names of those that did not take it."""
        states = dict(self._snapshot.parts)
        lost: list[str] = []
        for name, part in held_parts(row):
            if name not in states:
                continue
            try:
                part.restore(states.pop(name))
            except BaseException as error:
                if not is_fault(error):
                    raise
                lost.append(name)
                log.warning("%s did not take its state: %s", name, type(error).__name__, exc_info=error)
        return [*lost, *states]

    def go_on(self, session: Session[Any]) -> None:
        """Report that the call is resumed, and do first what was left undone."""
        snapshot, floor, calls = self._snapshot, session._floor, session._row.router._calls
        floor.turns_so_far = snapshot.turns
        floor.is_closing = snapshot.is_closing
        session._snapshots.lasted_s, session._snapshots.left = snapshot.lasted_s, None
        session._conductor.clock.resume(snapshot.idle_step, snapshot.lasted_s)
        held = {call.call_id: (message, call) for message, call in _calls(self.history)}
        for asked in snapshot.asked:
            if asked.call_id in held:
                self._ask(session, *held[asked.call_id], ended_well=asked.ended_well)
        for message, call in self._plan.unknown:
            self._ask(session, message, call)
        floor.late.extend(held[call_id][1] for call_id in snapshot.late if call_id in held)
        session.emit(self._event)
        self._do_first(session)
        if self._plan.is_doubtful and floor.turn is not None:
            calls.doubted_turn = floor.turn.turn_id
        if self._plan.then:
            floor.say(self._saying(session, None, self._plan.then))
        for one in snapshot.waiting:
            floor.say(self._saying(session, one.text, one.instructions, is_protected=one.protected))
        floor.go_on()

    def _do_first(self, session: Session[Any]) -> None:
        done, turn, floor = self._plan, self._snapshot.turn, session._floor
        if done.turn == "none":
            return
        if done.turn == "again" and turn is not None and turn.kind == "reply":
            now = anyio.current_time()
            floor.start(Transcript(done.text, now, now), now)
        elif done.turn == "rest":
            floor.say(self._saying(session, done.text, is_protected=turn is not None and turn.protected))
        else:
            floor.say(self._saying(session, None, done.text))

    def _saying(
        self, session: Session[Any], text: str | None, instructions: str | None = None, *, is_protected: bool = False
    ) -> Saying:
        return Saying(session, session._home, text, instructions=instructions, is_protected=is_protected)

    def _ask(
        self, session: Session[Any], message: AssistantMessage, call: ToolCall, *, ended_well: bool = True
    ) -> None:
        """Count the caller as asked about a call, if the agent still has its tool."""
        tool = session.tools.get(call.name)
        values = values_of(tool, call) if tool is not None else None
        if tool is not None and values is not None:
            question = Question(tool, values, call.call_id, message, lambda: ended_well)
            session._row.router._calls.confirmations.ask(question)


def _calls(messages: tuple[Message, ...]) -> list[tuple[AssistantMessage, ToolCall]]:
    return [(message, call) for message in messages if isinstance(message, AssistantMessage) for call in message.calls]
