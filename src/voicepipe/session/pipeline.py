"""A row of parts, checked when it is built; opened per process, used by any number of calls.

Rule 1: a pipeline is an immutable description. Opening it copies the parts; each session copies the copies.
Rule 2: a wiring error is raised before any audio moves, and names both neighbours.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from contextlib import asynccontextmanager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Final, Generic, Literal, cast

from voicepipe.audio.devices.microphone import MicSource
from voicepipe.audio.devices.speaker import Speaker
from voicepipe.audio.echo_canceller import EchoCanceller
from voicepipe.audio.output import Output
from voicepipe.audio.source import Source
from voicepipe.core.call_settings import CallSettings
from voicepipe.core.context import Deps
from voicepipe.core.garbage import frozen
from voicepipe.core.home import Home
from voicepipe.core.lifetimes import opened
from voicepipe.core.observer import observers_of
from voicepipe.core.part import Part
from voicepipe.core.process import Stopped, is_in_loop, require_asyncio
from voicepipe.core.process import run as run_to_end
from voicepipe.errors import AuthenticationError, ConfigurationError
from voicepipe.session.detectors import detector_for
from voicepipe.session.label import label_of
from voicepipe.session.wiring import check, compiled, expect, hearing_rate, hearing_stages
from voicepipe.turntaking.rules import TurnRules

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

    from voicepipe.core.context import CallRecord, Fact
    from voicepipe.core.observer import Observer
    from voicepipe.hearing.detector import Detector
    from voicepipe.history import Message
    from voicepipe.session.session import Session
    from voicepipe.session.wiring import Row

__all__ = ["Host", "Pipeline", "run"]

FALLBACK: Final = "Sorry, I cannot answer that right now. Please try again."
"""What the caller hears when there is no reply, or only a part of one."""


class Pipeline(Generic[Deps]):
    """A voice agent: a flat row of parts, from the source to TTS.

    `Pipeline[Shop](...)` says which `deps` its sessions get, so that a type checker refuses others.

    Args:
        parts: `[Source] [SessionStage ...] [Stage ...] Model [ToolRouter] [Stage ...] TTSSink`. What each stage reads
            must be what the one before it sends.
        output: Where the agent's audio goes, copied for each session; `Host.session` takes one that is used as it is.
            Without any output, a session with a `MicSource` speaks through a `Speaker()`.
        detector: Reports when the caller speaks, sooner than a recogniser that is a service does. "auto" takes the best
            one that is installed: `EarshotDetector`, or `WebRTCDetector`; without any, each call with audio emits
            `DetectorMissing`. A recogniser with `reports_speech` gets none automatically. None turns it off.
        turns: How turns are taken.
        fallback: Spoken when a turn fails or the model has nothing to say; "" turns it off.
        echo_canceller: Takes the agent's own voice out of what the microphone picks up, so that callers can interrupt
            an agent that a loudspeaker plays; copied for each session. See `TurnRules.loudspeaker`.
        observers: Watch each session: a recorder, for example. Copied for each; see `Observer`.

    Raises:
        ConfigurationError: The row does not fit together; the message names both neighbours. Or the detector takes
            another sample rate than the recogniser, and nothing that resamples is installed.
    """

    def __init__(
        self,
        *parts: Part,
        output: Output | None = None,
        detector: Detector | Literal["auto"] | None = "auto",
        turns: TurnRules | None = None,
        fallback: str = FALLBACK,
        echo_canceller: EchoCanceller | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        check(parts)
        expect("output", output, Output)
        expect("turns", turns, TurnRules)
        expect("echo_canceller", echo_canceller, EchoCanceller)
        self._parts = parts
        self._output = output
        stages = hearing_stages(parts)
        self._detector_choice: Detector | Literal["auto"] | None = detector
        self._detector = detector_for(detector, stages, hearing_rate(stages))
        self._turns = turns or TurnRules()
        self._fallback = fallback
        self._echo_canceller = echo_canceller
        self._observers = observers_of(observers, "Pipeline")

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts, as they were given."""
        return self._parts

    def replace(self, others: Mapping[type[Part] | Part, Part]) -> Pipeline[Deps]:
        """Return a pipeline with some parts replaced, e.g. by scripted ones in a test.

        Args:
            others: New parts, by the part that each replaces, or by a class: each part and output of that class is
                replaced, and so is a detector that was given.

        Raises:
            ConfigurationError: A key matches nothing, or the new row does not fit together.
        """
        unused = set(others)

        def instead(part: Part) -> Part:
            for key, other in others.items():
                if part is key or (isinstance(key, type) and isinstance(part, key)):
                    unused.discard(key)
                    return other
            return part

        parts = [instead(part) for part in self._parts]
        output = instead(self._output) if self._output else None
        # The detector that was chosen automatically is chosen again: another recogniser may need another one.
        detector = instead(self._detector_choice) if isinstance(self._detector_choice, Part) else self._detector_choice
        echo_canceller = instead(self._echo_canceller) if self._echo_canceller else None
        for key in unused & {Output}:
            # There was no output: the application gives one to each session, and the test gives it here.
            output = others[key]
            unused.discard(key)
        if unused:
            names = ", ".join(sorted(key.__name__ if isinstance(key, type) else key.name for key in unused))
            raise ConfigurationError(f"replace: {self!r} has no {names}")
        return Pipeline[Deps](
            *parts,
            output=cast("Output | None", output),
            detector=cast("Detector | None", detector),
            turns=self._turns,
            fallback=self._fallback,
            echo_canceller=cast("EchoCanceller | None", echo_canceller),
            observers=self._observers,
        )

    @asynccontextmanager
    async def open(self, *, freeze_gc: bool = True) -> AsyncGenerator[Host[Deps]]:
        """Open the parts for this process and event loop; its sessions share what the parts set up.

        Args:
            freeze_gc: Whether Python's garbage collector passes over the objects that exist once the parts are open,
                until the process's last host is closed (`gc.freeze`). A full collection would pause all calls for 50 ms
                or more. An application that calls `gc.freeze` itself, before this, is left to it.

        Raises:
            VoicepipeError: A part could not be opened, or failed while it was open.
        """
        require_asyncio("Pipeline.open")
        import_module("voicepipe.session.session")  # with all that holds a call, so that no call waits for it,
        import_module("voicepipe.session.resuming")  # and all that goes on with one
        detector = self._detector._copied() if self._detector is not None else None
        canceller = self._echo_canceller._copied() if self._echo_canceller is not None else None
        copies = [part._copied() for part in self._parts]
        row = compiled(copies, self._turns, self._fallback, detector, canceller)
        output = self._output._copied() if self._output else None
        parts = [*row.parts(hears=True), *(part for part in (row.source, output) if part is not None)]
        observers = [observer._copied() for observer in self._observers]
        async with opened([*parts, *observers]):
            host = Host[Deps](self, row, output, observers)
            try:
                with frozen() if freeze_gc else nullcontext():
                    yield host
            finally:
                host._is_closed = True

    @asynccontextmanager
    async def session(
        self,
        *,
        source: Source | None = None,
        output: Output | None = None,
        deps: Deps | None = None,
        history: Iterable[Message] = (),
        greeting: str = "",
        protected_greeting: bool = False,
        id: str | None = None,  # noqa: A002 - the field's name for it
        facts: Mapping[str, Fact] | None = None,
        settings: CallSettings | None = None,
        observers: Sequence[Observer] = (),
        resume: bytes | None = None,
        is_stale: bool = False,
        record: CallRecord | None = None,
    ) -> AsyncGenerator[Session[Deps]]:
        """Open the pipeline for a single session, as scripts and tests do. See `Host.session`."""
        async with (
            self.open() as host,
            host.session(
                source=source,
                output=output,
                deps=deps,
                history=history,
                greeting=greeting,
                protected_greeting=protected_greeting,
                id=id,
                facts=facts,
                settings=settings,
                observers=observers,
                resume=resume,
                is_stale=is_stale,
                record=record,
            ) as session,
        ):
            yield session

    def __repr__(self) -> str:
        """Show the row."""
        return f"<Pipeline {' > '.join(part.name for part in self._parts)}>"


class Host(Generic[Deps]):
    """An opened pipeline; made by `Pipeline.open`."""

    def __init__(
        self, pipeline: Pipeline[Deps], row: Row, output: Output | None, observers: Sequence[Observer] = ()
    ) -> None:
        self._pipeline = pipeline
        self._row = row
        self._output = output
        self._observers = observers
        self._home = Home()
        self._is_closed = False

    @asynccontextmanager
    async def session(
        self,
        *,
        source: Source | None = None,
        output: Output | None = None,
        deps: Deps | None = None,
        history: Iterable[Message] = (),
        greeting: str = "",
        protected_greeting: bool = False,
        id: str | None = None,  # noqa: A002 - the field's name for it
        facts: Mapping[str, Fact] | None = None,
        settings: CallSettings | None = None,
        observers: Sequence[Observer] = (),
        resume: bytes | None = None,
        is_stale: bool = False,
        record: CallRecord | None = None,
    ) -> AsyncGenerator[Session[Deps]]:
        """Hold one call. It ends with the block, even if a part hangs.

        Args:
            source: Where this call's audio comes from, instead of the pipeline's source. It is used as it is, not
                copied, so make one for each session. Without any source, use `Session.user_says`.
            output: Where this call's audio goes, instead of the pipeline's output; make one for each session, too.
            deps: Anything that the tools of this call need; they get it as `ToolContext.deps`.
            history: What was said before this call.
            greeting: Said first, unless it is blank.
            protected_greeting: Whether the caller must hear it whole, as in `Session.say`.
            id: What log lines, events and the session's repr call this call, e.g. the telephone network's id; made if
                None.
            facts: What is known about this call: caller, line, tenant. Tools and prompts read it as `Session.facts`.
                It stands in the log, so secrets belong into `deps`.
            settings: Voice, language and key terms of this call, where they differ from the pipeline's.
            observers: Watch this session, in addition to the pipeline's; used as they are, so make them for each one.
            resume: What `Session.snapshot` returned: the call goes on from there, perhaps in another process, without
                a greeting. Id, facts and history are those of the snapshot; an id that is given, and each of `facts`,
                takes its place. The first event that concerns the caller is `CallResumed`.
            is_stale: Whether more may have happened since the snapshot than it says. A turn that was in flight is then
                not answered again if the agent has writing tools: the caller is told.
            record: Where it is written that a writing tool begins, so that no other worker runs it again.

        Raises:
            ConfigurationError: There is no output, nothing can convert one sample rate to another, the id or a name in
                `facts` is empty or holds control characters, a value in `facts` is not a str, int, float or bool, a
                part cannot honour one of the settings, or one of `observers` watches another session.
            SnapshotError: `resume` is no snapshot, or one of another version.
            VoicepipeError: A part failed; any other exception is wrapped in `StageError`.
        """
        from voicepipe.session.observing import used_alone  # noqa: PLC0415 - `Pipeline.open` has imported them
        from voicepipe.session.resuming import Resuming  # noqa: PLC0415
        from voicepipe.session.session import Session  # noqa: PLC0415

        self._check_open()
        expect("source", source, Source)
        expect("output", output, Output)
        expect("settings", settings, CallSettings)
        if source is not None and not self._row.hearing_stages:
            raise ConfigurationError(
                "this pipeline has no recogniser for the source; add STTStage(...) before the model"
            )
        own = observers_of(observers, "host.session")
        given = [*(part for part in (source, output) if part is not None), *own]
        row = self._row.copied()
        if settings is not None:
            row.adapt(settings)
        resuming = Resuming(resume, row, is_stale=is_stale) if resume is not None else None
        if resuming is not None:
            id, facts, history = id or resuming.id, {**resuming.facts, **(facts or {})}, resuming.history  # noqa: A001
        label = label_of(id, facts)
        source = source or (row.source._copied() if row.source else None)
        output = output or (self._output._copied() if self._output else None)
        if output is None and isinstance(source, MicSource):
            output = Speaker()  # a caller at this machine's microphone listens at this machine, too
        if output is None:
            raise ConfigurationError(
                "there is no output for the agent's audio; write Pipeline(..., output=WavOutput('agent.wav')) "
                "or host.session(output=...)"
            )
        with label.on_records(), used_alone(own):
            session = Session(
                row,
                source=source,
                output=output,
                deps=cast("Deps", deps),
                history=history,
                label=label,
                observers=[*(observer._copied() for observer in self._observers), *own],
                record=record,
            )
            session._snapshots.left = resume
            async with session._run(given):
                if resuming is not None:
                    resuming.go_on(session)
                else:
                    session.say(greeting, protected=protected_greeting)
                yield session

    def _check_open(self) -> None:
        if self._is_closed:
            raise ConfigurationError(
                "this host is closed; open sessions inside of its block: async with pipeline.open() as host"
            )
        require_asyncio("Host.session")
        if self._home.loop is not asyncio.get_running_loop():
            raise ConfigurationError(
                "this host was opened in another event loop; open the pipeline in the loop that holds the sessions"
            )


def run(
    pipeline: Pipeline[Deps],
    *,
    source: Source | None = None,
    output: Output | None = None,
    deps: Deps | None = None,
    greeting: str = "",
    protected_greeting: bool = False,
    id: str | None = None,  # noqa: A002 - the field's name for it
    facts: Mapping[str, Fact] | None = None,
    uvloop: bool = True,
) -> object:
    """Hold one call from start to end as a program of its own, and return the result that `Session.end` was given.

    The program ends in order on Ctrl-C, SIGTERM, SIGHUP and Ctrl-Break, within 3 s, with the exit status 128 + signal.
    A wrong configuration or a missing key is one line on stderr and the exit status 2.
    Failed turns are logged as warnings by the logger "voicepipe". Arguments are those of `Host.session`, and `uvloop`:
    whether uvloop's event loop is used where it is installed (`voicepipe[uvloop]`); False keeps asyncio's own.

    Raises:
        ConfigurationError: An event loop runs in this thread already. Where there is no program to end, in an
            interactive interpreter and off the main thread, also a wrong configuration.
        SystemExit: A signal has ended the call, or the configuration is wrong.
        VoicepipeError: A part failed, as `Host.session` says.
    """

    async def call() -> object:
        async with pipeline.session(
            source=source,
            output=output,
            deps=deps,
            greeting=greeting,
            protected_greeting=protected_greeting,
            id=id,
            facts=facts,
        ) as session:
            # This process serves the agent alone: what the call holds is not garbage either. See `core.garbage`.
            gc.collect()
            gc.freeze()
            await session.ended.wait()
        return session.result

    is_program = threading.current_thread() is threading.main_thread() and not hasattr(sys, "ps1") and not is_in_loop()
    try:
        return run_to_end(call, uvloop=uvloop)
    except Stopped as stopped:
        raise SystemExit(stopped.status) from None
    except (ConfigurationError, AuthenticationError) as error:
        if not is_program:
            raise
        print(f"voicepipe: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from error
