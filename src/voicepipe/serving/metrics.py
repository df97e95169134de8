"""What a server counts, for prometheus_client: what happens in its calls, and what happens at its door.

Rule 1: the values of labels come from fixed sets: no ids, no numbers, no words of callers.
Rule 2: each server has a registry of its own, so that two in one process do not disturb each other.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from voicepipe.call_events import StoreFailed
from voicepipe.watching.telemetry.instruments import Bounded, CallCounts
from voicepipe.watching.telemetry.prometheus import PrometheusSink

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from prometheus_client.metrics_core import Metric

    from voicepipe.events import Event
    from voicepipe.serving.door import Door
    from voicepipe.serving.resumption import WhyNot

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The counters of one server.

    Args:
        door: Knows how late the loop is, and whether it lets calls in.
        transports: The names of the transports.
        tools: The names of the agent's tools. What a session adds, a client of it perhaps, counts as "other".

    Attributes:
        registry: Where they are registered; an application may add its own.
    """

    def __init__(self, door: Door, transports: Sequence[str], tools: Iterable[str] = ()) -> None:
        self.registry = registry = CollectorRegistry()
        self._tools = frozenset(tools)
        self._reasons = Bounded()  # a transport of the application's own has words for refusals, too
        self._sink = PrometheusSink(registry)
        self._sink.live.update(dict.fromkeys(transports, 0))
        self._refused = Counter("voicepipe_refused", "Peers that were refused.", ["reason"], registry=registry)
        self._resumed = Counter("voicepipe_resumed", "Calls that went on, or why not.", ["outcome"], registry=registry)
        self._store_failures = Counter(
            "voicepipe_store_failures", "Outages of the store, as calls met them.", ["operation"], registry=registry
        )
        registry.register(_Present(door))

    def text(self) -> bytes:
        """Return everything in the format of Prometheus."""
        return generate_latest(self.registry)

    def refused(self, reason: str) -> None:
        """Count a refusal."""
        self._refused.labels(self._reasons(reason)).inc()

    def dropped(self, where: str, seconds: float) -> None:
        """Count audio that was dropped."""
        if seconds > 0:
            self._sink.add("audio_dropped", seconds, where)

    def resumed(self, outcome: WhyNot | Literal["resumed"]) -> None:
        """Count a caller who came back: "resumed", or why their call could not go on."""
        self._resumed.labels(outcome).inc()

    def store_failed(self, operation: Literal["claim", "write"]) -> None:
        """Count an outage of the store that a caller who came back has met, or a call that was to be kept."""
        self._store_failures.labels(operation).inc()

    @contextmanager
    def call(self, transport: str, ended_by: Callable[[], str]) -> Generator[None]:
        """Count a call for as long as the block lasts, and then how it has ended."""
        with self._sink.call(transport, ended_by):
            yield

    def observer(self) -> Callable[[Event], None]:
        """Return what counts the events of one session."""
        count = CallCounts(self._sink, self._sink.labels, self._tools).event

        def note(event: Event) -> None:
            if isinstance(event, StoreFailed):
                self.store_failed("write")
            count(event)

        return note


class _Present(Collector):
    """Reads what is so at present when somebody asks."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def collect(self) -> Iterable[Metric]:
        """Return the state of the door and of the loop."""
        lag = self._door.lag
        p99_s = lag.p99_s(lag.at_s)  # not the present time, which is unknown outside of the loop
        yield GaugeMetricFamily("voicepipe_loop_lag_seconds", "99th percentile of ticks, last 10 s.", value=p99_s)
        yield CounterMetricFamily("voicepipe_frames_late", "Ticks that were over 10 ms late.", value=lag.late)
        yield GaugeMetricFamily("voicepipe_tick_worst_late_seconds", "The latest tick of all.", value=lag.worst_s)
        yield GaugeMetricFamily("voicepipe_draining", "Whether no call is let in.", value=self._door.is_draining)
