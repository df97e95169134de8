"""Tells the story of a call: one line a fact, with what broke a promise."""

from __future__ import annotations

from dataclasses import fields
from itertools import groupby
from typing import TYPE_CHECKING, Any

from tests.explore import facts
from tests.explore.promises import PROMISES
from voicepipe.events import TurnEnded

if TYPE_CHECKING:
    from tests.explore.call import Story

AROUND = 30
"""Lines before the fact that shows that a promise was broken."""

SENTENCES = {promise.name: (promise.__doc__ or "").strip() for promise in PROMISES}


def told(story: Story, *, whole: bool = False) -> str:
    """Return the story of a call as text."""
    lines = [f"seed {story.seed}: python -m tests.explore {story.seed}"]
    first = min((one.at for one in story.broken), default=len(story.facts))
    begin = 0 if whole else max(0, first - 4 * AROUND)
    shown: list[str] = []
    facts_shown = enumerate(story.facts[begin:] if whole else story.facts[begin : first + 1], start=begin)
    for what, group in groupby(facts_shown, key=lambda one: line(one[1].fact)):
        entries = list(group)
        times = f" ({len(entries)} times)" if len(entries) > 1 else ""
        shown.append(f"{entries[0][1].at_s:10.3f}  {what}{times}")
        broken = [one for one in story.broken if entries[0][0] <= one.at <= entries[-1][0]]
        shown += [f"          > {one.promise}: {one.what}" for one in broken]
    lines += shown if whole else shown[-AROUND:]
    for promise in dict.fromkeys(one.promise for one in story.broken):
        lines.append(f"{promise} is broken: {SENTENCES.get(promise, '')}")
    late = [one for one in story.broken if one.at >= len(story.facts)]
    lines += [f"  {one.promise}: {one.what}" for one in late]
    return "\n".join(lines)


def line(fact: facts.Fact) -> str:
    """Return a fact as one line."""
    if isinstance(fact, facts.Emitted):
        event: Any = fact.event
        skipped = {"session_id", "timeline", "turn_id", "words"}
        values = {one.name: getattr(event, one.name) for one in fields(event) if one.name not in skipped}
        text = ", ".join(f"{name}={value!r}" for name, value in values.items())
        turn = f" turn {fact.turn}" if fact.turn else ""
        audible = f"  audible: {' '.join(fact.heard)}" if isinstance(event, TurnEnded) else ""
        return f"  event{turn}: {type(event).__name__}({text}){audible}"
    if isinstance(fact, facts.Asked):
        lines = "; ".join(
            f"{one.role}: {one.text}{''.join(f' [{c.name} {c.arguments} {c.status}]' for c in one.calls)}"
            for one in fact.lines
        )
        return f"model asked, request {fact.request} of turn {fact.turn}: {lines}"
    if isinstance(fact, facts.Left):
        return f"left after {fact.took_s} s, error {fact.error!r}, tasks {fact.tasks}, files {fact.files}"
    shown = ", ".join(f"{one.name}={getattr(fact, one.name)!r}" for one in fields(fact))
    return f"{type(fact).__name__}({shown})"
