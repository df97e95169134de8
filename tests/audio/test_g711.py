"""G.711 is right for every sample and every code, by the recommendation's own definition and by known values."""

from __future__ import annotations

import math
import random
import sys
import warnings
from array import array
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import voicepipe as vp

SAMPLES = range(-32_768, 32_768)
ALL_SAMPLES = b"".join(sample.to_bytes(2, "little", signed=True) for sample in SAMPLES)
ALL_CODES = bytes(range(256))

Code = Callable[[bytes], bytes]
LAWS = [
    pytest.param(vp.audio.to_ulaw, vp.audio.from_ulaw, id="ulaw"),
    pytest.param(vp.audio.to_alaw, vp.audio.from_alaw, id="alaw"),
]


def samples_of(pcm: bytes) -> list[int]:
    return [int.from_bytes(pcm[at : at + 2], "little", signed=True) for at in range(0, len(pcm), 2)]


def pcm_of(*samples: int) -> bytes:
    return b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples)


# --- the recommendation, written down once more -----------------------------------------------------------------------


def ulaw_by_the_book(sample: int) -> int:
    """Table 2 of G.711: sign, segment and step of a 14-bit value; then all bits inverted."""
    value = sample >> 2
    biased = min(abs(value) + 33, 8_191)  # the segments of a biased value begin at powers of two
    segment = int(math.log2(biased)) - 5
    step = int((biased / 2**segment - 32) // 2)
    return (0 if value < 0 else 0x80) + 0x7F - (16 * segment + step)


def alaw_by_the_book(sample: int) -> int:
    """Table 1 of G.711: sign, segment and step of a 13-bit value; then every other bit inverted."""
    value = sample >> 3
    loudness = value if value >= 0 else -value - 1
    segment = max(0, int(math.log2(max(loudness, 1))) - 4)
    step = loudness // 2 if segment == 0 else int(loudness / 2**segment) - 16
    return ((0x80 if value >= 0 else 0) + 16 * segment + step) ^ 0x55


def test_each_sample_has_the_code_of_the_recommendation() -> None:
    """Each of the 65,536 samples gets the code that G.711's tables give it."""
    assert list(vp.audio.to_ulaw(ALL_SAMPLES)) == [ulaw_by_the_book(sample) for sample in SAMPLES]
    assert list(vp.audio.to_alaw(ALL_SAMPLES)) == [alaw_by_the_book(sample) for sample in SAMPLES]


@pytest.mark.parametrize(
    ("sample", "ulaw", "alaw"),
    [
        (0, 0xFF, 0xD5),
        (8, 0xFE, 0xD5),
        (-8, 0x7E, 0x55),
        (1_000, 0xCE, 0xFA),
        (-1_000, 0x4E, 0x7A),
        (32_767, 0x80, 0xAA),
        (-32_768, 0x00, 0x2A),
    ],
)
def test_known_samples(sample: int, ulaw: int, alaw: int) -> None:
    """Silence, soft, middle and the loudest sounds have the codes found in every table of G.711."""
    pcm = pcm_of(sample)
    assert (vp.audio.to_ulaw(pcm)[0], vp.audio.to_alaw(pcm)[0]) == (ulaw, alaw)


def test_the_recommendations_test_tone() -> None:
    """The periodic sequences of G.711's tables 5 and 6 decode to a sine of 1 kHz."""
    ulaw, alaw = bytes.fromhex("1E0B0B1E9E8B8B9E"), bytes.fromhex("34212134B4A1A1B4")
    for decoded in (vp.audio.from_ulaw(ulaw), vp.audio.from_alaw(alaw)):
        samples = samples_of(decoded)
        quiet, loud = -samples[0], -samples[1]
        assert samples == [-quiet, -loud, -loud, -quiet, quiet, loud, loud, quiet]
        assert loud / quiet == pytest.approx(math.tan(math.radians(67.5)), rel=0.03)


@pytest.mark.parametrize(("law", "loudest"), [(vp.audio.from_ulaw, 32_124), (vp.audio.from_alaw, 32_256)])
def test_the_loudest_codes(law: Code, loudest: int) -> None:
    """Decoding reaches the law's largest value, and gives as many negative values as positive ones."""
    samples = samples_of(law(ALL_CODES))
    assert (max(samples), min(samples)) == (loudest, -loudest)
    assert sorted(samples) == sorted(-sample for sample in samples)


@pytest.mark.parametrize(("to", "back"), LAWS)
def test_a_code_comes_back(to: Code, back: Code) -> None:
    """Each of the 256 codes, decoded and encoded again, gives itself; u-law's second zero gives the first."""
    codes = bytes(code if (to, code) != (vp.audio.to_ulaw, 0x7F) else 0xFF for code in range(256))
    assert to(back(ALL_CODES)) == codes


@pytest.mark.parametrize(("to", "back"), LAWS)
def test_no_sample_is_far_off(to: Code, back: Code) -> None:
    """A sample that is encoded and decoded stays within a sixteenth of its value, or 16, of the original."""
    for sample, came in zip(SAMPLES, samples_of(back(to(ALL_SAMPLES))), strict=True):
        assert abs(came - sample) <= max(16, abs(sample) / 16)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="Python 3.13 has no audioop to compare with")
def test_the_same_as_audioop() -> None:
    """Every sample and every code gives what Python's audioop gave."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import audioop
    assert vp.audio.to_ulaw(ALL_SAMPLES) == audioop.lin2ulaw(ALL_SAMPLES, 2)
    assert vp.audio.to_alaw(ALL_SAMPLES) == audioop.lin2alaw(ALL_SAMPLES, 2)
    assert vp.audio.from_ulaw(ALL_CODES) == audioop.ulaw2lin(ALL_CODES, 2)
    assert vp.audio.from_alaw(ALL_CODES) == audioop.alaw2lin(ALL_CODES, 2)


@given(samples=st.lists(st.integers(-32_768, 32_767)), at=st.integers(0, 100))
@pytest.mark.parametrize(("to", "back"), LAWS)
def test_pieces_do_not_matter(to: Code, back: Code, samples: list[int], at: int) -> None:
    """Audio encoded or decoded in two pieces gives the same as in one; no audio gives no audio."""
    pcm = pcm_of(*samples)
    assert to(pcm[: 2 * at]) + to(pcm[2 * at :]) == to(pcm)
    assert back(to(pcm)[:at]) + back(to(pcm)[at:]) == back(to(pcm))
    assert len(back(to(pcm))) == len(pcm)


def test_any_buffer_will_do() -> None:
    """A bytearray works like bytes, and the result is bytes."""
    pcm = array("h", random.Random(1).choices(SAMPLES, k=160)).tobytes()
    assert vp.audio.to_ulaw(bytearray(pcm)) == vp.audio.to_ulaw(pcm)
    assert vp.audio.from_ulaw(bytearray(ALL_CODES)) == vp.audio.from_ulaw(ALL_CODES)


@pytest.mark.parametrize(("to", "name"), [(vp.audio.to_ulaw, "to_ulaw"), (vp.audio.to_alaw, "to_alaw")])
@pytest.mark.parametrize("size", [1, 319])
def test_half_a_sample_is_refused(to: Code, name: str, size: int) -> None:
    """An odd number of bytes is an error that says what was expected and what was given."""
    with pytest.raises(vp.AudioError, match=f"{name} needs whole 16-bit samples, .* got {size} bytes"):
        to(bytes(size))
