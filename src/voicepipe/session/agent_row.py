"""A row in which one service hears, answers and speaks: what may stand next to a hosted agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voicepipe.audio.source import Source
from voicepipe.core.stage import SessionStage, flow_of
from voicepipe.errors import ConfigurationError
from voicepipe.flow import AudioFrame
from voicepipe.hosted.agent import SpeechToSpeech
from voicepipe.model.tool_router import ToolRouter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.core.part import Part

__all__ = ["AGENT_TURN_S", "agent_of", "check_agent_row"]

ORDER: Final = "[Source] [SessionStage for audio ...] {agent} [ToolRouter]"

AGENT_TURN_S: Final = 300.0
"""From a turn's start to its last word where no `ToolRouter` sets it: a hosted agent's words come as it speaks."""


def agent_of(parts: Sequence[Part]) -> SpeechToSpeech | None:
    """Return the first hosted agent of a row; None without one."""
    return next((part for part in parts if isinstance(part, SpeechToSpeech)), None)


def check_agent_row(parts: Sequence[Part], agent: SpeechToSpeech) -> None:
    """Refuse a row that does not fit together around a hosted agent.

    Raises:
        ConfigurationError: The message names the part that has no place, and what to do.
    """
    at = parts.index(agent)
    order = ORDER.format(agent=agent.name)
    for place, part in enumerate(parts):
        if isinstance(part, Source) and place:
            raise ConfigurationError(f"a source comes first, but {part.name} follows {parts[place - 1].name}")
        if isinstance(part, ToolRouter) and (place != at + 1 or place != len(parts) - 1):
            raise ConfigurationError(f"ToolRouter must directly follow {agent.name}, as the last part; write {order}")
        is_own = part is agent or isinstance(part, (Source, ToolRouter))
        if not is_own and not (place < at and _is_for_audio(part)):
            raise ConfigurationError(
                f"{agent.name} hears, answers and speaks by itself, so {part.name} has no place next to it; leave "
                f"{part.name} out, or write a row of recogniser, model and voice without {agent.name}; "
                f"the order is {order}"
            )


def _is_for_audio(part: Part) -> bool:
    return isinstance(part, SessionStage) and flow_of(part) == (AudioFrame, AudioFrame)
