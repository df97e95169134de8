"""The bounded queue between two stages."""

from __future__ import annotations

import gc
import weakref

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.core.channel import Channel, ChannelStatistics
from voicepipe.errors import ConfigurationError
from voicepipe.testing import run_on_virtual_time

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("capacity", [0, -1])
def test_an_edge_without_room_is_refused(capacity: int) -> None:
    """A capacity below 1 is an error that says what it should be."""
    with pytest.raises(ConfigurationError, match=f"at least 1, not {capacity}"):
        Channel[int](capacity)


async def test_items_come_out_in_the_order_in_which_they_went_in() -> None:
    """First in, first out; the reader's loop ends when the sender closes."""
    channel = Channel[int](8)
    for item in range(5):
        await channel.send(item)
    channel.close()
    assert [item async for item in channel] == [0, 1, 2, 3, 4]


async def test_a_full_channel_holds_the_sender() -> None:
    """A sender waits for room: in a channel for two, the third item is sent when the first one is read."""
    channel, sent = Channel[int](2), list[tuple[float, int]]()

    async def send() -> None:
        for item in range(3):
            await channel.send(item)
            sent.append((anyio.current_time(), item))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        await anyio.sleep(1.0)
        assert await channel.receive() == 0
    assert sent == [(0.0, 0), (0.0, 1), (1.0, 2)]


async def test_several_items_hold_the_sender_until_there_is_room_for_the_last_one() -> None:
    """`send_all` fills the channel as it is read, in order, and returns once: with the last item in."""
    channel, sent = Channel[int](2), list[float]()

    async def send() -> None:
        await channel.send_all([0, 1, 2, 3])
        sent.append(anyio.current_time())
        with pytest.raises(anyio.BrokenResourceError):
            await channel.send_all([4, 5, 6])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        for item in range(4):
            await anyio.sleep(1.0)
            assert (channel.queued, await channel.receive()) == (2, item)
        channel.close_receiver()
    assert sent == [2.0]


async def test_a_cancelled_sender_of_several_leaves_those_that_got_in() -> None:
    """What found room before the cancellation is read; the rest is gone, and the next sender is not held up by it."""
    channel = Channel[int](1)
    with anyio.move_on_after(1.0):
        await channel.send_all([1, 2, 3])
    await channel.send_all([])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(channel.send, 9)
        await anyio.sleep(1.0)
        assert [await channel.receive(), await channel.receive()] == [1, 9]


async def test_an_empty_channel_holds_the_reader() -> None:
    """A reader waits for an item and gets it when it arrives."""
    channel = Channel[str](1)
    async with anyio.create_task_group() as tasks:

        async def later() -> None:
            await anyio.sleep(1.0)
            await channel.send("late")

        tasks.start_soon(later)
        assert (await channel.receive(), anyio.current_time()) == ("late", 1.0)


async def test_closing_lets_the_reader_finish() -> None:
    """Items that are queued when the sender closes are still read; then the channel ends."""
    channel = Channel[int](2)
    await channel.send(1)
    channel.close()
    assert await channel.receive() == 1
    with pytest.raises(anyio.EndOfStream):
        await channel.receive()


async def test_closing_twice_does_nothing() -> None:
    """Both the stage and its runner may close an outbox."""
    channel = Channel[int](1)
    channel.close()
    channel.close()
    with pytest.raises(anyio.EndOfStream):
        channel.receive_nowait()


async def test_closing_the_reading_end_stops_a_waiting_writer() -> None:
    """A sender waiting for room gets an error when the reader closes its end."""
    channel = Channel[int](1)
    await channel.send(1)
    async with anyio.create_task_group() as tasks:

        async def write() -> None:
            with pytest.raises(anyio.BrokenResourceError):
                await channel.send(2)

        tasks.start_soon(write)
        await anyio.wait_all_tasks_blocked()
        channel.close_receiver()


async def test_nothing_can_be_read_without_waiting_from_an_empty_channel() -> None:
    """`receive_nowait` distinguishes "not yet" from "never"."""
    channel = Channel[int](1)
    with pytest.raises(anyio.WouldBlock):
        channel.receive_nowait()


async def test_live_audio_drops_the_oldest() -> None:
    """`send_latest` never waits: a full channel drops its oldest item and counts it."""
    channel = Channel[int](2)
    for item in range(5):
        channel.send_latest(item)
    channel.close()
    assert ([item async for item in channel], channel.dropped) == ([3, 4], 3)


async def test_the_latest_gets_in_although_a_sender_waits() -> None:
    """`send_latest` works while another sender is waiting for room; the older items are dropped."""
    channel = Channel[int](1)
    await channel.send(1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(channel.send, 2)
        await anyio.wait_all_tasks_blocked()
        channel.send_latest(3)
    channel.close()
    assert ([item async for item in channel], channel.dropped) == ([3], 2)


async def test_a_cancelled_reader_loses_no_item() -> None:
    """An item that arrives in the very step in which its reader is cancelled stays in the channel."""
    channel = Channel[int](1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(channel.receive)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        channel.send_latest(1)
    assert channel.receive_nowait() == 1


async def test_statistics_tell_everything_about_a_moment() -> None:
    """Statistics are one frozen object: capacity, queued and dropped items, waiting tasks."""
    channel = Channel[int](2)
    for item in range(3):
        channel.send_latest(item)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(channel.send, 3)
        await anyio.wait_all_tasks_blocked()
        assert channel.statistics() == ChannelStatistics(
            capacity=2, queued=2, dropped=1, waiting_to_send=1, waiting_to_receive=0
        )
        tasks.cancel_scope.cancel()


async def test_it_shows_how_full_it_is() -> None:
    """The repr shows queued items and capacity, and dropped items once there are any."""
    channel = Channel[int](1)
    assert repr(channel) == "<Channel 0/1>"
    channel.send_latest(1)
    channel.send_latest(2)
    assert repr(channel) == "<Channel 1/1 dropped=1>"


@pytest.mark.slow
async def test_a_forgotten_channel_does_not_complain() -> None:
    """A channel can be dropped without closing it; no warning is raised."""
    channel = Channel[int](1)
    gone = weakref.ref(channel)
    del channel
    gc.collect()
    assert gone() is None


ACTIONS = st.lists(st.sampled_from(["send", "latest", "receive", "step"]), max_size=40)


@given(capacity=st.integers(1, 3), actions=ACTIONS)
def test_no_interleaving_breaks_the_order(capacity: int, actions: list[str]) -> None:
    """In any order of sends, drops and reads, items are read in order and none is read twice."""

    async def main() -> None:
        channel, received = Channel[int](capacity), list[int]()
        number = 0

        async with anyio.create_task_group() as tasks:
            for action in actions:
                number += 1
                if action == "send":
                    tasks.start_soon(channel.send, number)
                    await anyio.wait_all_tasks_blocked()
                elif action == "latest":
                    channel.send_latest(number)
                elif action == "receive" and channel.statistics().queued:
                    received.append(channel.receive_nowait())
                else:
                    await anyio.wait_all_tasks_blocked()
            while channel.statistics().queued:
                received.append(channel.receive_nowait())
                await anyio.wait_all_tasks_blocked()
        assert received == sorted(set(received))
        assert len(received) + channel.dropped == sum(action in ("send", "latest") for action in actions)

    run_on_virtual_time(main)


async def test_a_second_reader_is_refused() -> None:
    """One task reads at a time; a second reader gets an error instead of waiting forever."""
    channel = Channel[int](1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(channel.receive)
        await anyio.sleep(0.1)
        with pytest.raises(anyio.BusyResourceError):
            await channel.receive()
        await channel.send(1)
