"""The caller's side of the demo: recordings of a person, where the machine has them, and otherwise an eSpeak voice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import voicepipe as vp
from voicepipe.cli._demo_files import resampled
from voicepipe.cli._demo_stack import LISTEN_RATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.cli._demo_script import Line

__all__ = ["PEOPLE", "RECORDINGS", "recording_of", "spoken_lines"]

PEOPLE: Final = "asterisk-core-sounds-en-wav"
"""Debian's package of the recordings: prompts of a telephone system, spoken by one woman, 8 kHz, CC-BY-SA 3.0."""

RECORDINGS: Final = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
"""Where that package puts them."""


def recording_of(line: Line) -> Path | None:
    """Return the recording of a line, if this machine has it."""
    path = RECORDINGS / f"{line.recording}.wav"
    return path if line.recording and path.is_file() else None


async def spoken_lines(lines: Sequence[Line], voice: str) -> list[bytes]:
    """Return the audio of each line, at the rate at which the caller is heard.

    Args:
        lines: What the caller says.
        voice: The eSpeak voice for what no recording has.
    """
    espeak = vp.EspeakTTS(voice)
    spoken: list[bytes] = []
    async with espeak.open():
        for line in lines:
            if (path := recording_of(line)) is not None:
                pcm, rate = vp.read_wav(path)
            else:
                pieces = [piece async for piece in espeak.synthesize(vp.Sentence(line.text))]
                pcm, rate = b"".join(piece for piece in pieces if isinstance(piece, bytes)), espeak.sample_rate
            spoken.append(resampled(pcm, rate, LISTEN_RATE))
    return spoken
