"""Events on their way to the application: reporting one never waits, and reading them is optional."""

from __future__ import annotations

import anyio
import pytest

from voicepipe.events import Event
from voicepipe.flow import SpeechStarted
from voicepipe.session.event_log import EVENTS_KEPT, EventLog

pytestmark = pytest.mark.anyio


def event(at_s: float) -> Event:
    return SpeechStarted(at_s=at_s)


async def test_events_are_read_in_order() -> None:
    """Events are read in the order in which they were reported, then iteration ends."""
    log = EventLog()
    for at_s in range(3):
        log.put(event(at_s))
    log.close()
    assert [one async for one in log] == [event(0), event(1), event(2)]


async def test_a_waiting_reader_gets_an_event_when_it_is_told() -> None:
    """A reader waits for the next event; the end of the log wakes it, too."""
    log, read = EventLog(), list[tuple[float, Event]]()

    async def reader() -> None:
        async for one in log:
            read.append((anyio.current_time(), one))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader)
        for at_s in (1.0, 2.0):
            await anyio.sleep(1.0)
            log.put(event(at_s))
        await anyio.sleep(1.0)
        log.close()
    assert (read, anyio.current_time()) == ([(1.0, event(1.0)), (2.0, event(2.0))], 3.0)


async def test_the_oldest_is_forgotten_and_counted() -> None:
    """When nobody reads, the newest thousand events are kept and the others are counted."""
    log = EventLog()
    for at_s in range(EVENTS_KEPT + 7):
        log.put(event(at_s))
    log.close()
    kept = [one async for one in log]
    assert (kept[0], len(kept), log.dropped) == (event(7), 1_000, 7)


async def test_reading_can_begin_late() -> None:
    """A reader that begins after the end still gets the events."""
    log = EventLog()
    log.put(event(1))
    log.close()
    assert [one async for one in log] == [event(1)]
    assert [one async for one in log] == []


async def test_several_readers_all_end() -> None:
    """Each event goes to one reader, and the end reaches all of them."""
    log, read = EventLog(), list[Event]()

    async def reader() -> None:
        async for one in log:
            read.append(one)

    with anyio.fail_after(10.0):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(reader)
            await anyio.wait_all_tasks_blocked()
            for at_s in range(5):
                log.put(event(at_s))
                await anyio.wait_all_tasks_blocked()
            log.close()
    assert read == [event(at_s) for at_s in range(5)]
