"""The sound of a page: its shape, and what is heard."""

from __future__ import annotations

import random
import zlib
from array import array

from hypothesis import given
from hypothesis import strategies as st

from voicepipe.audio.g711 import to_ulaw
from voicepipe.watching.report.sound import envelope, packed

SAMPLES = st.lists(st.integers(-32_768, 32_767), max_size=700)


@given(SAMPLES)
def test_the_shape_holds_every_sample(samples: list[int]) -> None:
    """Each hundredth of a second has its lowest and highest sample, rounded away from zero."""
    shape = array("b", envelope(array("h", samples).tobytes(), 16_000))
    pieces = [samples[at : at + 160] for at in range(0, len(samples), 160)]
    assert len(shape) == 2 * len(pieces)
    for low, high, piece in zip(shape[::2], shape[1::2], pieces, strict=True):
        assert low * 256 <= min(piece) < (low + 1) * 256
        assert (high - 1) * 256 < max(piece) <= high * 256 or (high == 127 and max(piece) > 127 * 256)


@given(SAMPLES)
def test_the_sound_is_what_a_telephone_carries(samples: list[int]) -> None:
    """At 8,000 samples a second each is the mean of those that it stands for, in u-law."""
    sound = packed(array("h", samples).tobytes(), 16_000)
    pairs = zip(samples[::2], samples[1::2], strict=False)
    means = array("h", [(one + other) // 2 for one, other in pairs]).tobytes()
    assert (sound.rate, zlib.decompress(sound.data)) == (8_000, to_ulaw(means))


def test_a_rate_of_no_telephone_stays() -> None:
    """What is no multiple of 8,000 keeps its rate and every sample."""
    dice = random.Random(1)
    pcm = array("h", [dice.randrange(-999, 999) for _ in range(1_000)]).tobytes()
    sound = packed(pcm, 22_050)
    assert (sound.rate, zlib.decompress(sound.data)) == (22_050, to_ulaw(pcm))


def test_silence_costs_nothing() -> None:
    """A minute in which one side is silent takes less than a kilobyte."""
    assert len(packed(bytes(2 * 16_000 * 60), 16_000).data) < 1_000
