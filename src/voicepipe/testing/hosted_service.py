"""A service that hosts an agent, as its simulators and `ScriptedAgent` have it: it hears, answers and speaks.

Rule 1: it hears for itself: sound is speech, silence ends it, and what was said comes from a list, in order.
Rule 2: it gives one reply at a time, in real time or as fast as it can, and stops when the caller speaks.
Rule 3: its only clock is the event loop's; it reports what happens as the messages of `hosted.messages`.
"""

from __future__ import annotations

import json
import math
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import anyio

from voicepipe.core.channel import Channel
from voicepipe.hosted.messages import (
    AgentEvent,
    CallerSaid,
    CallerSpeaks,
    CallerStopped,
    CallResult,
    ReplyAudio,
    ReplyBegan,
    ReplyCalls,
    ReplyDone,
    ReplyText,
)
from voicepipe.testing.script import Calls, Says

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

__all__ = ["AgentReply", "Asked", "HostedService", "ServiceHabits", "tone"]

AgentReply: TypeAlias = "Says | Calls | Sequence[Calls] | None"
"""What the agent does next: it says something, calls tools, or does nothing."""

LOUD: Final = 500
"""A sample beyond this is sound, and all sound is speech."""

ONSET_S: Final = 0.1
"""Sound shorter than this is no speech."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a reply is asked for.

    Attributes:
        by: The caller's voice, words that they typed, a note of the application, a text that is to be said, the results
            of tools, or nothing but the beginning of the call.
        text: The words, the note or the text.
        results: The results.
        tag: That of the request.
    """

    by: Literal["caller", "typed", "note", "say", "results", "greeting"]
    text: str = ""
    results: tuple[CallResult, ...] = ()
    tag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceHabits:
    """How a service behaves.

    Attributes:
        min_silence_s: Silence that ends the caller's turn.
        words_s: From the end of the turn to its words.
        think_s: From a request to the beginning of its reply.
        character_s: Length of the speech for each character.
        piece_s: Length of a piece of audio.
        lead_s: How far ahead of real time the audio comes; infinite to send it at once.
        is_timed: Whether words come with their times.
        words_are_late: Whether the caller's words come only after the reply to them has begun.
        stops_early: Whether the caller's voice stops replies of which all audio was sent.
        repeats_tags: Whether a reply names the request that asked for it.
    """

    min_silence_s: float = 0.6
    words_s: float = 0.1
    think_s: float = 0.4
    character_s: float = 0.06
    piece_s: float = 0.01
    lead_s: float = 0.11
    is_timed: bool = True
    words_are_late: bool = False
    stops_early: bool = False
    repeats_tags: bool = False


@dataclass(slots=True)
class _Ear:
    loud_s: float = 0.0
    quiet_s: float = 0.0
    is_speech: bool = False


class HostedService:
    """One session of a service.

    Args:
        hears: What the caller says, one text for each of their turns; "" is a noise.
        replies: What the agent does, in order, or a function of what it is asked. A text that it is to say it says
            without a script.
        habits: How it behaves.
        sample_rate: Samples per second in both directions.

    Attributes:
        asked: What it was asked so far.
        results: The results that it was shown.
        is_interruptible: Whether the caller's voice stops a reply.
        greeting: Said first; "" for nothing.
    """

    def __init__(
        self,
        hears: Sequence[str],
        replies: Sequence[AgentReply] | Callable[[Asked], AgentReply],
        habits: ServiceHabits = ServiceHabits(),
        *,
        sample_rate: int = 24_000,
    ) -> None:
        self.asked: list[Asked] = []
        self.results: list[CallResult] = []
        self.is_interruptible = True
        self.greeting = ""
        self.habits = habits
        self._hears = deque(hears)
        self._replies = deque(replies) if isinstance(replies, Sequence) else replies
        self.sample_rate = sample_rate
        self._events = Channel[AgentEvent](10_000)  # a client that does not read is the simulator's business
        self._waiting = deque[Asked]()
        self._news = anyio.Event()
        self._ear = _Ear()
        self._reply: anyio.CancelScope | None = None
        self._has_stopped = self._is_over = False
        self._count = 0
        self._tasks: TaskGroup

    async def run(self) -> None:
        """Answer what is asked, one after another; runs until it is cancelled."""
        async with anyio.create_task_group() as self._tasks:
            if self.greeting:
                self.ask(Asked("greeting", self.greeting))
                self.greeting = ""  # once, although the session may be resumed
            while True:
                while not self._waiting:
                    self._news = anyio.Event()
                    await self._news.wait()
                await self._answer(self._waiting.popleft())

    async def event(self) -> AgentEvent:
        """Return what happens next."""
        return await self._events.receive()

    def next_event(self) -> AgentEvent | None:
        """Return what has happened; None if nothing waits."""
        return self._events.receive_nowait() if self._events.queued else None

    def _emit(self, event: AgentEvent) -> None:
        if not self._is_over:
            self._events.send_latest(event)

    # --- what a client sends ------------------------------------------------------------------------------------------

    def ask(self, asked: Asked) -> None:
        """Take a request for a reply."""
        self.asked.append(asked)
        self.results += asked.results
        self._waiting.append(asked)
        self._news.set()

    def show(self, results: Sequence[CallResult], tag: str = "", *, are_late: bool = False) -> None:
        """Take the results of tools; late ones are read, and not answered."""
        if are_late or not tag:
            self.results += results
        else:
            self.ask(Asked("results", results=tuple(results), tag=tag))

    def hang_up(self) -> None:
        """Report nothing more."""
        self._is_over = True
        self._events.close()

    def stop(self) -> None:
        """End the present reply, as the client asks."""
        if self._reply is not None:
            self._has_stopped = True
            self._reply.cancel()

    def hear(self, pcm: bytes) -> None:
        """Take the caller's audio."""
        samples = array("h", pcm)
        step = self.sample_rate // 100
        for at in range(0, len(samples), step):
            block = samples[at : at + step]
            self._hear_block(any(abs(sample) > LOUD for sample in block), len(block) / self.sample_rate)

    def _hear_block(self, is_loud: bool, duration_s: float) -> None:
        ear = self._ear
        ear.loud_s = ear.loud_s + duration_s if is_loud else 0.0
        ear.quiet_s = 0.0 if is_loud else ear.quiet_s + duration_s
        if not ear.is_speech and ear.loud_s >= ONSET_S - 1e-9:
            ear.is_speech = True
            self._waiting.clear()  # the caller goes on: what they said before is answered with it
            self._emit(CallerSpeaks(stops_agent=self.habits.stops_early and self.is_interruptible))
            if self.is_interruptible:
                self.stop()
        elif ear.is_speech and ear.quiet_s >= self.habits.min_silence_s - 1e-9:
            ear.is_speech = False
            self._emit(CallerStopped())
            self._tasks.start_soon(self._understand, self._hears.popleft() if self._hears else "")

    async def _understand(self, words: str) -> None:
        habits = self.habits
        if words and habits.words_are_late:
            self.ask(Asked("caller", words))
        await anyio.sleep(habits.words_s)
        if not words:
            return
        self._emit(CallerSaid(words.split(maxsplit=1)[0], is_final=False))
        self._emit(CallerSaid(words))
        if not habits.words_are_late:
            self.ask(Asked("caller", words))

    # --- replies ------------------------------------------------------------------------------------------------------

    async def _answer(self, asked: Asked) -> None:
        reply: AgentReply
        if asked.by in ("say", "greeting"):
            reply = Says(asked.text)
        elif callable(self._replies):
            reply = self._replies(asked)
        else:
            reply = self._replies.popleft() if self._replies else None
        if reply is None:
            return
        self._count += 1
        reply_id = f"r{self._count}"
        self._has_stopped = False
        with anyio.CancelScope() as self._reply:
            await anyio.sleep(getattr(reply, "after_s", 0.0) or self.habits.think_s)
            self._emit(ReplyBegan(reply_id, asked.tag if self.habits.repeats_tags else ""))
            await self._give(reply, reply_id)
        self._reply = None
        self._emit(ReplyDone("interrupted" if self._has_stopped else "completed", reply_id=reply_id))

    async def _give(self, reply: Says | Calls | Sequence[Calls], reply_id: str) -> None:
        calls = [reply] if isinstance(reply, Calls) else [] if isinstance(reply, Says) else [*reply]
        text = reply.text if isinstance(reply, Says) else "".join(call.say for call in calls)
        if text:
            await self._speak(text, reply_id)
        for number, call in enumerate(calls):
            arguments = call.arguments if isinstance(call.arguments, str) else json.dumps(dict(call.arguments))
            self._emit(ReplyCalls(call.call_id or f"{reply_id}c{number}", call.name, arguments, reply_id))

    async def _speak(self, text: str, reply_id: str) -> None:
        """Send words and audio, as far ahead of real time as the service does."""
        habits, began_s = self.habits, anyio.current_time()
        words = _words(text)
        at_s = 0.0
        for word in words:
            length_s = len(word) * habits.character_s
            start_s, word_end_s = (at_s, at_s + length_s) if habits.is_timed else (None, None)
            self._emit(ReplyText(word, start_s, word_end_s, reply_id))
            end_s = at_s + length_s
            while at_s < end_s - 1e-9:
                piece_s = min(habits.piece_s, end_s - at_s)
                if habits.lead_s < math.inf:
                    await anyio.sleep_until(began_s + at_s - habits.lead_s)
                self._emit(ReplyAudio(tone(piece_s, self.sample_rate), reply_id))
                at_s += piece_s


def _words(text: str) -> list[str]:
    """Return the words, each with the space before it."""
    return [word if at == 0 else f" {word}" for at, word in enumerate(text.split())]


def tone(seconds: float, sample_rate: int) -> bytes:
    """Return a square wave."""
    period = (b"\x00\x10" * 12 + b"\x00\xf0" * 12) * (round(seconds * sample_rate) // 24 + 1)
    return period[: 2 * round(seconds * sample_rate)]
