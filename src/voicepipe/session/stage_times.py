"""When each of the application's own stages hands something on, so that a waterfall shows what it takes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from voicepipe.core.handover import checker
from voicepipe.core.stage import flow_of
from voicepipe.flow import Sentence, TextDelta
from voicepipe.text.chunker import SentenceChunker
from voicepipe.timeline import STAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.stage import Stage

__all__ = ["StageTimes"]


class StageTimes:
    """Checks what the stages of one turn hand on, and marks when they do so for the first time.

    Args:
        turn: Whose timeline gets the marks.
        model: The last stage in front of the text, which has marks of its own; None without one.
        voice: The last stage, which has marks of its own too.
    """

    def __init__(self, turn: Turn, model: Stage[Any, Any] | None, voice: Stage[Any, Any]) -> None:
        self._turn = turn
        self._model = model
        self._voice = voice
        self._names = Counter[str]()

    def check_of(self, stage: Stage[Any, Any], after: Stage[Any, Any] | None) -> Callable[[Any], None] | None:
        """Return what to call with each item that a stage hands on to the next one; None for nothing.

        It raises for an item of the wrong type.
        """
        check = None if stage._is_ours else checker(flow_of(stage)[1], stage.name)
        is_chunker = isinstance(stage, SentenceChunker)
        has_own_marks = stage is self._model or after is None or (is_chunker and after is self._voice)
        if has_own_marks or stage._never_waits:
            return check
        return self._marking("chunked" if is_chunker else f"{STAGE}{stage.name}", check)

    def _marking(self, mark: str, check: Callable[[Any], None] | None) -> Callable[[Any], None]:
        self._names[mark] += 1
        if (number := self._names[mark]) > 1:
            mark = f"{mark}_{number}"  # stages of one name share what they take
        timeline, fillers = self._turn.timeline, self._turn.speech.fillers

        def checked(item: object) -> None:
            if check is not None:
                check(item)
            if not isinstance(item, TextDelta) or item.text:  # an empty one only ends a segment
                timeline.mark_speech(mark, is_filler=isinstance(item, Sentence) and item.segment in fillers)

        return checked
