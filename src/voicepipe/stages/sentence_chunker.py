"""Tokens to sentences, as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.events import Sentence, TextDelta
from voicepipe.sentences import SentenceSplitter
from voicepipe.stage import Stage

if TYPE_CHECKING:
    from voicepipe.channel import Inbox, Outbox
    from voicepipe.turn import Turn

__all__ = ["SentenceChunker"]


class SentenceChunker(Stage[TextDelta, Sentence]):
    """Hands each sentence on as soon as it is complete, while later tokens still arrive.

    Args:
        language: ISO 639-1 code of the reply's language, which decides what is an abbreviation; None does well for
            English and sensibly for others.

    Where sentences end is decided by `SentenceSplitter`; this stage moves text.
    """

    def __init__(self, language: str | None = None) -> None:
        SentenceSplitter(language)  # an unknown language is refused now, not in the first call
        self.language = language

    async def run(self, inbox: Inbox[TextDelta], outbox: Outbox[Sentence], turn: Turn) -> None:
        """Cut one reply into sentences."""
        splitter, segment = SentenceSplitter(self.language), turn.first_segment
        async for delta in inbox:
            for text in splitter.feed(delta.text):
                await outbox.send(Sentence(text, segment))
            if delta.ends_segment:
                for text in splitter.flush():
                    await outbox.send(Sentence(text, segment))
                splitter, segment = SentenceSplitter(self.language), segment + 1
        for text in splitter.flush():
            await outbox.send(Sentence(text, segment))

    def __repr__(self) -> str:
        """Show the language, if one was set."""
        return f"<SentenceChunker{f' {self.language}' if self.language else ''}>"
