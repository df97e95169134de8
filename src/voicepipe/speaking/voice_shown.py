"""Shows observers what a voice is given and gives, for one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.core.clock import loop_time
from voicepipe.observed import VoiceAsked, VoiceEnded, VoiceGave
from voicepipe.text.wording import has_wording, written

if TYPE_CHECKING:
    from voicepipe.core.context import TurnContext, Watching
    from voicepipe.errors import VoicepipeError
    from voicepipe.flow import WordMark
    from voicepipe.speaking.clip import Clip

__all__ = ["VoiceShown"]


class VoiceShown:
    """One sentence, as observers see it; without any of them, nothing happens here.

    Args:
        voice: Name of the part that speaks.
        sample_rate: Samples per second of the audio that it gives.
        clip: What is said.
        turn: The turn that says it.
    """

    def __init__(self, voice: str, sample_rate: int, clip: Clip, turn: TurnContext) -> None:
        self._watch: Watching | None = turn.session.watch
        if self._watch is None:
            return
        self._sentence_id = self._watch.next_sentence()
        self._watch.exchange(
            VoiceAsked(
                at_s=loop_time(),
                sentence_id=self._sentence_id,
                turn_id=turn.turn_id,
                voice=voice,
                text=written(clip.sentence),
                segment=clip.sentence.segment,
                sample_rate=sample_rate,
                start_buffer_s=clip.start_buffer_s,
                is_filler=clip.is_filler,
                wording=clip.sentence.wording if has_wording(clip.sentence) else (),
            )
        )

    def gave(self, piece: bytes | WordMark) -> None:
        """Show a piece."""
        if self._watch is not None:
            self._watch.exchange(VoiceGave(at_s=loop_time(), sentence_id=self._sentence_id, piece=piece))

    def ended(self, error: VoicepipeError | None = None) -> None:
        """Show that all pieces have come, or why they have not."""
        if self._watch is not None:
            self._watch.exchange(VoiceEnded(at_s=loop_time(), sentence_id=self._sentence_id, error=error))
