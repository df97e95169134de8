"""Speech to text: a recogniser as a stage of the pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from voicepipe.core.stage import SessionStage
from voicepipe.errors import ConfigurationError
from voicepipe.flow import AudioFrame, Hearing
from voicepipe.hearing.recogniser import NoRecogniser, Recogniser, default_recogniser

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voicepipe.core.call_settings import CallSettings
    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.core.context import AnySession

__all__ = ["Recogniser", "STTStage", "recogniser_of"]

NOBODY: Final = NoRecogniser()


class STTStage(SessionStage[AudioFrame, Hearing]):
    """Audio in, transcripts out.

    Args:
        recogniser: The recogniser, e.g. `PocketsphinxRecogniser(grammar)`; `AssemblyAIRecogniser()` by default.
    """

    def __init__(self, recogniser: Recogniser | None = None) -> None:
        self.recogniser: Recogniser = default_recogniser() if recogniser is None else recogniser
        if not isinstance(cast("object", self.recogniser), Recogniser):
            raise ConfigurationError(
                f"STTStage needs a Recogniser, not {type(recogniser).__name__}; "
                "write STTStage(PocketsphinxRecogniser(grammar)) or derive a class from Recogniser"
            )

    @property
    def _fault_name(self) -> str:
        return self.recogniser.name

    def adapt(self, settings: CallSettings) -> None:
        """Leave it to the recogniser."""

    async def run(self, inbox: Inbox[AudioFrame], outbox: Outbox[Hearing], session: AnySession) -> None:
        """Run the recogniser. See `Recogniser.recognise`."""
        await self.recogniser.recognise(inbox, outbox, session)

    def __repr__(self) -> str:
        """Show the recogniser."""
        return f"<STTStage {self.recogniser!r}>"


def recogniser_of(stages: Iterable[SessionStage[Any, Any]]) -> Recogniser:
    """Return the recogniser that one of the stages has, or a stand-in that recognises nothing."""
    having = (getattr(stage, "recogniser", None) for stage in stages)
    return next((recogniser for recogniser in having if isinstance(recogniser, Recogniser)), NOBODY)
