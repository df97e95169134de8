"""What is counted and measured in calls: one table, from which Prometheus and OpenTelemetry make their instruments.

Rule 1: the values of labels come from bounded sets: no ids, no numbers, no words of callers.
Rule 2: `CallCounts` is the only place that turns events into figures; where they go is none of its business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

from voicepipe.core.clock import loop_time
from voicepipe.events import ToolFinished, ToolStarted, TurnEnded, TurnFailed, TurnInterrupted
from voicepipe.floor_events import Paused, Resumed
from voicepipe.flow import SpeechStarted
from voicepipe.listening_events import AgentLost, AudioDropped, MicrophoneLost, RecogniserLost
from voicepipe.model_events import ModelUsage, RequestRetried
from voicepipe.tool_events import ToolServerLost
from voicepipe.watching.budget import measured_us
from voicepipe.watching.telemetry.outcomes import OTHER, outcome_of
from voicepipe.watching_events import BudgetExceeded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voicepipe.errors import VoicepipeError
    from voicepipe.events import Event

__all__ = ["INSTRUMENTS", "Bounded", "CallCounts", "Instrument", "Labels", "Sink"]

SILENCES_S: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.2, 1.5, 2, 3, 5)
WAITS_S: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2, 5, 10)

SHORTEST_US: Final = 1_000
"""Parts of a wait that took less are not observed: half of them take microseconds, and each costs as many."""

MOST_VALUES: Final = 32
"""Values of one label that are kept apart; further ones count as "other"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """Something that is counted or measured.

    Attributes:
        name: Its name, without a prefix and a unit.
        kind: What it is.
        help: What it counts or measures.
        labels: The names of its labels.
        is_in_seconds: Whether it is in seconds.
        buckets: Of a histogram.
    """

    name: str
    kind: Literal["counter", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    is_in_seconds: bool = False
    buckets: tuple[float, ...] = ()


def _counter(name: str, text: str, *labels: str, is_in_seconds: bool = False) -> Instrument:
    return Instrument(name=name, kind="counter", help=text, labels=labels, is_in_seconds=is_in_seconds)


def _seconds(name: str, text: str, *labels: str, buckets: tuple[float, ...] = WAITS_S) -> Instrument:
    return Instrument(name=name, kind="histogram", help=text, labels=labels, is_in_seconds=True, buckets=buckets)


INSTRUMENTS: Final = {
    one.name: one
    for one in (
        _counter("turns", "Turns that have ended.", "outcome"),
        _seconds("silence_heard", "From the caller's last word to the first audible sound.", buckets=SILENCES_S),
        _seconds("answer", "From the caller's last word to the first audible sound of the answer.", buckets=SILENCES_S),
        _seconds("wait", "What the silence heard was spent on, parts of 1 ms or more.", "part"),
        _seconds("first_token", "From a request to the model to its first text."),
        _seconds("first_audio", "From a turn's first sentence to the first audio of the voice."),
        _counter("interruptions", "Replies that were cut short.", "by"),
        _counter("false_interruptions", "Pauses after which the agent went on, because the caller said nothing."),
        _seconds("interruption", "From the caller's first sound to the agent's silence, if they interrupted."),
        _counter("tool_calls", "Tool calls.", "tool", "status"),
        _seconds("tool", "How long tools took.", "tool", "status"),
        _counter("requests_retried", "Requests that were sent again.", "part", "error"),
        _counter("failures", "What failed.", "part", "error"),
        _counter("reconnects", "Connections and devices that were lost and are being restored.", "part"),
        _counter("tokens", "Tokens of models.", "model", "direction"),
        _counter("audio_dropped", "Audio that was dropped.", "where", is_in_seconds=True),
        _counter("budget_exceeded", "What took longer than a LatencyBudget allows.", "name"),
    )
}


class Sink(Protocol):
    """Where figures go."""

    def add(self, name: str, amount: float, /, *labels: str) -> None:
        """Add to a counter."""
        ...

    def observe(self, name: str, value: float, /, *labels: str) -> None:
        """Take a value of a histogram."""
        ...


class Bounded:
    """The values of a label: those that came first are kept apart, the others are "other".

    Args:
        most: How many are kept apart.
    """

    def __init__(self, most: int = MOST_VALUES) -> None:
        self._most = most
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        """Return the value to count."""
        if value not in self._known and len(self._known) >= self._most:
            return OTHER
        self._known.add(value)
        return value


class Labels:
    """The label values of one process, shared by its calls."""

    def __init__(self) -> None:
        self.part, self.tool, self.model, self.error, self.transport = (Bounded() for _ in range(5))


class CallCounts:
    """Turns the events of one call into figures.

    Args:
        sink: Where they go.
        labels: Bounds the values of labels, for all calls.
        tools: The names of the agent's tools. What a session adds, a client of it perhaps, counts as "other".
    """

    def __init__(self, sink: Sink, labels: Labels, tools: Iterable[str]) -> None:
        self._sink = sink
        self._labels = labels
        self._tools = frozenset(tools)
        self._began_s: dict[str, float] = {}
        self._spoke_s: float | None = None
        self._silent_s: float | None = None

    def event(self, event: Event) -> None:
        """Take an event of the session."""
        sink = self._sink
        match event:
            case TurnEnded():
                self._turn_ended(event)
            case SpeechStarted(at_s=at_s):
                self._spoke_s = at_s
            case Paused():
                self._silent_s = loop_time()
            case Resumed():
                self._silent_s = None
                sink.add("false_interruptions", 1)
            case ToolStarted(call_id=call_id):
                self._began_s[call_id] = loop_time()
            case ToolFinished():
                self._tool_finished(event)
            case RequestRetried(error=error):
                sink.add("requests_retried", 1, "llm", self._labels.error(type(error).__name__))
            case RecogniserLost(error=error):
                self._failed("stt", error)
                sink.add("reconnects", 1, "stt")
            case AgentLost(error=error):
                self._failed("agent", error)
                sink.add("reconnects", 1, "agent")
            case MicrophoneLost(error=error):
                self._failed("microphone", error)
                sink.add("reconnects", 1, "microphone")
            case ToolServerLost(error=error):
                self._failed("tool_server", error)
                sink.add("reconnects", 1, "tool_server")
            case ModelUsage():
                model = self._labels.model(event.model)
                sink.add("tokens", event.input_tokens, model, "input")
                sink.add("tokens", event.output_tokens, model, "output")
            case AudioDropped(seconds=seconds):
                sink.add("audio_dropped", seconds, "recogniser")
            case BudgetExceeded(name=name):
                sink.add("budget_exceeded", 1, self._labels.part(name))
            case _:
                pass

    def _turn_ended(self, event: TurnEnded) -> None:
        sink, timeline = self._sink, event.timeline
        sink.add("turns", 1, outcome_of(event))
        if isinstance(event, TurnFailed):
            self._failed("turn", event.error)
        elif isinstance(event, TurnInterrupted):
            self._interrupted(event)
        self._silent_s = None
        if (waited_us := timeline.waited_us) is not None:
            sink.observe("silence_heard", waited_us / 1e6)
            for part, us in timeline.contributions_us.items():
                if us >= SHORTEST_US:
                    sink.observe("wait", us / 1e6, self._labels.part(part))
        for name, measured in (
            ("answer", "answer"),
            ("first_token", "llm_first_token"),
            ("first_audio", "tts_first_audio"),
        ):
            if (took_us := measured_us(measured, timeline)) is not None:
                sink.observe(name, took_us / 1e6)

    def _interrupted(self, event: TurnInterrupted) -> None:
        self._sink.add("interruptions", 1, event.by)
        if event.by == "caller" and self._spoke_s is not None and not event.joined:
            silent_s = loop_time() if self._silent_s is None else self._silent_s
            self._sink.observe("interruption", max(0.0, silent_s - self._spoke_s))

    def _tool_finished(self, event: ToolFinished) -> None:
        tool = self._labels.tool(event.name) if event.name in self._tools else OTHER
        self._sink.add("tool_calls", 1, tool, event.status)
        if (at_s := self._began_s.pop(event.call_id, None)) is not None:
            self._sink.observe("tool", loop_time() - at_s, tool, event.status)

    def _failed(self, part: str, error: VoicepipeError) -> None:
        self._sink.add("failures", 1, part, self._labels.error(type(error).__name__))
