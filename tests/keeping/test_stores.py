"""All stores do the same, in whatever order workers call them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import rule, run_state_machine_as_test
from hypothesis.strategies import sampled_from

from tests.helpers.redis_server import RedisServer, needs_redis
from tests.helpers.store_machine import HELD_S, StoreMachine
from voicepipe import MemoryStore, RedisStore, Store

AS_IT_COMES = settings(max_examples=20, stateful_step_count=30, phases=[Phase.generate])
"""To shrink what fails with a server takes longer than a test may."""


class MemoryMachine(StoreMachine):
    time_s = 0.0

    def make(self) -> Store:
        return MemoryStore(clock=self.now)

    def now(self) -> float:
        return self.time_s

    def lose(self) -> None:
        self.time_s = (self.time_s // HELD_S + 2) * HELD_S  # whatever it was, it has expired

    @rule(seconds=sampled_from([0.5, 50.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        """Let leases run out, but nothing expire."""
        if self.time_s % HELD_S + seconds < HELD_S:
            self.time_s += seconds


@pytest.mark.slow
def test_memory() -> None:
    """The store in memory does what its model does: of two workers one wins, and the other is refused from then on."""
    run_state_machine_as_test(MemoryMachine, settings=settings(max_examples=30, stateful_step_count=30))


@pytest.mark.scale
@needs_redis
def test_redis(redis_server: RedisServer) -> None:
    """The store in Redis does what the same model does."""

    class RedisMachine(StoreMachine):
        tolerance_s = 30.0  # leases are of 100 s and more, and time goes on

        def run(self, operation: Coroutine[Any, Any, Any]) -> Any:
            return runner.run(operation)

        def make(self) -> Store:
            redis_server.run("FLUSHALL")
            return RedisStore(redis_server.url, timeout_s=30.0)

        def now(self) -> float:
            return runner.get_loop().time()

        def lose(self) -> None:
            redis_server.run("FLUSHALL")

    with asyncio.Runner() as runner:
        run_state_machine_as_test(
            RedisMachine, settings=settings(max_examples=20, stateful_step_count=30, phases=[Phase.generate])
        )
