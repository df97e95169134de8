"""Sentences as they are written to sentences as they are said."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from voicepipe.core.stage import Stage
from voicepipe.errors import ConfigurationError
from voicepipe.flow import Sentence
from voicepipe.text.ear.kinds import KINDS, LANGUAGES
from voicepipe.text.markup import spoken

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from voicepipe.core.call_settings import CallSettings
    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.core.context import TurnContext
    from voicepipe.text.ear.kinds import Kind
    from voicepipe.text.ear.reader import Reader

__all__ = ["Speakable"]


class Speakable(Stage[Sentence, Sentence]):
    """Writes out what a voice may stumble over: "$42.50" becomes "forty-two dollars and fifty cents".

    vp.Pipeline(vp.STTStage(), vp.LLMStreamStage(), vp.SentenceChunker("en"), vp.Speakable("en-US"), vp.EspeakTTS())

    It stands right before the voice, and knows sums of money, dates, times, telephone numbers, measures, ordinals,
    codes, shares, years, ranges, addresses and short forms, in German, English, French, Italian and Spanish. What it is
    not sure of stays as it is written: "3/4", or "03/04/2025" in English without a region. A sentence in which it
    changes something is spoken without markup. The history keeps the model's own words (`Sentence.wording`).

    Args:
        language: The language of the replies, with its region if that matters: "en-GB", "de-CH". None leaves it to
            `CallSettings`; a call in another language than these is spoken as it is written.
        leaves: What is left as it is written: "money", "date", "time", "phone", "unit", "ordinal", "id", "percent",
            "year", "range", "address", "abbreviation", "number".

    Attributes:
        language: The language.

    Raises:
        ConfigurationError: The language is not one of these, or there is no such kind.
        MissingExtra: When opened: babel or num2words is not installed.
    """

    _obeys = True

    _reader: Reader | None = None

    def __init__(self, language: str | None = None, *, leaves: Iterable[Kind] = ()) -> None:
        if language is not None and not _is_known(language):
            known = ", ".join(map(repr, LANGUAGES))
            raise ConfigurationError(f"Speakable: language must be one of {known}, or with a region, not {language!r}")
        if isinstance(leaves, str):
            raise ConfigurationError(f"Speakable: leaves is a list of kinds; write leaves=[{leaves!r}]")
        self.language = language
        self._leaves = frozenset(leaves)
        if unknown := self._leaves - KINDS:
            found, known = ", ".join(sorted(map(repr, unknown))), ", ".join(sorted(KINDS))
            raise ConfigurationError(f"Speakable: leaves has {found}; there are: {known}")

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Read the words of the language, or of all if calls decide it, so that no reply waits for them."""
        for language in LANGUAGES if self.language is None else ():
            self._reader_for(language)
        self._read_words()
        yield

    def adapt(self, settings: CallSettings) -> None:
        """Read the language of the call out."""
        if settings.language:
            self.language = settings.language
            self._read_words()

    def read_out(self, text: str) -> str:
        """Return a text as it is said, to see what becomes of it.

        Raises:
            MissingExtra: babel or num2words is not installed.
        """
        if self._reader is None:
            self._read_words()
        return self._for_the_ear(Sentence(text)).text

    async def run(self, inbox: Inbox[Sentence], outbox: Outbox[Sentence], turn: TurnContext) -> None:
        """Write one reply out, sentence by sentence."""
        del turn
        async for sentence in inbox:
            await outbox.send(self._for_the_ear(sentence))

    def _for_the_ear(self, sentence: Sentence) -> Sentence:
        if self._reader is None or sentence.wording:
            return sentence
        wording = self._reader.wording(spoken(sentence.text), self._leaves)
        if not wording:
            return sentence
        return replace(sentence, text="".join(piece.spoken for piece in wording), wording=wording)

    def _read_words(self) -> None:
        self._reader = self._reader_for(self.language) if self.language else None

    def _reader_for(self, language: str) -> Reader | None:
        from voicepipe.text.ear.reader import reader_for  # noqa: PLC0415 - tables and patterns, for who needs them

        return reader_for(language, self.name)

    def __repr__(self) -> str:
        """Show the language and what is left."""
        leaves = f" leaves {', '.join(sorted(self._leaves))}" if self._leaves else ""
        return f"<Speakable{f' {self.language}' if self.language else ''}{leaves}>"


def _is_known(language: object) -> bool:
    return isinstance(language, str) and language.replace("_", "-").partition("-")[0].lower() in LANGUAGES
