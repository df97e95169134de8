"""Where the agent's audio goes: little is buffered, a flush is immediate, and what was played is counted exactly."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe import Pipeline, SentenceChunker
from voicepipe.audio.output import ClockedOutput, Output, PullOutput
from voicepipe.errors import ConfigurationError
from voicepipe.testing import RecordingOutput, ScriptedModel, ScriptedVoice, run_on_virtual_time

pytestmark = pytest.mark.anyio

RATE = 8_000
FRAME = 160  # samples of 20 ms


def frame(sample: int, samples: int = FRAME) -> bytes:
    return sample.to_bytes(2, "little") * samples


@asynccontextmanager
async def playing(output: Output) -> AsyncGenerator[None]:
    """Attach an output to a session in which only the test writes."""
    async with Pipeline(ScriptedModel([]), SentenceChunker(), ScriptedVoice(sample_rate=RATE)).session(output=output):
        yield


@pytest.mark.parametrize("rate", [0, 7_999, 192_001])
@pytest.mark.parametrize("kind", [PullOutput, ClockedOutput])
def test_a_rate_that_cannot_be_meant_is_refused(kind: type[PullOutput | RecordingOutput], rate: int) -> None:
    """A sample rate outside 8 to 192 kHz is an error that names the output."""
    with pytest.raises(ConfigurationError, match=f"{kind.__name__}: sample_rate must be 8000 to 192000, not {rate}"):
        kind(rate)


# --- by the clock -----------------------------------------------------------------------------------------------------


async def test_two_frames_are_buffered_and_no_more() -> None:
    """The first two frames are taken immediately, each further one when a frame has been played."""
    output = RecordingOutput(RATE)
    async with playing(output):
        for number in range(1, 6):
            await output.write(frame(number))
    assert [at_s for at_s, _ in output.written] == [0.0, 0.0, 0.02, 0.04, 0.06]


async def test_audio_is_played_in_real_time() -> None:
    """`played_s` grows with the clock and stops at what was written."""
    output = RecordingOutput(RATE)
    async with playing(output):
        await output.write(frame(1))
        await output.write(frame(1))
        played = []
        for at_s in (0.0, 0.01, 0.035, 0.04, 5.0):
            await anyio.sleep_until(at_s)
            played.append(round(output.played_s, 9))
    assert played == [0.0, 0.01, 0.035, 0.04, 0.04]


async def test_silence_is_recorded_where_nothing_was_said() -> None:
    """The recording begins with the session and has no gaps: sound where it was played, silence everywhere else."""
    output = RecordingOutput(RATE)
    async with playing(output):
        for at_s in (0.5, 2.0):
            await anyio.sleep_until(at_s)
            await output.write(frame(1))
        await anyio.sleep_until(3.0)
    assert (output.spans(), len(output.played)) == ([(0.5, 0.52), (2.0, 2.02)], 2 * 3 * RATE)


async def test_a_flush_cuts_within_a_frame() -> None:
    """Of a frame that is being played, exactly the samples up to the flush count as played, and none after it."""
    output = RecordingOutput(RATE)
    async with playing(output):
        await output.write(frame(1))
        await output.write(frame(2))
        await anyio.sleep(0.025)
        output.flush()
        await anyio.sleep_until(0.1)
        assert output.played_s == pytest.approx(0.025, abs=1e-12)
    assert bytes(output.played) == frame(1) + frame(2, 40) + bytes(2 * 600)


async def test_a_write_that_waited_while_flush_came_is_dropped() -> None:
    """A frame that is waiting for room at the flush is dropped as well."""
    output = RecordingOutput(RATE)
    async with playing(output), anyio.create_task_group() as tasks:
        await output.write(frame(1))
        await output.write(frame(1))
        tasks.start_soon(output.write, frame(2))
        await anyio.sleep(0.01)
        output.flush()
        await anyio.sleep(1.0)
    assert output.spans() == [(0.0, 0.01)]


async def test_after_a_flush_there_is_room_at_once() -> None:
    """The next reply does not wait for audio that was thrown away."""
    output = RecordingOutput(RATE)
    async with playing(output):
        await output.write(frame(1))
        await output.write(frame(1))
        output.flush()
        await output.write(frame(2))
        await output.write(frame(2))
        await anyio.sleep(1.0)
    assert ([at_s for at_s, _ in output.written], output.spans()) == ([0.0] * 4, [(0.0, 0.04)])


async def test_a_cancelled_write_is_not_played() -> None:
    """A frame whose writer was cancelled while waiting for room is not played."""
    output = RecordingOutput(RATE)
    async with playing(output):
        await output.write(frame(1))
        await output.write(frame(1))
        with anyio.move_on_after(0.01):
            await output.write(frame(2))
        await anyio.sleep(1.0)
    assert output.spans() == [(0.0, 0.04)]


ACTIONS = st.lists(
    st.one_of(st.integers(1, FRAME), st.floats(0.0, 0.1).map(lambda s: round(s, 6)), st.just("flush")), max_size=30
)


@given(actions=ACTIONS, rate=st.sampled_from([8_000, 11_025, 24_000, 44_100]))
def test_what_was_played_never_falls(actions: list[int | float | str], rate: int) -> None:
    """For any writes and flushes, `played_s` never decreases, and the recording is as long as the session."""

    async def main() -> None:
        output = RecordingOutput(rate)
        async with playing(output):
            before = 0.0
            for action in actions:
                if isinstance(action, int):
                    await output.write(frame(1, action))
                elif isinstance(action, float):
                    await anyio.sleep(action)
                else:
                    output.flush()
                assert output.played_s >= before - 1e-12  # the last bit of a sum of floats
                before = max(before, output.played_s)
            length_s = max(anyio.current_time(), output._plays_until_s)
            await anyio.sleep_until(length_s)
            length_s = anyio.current_time()
        sounding = sum(output.played[at : at + 2] != b"\x00\x00" for at in range(0, len(output.played), 2))
        assert abs(len(output.played) / 2 - length_s * rate) <= 1
        assert abs(sounding - output.played_s * rate) <= 1 + actions.count("flush")

    run_on_virtual_time(main)


# --- pulled -----------------------------------------------------------------------------------------------------------


async def test_pulled_frames_come_in_order() -> None:
    """The agent's audio is read frame by frame, and what has been read counts as played."""
    output = PullOutput(RATE)
    await output.write(frame(1))
    await output.write(frame(2))
    assert [await output.read(), await output.read()] == [frame(1), frame(2)]
    assert output.played_s == 0.04


async def test_a_callback_gets_nothing_when_nobody_speaks() -> None:
    """`read_nowait` never waits: without audio it returns b"", and silence does not count as played."""
    output = PullOutput(RATE)
    assert (output.read_nowait(), output.played_s) == (b"", 0.0)


async def test_pulling_makes_room() -> None:
    """The third frame waits until one of the first two has been read."""
    output, written = PullOutput(RATE), list[float]()

    async def write() -> None:
        for number in (1, 2, 3):
            await output.write(frame(number))
            written.append(anyio.current_time())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        await anyio.sleep(1.0)
        output.read_nowait()
    assert written == [0.0, 0.0, 1.0]


async def test_a_reader_waits_for_the_agent() -> None:
    """`read` and iteration wait until the agent speaks."""
    output, heard = PullOutput(RATE), list[tuple[float, bytes]]()

    async def listen() -> None:
        async for pcm in output:
            heard.append((anyio.current_time(), pcm))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        await anyio.sleep(1.0)
        await output.write(frame(1))
        await anyio.sleep(1.0)
        tasks.cancel_scope.cancel()
    assert heard == [(1.0, frame(1))]


async def test_a_flush_drops_what_was_not_read() -> None:
    """After a flush there is nothing to read, and the dropped audio does not count as played."""
    output = PullOutput(RATE)
    await output.write(frame(1))
    output.read_nowait()
    await output.write(frame(2))
    output.flush()
    assert (output.read_nowait(), output.played_s) == (b"", 0.02)


async def test_a_pulled_write_that_waited_while_flush_came_is_dropped() -> None:
    """A frame that was waiting for room at the flush is not read afterwards; the next reply's frame is."""
    output = PullOutput(RATE)
    async with anyio.create_task_group() as tasks:
        await output.write(frame(1))
        await output.write(frame(1))
        tasks.start_soon(output.write, frame(2))
        await anyio.wait_all_tasks_blocked()
        output.flush()
        await output.write(frame(3))
    assert (output.read_nowait(), output.read_nowait()) == (frame(3), b"")


async def test_a_frame_larger_than_the_buffer_is_taken_alone() -> None:
    """A frame of any length is taken when nothing else waits, so no size can block forever."""
    output = PullOutput(RATE)
    with anyio.fail_after(1.0):
        await output.write(frame(1, 5 * FRAME))
    assert len(output.read_nowait()) == 2 * 5 * FRAME
