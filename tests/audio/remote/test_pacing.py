"""The rules of a paced output, for any order of writes, sends, flushes and reports."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.audio.remote.pacing import CATCH_UP_TICKS, KNOWN_MARKS, HeardBy, Pacing, Playhead
from voicepipe.events import UtteranceEnded

RATE = 8_000
FRAME = 160
TICK_S = 0.02


def test_the_playhead_follows_the_clock() -> None:
    """Frames are played one after another, from their arrival; a padded frame ends with silence."""
    head = Playhead(RATE)
    head.add(FRAME, 1.0)
    head.add(40, 1.0)  # 5 ms and 15 ms of silence
    head.add(FRAME, 1.01)
    moments = (0.0, 1.0, 1.01, 1.02, 1.0225, 1.03, 1.04, 1.05, 9.0)
    assert [head.played(now) for now in moments] == [0, 0, 80, 160, 180, 200, 200, 280, 360]


def test_a_cut_playhead_begins_anew() -> None:
    """After a cut none of the old audio is played, and new audio is played immediately."""
    head = Playhead(RATE)
    head.add(FRAME, 0.0)
    head.add(FRAME, 0.0)
    head.cut(head.played(0.01))
    assert head.played(5.0) == 80
    head.add(FRAME, 0.015)
    assert (head.played(0.02), head.played(5.0)) == (120, 240)


def sent_at_once(pacing: Pacing, tick: int) -> int:
    count = 0
    while pacing.take_frame(tick) is not None:
        pacing.sent(tick * TICK_S)
        count += 1
    return count


@pytest.mark.parametrize(("missed", "frames"), [(0, 1), (1, 2), (10, 11), (CATCH_UP_TICKS, 26), (10_000, 26)])
def test_what_late_ticks_owe(missed: int, frames: int) -> None:
    """A late tick sends the frames of the ticks that were missed, up to half a second of them."""
    pacing = Pacing(RATE, heard_by="clock", tick=0)
    pacing.put(bytes(2 * FRAME * 100), 0)
    assert sent_at_once(pacing, 0) == 1
    assert sent_at_once(pacing, 1 + missed) == frames
    assert sent_at_once(pacing, 2 + missed) == 1


def test_nothing_is_owed_for_silence() -> None:
    """Ticks without audio owe nothing: speech that begins after them is sent frame by frame."""
    pacing = Pacing(RATE, heard_by="clock", tick=3)
    for tick in range(4, 50):
        assert not pacing.tick(tick)
    assert pacing.put(bytes(2 * FRAME * 3), 49)
    assert [sent_at_once(pacing, tick) for tick in (49, 49, 50, 51, 52)] == [1, 0, 1, 1, 0]


def test_marks_that_nobody_reports_are_forgotten() -> None:
    """The newest fifty marks are known; each report covers all marks before it."""
    pacing = Pacing(RATE, heard_by="marks", tick=0)
    names = []
    for tick in range(1_000):
        pacing.put(bytes(2 * FRAME), tick)
        sent_at_once(pacing, tick)
        if (name := pacing.take_mark()) is not None:
            names.append(name)
    assert len(names) == 100
    pacing.marked(names[-KNOWN_MARKS - 1])
    assert pacing.played_s(20.0) == 0.0
    pacing.marked(names[-KNOWN_MARKS])
    assert pacing.played_s(20.0) == 10.2


def test_a_lead_is_sent_at_once_and_then_kept() -> None:
    """Audio is sent ahead of the pace of speech by the lead, and at that pace from then on; silence owes nothing."""
    pacing = Pacing(RATE, heard_by="clock", tick=0, lead_s=0.1)
    pacing.put(bytes(2 * FRAME * 20), 0)
    assert [sent_at_once(pacing, tick) for tick in range(4)] == [6, 1, 1, 1]
    assert pacing.played_s(0.06) == 0.06
    assert sent_at_once(pacing, 14) == 11  # all of it
    assert not pacing.tick(100)
    pacing.put(bytes(2 * FRAME * 20), 100)
    assert [sent_at_once(pacing, tick) for tick in (100, 101)] == [6, 1]


def test_a_position_counts_what_was_given() -> None:
    """A peer's position counts all samples that it was given: silence that fills a frame, and what it has cleared."""
    pacing = Pacing(RATE, heard_by="position", tick=0)
    pacing.put(bytes(2 * (FRAME + 40)), 0)  # 25 ms, in two frames
    sent_at_once(pacing, 0)
    pacing.tick(1)
    pacing.tick(2)
    assert sent_at_once(pacing, 2) == 1
    for position, played_s in ((80, 0.01), (FRAME, 0.02), (FRAME + 20, 0.0225), (FRAME + 120, 0.025), (80, 0.025)):
        pacing.played(position)
        assert pacing.played_s(9.0) == played_s
    pacing.put(bytes(2 * 2 * FRAME), 3)
    sent_at_once(pacing, 3)
    pacing.flush(9.0, 3)
    pacing.played(3 * FRAME)  # of the frame that was flushed
    assert pacing.played_s(9.0) == 0.025
    pacing.put(bytes(2 * FRAME), 4)
    sent_at_once(pacing, 4)
    pacing.played(3 * FRAME + 80)
    assert pacing.played_s(10.0) == 0.035


def test_a_note_has_its_place_in_the_audio() -> None:
    """A note is due after the audio before it, before the frame in which audio after it begins, and after a flush."""
    first, second, third = (UtteranceEnded(turn_id=number) for number in (1, 2, 3))
    pacing = Pacing(RATE, heard_by="clock", tick=0)
    pacing.note(first)
    assert pacing.take_note() is first
    pacing.put(bytes(2 * FRAME), 0)
    pacing.put(bytes(40), 0)
    pacing.note(second)
    assert pacing.take_note() is None
    assert pacing.take_frame(0) is not None
    assert pacing.take_note() is None  # 20 samples are still to come
    pacing.put(bytes(2 * FRAME), 0)
    assert pacing.take_note() is second
    pacing.note(third)
    assert pacing.take_note() is None
    pacing.flush(0.0, 0)
    assert pacing.take_note() is third


# What may happen: audio comes, a tick (some late), a flush, a report (of any mark or position so far), a note.
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, FRAME)),
        st.tuples(st.just("tick"), st.integers(1, 40)),
        st.tuples(st.just("flush"), st.just(0)),
        st.tuples(st.just("report"), st.integers(0, 100)),
        st.tuples(st.just("note"), st.just(0)),
    ),
    max_size=80,
)


@given(actions=ACTIONS, heard_by=st.sampled_from(get_args(HeardBy)), lead=st.sampled_from((0, 1, 5)))
def test_whatever_happens(actions: list[tuple[str, int]], heard_by: HeardBy, lead: int) -> None:
    """Frames are whole, in order and never too many; `played_s` never decreases or exceeds what was sent.

    No note is lost, and each comes after the audio that was put before it.
    """
    pacing = Pacing(RATE, heard_by=heard_by, tick=0, lead_s=lead * TICK_S)
    tick, value, before_s, sent, clears, expected = 0, 0, 0.0, 0, 0, bytearray()
    heard, names = bytearray(), list[str]()
    notes = list[tuple[UtteranceEnded, int]]()  # with how much was put before it

    def take_notes() -> None:
        while (note := pacing.take_note()) is not None:
            expected_note, place = notes.pop(0)
            assert note is expected_note
            assert len(heard) + 2 * FRAME > place

    for what, number in actions:
        now = tick * TICK_S
        if what == "put" and pacing.has_room(2 * number):
            value = value % 250 + 1
            pcm = bytes([value, value]) * number
            pacing.put(pcm, tick)
            expected += pcm
        elif what == "tick":
            tick += number
            now = tick * TICK_S
            pacing.tick(tick)
        elif what == "flush":
            had_sent, flushed = sent, pacing.flushes
            pacing.flush(now, tick)
            assert pacing.take_frame(tick) is None
            assert pacing.flushes == flushed + 1
            assert pacing.take_clear() == (had_sent > clears)
            clears = had_sent
            expected, heard = bytearray(), bytearray()
            notes = [(note, 0) for note, _ in notes]
        elif what == "report" and heard_by == "position":
            pacing.played(sent * FRAME * number // 100)
        elif what == "report" and names:
            pacing.marked(names[number % len(names)])
        elif what == "note":
            notes.append((UtteranceEnded(turn_id=len(expected)), len(expected)))
            pacing.note(notes[-1][0])
        take_notes()
        frames = 0
        while (frame := pacing.take_frame(tick)) is not None:
            assert len(frame) == 2 * FRAME
            heard += frame.rstrip(b"\0")
            pacing.sent(now)
            frames += 1
            take_notes()
        assert frames <= min(max(number, 1), CATCH_UP_TICKS) + 1 + lead
        sent += frames
        while (name := pacing.take_mark()) is not None:
            assert heard_by == "marks"
            names.append(name)
        assert expected.startswith(heard)
        assert len(expected) - len(heard) <= 2 * 2 * FRAME
        played_s = pacing.played_s(now)
        assert before_s <= played_s <= min(now, sent * TICK_S)
        before_s = played_s
    assert len(names) == len(set(names))
    for later in range(tick + 1, tick + 20):
        pacing.tick(later)
        while (frame := pacing.take_frame(later)) is not None:
            heard += frame.rstrip(b"\0")
            pacing.sent(later * TICK_S)
        take_notes()
        if (name := pacing.take_mark()) is not None:
            names.append(name)
    if heard_by == "marks" and names:
        pacing.marked(names[-1])
    assert heard == expected
    assert not notes
