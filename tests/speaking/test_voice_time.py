"""How long a voice may take for the audio of one sentence."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voicepipe.speaking.voice_time import BEHIND_S, NO_AUDIO_S, VoiceTime

SHORT = st.floats(0.0, 10.0)


def test_the_first_audio_may_take_five_seconds() -> None:
    """Pieces without audio do not renew the time for the first audio."""
    time = VoiceTime("Hello.")
    time.waited(2.0)
    time.came(0.0)
    assert time.limit_s == 3.0
    time.waited(3.0)
    assert (time.limit_s, time.problem()) == (0.0, "sent no audio for 5 s")


def test_a_voice_that_drips_runs_out_of_time() -> None:
    """Audio may be five seconds behind speech, however regularly it comes."""
    time = VoiceTime("Hello.")
    time.came(0.001)
    for _ in range(5):
        time.waited(1.0)
        time.came(0.001)
    assert round(time.limit_s, 6) == 0.006
    time.waited(0.006)
    assert time.problem() == "is slower than speech by more than 5 s"


def test_a_voice_that_never_ends_is_endless() -> None:
    """A sentence may last ten seconds and a second for each character."""
    time = VoiceTime("Hello.")
    time.came(16.0)
    assert not time.is_endless
    time.came(0.02)
    assert time.is_endless
    assert time.problem() == "gave more than 16 s of audio for one sentence"


@given(st.lists(st.tuples(SHORT, SHORT)))
def test_no_wait_is_longer_than_the_limits(steps: list[tuple[float, float]]) -> None:
    """The next piece has at most five seconds, and less the further the voice is behind speech."""
    time, audio_s, waited_s = VoiceTime("Hello."), 0.0, 0.0
    for wait_s, piece_s in steps:
        time.waited(wait_s)
        waited_s += wait_s if audio_s else 0.0
        time.came(piece_s)
        audio_s += piece_s
        assert time.limit_s <= NO_AUDIO_S
        if audio_s:
            assert time.limit_s <= BEHIND_S + audio_s - waited_s + 1e-6
