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


async def test_a_waiting_reader_gets_an_event_when_it_is_reported() -> None:
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


async def read_all(log: EventLog, into: list[Event]) -> None:
    async for one in log:
        into.append(one)


async def test_each_reader_gets_every_event() -> None:
    """Readers that begin together get the same events, those from before they began included, and all end."""
    log, read = EventLog(), [list[Event]() for _ in range(3)]
    log.put(event(0))
    with anyio.fail_after(10.0):
        async with anyio.create_task_group() as tasks:
            for into in read:
                tasks.start_soon(read_all, log, into)
            await anyio.wait_all_tasks_blocked()
            for at_s in range(1, 5):
                log.put(event(at_s))
            log.close()
    assert read == 3 * [[event(at_s) for at_s in range(5)]]


async def test_the_next_reader_goes_on_where_the_last_one_stopped() -> None:
    """A loop that is left loses nothing for the next one: neither what came before nor what came between."""
    log = EventLog()
    log.put(event(0))
    log.put(event(1))
    async for one in log:
        assert one == event(0)
        break
    log.put(event(2))
    log.close()
    assert [one async for one in log] == [event(1), event(2)]


async def test_a_later_reader_gets_what_happens_from_then_on() -> None:
    """What another reader has taken already is not repeated to a reader that begins later."""
    log, first, later = EventLog(), list[Event](), list[Event]()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read_all, log, first)
        await anyio.wait_all_tasks_blocked()
        log.put(event(0))
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(read_all, log, later)
        await anyio.wait_all_tasks_blocked()
        log.put(event(1))
        log.close()
    assert (first, later) == ([event(0), event(1)], [event(1)])


async def test_a_slow_reader_loses_the_oldest_and_holds_up_nobody() -> None:
    """What a slow reader could not take in time is counted, and the others have had it."""
    log, quick, slow = EventLog(), list[Event](), list[Event]()

    async def read_slowly() -> None:
        async for one in log:
            slow.append(one)
            if one == event(0):
                await anyio.sleep(1.0)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read_slowly)
        tasks.start_soon(read_all, log, quick)
        for at_s in range(EVENTS_KEPT + 8):
            log.put(event(at_s))
            await anyio.wait_all_tasks_blocked()
        log.close()
    assert (len(quick), slow[:2], len(slow), log.dropped) == (EVENTS_KEPT + 8, [event(0), event(8)], 1_001, 7)


async def test_what_was_read_does_not_count_as_dropped() -> None:
    """A loop that was left, and one that reads along, make no event count as dropped."""
    log, read = EventLog(), list[Event]()
    log.put(event(0))
    async for _ in log:
        break
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read_all, log, read)
        for at_s in range(EVENTS_KEPT + 8):
            await anyio.wait_all_tasks_blocked()
            log.put(event(at_s))
        log.close()
    assert (len(read), log.dropped) == (EVENTS_KEPT + 8, 0)
