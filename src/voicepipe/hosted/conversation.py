"""One call's conversation with a hosted agent: which reply answers what, and what the service has to know about it.

Rule 1: never waits. What the service reports and what the session does are methods that run in one step of the loop.
Rule 2: a service gives one reply at a time, in the order in which they were asked for. One that nobody asked for is
        spoken all the same: it answers the caller if they have just spoken, else the agent speaks on its own.
Rule 3: what comes of a reply after it was interrupted is dropped.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.core.log import log
from voicepipe.floor_events import Backchannel
from voicepipe.flow import EarlyTranscript, SpeechEnded, SpeechStarted, Transcript
from voicepipe.hosted.known import Known, calls_of, not_called
from voicepipe.hosted.messages import (
    CallerSaid,
    CallerSpeaks,
    CallerStopped,
    CallerTyped,
    ReplyAudio,
    ReplyBegan,
    ReplyCalls,
    ReplyDone,
    ReplyText,
    RequestFailed,
    ServiceComplained,
    ShowResults,
    Speak,
    StopReply,
    Suggest,
)
from voicepipe.hosted.promises import Promises
from voicepipe.hosted.unheard import Unheard
from voicepipe.turntaking.agent_yielded import AgentYielded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.context import SessionContext
    from voicepipe.errors import VendorError
    from voicepipe.history import ServiceState, ToolCall
    from voicepipe.hosted.messages import AgentEvent, AgentRequest, AgentSetup
    from voicepipe.hosted.spoken_reply import SpokenReply
    from voicepipe.model.model import Request
    from voicepipe.turntaking.agent_yielded import Report

__all__ = ["CONTINUES", "Conversation"]

CONTINUES: Final = "Say what you have already begun to say."
"""What the session is asked for when the agent speaks on its own; the service never sees it."""

UNHEARD: Final = "(not transcribed)"
"""The caller's words in a turn that the service answers before it says what they were, if it says it at all."""

TRANSCRIPT_S: Final = 0.4
"""How long a reply waits for the words that it answers; services recognise them along the way."""

WORDS_S: Final = 0.5
"""How long a reply that came without words waits for them after its end."""

ASIDE_S: Final = 2.0
"""Words during a reply that the service answers with nothing for so long after it were a back-channel."""

GO_ON: Final = "The tools have been called and their results are known. Go on."
"""What the service is asked when it knows all results already: without a request it would say nothing."""

ENOUGH_S: Final = 0.03
"""A reply of which less than this is left was heard whole; clocks and frames are no finer."""


class Conversation:
    """The conversation of one call.

    Args:
        agent: The agent's name, for messages.
        rate: Samples per second of the agent's audio.
        repeats_tags: Whether the service says which request a reply belongs to.

    Attributes:
        requests: What the service has to be sent, oldest first.
        has_requests: Set when there is something to send.
        known: What the service knows.
    """

    def __init__(self, agent: str, rate: int, *, repeats_tags: bool) -> None:
        self.requests: deque[AgentRequest] = deque()
        self.has_requests = anyio.Event()
        self._agent, self.known = agent, Known(agent)
        self._promises = Promises(agent, rate, repeats_tags=repeats_tags)
        self._session: SessionContext[Any]
        self._report: Report
        self._later: Callable[[float, Callable[[], None]], None]
        self._active: SpokenReply | None = None  # what the service is saying
        self._own: SpokenReply | None = None  # what it says without being asked, until a turn takes it
        self._eager: SpokenReply | None = None  # what it says to words that have not come yet
        self._due: tuple[str, SpokenReply] | None = None  # words that were reported, and the reply to them
        self._unheard: Unheard | None = None  # a turn whose words have not come,
        self._beginning: Unheard | None = None  # and the newest such turn, which may not have begun
        self._aside = ""  # words during a reply, which may be answered or not
        self._early = self._item_id = ""
        self._has_spoken = False  # whether the caller has spoken, and their words have not come
        self._stopped_s: float | None = None  # when the caller's newest speech ended
        self._is_stale = False  # whether what comes without a beginning belongs to a reply that was dropped
        self._spoken: list[SpokenReply] = []  # the replies of the present turn

    def begin(
        self, session: SessionContext[Any], report: Report, later: Callable[[float, Callable[[], None]], None]
    ) -> None:
        """Take part in a session.

        Args:
            session: The session.
            report: Takes what is heard.
            later: Calls a function after so many seconds.
        """
        self._session, self._report, self._later = session, report, later

    # --- the connection -----------------------------------------------------------------------------------------------

    def connected(self, setup: AgentSetup) -> None:
        """Note that a connection begins, perhaps with the service's greeting."""
        self.known.connected(setup.instructions, setup.tools)
        if setup.greets:
            self._own = self._promises.add()

    def lost(self, error: VendorError) -> None:
        """Note that the connection is over: what the service was saying does not come to its end."""
        held = [self._active, self._due[1] if self._due is not None else None, self._own, self._eager]
        self._active = self._due = self._own = self._eager = self._unheard = None
        self._has_spoken, self._early, self._aside, self._is_stale = False, "", "", False
        self.requests.clear()
        self._promises.fail(error)
        self._spoken.clear()
        for reply in held:
            if reply is not None:
                reply.fail(error)

    def _post(self, *requests: AgentRequest) -> None:
        self.requests += requests
        self.has_requests.set()

    # --- what the service reports -------------------------------------------------------------------------------------

    def receive(self, event: AgentEvent) -> None:
        """Act on what the service reports."""
        now = anyio.current_time()
        match event:
            case CallerSpeaks(stops_agent=stops_agent, item_id=item_id):
                self._has_spoken, self._early, self._stopped_s, self._item_id = True, "", None, item_id
                if self._unheard is not None and not self._unheard.item_id:
                    self._unheard = None  # its words will not come
                self._report(SpeechStarted(at_s=now))
                if stops_agent:
                    self._stops()
            case CallerStopped():
                self._stopped_s = now
                self._report(SpeechEnded(at_s=now))
            case CallerSaid(text=text, is_final=is_final, item_id=item_id):
                self._said(text.strip(), now, is_final=is_final, item_id=item_id)
            case ReplyBegan(reply_id=reply_id, tag=tag):
                self._begins(reply_id, tag)
            case ReplyAudio() | ReplyText() | ReplyCalls():
                self._goes_on(event)
            case ReplyDone():
                self._ends(event)
            case RequestFailed(error=error, tag=tag):
                self._refused(error, tag)
            case ServiceComplained(error=error):
                log.warning("%s reports an error, and goes on: %s", self._agent, error)

    # --- the caller's words -------------------------------------------------------------------------------------------

    def _said(self, text: str, now: float, *, is_final: bool, item_id: str = "") -> None:
        if not is_final:
            if text and text != self._early:
                self._early = text
                self._report(EarlyTranscript(text))
            return
        if (unheard := self._unheard) is not None and unheard.item_id == item_id:  # its reply did not wait for them
            self._unheard = None
            unheard.came(text)
            return
        if text or not item_id:
            self._has_spoken, self._early = False, ""
        if not text:
            return
        if (reply := self._eager) is not None:
            self._eager = None
            self._answer(text, reply, now)
        elif self._active is not None and not self._active.is_unwanted:
            self._aside = f"{self._aside} {text}".lstrip()
        else:
            self._answer(text, self._promises.add(), now)
            self._promises.forget_unwanted()

    def _answer(self, text: str, reply: SpokenReply, now: float) -> None:
        """Have the session begin a turn in which this reply answers these words."""
        if self._due is not None:
            self._due[1].is_unwanted = True
        self._due = text, reply
        self._report(Transcript(text, now if self._stopped_s is None else self._stopped_s, now))

    # --- replies ------------------------------------------------------------------------------------------------------

    def _begins(self, reply_id: str, tag: str) -> None:
        if self._active is not None:
            if reply_id and self._active.reply_id == reply_id:
                return
            self._active.finish(ReplyDone("completed"))  # its end was not reported
        self._is_stale = False
        reply = self._promises.begins(tag)
        self._active = reply
        reply.begin(reply_id)
        if reply.is_unwanted:
            self._post(StopReply(reply_id, 0.0, is_over=False))
        elif reply is self._own:
            self._session.reply(CONTINUES)
        elif not reply.tag:
            self._begins_unasked(reply)

    def _begins_unasked(self, reply: SpokenReply) -> None:
        """Find out what a reply answers that was not promised."""
        now = anyio.current_time()
        if self._aside:
            text, self._aside = self._aside, ""
            self._answer(text, reply, now)
        elif self._has_spoken:
            self._eager = reply
            self._later(TRANSCRIPT_S, lambda: self._answer_unheard(reply))
        else:
            self._own = reply
            self._session.reply(CONTINUES)

    def _answer_unheard(self, reply: SpokenReply) -> None:
        if self._eager is reply:
            self._eager, self._has_spoken = None, False
            text = self._early or UNHEARD
            self._unheard = self._beginning = Unheard(reply, self._item_id)
            self._answer(text, reply, anyio.current_time())

    def _goes_on(self, event: ReplyAudio | ReplyText | ReplyCalls) -> None:
        if self._active is not None and self._active.has_paused and event.reply_id in ("", self._active.reply_id):
            self._active = None  # after tool calls, a service may go on with the reply that called,
            self._begins(event.reply_id, "")
        elif self._active is None and not (self._is_stale or event.reply_id or isinstance(event, ReplyText)):
            self._begins("", "")  # or with another, without saying so
        reply = self._active
        if reply is None or reply.is_unwanted or (event.reply_id and event.reply_id != reply.reply_id):
            self._leave_out(event)
        elif isinstance(event, ReplyAudio):
            reply.add_audio(event.pcm)
        else:
            reply.add(event)

    def _leave_out(self, event: ReplyAudio | ReplyText | ReplyCalls) -> None:
        """Drop what belongs to a reply that was interrupted; a service that does not know of it waits for its calls."""
        if isinstance(event, ReplyCalls) and self._active is not None:
            self._post(ShowResults((not_called(event),)))

    def _ends(self, done: ReplyDone) -> None:
        reply = self._active
        if reply is None or (done.reply_id and done.reply_id != reply.reply_id):
            return None
        if done.lacks_words and not reply.parts:
            whole = replace(done, lacks_words=False)
            return self._later(WORDS_S, lambda: self._ends(whole) if self._active is reply else None)
        self._active = None
        self._is_stale = done.status == "interrupted" or reply.is_unwanted
        reply.finish(done)
        if done.status == "interrupted":
            self._interrupted(reply)
        elif aside := self._aside:
            self._later(ASIDE_S, lambda: self._was_aside(aside))
        return None

    def _stops(self) -> None:
        """The service stops for the caller, whether it was still speaking or had only sent everything early."""
        if (reply := self._active) is not None:
            self._ends(ReplyDone("interrupted", reply_id=reply.reply_id))
        self._report(AgentYielded())

    def _interrupted(self, reply: SpokenReply) -> None:
        """The service has stopped in the middle of a reply: nothing more of it is heard from this step on."""
        self._own = None if reply is self._own else self._own
        self._eager = None if reply is self._eager else self._eager
        if reply.turn is not None and not reply.turn.is_over:
            self._report(AgentYielded())
        if reply.turn is None or reply.turn.is_over:  # else it has to be heard whole
            reply.stop()
        if self._aside:
            text, self._aside = self._aside, ""
            self._said(text, anyio.current_time(), is_final=True)

    def _was_aside(self, text: str) -> None:
        """Words during a reply got no answer of their own."""
        if self._aside == text and self._active is None:
            self._aside = ""
            self._session.emit(Backchannel(text))

    def _refused(self, error: VendorError, tag: str) -> None:
        reply = self._promises.take(tag)
        if reply is None:
            log.warning("%s refuses a request: %s", self._agent, error)
        else:
            reply.fail(error)

    # --- what the session does ----------------------------------------------------------------------------------------

    def asked(self, request: Request, turn: Turn) -> SpokenReply:
        """Return the reply whose words the model's place sends in this turn, and have the service give it."""
        self._post(*self.known.instruct(request.system), *self.known.offer(request.tools))
        if request.step:
            reply = self._continued(turn)
        else:
            turn.before_end(lambda: self._turn_ends(turn))
            self._show(calls_of(request.messages), are_late=True)
            if turn.transcript is not None:
                reply = self._answering(turn.transcript.text, turn)
            elif CONTINUES in turn.note and self._own is not None:
                reply, self._own = self._own, None
            else:
                reply = self._promises.add(is_requested=True)
                self._post(Suggest(self.known.with_late(turn.note, turn.shown), reply.tag))
        return self._taken(reply, turn)

    def to_say(self, text: str, turn: Turn) -> SpokenReply:
        """Ask the service to say a text, and return the reply in which it does."""
        reply = self._promises.add(is_requested=True)
        self._post(*self.known.let_interrupt(not turn.is_protected), Speak(text, reply.tag))
        turn.before_end(lambda: self._turn_ends(turn))
        return self._taken(reply, turn)

    def called(self, call_id: str) -> ServiceState:
        """Return what a call keeps, so that its result finds the way back to the service."""
        return self.known.call_state(call_id)

    def offer(self, tools: tuple[dict[str, Any], ...]) -> None:
        """Note which tools the session has now; during a turn its own requests say it."""
        if not self._spoken:
            self._post(*self.known.offer(tools))

    def _taken(self, reply: SpokenReply, turn: Turn) -> SpokenReply:
        reply.turn = turn
        self._spoken.append(reply)
        if reply.was_interrupted:  # before its turn had begun
            self._report(AgentYielded())
        return reply

    def _answering(self, text: str, turn: Turn) -> SpokenReply:
        if self._due is not None and text.endswith(self._due[0]):
            reply, self._due = self._due[1], None
            if self._beginning is not None and self._beginning.reply is reply:
                self._beginning.begins(turn)
            return reply
        reply = self._promises.add(is_requested=True)
        self._post(CallerTyped(text, reply.tag))
        return reply

    def _continued(self, turn: Turn) -> SpokenReply:
        """Show the service the results of this turn's calls, and return what it says to them."""
        reply = self._promises.add(is_requested=True)
        if not self._show(calls_of(turn.own_messages), tag=reply.tag, with_running=True):
            self._post(Suggest(GO_ON, reply.tag))
        return reply

    def _show(
        self, calls: Iterable[ToolCall], *, tag: str = "", are_late: bool = False, with_running: bool = False
    ) -> bool:
        """Show the service the results that it does not know; return whether there were any."""
        results = self.known.results(calls, with_running=with_running)
        if results:
            self._post(ShowResults(results, tag, are_late=are_late))
        return bool(results)

    def _turn_ends(self, turn: Turn) -> None:
        """Stop what the turn leaves unsaid, and show the service what its calls have brought."""
        was_cut = False
        for reply in [one for one in self._spoken if one.turn is turn]:
            self._spoken.remove(reply)
            was_cut |= self._cut(reply, turn)
        self._show(calls_of(turn.own_messages), are_late=was_cut)
        self._post(*self.known.let_interrupt(True))

    def _cut(self, reply: SpokenReply, turn: Turn) -> bool:
        """Stop a reply where the caller has heard it to; return whether any of it was left."""
        heard_s = 0.0 if reply.began_at_s is None else max(0.0, turn.speech.played_s - reply.began_at_s)
        if reply.is_over and heard_s >= reply.audio_s - ENOUGH_S:
            return False
        if reply.state != "promised" and not (reply.is_unwanted and not heard_s):
            self._post(StopReply(reply.reply_id, min(heard_s, reply.audio_s), is_over=reply.is_over))
        reply.stop()
        return True
