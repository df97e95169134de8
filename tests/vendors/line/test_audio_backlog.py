"""The caller's audio on its way: pieces, what is kept, what is left out, and its times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.flow import AudioFrame
from voicepipe.vendors.line.audio_backlog import KEPT_S, Backlog, Piece
from voicepipe.vendors.line.audio_clock import AudioClock

RATE = 16_000
PIECE_S = 0.05
LOUD = b"\xb8\x0b\x48\xf4" * 400
QUIET = bytes(1600)


def frame(pcm: bytes, start_s: float, rate: int = RATE) -> AudioFrame:
    return AudioFrame(pcm=pcm, sample_rate=rate, start_s=start_s)


def filled(sounds: str, start_s: float = 0.0) -> Backlog:
    """A backlog with a piece for each letter: "s" for speech, "." for quiet."""
    backlog = Backlog(RATE, PIECE_S)
    for number, sound in enumerate(sounds):
        backlog.push(frame(LOUD if sound == "s" else QUIET, start_s + number * 0.05))
    return backlog


def taken(backlog: Backlog, *, is_behind: bool = False) -> list[Piece]:
    pieces = []
    while (piece := backlog.take(is_behind=is_behind)) is not None:
        pieces.append(piece)
    return pieces


@given(st.lists(st.binary(max_size=4000).map(lambda data: data[: len(data) // 2 * 2]), max_size=30))
def test_what_goes_in_comes_out(frames: list[bytes]) -> None:
    """Whatever the frames' lengths, the pieces are of 50 ms, in order and whole; only the last is filled up.

    `push` says whether there is a new one.
    """
    backlog, at_s = Backlog(RATE, PIECE_S), 0.0
    out = []
    for pcm in frames:
        has_pieces = backlog.push(frame(pcm, at_s))
        at_s += len(pcm) / 2 / RATE
        pieces = taken(backlog)
        assert has_pieces == bool(pieces)
        out += pieces
    backlog.end()
    out += taken(backlog)

    whole = b"".join(frames)
    assert b"".join(piece.pcm for piece in out)[: len(whole)] == whole
    assert {len(piece.pcm) for piece in out} <= {1600}
    assert len(out) == -(-len(whole) // 1600)


@pytest.mark.parametrize(
    ("rate", "size"), [(8_000, 800), (16_000, 1600), (22_050, 2206), (44_100, 4410), (96_000, 9600)]
)
def test_a_piece_is_never_too_short(rate: int, size: int) -> None:
    """A piece has 50 ms at any rate, rounded up: the service refuses shorter ones."""
    backlog = Backlog(rate, PIECE_S)
    backlog.push(frame(bytes(2 * rate), 0.0, rate))
    pieces = taken(backlog)
    assert {len(piece.pcm) for piece in pieces} == {size}
    assert all(len(piece.pcm) / 2 / rate >= 0.05 for piece in pieces)


def test_a_piece_knows_its_time() -> None:
    """Times follow the newest frame, so that lost audio does not shift what comes after it."""
    backlog = Backlog(RATE, PIECE_S)
    backlog.push(frame(bytes(640), 1.0))
    backlog.push(frame(bytes(960), 1.02))
    backlog.push(frame(bytes(1600), 5.0))
    assert [(piece.start_s, piece.end_s) for piece in taken(backlog)] == [(1.0, 1.05), (5.0, 5.05)]


def test_the_oldest_waiting_audio_is_dropped_and_counted() -> None:
    """At most 5 s of audio wait; older audio is dropped, and counted."""
    backlog = filled("s" * 130)
    pieces = taken(backlog)
    assert (len(pieces), pieces[0].start_s) == (100, pytest.approx(1.5))
    assert backlog.dropped_s == pytest.approx(1.5)


def test_audio_that_was_sent_is_not_counted_as_dropped() -> None:
    """Sent audio is kept for a new connection, and does not count as dropped when it grows too old."""
    backlog = Backlog(RATE, PIECE_S)
    for number in range(300):
        backlog.push(frame(LOUD, number * 0.05))
        taken(backlog)
    assert backlog.dropped_s == 0
    backlog.rewind()
    again = taken(backlog)
    assert (len(again) * 0.05, again[-1].end_s) == (pytest.approx(KEPT_S), pytest.approx(15.0))


def test_after_a_break_it_begins_with_what_was_not_understood() -> None:
    """Audio that a final transcript covers is not sent again; all audio after it is."""
    backlog = filled("s" * 20)
    taken(backlog)
    backlog.forget(0.57)
    backlog.rewind()
    assert [round(piece.start_s, 2) for piece in taken(backlog)] == [0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]


def test_what_was_not_sent_is_not_forgotten() -> None:
    """A transcript about audio that was never sent does not drop it."""
    backlog = filled("ssss")
    backlog.take(is_behind=False)
    backlog.forget(99.0)
    assert len(taken(backlog)) == 3


def test_positions_count_on() -> None:
    """The counts of pieces that came and were taken include dropped ones; sending again lowers the second."""
    backlog = filled("s" * 120)
    taken(backlog)
    backlog.forget(5.0)
    assert (backlog.pushed, backlog.taken) == (120, 120)
    backlog.rewind()
    assert (backlog.pushed, backlog.taken) == (120, 100)


def heard(pieces: list[Piece]) -> str:
    return "".join("s" if piece.is_loud else "." for piece in pieces)


@pytest.mark.parametrize(
    ("sounds", "sent"),
    [
        pytest.param("ss" + "." * 12 + "ss", "ss" + "." * 12 + "ss", id="a pause is kept"),
        pytest.param("ss" + "." * 40 + "ss", "ss" + "." * 12 + "...." + "ss", id="a long one is cut, not the onset"),
        pytest.param("s" * 50, "s" * 50, id="speech is kept"),
        pytest.param("." * 40, "." * 12, id="the end of quiet is not known yet"),
    ],
)
def test_a_service_that_is_behind_is_spared_silence(sounds: str, sent: str) -> None:
    """Long quiet is left out while the service has to catch up, but never speech, nor the beginning of a word."""
    assert heard(taken(filled(sounds), is_behind=True)) == sent
    assert heard(taken(filled(sounds))) == sounds


def test_at_the_end_nothing_is_held_back() -> None:
    """Once the caller has hung up, quiet is sent without waiting for what follows it."""
    backlog = filled("." * 40)
    backlog.end()
    assert heard(taken(backlog, is_behind=True)) == "." * 40


def test_noise_is_not_speech_for_long() -> None:
    """A steady noise counts as speech only until it has proved steady."""
    backlog = Backlog(RATE, PIECE_S)
    noise = b"\xf4\x01\x0c\xfe" * 400
    loud = []
    for number in range(1200):
        backlog.push(frame(noise, number * 0.05))
        loud += [piece.is_loud for piece in taken(backlog)]
    assert loud[0]
    assert not any(loud[600:])
    backlog.push(frame(LOUD, 60.0))
    assert heard(taken(backlog)) == "s"


def test_the_clock_follows_the_audio() -> None:
    """A position maps to the time of its sample, also after a gap; beyond the end it maps to the end."""
    clock = AudioClock(RATE)
    for piece in (*taken(filled("ssss", 10.0)), *taken(filled("ss", 20.0))):
        clock.add(piece)
    positions = [0.0, 0.1, 0.199, 0.2, 0.25, 0.3, 7.0]
    assert [round(clock.at(at_s), 3) for at_s in positions] == [10.0, 10.1, 10.199, 20.0, 20.05, 20.1, 20.1]
    assert clock.sent_s == pytest.approx(0.3)


@pytest.mark.slow
def test_the_clock_of_a_long_call_is_exact_and_small() -> None:
    """After ten hours of audio from a source that is 200 ppm slow there is no drift, and nothing has grown."""
    clock, rate = AudioClock(RATE), 0.9998
    for number in range(720_000):
        start_s = number * 0.05 / rate
        clock.add(Piece(QUIET, start_s, start_s + 0.05, is_loud=False))
    end_s = 36_000 / rate
    assert abs(clock.at(clock.sent_s - 1.0) - (end_s - 1.0)) < 0.011
    assert len(clock._times) <= 256


def test_nothing_sent_has_no_time() -> None:
    """A message about audio that was never sent does not break the clock."""
    assert AudioClock(RATE).at(3.0) == 0.0


def test_audio_that_need_not_be_heard_is_skipped() -> None:
    """Sent or not, it is gone, and the next piece is the first after that moment."""
    backlog = filled("ssssss")
    backlog.skip(0.11)
    assert [round(piece.start_s, 2) for piece in taken(backlog)] == [0.15, 0.2, 0.25]
