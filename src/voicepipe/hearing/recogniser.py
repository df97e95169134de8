"""The base class of speech recognisers."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from voicepipe.core.defaults import Default
from voicepipe.core.part import Part
from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voicepipe.core.call_settings import CallSettings
    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.core.context import AnySession
    from voicepipe.flow import AudioFrame, Hearing
    from voicepipe.turntaking.rules import Eagerness

__all__ = ["NoRecogniser", "Recogniser", "default_recogniser"]


class Recogniser(Part):
    """Base class of speech recognisers; a vendor implements `recognise`.

    A tool or a hook reaches the recogniser of its session as `session.recogniser`. The settings that it changes there
    are hints: a recogniser that does not support one ignores it. So the same tool works with every recogniser, and in
    tests without one.

    Attributes:
        sample_rate: Samples per second that it expects; audio of another rate is resampled before.
        is_closed: Whether it forces all speech into a fixed set of phrases. Its words then do not show who spoke, so
            with `TurnRules(loudspeaker=True)` it is given silence while the agent is audible; with an echo canceller,
            only until that has learned the room.
        reports_speech: Whether it reports the start and the end of each stretch of speech by itself, within 0.2 s. No
            detector is then chosen automatically, because it would look at the same audio a second time.
    """

    sample_rate: int = 16_000
    is_closed: bool = False
    reports_speech: bool = False

    @abstractmethod
    async def recognise(self, inbox: Inbox[AudioFrame], outbox: Outbox[Hearing], session: AnySession) -> None:
        """Recognise the audio of a whole session.

        Args:
            inbox: 16-bit mono PCM at `self.sample_rate`, in frames of up to 20 ms. It ends when the caller hangs up.
            outbox: Takes `SpeechStarted`, `SpeechEnded` and `EarlyTranscript` as they happen, and exactly one
                `Transcript` for each of the caller's turns.
            session: The session that is listening.

        Cancelled with the session. An error raised here ends the session and names this recogniser.
        """

    def update(self, **changes: Any) -> None:  # noqa: ANN401 - each recogniser has its own
        """Change settings of this recogniser from now on; each recogniser has its own. Never waits."""
        del changes

    @asynccontextmanager
    async def updated(self, **changes: Any) -> AsyncGenerator[None]:  # noqa: ANN401
        """Change settings of this recogniser for as long as the block lasts.

        async with session.recogniser.updated(min_turn_silence_s=1.0, max_turn_silence_s=3.0):
            ...  # the caller spells an e-mail address
        """
        del changes
        yield

    def force_endpoint(self) -> None:
        """End the caller's turn now, because the application knows that the caller is done. Never waits.

        What was pushed before belongs to the turn. Without speech in it nothing happens.

        Raises:
            ConfigurationError: This recogniser cannot do it.
        """
        raise ConfigurationError(
            f"{self.name} cannot end the caller's turn on request: it does not write force_endpoint(); write it, or "
            "let the recogniser notice the end"
        )

    @property
    def can_force_endpoint(self) -> bool:
        """Whether it has a `force_endpoint` of its own."""
        return type(self).force_endpoint is not Recogniser.force_endpoint

    def set_pace(self, eagerness: Eagerness, *, is_expecting: bool) -> None:
        """Adapt the silences after which it ends a turn, if it has some. Called by the session.

        Args:
            eagerness: That of `TurnRules`.
            is_expecting: Whether the caller is expected to say something in several breaths; see `Session.expect`.
        """

    def adapt(self, settings: CallSettings) -> None:
        """Refuse another language or key terms for one call. A recogniser that can change them overrides this.

        Raises:
            ConfigurationError: There is one of them.
        """
        settings.refuse(self.name, "language", "key_terms")

    def agent_said(self, text: str) -> None:
        """Learn what the caller has just heard the agent say. Called by the session."""


class NoRecogniser(Recogniser):
    """Stands in where no audio is recognised: the caller's words are typed or scripted."""

    async def recognise(self, inbox: Inbox[AudioFrame], outbox: Outbox[Hearing], session: AnySession) -> None:
        """Discard the audio."""
        del outbox, session
        async for _ in inbox:
            pass

    def force_endpoint(self) -> None:
        """Do nothing: no turn of the caller is being recognised."""


default_recogniser = Default[Recogniser]("recogniser")
"""Creates the recogniser of a plain `STTStage()`."""
