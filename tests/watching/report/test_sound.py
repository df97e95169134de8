"""The sound of a page: its shape, and what is heard."""

from __future__ import annotations

import random
import zlib
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.audio.g711 import to_ulaw
from voicepipe.watching.report.sound import SideSound

SAMPLES = st.lists(st.integers(-32_768, 32_767), max_size=700)


def fed(samples: list[int], rate: int, pieces: int = 1) -> SideSound:
    sound = SideSound(rate)
    size = -(-len(samples) // pieces) or 1
    for at in range(0, len(samples), size):
        sound.feed(array("h", samples[at : at + size]).tobytes())
    return sound


@given(SAMPLES)
def test_the_shape_holds_every_sample(samples: list[int]) -> None:
    """Each hundredth of a second has its lowest and highest sample, rounded away from zero."""
    shape = array("b", fed(samples, 16_000).shape)
    steps = [samples[at : at + 160] for at in range(0, len(samples), 160)]
    assert len(shape) == 2 * len(steps)
    for low, high, step in zip(shape[::2], shape[1::2], steps, strict=True):
        assert low * 256 <= min(step) < (low + 1) * 256
        assert (high - 1) * 256 < max(step) <= high * 256 or (high == 127 and max(step) > 127 * 256)


@given(SAMPLES)
def test_the_sound_is_what_a_telephone_carries(samples: list[int]) -> None:
    """At 8,000 samples a second each is the mean of those that it stands for, in u-law."""
    sound = fed(samples, 16_000)
    pairs = zip(samples[::2], samples[1::2], strict=False)
    means = array("h", [(one + other) // 2 for one, other in pairs]).tobytes()
    assert (sound.rate, zlib.decompress(sound.packed())) == (8_000, to_ulaw(means))


@pytest.mark.slow
def test_a_rate_of_no_telephone_stays_and_does_not_drift() -> None:
    """What is no multiple of 8,000 keeps its rate and every sample, and a click after a minute is drawn where it is."""
    dice = random.Random(1)
    samples = [dice.randrange(-99, 99) for _ in range(22_050)]
    assert zlib.decompress(fed(samples, 22_050).packed()) == to_ulaw(array("h", samples).tobytes())
    late = [0] * 22_050 * 60 + [9_999]
    sound = fed(late, 22_050, pieces=1)
    shape = sound.shape
    assert (sound.rate, len(shape), shape[-1] > 0, any(shape[:-2])) == (22_050, 2 * 6_001, True, False)


def test_pieces_make_no_difference() -> None:
    """Whole seconds may be fed one by one, or all at once."""
    samples = [at % 3_000 for at in range(24_000 * 3)]
    one, other = fed(samples, 24_000), fed(samples, 24_000, pieces=3)
    assert (one.shape, zlib.decompress(one.packed())) == (other.shape, zlib.decompress(other.packed()))


def test_silence_costs_nothing() -> None:
    """A minute in which one side is silent takes less than a kilobyte."""
    assert len(fed([0] * 16_000 * 60, 16_000).packed()) < 1_000
