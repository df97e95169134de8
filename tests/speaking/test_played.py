"""What was played of what was written: every sample once, none that was flushed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voicepipe.observed import PlayedAudio
from voicepipe.speaking.played import Played

RATE = 8_000


@given(
    st.lists(st.tuples(st.integers(1, 160), st.sampled_from(["on", "flush", "look"]), st.integers(0, 400)), max_size=30)
)
def test_each_sample_that_was_audible_comes_once(steps: list[tuple[int, str, int]]) -> None:
    """Whatever is written, flushed and looked at when: what comes is what a listener would have heard, in order."""
    came: list[PlayedAudio] = []
    played, now, end, heard, written = Played(came.append), 0, 0, bytearray(), bytearray()
    begins: dict[int, int] = {}
    for number, (samples, step, passes) in enumerate(steps):
        start = max(now, end)
        pcm = number.to_bytes(2, "little") * samples
        played.plays(PlayedAudio(pcm=pcm, sample_rate=RATE, at_s=start / RATE, turn_id=number), now / RATE)
        begins[number], end = start, start + samples
        written += pcm
        now += passes
        if step == "flush":
            played.silenced(now / RATE)
            left = max(0, end - now)
            del written[len(written) - 2 * min(left, len(written) // 2) :]
            heard, written, end = heard + written, bytearray(), min(end, now)
        elif step == "look":
            played.look(now / RATE)
    played.silenced((now := now + 100_000) / RATE)
    assert b"".join(one.pcm for one in came) == bytes(heard + written)
    assert all(round(one.at_s * RATE) == begins[one.turn_id] for one in came)
