"""One call: what an application and its parts do with it, and the tasks that keep it alive.

What is heard goes to `TurnPolicy`, which decides; `Floor` carries out what it decides about turns.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Generic

import anyio

from voicepipe.audio.resample import resampler
from voicepipe.core.context import Deps
from voicepipe.core.failures import single_error
from voicepipe.core.lifetimes import attached, opened
from voicepipe.errors import ConfigurationError
from voicepipe.events import EchoIgnored, Event, SentenceStarted, TurnEnded
from voicepipe.flow import Hearing, Transcript
from voicepipe.hearing.stt import recogniser_of
from voicepipe.history import History, Message
from voicepipe.session.event_log import EventLog
from voicepipe.session.floor import Floor
from voicepipe.session.listening import heard
from voicepipe.speaking.playback import Playout
from voicepipe.turntaking.echo import EchoGuard
from voicepipe.turntaking.policy import Commit, Decision, Ignore, Interrupt, RollBack, Start, Tick, TurnPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Sequence

    from anyio.abc import TaskGroup, TaskStatus

    from voicepipe.audio.output import Output
    from voicepipe.audio.resample import Resampler
    from voicepipe.audio.source import Source
    from voicepipe.conversation.turn import Turn
    from voicepipe.core.part import Part
    from voicepipe.hearing.recogniser import Recogniser
    from voicepipe.session.wiring import Row
    from voicepipe.speaking.playback import Lease
    from voicepipe.tools.toolbox import Toolset

__all__ = ["Session"]

FINISH_CALLS_S: Final = 1.0
"""How long writing tools may still take when the session ends. See `core.lifetimes.CLOSE_S` for what comes after."""


class Session(Generic[Deps]):
    """One call; made by `Host.session` or `Pipeline.session`.

    Iterate over it for events. Iterating is optional: the newest 1,000 are kept, older ones counted in
    `dropped_events`. Iteration ends with the session.

    Attributes:
        deps: What the application gave to this call; tools get it through `ToolContext`.
        history: The conversation so far.
        result: What `end` was given.
        ended: Set when the session has ended.
    """

    def __init__(
        self,
        row: Row,
        *,
        source: Source | None,
        output: Output,
        deps: Deps,
        history: Iterable[Message],
    ) -> None:
        self.deps = deps
        self.history = History(history)
        self.result: object = None
        self.ended = anyio.Event()
        self._row = row
        self._source = source
        self._output = output
        self._playout = Playout(output)
        self._events = EventLog()
        has_echo = output.has_echo if row.turns.loudspeaker is None else row.turns.loudspeaker
        self._echo = EchoGuard(lambda: self._playout.audible_until_s) if has_echo else None
        self._floor = Floor(self, row, self._playout, self._on_idle)
        self._policy = TurnPolicy(row.turns, lambda: self._floor.phase, self._echo)
        self._ends_when_idle = False
        self._calls: TaskGroup

    # --- what an application does with it -----------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Speak a text that does not come from the model, after what is being said now.

        It is interrupted like a reply, and enters history as far as it was heard. What still waits to be said when the
        caller interrupts is dropped.
        """
        if not self.ended.is_set() and text.strip():
            self._floor.say(text)

    def interrupt(self) -> None:
        """Be silent at once: when this returns, no sample of the current reply reaches the output any more.

        Does nothing when the agent is silent. Writing tools go on; everything else of the turn is cancelled.
        """
        self._floor.interrupt()

    def end(self, *, after_reply: bool = False, result: object = None) -> None:
        """End the session.

        Args:
            after_reply: Let the current reply, and what waits to be said, be heard first. The caller cannot interrupt
                these last words any more; `interrupt` can.
            result: Kept as `Session.result`; the first one counts.
        """
        self.result = result if self.result is None else self.result
        if after_reply and self._floor.is_busy:
            self._ends_when_idle = True
        else:
            self._end()

    async def user_says(self, text: str) -> Turn:
        """Take a text as the caller's words, and return the turn when its reply has ended, in whatever way.

        Cancelling stops the waiting, not the turn.

        Raises:
            ConfigurationError: There is no word in the text, or the session has ended.
        """
        if not any(map(str.isalnum, text)):
            raise ConfigurationError(f"user_says needs words, not {text!r}")
        now, before = anyio.current_time(), self._floor.turn
        if not self.ended.is_set():
            self._hear(Transcript(text, now, now), is_typed=True)
        if (turn := self._floor.turn) is None or (turn is before and self._ends_when_idle):
            raise ConfigurationError("user_says after the session has ended, or was told to end")
        await turn.settled.wait()
        return turn

    @property
    def tools(self) -> Toolset:
        """The tools that the model may call in this session: `add` and `remove` take effect with the next request."""
        return self._row.router.tools

    @property
    def recogniser(self) -> Recogniser:
        """Who listens in this call; what a tool asks of it there is a hint, ignored where it has no meaning."""
        return recogniser_of(self._row.hearing_stages)

    @property
    def is_busy(self) -> bool:
        """Whether a reply is being prepared or spoken, or something waits to be said."""
        return self._floor.is_busy

    @property
    def dropped_events(self) -> int:
        """Events that were not read in time."""
        return self._events.dropped

    def __aiter__(self) -> AsyncIterator[Event]:
        """Iterate over events until the session ends; each event goes to one iterator."""
        return self._events.__aiter__()

    def __repr__(self) -> str:
        """Show what it is doing."""
        doing = "ended" if self.ended.is_set() else self._floor.turn or "listening"
        return f"<Session {doing}, {len(self.history)} messages>"

    # --- what stages and tools use ------------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """Tell the application. Never waits."""
        self._events.put(event)
        if isinstance(event, SentenceStarted) and self._echo is not None:
            self._echo.says(event.text, anyio.current_time())
        elif isinstance(event, TurnEnded) and event.heard:
            self.recogniser.agent_said(event.heard)

    def lease(self, turn: Turn) -> Lease:
        """Give the output to a turn."""
        return self._playout.begin(turn)

    @property
    def output_rate(self) -> int:
        """Samples per second that the output takes."""
        return self._output.sample_rate

    def resampler_to_output(self, sample_rate: int) -> Resampler | None:
        """Return what brings speech to the output's rate; None when it has it."""
        return resampler(sample_rate, self._output.sample_rate, self._row.sink.name, self._output.name)

    def start_call(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a tool beside the turns, so that none can hold a turn and no barge-in touches one that writes."""
        self._calls.start_soon(run)

    def drop_draft(self, turn: Turn) -> None:
        """Drop a draft that cannot be committed any more; nobody speaks then."""
        self._floor.drop_draft(turn)

    # --- the plumbing -------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _run(self, given: Sequence[Part], greeting: str) -> AsyncGenerator[Session]:
        """Hear and speak until the block ends, then end everything within 3 s.

        Args:
            given: Parts that belong to this session alone, so that it opens them.
            greeting: Said first, if not blank.
        """
        self.resampler_to_output(self._row.sink.sample_rate)  # a rate that cannot be met is told now
        hears = self._source is not None or self._row.hears_by_itself
        parts = [*self._row.parts(hears=hears), *filter(None, [self._source]), self._output]
        with single_error():
            async with (
                opened(given),
                attached(parts, self),
                anyio.create_task_group() as tasks,
            ):
                self.resampler_to_output(self._row.sink.sample_rate)  # a device may have turned out to run at its own
                await tasks.start(self._live, hears)
                try:
                    self.say(greeting)
                    yield self
                finally:
                    self._end()

    async def _live(self, hears: bool, *, task_status: TaskStatus[None]) -> None:
        """Own the tasks of the session: turns and listening, and beside them the writing tools."""
        async with anyio.create_task_group() as self._calls:
            try:
                async with self._floor.open() as tasks:
                    if hears:
                        tasks.start_soon(self._listen)
                    task_status.started()
                    await self.ended.wait()
            finally:
                self._end()  # a part failed: from here on no task can be started
            self._calls.cancel_scope.deadline = anyio.current_time() + FINISH_CALLS_S

    async def _listen(self) -> None:
        """Hear until the caller hangs up."""
        row = self._row
        is_deaf = self._echo.is_audible if self._echo and self.recogniser.is_closed else None
        async with heard(self, row.hearing_stages, self._source, row.hearing_rate, is_deaf) as hearing:
            while True:
                wake_at = self._policy.wake_at
                event: Hearing | Tick = Tick()
                with anyio.CancelScope(deadline=float("inf") if wake_at is None else wake_at):
                    try:
                        event = await hearing.receive()
                    except anyio.EndOfStream:
                        break
                self._hear(event)
        self._end()

    def _hear(self, event: Hearing | Tick, *, is_typed: bool = False) -> None:
        decisions = self._policy.handle(event, anyio.current_time(), is_typed=is_typed)
        if Ignore() not in decisions and not isinstance(event, Tick):
            self.emit(event)
        elif isinstance(event, Transcript):
            self.emit(EchoIgnored(text=event.text))
        for decision in decisions:
            if not self.ended.is_set():  # an interruption may have ended it
                self._carry_out(decision)
        self._floor.go_on()  # a draft may have been dropped with nothing in its place

    def _carry_out(self, decision: Decision) -> None:
        if self._ends_when_idle and isinstance(decision, Start | Interrupt):
            return  # nothing is answered any more, and the last words are heard to their end
        match decision:
            case Start(transcript=transcript, is_draft=is_draft):
                self._floor.start(transcript, is_draft=is_draft)
            case Commit(transcript=transcript):
                self._floor.commit(transcript)
            case RollBack():
                self._floor.roll_back()
            case Interrupt():
                self._floor.interrupt()
            case Ignore():
                pass

    def _on_idle(self) -> None:
        if self._ends_when_idle:
            self._end()

    def _end(self) -> None:
        if self.ended.is_set():
            return
        self._ends_when_idle = False
        self.ended.set()
        try:
            self._floor.interrupt()
        finally:
            self._events.close()
