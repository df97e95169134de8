"""The recorded model: each request gets the reply that it got, piece by piece at the same times."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from voicepipe.errors import VendorError
from voicepipe.model.model import Model, ReplyPart, Request
from voicepipe.watching.replay.playhead import SAME_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.channel import Outbox
    from voicepipe.events import Event
    from voicepipe.watching.replay.playhead import Playhead
    from voicepipe.watching.replay.recorded_call import RecordedCall, RecordedReply

__all__ = ["RecordedModel"]


class RecordedModel(Model):
    """Stands in for a model: it is not asked what to say, but what it said.

    A request gets the reply that the recording has for its turn and step. Drafts bring several: then it is the next one
    to the same words of the caller.

    Args:
        call: The recording.
        playhead: Where its replay stands.
    """

    def __init__(self, call: RecordedCall, playhead: Playhead) -> None:
        self._playhead = playhead
        self._left = defaultdict(list, {key: list(replies) for key, replies in call.replies.items()})

    async def reply(self, request: Request, outbox: Outbox[ReplyPart], turn: Turn) -> None:
        """Give the recorded reply. See `Model.reply`.

        Raises:
            VendorError: The recorded model failed, or the recording has no such request, or no end of its reply.
        """
        now_s = self._playhead.now_s
        recorded = self._next(turn.turn_id, request)
        if recorded is None:
            turn.timeline.mark_again("llm_request")
            raise _missing(f"request {request.step + 1} of turn {turn.turn_id}")
        shift_s = self._playhead.shift_s(recorded.asked.at_s, now_s)
        to_emit = list(recorded.events)
        turn.before_end(lambda: _emit(to_emit, turn))
        for at_s, act in self._timetable(recorded, outbox, turn, to_emit):
            await self._playhead.until(at_s + shift_s)
            if (sending := act()) is not None:
                await sending
        if recorded.ended is None:
            await self._playhead.until(recorded.until_s + shift_s + SAME_S)
            raise _missing(f"more of the reply to request {request.step + 1} of turn {turn.turn_id}")
        await self._playhead.until(recorded.ended.at_s + shift_s)
        if recorded.ended.error is not None:
            raise recorded.ended.error

    def _next(self, turn_id: int, request: Request) -> RecordedReply | None:
        """Return the reply for a request: of those that are left for its turn and step, the first with its words."""
        left = self._left[turn_id, request.step]
        same = (reply for reply in left if reply.asked.messages[-1:] == request.messages[-1:])
        found = next(same, next(iter(left), None))
        if found is not None:
            left.remove(found)
        return found

    def _timetable(
        self, recorded: RecordedReply, outbox: Outbox[ReplyPart], turn: Turn, to_emit: list[tuple[float, Event]]
    ) -> list[_Act]:
        """Return what is done when, in order."""
        ended_s = recorded.ended.at_s if recorded.ended is not None else recorded.until_s
        sent_s = recorded.sent_s or [recorded.asked.at_s]
        acts: list[_Act] = [(at_s, partial(turn.timeline.mark_again, "llm_request")) for at_s in sent_s]
        acts += [(at_s, partial(_emit, to_emit, turn, at_s)) for at_s, _ in recorded.events if at_s <= ended_s]
        acts += [(gave.at_s, partial(outbox.send, gave.part)) for gave in recorded.gave]
        return sorted(acts, key=lambda act: act[0])


_Act: TypeAlias = "tuple[float, Callable[[], Awaitable[None] | None]]"


def _emit(events: list[tuple[float, Event]], turn: Turn, until_s: float | None = None) -> None:
    """Emit those of a model's events that are due, once."""
    while events and (until_s is None or events[0][0] <= until_s):
        turn.emit(replace(events.pop(0)[1]))


def _missing(what: str) -> VendorError:
    return VendorError(f"the recording has no {what}", vendor="recording", retryable=False)
