"""Where a replayed agent speaks: an output that plays by the clock, as late as the recorded one."""

from __future__ import annotations

from collections import deque
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio

from voicepipe.audio.output import BUFFERED_S, Output
from voicepipe.core.clock import loop_time
from voicepipe.events import SentenceStarted, TurnCompleted, TurnInterrupted, UtteranceEnded
from voicepipe.floor_events import Paused, Resumed
from voicepipe.watching.replay.playhead import SAME_S

if TYPE_CHECKING:
    from voicepipe.events import Event
    from voicepipe.watching.replay.playhead import Playhead
    from voicepipe.watching.replay.recorded_call import RecordedCall

__all__ = ["ReplayOutput"]

LONGEST_LAG_S: Final = 1.0
"""No output plays later than this; a turn that ended later waited for something else."""

STALL_S: Final = 0.3
"""For how long an output may have stood still in a turn, because the program or the machine did."""

EXACT_S: Final = 1e-3
"""What is less than this is an event loop's own, and no stall and no lag."""

EARLY_S: Final = 0.005
"""How much earlier than in the recording an interruption may come: as long as it took to be decided."""

ROUNDING_S: Final = 2e-6


class _Stop(NamedTuple):
    """A turn was paused, interrupted or over.

    Attributes:
        at_s: When.
        heard_s: How much of it was heard by then.
        is_end: Whether it was heard to its end.
    """

    at_s: float
    heard_s: float
    is_end: bool


class ReplayOutput(Output):
    """Plays into nothing, by the loop's clock, and where the recording knows it, at the pace of the recorded output.

    How much of a turn was heard when it was paused, interrupted or over is known; the sound card, or a program that
    stood still, decided it then. It is the same here, if the turn begins to speak when it did.

    Args:
        call: The recording.
        playhead: Where its replay stands.
        sample_rate: Samples per second that it takes.
    """

    def __init__(self, call: RecordedCall, playhead: Playhead, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.has_echo = call.began.has_echo
        self.shows_text = call.began.shows_text
        self._call = call
        self._playhead = playhead
        self._lag_s = _lag_s(call)
        self._stops_of = _stops(call)
        self._stops: deque[_Stop] = deque()  # those of the turn that speaks, which are still to come
        self._starts_s = -1.0  # when the first sample of the turn was played
        self._turn_id = 0
        self._turn_from_s = 0.0  # what had been played when the turn began
        self._plays_until_s = 0.0
        self._played_s = 0.0  # of what was written before `_waiting`
        self._waiting: deque[tuple[float, float]] = deque()  # when each frame becomes audible, and how long it is
        self._flushes = 0
        self._reported_s = 0.0

    async def write(self, pcm: bytes) -> None:
        """Take a frame. See `Output.write`."""
        flushes, duration_s = self._flushes, len(pcm) / 2 / self.sample_rate
        if 0 < self._starts_s - self._playhead.now_s <= STALL_S:
            await self._playhead.until(self._starts_s)
            if self._flushes != flushes:
                return
        while (room_at := self._plays_until_s + duration_s - BUFFERED_S) > loop_time() + 1e-6:
            await anyio.sleep_until(room_at)
            if self._flushes != flushes:
                return
        begins_s = max(self._plays_until_s, loop_time())
        self._waiting.append((begins_s + self._lag_s, duration_s))
        self._plays_until_s = begins_s + duration_s

    def flush(self) -> None:
        """Drop what has not been played. See `Output.flush`."""
        self._flushes += 1
        self._played_s = self.played_s
        self._waiting.clear()
        self._plays_until_s = loop_time()

    def on_event(self, event: Event) -> None:
        """Note where each turn begins, and goes on after a pause. See `Output.on_event`."""
        if isinstance(event, SentenceStarted) and event.turn_id != self._turn_id:
            self._turn_id, self._turn_from_s = event.turn_id, self._clocked_s
            ended = self._call.ends.get(event.turn_id)
            began_s = ended.timeline.first_frame if ended and "first_frame" in ended.timeline else -1.0
            self._starts_s = ended.timeline.marks.get("first_sample", -1.0) if ended else -1.0
            is_in_time = abs(self._playhead.now_s - began_s) <= SAME_S
            self._stops = deque(self._stops_of.get(event.turn_id, ()) if is_in_time else ())
        elif isinstance(event, Resumed):
            self._turn_from_s = self._clocked_s - event.from_s

    @property
    def played_s(self) -> float:
        """Seconds played: by the clock, and as recorded where the recording knows it."""
        self._reported_s = max(self._reported_s, self._known_s(self._clocked_s))
        return self._reported_s

    def _known_s(self, clocked_s: float) -> float:
        """Return what was played by now in the recording; `clocked_s` if it does not say."""
        while self._stops and self._playhead.now_s - self._stops[0].at_s > SAME_S:
            self._stops.popleft()
        if not self._stops:
            return clocked_s
        stop = self._stops[0]
        left_s = stop.at_s - self._playhead.now_s
        left_s = left_s if left_s > ROUNDING_S else 0.0
        heard_s = self._turn_from_s + stop.heard_s
        written_s = self._played_s + sum(duration_s for _, duration_s in self._waiting)
        if written_s >= heard_s - ROUNDING_S and EXACT_S < clocked_s - (heard_s - left_s) <= STALL_S:
            return heard_s - left_s  # the recorded output stood still meanwhile
        if not stop.is_end and left_s <= EARLY_S and abs(heard_s - clocked_s) <= STALL_S:
            return min(heard_s, written_s)
        return clocked_s

    @property
    def _clocked_s(self) -> float:
        now = loop_time()
        while self._waiting and self._waiting[0][0] + self._waiting[0][1] <= now:
            self._played_s += self._waiting.popleft()[1]
        return self._played_s + (max(0.0, now - self._waiting[0][0]) if self._waiting else 0.0)


def _lag_s(call: RecordedCall) -> float:
    """Return how long after a frame was handed over it was played, as the turns show that were heard to their end.

    It is what they lasted longer than their audio, and what their last frames took, each at its shortest: gaps between
    sentences make turns longer, and some outputs take more in advance.
    """
    longer_s, last_s = [LONGEST_LAG_S], [LONGEST_LAG_S]
    handed_over_s: dict[int, float] = {}
    for at_s, event in call.events:
        if isinstance(event, UtteranceEnded):
            handed_over_s[event.turn_id] = at_s
        elif isinstance(event, TurnCompleted) and "first_frame" in event.timeline and event.turn_id in handed_over_s:
            longer_s.append(event.timeline.ended - event.timeline.first_frame - event.heard_s)
            last_s.append(event.timeline.ended - handed_over_s[event.turn_id] - BUFFERED_S)
    lag_s = min(*longer_s, *last_s)
    return lag_s if EXACT_S < lag_s < LONGEST_LAG_S else 0.0


def _stops(call: RecordedCall) -> dict[int, list[_Stop]]:
    """Return for each turn when it was paused, interrupted or over, and how much of it was heard by then.

    What stopped in silence, after a sentence, is left out: nobody knows when the sentence was over.
    """
    lasted_s: dict[int, list[float]] = {}
    for sentence in call.sentences:
        lasted_s.setdefault(sentence.asked.turn_id, []).append(sentence.audio_s)
    # The sentences of drafts that were dropped have the number of the turn, too: it begins with any of them.
    ends_s = {
        turn_id: [end_s for first in range(len(all_s)) for end_s in accumulate(all_s[first:], initial=0.0)]
        for turn_id, all_s in lasted_s.items()
    }
    found: dict[int, list[_Stop]] = {}
    handed_over_s: dict[int, float] = {}
    for at_s, event in call.events:
        if isinstance(event, UtteranceEnded):
            handed_over_s[event.turn_id] = at_s
        elif isinstance(event, TurnCompleted):
            if at_s - handed_over_s.get(event.turn_id, at_s) > BUFFERED_S / 2:  # else its audio was over before
                found.setdefault(event.turn_id, []).append(_Stop(at_s, event.heard_s, is_end=True))
        elif isinstance(event, (Paused, TurnInterrupted)) and all(
            abs(event.heard_s - end_s) > EXACT_S for end_s in ends_s.get(event.turn_id, ())
        ):
            found.setdefault(event.turn_id, []).append(_Stop(at_s, event.heard_s, is_end=False))
    return found
