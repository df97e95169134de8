"""The loudspeaker: little is buffered, a flush is immediate, and the device's clock says what was played."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from tests.helpers.virtual_card import CardSpeaker, VirtualCard
from voicepipe import (
    AudioDeviceError,
    AudioDeviceLost,
    ConfigurationError,
    Pipeline,
    SentenceChunker,
    SentenceStarted,
    Session,
    Speaker,
)
from voicepipe.testing import Says, ScriptedModel, ScriptedVoice

pytestmark = pytest.mark.anyio

RATE = 8_000
FRAME = 160  # samples of 20 ms


def frame(sample: int, samples: int = FRAME) -> bytes:
    return sample.to_bytes(2, "little") * samples


@asynccontextmanager
async def playing(speaker: Speaker) -> AsyncIterator[Session]:
    """Attach a loudspeaker to a session in which only the test writes."""
    agent = Pipeline(ScriptedModel([]), SentenceChunker(), ScriptedVoice(sample_rate=RATE))
    async with agent.session(output=speaker) as session:
        yield session


@pytest.mark.parametrize("rate", [0, 7_999, 192_001])
def test_a_rate_that_cannot_be_meant_is_refused(rate: int) -> None:
    """A sample rate outside 8 to 192 kHz is an error that names the output."""
    with pytest.raises(ConfigurationError, match=f"Speaker: sample_rate must be 8000 to 192000, not {rate}"):
        Speaker(sample_rate=rate)


async def test_a_call_begins_when_the_device_runs(caplog: pytest.LogCaptureFixture) -> None:
    """The session waits for a device that takes time to wake, so that no speech is queued for it; the log names it."""
    caplog.set_level(logging.INFO, logger="voicepipe")
    card = VirtualCard()
    card.wakes_after_s = 1.8
    async with playing(CardSpeaker(card, sample_rate=RATE)):
        assert anyio.current_time() == 1.81  # with the first block that it asks for of its own accord
    assert caplog.messages[0].endswith(f": the loudspeaker 'built-in' is open at {RATE} Hz")


async def test_two_frames_wait_and_no_more() -> None:
    """Two frames are taken immediately, then one whenever the device has taken 20 ms."""
    taken: list[float] = []
    async with playing(speaker := CardSpeaker(VirtualCard(), sample_rate=RATE)):
        began_s = anyio.current_time()
        for number in range(1, 6):
            await speaker.write(frame(number))
            taken.append(round(anyio.current_time() - began_s, 6))
    assert taken == [0.0, 0.0, 0.02, 0.04, 0.06]


async def test_audio_is_played_in_order_and_whole() -> None:
    """The device plays what was written, with silence before and after it."""
    card = VirtualCard()
    async with playing(speaker := CardSpeaker(card, sample_rate=RATE)):
        for number in range(1, 6):
            await speaker.write(frame(number))
        await anyio.sleep(0.2)
    assert card.stream.sound.strip(b"\0") == b"".join(map(frame, range(1, 6))).strip(b"\0")


async def test_only_what_the_device_has_played_counts() -> None:
    """A frame in the device's buffer does not count yet: it counts from when its first sample is audible."""
    async with playing(speaker := CardSpeaker(VirtualCard(), sample_rate=RATE)):
        began_s = anyio.current_time()  # 0.01: the device asks again at 0.02, for what it plays from 0.05 on
        await speaker.write(frame(1))
        counted = []
        for after_s in (0.0, 0.01, 0.03, 0.04, 0.045, 0.06, 1.0):
            await anyio.sleep_until(began_s + after_s)
            counted.append(round(speaker.played_s, 6))
    assert counted == [0.0, 0.0, 0.0, 0.0, 0.005, 0.02, 0.02]


async def test_after_a_flush_the_device_gets_nothing_of_the_old() -> None:
    """After `flush` the device's next block is silent; what it already holds plays for at most 40 ms."""
    card = VirtualCard()
    async with playing(speaker := CardSpeaker(card, sample_rate=RATE)):
        for number in range(1, 6):
            await speaker.write(frame(number))
        speaker.flush()
        flushed_s, given = anyio.current_time(), len(card.stream.played)
        await anyio.sleep(0.5)
    assert all(not any(pcm) for _, pcm in card.stream.played[given:])
    last_s = max(heard_s for heard_s, pcm in card.stream.played if any(pcm)) + 0.01
    assert 0 < last_s - flushed_s <= 0.04


async def test_what_was_flushed_does_not_count_and_what_comes_after_does() -> None:
    """A flush stops the count at what was played, and the count continues with the next frame."""
    async with playing(speaker := CardSpeaker(VirtualCard(), sample_rate=RATE)):
        for number in range(1, 6):
            await speaker.write(frame(number))
        heard_s = speaker.played_s
        assert 0 < heard_s < 0.1
        speaker.flush()
        await anyio.sleep(0.5)
        assert speaker.played_s == heard_s
        await speaker.write(frame(9))
        await anyio.sleep(0.5)
        assert speaker.played_s == pytest.approx(heard_s + 0.02)


async def test_a_write_that_waited_when_the_flush_came_is_dropped() -> None:
    """A `write` that is waiting at a flush drops its audio."""
    card = VirtualCard()
    async with playing(speaker := CardSpeaker(card, sample_rate=RATE)), anyio.create_task_group() as tasks:
        await speaker.write(frame(1))
        await speaker.write(frame(2))
        tasks.start_soon(speaker.write, frame(3))
        await anyio.sleep(0.001)
        speaker.flush()
        await anyio.sleep(0.5)
    assert not any(card.stream.sound)


async def test_an_interrupted_reply_is_in_history_as_far_as_it_sounded() -> None:
    """The history holds the words that the device has played, not those in its buffer."""
    card = VirtualCard()
    model = ScriptedModel([Says("One two three four five six seven eight nine ten.")])
    voice = ScriptedVoice(sample_rate=RATE, character_s=0.05)
    agent = Pipeline(model, SentenceChunker(first_words=False), voice)
    async with agent.session(output=CardSpeaker(card, sample_rate=RATE)) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.user_says, "Count.")
        async for event in session:
            if isinstance(event, SentenceStarted):
                break
        await anyio.sleep(0.72)  # "One two three" has 13 characters, 0.65 s; what is buffered goes further
        session.interrupt()
        heard_s = session._output.played_s
    assert session.history[-1].text == "One two three"
    assert 0.65 <= heard_s <= 0.72 - 0.03


async def test_a_device_that_is_gone_ends_the_session() -> None:
    """A device is lost immediately if unplugged, after 0.9 s if suspended, after 3 s if it never started."""
    card = VirtualCard()
    with pytest.raises(AudioDeviceLost, match="CardSpeaker: the loudspeaker is gone: it was unplugged"):
        async with playing(CardSpeaker(card, sample_rate=RATE)) as session:
            await anyio.sleep_until(0.5)
            card.stream.unplug()
            await session.ended.wait()
    assert anyio.current_time() == 0.5
    assert card.stream.is_closed
    with pytest.raises(AudioDeviceLost, match=r"gave no sign of life for 0\.9 s"):
        async with playing(CardSpeaker(card, sample_rate=RATE)) as session:
            await anyio.sleep_until(1.0)
            card.stream.suspend()
            await session.ended.wait()
    assert round(anyio.current_time(), 6) == 1.9
    card.wakes_after_s = 5.0
    with pytest.raises(AudioDeviceLost, match="gave no sign of life for 3 s"):
        async with playing(CardSpeaker(card, sample_rate=RATE)):
            raise AssertionError("a session began")
    assert round(anyio.current_time(), 6) == 4.9


async def test_a_device_that_cannot_be_opened_is_told_when_the_call_begins() -> None:
    """A device that cannot be opened raises its own error, and no session begins."""
    card = VirtualCard()
    card.refuses = [AudioDeviceError("loudspeaker 0 'built-in': it is in use")]
    with pytest.raises(AudioDeviceError, match="it is in use"):
        async with playing(CardSpeaker(card)):
            raise AssertionError("a session began")


async def test_a_device_of_another_rate_gets_speech_of_its_rate() -> None:
    """A device that only runs at 48 kHz plays a sentence at its right length, and counts all of it."""
    pytest.importorskip("soxr")
    card = VirtualCard(only_rate=48_000)
    agent = Pipeline(ScriptedModel([]), SentenceChunker(), ScriptedVoice(sample_rate=RATE, character_s=0.05))
    async with agent.session(output=CardSpeaker(card, sample_rate=24_000), greeting="Ten chars.") as session:
        session.end(after_reply=True)
        await session.ended.wait()
    assert session.history[-1].text == "Ten chars."
    sounding = [pcm for _, pcm in card.stream.played if any(pcm)]
    assert len(sounding) * 0.01 == pytest.approx(0.5, abs=0.011)


async def test_a_device_of_another_rate_needs_soxr_when_the_call_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the resampler no session begins in which every reply would fail; the error says what to install."""
    monkeypatch.setitem(sys.modules, "soxr", None)
    card = VirtualCard(only_rate=48_000)
    with pytest.raises(ConfigurationError, match=r"gives 8000 Hz, CardSpeaker takes 48000 Hz; .*to resample"):
        async with playing(CardSpeaker(card, sample_rate=RATE)):
            raise AssertionError("a session began")
    assert card.stream.is_closed


@pytest.mark.slow
@pytest.mark.parametrize("ppm", [2_400, -2_400])
async def test_a_clock_that_drifts_keeps_the_buffer_as_it_is(ppm: float) -> None:
    """Five minutes drift as far as an hour at 200 ppm: the device never starves, and 40 ms wait at most."""
    lasts_s = 300.0
    card = VirtualCard(ppm=ppm)
    least_s, most_s = 1.0, 0.0
    async with playing(speaker := CardSpeaker(card, sample_rate=RATE)):
        began_s = anyio.current_time()
        written_s = 0.0
        while anyio.current_time() < began_s + lasts_s:
            await speaker.write(frame(1))
            written_s += 0.02
            waits_s = len(speaker._waiting) / 2 / RATE
            if written_s > 1.0:
                least_s, most_s = min(least_s, waits_s), max(most_s, waits_s)
            card.stream.played.clear()
        played_s = speaker.played_s
    assert 0 < least_s <= most_s <= 0.04 + 1e-9
    assert played_s == pytest.approx(lasts_s * (1 + ppm * 1e-6), abs=0.06)
