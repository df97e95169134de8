"""What many recorded calls have in common: how long callers waited and for what, what went wrong, what it cost.

Rule 1: this is pure: stories go in, figures come out.
Rule 2: figures of calls are added up; percentiles are taken of all turns together, never of the calls' percentiles.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from voicepipe.watching.report.notes import INTERRUPTERS
from voicepipe.watching.report.percentiles import Spread, spread_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from voicepipe.watching.report.limits import Limit
    from voicepipe.watching.report.prices import Prices
    from voicepipe.watching.report.records import Records
    from voicepipe.watching.report.story import Story

__all__ = ["CallStats", "Cost", "Tokens", "cost_of", "figures_of", "stats_of", "summed"]

INTERRUPTIONS: Final = (
    *(f"by {who}" for who in INTERRUPTERS.values()),
    "false: resumed",
    "false: joined",
    "withheld",
)
"""What may become of a reply while the caller makes a sound, in the order in which it is shown."""


@dataclass(slots=True)
class Tokens:
    """Tokens of one model.

    Attributes:
        requests: How many requests were counted.
        input: Tokens of requests.
        output: Tokens of replies.
        estimated: How many requests are estimates, because the reply was cut before the service counted it.
    """

    requests: int = 0
    input: int = 0
    output: int = 0
    estimated: int = 0


@dataclass(slots=True, kw_only=True)
class CallStats:
    """Figures of one call, or of several.

    Attributes:
        calls: How many.
        cut: How many of the recordings break off before the end of the call.
        marks: The marks of each turn that has ended, in seconds, for budgets.
        waits: The silence that the caller heard, turn by turn, in seconds.
        answers: The time until the answer itself was audible, of turns that began with filler.
        contributions: What it was spent on, by name; only of turns that spent something on it.
        turns: Turns by outcome: "completed", "interrupted", "joined", "failed", "empty", "open".
        interruptions: See `INTERRUPTIONS`.
        backchannels: How often the caller only showed that they listen.
        drafts: Requests of drafts that were dropped.
        tools: Tool calls, by the tool's name and status.
        tokens: By the model's name.
        call_s: Seconds that the calls lasted.
        heard_s: Seconds of the agent's audio that callers heard.
        voice_s: Seconds of audio that voices gave.
        characters: Characters that voices were given.
        troubles: What went wrong, by the class of the event.
    """

    calls: int = 0
    cut: int = 0
    marks: list[dict[str, float]] = field(default_factory=list[dict[str, float]])
    waits: list[float] = field(default_factory=list[float])
    answers: list[float] = field(default_factory=list[float])
    contributions: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    turns: Counter[str] = field(default_factory=Counter[str])
    interruptions: Counter[str] = field(default_factory=Counter[str])
    backchannels: int = 0
    drafts: int = 0
    tools: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    tokens: dict[str, Tokens] = field(default_factory=dict[str, Tokens])
    call_s: float = 0.0
    heard_s: float = 0.0
    voice_s: float = 0.0
    characters: int = 0
    troubles: Counter[str] = field(default_factory=Counter[str])

    @property
    def wait(self) -> Spread | None:
        """How the silence is distributed."""
        return spread_of(self.waits)

    @property
    def failed_tools(self) -> int:
        """How many tool calls failed, or ended nobody knows how."""
        return sum(count for (_, status), count in self.tools.items() if status in ("failed", "unknown"))

    def as_json(self, cost: Cost | None = None, limits: Sequence[Limit] = ()) -> dict[str, Any]:
        """Return the figures as JSON, times in seconds."""
        return {
            "calls": self.calls,
            "cut": self.cut,
            "silence_s": _spread_json(self.wait),
            "answer_after_filler_s": _spread_json(spread_of(self.answers)),
            "contributions_s": {name: _spread_json(spread_of(all_s)) for name, all_s in self.contributions.items()},
            "turns": dict(self.turns),
            "interruptions": {name: self.interruptions[name] for name in INTERRUPTIONS},
            "backchannels": self.backchannels,
            "dropped_drafts": self.drafts,
            "tools": [
                {"name": name, "status": status, "count": count} for (name, status), count in sorted(self.tools.items())
            ],
            "tokens": {name: asdict(tokens) for name, tokens in sorted(self.tokens.items())},
            "audio_s": {"calls": _short(self.call_s), "heard": _short(self.heard_s), "voice": _short(self.voice_s)},
            "characters": self.characters,
            "troubles": dict(self.troubles),
            "cost": None if cost is None else asdict(cost),
            "budgets": [{**asdict(limit), "is_met": limit.is_met} for limit in limits],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What calls cost.

    Attributes:
        currency: Of all amounts.
        models: By the model's name.
        recogniser: Of the calls' minutes; None without a price.
        voice: Of the audio or the characters; None without a price.
        total: The sum of what has a price.
        unpriced: Models without a price.
    """

    currency: str
    models: dict[str, float]
    recogniser: float | None
    voice: float | None
    total: float
    unpriced: list[str]


def stats_of(records: Records, story: Story) -> CallStats:
    """Return the figures of one call."""
    stats = CallStats(calls=1, cut=int(records.is_cut), call_s=story.ends_s)
    for turn in story.turns:
        stats.turns[turn.outcome] += 1
        stats.heard_s += turn.heard_s
        stats.marks.append(turn.marks)
        if turn.waited_s is not None:
            stats.waits.append(turn.waited_s)
        if turn.answered_s is not None:
            stats.answers.append(turn.answered_s)
        for name, seconds in turn.contributions.items():
            if seconds:
                stats.contributions.setdefault(name, []).append(seconds)
        if turn.outcome == "interrupted":
            stats.interruptions[f"by {INTERRUPTERS.get(turn.by, turn.by)}"] += 1
        stats.interruptions["false: joined"] += turn.outcome == "joined"
        stats.drafts += sum(asking.step == 0 for asking in turn.dropped)
        spoken = [*turn.sentences, *turn.dropped_sentences]
        stats.voice_s += sum(one.audio_s for one in spoken)
        stats.characters += sum(len(one.text) for one in spoken)
    stats.drafts += sum(asking.step == 0 for asking in story.drafts)
    for note in story.notes:
        stats.interruptions["false: resumed"] += note.kind == "Resumed"
        stats.interruptions["withheld"] += note.kind == "Withheld"
        stats.backchannels += note.kind == "Backchannel"
        if note.who == "trouble":
            stats.troubles[note.kind] += 1
    for record in records.events:
        if record["event"] == "ToolFinished":
            stats.tools[record["name"], record["status"]] += 1
        elif record["event"] == "ModelUsage":
            used = stats.tokens.setdefault(record["model"], Tokens())
            used.requests += 1
            used.input += record["input_tokens"]
            used.output += record["output_tokens"]
            used.estimated += record["is_estimated"]
    return stats


def figures_of(stats: CallStats) -> list[tuple[str, str]]:
    """Return what the page of a call shows at its top: a name and a value each."""
    false = stats.interruptions["false: resumed"] + stats.interruptions["false: joined"]
    real = stats.interruptions["by the caller"] + stats.interruptions["by the application"]
    figures = [("Turns", str(sum(stats.turns.values())))]
    if (wait := stats.wait) is not None:
        figures += [("Median wait", f"{wait.p50 * 1e3:,.0f} ms"), ("Longest", f"{wait.largest * 1e3:,.0f} ms")]
    figures.append(("Interruptions", f"{real}, {false} false" if false else str(real)))
    if count := stats.tools.total():
        figures.append(("Tool calls", f"{count}, {stats.failed_tools} failed" if stats.failed_tools else str(count)))
    if stats.tokens:
        used = sum(one.input for one in stats.tokens.values()), sum(one.output for one in stats.tokens.values())
        figures.append(("Tokens in, out", f"{used[0]:,}, {used[1]:,}"))
    return figures


def summed(all_stats: Iterable[CallStats]) -> CallStats:
    """Return the figures of several calls together."""
    total = CallStats()
    for stats in all_stats:
        total.calls += stats.calls
        total.cut += stats.cut
        total.marks += stats.marks
        total.waits += stats.waits
        total.answers += stats.answers
        for name, seconds in stats.contributions.items():
            total.contributions.setdefault(name, []).extend(seconds)
        for own, more in (
            (total.turns, stats.turns),
            (total.interruptions, stats.interruptions),
            (total.troubles, stats.troubles),
        ):
            own.update(more)
        total.tools.update(stats.tools)
        total.backchannels += stats.backchannels
        total.drafts += stats.drafts
        for name, used in stats.tokens.items():
            own_used = total.tokens.setdefault(name, Tokens())
            own_used.requests += used.requests
            own_used.input += used.input
            own_used.output += used.output
            own_used.estimated += used.estimated
        total.call_s += stats.call_s
        total.heard_s += stats.heard_s
        total.voice_s += stats.voice_s
        total.characters += stats.characters
    return total


def cost_of(stats: CallStats, prices: Prices) -> Cost:
    """Return what calls cost; what has no price is left out of the total."""
    models: dict[str, float] = {}
    unpriced: list[str] = []
    for name, used in sorted(stats.tokens.items()):
        price = prices.of_model(name)
        if price is None:
            unpriced.append(name)
        else:
            models[name] = (used.input * price.input + used.output * price.output) / 1e6
    listened = prices.recogniser_per_minute
    recogniser = None if listened is None else stats.call_s / 60 * listened
    parts = [
        amount * price
        for amount, price in (
            (stats.voice_s / 60, prices.voice_per_minute),
            (stats.characters / 1e6, prices.voice_per_million_characters),
        )
        if price is not None
    ]
    voice = sum(parts) if parts else None
    return Cost(
        currency=prices.currency,
        models=models,
        recogniser=recogniser,
        voice=voice,
        total=sum(models.values()) + (recogniser or 0.0) + (voice or 0.0),
        unpriced=unpriced,
    )


def _spread_json(spread: Spread | None) -> dict[str, Any] | None:
    return None if spread is None else asdict(spread)


def _short(seconds: float) -> float:
    return round(seconds, 3)
