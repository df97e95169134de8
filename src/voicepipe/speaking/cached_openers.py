"""A voice that keeps the audio of a few short texts, such as "One moment.", so that they are heard at once.

Rule 1: only whole audio is kept, with its marks, and only that of the listed texts.
Rule 2: what one voice has said in one language is never heard in a call that has another.
"""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

from voicepipe.errors import ConfigurationError
from voicepipe.flow import Sentence, WordMark
from voicepipe.speaking.opener_store import Key, OpenerStore
from voicepipe.speaking.tts_sink import TTSSink

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from voicepipe.core.call_settings import CallSettings
    from voicepipe.core.context import AnySession
    from voicepipe.speaking.clip import Clip

__all__ = ["CachedOpeners"]

LONGEST_TEXT: Final = 200
"""Characters of a text: about a quarter of a minute. What is longer is a recording: see `PreparedAudio`."""


class CachedOpeners(TTSSink):
    """Says a few short texts without asking the voice again: the openers of a model, a tool's `say`, the fallback.

    CachedOpeners(OpenAITTS(voice="marin"), ["Sure.", "One moment.", "Sorry, I did not catch that."])

    A text is synthesised when it is first said, as any sentence is, and its audio is kept for all calls of the process,
    16 MB at most. A sentence is one of the texts if it is equal to it, but for the white space around it. A call that
    has a voice or a language of its own (`CallSettings`) has its own audio. A voice of your own that is different in
    each call for another reason must not be held here.

    Args:
        voice: The voice, which says everything else.
        texts: What is kept, each of at most 200 characters.

    Attributes:
        voice: The voice.
        texts: What is kept.

    Raises:
        ConfigurationError: The voice is no `TTSSink`, or a text is blank or too long.
    """

    def __init__(self, voice: TTSSink, texts: Iterable[str]) -> None:
        if not isinstance(cast("object", voice), TTSSink):
            raise ConfigurationError(f"CachedOpeners takes a voice such as OpenAITTS(...), not {voice!r}")
        if isinstance(texts, str):
            raise ConfigurationError(f"CachedOpeners takes a list of texts; write [{texts!r}]")
        self.voice = voice
        self.texts = frozenset(_checked(text) for text in texts)
        self._spoken_as: tuple[str | None, str | None] = (None, None)
        self._kept = OpenerStore()
        self._follow()

    def _follow(self) -> None:
        """Take over what a pipeline has to know of the voice."""
        self.sample_rate = self.voice.sample_rate
        self.strips_markup = self.voice.strips_markup
        self.reads_numbers = self.voice.reads_numbers
        self.start_buffer_s = self.voice.start_buffer_s

    @property
    def name(self) -> str:
        """The name of the voice, by which its errors are known."""
        return self.voice.name

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Keep audio for all sessions of the process."""
        self._kept = OpenerStore()
        yield

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Speak at the rate that the voice has in this session."""
        del session
        self._follow()
        yield

    def adapt(self, settings: CallSettings) -> None:
        """Keep the audio of this call apart if its voice or language differs; the voice itself takes the settings."""
        self._spoken_as = (settings.voice, settings.language)

    async def synthesize(self, sentence: Sentence) -> AsyncGenerator[bytes | WordMark]:
        """Yield the audio that is kept, or that of the voice. See `TTSSink.synthesize`."""
        key, blanks = self._key(sentence), len(sentence.text) - len(sentence.text.lstrip())
        if kept := self._kept.get(key):
            for piece in kept:
                yield _moved(piece, blanks)
            return
        pieces: list[bytes | WordMark] = []
        async with aclosing(self.voice._opened(sentence)) as spoken:
            async for piece in spoken:
                yield piece
                if key[-1] in self.texts:
                    pieces.append(_moved(piece, -blanks))
        if any(isinstance(piece, bytes) and piece for piece in pieces):
            self._kept.put(key, tuple(pieces))

    def _key(self, sentence: Sentence) -> Key:
        return (*self._spoken_as, sentence.text.strip())

    def _is_filler(self, sentence: Sentence) -> bool:
        return sentence.text.strip() in self.texts

    def _learn(self, clip: Clip) -> None:
        if self._key(clip.sentence) not in self._kept:  # what is kept says nothing of the voice's pace
            super()._learn(clip)

    def __repr__(self) -> str:
        """Show the voice and how much is kept."""
        return f"<CachedOpeners {len(self.texts)} texts, {self.voice!r}>"


def _checked(text: object) -> str:
    if not isinstance(text, str) or not 0 < len(text.strip()) <= LONGEST_TEXT:
        raise ConfigurationError(
            f"CachedOpeners: each text has 1 to {LONGEST_TEXT} characters, unlike {text!r}; for longer audio, see "
            "Session.say(text, audio=...)"
        )
    return text.strip()


def _moved(piece: bytes | WordMark, characters: int) -> bytes | WordMark:
    """Return a piece whose mark, if it is one, counts from another beginning of the text."""
    if isinstance(piece, WordMark):
        return replace(piece, char_end=max(piece.char_end + characters, 0))
    return bytes(piece)
