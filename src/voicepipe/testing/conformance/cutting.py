"""Cancels a part's work at its n-th `await`, or in the n-th step of the loop, and sees whether it obeys.

Rule 1: the cancellation comes exactly where the work waits for the n-th time, through a scope of anyio.
Rule 2: work that ignores it is given up after a few deliveries, so that no part can hold up the kit.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias, TypeVar

import anyio

from voicepipe.testing.conformance.blocking import Spent

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

__all__ = ["Counted", "Cut", "Ignored", "cut_at"]

T = TypeVar("T")

MOST_DELIVERIES: Final = 20
"""anyio delivers a cancellation again in every step of the loop; what waits on after so many ignores it."""


class Ignored(Exception):  # noqa: N818 - names what happened
    """The work ignored its cancellation."""


class Counted(Generic[T]):
    """Awaits a coroutine, and counts how often it waits.

    Args:
        work: The coroutine.
        at: At which wait `scope` is cancelled; 0 for never.
        scope: The scope around it.
        spent: Called with what each step has spent.

    Attributes:
        awaits: How often it has waited.
        is_armed: Whether `at` still counts.
        cancelled_s: When the scope was cancelled, on the loop's clock.
        deliveries: How often the cancellation of `scope` has reached it.
    """

    def __init__(
        self,
        work: Coroutine[Any, Any, T],
        *,
        at: int = 0,
        scope: anyio.CancelScope | None = None,
        spent: Callable[[Spent], None] | None = None,
    ) -> None:
        self.awaits = 0
        self.is_armed = True
        self.cancelled_s = 0.0
        self._work = work
        self._at = at
        self._scope = scope
        self._spent = spent
        self.deliveries = 0

    def __await__(self) -> Generator[Any, Any, T]:
        """Do the work.

        Raises:
            Ignored: It waits on although it is cancelled.
        """
        thrown: BaseException | None = None
        while True:
            try:
                waits_for = self._step(thrown)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            self.awaits += self.is_armed
            if self._scope is not None and self.is_armed and self.awaits == self._at:
                self.cancelled_s = anyio.current_time()
                self._scope.cancel()
            thrown = None
            try:
                yield waits_for
            except BaseException as error:  # noqa: BLE001 - it is for the work, not for this
                thrown = error
                self.deliveries += self._is_ours(error)
                if self.deliveries > MOST_DELIVERIES:
                    with suppress(RuntimeError):  # it ignores that, too
                        self._work.close()
                    raise Ignored from None

    def _is_ours(self, error: BaseException) -> bool:
        """Return whether this is the cancellation of `scope`: work may also cancel scopes of its own."""
        return isinstance(error, asyncio.CancelledError) and f"scope {id(self._scope):x}" in str(error)

    def _step(self, thrown: BaseException | None) -> object:
        if self._spent is None:
            return self._work.send(None) if thrown is None else self._work.throw(thrown)
        before = Spent()
        try:
            return self._work.send(None) if thrown is None else self._work.throw(thrown)
        finally:
            self._spent(before)


Outcome: TypeAlias = Literal["completed", "obeyed", "swallowed", "ignored", "raised"]
"""Work ended before its cancellation reached it, or obeyed, or went on and ended as if nothing had happened, or waited
on, or raised another error."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How work took its cancellation.

    Attributes:
        outcome: What it did.
        count: How often it waited, or how many steps of the loop it took.
        took_s: From the cancellation to the end.
        error: What it raised instead.
    """

    outcome: Outcome
    count: int
    took_s: float = 0.0
    error: BaseException | None = None


async def cut_at(
    at: int, work: Callable[[Callable[[], None]], Coroutine[Any, Any, object]], *, by_steps: bool = False
) -> Cut:
    """Do some work, and cancel it where it waits for the n-th time.

    Args:
        at: Counts from 1; 0 never cancels.
        work: Called with a function that disarms the cancellation: what follows is not cancelled.
        by_steps: Whether steps of the loop are counted in place of awaits: they include what tasks of the work do.
    """
    error: BaseException | None = None
    is_ignored, steps = False, 0
    loop: Any = asyncio.get_running_loop()

    def disarm() -> None:
        counted.is_armed = False
        loop.on_step = None

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == at:
            loop.call_soon(cancel)

    def cancel() -> None:
        counted.cancelled_s = loop.time()
        scope.cancel()

    scope = anyio.CancelScope()
    counted = Counted(work(disarm), at=0 if by_steps else at, scope=scope)
    loop.on_step = step if by_steps else None
    with scope:
        try:
            await counted
        except Ignored:
            is_ignored = True
        except Exception as raised:  # noqa: BLE001 - reported
            error = raised
        finally:
            loop.on_step = None
    took_s = anyio.current_time() - counted.cancelled_s if scope.cancel_called else 0.0
    outcome: Outcome = "completed"  # also where it ended before the cancellation could reach it
    if is_ignored:
        outcome = "ignored"
    elif error is not None:
        outcome = "raised"
    elif counted.deliveries:
        outcome = "obeyed" if scope.cancelled_caught else "swallowed"
    return Cut(outcome, steps if by_steps else counted.awaits, took_s, error)
