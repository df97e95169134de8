"""The output of a replay plays as late as the recorded one did, and stands still where that did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.recorded import recorded_call
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedUser, ScriptedVoice, run_on_virtual_time
from voicepipe.watching.replay import Replay

if TYPE_CHECKING:
    from voicepipe.watching.replay import RecordedCall


class Lagging(vp.Output):
    """Plays everything 0.15 s later than it is written, as a sound card may do."""

    def __init__(self) -> None:
        self._frames: list[tuple[float, float]] = []
        self._before_s = self._until_s = 0.0
        self._flushes = 0

    async def write(self, pcm: bytes) -> None:
        flushes, duration_s = self._flushes, len(pcm) / 2 / self.sample_rate
        await anyio.sleep_until(self._until_s + duration_s - 0.04)
        if flushes == self._flushes:
            begins_s = max(self._until_s, anyio.current_time())
            self._frames.append((begins_s + 0.15, duration_s))
            self._until_s = begins_s + duration_s

    def flush(self) -> None:
        self._before_s, self._frames, self._until_s = self.played_s, [], anyio.current_time()
        self._flushes += 1

    @property
    def played_s(self) -> float:
        now = anyio.current_time()
        return self._before_s + sum(min(max(0.0, now - at_s), duration_s) for at_s, duration_s in self._frames)


class Stalling(RecordingOutput):
    """Stands still for a moment in the middle of a reply, as a program does that is busy."""

    async def write(self, pcm: bytes) -> None:
        if len(self.written) == 30:
            await anyio.sleep(0.13)
        await super().write(pcm)


def call(output: vp.Output) -> RecordedCall:
    user = ScriptedUser().says("hello", at_s=1.0).interrupts("stop that", at_s=4.2).hangs_up(at_s=7.0)
    texts = ["Good morning, dear caller. It is a fine day, as it was yesterday. Goodbye.", "All right."]
    row = user, ScriptedModel([Says(text) for text in texts]), vp.SentenceChunker(), ScriptedVoice(first_audio_s=0.1)
    return recorded_call(vp.Pipeline(*row), output=output, greeting="Welcome to this shop.")


@pytest.mark.parametrize("output", [RecordingOutput, Stalling, Lagging])
def test_as_much_is_heard_as_was_heard(output: Any) -> None:
    """An interruption cuts where it cut, to the microsecond, although the replay's own output never stands still."""
    recorded = call(output())
    replayed = run_on_virtual_time(Replay(recorded).run)
    replayed.assert_same()
    assert replayed.difference.largest_s <= 1e-6
    assert [turn.heard_s for turn in replayed.turns] == [round(end.heard_s, 6) for end in recorded.ends.values()]
