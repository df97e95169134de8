"""The base of speech recognisers."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from voicepipe.core.defaults import Default
from voicepipe.core.part import Part

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.core.context import AnySession
    from voicepipe.flow import AudioFrame, Hearing

__all__ = ["NoRecogniser", "Recogniser", "default_recogniser"]


class Recogniser(Part):
    """Base of speech recognisers; a vendor writes `recognise`.

    A tool or a hook of a call reaches its recogniser as `session.recogniser`. What it says to it there is a hint, which
    a recogniser that cannot follow it ignores, so that the same tool serves with any of them, and in tests with none.

    Attributes:
        sample_rate: What it hears, in samples per second; audio of another rate is resampled before.
        is_closed: Whether it forces all speech into a fixed set of phrases. Its words are then no evidence of who
            spoke, so with `TurnRules(loudspeaker=True)` it hears silence while the agent can be heard.
    """

    sample_rate: int = 16_000
    is_closed: bool = False

    @abstractmethod
    async def recognise(self, inbox: Inbox[AudioFrame], outbox: Outbox[Hearing], session: AnySession) -> None:
        """Turn audio into what was heard, for a whole call.

        Args:
            inbox: 16-bit mono PCM at `self.sample_rate`, frames of any length up to 20 ms. Its end is a hang-up.
            outbox: `SpeechStarted`, `SpeechEnded` and `EarlyTranscript` as they come; exactly one `Transcript` for each
                of the caller's turns.
            session: The call.

        Cancelled with the session. An error raised here ends the session under this recogniser's name.
        """

    def update(self, **changes: Any) -> None:  # noqa: ANN401 - each recogniser has its own
        """Change how it listens from now on, by the recogniser's own settings. Never waits."""
        del changes

    @asynccontextmanager
    async def updated(self, **changes: Any) -> AsyncGenerator[None]:  # noqa: ANN401
        """Change how it listens for as long as the block lasts.

        async with session.recogniser.updated(min_turn_silence_s=1.0, max_turn_silence_s=3.0):
            ...  # the caller spells an e-mail address
        """
        del changes
        yield

    def force_endpoint(self) -> None:
        """Take the caller's turn to be over, as somebody who listens here knows better. Never waits."""

    def agent_said(self, text: str) -> None:
        """Take note of what the caller has just heard the agent say. Called by the session."""


class NoRecogniser(Recogniser):
    """Stands where nothing listens to audio: the caller's words are typed, or scripted."""

    async def recognise(self, inbox: Inbox[AudioFrame], outbox: Outbox[Hearing], session: AnySession) -> None:
        """Hear nothing."""
        del outbox, session
        async for _ in inbox:
            pass


default_recogniser = Default[Recogniser]()
"""Makes what `STTStage()` listens with."""
