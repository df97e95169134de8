"""When a reply is prepared although the caller may go on.

Rule 1: pure. A draft is a guess: its words are compared with what the caller has said in the end.
Rule 2: a caller who speaks for long must not cost a request for each breath.
Rule 3: a recogniser may take back that the turn is probably over; the draft that it caused is then dropped at once.
Rule 4: early words that complete what is expected need no silence after them, and the recogniser need wait for none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from voicepipe.flow import Transcript
from voicepipe.turntaking.decisions import Decision, Draft, ForceEndpoint, RollBack
from voicepipe.turntaking.phrases import is_sentence, joined, normal

if TYPE_CHECKING:
    from voicepipe.flow import EarlyTranscript
    from voicepipe.turntaking.floor_view import FloorView
    from voicepipe.turntaking.phrases import Phrases
    from voicepipe.turntaking.utterance import Utterance

__all__ = ["Drafts"]

MOST_DRAFTS: Final = 3
LONG_S: Final = 10.0
LONG_SILENCE_S: Final = 1.0
"""At most so many drafts a turn, and none on early words after so much speech, unless so much silence follows."""


class Drafts:
    """The drafts of one session.

    Args:
        floor: What the agent does.
        speech: What the caller is saying.
        phrases: The words of their language.
        is_on: Whether there are drafts at all.
        is_closed: Whether the recogniser has a closed grammar: then it alone knows when a phrase is complete.
    """

    def __init__(
        self, floor: FloorView, speech: Utterance, phrases: Phrases, *, is_on: bool, is_closed: bool = False
    ) -> None:
        self._floor = floor
        self._speech = speech
        self._phrases = phrases
        self._is_on = is_on
        self._is_closed = is_closed
        self._count = 0  # in this turn of the caller's
        self._words = ""
        self._is_reported = False  # whether the recogniser has called the draft's words stable

    @property
    def due_s(self) -> float:
        """When early words are stable because of the silence after them; inf if nothing is to be drafted."""
        return self._speech.stable_at_s if self._may_draft and not self._is_closed else math.inf

    def heard(self, held: Transcript | None, event: EarlyTranscript, now: float) -> list[Decision]:
        """Early words came; the recogniser says whether they are stable."""
        speech = self._speech
        is_met = self._floor.progress(f"{held.text if held else ''} {speech.text}") == "met"
        decisions: list[Decision] = []
        if not event.stable and not is_met and self._is_taken_back(held):
            self._is_reported = False
            decisions = [RollBack()]
        elif event.stable or is_met or (speech.is_stable and not self._is_closed):
            decisions = self.early(held, now, is_reported=event.stable or is_met)
            self._is_reported = self._is_reported or event.stable
        if is_met and not speech.is_forced:
            speech.is_forced = True
            decisions.append(ForceEndpoint())
        return decisions

    def early(self, held: Transcript | None, now: float, *, is_reported: bool = False) -> list[Decision]:
        """Prepare a reply to what the caller has said before, and to early words that will hardly change.

        Without the recogniser's word for that, those that break off are not enough: "yeah but I" goes on.
        """
        speech = self._speech
        speech.was_drafted = True
        is_long = speech.spoken_s(now) > LONG_S
        if is_long and (speech.is_open or now - speech.ended_s < LONG_SILENCE_S):
            return []
        breaks_off = self._phrases.opens(speech.text) and not is_sentence(speech.text)
        if (breaks_off and not is_reported) or self._phrases.is_filler(speech.text):
            return []
        return self.on(joined(held, Transcript(speech.text, now, now)))

    def on(self, transcript: Transcript) -> list[Decision]:
        """Prepare a reply to this."""
        words = normal(transcript.text)
        if not self._may_draft or (self._floor.has_draft and words == self._words):
            return []
        self._count += 1
        self._words = words
        self._is_reported = False
        return [RollBack(), Draft(transcript)] if self._floor.has_draft else [Draft(transcript)]

    def answered(self) -> None:
        """The caller's turn is over."""
        self._count = 0

    def fits(self, transcript: Transcript) -> bool:
        """Return whether there is a draft for these words."""
        return self._floor.has_draft and normal(transcript.text) == self._words

    def _is_taken_back(self, held: Transcript | None) -> bool:
        """Whether early words, which are not stable, begin with the stable words that have caused the draft."""
        words = normal(f"{held.text if held else ''} {self._speech.text}")
        return self._is_reported and self._floor.has_draft and f"{words} ".startswith(f"{self._words} ")

    @property
    def _may_draft(self) -> bool:
        return self._is_on and self._count < MOST_DRAFTS and self._floor.phase == "quiet"
