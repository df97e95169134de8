"""`voicepipe talk`: hold a call with an application's pipeline in the terminal.

Rule 1: what the row or the pipeline brings (a source, an output) is used; the command line comes before both.
Rule 2: whether the agent hears itself is told at the start, in words, and with what to do about it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Never

import anyio
import anyio.lowlevel

import voicepipe as vp
from voicepipe.cli._app import load_agent
from voicepipe.cli._display import Display
from voicepipe.cli._event_loop import run
from voicepipe.cli._typed import TypedLines
from voicepipe.core.stage import flow_of

if TYPE_CHECKING:
    import argparse

__all__ = ["Call", "converse", "spoken_call", "talk"]

TYPED: Final = "you: what you type; a line interrupts, and Ctrl-D ends the call after the reply"
PIPED: Final = "you: line by line from the standard input, each after the reply to the one before it"
SPOKEN: Final = "end the call: Ctrl-C"
HALF: Final = (
    "half duplex: while the agent speaks, only words that it does not say itself interrupt it, because the microphone "
    "hears the loudspeaker; with headphones give --headphones"
)
CLOSED: Final = (
    "half duplex: while the agent speaks you are not heard, because the microphone hears the loudspeaker, and "
    "{recogniser} forces what it hears into its phrases; with headphones give --headphones"
)
FULL: Final = (
    "full duplex: whatever the microphone hears interrupts the agent; through a loudspeaker it interrupts itself"
)


@dataclass(frozen=True, kw_only=True)
class Call:
    """What one call is made of.

    Attributes:
        agent: The pipeline, with its turn rules.
        source: Where the caller's audio comes from; None for what the row has.
        output: Where the agent's audio goes to; None for what the pipeline has.
        is_typed: The caller types.
        notes: What is to be known at the start.
    """

    agent: vp.Pipeline
    source: vp.Source | None = None
    output: vp.Output | None = None
    is_typed: bool = False
    notes: tuple[str, ...] = ()


def talk(options: argparse.Namespace) -> int:
    """Hold the call until somebody ends it, and return 0.

    Raises:
        ConfigurationError: The application cannot be loaded, or a device cannot be had.
        VoicepipeError: The call could not be held to its end.
        KeyboardInterrupt: Ctrl-C, once the call has ended.
    """
    agent = load_agent(options.app)
    call = typed_call(agent, options) if options.text else spoken_call(agent, options)
    display = Display(is_typed=call.is_typed and os.isatty(0))
    with display.open(f"A call with {options.app}.", call.notes):
        run(converse, call, options.greeting, display)
    return 0


# --- what the call is made of -----------------------------------------------------------------------------------------


def spoken_call(agent: vp.Pipeline, options: argparse.Namespace) -> Call:
    """Return a call by microphone and loudspeaker, but for what the application brings itself."""
    listens = [part for part in agent.parts if isinstance(part, vp.SessionStage)]
    if not listens:
        raise vp.ConfigurationError(
            f"nothing in {options.app} listens; put an STTStage(...) in front of the model, or type with --text"
        )
    recogniser = next((stage.recogniser for stage in listens if isinstance(stage, vp.STTStage)), None)
    own_source = _own_source(agent) if options.input is None else None
    own_output = agent._output if options.output is None else None
    source = None
    if own_source is None:
        source = vp.MicSource(options.input, sample_rate=recogniser.sample_rate if recogniser else 16_000)
    output = own_output or vp.Speaker(options.output, sample_rate=_voice_rate(agent))
    has_echo = isinstance(own_source or source, vp.MicSource) and isinstance(output, vp.Speaker)
    turns = agent._turns
    if options.headphones:
        turns, mode = replace(turns, loudspeaker=False), FULL
    elif has_echo and turns.loudspeaker is not False:
        turns = replace(turns, loudspeaker=True)
        is_closed = recogniser is not None and recogniser.is_closed
        mode = CLOSED.format(recogniser=recogniser.name) if recogniser and is_closed else HALF
    else:
        is_half = output.has_echo if turns.loudspeaker is None else turns.loudspeaker
        mode = f"{'half' if is_half else 'full'} duplex, as the application says"
    notes = (
        f"you: {_told(own_source or source, options.input, 'microphone')}",
        f"agent: {_told(output, options.output, 'loudspeaker')}",
        mode,
        SPOKEN,
    )
    new_output = None if output is own_output else output
    return Call(agent=_with(agent, agent.parts, turns), source=source, output=new_output, notes=notes)


def typed_call(agent: vp.Pipeline, options: argparse.Namespace) -> Call:
    """Return a call by keyboard: what listens is left out, and nothing is played unless that is asked for."""
    parts = tuple(part for part in agent.parts if not isinstance(part, vp.Source | vp.SessionStage))
    output: vp.Output | None = None
    if options.play or options.output is not None:
        output = vp.Speaker(options.output, sample_rate=_voice_rate(agent))
    elif agent._output is None or isinstance(agent._output, vp.Speaker):
        output = vp.ClockedOutput(_voice_rate(agent))
    told = "nobody hears it; --play plays it" if type(output) is vp.ClockedOutput else ""
    told = told or _told(output or agent._output, options.output, "loudspeaker")
    notes = (TYPED if os.isatty(0) else PIPED, f"agent: shown as it speaks; {told}")
    return Call(agent=_with(agent, parts, agent._turns), output=output, is_typed=True, notes=notes)


def _own_source(agent: vp.Pipeline) -> vp.Part | None:
    """Return what brings the caller's words: a source of the row, or a stage that needs none."""
    first = agent.parts[0]
    return first if isinstance(first, vp.Source) or flow_of(first)[0] is Never else None


def _with(agent: vp.Pipeline, parts: tuple[vp.Part, ...], turns: vp.TurnRules) -> vp.Pipeline:
    return vp.Pipeline(*parts, output=agent._output, turns=turns, fallback=agent._fallback)


def _voice_rate(agent: vp.Pipeline) -> int:
    voice = agent.parts[-1]
    assert isinstance(voice, vp.TTSSink)  # noqa: S101 - every row ends with one
    return voice.sample_rate


def _told(part: vp.Part | None, device: int | str | None, role: str) -> str:
    if isinstance(part, vp.MicSource | vp.Speaker):
        return f"the default {role}" if device is None else f"{role} {device!r}"
    return f"{part.name}, as the application says" if part else ""


# --- the call ---------------------------------------------------------------------------------------------------------


async def converse(call: Call, greeting: str, display: Display) -> None:
    """Hold a call to its end, and show it as it comes."""
    began_s = anyio.current_time()
    session_of = call.agent.session(source=call.source, output=call.output, greeting=greeting)
    async with session_of as session, anyio.create_task_group() as tasks:
        typist = Typist(session, waits=not os.isatty(0))
        if call.is_typed:
            tasks.start_soon(typist.run)
        async for event in session:
            display.show(anyio.current_time() - began_s, event)
            typist.notice(event)
        tasks.cancel_scope.cancel()


class Typist:
    """Says what is typed.

    Args:
        session: The call.
        waits: Whether a line waits for the reply to the one before it, as lines of a pipe or a file must; what is typed
            on a terminal interrupts, as a caller's words do.
    """

    def __init__(self, session: vp.Session, *, waits: bool) -> None:
        self._session = session
        self._waits = waits
        self._turn_ended = anyio.Event()

    def notice(self, event: vp.Event) -> None:
        """Take note of the end of a turn."""
        if isinstance(event, vp.TurnEnded):
            self._turn_ended.set()
            self._turn_ended = anyio.Event()

    async def run(self) -> None:
        """Read until the end of what is typed, then let the call end."""
        with TypedLines() as lines:
            async with anyio.create_task_group() as tasks:
                while (line := await lines.next()) is not None:
                    await self._wait_idle()
                    tasks.start_soon(self._say, line)
                    await anyio.lowlevel.checkpoint()  # what was said counts as busy
            self._session.end(after_reply=True)

    async def _say(self, line: str) -> None:
        with suppress(vp.ConfigurationError):  # an empty line, or the agent has just ended the call
            await self._session.user_says(line)

    async def _wait_idle(self) -> None:
        while self._waits and self._session.is_busy:
            await self._turn_ended.wait()
