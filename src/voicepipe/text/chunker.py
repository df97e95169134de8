"""Tokens to sentences, as they come."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.core.stage import Stage
from voicepipe.flow import Sentence, TextDelta
from voicepipe.text.languages import words_for
from voicepipe.text.sentences import SentenceSplitter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voicepipe.core.call_settings import CallSettings
    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.core.context import TurnContext

__all__ = ["RELEASE_S", "SentenceChunker"]

RELEASE_S: Final = 0.08
"""How long the model may pause before a sentence that may be complete is: five tokens at 60 a second."""


class SentenceChunker(Stage[TextDelta, Sentence]):
    """Hands each sentence on as soon as it is complete, while later tokens still arrive.

    Args:
        language: ISO 639-1 code of the reply's language, which decides what is an abbreviation; None does well for
            English and sensibly for others.
        first_words: Whether a reply may begin with the first words of its first sentence, up to a comma or the like
            at which a speaker would pause. They are at least two words and 12 characters: "Good morning," but never
            "Well," alone. All that follows is whole sentences.

    It never waits in vain. A mark that may end a sentence or not ("9 a.m.") does so when no text has come for 80 ms; a
    sentence leaves in pieces after 300 characters without a clause mark, or 600 in all; the end of the reply or of its
    segment hands on everything.

    Where texts are cut is decided by `SentenceSplitter`; this stage moves text and keeps time. Cancelled with its turn
    at any time: what it holds is gone.
    """

    _obeys = True

    def __init__(self, language: str | None = None, *, first_words: bool = True) -> None:
        self.language = language
        self.first_words = first_words

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Read the words of the language, so that no reply waits for them."""
        words_for(self.language)
        yield

    def adapt(self, settings: CallSettings) -> None:
        """Cut the sentences of the call's language."""
        self.language = settings.language or self.language
        words_for(self.language)

    async def run(self, inbox: Inbox[TextDelta], outbox: Outbox[Sentence], turn: TurnContext) -> None:
        """Cut one reply into sentences."""
        splitter, segment = SentenceSplitter(self.language, first_words=self.first_words), turn.first_segment
        is_over = False
        while not is_over:
            delta = await _next(inbox, may_pause=not splitter.may_release)
            is_over = delta is _END
            texts = splitter.release() if delta is None else splitter.feed(delta.text)
            if delta is not None and delta.ends_segment:
                texts += splitter.flush()
            for text in texts:
                await outbox.send(Sentence(text, segment))
            segment += delta is not None and delta.ends_segment

    def __repr__(self) -> str:
        """Show what was set."""
        language = f" {self.language}" if self.language else ""
        return f"<SentenceChunker{language}{'' if self.first_words else ' whole sentences'}>"


_END: Final = TextDelta("", ends_segment=True)


async def _next(inbox: Inbox[TextDelta], *, may_pause: bool) -> TextDelta | None:
    """Return the next delta, `_END` at the end, or None after a pause that ends a hold.

    A deadline is set only while something may be released: one for each token would cost more than the rest of this
    stage.
    """
    try:
        if may_pause:
            return await inbox.receive()
        with anyio.move_on_after(RELEASE_S):
            return await inbox.receive()
    except anyio.EndOfStream:
        return _END
    return None
