"""Several requests for one reply: the first one that says something gives the reply, and the others are closed.

Rule 1: one request gives the whole reply. It is chosen by its first word, call or end, in one step of the loop.
Rule 2: a request is sent next to a running one only while the caller waits, never in a draft, and only while nothing
        of the reply was used.
Rule 3: a failure that may pass starts the next request at once. If all of them fail, the first one's error is raised.

Source: Dean and Barroso, "The Tail at Scale", Communications of the ACM 56(2), 2013, section "Hedged requests".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from voicepipe.core.failures import for_log, named, single_error
from voicepipe.core.log import log
from voicepipe.core.waits import wait_any
from voicepipe.errors import IncompleteReply, VendorError, VoicepipeError
from voicepipe.flow import TextDelta
from voicepipe.model_events import HedgeStarted, ModelAnswered, RequestRetried

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.channel import Outbox
    from voicepipe.model.model import ReplyPart

__all__ = ["Race", "Runner"]


@dataclass(frozen=True, slots=True)
class Runner:
    """A request that can be sent: by which part, to which model, and how; its reply goes into an outbox."""

    part: str
    model: str
    ask: Callable[[Outbox[ReplyPart]], Awaitable[None]]


class Race:
    """The requests of one reply.

    Args:
        outbox: Takes the reply.
        turn: The turn that asks.
        after_s: How long a request may say nothing until the next one is sent; infinite to wait for its failure.
    """

    def __init__(self, outbox: Outbox[ReplyPart], turn: Turn, after_s: float = math.inf) -> None:
        self.outbox = outbox
        self.winner: _Lane | None = None
        self._turn = turn
        self._after_s = after_s
        self._lanes: list[_Lane] = []

    async def run(self, runners: Iterable[Runner]) -> None:
        """Send the requests as they are needed, and return when the reply is complete. Cancelling closes all of them.

        Raises:
            VoicepipeError: All that were sent have failed, or the one that gave the reply failed in the middle of it.
        """
        with single_error():
            async with anyio.create_task_group() as tasks:
                for runner in runners:
                    if self._lanes and not await self._needs(runner):
                        break
                    lane = _Lane(self, runner)
                    self._lanes.append(lane)
                    tasks.start_soon(lane.run, name=f"voicepipe {runner.part}")
        if self.winner is None and (error := self._lanes[0].error):
            raise error

    def claim(self, lane: _Lane) -> bool:
        """Return whether this request gives the reply; the first that asks does, and the others are cancelled."""
        if self.winner is None:
            self.winner = lane
            for one in self._lanes:
                one.settled.set()
                if one is not lane:
                    one.scope.cancel()
            if len(self._lanes) > 1:
                turn_id, was_first = self._turn.turn_id, lane is self._lanes[0]
                self._turn.emit(ModelAnswered(turn_id=turn_id, model=lane.model, was_first=was_first))
        return self.winner is lane

    def failed(self, lane: _Lane, error: VoicepipeError) -> None:
        """Note that a request has failed before anything of it was used."""
        if self.winner is None:  # what a closed request raises on its way out is of no interest
            lane.error = error
            lane.settled.set()
            if any(one.error is None for one in self._lanes):  # else it is raised, or reported with the next request
                log.warning("turn %d: one of two requests failed: %s", self._turn.turn_id, for_log(error))

    async def _needs(self, runner: Runner) -> bool:
        """Wait until it is clear whether the next request is sent, and report why it is."""
        newest, turn = self._lanes[-1], self._turn
        with anyio.move_on_after(self._after_s):
            await newest.settled.wait()
        if not newest.settled.is_set():
            await wait_any(newest.settled.wait, turn.committed.wait)
        if self.winner is not None:
            return False
        if (error := newest.error) is None:
            turn.emit(HedgeStarted(turn_id=turn.turn_id, model=runner.model))
        elif isinstance(error, VendorError) and error.retryable:
            turn.emit(RequestRetried(turn_id=turn.turn_id, error=error, model=runner.model))
        else:
            return False
        return True


class _Lane:
    """One request of a race: an outbox for its reply."""

    def __init__(self, race: Race, runner: Runner) -> None:
        self.scope = anyio.CancelScope()
        self.settled = anyio.Event()  # it has failed, or one of the race has begun to reply
        self.error: VoicepipeError | None = None
        self.model = runner.model
        self._race = race
        self._runner = runner

    async def run(self) -> None:
        with self.scope:
            try:
                with named(self._runner.part):
                    await self._runner.ask(self)
                if self._race.winner is None:
                    raise IncompleteReply(f"{self._runner.part} returned without a reply", vendor=self._runner.part)
            except VoicepipeError as error:
                if self._race.winner is self:
                    raise
                self._race.failed(self, error)

    async def send(self, item: ReplyPart, /) -> None:
        """Take a part of the reply. See `Outbox.send`. Blanks ahead of the first word choose nobody."""
        if self._race.winner is None and isinstance(item, TextDelta) and not item.text.strip():
            return
        if not self._race.claim(self):
            raise anyio.BrokenResourceError  # it was cancelled in the step in which another one was chosen
        await self._race.outbox.send(item)

    def close(self) -> None:
        """Do nothing: the reply ends when its request does."""
