"""What a client asks for in a call, carried out in the session.

Rule 1: an event that cannot be carried out is answered with `error`, and the call goes on.
Rule 2: the caller's audio goes on at once; in push to talk it waits for the commit, so that it can be cleared.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import anyio

from voicepipe.core.clock import loop_time
from voicepipe.errors import ConfigurationError
from voicepipe.history import AssistantMessage, UserMessage
from voicepipe.serving.bucket import Bucket
from voicepipe.serving.realtime import server_events as say
from voicepipe.serving.realtime.client_events import (
    MOST_TEXT,
    AppendAudio,
    CancelResponse,
    ClearAudio,
    ClientEvent,
    CommitAudio,
    CreateItem,
    CreateResponse,
    DeleteItem,
    MessageItem,
    Rejected,
    ResponseWishes,
    RetrieveItem,
    TruncateItem,
    UpdateSession,
    read_event,
)
from voicepipe.serving.realtime.items import Item
from voicepipe.serving.transport import Refused

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from voicepipe.audio.source import PushSource
    from voicepipe.serving.realtime.line import RealtimeLine
    from voicepipe.serving.transport import Peer
    from voicepipe.session.session import Session

__all__ = ["Requests"]

MOST_TALK_S: Final = 30.0
"""The longest push to talk."""

TALK_STEP_S: Final = 1.0
TALK_PACE_S: Final = 0.1
"""What was committed is recognised ten times as fast as it was spoken, so that no recogniser loses any of it."""

WORDS_S: Final = 5.0
"""So long after it was heard, what was committed counts as wordless."""

MOST_TYPED: Final = 32
"""Messages that may be typed before a response is asked for."""

REPLIES_PER_S: Final = 1.0
MOST_REPLIES: Final = 10.0
"""Replies that are asked for without a word: each costs a request to the model, also when it is cancelled at once."""

CLOSING_SILENCE_S: Final = 1.0
"""What a recogniser is given that cannot end a turn on request."""


class Requests:
    """The events of one client.

    Args:
        peer: The client.
        line: Its call.
        source: Takes the caller's audio.
        session: The session.
        tasks: Runs what takes longer than an event.
    """

    def __init__(
        self, peer: Peer, line: RealtimeLine, source: PushSource, session: Session[Any], tasks: TaskGroup
    ) -> None:
        self._peer = peer
        self._line = line
        self._source = source
        self._session = session
        self._tasks = tasks
        self._talk = bytearray()  # what waits for a commit
        self._has_audio = False  # since the last commit
        self._owes_commit = False  # the next response.create belongs to the last commit
        self._is_asking = False  # typed words are about to begin a turn
        self._replies = Bucket(REPLIES_PER_S, MOST_REPLIES, loop_time())
        self._owes_outputs = False  # the next response.create belongs to outputs of functions

    async def handle(self, message: str | bytes) -> None:
        """Carry out one message.

        Raises:
            Refused: The client sends more than it may.
        """
        event: ClientEvent | None = None
        try:
            event = read_event(message)
            await self._carry_out(event)
        except Rejected as rejected:
            rejected.event_id = rejected.event_id or (event.event_id if event is not None else None)
            await self._line.wire.send(say.error(rejected))

    async def _carry_out(self, event: ClientEvent) -> None:
        match event:
            case AppendAudio():
                self._append(event)
            case UpdateSession():
                await self._line.update(event)
                if self._line.chosen.detection is not None:
                    self._talk.clear()
            case CommitAudio():
                await self._commit()
            case ClearAudio():
                await self._clear()
            case CreateItem():
                await self._create(event)
            case RetrieveItem():
                await self._line.wire.send(say.item_retrieved(self._line.conversation.items.get(event.item_id)))
            case TruncateItem():
                await self._truncate(event)
            case DeleteItem():
                await self._delete(event.item_id)
            case CreateResponse():
                await self._respond(event.response or ResponseWishes())
            case CancelResponse():
                self._cancel(event.response_id)
            case _:
                raise AssertionError(f"{type(event).__name__} is read, but not carried out")

    # --- audio --------------------------------------------------------------------------------------------------------

    def _append(self, event: AppendAudio) -> None:
        pcm = self._line.chosen.input_format.decoded(event.audio)
        seconds = len(pcm) / 2 / self._source.sample_rate
        self._take_audio(seconds)
        self._line.conversation.caller.audio_came(seconds)
        self._has_audio = self._has_audio or bool(pcm)
        if self._line.chosen.detection is not None:
            self._source.push(pcm)
            return
        if len(self._talk) + len(pcm) > MOST_TALK_S * self._source.sample_rate * 2:
            said = f"without turn detection at most {MOST_TALK_S:g} s wait for a commit; commit or clear them"
            raise Rejected("input_audio_buffer_full", said)
        self._talk += pcm

    def _take_audio(self, seconds: float) -> None:
        try:
            self._peer.takes_audio(seconds)
        except Refused as refused:
            raise Refused(refused.reason, refused.message, code=1008) from None

    async def _clear(self) -> None:
        if self._line.chosen.detection is not None:
            raise Rejected(
                "nothing_to_clear", "audio is recognised as it comes; only with turn_detection null it can be cleared"
            )
        self._talk.clear()
        self._has_audio = False
        await self._line.wire.send(say.buffer_cleared())

    async def _commit(self) -> None:
        if not self._has_audio:
            raise Rejected("input_audio_buffer_commit_empty", "no audio came since the last commit")
        turns, pcm = self._line.conversation.turns, b""
        if self._line.chosen.detection is None:  # else an item is made when the words are known
            if self._line.conversation.caller.is_awaited:
                raise Rejected("input_audio_buffer_busy", "what was committed before is still being recognised")
            await self._line.wire.send(*self._line.conversation.caller.commit())
            pcm, self._talk = bytes(self._talk), bytearray()
        # Each commit may cost the recogniser as much, see `_end_turn`: they are not free for the client either.
        self._take_audio(CLOSING_SILENCE_S)
        self._has_audio, self._owes_commit = False, True
        self._tasks.start_soon(self._recognise, pcm, turns)

    async def _recognise(self, pcm: bytes, turns: int) -> None:
        """Have what was committed recognised, and say so if it holds no words.

        Args:
            pcm: What has not been given to the recogniser yet.
            turns: How many turns had begun.
        """
        step = round(TALK_STEP_S * self._source.sample_rate) * 2
        for at in range(0, len(pcm), step):
            if at:
                await anyio.sleep(TALK_PACE_S)
            self._source.push(pcm[at : at + step])
        self._end_turn()
        await anyio.sleep(WORDS_S)
        conversation = self._line.conversation
        if conversation.turns == turns:
            is_asked, self._owes_commit = not self._owes_commit, False
            events = conversation.caller.no_words()
            await self._line.wire.send(*events, *(conversation.nothing_more(None) if is_asked else ()))

    def _end_turn(self) -> None:
        recogniser = self._session.recogniser
        if recogniser.can_force_endpoint:
            recogniser.force_endpoint()
        else:
            self._source.push(bytes(2 * round(CLOSING_SILENCE_S * self._source.sample_rate)))

    # --- items --------------------------------------------------------------------------------------------------------

    async def _create(self, event: CreateItem) -> None:
        line, given = self._line, event.item
        items = line.conversation.items
        if isinstance(given, MessageItem):
            await self._create_message(given)
            return
        item_id = items.id_for(given.id)
        item = Item(id=item_id, kind="function_call_output", call_id=given.call_id, text=given.output)
        line.calls.take(given.call_id, given.output)
        self._owes_outputs = True
        await line.wire.send(*line.conversation.add(item))

    async def _create_message(self, given: MessageItem) -> None:
        line, text = self._line, given.text
        if given.role != "user" and "instructions" not in line.allow:
            said = f"the agent's own words and instructions do not come from clients; {given.role} items are refused"
            raise Rejected("not_allowed", said, param="item.role")
        if not any(map(str.isalnum, text)):
            raise Rejected("invalid_value", "the text has no words", param="item.content")
        if len(line.typed) >= MOST_TYPED:
            raise Rejected("too_many_items", f"{MOST_TYPED} messages wait for an answer; send response.create first")
        if len(text) > MOST_TEXT:
            raise Rejected("too_large", f"a message has at most {MOST_TEXT} characters", param="item.content")
        if given.role != "user":
            line.check_room()
        item = Item(id=line.conversation.items.id_for(given.id), role=given.role, text=text)
        if given.role == "user":
            line.typed[item.id] = UserMessage(text)
        else:
            line.put_in(item.id, AssistantMessage.said(text) if given.role == "assistant" else UserMessage(text))
        await line.wire.send(*line.conversation.add(item))

    async def _truncate(self, event: TruncateItem) -> None:
        line = self._line
        item = line.conversation.items.get(event.item_id)
        if not item.is_audio or item.role != "assistant" or event.content_index:
            raise Rejected("invalid_value", "only the audio of the agent can be truncated", param="item_id")
        heard_s = item.turn_s(event.audio_end_ms / 1000)
        line.drop_rest(item, heard_s)
        await line.wire.send(say.item_truncated(item, event.audio_end_ms))

    async def _delete(self, item_id: str) -> None:
        item = self._line.conversation.items.get(item_id)
        await self._line.wire.send(*self._line.forget(item))

    # --- responses ----------------------------------------------------------------------------------------------------

    async def _respond(self, wishes: ResponseWishes) -> None:
        self._check(wishes)
        line, conversation = self._line, self._line.conversation
        owes_outputs, self._owes_outputs = self._owes_outputs, False
        owes_commit, self._owes_commit = self._owes_commit, False
        if conversation.waits_for_client:
            await line.wire.send(*line.go_on(conversation.waits_for_client))
        elif conversation.response is not None and conversation.response.has_calls:
            line.goes_on = True  # once everything that was said before the call is out
        elif owes_commit:
            conversation.asks(wishes.metadata)  # the reply comes with the words
        elif conversation.response is not None or self._session.is_busy or self._is_asking:
            self._owes_outputs = owes_outputs
            running = "a response is being given; wait for response.done, or send response.cancel"
            raise Rejected("conversation_already_has_active_response", running)
        elif owes_outputs:
            await line.wire.send(*conversation.nothing_more(wishes.metadata))  # an earlier one has answered it
        elif not self._replies.take(1, loop_time()):
            raise Rejected("rate_limit_exceeded", "too many responses in a short time; ask again in a second")
        elif line.typed:
            text = "\n".join(message.text for message in line.typed.values())
            conversation.answers(conversation.items.get(next(reversed(line.typed))))
            line.typed.clear()
            conversation.asks(wishes.metadata)
            self._is_asking = True
            self._tasks.start_soon(self._say, text)
        else:
            conversation.asks(wishes.metadata)
            self._session.reply(wishes.instructions)

    def _check(self, wishes: ResponseWishes) -> None:
        line = self._line
        if wishes.conversation not in (None, "auto"):
            raise Rejected("unsupported", "responses outside of the conversation are not supported", param="response")
        if wishes.input or wishes.tools:
            raise Rejected("unsupported", "a response has no input and no tools of its own", param="response")
        if wishes.instructions and "instructions" not in line.allow:
            raise Rejected("not_allowed", "instructions do not come from clients here", param="response.instructions")
        if wishes.output_modalities not in (None, [line.chosen.modality]):
            said = f"replies of this session are {line.chosen.modality}"
            raise Rejected("unsupported", said, param="response.output_modalities")

    async def _say(self, text: str) -> None:
        """Give the caller's typed words to the agent."""
        self._is_asking = False  # in this very step the turn begins
        with suppress(ConfigurationError):  # the session has ended meanwhile
            await self._session.user_says(text)

    def _cancel(self, response_id: str | None) -> None:
        response = self._line.conversation.response
        if response is None and self._line.was_cut:
            return  # some clients truncate, and then cancel
        if response is None or response_id not in (None, response.id):
            raise Rejected("response_cancel_not_active", "there is no such response to cancel", param="response_id")
        self._line.conversation.cancels()
        self._session.interrupt()
