"""Whether a recogniser still responds: which messages it owes, and when they are overdue."""

from __future__ import annotations

from typing import Any

import pytest

from voicepipe.vendors.line.hearing_watch import HearingWatch, Sign


class Room:
    """A call in pieces of 50 ms, in which the service sends messages at intervals."""

    def __init__(self, *, acknowledges: bool = True, sends_partials: bool = True) -> None:
        self.watch = HearingWatch(acknowledges=acknowledges, sends_partials=sends_partials)
        self.now = 0.0
        self.watch.connected(0.0)

    def gone_after(
        self, seconds: float, *, loud: bool = False, sign: Sign | None = None, every_s: float = 1.0, from_s: float = 0.0
    ) -> float | None:
        """Return when the service was given up in this time; None if it was not."""
        began_s, next_s = self.now, self.now + every_s
        while self.now < began_s + seconds:
            self.now = round(self.now + 0.05, 2)
            if sign and self.now >= next_s:
                self.watch.received(sign, self.now)
                next_s += every_s
            self.watch.sent(0.05, self.now, is_loud=loud and self.now > from_s)
            if self.watch.is_gone(self.now):
                gone_s = round(self.now - began_s, 2)
                self.watch.lost()
                self.watch.connected(self.now)
                return gone_s
        return None


@pytest.mark.parametrize(
    ("room", "hears", "gone_s"),
    [
        pytest.param(Room(), {}, 4.5, id="silence is not acknowledged"),
        pytest.param(Room(), {"loud": True}, 4.5, id="nor is speech"),
        pytest.param(Room(), {"sign": Sign.SILENCE}, None, id="silence is acknowledged"),
        pytest.param(Room(), {"sign": Sign.WORDS, "every_s": 3.0, "loud": True}, None, id="partials come"),
        pytest.param(Room(acknowledges=False), {}, None, id="an older model says nothing in silence"),
        pytest.param(Room(acknowledges=False), {"loud": True}, 4.55, id="but it answers speech"),
        pytest.param(Room(acknowledges=False), {"loud": True, "from_s": 20.0}, 24.55, id="whenever it begins"),
        pytest.param(Room(sends_partials=False), {"loud": True}, 12.0, id="without partials there is less to go by"),
        pytest.param(
            Room(sends_partials=False), {"loud": True, "sign": Sign.OTHER, "every_s": 5.0}, None, id="but a heartbeat"
        ),
    ],
)
def test_a_silent_service_is_noticed(room: Room, hears: dict[str, Any], gone_s: float | None) -> None:
    """A service that owes a message is given up within 5 s, and one that sends them never."""
    assert room.gone_after(30.0, **hears) == gone_s


def test_a_service_that_never_acknowledges_costs_one_connection() -> None:
    """When the next connection is as silent, the service counts as one that never acknowledges."""
    room = Room()
    assert room.gone_after(30.0) == 4.5
    assert room.gone_after(3600.0) is None


def test_patience_grows_until_something_is_understood() -> None:
    """In a noise that a service neither acknowledges nor understands, each loss takes twice as long."""
    room = Room()
    room.watch.received(Sign.SILENCE, 0.0)
    assert [room.gone_after(600.0) for _ in range(6)] == [4.5, 9.0, 18.0, 36.0, 60.0, 60.0]
    room.watch.received(Sign.WORDS, room.now)
    assert room.gone_after(600.0) == 4.5


def test_nothing_is_owed_for_audio_that_was_not_sent() -> None:
    """A source that paused does not make the service look dead when it goes on."""
    room = Room()
    room.watch.received(Sign.SILENCE, 0.0)
    room.now = 100.0
    assert room.gone_after(4.0) is None


def test_a_cough_is_no_speech() -> None:
    """A short noise needs no message, and does not count towards the next one."""
    room = Room(acknowledges=False)
    for _ in range(20):
        assert room.gone_after(0.2, loud=True) is None
        assert room.gone_after(9.2) is None


def test_a_service_may_be_given_longer_while_nobody_speaks() -> None:
    """Its own limit counts for speech, a longer one for silence once that was acknowledged."""
    watch = HearingWatch(acknowledges=False, sends_partials=True, limit_s=3.0, silent_s=6.0)
    watch.received(Sign.SILENCE, 0.0)
    for step in range(1, 120):
        watch.sent(0.05, step * 0.05, is_loud=False)
    assert [watch.is_gone(now) for now in (3.0, 5.9, 6.0)] == [False, False, True]
