"""Whether somebody said what Whisper read, or it made it up from noise.

Rule 1: pure.
Rule 2: by measures alone, and no list of phrases: a caller may say "Thank you." as well.

Whisper writes a sentence for whatever it is given: "Thank you." for music, "I'm gonna go to the" for wind. Measured
with tiny.en on stretches that a detector took for speech (music, breath, wind, ringing), its own probability that there
is no speech was 0.60 to 0.98; on 120 prompts of a person 0.45 at most, also in noise 5 dB below the voice. How sure it
is of the words tells less: of "Thank you." for music it was surer than of most single words.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Final

__all__ = ["Heard", "plausible"]

NO_SPEECH: Final = 0.5
"""From this probability on there was no speech."""

UNSURE: Final = -1.5
"""Words of a mean log probability below this are a guess; of a person's words in quiet none was below -1.41."""

UNSURE_NO_SPEECH: Final = 0.3
"""From this probability on there was no speech if the words are a guess."""

LOOP_RATIO: Final = 2.4
"""A text that can be compressed to less than its 2.4th part repeats itself. Whisper's own threshold."""

THREE_TIMES: Final = re.compile(r"\b(.{1,60}? )\1\1")
"""The same words three times in a row, which a short text shows sooner."""

LETTERS_PER_S: Final = 25.0
"""Nobody speaks faster: quick speakers say seven syllables a second, of three letters each."""

LETTERS_AT_ONCE: Final = 10
"""A detector may miss as much at the edges of a word."""

LONG_S: Final = 4.0
LEAST_LETTERS_PER_S: Final = 2.0
"""Nobody speaks more slowly for so long: pauses are no speech. Of music a detector takes minutes for speech."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What Whisper read in an utterance.

    Attributes:
        text: The words.
        no_speech: How probable it is that there are none, 0 to 1.
        log_probability: The mean of its tokens: how sure the model is of the words, 0 at most.
    """

    text: str
    no_speech: float
    log_probability: float = 0.0

    @property
    def repeats(self) -> bool:
        """Whether the text goes round in circles, as it may when the model is given little audio."""
        words = re.sub(r"\W+", " ", self.text.casefold()) + " "
        text = self.text.encode()
        return THREE_TIMES.search(words) is not None or len(text) > LOOP_RATIO * len(zlib.compress(text))


def plausible(heard: Heard, speech_s: float) -> str:
    """Return the words, or "" if nobody said them.

    Args:
        heard: What was read.
        speech_s: How long somebody spoke, as the detector found.
    """
    letters = sum(character.isalnum() for character in heard.text)
    is_noise = heard.no_speech >= (UNSURE_NO_SPEECH if heard.log_probability < UNSURE else NO_SPEECH)
    is_too_quick = letters > LETTERS_PER_S * speech_s + LETTERS_AT_ONCE
    is_too_slow = speech_s >= LONG_S and letters < LEAST_LETTERS_PER_S * speech_s
    return "" if is_noise or is_too_quick or is_too_slow or not letters else heard.text
