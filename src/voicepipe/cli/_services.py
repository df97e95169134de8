"""Puts the parts of a pipeline that use services which have a simulator at simulators on this machine.

Rule 1: the parts themselves stay, so that the conversation goes through the real protocols; only their URLs change.
Rule 2: no key is read or sent.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import voicepipe as vp
from voicepipe.cli._simulated_caller import TypedSpeech
from voicepipe.cli.simulate import SERVICES, Asked
from voicepipe.vendors.line.streaming_recogniser import StreamingRecogniser

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

__all__ = ["Simulation", "simulated"]

PARTS: Final = {
    "stt": vp.AssemblyAIRecogniser,
    "llm": vp.LLMStreamStage,
    "tts": vp.AssemblyAITTS,
    "nova": vp.DeepgramRecogniser,
    "flux": vp.DeepgramFluxRecogniser,
    "elevenlabs": vp.ElevenLabsTTS,
    "cartesia": vp.CartesiaTTS,
}
"""The parts that have a simulator, by the names of the options for their URLs, where there are any."""

EARS: Final = ("stt", "nova", "flux")
"""Those that hear what is typed."""

SIMULATORS: Final = {"llm": "gateway", "nova": "deepgram", "flux": "deepgram"}
"""The names of their simulators, where they are others."""


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """A pipeline at simulators.

    Attributes:
        agent: The pipeline.
        speech: What the simulated recogniser hears; None if none was started.
        notes: Lines to show at the start.
    """

    agent: vp.Pipeline
    speech: TypedSpeech | None = None
    notes: Sequence[str] = ()


@asynccontextmanager
async def simulated(agent: vp.Pipeline, options: argparse.Namespace) -> AsyncGenerator[Simulation]:
    """Provide the pipeline at the simulators of the command line, and run those that --simulate asks for.

    Raises:
        ConfigurationError: An option has no effect on this pipeline, or a URL is not one of this machine.
    """
    urls = {name: str(url) for name in PARTS if (url := getattr(options, f"{name}_url", None))}
    if options.local:
        urls = {}  # the model is at its URL, and no simulator is
    users = [user for part in agent.parts for user in _users(part)]
    services = [name for name, kind in PARTS.items() if any(isinstance(user, kind) for user in users)]
    for name in urls.keys() - {*services}:
        raise vp.ConfigurationError(f"--{name}-url has no effect: {options.app} has no {PARTS[name].__name__}")
    rate = next((user.sample_rate for user in users if isinstance(user, StreamingRecogniser)), 0)
    speech = TypedSpeech(rate) if rate and options.simulate and not options.text else None
    async with AsyncExitStack() as stack:
        if options.simulate:
            missing = [name for name in services if name not in urls and (name not in EARS or speech)]
            _check(agent, options, services, missing)
            for name in missing:
                urls[name] = await stack.enter_async_context(_serving(name, options, speech))
        notes = [f"simulated: {PARTS[name].__name__} at {url}" for name, url in urls.items()]
        if options.simulate and any(isinstance(part, vp.OpenAITTS) for part in agent.parts):
            notes.append("not simulated: OpenAITTS, which has no simulator")
        parts = [_moved(part, urls) for part in agent.parts]
        moved = vp.Pipeline(
            *parts,
            output=agent._output,
            turns=agent._turns,
            fallback=agent._fallback,
            detector=agent._detector_choice,
            echo_canceller=agent._echo_canceller,
            observers=agent._observers,
        )
        yield Simulation(agent=moved, speech=speech, notes=notes)


def _check(agent: vp.Pipeline, options: argparse.Namespace, services: Sequence[str], missing: Sequence[str]) -> None:
    """Refuse a --simulate that changes nothing, and a --calls that no model would make."""
    if not services:
        names = ", ".join(part.__name__ for part in PARTS.values())
        raise vp.ConfigurationError(f"--simulate has no effect: {options.app} has none of {names}; use --text")
    if options.calls and "llm" not in missing:
        raise vp.ConfigurationError(
            f"--calls has no effect: {options.app} has no LLMStreamStage, or --llm-url names its simulator, which "
            "takes --calls itself"
        )
    tools = [name for part in agent.parts if isinstance(part, vp.ToolRouter) for name in part.tools]
    for name, _ in options.calls or ():
        if name not in tools:
            there = f"it has {', '.join(tools)}" if tools else "it has none; add ToolRouter([...]) behind the model"
            raise vp.ConfigurationError(f"--calls: {options.app} has no tool {name!r}; {there}")


def _serving(name: str, options: argparse.Namespace, speech: TypedSpeech | None) -> AbstractAsyncContextManager[str]:
    return SERVICES[SIMULATORS.get(name, name)](Asked(calls=options.calls or (), hears=speech)).serving


def _users(part: vp.Part) -> Iterator[vp.Part]:
    """Yield those of a part and the parts that it holds that use a service."""
    if isinstance(part, tuple(PARTS.values())):
        yield part
    for held in part._held():
        yield from _users(held)


def _moved(part: vp.Part, urls: Mapping[str, str]) -> vp.Part:
    """Return the part at the simulators, itself or the parts that it holds; the same if it uses none of them."""
    for name, kind in PARTS.items():
        if isinstance(part, kind) and name in urls:
            # What a part holds moves too: the model that writes summaries.
            return part._at_simulator(urls[name])._with_held(lambda held: _moved(held, urls))
    twin = part._with_held(lambda held: _moved(held, urls))
    return part if twin._held() == part._held() else twin
