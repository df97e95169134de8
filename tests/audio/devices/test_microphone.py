"""The microphone: live audio never lags, and a lost device is reported immediately."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from tests.helpers.virtual_card import CardMic, CardSpeaker, VirtualCard
from voicepipe import (
    AudioDeviceError,
    AudioDeviceLost,
    AudioDropped,
    AudioFrame,
    ConfigurationError,
    Event,
    Inbox,
    MicrophoneLost,
    MicSource,
    Outbox,
    Pipeline,
    SentenceChunker,
    Session,
    SessionStage,
    STTStage,
)
from voicepipe.audio.devices.input_lag import WINDOW_S
from voicepipe.testing import RecordingOutput, ScriptedModel, ScriptedRecogniser, ScriptedVoice, VirtualTimeLoop

pytestmark = pytest.mark.anyio


class Tap(SessionStage[AudioFrame, AudioFrame]):
    """Keeps the microphone's audio."""

    def __init__(self, frames: list[AudioFrame]) -> None:
        self.frames = frames

    async def run(self, inbox: Inbox[AudioFrame], outbox: Outbox[AudioFrame], session: Session) -> None:
        async for frame in inbox:
            self.frames.append(frame)
            await outbox.send(frame)


@asynccontextmanager
async def listening(mic: MicSource, frames: list[AudioFrame] | None = None) -> AsyncIterator[Session]:
    row = [Tap([] if frames is None else frames), STTStage(ScriptedRecogniser())]
    agent = Pipeline(*row, ScriptedModel([]), SentenceChunker(), ScriptedVoice(sample_rate=8_000))
    async with agent.session(source=mic, output=RecordingOutput(8_000)) as session:
        yield session


async def told(session: Session) -> list[Event]:
    return [event async for event in session]


@pytest.mark.parametrize("rate", [0, 7_999, 192_001])
def test_a_rate_that_cannot_be_meant_is_refused(rate: int) -> None:
    """A sample rate outside 8 to 192 kHz is an error that names the source."""
    with pytest.raises(ConfigurationError, match=f"MicSource: sample_rate must be 8000 to 192000, not {rate}"):
        MicSource(sample_rate=rate)


async def test_each_block_arrives_when_its_last_sample_was_recorded() -> None:
    """Blocks of 20 ms reach the pipeline in the step in which the device gives them, with their first sample's time."""
    frames: list[AudioFrame] = []
    async with listening(CardMic(VirtualCard()), frames):
        await anyio.sleep(0.101)
    assert [round(frame.start_s, 6) for frame in frames] == [0.0, 0.02, 0.04, 0.06, 0.08]


async def test_audio_is_copied_once() -> None:
    """The recogniser gets the very bytes that were copied out of the sound system's buffer."""
    given = [bytes([number]) * 640 for number in range(5)]
    frames: list[AudioFrame] = []
    async with listening(CardMic(VirtualCard(sound=lambda number: given[number % 5])), frames):
        await anyio.sleep(0.101)
    assert [frame.pcm is block for frame, block in zip(frames, given, strict=True)] == [True] * 5


async def test_a_loop_that_lags_loses_the_oldest_audio_and_counts_it() -> None:
    """Of 2 s that came while the loop stood still, the newest 0.5 s is recognised; the rest is counted and emitted."""
    frames: list[AudioFrame] = []
    mic = CardMic(VirtualCard())
    async with listening(mic, frames) as session:
        await anyio.sleep(0.05)
        for number in range(100):  # what a thread of the sound system does meanwhile
            mic._take(number.to_bytes(2, "little") * 320)
        await anyio.sleep(0.005)
        session.end()
        dropped = [event for event in await told(session) if isinstance(event, AudioDropped)]
    assert [frame.pcm[0] for frame in frames[2:]] == list(range(75, 100))
    assert mic.dropped_s == pytest.approx(1.5)
    assert [event.seconds for event in dropped] == [pytest.approx(1.5)]


async def test_what_was_said_before_the_row_listens_is_kept() -> None:
    """The microphone runs while other parts are still connecting; up to 0.5 s of its audio is recognised afterwards."""
    frames: list[AudioFrame] = []

    class Slow(ScriptedVoice):
        @asynccontextmanager
        async def attach(self, session: Session) -> AsyncIterator[None]:
            await anyio.sleep(0.3)
            yield

    mic = CardMic(VirtualCard())
    agent = Pipeline(Tap(frames), STTStage(ScriptedRecogniser()), ScriptedModel([]), SentenceChunker(), Slow())
    async with agent.session(source=mic, output=RecordingOutput()):
        await anyio.sleep(0.105)
    assert len(frames) == 20
    assert mic.dropped_s == 0


async def test_what_was_missed_before_the_row_listens_is_not_told() -> None:
    """Audio from before the session listens is dropped without counting as lost, e.g. while a loudspeaker wakes."""
    frames: list[AudioFrame] = []
    mic, card = CardMic(VirtualCard()), VirtualCard()
    card.wakes_after_s = 1.99
    row = [Tap(frames), STTStage(ScriptedRecogniser())]
    agent = Pipeline(*row, ScriptedModel([]), SentenceChunker(), ScriptedVoice(sample_rate=8_000))
    async with agent.session(source=mic, output=CardSpeaker(card, sample_rate=8_000)) as session:
        assert anyio.current_time() == 2.0
        await anyio.sleep(0.105)
        session.end()
        assert [event for event in await told(session) if isinstance(event, AudioDropped)] == []
    assert len(frames) == 25 + 5
    assert mic.dropped_s == 0


async def test_a_device_that_is_unplugged_ends_the_session_at_once() -> None:
    """The session ends in the step in which the stream ended; the error names the part and what happened."""
    card = VirtualCard()
    with pytest.raises(AudioDeviceLost, match="CardMic: the microphone is gone: it was unplugged") as error:
        async with listening(CardMic(card)) as session:
            await anyio.sleep(0.5)
            card.stream.unplug()
            await session.ended.wait()
    assert error.value.__notes__ == ["in CardMic"]
    assert anyio.current_time() == 0.5
    assert card.stream.is_closed


async def test_a_device_that_falls_silent_is_lost_within_a_second() -> None:
    """A suspended device counts as lost 0.9 s after its last block."""
    card = VirtualCard()
    with pytest.raises(AudioDeviceLost, match=r"gave no sign of life for 0\.9 s: it is suspended"):
        async with listening(CardMic(card)) as session:
            await anyio.sleep(0.505)
            card.stream.suspend()
            await session.ended.wait()
    assert round(anyio.current_time(), 6) == 0.5 + 0.9


async def test_a_device_may_take_three_seconds_to_begin() -> None:
    """A device may take 3 s to wake, and no longer."""
    frames: list[AudioFrame] = []
    card = VirtualCard()
    card.wakes_after_s = 2.9
    async with listening(CardMic(card), frames):
        await anyio.sleep(3.0)
    assert len(frames) == 5
    card.wakes_after_s = 3.1
    began_s = anyio.current_time()
    with pytest.raises(AudioDeviceLost, match="gave no sign of life for 3 s"):
        async with listening(CardMic(card)) as session:
            await session.ended.wait()
    assert round(anyio.current_time() - began_s, 6) == 3.0


async def test_the_time_to_open_is_not_taken_from_the_time_to_begin() -> None:
    """After an opening that took almost 5 s, the device still has 3 s until its first block."""
    frames: list[AudioFrame] = []
    card = VirtualCard()
    card.opens_after_s, card.wakes_after_s = 3.1, 1.0
    async with listening(CardMic(card), frames):
        assert anyio.current_time() == 3.1
        await anyio.sleep(1.101)
    assert len(frames) == 5


class StoppedLoop(VirtualTimeLoop):
    """A loop of a process that is stopped and resumed: only the clock goes on meanwhile."""

    stopped_s = 0.0

    def time(self) -> float:
        return super().time() + self.stopped_s


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"loop_factory": StoppedLoop})])
async def test_a_process_that_was_stopped_itself_does_not_blame_the_device(anyio_backend: object) -> None:
    """After SIGSTOP and SIGCONT the device's time starts again, and the session goes on."""
    import asyncio

    frames: list[AudioFrame] = []
    async with listening(CardMic(VirtualCard()), frames) as session:
        await anyio.sleep(0.5)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, StoppedLoop)
        loop.stopped_s = 60.0
        before = len(frames)
        await anyio.sleep(5.0)
        assert not session.ended.is_set()
    assert len(frames) > before + 200


async def test_a_lost_device_is_opened_again_if_that_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    """With `reopens` the loss is emitted, the device is tried every 0.25 s, and the session goes on when it is back.

    The log has a line for each time that the device was opened.
    """
    caplog.set_level(logging.INFO, logger="voicepipe")
    frames: list[AudioFrame] = []
    card = VirtualCard()
    async with listening(CardMic(card, reopens=True), frames) as session:
        await anyio.sleep(1.005)
        heard = len(frames)
        card.refuses = [AudioDeviceError("still gone")] * 3
        card.stream.unplug()
        await anyio.sleep(2.0)
        session.end()
        lost = [event.error for event in await told(session) if isinstance(event, MicrophoneLost)]
    assert [round(at_s, 6) for at_s in card.opened_s] == [0.0, 1.755]
    assert [type(error) for error in lost] == [AudioDeviceLost]
    assert len(frames) - heard == 62  # to 3.005 s
    assert [stream.is_closed for stream in card.streams] == [True, True]
    of_call = f"session {session.id}: "
    opened = [message.removeprefix(of_call) for message in caplog.messages if "is open" in message]
    assert opened == ["the microphone 'built-in' is open at 16000 Hz"] * 2
    assert card.scans == 4  # what is plugged in may stand elsewhere in the list


async def test_a_device_that_does_not_come_back_ends_the_session() -> None:
    """After 10 s of failed attempts the session ends with both reasons."""
    card = VirtualCard()
    with pytest.raises(AudioDeviceLost, match=r"is gone: .*did not come back within 10 s \(still gone\)"):
        async with listening(CardMic(card, reopens=True)) as session:
            await anyio.sleep(1.0)
            card.refuses = [AudioDeviceError("still gone")] * 100
            card.stream.unplug()
            await session.ended.wait()
    assert anyio.current_time() == 11.0


async def test_a_device_that_cannot_be_opened_is_told_when_the_call_begins() -> None:
    """A device that cannot be opened raises its own error, and no session begins."""
    card = VirtualCard()
    card.refuses = [AudioDeviceError("microphone 0 'built-in': it is in use")]
    with pytest.raises(AudioDeviceError, match="it is in use"):
        async with listening(CardMic(card)):
            raise AssertionError("a session began")


async def test_a_device_of_another_rate_is_resampled() -> None:
    """A device that only runs at 48 kHz gives the recogniser the same seconds of audio at 16 kHz."""
    pytest.importorskip("soxr")
    frames: list[AudioFrame] = []
    async with listening(CardMic(VirtualCard(only_rate=48_000)), frames):
        await anyio.sleep(1.001)
    assert {frame.sample_rate for frame in frames} == {16_000}
    assert 0.9 < sum(frame.duration_s for frame in frames) <= 1.0  # soxr holds a little back


@pytest.mark.slow
@pytest.mark.parametrize("ppm", [-2_400, 2_400])
async def test_a_clock_that_drifts_loses_nothing(ppm: float) -> None:
    """Five minutes drift as far as an hour at 200 ppm: no audio is dropped and no lag is seen."""
    lasts_s, count = 300.0, 0

    class Count(Tap):
        async def run(self, inbox: Inbox[AudioFrame], outbox: Outbox[AudioFrame], session: Session) -> None:
            nonlocal count
            async for _ in inbox:
                count += 1

    mic = CardMic(VirtualCard(ppm=ppm))
    agent = Pipeline(Count([]), STTStage(ScriptedRecogniser()), ScriptedModel([]), SentenceChunker(), ScriptedVoice())
    async with agent.session(source=mic, output=RecordingOutput()):
        await anyio.sleep(lasts_s)
    assert count == pytest.approx(lasts_s / 0.02 * (1 + ppm * 1e-6), abs=1)
    assert mic.dropped_s == 0
    assert mic.lag_s < 2 * WINDOW_S * abs(ppm) * 1e-6


async def test_frames_may_be_read_without_a_session_s_pump() -> None:
    """`frames` yields the same blocks, for code that reads a source by hand."""
    mic = CardMic(VirtualCard())
    read: list[bytes] = []
    async with mic.attach(None):  # type: ignore[arg-type]
        async for block in mic.frames():
            read.append(block)
            if len(read) == 5:
                break
    assert [block[0] for block in read] == [0, 1, 2, 3, 4]
