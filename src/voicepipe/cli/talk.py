"""`voicepipe talk`: hold a call with an application's pipeline in the terminal.

Rule 1: the pipeline's own source and output are used, unless the command line names others.
Rule 2: the call begins with a line that says whether the microphone picks up the agent, and what to do about it.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Never

import anyio
import anyio.lowlevel

import voicepipe as vp
from voicepipe.cli._app import load_agent, load_deps
from voicepipe.cli._local import notes_on, on_this_machine
from voicepipe.cli._recorded import notice, recorded
from voicepipe.cli._services import simulated
from voicepipe.cli._simulated_caller import Silence
from voicepipe.cli._typed import TypedLines
from voicepipe.core.process import run
from voicepipe.core.stage import flow_of
from voicepipe.session.wiring import hearing_stages, voice_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from voicepipe.cli._app import Loaded
    from voicepipe.cli._display import Display
    from voicepipe.cli._event_lines import EventLines
    from voicepipe.cli._services import Simulation
    from voicepipe.cli._simulated_caller import TypedSpeech

__all__ = ["Call", "converse", "spoken_call", "talk"]

TYPED: Final = "you: what you type; a line interrupts, and Ctrl-D ends the call after the reply"
PIPED: Final = "you: line by line from standard input, each after the reply to the previous one"
SPOKEN: Final = "end the call: Ctrl-C"
HALF: Final = (
    "half duplex: while the agent speaks, only words that it is not saying itself interrupt it, because the "
    "microphone picks up the loudspeaker; with headphones use --headphones"
)
CLOSED: Final = (
    "half duplex: while the agent speaks you cannot interrupt it, because the microphone picks up the loudspeaker "
    "and {recogniser} cannot tell it from you; with headphones use --headphones"
)
CANCELLED: Final = "full duplex: {canceller} takes the agent's voice out of what the microphone picks up"
FULL: Final = (
    "full duplex: any sound at the microphone interrupts the agent; through a loudspeaker it interrupts itself"
)


@dataclass(frozen=True, kw_only=True)
class Call:
    """The parts of one call.

    Attributes:
        agent: The pipeline, with its turn rules.
        source: Where the caller's audio comes from; None for the pipeline's own source.
        output: Where the agent's audio goes; None for the pipeline's own output.
        is_typed: Whether the caller types.
        speech: Takes what is typed to the simulated recogniser; None where the session takes it as the caller's words.
        notes: Lines to show at the start.
    """

    agent: vp.Pipeline
    source: vp.Source | None = None
    output: vp.Output | None = None
    is_typed: bool = False
    speech: TypedSpeech | None = None
    notes: tuple[str, ...] = ()


def talk(options: argparse.Namespace) -> int:
    """Hold the call until it ends, and return 0.

    Raises:
        ConfigurationError: The application cannot be loaded, or a device cannot be used.
        VoicepipeError: The call failed.
        KeyboardInterrupt: Ctrl-C or another signal that ends a program, once the call has ended.
    """
    shown_by = _shown_by(options)  # first: a package that is missing is said before the application runs
    deps = load_deps(options.deps) if options.deps is not None else None
    run(_hold, load_agent(options.app), deps, shown_by, options)
    return 0


async def _hold(
    app: Loaded,
    deps: Loaded | None,
    shown_by: Callable[[Call], Display | EventLines],
    options: argparse.Namespace,
) -> None:
    async with AsyncExitStack() as stack:
        given = await stack.enter_async_context(deps.made()) if deps else None
        agent = recorded(await stack.enter_async_context(app.pipeline()), options.record)
        agent = await on_this_machine(agent, options, is_typed=options.text)
        simulation = await stack.enter_async_context(simulated(agent, options))
        call = _call(simulation, options)
        display = shown_by(call)
        notes = (
            *simulation.notes,
            *notes_on(call.agent, options),
            *call.notes,
            *([notice(options.record)] if options.record else []),
        )
        with display.open(f"A call with {options.app}.", notes):
            await converse(call, options.greeting, display, given)


def _shown_by(options: argparse.Namespace) -> Callable[[Call], Display | EventLines]:
    """Return what makes the display of a call."""
    if options.json:
        from voicepipe.cli._event_lines import EventLines  # noqa: PLC0415 - imports much

        return lambda _: EventLines()
    from voicepipe.cli._display import Display  # noqa: PLC0415 - needs rich

    return lambda call: Display(is_typed=call.is_typed and os.isatty(0), is_live=True)


def _call(simulation: Simulation, options: argparse.Namespace) -> Call:
    if simulation.speech is not None:
        return simulated_call(simulation.agent, simulation.speech, options)
    if options.text or options.simulate:
        return typed_call(simulation.agent, options)
    return spoken_call(simulation.agent, options)


# --- the parts of the call --------------------------------------------------------------------------------------------


def spoken_call(agent: vp.Pipeline, options: argparse.Namespace) -> Call:
    """Return a call by microphone and loudspeaker, except for the source and output of the application itself."""
    listens = hearing_stages(agent.parts)
    if not listens:
        raise vp.ConfigurationError(
            f"{options.app} has no recogniser; add STTStage(...) before the model, or type with --text"
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
    elif has_echo and turns.loudspeaker is None and agent._echo_canceller is not None:
        mode = CANCELLED.format(canceller=agent._echo_canceller.name)
    elif has_echo and turns.loudspeaker is not False:
        turns = replace(turns, loudspeaker=True)
        is_closed = recogniser is not None and recogniser.is_closed
        mode = CLOSED.format(recogniser=recogniser.name) if recogniser and is_closed else HALF
    else:
        is_half = turns.loudspeaker
        if is_half is None:
            is_half = output.has_echo and agent._echo_canceller is None
        mode = f"{'half' if is_half else 'full'} duplex, as the application says"
    notes = (
        f"you: {_described(own_source or source, options.input, 'microphone')}",
        f"agent: {_described(output, options.output, 'loudspeaker')}",
        mode,
        SPOKEN,
    )
    new_output = None if output is own_output else output
    return Call(agent=_with(agent, agent.parts, turns), source=source, output=new_output, notes=notes)


def typed_call(agent: vp.Pipeline, options: argparse.Namespace) -> Call:
    """Return a call by keyboard: without the recogniser, and silent unless playing is asked for."""
    parts = tuple(part for part in agent.parts if not isinstance(part, vp.Source | vp.SessionStage))
    output = _typists_output(agent, options)
    notes = (TYPED if os.isatty(0) else PIPED, _sound(agent, output, options))
    return Call(agent=_with(agent, parts, agent._turns), output=output, is_typed=True, notes=notes)


def simulated_call(agent: vp.Pipeline, speech: TypedSpeech, options: argparse.Namespace) -> Call:
    """Return a call by keyboard through the whole pipeline: a simulated recogniser hears what is typed."""
    output = _typists_output(agent, options)
    notes = (TYPED if os.isatty(0) else PIPED, _sound(agent, output, options))
    turns = replace(agent._turns, loudspeaker=False)  # the line is silent, so nothing is the agent's echo
    new = _with(agent, agent.parts, turns)
    return Call(agent=new, source=Silence(speech.sample_rate), output=output, is_typed=True, speech=speech, notes=notes)


def _typists_output(agent: vp.Pipeline, options: argparse.Namespace) -> vp.Output | None:
    """Return the loudspeaker if it is asked for, or silence in place of one; None for the pipeline's own output."""
    if options.play or options.output is not None:
        return vp.Speaker(options.output, sample_rate=_voice_rate(agent))
    if agent._output is None or isinstance(agent._output, vp.Speaker):
        return vp.ClockedOutput(_voice_rate(agent))
    return None


def _sound(agent: vp.Pipeline, output: vp.Output | None, options: argparse.Namespace) -> str:
    if type(output) is vp.ClockedOutput:
        return "agent: shown as it speaks; silent; --play plays it"
    return f"agent: shown as it speaks; {_described(output or agent._output, options.output, 'loudspeaker')}"


def _own_source(agent: vp.Pipeline) -> vp.Part | None:
    """Return the pipeline's own caller: its source, or a first stage that needs none."""
    first = agent.parts[0]
    speaks = isinstance(first, vp.SessionStage) and flow_of(first)[0] is Never
    return first if isinstance(first, vp.Source) or speaks else None


def _with(agent: vp.Pipeline, parts: tuple[vp.Part, ...], turns: vp.TurnRules) -> vp.Pipeline:
    return vp.Pipeline(
        *parts,
        output=agent._output,
        turns=turns,
        fallback=agent._fallback,
        detector=agent._detector_choice,
        echo_canceller=agent._echo_canceller,
        observers=agent._observers,
    )


def _voice_rate(agent: vp.Pipeline) -> int:
    return voice_of(agent.parts).sample_rate


def _described(part: vp.Part | None, device: int | str | None, role: str) -> str:
    if isinstance(part, vp.MicSource | vp.Speaker):
        return f"the default {role}" if device is None else f"{role} {device!r}"
    return f"{part.name}, as the application says" if part else ""


# --- the call ---------------------------------------------------------------------------------------------------------


async def converse(call: Call, greeting: str, display: Display | EventLines, deps: object = None) -> None:
    """Hold a call to its end, and show it as it happens."""
    began_s = anyio.current_time()
    session_of = call.agent.session(
        source=call.source, output=call.output, greeting=greeting, deps=deps, observers=display.observers
    )
    async with session_of as session, anyio.create_task_group() as tasks:
        tasks.start_soon(display.keep, session)
        typist = Typist(session, call.speech, waits=not os.isatty(0))
        if call.is_typed:
            tasks.start_soon(typist.run)
        async for event in session:
            display.show(anyio.current_time() - began_s, event)
            typist.notice(event)
        tasks.cancel_scope.cancel()


class Typist:
    """Passes typed lines on as the caller's words.

    Args:
        session: The session.
        speech: Takes the lines to the recogniser; None to hand them to the session itself.
        waits: Whether a line waits for the reply to the previous one, as lines from a pipe or a file must. A line typed
            on a terminal interrupts, as a caller's words do.
    """

    def __init__(self, session: vp.Session, speech: TypedSpeech | None = None, *, waits: bool) -> None:
        self._session = session
        self._speech = speech
        self._waits = waits
        self._news = anyio.Event()
        self._unheard = 0

    def notice(self, event: vp.Event) -> None:
        """Note the beginning and the end of a turn."""
        if isinstance(event, vp.TurnStarted) and event.user_text:
            self._unheard = max(0, self._unheard - 1)
        if isinstance(event, vp.TurnStarted | vp.TurnEnded):
            self._news.set()
            self._news = anyio.Event()

    async def run(self) -> None:
        """Read to the end of the input, then let the call end."""
        with TypedLines() as lines:
            async with anyio.create_task_group() as tasks:
                while (line := await lines.next()) is not None:
                    while self._waits and (self._unheard or self._session.is_busy):
                        await self._news.wait()
                    if self._speech is None:
                        tasks.start_soon(self._say, line)
                        await anyio.lowlevel.checkpoint()  # from here on the session is busy
                    elif any(map(str.isalnum, line)):
                        self._unheard += 1
                        self._speech.say(line.strip())
            while self._unheard:
                await self._news.wait()
            self._session.end(after_reply=True)

    async def _say(self, line: str) -> None:
        with suppress(vp.ConfigurationError):  # the line is empty, or the agent has just ended the call
            await self._session.user_says(line)
