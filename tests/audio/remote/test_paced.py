"""A remote peer: what it is sent when, what counts as played, and what happens when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.paced_peers import FRAME, RATE, ClearingLine, Line, MarkingLine, frame, playing
from voicepipe.testing import Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice

pytestmark = pytest.mark.anyio


async def speak(output: vp.Output, *samples: int) -> None:
    for sample in samples:
        await output.write(frame(sample))


# --- the pace ---------------------------------------------------------------------------------------------------------


async def test_frames_are_sent_at_the_pace_of_speech() -> None:
    """The first frame is sent immediately, each further one with a tick; two are held, and `write` waits for room."""
    line = Line()
    written = []
    async with playing(line):
        for sample in range(1, 7):
            await line.write(frame(sample))
            written.append(round(anyio.current_time() * 1_000, 3))
        await anyio.sleep(1.0)
    assert line.log == [(0, "1"), (20, "2"), (40, "3"), (60, "4"), (80, "5"), (100, "6")]
    assert written == [0, 0, 0, 20, 40, 60]  # the first frame is gone when the third one comes


async def test_between_two_ticks_the_first_frame_waits_for_none() -> None:
    """Speech that begins between two ticks is sent immediately, and the next frame with the next tick."""
    line = Line()
    async with playing(line):
        await anyio.sleep_until(0.507)
        await speak(line, 1, 2, 3)
        await anyio.sleep(1.0)
    assert line.log == [(507, "1"), (520, "2"), (540, "3")]


@pytest.mark.slow
async def test_a_long_call_does_not_drift() -> None:
    """Frame k of five minutes is sent at k x 20 ms, to the microsecond, and is played by its end."""
    astray: list[tuple[int, float]] = []

    class LongLine(Line):
        async def send(self, pcm: bytes) -> None:
            number = self.statistics().frames
            if (at_s := round(anyio.current_time(), 6)) != round(number * 0.02, 6):
                astray.append((number, at_s))

    line, pcm = LongLine(), frame(1)
    async with playing(line):
        for _ in range(15_000):
            await line.write(pcm)
        await anyio.sleep_until(300.0)
        assert line.played_s == 300.0
        statistics = line.statistics()
    assert (astray, statistics.frames, statistics.late) == ([], 15_000, 0)
    assert statistics.worst_late_s < 1e-6


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000])
async def test_a_frame_is_20_ms_at_any_rate(rate: int) -> None:
    """Speech at another rate is resampled to the line's rate, and sent in frames of exactly 20 ms."""
    sizes = []

    class AnyLine(vp.PacedOutput):
        sample_rate = rate

        async def send(self, pcm: bytes) -> None:
            sizes.append(len(pcm))

    row = vp.Pipeline(ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice(character_s=0.1))
    async with row.session(output=AnyLine()) as session:
        session.say("Hello there.")
        session.end(after_reply=True)
        await session.ended.wait()
    assert set(sizes) == {rate // 50 * 2}
    assert len(sizes) in (60, 61)  # a resampler rounds


@pytest.mark.parametrize("rate", [0, 7_950, 192_050, 11_025])
async def test_a_rate_without_frames_of_20_ms_is_refused(rate: int) -> None:
    """A rate without a whole frame of 20 ms is refused when the session starts; the error names the output."""

    class OddLine(Line):
        sample_rate = rate

    with pytest.raises(vp.ConfigurationError, match=f"OddLine: sample_rate must be .*multiple of 50, not {rate}"):
        row = vp.Pipeline(ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice(sample_rate=rate))
        async with row.session(output=OddLine()):
            pass


async def test_pieces_of_any_length_become_frames() -> None:
    """Audio written in small pieces is sent in frames of 20 ms without a gap."""
    line = Line()
    async with playing(line):
        for sample in range(1, 7):
            await line.write(frame(sample, FRAME // 2))
        await anyio.sleep(1.0)
    assert line.log == [(0, "1 2"), (20, "3 4"), (40, "5 6")]


async def test_the_end_of_an_utterance_is_filled_up() -> None:
    """A rest shorter than 20 ms waits one tick for more audio, then is padded with silence that does not count."""
    line = Line()
    async with playing(line):
        await line.write(frame(1))
        await line.write(frame(2, 40))
        await anyio.sleep(1.0)
        assert line.played_s == 0.025
        await line.write(frame(3, 40))
        await anyio.sleep(0.03)
        await line.write(frame(4))  # in time
        await anyio.sleep(1.0)
    assert line.log == [(0, "1"), (40, "2 0"), (1_030, "3 4"), (1_060, "4 0")]


async def test_a_piece_longer_than_what_is_held_gets_in_alone() -> None:
    """A piece of any length is taken when nothing waits, so none can block forever."""
    line = Line()
    async with playing(line):
        await line.write(frame(1, 5 * FRAME))
        await line.write(frame(2))
        await anyio.sleep(1.0)
    assert line.log == [(0, "1"), (20, "1"), (40, "1"), (60, "1"), (80, "1"), (100, "2")]


async def test_half_a_sample_is_refused() -> None:
    """An odd number of bytes is an error that names the output."""
    line = Line()
    async with playing(line):
        with pytest.raises(vp.AudioError, match="Line takes whole 16-bit samples"):
            await line.write(b"abc")


async def test_outside_of_a_session() -> None:
    """An output outside a session has played nothing and ignores reports; the error of `write` says what to do."""
    line = MarkingLine()
    line.marked("1")
    line.flush()
    assert (line.played_s, line.statistics().frames) == (0.0, 0)
    with pytest.raises(vp.AudioError, match=r"pass it to host\.session\(output=\.\.\.\)"):
        await line.write(frame(1))


# --- silence ----------------------------------------------------------------------------------------------------------


async def test_nothing_of_the_old_audio_is_sent_after_a_flush() -> None:
    """Audio held or waiting for room at a `flush` is not sent; `clear` is sent ahead of new audio."""
    line = ClearingLine()
    async with playing(line), anyio.create_task_group() as tasks:
        tasks.start_soon(speak, line, 1, 2, 3, 4, 5)
        await anyio.sleep(0.03)
        line.flush()
        await anyio.sleep(1.0)
    assert line.log == [(0, "1"), (20, "2"), (30, "clear")]


async def test_clear_comes_before_new_audio() -> None:
    """New audio written in the same step as the flush is sent immediately, after `clear`."""
    line = ClearingLine()
    async with playing(line):
        await speak(line, 1, 2, 3)
        line.flush()
        await speak(line, 7, 8)
        await anyio.sleep(1.0)
    assert line.log == [(0, "1"), (0, "clear"), (0, "7"), (20, "8")]


async def test_a_message_that_is_being_sent_is_sent_to_its_end() -> None:
    """A flush does not cut the message being sent: `clear` follows it, and the frame does not count."""
    line = ClearingLine()
    line.sends_s = 0.015
    async with playing(line):
        await speak(line, 1, 2)
        await anyio.sleep(0.025)  # frame 2 is under way from 20 to 35 ms
        line.flush()
        assert line.played_s == 0.01
        await line.write(frame(7))
        await anyio.sleep(0.008)
        assert line.played_s == 0.01
        await anyio.sleep(1.0)
        assert line.played_s == 0.03
    assert line.log == [(0, "1"), (20, "2"), (35, "clear"), (35, "7")]


async def test_there_is_nothing_to_clear_when_nothing_was_sent() -> None:
    """A flush without audio at the peer sends nothing; two flushes in one step send one `clear`."""
    line = ClearingLine()
    async with playing(line):
        line.flush()
        await anyio.sleep(0.1)
        await line.write(frame(1))
        await anyio.sleep(0.1)
        line.flush()
        line.flush()
        await anyio.sleep(0.1)
        line.flush()
        await anyio.sleep(0.1)
    assert line.log == [(100, "1"), (200, "clear")]


async def test_an_interruption_is_silence_at_once() -> None:
    """`interrupt()` during a reply: no frame follows, the peer clears, and the history ends where the clock stood."""
    line = ClearingLine()
    row = vp.Pipeline(ScriptedModel([Says("One two three four five.")]), vp.SentenceChunker(), ScriptedVoice())
    async with row.session(output=line) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.user_says, "Count.")
        await anyio.sleep(0.51)
        session.interrupt()
        interrupted = len(line.log)
        await anyio.sleep(1.0)
        session.end()
    assert line.log[interrupted:] == [(510, "clear")]
    assert session.history[-1].text == "One two"


@pytest.mark.parametrize("sends_s", [0.0, 0.007])
@pytest.mark.parametrize("at_ms", range(1, 100, 7))
async def test_an_interruption_at_any_time(at_ms: int, sends_s: float) -> None:
    """Whenever a caller interrupts and a new reply follows: old frames, then `clear`, then new frames, never mixed."""

    class Voice(vp.TTSSink):
        sample_rate = RATE

        async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[bytes]:
            yield frame(1 if "old" in sentence.text else 2, 3 * FRAME + 10)

    line = ClearingLine()
    line.sends_s = sends_s
    row = vp.Pipeline(ScriptedModel([Says("The old one."), Says("The new one.")]), vp.SentenceChunker(), Voice())
    async with row.session(output=line) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.user_says, "First?")
        await anyio.sleep(at_ms / 1_000)
        played_s, began = line.played_s, len(line.log)
        turn = await session.user_says("Second?")  # interrupts, unless the first one has ended
        assert turn.state is vp.TurnState.DONE
        assert round(line.played_s - played_s, 6) == 0.06125
    before, after = [what for _, what in line.log[:began]], [what for _, what in line.log[began:]]
    assert before == ["1", "1", "1", "1 0"][: len(before)]
    assert after in (["clear", "2", "2", "2", "2 0"], ["2", "2", "2", "2 0"])
    was_heard = at_ms > 81.25 + 1_000 * sends_s  # then nothing was interrupted
    assert (after[0] == "clear") != was_heard


async def test_an_end_in_mid_speech_still_clears() -> None:
    """A session that ends while the agent speaks still sends the pending `clear`."""
    line = ClearingLine()
    async with playing(line) as session:
        session.say("This takes a while.")
        await anyio.sleep(0.1)
    assert line.log[-1] == (100, "clear")


# --- what was played --------------------------------------------------------------------------------------------------


async def test_played_follows_the_clock() -> None:
    """Without marks audio counts as played while it plays, from when it was sent."""
    line = Line()
    played = []
    async with playing(line):
        await anyio.sleep_until(0.105)
        await speak(line, 1, 2)
        for at_s in (0.105, 0.115, 0.125, 0.135, 0.145, 5.0):
            await anyio.sleep_until(at_s)
            played.append(line.played_s)
    assert line.log == [(105, "1"), (120, "2")]
    assert played == [0.0, 0.01, 0.02, 0.03, 0.04, 0.04]


class Buffering(Line):
    """A peer that plays what it gets 0.2 s later, as one on the internet does."""

    peer_buffer_s = vp.PacedOutput.peer_buffer_s


async def test_a_session_ends_once_the_peer_has_played_its_last_words() -> None:
    """What was sent is not what was heard: the call is not ended over the last words in the peer's buffer."""
    line = Buffering()
    row = vp.Pipeline(ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice(sample_rate=RATE))
    async with row.session(output=line, greeting="Good-bye.") as session:
        session.end(after_reply=True)
        await session.ended.wait()
        ended_s = anyio.current_time()
    last_sent_s = max(at_ms for at_ms, _ in line.log) / 1_000
    assert (last_sent_s, round(ended_s, 6)) == (0.46, 0.46 + 0.2 + 0.01)  # the last frame holds 10 ms of speech


async def test_what_is_still_in_the_peers_buffer_was_not_heard() -> None:
    """An interruption empties the peer's buffer: the words of its last 0.2 s are not in history."""
    line = Buffering()
    row = vp.Pipeline(ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice(sample_rate=RATE, character_s=0.1))
    async with row.session(output=line, greeting="One two three four.") as session:
        await anyio.sleep(1.0)
        session.interrupt()
        assert line.played_s == pytest.approx(0.8)
    assert session.history[-1].text == "One two"


@pytest.mark.parametrize("buffer_s", [-0.1, 1.6, float("nan")])
async def test_a_peers_buffer_that_cannot_be_is_refused(buffer_s: float) -> None:
    """A buffer as long as the time after which an output counts as stalled is an error when the call begins."""
    line = Line()
    line.peer_buffer_s = buffer_s
    with pytest.raises(vp.ConfigurationError, match=r"peer_buffer_s must be 0 to 1\.5 seconds, not"):
        async with playing(line):
            pass


async def test_a_frame_counts_when_it_has_been_sent() -> None:
    """Audio does not count as played while the transport delays it."""
    line = Line()
    line.sends_s = 0.5
    async with playing(line):
        await line.write(frame(1))
        await anyio.sleep_until(0.49)
        assert line.played_s == 0.0
        await anyio.sleep_until(0.51)
        assert line.played_s == 0.01


async def test_marks_are_sent_every_fifth_of_a_second_and_at_the_end() -> None:
    """A mark follows each 0.2 s of audio, and the last frame if no other comes with the next tick."""
    line = MarkingLine()
    async with playing(line):
        for _ in range(23):
            await line.write(frame(1))
        await anyio.sleep(1.0)
    marks = [(at_ms, what) for at_ms, what in line.log if "mark" in what]
    assert marks == [(180, "mark 1"), (380, "mark 2"), (460, "mark 3")]


async def test_played_is_what_the_peer_reports() -> None:
    """With marks, audio counts as played when the peer reports it; unknown, repeated or old reports are ignored."""
    line = MarkingLine()
    played = []
    async with playing(line):
        for _ in range(33):
            await line.write(frame(1))
        await anyio.sleep(1.0)
        for name in ("", "7", "1", "1", "3", "2", "4"):
            line.marked(name)
            played.append(line.played_s)
    assert played == [0.0, 0.0, 0.2, 0.2, 0.6, 0.6, 0.66]


async def test_a_report_cannot_be_ahead_of_the_clock() -> None:
    """A report of audio for whose playback there was no time yet counts only up to the clock."""
    line = MarkingLine()
    async with playing(line):
        for _ in range(12):
            await line.write(frame(1))
        assert line.log[-1] == (180, "mark 1")  # of audio that is played by 200 ms
        line.marked("1")
        assert line.played_s == 0.18
        await anyio.sleep(0.02)
        assert line.played_s == 0.2


async def test_a_report_of_flushed_audio_says_nothing() -> None:
    """Reports about cleared audio are ignored after a flush, and `played_s` continues."""
    line = MarkingLine()
    async with playing(line):
        for _ in range(25):
            await line.write(frame(1))
        line.marked("1")
        line.flush()
        line.marked("2")
        assert line.played_s == 0.2
        await line.write(frame(2))
        await anyio.sleep(1.0)
        assert (line.log[-1][1], line.played_s) == ("mark 3", 0.2)
        line.marked("3")
        assert line.played_s == 0.22


async def test_history_is_what_the_peer_reported() -> None:
    """An interruption keeps the words up to the newest mark, though more was sent; a whole reply counts completely."""

    class Phone(MarkingLine):
        """Plays 0.3 s after sending, and reports."""

        tasks: Any

        async def mark(self, name: str) -> None:
            await super().mark(name)
            self.tasks.start_soon(self.report, name)

        async def report(self, name: str) -> None:
            await anyio.sleep(0.3)
            self.marked(name)

    line = Phone()
    replies = [Says("One two three four five six seven."), Says("Done.")]
    row = vp.Pipeline(ScriptedModel(replies), vp.SentenceChunker(), ScriptedVoice())
    async with anyio.create_task_group() as line.tasks, row.session(output=line) as session:
        line.tasks.start_soon(session.user_says, "Count.")
        await anyio.sleep(1.0)  # 1.0 s sent, the mark at 0.6 s was reported at 0.88 s
        session.interrupt()
        assert session.history[-1].text == "One two"
        turn = await session.user_says("And?")
        assert (turn.state, session.history[-1].text) == (vp.TurnState.DONE, "Done.")
        session.end()


async def test_a_peer_that_never_reports_fails_the_turn() -> None:
    """Marks that are never reported fail the turn within 2 s of its last frame; the session goes on."""
    line = MarkingLine()
    row = vp.Pipeline(
        ScriptedModel([Says("x" * 100)]), vp.SentenceChunker(), ScriptedVoice(sample_rate=RATE), fallback=""
    )
    async with row.session(output=line) as session:
        turn = await session.user_says("Hello?")  # 5 s of speech; the last two frames wait when all is written
        assert isinstance(turn.failure, vp.AudioError)
        assert "MarkingLine played nothing for 2 s although it holds audio" in str(turn.failure)
        assert round(anyio.current_time(), 3) == 6.945
        assert not session.ended.is_set()


# --- what the peer is told, and when ----------------------------------------------------------------------------------


class Showing(ClearingLine):
    """A peer that shows what happens, next to what it plays."""

    async def tell(self, event: vp.Event) -> None:
        what = getattr(event, "text", "") or (f"to {event.heard!r}" if isinstance(event, vp.TurnEnded) else "")
        self.note(f"{type(event).__name__} {what}".strip())

    async def send(self, pcm: bytes) -> None:
        self.note(f"turn {self.turn_id}")


def told(line: Line) -> list[str]:
    """Return what came, in order; frames of one turn that follow each other once."""
    hearing = ("Speech", "EarlyTranscript", "DetectorMissing")
    whats = [what for _, what in line.log if not what.startswith(("TurnStarted", "ModelUsage", *hearing))]
    return [what for at, what in enumerate(whats) if not (at and what == whats[at - 1])]


async def test_events_come_in_the_order_of_the_audio() -> None:
    """A sentence is named before its first frame, and the end of the utterance after the last one, ahead of its end."""
    line = Showing()
    voice = ScriptedVoice(character_s=0.01, sample_rate=RATE)
    agent = vp.Pipeline(ScriptedModel([Says("One. Two two."), Says("Three.")]), vp.SentenceChunker(), voice)
    async with agent.session(output=line) as session:
        await session.user_says("Count.")
        await session.user_says("Go on.")
    assert told(line) == [
        *("Transcript Count.", "SentenceStarted One.", "turn 1", "SentenceStarted Two two.", "turn 1"),
        *("UtteranceEnded", "TurnCompleted to 'One. Two two.'"),
        *("Transcript Go on.", "SentenceStarted Three.", "turn 2", "UtteranceEnded", "TurnCompleted to 'Three.'"),
    ]


async def test_an_interruption_is_told_after_the_clear_and_before_new_audio() -> None:
    """What was held is dropped with its frames, and its events are not: each comes, in its order."""
    line = Showing()
    voice = ScriptedVoice(character_s=0.05, sample_rate=RATE)
    agent = vp.Pipeline(ScriptedModel([Says("A long sentence."), Says("New.")]), vp.SentenceChunker(), voice)
    async with agent.session(output=line) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.user_says, "Speak.")
        await anyio.sleep(0.41)
        session.interrupt()
        await session.user_says("And now?")
    at = told(line).index("clear")
    assert told(line)[at - 1 : at + 5] == [
        *("turn 1", "clear", "TurnInterrupted to 'A long'", "Transcript And now?", "SentenceStarted New.", "turn 2")
    ]
    ends = [at_ms for at_ms, what in line.log if what.startswith(("clear", "TurnInterrupted"))]
    assert ends == [410, 410]


async def test_a_paused_utterance_goes_on_as_the_same_one() -> None:
    """A pause is told after the clear; what follows `Resumed` belongs to the turn that was paused, and ends again."""
    line = Showing()
    ears = ScriptedRecogniser(sample_rate=RATE).says("Speak.", at_s=0.2).coughs(at_s=1.0, for_s=0.3)
    agent = vp.Pipeline(
        vp.STTStage(ears),
        ScriptedModel([Says("A sentence that is long enough.")]),
        vp.SentenceChunker(),
        ScriptedVoice(character_s=0.05, sample_rate=RATE),
    )
    source = vp.PushSource(RATE)
    async with agent.session(source=source, output=line) as session:
        for tick in range(200):
            await anyio.sleep_until(tick * 0.02)
            source.push(frame(0))
        session.end()
    assert told(line) == [
        *("Transcript Speak.", "SentenceStarted A sentence that is long enough.", "turn 1", "clear", "Paused"),
        *("Resumed", "turn 1", "UtteranceEnded", "TurnCompleted to 'A sentence that is long enough.'"),
    ]


async def test_a_peer_that_takes_no_events_ends_its_call() -> None:
    """A thousand events may wait for the peer; then the call ends, with the name of the output."""

    class Slow(Showing):
        async def tell(self, event: vp.Event) -> None:
            await anyio.sleep(4.0)

    with pytest.raises(vp.AudioError, match=r"Slow.tell is 1,000 events behind; check that the peer reads"):
        async with playing(Slow()) as session:
            for _ in range(1_002):
                session.emit(vp.Backchannel("mhm"))
            await anyio.sleep(1.0)


async def test_a_lead_is_sent_ahead() -> None:
    """With a lead audio is sent as soon as it is there, until the peer has that much in store."""

    class Ahead(ClearingLine):
        lead_s = 0.06

    line = Ahead()
    async with playing(line):
        await speak(line, *range(1, 9))
        assert round(line.played_s, 6) == round(anyio.current_time(), 6)
        await anyio.sleep(1.0)
        assert line.played_s == 0.16
    assert [at_ms for at_ms, _ in line.log] == [0, 0, 0, 0, 20, 40, 60, 80]


@pytest.mark.parametrize(
    ("lead_s", "kind", "said"),
    [
        (-0.1, ClearingLine, "lead_s must be 0 to 1 seconds, not -0.1"),
        (1.5, ClearingLine, "lead_s must be 0 to 1 seconds, not 1.5"),
        (float("nan"), ClearingLine, "lead_s must be 0 to 1 seconds, not nan"),
        (0.2, Line, r"lead_s needs a peer that can drop what it was sent; implement clear\(\), or use lead_s = 0"),
    ],
)
async def test_a_lead_that_cannot_be_is_refused(lead_s: float, kind: type[Line], said: str) -> None:
    """A lead is limited, and only for a peer that can drop it again."""
    line = kind()
    line.lead_s = lead_s
    with pytest.raises(vp.ConfigurationError, match=said):
        async with playing(line):
            pass


async def test_a_peer_may_report_its_position() -> None:
    """What was heard is exact to the sample, and `heard_by` says how it is known."""

    class Counting(ClearingLine):
        reports_position = True

    line = Counting()
    async with playing(line):
        await speak(line, 1, 2, 3)
        await anyio.sleep(1.0)
        assert line.played_s == 0.0
        line.played(2 * FRAME + 40)
        assert line.played_s == 0.045
        line.played(3 * FRAME)
        assert line.played_s == 0.06
    assert [peer.heard_by for peer in (line, MarkingLine(), ClearingLine())] == ["position", "marks", "clock"]


async def test_history_is_where_the_peer_says_it_was() -> None:
    """A peer that reports late how little it has played takes the rest out of the history, and adds nothing to it."""
    line = ClearingLine()
    voice = ScriptedVoice(character_s=0.05, sample_rate=RATE)
    agent = vp.Pipeline(ScriptedModel([Says("One two three four.")]), vp.SentenceChunker(), voice)
    async with agent.session(output=line) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.user_says, "Count.")
        await anyio.sleep(0.72)
        session.correct_heard(1, 0.1)  # it plays: nothing changes
        session.interrupt()
        texts = [session.history[-1].text]
        for turn_id, heard_s in ((7, 0.1), (1, 9.0), (1, 0.5), (1, 0.6), (1, 0.2)):
            session.correct_heard(turn_id, heard_s)
            texts.append(session.history[-1].text)
        with pytest.raises(vp.ConfigurationError, match="correct_heard takes seconds, not -1"):
            session.correct_heard(1, -1)
    three = "One two three"
    assert texts == [three, three, three, "One two", "One two", "One"]


# --- one tick for all -------------------------------------------------------------------------------------------------


async def test_all_outputs_share_one_timer() -> None:
    """Fifty speaking outputs are driven by one timer; each sends the same frames at the same times."""
    loop: Any = asyncio.get_running_loop()
    lines = [Line() for _ in range(50)]
    async with anyio.create_task_group() as tasks:

        async def hold(line: Line) -> None:
            async with playing(line):
                await speak(line, 1, 2, 3, 4)
                await anyio.sleep(0.2)

        for line in lines:
            tasks.start_soon(hold, line)
        await anyio.sleep(0.05)
        ticks = [timer for timer in loop._scheduled if "Beat._tick" in repr(timer) and not timer.cancelled()]
        assert len(ticks) == 1
        assert lines[0].statistics().outputs == 50
    assert [line.log for line in lines] == [[(0, "1"), (20, "2"), (40, "3"), (60, "4")]] * 50


async def test_outputs_join_and_leave() -> None:
    """A later listener shares the same ticks; when the last one leaves the timer stops, and a new one can start."""
    loop: Any = asyncio.get_running_loop()
    first, second, third = Line(), Line(), Line()

    def ticks() -> int:
        return len([timer for timer in loop._scheduled if "Beat._tick" in repr(timer) and not timer.cancelled()])

    async with playing(first):
        await anyio.sleep_until(0.033)
        async with playing(second):
            await speak(second, 1, 2)
            await speak(first, 1, 2)
            await anyio.sleep_until(0.07)
            assert (first.statistics().outputs, ticks()) == (2, 1)
        await speak(first, 3, 4)
        await anyio.sleep_until(0.1)
        assert (first.statistics().outputs, ticks()) == (1, 1)
    assert ticks() == 0
    await anyio.sleep_until(0.205)
    async with playing(third):
        await speak(third, 1, 2)
        await anyio.sleep(0.1)
    assert second.log == [(33, "1"), (40, "2")]
    assert first.log == [(33, "1"), (40, "2"), (70, "3"), (80, "4")]
    assert third.log == [(205, "1"), (225, "2")]
    assert ticks() == 0


async def test_one_output_serves_one_call() -> None:
    """An output in a session is refused by a second one, with what to do; afterwards it can be used again."""
    line = Line()
    async with playing(line):
        with pytest.raises(vp.ConfigurationError, match="Line is already in a session; create one for each session"):
            async with playing(line):
                pass
    async with playing(line):
        await line.write(frame(1))
        await anyio.sleep(0.1)
        assert repr(line) == "<Line 8000 Hz 1 frames sent>"


# --- what fails -------------------------------------------------------------------------------------------------------


async def test_an_error_in_send_ends_the_session() -> None:
    """An error of `send` ends the session as a `StageError` that names the output and has the error as its cause."""

    class Broken(Line):
        async def send(self, pcm: bytes) -> None:
            raise OSError("the line is down")

    with pytest.raises(vp.StageError, match=r"Broken raised OSError: the line is down") as caught:
        async with playing(Broken()) as session:
            session.say("Hello.")
            await session.ended.wait()
            await anyio.sleep_forever()
    assert caught.value.part == "Broken"


async def test_a_peer_that_does_not_read() -> None:
    """When a send blocks, two frames are held, the turn fails after 2 s and the session after 5 s, with its name."""
    line = Line()
    line.sends_s = 1_000.0
    turn = None
    row = vp.Pipeline(
        ScriptedModel([Says("x" * 100)]), vp.SentenceChunker(), ScriptedVoice(sample_rate=RATE), fallback=""
    )
    with pytest.raises(vp.AudioError, match="Line could not send a message within 5 s") as caught:
        async with row.session(output=line) as session:
            turn = await session.user_says("Hello?")
            assert round(anyio.current_time(), 3) == 2.0
            await anyio.sleep_forever()
    assert turn is not None
    assert "Line played nothing for 2 s" in str(turn.failure)
    assert (round(anyio.current_time(), 3), line.log) == (5.02, [(0, "4096")])
    assert caught.value.__notes__ == ["in Line"]


async def test_an_interruption_does_not_wait_for_a_slow_peer() -> None:
    """While a send blocks, `interrupt()` returns immediately, nothing counts as played, and the session can end."""
    line = Line()
    line.sends_s = 1_000.0
    row = vp.Pipeline(ScriptedModel([Says("x" * 100)]), vp.SentenceChunker(), ScriptedVoice())
    async with row.session(output=line) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.user_says, "Hello?")
        await anyio.sleep(1.0)
        session.interrupt()
        assert (line.played_s, session.is_busy) == (0.0, False)
        session.end()
    assert anyio.current_time() <= 3.0


async def test_a_slow_peer_gets_all_of_it() -> None:
    """A peer that takes 30 ms for each message gets every frame in order, and at most two are held."""
    line = Line()
    line.sends_s = 0.03
    async with playing(line):
        await speak(line, 1, 2, 3, 4, 5)
        await anyio.sleep(1.0)
    assert line.log == [(0, "1"), (30, "2"), (60, "3"), (90, "4"), (120, "5")]
