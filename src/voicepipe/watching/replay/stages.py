"""Stands in for the stages of an application that is not there, as far as a recording shows what they did.

Rule 1: a turn waits in front of the model as long as it did, with the words that the model was sent then, or none.
Rule 2: the text is cut into sentences in the way that gives the recorded ones.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from voicepipe.core.stage import Stage
from voicepipe.events import TurnInterrupted
from voicepipe.flow import TextDelta, Transcript
from voicepipe.history import UserMessage
from voicepipe.text.chunker import SentenceChunker
from voicepipe.text.languages import known_codes
from voicepipe.text.markup import spoken
from voicepipe.text.sentences import SentenceSplitter
from voicepipe.timeline import STAGE

if TYPE_CHECKING:
    from voicepipe.conversation.turn import Turn
    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.watching.replay.playhead import Playhead
    from voicepipe.watching.replay.recorded_call import RecordedCall, RecordedReply

__all__ = ["PastStages", "past_chunker"]

STAGE_S: Final = 0.005
"""What takes longer from the beginning of a turn to its request is the work of a stage."""


class PastStages(Stage[Transcript, Transcript]):
    """Stands in for what was between the caller's words and the model.

    Args:
        call: The recording.
        playhead: Where its replay stands.
    """

    _obeys = True

    def __init__(self, call: RecordedCall, playhead: Playhead) -> None:
        self._call = call
        self._playhead = playhead
        self._left = {turn_id: list(replies) for (turn_id, step), replies in call.replies.items() if not step}
        stages = dict.fromkeys(
            name
            for ended in call.ends.values()
            for name, at_s in ended.timeline.marks.items()
            if name.startswith(STAGE) and at_s <= ended.timeline.marks.get("llm_request", -1.0)
        )
        *self._others, self._name = stages or [STAGE + type(self).__name__]

    @property
    def name(self) -> str:
        """That of the last stage before the model, which gives its name to a mark."""
        return self._name.removeprefix(STAGE)

    @classmethod
    def are_in(cls, call: RecordedCall) -> bool:
        """Return whether something was between the caller's words and the model."""
        first = {turn_id: replies[-1] for (turn_id, step), replies in call.replies.items() if not step}
        return any(
            _is_withheld(call, turn_id)
            if turn_id not in first
            else first[turn_id].asked.at_s - ended.timeline.turn_started > STAGE_S
            or _words(first[turn_id]) not in (None, ended.user_text)
            for turn_id, ended in call.ends.items()
            if ended.user_text and "turn_started" in ended.timeline
        )

    async def run(self, inbox: Inbox[Transcript], outbox: Outbox[Transcript], turn: Turn) -> None:
        """Pass the turn's words on, when and as they were."""
        async for transcript in inbox:
            replies = self._left.get(turn.turn_id, [])
            if not replies:
                if _is_withheld(self._call, turn.turn_id):
                    await self._playhead.until(self._call.ends[turn.turn_id].timeline.ended)
                    return
                await outbox.send(transcript)
                continue
            reply = replies.pop(0)
            late_s = reply.asked.at_s - self._playhead.now_s
            if 0 < late_s <= self._longest_s:
                await self._playhead.until(reply.asked.at_s)
            ended = self._call.ends.get(turn.turn_id)
            for mark in self._others:
                if ended is not None and mark in ended.timeline:
                    turn.timeline.mark(mark, self._playhead.on_clock(ended.timeline.marks[mark]))
            words = _words(reply)
            await outbox.send(transcript if words is None else replace(transcript, text=words))

    @property
    def _longest_s(self) -> float:
        return max(
            (
                replies[-1].asked.at_s - ended.timeline.turn_started
                for (turn_id, step), replies in self._call.replies.items()
                if not step and (ended := self._call.ends.get(turn_id)) is not None and "turn_started" in ended.timeline
            ),
            default=0.0,
        )


def past_chunker(call: RecordedCall) -> SentenceChunker:
    """Return the chunker that cuts the replies of a recording as they were cut."""
    said: dict[int, set[str]] = defaultdict(set)
    for sentence in call.spoken:
        said[sentence.asked.turn_id].add(sentence.asked.text.strip())
    texts: dict[int, list[list[str]]] = defaultdict(list)
    for (turn_id, _), replies in call.replies.items():
        texts[turn_id] += [
            [gave.part.text for gave in reply.gave if isinstance(gave.part, TextDelta)] for reply in replies
        ]

    def missed(chunker: SentenceChunker) -> int:
        """Return how many of the sentences that were said are none of those that it makes of the replies."""
        made = {
            turn_id: {spoken(text).strip() for deltas in replies for text in _cut(chunker, deltas)}
            for turn_id, replies in texts.items()
        }
        return sum(len(said[turn_id] - made[turn_id]) for turn_id in made)

    usual, whole = SentenceChunker(), SentenceChunker(first_words=False)
    if not (fewest := missed(usual)):
        return usual
    best = usual
    others = (SentenceChunker(code, first_words=first) for code in sorted(known_codes()) for first in (True, False))
    for chunker in (whole, *others):
        if (count := missed(chunker)) < fewest:
            best, fewest = chunker, count
    return best


def _cut(chunker: SentenceChunker, deltas: list[str]) -> list[str]:
    splitter = SentenceSplitter(chunker.language, first_words=chunker.first_words)
    texts = [text for delta in deltas for text in splitter.feed(delta)]
    return texts + splitter.flush()


def _words(reply: RecordedReply) -> str | None:
    """Return the caller's words as the model was sent them."""
    last: Any = reply.asked.messages[-1] if reply.asked.messages else None
    return last.text if isinstance(last, UserMessage) else None


def _is_withheld(call: RecordedCall, turn_id: int) -> bool:
    """Return whether the model was not asked in a turn that nobody interrupted."""
    ended = call.ends.get(turn_id)
    return ended is not None and bool(ended.user_text) and not isinstance(ended, TurnInterrupted)
