"""What a server counts, for prometheus_client.

Rule 1: the values of labels come from fixed sets: no ids, no numbers, no words of callers.
Rule 2: each server has a registry of its own, so that two in one process do not disturb each other.
"""

from __future__ import annotations

from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from voicepipe.core.clock import loop_time
from voicepipe.events import (
    ModelUsage,
    RequestRetried,
    ToolFinished,
    ToolStarted,
    TurnCompleted,
    TurnEmpty,
    TurnEnded,
    TurnFailed,
    TurnInterrupted,
)
from voicepipe.listening_events import AudioDropped, RecogniserLost

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from prometheus_client.metrics_core import Metric

    from voicepipe.errors import VoicepipeError
    from voicepipe.events import Event
    from voicepipe.serving.door import Door

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

SILENCES_S: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.2, 1.5, 2, 3, 5)
WAITS_S: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2, 5, 10)

OTHER: Final = "other"

MOST_REASONS: Final = 32
"""Words for refusals of a transport of the application's own; further ones count as "other"."""

OUTCOMES: Final[dict[type[TurnEnded], str]] = {
    TurnCompleted: "completed",
    TurnInterrupted: "interrupted",
    TurnFailed: "failed",
    TurnEmpty: "empty",
}


class Metrics:
    """The counters of one server.

    Args:
        door: Knows how many calls there are, and how late the loop is.
        transports: The names of the transports.
        tools: The names of the agent's tools. What a session adds, a client of it perhaps, counts as "other".

    Attributes:
        registry: Where they are registered; an application may add its own.
    """

    def __init__(self, door: Door, transports: Sequence[str], tools: Iterable[str] = ()) -> None:
        self.registry = registry = CollectorRegistry()
        self._tools = frozenset(tools)
        self._reasons: set[str] = set()
        self._live = dict.fromkeys(transports, 0)
        self._ended = Counter(
            "voicepipe_sessions", "Calls that have ended.", ["transport", "ended_by"], registry=registry
        )
        self._refused = Counter("voicepipe_refused", "Peers that were refused.", ["reason"], registry=registry)
        self._turns = Counter("voicepipe_turns", "Turns that have ended.", ["outcome"], registry=registry)
        self._silence = Histogram(
            "voicepipe_silence_heard_seconds",
            "From the end of the caller's speech to the first audio of the answer.",
            buckets=SILENCES_S,
            registry=registry,
        )
        self._wait = Histogram(
            "voicepipe_wait_seconds", "What that wait was spent on.", ["part"], buckets=WAITS_S, registry=registry
        )
        self._tool_s = Histogram(
            "voicepipe_tool_seconds", "How long tools took.", ["tool", "status"], buckets=WAITS_S, registry=registry
        )
        self._tool_calls = Counter("voicepipe_tool_calls", "Tool calls.", ["tool", "status"], registry=registry)
        self._retried = Counter(
            "voicepipe_requests_retried", "Requests that were sent again.", ["part", "error"], registry=registry
        )
        self._failures = Counter("voicepipe_failures", "What failed.", ["part", "error"], registry=registry)
        self._tokens = Counter("voicepipe_tokens", "Tokens of models.", ["model", "direction"], registry=registry)
        self._dropped = Counter(
            "voicepipe_audio_dropped_seconds", "Audio that was dropped.", ["where"], registry=registry
        )
        Gauge("voicepipe_build_info", "The version.", ["version"], registry=registry).labels(version("voicepipe")).set(
            1
        )
        registry.register(_Present(door, self._live))

    def text(self) -> bytes:
        """Return everything in the format of Prometheus."""
        return generate_latest(self.registry)

    def refused(self, reason: str) -> None:
        """Count a refusal."""
        if reason in self._reasons or len(self._reasons) < MOST_REASONS:
            self._reasons.add(reason)
        else:
            reason = OTHER
        self._refused.labels(reason).inc()

    def dropped(self, where: str, seconds: float) -> None:
        """Count audio that was dropped."""
        if seconds > 0:
            self._dropped.labels(where).inc(seconds)

    @contextmanager
    def call(self, transport: str, ended_by: Callable[[], str]) -> Generator[None]:
        """Count a call for as long as the block lasts, and then how it has ended."""
        self._live[transport] = self._live.get(transport, 0) + 1
        try:
            yield
        finally:
            self._live[transport] -= 1
            self._ended.labels(transport, ended_by()).inc()

    def observer(self) -> Callable[[Event], None]:
        """Return what counts the events of one session."""
        began_s: dict[str, float] = {}

        def note(event: Event) -> None:
            match event:
                case TurnEnded():
                    self._turn_ended(event)
                case ToolStarted(call_id=call_id):
                    began_s[call_id] = loop_time()
                case ToolFinished(call_id=call_id, name=name, status=status):
                    tool = name if name in self._tools else OTHER
                    self._tool_calls.labels(tool, status).inc()
                    if (at_s := began_s.pop(call_id, None)) is not None:
                        self._tool_s.labels(tool, status).observe(loop_time() - at_s)
                case RequestRetried(error=error):
                    self._retried.labels("llm", type(error).__name__).inc()
                case RecogniserLost(error=error):
                    self._failed("stt", error)
                case ModelUsage(model=model):
                    self._tokens.labels(model, "input").inc(event.input_tokens)
                    self._tokens.labels(model, "output").inc(event.output_tokens)
                case AudioDropped(seconds=seconds):
                    self.dropped("recogniser", seconds)
                case _:
                    pass

        return note

    def _turn_ended(self, event: TurnEnded) -> None:
        self._turns.labels(OUTCOMES.get(type(event), OTHER)).inc()
        if isinstance(event, TurnFailed):
            self._failed("turn", event.error)
        waited_us = event.timeline.waited_us
        if waited_us is not None:
            self._silence.observe(waited_us / 1e6)
            for part, us in event.timeline.contributions_us.items():
                self._wait.labels(part).observe(us / 1e6)

    def _failed(self, part: str, error: VoicepipeError) -> None:
        self._failures.labels(part, type(error).__name__).inc()


class _Present(Collector):
    """Reads what is so at present when somebody asks."""

    def __init__(self, door: Door, live: Mapping[str, int]) -> None:
        self._door = door
        self._live = live

    def collect(self) -> Iterable[Metric]:
        """Return the gauges. A counter has the name of the first one, so no registry may know it beforehand."""
        lag = self._door.lag
        sessions = GaugeMetricFamily("voicepipe_sessions", "Calls at present.", labels=["transport"])
        for name, count in self._live.items():
            sessions.add_metric([name], count)
        yield sessions
        p99_s = lag.p99_s(lag.at_s)  # not the present time, which is unknown outside of the loop
        yield GaugeMetricFamily("voicepipe_loop_lag_seconds", "99th percentile of ticks, last 10 s.", value=p99_s)
        yield CounterMetricFamily("voicepipe_frames_late", "Ticks that were over 10 ms late.", value=lag.late)
        yield GaugeMetricFamily("voicepipe_tick_worst_late_seconds", "The latest tick of all.", value=lag.worst_s)
        yield GaugeMetricFamily("voicepipe_draining", "Whether no call is let in.", value=self._door.is_draining)
