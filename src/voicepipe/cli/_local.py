"""Puts a pipeline's ears, voice and model on this machine: Whisper, Piper, and a server with OpenAI's endpoints.

Rule 1: turn rules, tools, prompts and all other stages stay as the application has them.
Rule 2: a package that is missing is an error with the command that installs it; no lesser part takes its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import voicepipe as vp
from voicepipe.cli._model_server import model_at

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

__all__ = ["notes_on", "on_this_machine"]

Deps = TypeVar("Deps")


async def on_this_machine(
    agent: vp.Pipeline[Deps], options: argparse.Namespace, *, is_typed: bool = False
) -> vp.Pipeline[Deps]:
    """Return the pipeline with the parts that --local, --llm-url and --llm-model name; itself without --local.

    Args:
        agent: The pipeline.
        options: The command line.
        is_typed: Whether the caller types, so that no recogniser is needed.

    Raises:
        MissingExtra: The default voice is not installed. Opening the parts raises it for the other packages.
        ConfigurationError: The server of the model cannot be used, or an option has no effect on the pipeline.
    """
    if not options.local:
        return agent
    recogniser, voice = None if is_typed else vp.WhisperRecogniser(), vp.PiperTTS()
    model = ""
    if options.llm_url:
        if not any(isinstance(part, vp.LLMStreamStage) for part in _all(agent.parts)):
            raise vp.ConfigurationError(f"--llm-url has no effect: {options.app} has no LLMStreamStage")
        model = await model_at(options.llm_url, options.llm_model)

    def moved(part: vp.Part) -> vp.Part:
        match part:
            case vp.Recogniser() if recogniser is not None and not _holds(part, vp.Recogniser):
                return recogniser._copied()
            case vp.TTSSink() if not _holds(part, vp.TTSSink):
                return voice._copied()
            case vp.LLMStreamStage() if model:
                # What it holds moves too: a model that writes summaries.
                return part._elsewhere(options.llm_url, model)._with_held(moved)
            case _:
                twin = part._with_held(moved)
                return part if twin._held() == part._held() else twin

    changed: dict[type[vp.Part] | vp.Part, vp.Part] = {
        part: new for part in agent.parts if (new := moved(part)) is not part
    }
    if not changed:
        raise vp.ConfigurationError(
            f"--local has no effect: {options.app} has no recogniser, voice or model of its own"
        )
    return agent.replace(changed)


def notes_on(agent: vp.Pipeline[Any], options: argparse.Namespace) -> list[str]:
    """Return what to show of the parts on this machine at the start of a call."""
    if not options.local:
        return []
    kinds = (vp.Recogniser, vp.TTSSink, vp.LLMStreamStage)
    return [f"on this machine: {part!r}" for part in _all(agent.parts) if isinstance(part, kinds)]


def _all(parts: tuple[vp.Part, ...] | list[vp.Part]) -> Iterator[vp.Part]:
    """Yield parts, and those that they hold."""
    for part in parts:
        yield part
        yield from _all(part._held())


def _holds(part: vp.Part, kind: type[vp.Part]) -> bool:
    return any(isinstance(held, kind) for held in _all(part._held()))
