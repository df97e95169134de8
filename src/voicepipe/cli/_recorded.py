"""`--record DIR` of `talk`, `serve` and `dev`: the calls of an agent are recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import voicepipe as vp
from voicepipe.watching.recording.directory import prepare

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["notice", "recorded"]


def recorded(agent: vp.Pipeline[Any], directory: Path | None) -> vp.Pipeline[Any]:
    """Return a pipeline whose calls are recorded in addition to all else; the same without a directory.

    Raises:
        ConfigurationError: The directory cannot be written.
    """
    if directory is None:
        return agent
    prepare(directory)  # now, and not when somebody calls
    return vp.Pipeline(
        *agent.parts,
        output=agent._output,
        turns=agent._turns,
        fallback=agent._fallback,
        detector=agent._detector_choice,
        echo_canceller=agent._echo_canceller,
        observers=[*agent._observers, vp.Recorder(directory)],
    )


def notice(directory: Path) -> str:
    """Return the line that says what is recorded."""
    return (
        f"recorded: both sides, what was said and what services were sent, in {directory}; readable by this user alone"
    )
