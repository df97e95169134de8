"""A row of parts, checked when it is built; opened per process, used by any number of calls.

Rule 1: a pipeline is an immutable description. Opening it copies the parts; each session copies the copies.
Rule 2: a wiring error is told before any audio moves, and names both neighbours.
"""

from __future__ import annotations

import gc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Generic, cast

import anyio

from voicepipe.audio.devices.microphone import MicSource
from voicepipe.audio.devices.speaker import Speaker
from voicepipe.audio.output import Output
from voicepipe.audio.source import Source
from voicepipe.core.context import Deps
from voicepipe.core.lifetimes import opened
from voicepipe.errors import ConfigurationError
from voicepipe.session.session import Session
from voicepipe.session.wiring import check, compiled, expect
from voicepipe.turntaking.policy import TurnRules

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping

    from voicepipe.core.part import Part
    from voicepipe.history import Message
    from voicepipe.session.wiring import Row

__all__ = ["Host", "Pipeline", "run"]

FALLBACK: Final = "Sorry, I cannot answer that right now. Please try again."
"""What the caller hears when there is no reply, or not a whole one."""


class Pipeline(Generic[Deps]):
    """A voice agent: a flat row of parts, from the source to TTS.

    `Pipeline[Shop](...)` says what `deps` its sessions are given, so that a type checker refuses others.

    Args:
        parts: `[Source] [SessionStage ...] [Stage ...] Model [ToolRouter] [Stage ...] TTSSink`. What each stage reads
            must be what the one before it sends.
        output: Where the agent's audio goes, copied for each session; or give one per session, which is used as it is.
            Where there is none, a caller at a `MicSource` hears the agent through a `Speaker()`.
        turns: How turns are taken.
        fallback: Spoken when a turn fails or the model has nothing to say; "" turns it off.

    Raises:
        ConfigurationError: The row does not fit together; the message names both neighbours.
    """

    def __init__(
        self,
        *parts: Part,
        output: Output | None = None,
        turns: TurnRules | None = None,
        fallback: str = FALLBACK,
    ) -> None:
        check(parts)
        expect("output", output, Output)
        expect("turns", turns, TurnRules)
        self._parts = parts
        self._output = output
        self._turns = turns or TurnRules()
        self._fallback = fallback

    @property
    def parts(self) -> tuple[Part, ...]:
        """The row, as it was given."""
        return self._parts

    def replace(self, others: Mapping[type[Part] | Part, Part]) -> Pipeline[Deps]:
        """Return a pipeline in which some parts are others, e.g. scripted ones in a test.

        Args:
            others: From a part of this row, or a class that at least one of its parts (or its output) has, to what
                stands there instead.

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
        for key in unused & {Output}:
            # Nothing stood there: the application gives the output per session, the test gives it here.
            output = others[key]
            unused.discard(key)
        if unused:
            names = ", ".join(sorted(key.__name__ if isinstance(key, type) else key.name for key in unused))
            raise ConfigurationError(f"replace: nothing in {self!r} is a {names}")
        return Pipeline[Deps](*parts, output=cast("Output | None", output), turns=self._turns, fallback=self._fallback)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Host[Deps]]:
        """Open the parts for this process and event loop; sessions then share what they set up.

        Raises:
            VoicepipeError: A part could not be opened, or failed while it was open.
        """
        row = compiled([part._copied() for part in self._parts], self._turns, self._fallback)
        output = self._output._copied() if self._output else None
        parts = [*row.parts(hears=True), *(part for part in (row.source, output) if part is not None)]
        async with opened(parts):
            yield Host[Deps](row, output)

    @asynccontextmanager
    async def session(
        self,
        *,
        source: Source | None = None,
        output: Output | None = None,
        deps: Deps | None = None,
        history: Iterable[Message] = (),
        greeting: str = "",
    ) -> AsyncGenerator[Session[Deps]]:
        """Open the pipeline for one session: for scripts and tests. See `Host.session`."""
        async with (
            self.open() as host,
            host.session(source=source, output=output, deps=deps, history=history, greeting=greeting) as session,
        ):
            yield session

    def __repr__(self) -> str:
        """Show the row."""
        return f"<Pipeline {' > '.join(part.name for part in self._parts)}>"


class Host(Generic[Deps]):
    """An opened pipeline; made by `Pipeline.open`."""

    def __init__(self, row: Row, output: Output | None) -> None:
        self._row = row
        self._output = output

    @asynccontextmanager
    async def session(
        self,
        *,
        source: Source | None = None,
        output: Output | None = None,
        deps: Deps | None = None,
        history: Iterable[Message] = (),
        greeting: str = "",
    ) -> AsyncGenerator[Session[Deps]]:
        """Hold one call; it ends with the block, whatever still hangs.

        Args:
            source: Where this call's audio comes from, instead of the row's source. It is used as it is, not copied,
                so make one per session. Without any source, the caller's words come by `Session.user_says`.
            output: Where this call's audio goes to, likewise.
            deps: Anything the tools of this call need; they get it as `ToolContext.deps`.
            history: What was said before this call.
            greeting: Said first.

        Raises:
            ConfigurationError: There is no output, or a sample rate cannot be met.
            VoicepipeError: A part failed; `StageError` if the error was none of ours.
        """
        expect("source", source, Source)
        expect("output", output, Output)
        if source is not None and not self._row.hearing_stages:
            raise ConfigurationError("nothing in this row hears the source; put an STTStage(...) in front of the model")
        given = [part for part in (source, output) if part is not None]
        row = self._row.copied()
        source = source or (row.source._copied() if row.source else None)
        output = output or (self._output._copied() if self._output else None)
        if output is None and isinstance(source, MicSource):
            output = Speaker()  # who speaks into this machine listens to it
        if output is None:
            raise ConfigurationError(
                "nothing takes the agent's audio; write Pipeline(..., output=WavOutput('agent.wav')) "
                "or host.session(output=...)"
            )
        session = Session(row, source=source, output=output, deps=cast("Deps", deps), history=history)
        async with session._run(given, greeting):
            yield session


def run(
    pipeline: Pipeline[Deps],
    *,
    source: Source | None = None,
    output: Output | None = None,
    deps: Deps | None = None,
    greeting: str = "",
) -> object:
    """Hold one call from start to end, and return what `Session.end` was given.

    Ctrl-C ends the session in order and raises `KeyboardInterrupt`.
    Failed turns are logged as warnings by the logger "voicepipe". Arguments and errors are those of `Host.session`.
    """

    async def call() -> object:
        async with pipeline.session(source=source, output=output, deps=deps, greeting=greeting) as session:
            # This process is the agent's own: a full collection over all that was imported stalls speech by 20 ms.
            gc.collect()
            gc.freeze()
            await session.ended.wait()
        return session.result

    return anyio.run(call)
