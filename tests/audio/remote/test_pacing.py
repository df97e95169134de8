"""The rules of a paced output, for any order of writes, sends, flushes and reports."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.audio.remote.pacing import CATCH_UP_TICKS, KNOWN_MARKS, Pacing, Playhead

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
    pacing = Pacing(RATE, has_marks=False, tick=0)
    pacing.put(bytes(2 * FRAME * 100), 0)
    assert sent_at_once(pacing, 0) == 1
    assert sent_at_once(pacing, 1 + missed) == frames
    assert sent_at_once(pacing, 2 + missed) == 1


def test_nothing_is_owed_for_silence() -> None:
    """Ticks without audio owe nothing: speech that begins after them is sent frame by frame."""
    pacing = Pacing(RATE, has_marks=False, tick=3)
    for tick in range(4, 50):
        assert not pacing.tick(tick)
    assert pacing.put(bytes(2 * FRAME * 3), 49)
    assert [sent_at_once(pacing, tick) for tick in (49, 49, 50, 51, 52)] == [1, 0, 1, 1, 0]


def test_marks_that_nobody_reports_are_forgotten() -> None:
    """The newest fifty marks are known; each report covers all marks before it."""
    pacing = Pacing(RATE, has_marks=True, tick=0)
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


# What may happen: audio comes, a tick (some late), a flush, a report (of any mark so far), a send that takes time.
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, FRAME)),
        st.tuples(st.just("tick"), st.integers(1, 40)),
        st.tuples(st.just("flush"), st.just(0)),
        st.tuples(st.just("report"), st.integers(0, 100)),
    ),
    max_size=80,
)


@given(actions=ACTIONS, has_marks=st.booleans())
def test_whatever_happens(actions: list[tuple[str, int]], has_marks: bool) -> None:
    """Frames are whole, in order and never too many; `played_s` never decreases or exceeds what was sent."""
    pacing = Pacing(RATE, has_marks=has_marks, tick=0)
    tick, value, before_s, sent, clears, expected = 0, 0, 0.0, 0, 0, bytearray()
    heard, names = bytearray(), list[str]()
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
        elif what == "report" and names:
            pacing.marked(names[number % len(names)])
        frames = 0
        while (frame := pacing.take_frame(tick)) is not None:
            assert len(frame) == 2 * FRAME
            heard += frame.rstrip(b"\0")
            pacing.sent(now)
            frames += 1
        assert frames <= min(max(number, 1), CATCH_UP_TICKS) + 1
        sent += frames
        while (name := pacing.take_mark()) is not None:
            assert has_marks
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
        if (name := pacing.take_mark()) is not None:
            names.append(name)
    if has_marks and names:
        pacing.marked(names[-1])
    assert heard == expected
