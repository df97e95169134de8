"""A deadline that moves with every piece, exactly on virtual time."""

from __future__ import annotations

import math

import anyio
import pytest

from voicepipe.core.clock import MovingDeadline

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("moves", "ended_s"),
    [
        ([(0.0, 1.0)], 1.0),
        ([(0.0, 1.0), (0.5, 2.0)], 2.0),  # later: the first timer waits on
        ([(0.0, 5.0), (0.5, 2.0)], 2.0),  # earlier: a new timer
        ([(0.0, 1.0), (0.5, math.inf), (3.0, 4.0)], 4.0),  # none for a while, in which the first timer fires
        ([(0.0, 1.0), (0.25, 3.0), (0.5, 1.5)], 1.5),
        ([(0.5, 0.25)], 0.5),  # it is past already
    ],
)
async def test_a_block_ends_at_the_newest_deadline(moves: list[tuple[float, float]], ended_s: float) -> None:
    """Whatever was set before, the newest deadline counts, to the microsecond."""
    began_s = anyio.current_time()

    async def move(limit: MovingDeadline) -> None:
        for at_s, until_s in moves:
            await anyio.sleep_until(began_s + at_s)
            limit.until = began_s + until_s

    async with anyio.create_task_group() as tasks:
        with MovingDeadline() as limit:
            tasks.start_soon(move, limit)
            await anyio.sleep(10.0)
        assert limit.cancelled_caught
        assert round(anyio.current_time() - began_s, 6) == ended_s
        tasks.cancel_scope.cancel()


async def test_a_block_that_ends_in_time_is_not_cancelled() -> None:
    """Nothing is left of the deadline after the block."""
    with MovingDeadline(anyio.current_time() + 1.0) as limit:
        await anyio.sleep(0.5)
    await anyio.sleep(1.0)
    assert not limit.cancelled_caught


async def test_a_cancellation_from_outside_is_passed_on() -> None:
    """The block does not catch what is not its own."""
    with anyio.CancelScope() as outer:
        with MovingDeadline(anyio.current_time() + 1.0) as limit:
            outer.cancel()
            await anyio.sleep(5.0)
        pytest.fail("the block went on")
    assert not limit.cancelled_caught
