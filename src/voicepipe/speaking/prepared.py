"""Audio that the application has prepared, said in place of the voice.

Rule 1: it is played as a sentence of any voice is: resampled, interruptible at the sample, and in history as heard.
Rule 2: what can be checked is checked when it is made, before any of it is played.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from voicepipe.audio.resample import resampler
from voicepipe.audio.wav import parse_wav, read_wav
from voicepipe.errors import AudioError, ConfigurationError
from voicepipe.flow import Sentence, WordMark
from voicepipe.speaking.tts_sink import TTSSink
from voicepipe.speaking.voice_time import VoiceTime
from voicepipe.text.wording import WORD_END

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicepipe.audio.output import Output
    from voicepipe.errors import VoicepipeError

__all__ = ["PreparedAudio", "PreparedVoice", "prepared"]

LOWEST_RATE: Final = 8_000
HIGHEST_RATE: Final = 192_000

PIECE_S: Final = 0.2
"""How much of a recording is resampled in one step of the loop."""

Pieces: TypeAlias = "bytes | Iterable[bytes | WordMark] | AsyncIterable[bytes | WordMark]"


@dataclass(frozen=True, slots=True)
class PreparedAudio:
    """Audio to be said with `Session.say(text, audio=...)`: a recording, or a stream.

    PreparedAudio.wav("welcome.wav")  # or the bytes of a WAV file
    PreparedAudio(pcm, sample_rate=16_000)

    Attributes:
        pcm: Little-endian signed 16-bit mono samples: all of them, or an iterable or async iterable of pieces of any
            size. A `WordMark` among the pieces says how much of the text is heard by when, as in
            `TTSSink.synthesize`; without marks that follows from how much was played. An iterator or generator can be
            said once, everything else any number of times. An iterable must not block; an async one may take 5 s for a
            piece.
        sample_rate: Samples per second, 8000 to 192000.

    Raises:
        AudioError: There are no samples, or the last one is not whole.
        ConfigurationError: The rate is out of range, or the audio is something else.
    """

    pcm: Pieces = field(repr=False)
    sample_rate: int

    def __post_init__(self) -> None:
        """Refuse what cannot be played."""
        rate = cast("object", self.sample_rate)
        if not isinstance(rate, int) or not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise ConfigurationError(
                f"PreparedAudio: sample_rate must be {LOWEST_RATE} to {HIGHEST_RATE} samples a second, not {rate!r}"
            )
        pcm = cast("object", self.pcm)
        if isinstance(pcm, (bytearray, memoryview)):
            object.__setattr__(self, "pcm", bytes(pcm))  # the application may change its buffer later
        elif isinstance(pcm, (list, tuple)):
            object.__setattr__(self, "pcm", tuple(_checked(piece) for piece in cast("Iterable[object]", pcm)))
        elif isinstance(pcm, str) or not isinstance(pcm, (bytes, Iterable, AsyncIterable)):
            raise ConfigurationError(
                "PreparedAudio: pcm must be bytes of 16-bit mono samples, or an iterable of them, not "
                f"{type(pcm).__name__}; for a file write PreparedAudio.wav(path)"
            )
        size = _size(self.pcm)
        if size is not None and (not size or size % 2):
            raise AudioError(
                f"PreparedAudio: expected whole 16-bit samples, an even number of bytes, found {size} bytes"
            )

    @classmethod
    def wav(cls, file: str | Path | bytes) -> PreparedAudio:
        """Read a WAV file with 16-bit mono PCM, by its path or from its bytes.

        Raises:
            AudioError: It is missing, empty, truncated, or not 16-bit mono PCM.
        """
        return cls(*(parse_wav(file) if isinstance(file, bytes) else read_wav(file)))


class PreparedVoice(TTSSink):
    """Says prepared audio. It is the last stage of a turn of its own, in place of the pipeline's voice.

    Args:
        audio: The audio.
    """

    strips_markup = False  # the text is not synthesised

    def __init__(self, audio: PreparedAudio) -> None:
        self.sample_rate = audio.sample_rate
        self._pcm = audio.pcm

    @property
    def name(self) -> str:
        """What an application calls it."""
        return PreparedAudio.__name__

    async def synthesize(self, sentence: Sentence) -> AsyncGenerator[bytes | WordMark]:
        """Yield the audio. See `TTSSink.synthesize`."""
        for mark in self._marks(sentence.text):
            yield mark
        pcm = self._pcm
        if isinstance(pcm, AsyncIterable):
            pieces = aiter(pcm)
            try:
                async for piece in pieces:
                    yield _checked(piece)
            finally:
                if isinstance(pieces, AsyncGenerator):
                    await cast("AsyncGenerator[object]", pieces).aclose()
            return
        size = 2 * math.ceil(PIECE_S * self.sample_rate)
        for piece in [pcm] if isinstance(pcm, bytes) else pcm:
            if isinstance(checked := _checked(piece), WordMark):
                yield checked
            else:
                for at in range(0, len(checked), size):
                    yield checked[at : at + size]

    def _marks(self, text: str) -> Iterator[WordMark]:
        """Yield how much of the text is heard by when, in proportion: of a recording, the length is known."""
        has_marks = isinstance(self._pcm, tuple) and any(isinstance(piece, WordMark) for piece in self._pcm)
        if (size := _size(self._pcm)) is not None and not has_marks:
            length_s = size / 2 / self.sample_rate
            for end in (match.end() for match in WORD_END.finditer(text)):
                yield WordMark(char_end=end, end_s=length_s * end / len(text))

    def _time(self, sentence: Sentence) -> VoiceTime:
        return VoiceTime(sentence.text, longest_s=math.inf)  # the text may be a title: "Hold music."

    def _failed(self, what: str) -> VoicepipeError:
        return AudioError(f"{self.name} {what}")


def prepared(audio: PreparedAudio | str | Path, text: str, output: Output) -> PreparedAudio:
    """Return the audio for a text, once it is sure that the output can play it.

    Raises:
        AudioError: The WAV file cannot be used.
        ConfigurationError: The text has no words, the audio is of another type, or nothing can resample it.
    """
    if not any(map(str.isalnum, text)):
        raise ConfigurationError(
            f"say(audio=...) needs the words of the audio, or a title, as the history holds them; not {text!r}"
        )
    if isinstance(audio, (str, Path)):
        audio = PreparedAudio.wav(audio)
    elif not isinstance(cast("object", audio), PreparedAudio):
        raise ConfigurationError(
            f"say: audio must be the path of a WAV file or PreparedAudio(...), not {type(audio).__name__}; write "
            "PreparedAudio(pcm, sample_rate=...), or PreparedAudio.wav(data) for the bytes of a WAV file"
        )
    resampler(audio.sample_rate, output.sample_rate, PreparedAudio.__name__, output.name)
    return audio


def _size(pcm: Pieces) -> int | None:
    """Return how many bytes of samples there are; None for a stream."""
    if isinstance(pcm, bytes):
        return len(pcm)
    if isinstance(pcm, tuple):
        return sum(len(piece) for piece in pcm if isinstance(piece, bytes))
    return None


def _checked(piece: object) -> bytes | WordMark:
    if isinstance(piece, WordMark):
        return piece
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return bytes(piece)
    raise ConfigurationError(
        f"PreparedAudio: its pieces must be bytes of 16-bit PCM or WordMark, not {type(piece).__name__}"
    )
