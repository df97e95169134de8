"""One call: what an application and the parts do with it, and the tasks that it consists of.

What the recogniser reports goes to `TurnCore`, which decides; `Floor` carries out its decisions about turns.
"""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Generic

import anyio

from voicepipe.audio.resample import resampler
from voicepipe.core.context import Deps
from voicepipe.core.failures import single_error
from voicepipe.core.home import Home
from voicepipe.core.lifetimes import attached, opened
from voicepipe.errors import ConfigurationError, VoicepipeError
from voicepipe.flow import KEYS, Digit, Transcript
from voicepipe.hearing.stt import recogniser_of
from voicepipe.history import History, Message
from voicepipe.session.background_calls import BackgroundCalls
from voicepipe.session.conductor import Conductor
from voicepipe.session.ending import Ending
from voicepipe.session.expecting import wanted
from voicepipe.session.floor import Floor
from voicepipe.session.listening import listen
from voicepipe.session.log_writer import how_left
from voicepipe.session.observing import observing, shown
from voicepipe.session.outcomes import Outcome, outcome
from voicepipe.session.reporting import Reporting
from voicepipe.session.saying import Saying
from voicepipe.session.snapshots import Snapshots
from voicepipe.speaking.playout import Playout
from voicepipe.speaking.prepared import prepared
from voicepipe.turntaking.core import Quiet

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Sequence
    from pathlib import Path

    from anyio.abc import TaskStatus

    from voicepipe.audio.output import Output
    from voicepipe.audio.resample import Resampler
    from voicepipe.audio.source import Source
    from voicepipe.conversation.turn import Turn
    from voicepipe.core.context import CallRecord
    from voicepipe.core.log import SessionLabel
    from voicepipe.core.observer import Observer, Watch
    from voicepipe.core.part import Part
    from voicepipe.events import Event
    from voicepipe.hearing.recogniser import Recogniser
    from voicepipe.history import ToolCall
    from voicepipe.session.wiring import Row
    from voicepipe.speaking.playout import Lease
    from voicepipe.speaking.prepared import PreparedAudio
    from voicepipe.tools.toolbox import Toolset
    from voicepipe.turntaking.expectation import Expectation

__all__ = ["Session"]


class Session(Generic[Deps]):
    """One call; made by `Host.session` or `Pipeline.session`.

    Iterate over it for events. Iterating is optional: the newest 1,000 events are kept, and `dropped_events` counts the
    older ones. Each `async for` is a reader of its own, see `__aiter__`, and ends with the session.

    Attributes:
        id: What log lines and events call this session: as given to `Host.session`, or made.
        facts: What the application said about it to `Host.session`, for tools, prompts and logs.
        deps: What the application gave to this call; tools get it through `ToolContext`.
        history: The conversation so far.
        record: Where it is written what this call does; None for nowhere.
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
        label: SessionLabel,
        observers: Sequence[Observer] = (),
        record: CallRecord | None = None,
    ) -> None:
        self.id = label.session_id
        self.facts = label.facts
        self.deps = deps
        self.history = History(history)
        self._ending = Ending()
        self.ended = self._ending.ended
        self.record = record
        self._calls = BackgroundCalls(self.ended)
        self._home = Home()
        self._row = row
        self._source = source
        self._output = output
        self._echo_path = row.echo_path(output)
        self._reporting = reporting = Reporting(label, observers, self.recogniser, self._ending.fail)
        self._playout = reporting.playout = Playout(output, self._ending.fail, self._echo_path, reporting.watch)
        self._echo = reporting.echo = row.echo_guard(output, self._echo_path, lambda: self._playout.audible_until_s)
        self._floor = Floor(self, row, self._playout, self._on_idle, lambda: self._conductor.speaks_until_s)
        self._conductor = Conductor(self, self._floor, row, self._echo, lambda: self._calls.are_running)
        self._ending.floor, self._ending.reporting = self._floor, reporting
        self._snapshots = Snapshots(self, row, self._floor, self._conductor.clock)

    # --- what an application does with it -----------------------------------------------------------------------------

    @shown
    def say(self, text: str, *, audio: PreparedAudio | str | Path | None = None, protected: bool = False) -> Saying:
        """Speak a text that does not come from the model, once the current reply has ended.

        The caller can interrupt it like a reply, and the history holds what they heard of it. Texts that still wait
        when the caller interrupts are dropped. Can be called from any thread.

        Args:
            text: What is said; nothing happens if it is blank.
            audio: What is played instead of the voice: the path of a WAV file, which is read at once, or
                `PreparedAudio`. The text is then what it says, or its title, and goes through no stage.
            protected: Whether the caller must hear it whole, as a legal notice. Their words are answered afterwards;
                only "stop" said twice, or `interrupt`, ends it.

        Returns:
            What may be awaited, until the text has been heard, interrupted or dropped. See `Saying`.

        Raises:
            AudioError: The WAV file cannot be used.
            ConfigurationError: The audio needs a resampler that is not installed, or a text with words.
        """
        if audio is not None:
            audio = prepared(audio, text, self._output)
        return self._ask(Saying(self, self._home, text, audio=audio, is_protected=protected))

    @shown
    def reply(self, instructions: str | None = None) -> Saying:
        """Let the model speak without words of the caller, once the current reply has ended: a greeting, a nudge.

        The caller can interrupt it like a reply, and replies that still wait are dropped then. The stages in front of
        the model take no part. If the model has nothing to say, nothing is said. Can be called from any thread.

        Args:
            instructions: What the model is to say or to do, e.g. "Greet the caller." The request ends with it as a
                note, marked as the application's; the history does not keep it. None asks the model to go on.

        Returns:
            What may be awaited, as for `say`.
        """
        return self._ask(Saying(self, self._home, None, instructions=instructions))

    def press(self, keys: str) -> None:
        """Treat `keys` as pressed by the caller on their telephone. Can be called from any thread.

        They stop the agent as words do, and make one message once `TurnRules.dtmf_end` or a pause follows. A source
        whose recogniser hears the tones sends `Digit` instead.

        Raises:
            ConfigurationError: Something else than the keys "0123456789*#ABCD".
        """
        if not keys or any(key not in KEYS for key in keys):
            raise ConfigurationError(f'press takes keys of a telephone, "{KEYS}", not {keys!r}')
        for key in keys:
            self._home.call(self._conductor.hear, Digit(key))

    @shown
    def expect(self, expectation: Expectation | None) -> None:
        """Wait for what the caller is asked for, until it is complete: `session.expect(Digits(5))`.

        It holds until a turn has answered the caller; None ends it. Can be called from any thread.

        Raises:
            ConfigurationError: This is neither an expectation nor None.
        """
        self._home.call(self._conductor.expecting.expect, *wanted(self, expectation))

    @shown
    def interrupt(self) -> None:
        """Stop speaking immediately. Once this returns, no further sample of the reply reaches the output.

        Does nothing when the agent is silent. Writing tools go on; everything else in the turn is cancelled.
        Can be called from any thread; another one than the event loop's is blocked until it has happened.
        """
        self._home.call_and_wait(self._floor.interrupt)

    @shown
    def correct_heard(self, turn_id: int, heard_s: float) -> None:
        """Note that the caller heard only so many seconds of a turn that was paused or cut: a peer reports it late.

        The history then holds less of it, never more. Only one of the last turns can be corrected; of a turn that is
        playing or older, nothing changes. Can be called from any thread.

        Raises:
            ConfigurationError: `heard_s` is no number of seconds.
        """
        if not 0 <= heard_s < math.inf:
            raise ConfigurationError(f"correct_heard takes seconds, not {heard_s!r}")
        self._home.call(self._floor.correct_heard, turn_id, heard_s)

    @shown
    def end(self, *, after_reply: bool = False, result: object = None) -> None:
        """End the session. Can be called from any thread.

        Args:
            after_reply: Whether to finish the current reply, and what waits to be said, first. The caller cannot
                interrupt these last words; `interrupt` can.
            result: Kept as `Session.result`; the first one counts.
        """
        self._home.call(self._ending.ask, after_reply, result)

    def snapshot(self) -> bytes:
        """Return what another worker needs to go on with this call: `Host.session(resume=...)`.

        It is JSON of a few kB, and holds what was said, by whom and to whom, so keep it as safe as a recording. Taking
        it changes nothing, at any time, also in the middle of a turn or inside a tool.

        Raises:
            ConfigurationError: It is called in another thread than the session's event loop.
        """
        if not self._home.is_here:
            raise ConfigurationError("session.snapshot() is called in the session's event loop, not in another thread")
        return self._snapshots.take()

    def report_outcome(self, call_id: str, result: object, status: Outcome = "done") -> None:
        """Report what became of a tool call whose outcome is unknown, so that the model tells the caller.

        Can be called from any thread.

        Args:
            call_id: The call, e.g. one of `CallResumed.unknown_calls`.
            result: What the model is shown: a text, or JSON values.
            status: Whether it was "done" or has "failed".

        Raises:
            ConfigurationError: There is no such call, its outcome is known, or the result is not JSON.
        """
        self._home.call(outcome(self, call_id, status, result, follows_up=self._row.router.follows_up))

    async def user_says(self, text: str) -> Turn:
        """Treat `text` as if the caller had said it, and return the turn once it has ended, however it ends.

        Cancelling stops the waiting, not the turn.

        Raises:
            ConfigurationError: The text has no words, the session has ended, or it ends after the current reply.
        """
        if not any(map(str.isalnum, text)):
            raise ConfigurationError(f"user_says needs words, not {text!r}")
        now, before = anyio.current_time(), self._floor.turn
        if not self.ended.is_set():
            self._home.call(lambda: self._conductor.hear(Transcript(text, now, now), is_typed=True))
        if (turn := self._floor.turn) is None or (turn is before and self._floor.is_closing):
            raise ConfigurationError("user_says needs a live session; this has ended, or ends with its current reply")
        await turn.settled.wait()
        return turn

    @property
    def result(self) -> object:
        """The result that was given to `end`; None until then."""
        return self._ending.result

    @property
    def tools(self) -> Toolset:
        """The tools that the model may call in this session: `add` and `remove` take effect with the next request."""
        return self._row.router.tools

    @property
    def recogniser(self) -> Recogniser:
        """The recogniser of this call. What a tool asks of it is a hint: a recogniser may ignore it."""
        return recogniser_of(self._row.hearing_stages)

    @property
    def is_busy(self) -> bool:
        """Whether a reply is being prepared or spoken, or something waits to be said."""
        return self._floor.is_busy

    @property
    def dropped_events(self) -> int:
        """Events that were dropped because nobody, or not every `async for`, had read them in time."""
        return self._reporting.events.dropped

    def __aiter__(self) -> AsyncIterator[Event]:
        """Iterate over events until the session ends, from the oldest kept one that no loop has read.

        Loops that begin together get the same events. The next loop after a `break` goes on where that one stopped,
        and one that begins while another runs gets what happens from then on.
        """
        return self._reporting.events.__aiter__()

    def __repr__(self) -> str:
        """Show what the session is doing."""
        doing = "ended" if self.ended.is_set() else self._floor.turn or "listening"
        return f"<Session {self.id}: {doing}, {len(self.history)} messages>"

    # --- what stages and tools use ------------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """Report an event to the application. Never waits."""
        self._reporting.emit(event)

    @property
    def watch(self) -> Watch | None:
        """The observers; None without any."""
        return self._reporting.watch

    def lease(self, turn: Turn) -> Lease:
        """Give the output to a turn."""
        return self._playout.begin(turn)

    @property
    def output_rate(self) -> int:
        """Samples per second that the output takes."""
        return self._output.sample_rate

    @property
    def shows_text(self) -> bool:
        """Whether the output shows what the agent says, and plays nothing."""
        return self._output.shows_text

    def resampler_to_output(self, sample_rate: int) -> Resampler | None:
        """Return a resampler from this rate to the output's; None if they are equal."""
        return resampler(sample_rate, self._output.sample_rate, self._row.sink.name, self._output.name)

    def start_call(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a tool outside of the turns, so that it cannot hold up a turn and a barge-in does not touch it."""
        self._calls.start(run)

    def late_result(self, call: ToolCall) -> None:
        """Note that a call got its result after its turn, so that the caller hears of it."""
        self._floor.late_result(call)

    def drop_draft(self, turn: Turn) -> None:
        """Drop a draft that can no longer be committed."""
        self._floor.drop_draft(turn)

    # --- the plumbing -------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _run(self, given: Sequence[Part]) -> AsyncGenerator[Session]:
        """Listen and speak until the block ends, then end everything within 3 s.

        Args:
            given: Parts that belong to this session alone, so the session opens them.
        """
        self.resampler_to_output(self._row.sink.sample_rate)  # raises now if there is no resampler for this rate
        hears = self._source is not None or self._row.hears_by_itself
        parts = [*self._row.parts(hears=hears), *filter(None, [self._source]), self._output]
        with single_error():
            async with (
                opened(given, self._ending.fail),
                observing(self._reporting.observers, self, self.watch),
                attached(parts, self, self._ending.fail),
                anyio.create_task_group() as self._ending.tasks,
            ):
                self.resampler_to_output(self._row.sink.sample_rate)  # a device knows its rate once it is attached
                try:
                    self._reporting.began(self.history)
                    tasks = self._ending.tasks
                    tasks.start_soon(self._calls.keep)  # its first step comes before that of what follows
                    await tasks.start(self._live, hears)
                    yield self
                finally:
                    self._ending.end(how_left())

    async def _live(self, hears: bool, *, task_status: TaskStatus[None]) -> None:
        """Listen and speak until the session ends."""
        try:
            async with self._floor.open() as tasks:
                tasks.start_soon(self._conductor.keep_time)
                if hears:
                    tasks.start_soon(self._listen)
                task_status.started()
                await self.ended.wait()
        finally:
            self._ending.end("it was cancelled")
            self._calls.no_more()

    async def _listen(self) -> None:
        """Listen until the caller hangs up, or a part that listens fails."""
        try:
            await listen(self, self._row, self._source, self._conductor.hear, self._echo, self._echo_path)
        except VoicepipeError as error:
            self._ending.fail(error)
        self._ending.end("the caller hung up")

    def _ask(self, saying: Saying) -> Saying:
        self._home.call(self._floor.say, saying)
        return saying

    def _on_idle(self) -> None:
        if self._floor.is_closing:
            self._ending.end("the application ended it")
        else:
            self._conductor.hear(Quiet())
