"""The tick that all paced outputs of an event loop share: never early, never drifting, and lateness is counted."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref

import anyio
import pytest

import voicepipe as vp
from tests.helpers.paced_peers import Line, frame, playing
from voicepipe.audio.remote.shared_tick import current_beat
from voicepipe.testing import VirtualTimeLoop

pytestmark = pytest.mark.anyio


class FreezingLoop(VirtualTimeLoop):
    """A loop that can stand still while the clock goes on, like a blocked one."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen_s = 0.0

    def time(self) -> float:
        return max(self._clock.now_us / 1_000_000 + self.frozen_s, self._firing_s)

    def freeze(self, seconds: float) -> None:
        self.frozen_s += seconds


def freeze(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, FreezingLoop)
    loop.freeze(seconds)


async def test_ticks_are_numbered_from_when_somebody_joined() -> None:
    """Tick k comes k x 20 ms after the first listener joined, and has the number k."""
    ticks: list[tuple[float, int]] = []
    await anyio.sleep_until(1.003)
    with current_beat().joined(lambda tick: ticks.append((round(anyio.current_time(), 6), tick))):
        await anyio.sleep(0.07)
    await anyio.sleep(1.0)
    assert ticks == [(1.023, 1), (1.043, 2), (1.063, 3)]


async def test_all_of_a_loop_share_one() -> None:
    """There is one beat per event loop, whoever asks for it."""
    found = []

    async def ask() -> None:
        found.append(current_beat())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        tasks.start_soon(ask)
    assert found == [current_beat()] * 2


@pytest.mark.slow
def test_another_loop_has_another() -> None:
    """Two successive loops share nothing, and a closed one is not kept alive."""

    async def one() -> weakref.ref[object]:
        beat = current_beat()
        with beat.joined(lambda _: None):
            await anyio.sleep(0.05)
        return weakref.ref(beat)

    loops = [anyio.run(one, backend_options={"loop_factory": VirtualTimeLoop}) for _ in range(2)]
    gc.collect()
    assert [beat() for beat in loops] == [None, None]


def test_late_ticks_are_told_and_made_up_for() -> None:
    """A loop that stands still for 70 ms sends what it owes at once and continues on time; the lateness is counted."""

    async def main() -> Line:
        line = Line()
        async with playing(line), anyio.create_task_group() as tasks:

            async def speak() -> None:
                for sample in range(1, 10):
                    await line.write(frame(sample))

            tasks.start_soon(speak)
            await anyio.sleep(0.03)
            freeze(0.07)
            await anyio.sleep(1.0)
        return line

    line = anyio.run(main, backend_options={"loop_factory": FreezingLoop})
    times = [round(at_ms) for at_ms, _ in line.log]
    # Frames 3, 4, 5 and 6 were due at 40, 60, 80 and 100 ms.
    assert times == [0, 20, 100, 100, 100, 100, 120, 140, 160]
    assert [what for _, what in line.log] == [str(sample) for sample in range(1, 10)]
    statistics = line.statistics()
    assert (statistics.late, round(statistics.worst_late_s, 3)) == (1, 0.06)


def test_a_loop_that_stood_still_for_long_owes_half_a_second() -> None:
    """After 10 s without a tick the peer is sent half a second of speech and one frame, not 10 s."""

    async def main() -> Line:
        line = Line()
        async with playing(line), anyio.create_task_group() as tasks:

            async def speak() -> None:
                for sample in range(1, 60):
                    await line.write(frame(sample))

            tasks.start_soon(speak)
            await anyio.sleep(0.03)
            freeze(9.99)
            await anyio.sleep(2.0)
        return line

    line = anyio.run(main, backend_options={"loop_factory": FreezingLoop})
    at_once = [what for at_ms, what in line.log if round(at_ms) == 10_020]
    assert (len(at_once), len(line.log)) == (26, 59)


def test_a_loop_that_stood_still_has_not_seen_its_peer_fail() -> None:
    """When the loop stands still for 10 s, neither a message being sent nor a waiting writer fails."""

    async def main() -> Line:
        line = Line()
        line.sends_s = 0.05
        async with playing(line), anyio.create_task_group() as tasks:

            async def speak() -> None:
                for sample in range(1, 6):
                    await line.write(frame(sample))

            tasks.start_soon(speak)
            await anyio.sleep(0.03)
            freeze(10.0)
            await anyio.sleep(1.0)
        return line

    line = anyio.run(main, backend_options={"loop_factory": FreezingLoop})
    assert [what for _, what in line.log] == ["1", "2", "3", "4", "5"]


def test_silence_is_owed_to_nobody() -> None:
    """After silence, the next speech is sent frame by frame."""

    async def main() -> Line:
        line = Line()
        async with playing(line):
            await anyio.sleep(0.03)
            freeze(0.5)
            await anyio.sleep(0.03)
            for sample in range(1, 5):
                await line.write(frame(sample))
            await anyio.sleep(1.0)
        return line

    line = anyio.run(main, backend_options={"loop_factory": FreezingLoop})
    assert [round(at_ms) for at_ms, _ in line.log] == [560, 580, 600, 620]


def test_it_ticks_in_any_asyncio_program() -> None:
    """Frames are also sent within `asyncio.run`, which anyio does not control."""
    sent: list[int] = []
    all_sent = asyncio.Event()

    class Counting(vp.PacedOutput):
        async def send(self, pcm: bytes) -> None:
            sent.append(len(pcm))
            if len(sent) == 4:
                all_sent.set()

    async def main() -> None:
        output = Counting()
        async with playing(output):
            for _ in range(4):
                await output.write(bytes(960))
            await all_sent.wait()

    asyncio.run(main())
    assert sent == [960] * 4


@pytest.mark.slow
async def test_no_context_of_a_call_is_kept() -> None:
    """The first session's context variables can be freed while others keep the tick running."""
    variable = contextvars.ContextVar[object]("request")

    class Request:
        pass

    made = [Request()]
    freed = weakref.ref(made[0])
    seen: list[object] = []

    async def first() -> None:
        variable.set(made.pop())
        with current_beat().joined(lambda _: seen.append(variable.get(None))):
            await anyio.sleep(0.03)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        await anyio.wait_all_tasks_blocked()
        with current_beat().joined(lambda _: None):
            await anyio.sleep(0.1)
            gc.collect()
            assert seen == [None]
            assert freed() is None
