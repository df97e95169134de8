"""Speech to text: a recogniser as a stage of the row."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, cast

from voicepipe.errors import ConfigurationError
from voicepipe.events import AudioFrame, Hearing
from voicepipe.part import Part
from voicepipe.stage import SessionStage

if TYPE_CHECKING:
    from voicepipe.channel import Inbox, Outbox
    from voicepipe.session import Session

__all__ = ["Recogniser", "STTStage"]


class Recogniser(Part):
    """Base of speech recognisers; a vendor writes `recognise`.

    Attributes:
        sample_rate: What it hears, in samples per second; audio of another rate is resampled before.
    """

    sample_rate: int = 16_000

    @abstractmethod
    async def recognise(self, inbox: Inbox[AudioFrame], outbox: Outbox[Hearing], session: Session) -> None:
        """Turn audio into what was heard, for a whole call.

        Args:
            inbox: 16-bit mono PCM at `self.sample_rate`, frames of any length up to 20 ms. Its end is a hang-up.
            outbox: `SpeechStarted`, `SpeechEnded` and `EarlyTranscript` as they come; exactly one `Transcript` for each
                of the caller's turns.
            session: The call.

        Cancelled with the session. An error raised here ends the session under this recogniser's name.
        """


class STTStage(SessionStage[AudioFrame, Hearing]):
    """Audio in, transcripts out.

    Args:
        recogniser: Who listens, e.g. `PocketsphinxRecogniser(grammar)`.
    """

    def __init__(self, recogniser: Recogniser) -> None:
        if not isinstance(cast("object", recogniser), Recogniser):
            raise ConfigurationError(
                f"STTStage needs a Recogniser, not {type(recogniser).__name__}; "
                "write STTStage(PocketsphinxRecogniser(grammar)) or derive a class from Recogniser"
            )
        self.recogniser = recogniser

    async def run(self, inbox: Inbox[AudioFrame], outbox: Outbox[Hearing], session: Session) -> None:
        """Let the recogniser listen. See `Recogniser.recognise`."""
        await self.recogniser.recognise(inbox, outbox, session)

    def __repr__(self) -> str:
        """Show who listens."""
        return f"<STTStage {self.recogniser!r}>"
