"""A call without its words, for people who may see how it went but not what was said.

Rule 1: what is left are times, names of parts, tools and models, and how many words there were.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voicepipe.watching.report.story import Story
    from voicepipe.watching.report.turn_story import Asking, Spoken, TurnStory

__all__ = ["without_content"]


def without_content(story: Story) -> Story:
    """Return a story without the words of callers, agents, prompts, tools and errors."""
    return replace(
        story,
        turns=[_turn(turn) for turn in story.turns],
        drafts=[_asking(asking) for asking in story.drafts],
        notes=[replace(note, content="") for note in story.notes],
        has_content=False,
    )


def _turn(turn: TurnStory) -> TurnStory:
    return replace(
        turn,
        user_text=_counted(turn.user_text),
        heard=_counted(turn.heard),
        generated=_counted(turn.generated),
        unheard=_counted(turn.unheard),
        error=_kind(turn.error),
        requests=[_asking(asking) for asking in turn.requests],
        dropped=[_asking(asking) for asking in turn.dropped],
        sentences=[_spoken(spoken) for spoken in turn.sentences],
        dropped_sentences=[_spoken(spoken) for spoken in turn.dropped_sentences],
        tools=[replace(run, arguments="", result="") for run in turn.tools],
        said=[(at_s, _counted(text)) for at_s, text in turn.said],
        notes=[replace(note, content="") for note in turn.notes],
    )


def _asking(asking: Asking) -> Asking:
    calls = {index: [name, "..."] for index, (name, _) in asking.calls.items()}
    return replace(asking, system="", messages=(), text=_counted(asking.text), calls=calls, error=_kind(asking.error))


def _spoken(spoken: Spoken) -> Spoken:
    return replace(spoken, text=_counted(spoken.text), error=_kind(spoken.error))


def _counted(text: str) -> str:
    count = len(text.split())
    return f"({count} {'word' if count == 1 else 'words'})" if count else ""


def _kind(error: str) -> str:
    """Return the class of an error: its message may quote what was said."""
    return error.partition(":")[0]
