"""People on the line: recordings of somebody who pauses in a number, and who asks in loud noise, on virtual time.

The recordings come from Debian's packages asterisk-core-sounds-en-wav and codec2-examples.
"""

from __future__ import annotations

import importlib.util
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

import voicepipe as vp

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

PACKAGES = ("earshot", "espeakng_loader", "numpy", "pocketsphinx", "soxr")
ABSENT = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        bool(ABSENT) and os.environ.get("VOICEPIPE_TEST_ALL") != "1", reason=f"not installed: {', '.join(ABSENT)}"
    ),
]

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PAIRS = f"#JSGF V1.0; grammar pairs; public <pair> = <digit> <digit>; <digit> = {' | '.join(DIGITS)};"


@pytest.fixture(autouse=True)
def _people() -> None:
    from benchmarks.scenes import missing

    if absent := missing():
        if os.environ.get("VOICEPIPE_TEST_ALL") == "1":
            pytest.fail(f"not installed (packages of Debian): {', '.join(absent)}")
        pytest.skip(f"not installed (packages of Debian): {', '.join(absent)}")


class AtOnce:
    """A worker that takes no time, and so needs no thread."""

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)


class QuickPocketsphinx(vp.PocketsphinxRecogniser):
    """The recogniser, on a machine so fast that decoding takes no time."""

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        from voicepipe.vendors.pocketsphinx.grammar import load_grammar

        self._worker, self._loaded = AtOnce(), load_grammar(self.grammar)  # type: ignore[assignment]
        yield


def number(digits: str, pauses_s: tuple[float, ...]) -> tuple[bytes, float]:
    """Return somebody who says digits in pairs, with a pause after each pair, and when the last one ends."""
    import numpy as np

    from benchmarks.scenes import ASTERISK, BEFORE_S, RATE, Utterance, levelled, scene
    from voicepipe.audio.wav import read_wav

    spoken = [levelled(*read_wav(ASTERISK / "digits" / f"{digit}.wav")) for digit in digits]
    pauses = [0.05 if place % 2 == 0 else (*pauses_s, 0.0)[place // 2] for place in range(len(digits))]
    pieces = [np.concatenate([one, np.zeros(int(pause * RATE))]) for one, pause in zip(spoken, pauses, strict=True)]
    said = np.concatenate(pieces)
    return scene(Utterance(digits, True, said), None, 60.0, seed=0).pcm, BEFORE_S + len(said) / RATE


@pytest.mark.parametrize("digits", ["278916", "402573", "913684"])
@pytest.mark.parametrize("pauses_s", [(0.5, 0.9), (0.9, 0.5)], ids=str)
@pytest.mark.slow
async def test_a_number_in_three_breaths_is_one_message(digits: str, pauses_s: tuple[float, float]) -> None:
    """The recogniser ends its turn in each pause; the agent answers all six digits once, after the last one.

    Which digits it understands is another matter: at least four of the six.
    """
    from benchmarks.people import call

    pcm, ends_s = number(digits, pauses_s)
    events, output = await call(None, pcm, QuickPocketsphinx(PAIRS))
    assert sum(isinstance(event, vp.Transcript) for _, event in events) == 3
    (answered,) = [(at_s, event.user_text) for at_s, event in events if isinstance(event, vp.TurnStarted)]
    words = answered[1].split()
    assert len(words) == 6
    assert sum(word == DIGITS[int(digit)] for word, digit in zip(words, digits, strict=True)) >= 4
    assert ends_s < answered[0] < ends_s + 1.6  # 1.4 s after the last digit, by the recogniser's account
    assert output.spans()[0][0] >= answered[0]


@pytest.mark.parametrize("noise", ["white", "pink"])
@pytest.mark.parametrize("prompt", ["vm-savefolder", "vm-changeto", "vm-incorrect-mailbox", "vm-login"])
async def test_a_question_in_noise_as_loud_is_answered(noise: str, prompt: str) -> None:
    """The caller hears the agent within 1.5 s of their last sound, and not before it, and noise starts nothing."""
    from benchmarks import scenes
    from benchmarks.people import FINAL_S, KnownWords, call
    from voicepipe.audio.wav import read_wav

    samples = scenes.levelled(*read_wav(scenes.ASTERISK / f"{prompt}.wav"))
    one = scenes.scene(scenes.Utterance(prompt, True, samples), getattr(scenes, noise), 0.0, seed=1)
    final = vp.Transcript("What can you do for me?", one.ends_s, one.ends_s + FINAL_S)
    events, output = await call(vp.EarshotDetector(), one.pcm, KnownWords([(one.ends_s + FINAL_S, final)]))
    starts_s = [event.at_s for _, event in events if isinstance(event, vp.SpeechStarted)]
    assert starts_s
    assert all(one.starts_s - 0.1 <= at_s <= one.ends_s for at_s in starts_s)
    assert sum(isinstance(event, vp.TurnStarted) for _, event in events) == 1
    assert one.ends_s < output.spans()[0][0] <= one.ends_s + 1.5
