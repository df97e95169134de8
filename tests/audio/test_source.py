"""A source that the application feeds."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.audio.source import PUSHED_S, PushSource
from voicepipe.errors import AudioError, ConfigurationError

pytestmark = pytest.mark.anyio


async def everything(source: PushSource) -> list[bytes]:
    heard = list[bytes]()
    await source.pump(lambda piece, _=None: heard.append(piece))
    return heard


async def test_what_was_pushed_is_heard_in_order() -> None:
    """Pieces come out as they went in, and the end of the source means that the caller hung up."""
    source = PushSource()
    for piece in (b"\x01\x00", b"\x02\x00" * 320, b"\x03\x00"):
        source.push(piece)
    source.end()
    assert await everything(source) == [b"\x01\x00", b"\x02\x00" * 320, b"\x03\x00"]


async def test_audio_is_heard_when_it_is_pushed() -> None:
    """A waiting session gets each piece, and the hang-up, in the moment in which it happens."""
    source, heard = PushSource(), list[tuple[float, bytes]]()

    async def listen() -> None:
        await source.pump(lambda piece, _=None: heard.append((anyio.current_time(), piece)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        for at in (b"\x01\x00", b"\x02\x00"):
            await anyio.sleep(1.0)
            source.push(at)
        await anyio.sleep(1.0)
        source.end()
    assert (heard, anyio.current_time()) == ([(1.0, b"\x01\x00"), (2.0, b"\x02\x00")], 3.0)


async def test_what_comes_before_the_session_listens_is_kept() -> None:
    """What was said while the session was being opened is heard, up to 10 s; what is older goes, and is counted."""
    source = PushSource(16_000)
    for number in range(505):
        source.push(number.to_bytes(2, "little") * 320)  # 20 ms
    source.end()
    heard = await everything(source)
    assert (len(heard), heard[0][:2], source.dropped_s) == (500, b"\x05\x00", pytest.approx(0.1))


async def test_one_long_piece_is_kept() -> None:
    """A piece longer than 10 s is kept: part of a word is worth less than its end."""
    source = PushSource(8_000)
    source.push(bytes(2 * 8_000 * 12))
    source.end()
    assert (len((await everything(source))[0]), source.dropped_s) == (192_000, 0.0)


async def test_pushing_after_the_hang_up_is_refused() -> None:
    """Pushing after the hang-up is an error that names the mistake in the program."""
    source = PushSource()
    source.end()
    with pytest.raises(AudioError, match=r"after end\(\): the caller has hung up"):
        source.push(b"\x00\x00")


async def test_half_a_sample_is_refused() -> None:
    """An odd number of bytes is refused, because it would turn all later audio into noise."""
    with pytest.raises(AudioError, match="whole 16-bit samples, got 3 bytes"):
        PushSource().push(b"\x00\x00\x00")


@pytest.mark.parametrize("rate", [0, 7_999, 192_001, -16_000])
async def test_a_rate_that_cannot_be_meant_is_refused(rate: int) -> None:
    """A sample rate outside 8 to 192 kHz is an error when the source is created."""
    with pytest.raises(ConfigurationError, match=f"8000 to 192000, not {rate}"):
        PushSource(rate)


@given(pieces=st.lists(st.integers(1, 6_000), max_size=20))
def test_what_waits_is_bounded_and_the_rest_is_counted(pieces: list[int]) -> None:
    """For any pushes, kept and dropped audio add up, and only a single piece may be longer than the limit."""
    source = PushSource(8_000)
    for samples in pieces:
        source.push(bytes(2 * samples))
    kept = [len(piece) // 2 for piece, _ in source._waiting]
    assert sum(kept) + round(source.dropped_s * 8_000) == sum(pieces)
    assert len(kept) <= 1 or sum(kept) <= PUSHED_S * 8_000


@pytest.mark.parametrize("at_s", [float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(at_s: float) -> None:
    """The time of a piece is a number of seconds."""
    with pytest.raises(AudioError, match=r"at_s must be a time on the event loop's clock, not (nan|inf)"):
        PushSource().push(b"\0\0", at_s)
