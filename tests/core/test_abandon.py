"""Code that ignores its cancellation is left behind, and code that obeys it notices no difference."""

from __future__ import annotations

import asyncio
import math

import anyio
import pytest

from voicepipe.core.abandon import ABANDON_S, run_abandonably
from voicepipe.events import CleanupOverran

pytestmark = pytest.mark.anyio


class Stubborn:
    """Swallows its cancellations, until it is released."""

    def __init__(self, times: float = math.inf) -> None:
        self.swallowed = 0
        self.times = times
        self.is_released = False

    async def run(self) -> str:
        while not self.is_released:
            try:
                await anyio.sleep(1.0)
            except asyncio.CancelledError:
                self.swallowed += 1
                if self.swallowed > self.times:
                    raise
        return "done"


async def test_what_it_returns_and_raises_passes() -> None:
    """A function that is not cancelled returns and raises as if it were awaited here."""

    async def double(number: int) -> int:
        await anyio.sleep(1.0)
        return 2 * number

    async def exits() -> None:
        raise SystemExit(2)

    assert await run_abandonably(double, 21, name="double") == 42
    with pytest.raises(SystemExit):
        await run_abandonably(exits, name="exits")


async def test_cancelling_waits_for_clean_up() -> None:
    """A function that shields its clean-up has the time for it, and the caller waits for it."""
    cleaned: list[float] = []

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(2.0)
            cleaned.append(anyio.current_time())

    with anyio.move_on_after(1.0) as limit:
        await run_abandonably(work, name="work")
    assert (cleaned, anyio.current_time(), limit.cancelled_caught) == ([3.0], 3.0, True)


async def test_what_clean_up_raises_is_not_lost() -> None:
    """An error that the function raises when it is cancelled replaces the cancellation."""

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise OSError("socket is gone")

    with pytest.raises(OSError, match="socket is gone"), anyio.move_on_after(1.0):
        await run_abandonably(work, name="work")


async def test_a_function_that_swallows_some_cancellations_is_cancelled_again() -> None:
    """The cancellation is delivered again until it is obeyed."""
    stubborn = Stubborn(times=25)
    with anyio.move_on_after(1.0):
        await run_abandonably(stubborn.run, name="stubborn")
    assert stubborn.swallowed == 26
    assert 1.0 < anyio.current_time() < 1.0 + ABANDON_S


@pytest.mark.parametrize("finish_s", [0.0, 1.0])
async def test_a_function_that_swallows_all_of_them_is_left_behind(
    finish_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    """After 3 s nothing waits for it, it is not cancelled any more, and it is reported by name."""
    stubborn, reports = Stubborn(), list[CleanupOverran]()
    before = asyncio.all_tasks()
    with anyio.move_on_after(1.0) as limit:
        await run_abandonably(stubborn.run, name="Acme", finish_s=finish_s, report=reports.append)
    assert (limit.cancelled_caught, anyio.current_time()) == (True, 1.0 + ABANDON_S - finish_s)
    assert reports == [CleanupOverran(part="Acme", after_s=3.0)]
    assert "Acme ignored its cancellation for 3 s" in caplog.text
    assert asyncio.all_tasks() == before  # nothing that the end of the loop would wait for
    swallowed = stubborn.swallowed
    assert swallowed <= 11 * 61  # ten steps of the loop each 50 ms, not each step
    await anyio.sleep(10.0)
    assert stubborn.swallowed == swallowed
    stubborn.is_released = True
    await anyio.sleep(2.0)


async def test_a_caller_that_is_cancelled_twice_still_waits() -> None:
    """A second cancellation of the caller does not leave the function running."""
    ended: list[float] = []

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1.0)
            ended.append(anyio.current_time())

    task = asyncio.create_task(run_abandonably(work, name="work"))  # noqa: TID251 - the application's own task
    for _ in range(3):
        await anyio.sleep(0.2)
        task.cancel()
    await asyncio.wait([task])
    assert (ended, anyio.current_time()) == ([1.2], 1.2)


async def test_a_future_cancelled_elsewhere_is_no_cancellation() -> None:
    """When something that it awaits was cancelled elsewhere, the caller gets that error and no other."""

    async def work() -> None:
        future: asyncio.Future[None] = asyncio.Future()
        future.cancel()
        await future

    with pytest.raises(asyncio.CancelledError):
        await run_abandonably(work, name="work")


async def test_it_sees_the_deadline_around_it() -> None:
    """A function that plans its retries by the effective deadline sees it, and is cancelled when it comes."""
    seen: list[float] = []

    async def work() -> None:
        seen.append(anyio.current_effective_deadline())
        await anyio.sleep_forever()

    with anyio.move_on_after(2.0) as limit:
        await run_abandonably(work, name="work", deadline=anyio.current_effective_deadline())
    assert (seen, limit.cancelled_caught, anyio.current_time()) == ([2.0], True, 2.0)


async def test_a_function_that_ends_in_spite_of_its_cancellation_has_a_result() -> None:
    """As in one task, a function that finishes what it shields returns its result."""

    async def pay() -> str:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(2.0)
        return "paid"

    results: list[str] = []
    with anyio.move_on_after(1.0):
        results.append(await run_abandonably(pay, name="pay"))
    assert (results, anyio.current_time()) == (["paid"], 2.0)


@pytest.mark.slow
def test_the_end_of_the_loop_does_not_wait_for_it() -> None:
    """`asyncio.run` ends although something was left behind."""
    stubborn = Stubborn()

    async def main() -> None:
        with anyio.move_on_after(0.5):
            await run_abandonably(stubborn.run, name="stubborn", finish_s=2.9)

    anyio.run(main)
