"""The embedded voice: eSpeak NG, without key or network.

Rule 1: a whole sentence is synthesised at once (milliseconds) into a queue of its own; nothing in it waits for
        playback, because the engine is shared by all sessions of the process.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

from voicepipe.core.worker import WorkerThread
from voicepipe.errors import ConfigurationError
from voicepipe.flow import Sentence, WordMark
from voicepipe.speaking.tts_sink import TTSSink
from voicepipe.vendors.espeak.engine import EspeakEngine, engine

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voicepipe.core.call_settings import CallSettings
    from voicepipe.core.context import AnySession

__all__ = ["EspeakTTS"]

_Piece: TypeAlias = "tuple[bytes, list[tuple[int, float]]]"

# espeakRATE_MINIMUM and espeakRATE_MAXIMUM.
_SLOWEST, _FASTEST = 80, 450


class EspeakTTS(TTSSink):
    """Speech in a robotic but clear voice, made on this machine in about a thousandth of its length.

    Needs the extra `local` (or a system libespeak-ng). eSpeak NG is GPL-3; it is loaded, not bundled.

    Args:
        voice: Language and, if wanted, variant, e.g. "en-us", "en-gb-x-rp", "de", "en-us+f3". "en-gb" does not exist.
        words_per_minute: 80 to 450.

    Raises:
        ConfigurationError: The rate is out of range; when opened: there is no such voice.
        MissingExtra: When opened: eSpeak NG is not installed.
    """

    sample_rate = 22_050

    _engine: EspeakEngine
    _worker: WorkerThread
    _is_adapted = False

    def __init__(self, voice: str = "en-us", *, words_per_minute: int = 165) -> None:
        super().__init__()
        if not _SLOWEST <= words_per_minute <= _FASTEST:
            raise ConfigurationError(
                f"words_per_minute must be between {_SLOWEST} and {_FASTEST}, not {words_per_minute}; 165 is usual"
            )
        self.voice = voice
        self.words_per_minute = words_per_minute

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Load the engine, or find it loaded, and check the voice, so that the first sentence does not wait for it."""
        async with WorkerThread("voicepipe-espeak") as self._worker:
            self._engine = await self._worker.run(engine)
            if self._engine.sample_rate != self.sample_rate:
                raise ConfigurationError(
                    f"{self.name} speaks at {self.sample_rate} Hz, but this eSpeak NG makes "
                    f"{self._engine.sample_rate} Hz; install voicepipe[local], whose library does"
                )
            await self._worker.run(self._engine.check_voice, self.voice)
            yield

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Check the voice of the call."""
        del session
        if self._is_adapted:
            await self._worker.run(self._engine.check_voice, self.voice)
        yield

    def adapt(self, settings: CallSettings) -> None:
        """Speak with the voice of the call, or with its language's, unless the present voice speaks that language.

        A variant such as "+f3" stays. Whether there is such a voice is checked when the session opens.
        """
        before = self.voice
        base, plus, variant = before.partition("+")
        language = (settings.language or base).lower()
        if not f"{base}-".startswith(f"{language}-"):
            self.voice = language + plus + variant
        self.voice = settings.voice or self.voice
        self._is_adapted = self.voice != before

    async def synthesize(self, sentence: Sentence) -> AsyncGenerator[bytes | WordMark]:
        """Yield the audio in pieces of 60 ms, and before each piece the words that end in it.

        Blank text yields nothing. Closing the generator stops the synthesis at the next piece.
        """
        if not sentence.text.strip():
            return
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[_Piece | None] = asyncio.Queue()  # unbounded by Rule 1; two seconds are 88 KB
        stopped = threading.Event()

        def hand_over(piece: _Piece | None) -> bool:
            try:
                loop.call_soon_threadsafe(pieces.put_nowait, piece)
            except RuntimeError:  # the loop was closed: nobody listens any more
                return True
            return stopped.is_set()

        def speak() -> None:
            try:
                self._engine.speak(
                    sentence.text,
                    lambda pcm, words: hand_over((pcm, words)),
                    voice=self.voice,
                    words_per_minute=self.words_per_minute,
                )
            finally:
                hand_over(None)

        job = self._worker.submit(speak)
        try:
            words = _Words(sentence.text)
            spoken_samples = 0
            while (piece := await pieces.get()) is not None:
                pcm, begun = piece
                spoken_samples += len(pcm) // 2
                for position, at_s in begun:
                    if (mark := words.next_begins(position, at_s)) is not None:
                        yield mark
                yield pcm
            await asyncio.wrap_future(job)  # raises what the synthesis raised
            yield WordMark(char_end=len(sentence.text.rstrip()), end_s=spoken_samples / self.sample_rate)
        finally:
            stopped.set()
            job.cancel()

    def __repr__(self) -> str:
        """Show voice and rate."""
        return f"<{self.name} {self.voice} {self.words_per_minute} wpm>"


class _Words:
    """Where words begin, turned into how much has been spoken whole.

    eSpeak joins short words ("on the") and takes numbers apart ("12.50" begins four times), so only a beginning after
    white space tells that what stands before it is done.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._char_end = 0

    def next_begins(self, position: int, at_s: float) -> WordMark | None:
        """Return the mark of what stands before the character at `position`, if that ends a word not marked yet."""
        before = self._text[:position]
        char_end = len(before.rstrip())
        if char_end == len(before) or char_end <= self._char_end or self._text[position : position + 1].isspace():
            return None
        self._char_end = char_end
        return WordMark(char_end=char_end, end_s=at_s)
