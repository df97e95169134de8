"""Near and far side stay together: an ideal canceller, which only subtracts, hears nothing of the agent."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import anyio
import pytest

import voicepipe as vp
from voicepipe.audio.echo_path import KEPT_S, EchoPath, FarEnd, StreamClock
from voicepipe.testing import RecordingOutput, Says, ScriptedModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio
RATE = 16_000
BLOCK = RATE // 100


def counted(first: int, count: int) -> bytes:
    """Return samples that can be told apart."""
    return array("h", (1 + (first + at) % 30_000 for at in range(count))).tobytes()


class Subtracts(vp.EchoCanceller):
    """Takes away what is played at the same time; the echo of the test's room is neither late nor changed."""

    def prepare(self, near_rate: int, far_rate: int) -> None:
        self.rates = (near_rate, far_rate)

    def process(self, near: bytes, far: bytes) -> bytes:
        assert len(near) == len(far) == 2 * BLOCK
        return array("h", (one - other for one, other in zip(array("h", near), array("h", far), strict=True))).tobytes()


class Voice(vp.TTSSink):
    """Counts up."""

    sample_rate = RATE

    async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes]:
        for at in range(0, RATE, 1_000):
            yield counted(at, 1_000)


class Wire(vp.Source):
    """A microphone that hears exactly what is being played."""

    sample_rate = RATE

    def __init__(self, output: RecordingOutput, seconds: float) -> None:
        self.output, self.seconds, self.came = output, seconds, bytearray()

    async def frames(self) -> AsyncIterator[bytes]:
        begin_s = anyio.current_time()
        for number in range(round(self.seconds * 50)):
            await anyio.sleep_until(begin_s + (number + 1) * 0.02)
            self.output._catch_up()
            piece = bytes(self.output.played[number * 640 : (number + 1) * 640]).ljust(640, b"\0")
            self.came += piece
            yield piece


class Listener(vp.Recogniser):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard = bytearray()

    async def recognise(
        self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: vp.Session
    ) -> None:
        async for frame in inbox:
            self.heard += frame.pcm


async def test_pauses_and_flushes_keep_both_sides_together() -> None:
    """Nothing of three replies is left, of which two are interrupted, with silence of any length between them."""
    output = RecordingOutput(RATE)
    wire = Wire(output, 6.0)
    row = vp.Pipeline(
        vp.STTStage(Listener()),
        ScriptedModel([]),
        vp.SentenceChunker(),
        Voice(),
        turns=vp.TurnRules(loudspeaker=False),
        echo_canceller=Subtracts(),
    )
    async with row.open() as host, host.session(source=wire, output=output) as session:
        ears = session.recogniser
        assert isinstance(ears, Listener)
        session.say("One.")
        await anyio.sleep(0.513)
        session.interrupt()
        session.say("Two.")
        await anyio.sleep(1.7)
        session.say("Three.")
        await anyio.sleep(0.3)
        session.interrupt()
        await session.ended.wait()

    assert sum(sample != 0 for sample in array("h", bytes(wire.came))) == pytest.approx(RATE * 1.813, abs=RATE * 0.02)
    assert len(ears.heard) == len(wire.came)
    assert set(ears.heard) == {0}


@pytest.mark.parametrize(("output_rate", "said"), [(22_050, "RecordingOutput runs at 22050 Hz")])
async def test_a_rate_without_whole_blocks_is_refused(output_rate: int, said: str) -> None:
    """An error names the part whose sample rate has to be changed, and to what."""
    with pytest.raises(
        vp.ConfigurationError, match=rf"Subtracts works on blocks of 10 ms, but {said}.*multiple of 100"
    ):
        EchoPath(Subtracts(), RecordingOutput(output_rate)).begin(RATE)


async def test_a_canceller_that_fails_ends_the_session_by_its_name() -> None:
    """The error of a canceller is not blamed on the source."""

    class Fails(Subtracts):
        def process(self, near: bytes, far: bytes) -> bytes:
            return near[2:]

    output = RecordingOutput(RATE)
    row = vp.Pipeline(
        vp.STTStage(Listener()), ScriptedModel([Says("Yes.")]), vp.SentenceChunker(), Voice(), echo_canceller=Fails()
    )
    with pytest.raises(vp.AudioError, match=r"Fails\.process must return as many bytes as it was given, 320, not 318"):
        async with row.session(source=Wire(output, 1.0), output=output) as session:
            await session.ended.wait()


def test_each_session_has_its_own() -> None:
    """A canceller that was given to the pipeline is copied, and can be replaced in a test."""
    row = vp.Pipeline(ScriptedModel([]), vp.SentenceChunker(), Voice(), echo_canceller=Subtracts())
    other = Subtracts()
    assert row.replace({vp.EchoCanceller: other})._echo_canceller is other
    with pytest.raises(vp.ConfigurationError, match="echo_canceller must be of the type EchoCanceller, not str"):
        vp.Pipeline(ScriptedModel([]), vp.SentenceChunker(), Voice(), echo_canceller="webrtc")


def test_uneven_callbacks_do_not_tear_the_far_side() -> None:
    """Blocks of a device whose times differ by up to 10 ms are one stream, without a gap."""
    far = FarEnd(RATE)
    for number in range(100):
        far.add(counted(number * BLOCK, BLOCK), 5.0 + number * 0.01 + (0.0, 0.009, 0.003)[number % 3])
    assert far.samples(far.place_of(5.2), 3_200) == counted(3_200, 3_200)


def test_a_pause_takes_its_time_and_a_flush_takes_audio_away() -> None:
    """Audio after a pause is where it was played; what was flushed is silence."""
    far = FarEnd(RATE)
    far.add(counted(0, RATE), 1.0)
    far.cut(1.5)
    far.add(counted(0, RATE), 3.0)
    assert far.samples(far.place_of(1.25), RATE // 2) == counted(RATE // 4, RATE // 4) + bytes(RATE // 2)
    assert far.samples(far.place_of(2.99), 320) == bytes(320) + counted(0, 160)


def test_no_more_than_what_late_audio_needs_is_kept() -> None:
    """An hour of speech, and a pause of an hour, hold no more memory than some seconds do."""
    far = FarEnd(RATE)
    for second in range(60):
        far.add(counted(0, RATE), float(second))
    far.add(counted(0, RATE), 3_600.0)
    assert len(far._pcm) <= 2 * (KEPT_S + 1) * RATE
    assert far.samples(far.place_of(3_600.0), RATE) == counted(0, RATE)
    assert far.samples(far.place_of(10.0), 5) == bytes(10)


def test_a_source_that_gives_nothing_costs_no_memory() -> None:
    """While a caller is on hold, only the newest audio of the agent waits; after that both sides are together again."""
    path = EchoPath(Subtracts(), RecordingOutput(RATE))
    path.begin(RATE)
    for number in range(360_000):  # an hour
        path.plays(bytes(8), number * 0.01)
    assert len(path._played) == KEPT_S * 100
    path.plays(counted(0, RATE // 50), 4_000.0)
    assert path.cleaned([counted(0, RATE // 50)], 4_000.0, 4_000.02) == [bytes(640)]


def test_a_clock_follows_the_earliest_pieces() -> None:
    """Late pieces do not move the time of a stream; a drift of 200 ppm does, to within a millisecond."""
    clock = StreamClock()
    for number in range(1, 30_001):  # ten minutes
        at_s = number * 0.02 * (1 + 200e-6)
        clock.feed(at_s + (0.03 if number % 7 else 0.0), number * 0.02)
    assert clock.zero_s == pytest.approx(600.0 * 200e-6, abs=0.001)
