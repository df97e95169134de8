"""The three places of a hosted agent in a row of parts: it hears, it takes the model's place, and it speaks.

Rule 1: each is thin. What belongs together is decided in `Conversation`, which all three share.
Rule 2: the words come through the row like a model's, so that tools, history and events are those of any other row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Never

from voicepipe.core.log import log
from voicepipe.core.stage import Stage
from voicepipe.errors import VendorError
from voicepipe.flow import ReplyEnd, TextDelta, ToolCallDelta
from voicepipe.hearing.recogniser import Recogniser
from voicepipe.hosted.messages import ReplyCalls, ReplyText
from voicepipe.hosted.playing import ReplyPlayer
from voicepipe.model.model import Model
from voicepipe.speaking.playback import Playback

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.call_settings import CallSettings
    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.core.context import AnySession
    from voicepipe.flow import AudioFrame, Hearing
    from voicepipe.hosted.conversation import Conversation
    from voicepipe.hosted.spoken_reply import SpokenReply
    from voicepipe.model.model import ReplyPart, Request

__all__ = ["AgentEar", "AgentMind", "AgentVoice", "SpokenDelta"]


class AgentEar(Recogniser):
    """Hands the caller's audio to the agent, which reports by itself what it hears.

    Args:
        name: The agent's.
        sample_rate: Samples per second that it takes.
        take: Takes the audio.
    """

    is_closed = True  # the service acts on all that it hears, the agent's own echo included
    reports_speech = True

    def __init__(self, name: str, sample_rate: int, take: Callable[[bytes], None]) -> None:
        self._agent_name = name
        self._take = take
        self.sample_rate = sample_rate

    @property
    def name(self) -> str:
        """The agent's name."""
        return self._agent_name

    def adapt(self, settings: CallSettings) -> None:
        """Leave it to the agent."""

    async def recognise(self, inbox: Inbox[AudioFrame], outbox: Outbox[Hearing], session: AnySession) -> None:
        """Hand the audio on. See `Recogniser.recognise`."""
        del outbox, session
        async for frame in inbox:
            self._take(frame.pcm)

    def force_endpoint(self) -> None:
        """Do nothing: the service ends the caller's turn."""


@dataclass(frozen=True, slots=True)
class SpokenDelta(TextDelta):
    """Words that the service speaks by itself.

    Attributes:
        reply: The reply that they are a piece of, with its audio.
    """

    reply: SpokenReply | None = None


class AgentMind(Model):
    """Stands in the model's place: sends what the agent says and calls.

    Args:
        name: The agent's.
        conversation: The call's.
    """

    def __init__(self, name: str, conversation: Conversation) -> None:
        self._agent_name = name
        self._conversation = conversation

    @property
    def name(self) -> str:
        """The agent's name."""
        return self._agent_name

    async def reply(self, request: Request, outbox: Outbox[ReplyPart], turn: Turn) -> None:
        """Send the agent's next reply as it comes. See `Model.reply`."""
        turn.timeline.mark_again("llm_request")
        reply, at, calls = self._conversation.asked(request, turn), 0, 0
        await _wait_begun(reply)
        await outbox.send(SpokenDelta("", reply=reply))  # its audio may come before its first word
        while True:
            while at == len(reply.parts):
                await reply.wait_news()
            part, at = reply.parts[at], at + 1
            if isinstance(part, ReplyText):
                await outbox.send(SpokenDelta(part.text, reply=reply))
            elif isinstance(part, ReplyCalls):
                state = self._conversation.called(part.call_id)
                await outbox.send(
                    ToolCallDelta(
                        index=calls, call_id=part.call_id, name=part.name, arguments=part.arguments, state=state
                    )
                )
                calls += 1
            else:
                if part.error is not None:
                    raise part.error
                await outbox.send(ReplyEnd(finish_reason=part.reason or ("tool_calls" if calls else "stop")))
                return


class AgentVoice(Stage[TextDelta, Never]):
    """Plays what the agent says, and has it say the application's words.

    Args:
        name: The agent's.
        conversation: The call's.
        sample_rate: Samples per second of its audio.
        fills_silence: Whether it can say a tool's `say` while it waits for the tool.
    """

    _obeys = True

    def __init__(self, name: str, conversation: Conversation, sample_rate: int, *, fills_silence: bool) -> None:
        self._agent_name = name
        self._conversation = conversation
        self._fills_silence = fills_silence
        self.sample_rate = sample_rate

    @property
    def name(self) -> str:
        """The agent's name."""
        return self._agent_name

    async def run(self, inbox: Inbox[TextDelta], outbox: Outbox[Never], turn: Turn) -> None:
        """Play the turn's replies; return when the last one has been played."""
        del outbox
        playback, segment, playing = Playback(turn), turn.first_segment, None
        with turn.working(self.name):
            async for delta in inbox:
                reply = delta.reply if isinstance(delta, SpokenDelta) else None
                if reply is None and delta.text.strip():
                    reply = await self._to_say(delta.text, turn, is_filler=segment in turn.speech.fillers)
                if reply is not None and reply is not playing:
                    playing = reply
                    await ReplyPlayer(reply, turn, playback, segment, self.sample_rate).play()
                segment += delta.ends_segment
            await playback.wait_played()

    async def _to_say(self, text: str, turn: Turn, *, is_filler: bool) -> SpokenReply | None:
        """Have the service say words that are not its own; None if it does not, and they only fill a silence.

        Raises:
            VendorError: It does not.
        """
        if is_filler and not self._fills_silence:
            return None
        reply = self._conversation.to_say(text, turn)
        try:
            await _wait_begun(reply)
        except VendorError as error:
            if not is_filler:
                raise
            log.warning("%s did not fill a silence: %s", self.name, error)
            return None
        return reply


async def _wait_begun(reply: SpokenReply) -> None:
    """Wait until the service begins a reply.

    Raises:
        VendorError: It does not.
    """
    while reply.state == "promised":
        await reply.wait_news()
    if reply.parts and not isinstance(done := reply.parts[-1], (ReplyText, ReplyCalls)) and done.error is not None:
        raise done.error
