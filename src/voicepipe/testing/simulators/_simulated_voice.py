"""What a simulated text-to-speech service says: a voice of yours, or a tone as long as the words would take."""

from __future__ import annotations

from contextlib import aclosing, nullcontext
from itertools import pairwise
from typing import TYPE_CHECKING

from voicepipe.audio.resample import resampler
from voicepipe.flow import Sentence, WordMark

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractAsyncContextManager

    from voicepipe.speaking.tts_sink import TTSSink

__all__ = ["SimulatedVoice", "Timing"]


class SimulatedVoice:
    """Speaks texts at any rate.

    Args:
        voice: Speaks; None is a tone. It is attached to no session; its audio is resampled.
        character_s: Length of the tone for each character.
    """

    def __init__(self, voice: TTSSink | None, character_s: float) -> None:
        self._voice = voice._copied() if voice else None
        self._character_s = character_s

    def open(self) -> AbstractAsyncContextManager[None]:
        """Return the block in which it can speak."""
        return self._voice.open() if self._voice else nullcontext()

    async def synthesize(self, text: str, sample_rate: int) -> tuple[bytes, list[tuple[int, float]]]:
        """Return the audio of a text, and pairs of characters spoken and seconds passed."""
        if not any(map(str.isalnum, text)):
            return b"", []
        if self._voice is None:
            return _tone(max(1, len(text.strip())) * self._character_s, sample_rate), []
        to_rate = resampler(self._voice.sample_rate, sample_rate, repr(self._voice), "the client")
        pcm, marks = bytearray(), list[tuple[int, float]]()
        async with aclosing(self._voice.synthesize(Sentence(text))) as pieces:  # type: ignore[type-var]  # see TTSSink
            async for piece in pieces:
                if isinstance(piece, WordMark):
                    marks.append((piece.char_end, piece.end_s))
                else:
                    pcm += piece
        whole = bytes(pcm[: len(pcm) & ~1])
        return (to_rate.feed(whole) + to_rate.flush() if to_rate else whole), marks

    def __repr__(self) -> str:
        """Show the voice."""
        return f"{self._voice or 'tone'}"


class Timing:
    """When each character of a text is spoken.

    Args:
        text: The text.
        marks: Pairs of characters spoken and seconds passed, in order; characters between them are spread evenly.
        length_s: How long the text takes.
    """

    def __init__(self, text: str, marks: Iterable[tuple[int, float]], length_s: float) -> None:
        self._known = [(0, 0.0), *marks, (max(1, len(text.rstrip())), length_s)]
        self._length_s = length_s

    def at(self, character: int) -> float:
        """Return when that many characters have been spoken."""
        for (before, before_s), (after, after_s) in pairwise(self._known):
            if character <= after and after > before:
                return before_s + (after_s - before_s) * max(0, character - before) / (after - before)
        return self._length_s


def _tone(seconds: float, sample_rate: int) -> bytes:
    """Return a soft square wave of 450 Hz."""
    period = sample_rate // 50  # nine waves, a whole number of samples at every rate of the services
    wave = b"".join((b"\x00\x08", b"\x00\xf8")[at * 18 // period % 2] for at in range(period))
    samples = round(seconds * sample_rate)
    return (wave * (samples // period + 1))[: 2 * samples]
