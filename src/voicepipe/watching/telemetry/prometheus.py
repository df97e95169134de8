"""Metrics of calls for Prometheus, with or without voicepipe's own server.

Rule 1: the figures are those of `instruments`; here they only get their form.
Rule 2: a registry has each instrument once: what counts into the same registry shares them.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import anyio

from voicepipe.core.observer import Observer
from voicepipe.errors import MissingExtra
from voicepipe.watching.telemetry.instruments import INSTRUMENTS, CallCounts, Labels
from voicepipe.watching.telemetry.loop_lag import LoopLag
from voicepipe.watching.telemetry.outcomes import ended_by

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterable

    from prometheus_client import CollectorRegistry, Counter, Histogram
    from prometheus_client.metrics_core import Metric

    from voicepipe.core.context import AnySession, SessionContext
    from voicepipe.events import Event

__all__ = ["PrometheusMetrics", "PrometheusSink"]


class PrometheusMetrics(Observer):
    """Counts what happens in calls, for Prometheus: `Pipeline(..., observers=[PrometheusMetrics()])`.

    docs/watching.md lists the metrics. `voicepipe.serving.Serve` has them at `/metrics` already, and needs no such
    observer.

    Args:
        registry: Where they are registered; that of prometheus_client by default.

    Attributes:
        registry: Where they are registered.

    Raises:
        MissingExtra: prometheus-client is not installed.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        try:
            client: Any = import_module("prometheus_client")
        except ImportError as error:
            raise MissingExtra("PrometheusMetrics", "prometheus_client", "metrics") from error
        self.registry: CollectorRegistry = client.REGISTRY if registry is None else registry
        self._sink = _SINKS.get(self.registry)
        if self._sink is None:
            self._sink = _SINKS[self.registry] = PrometheusSink(self.registry)
            self._sink.register_lag()
        self._counts: CallCounts
        self._ended_by = "cancelled"

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Watch how late the event loop is."""
        sink = cast("PrometheusSink", self._sink)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sink.lag.watch)
            yield
            tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Count one call."""
        context: SessionContext[Any] = session
        sink = cast("PrometheusSink", self._sink)
        self._counts = CallCounts(sink, sink.labels, context.tools)
        transport = sink.labels.transport(str(context.facts.get("transport", "none")))
        with sink.call(transport, lambda: self._ended_by):
            yield

    def on_event(self, event: Event) -> None:
        """Count an event."""
        self._counts.event(event)

    def on_end(self, reason: str) -> None:
        """Note who ended the call."""
        self._ended_by = ended_by(reason)


class PrometheusSink:
    """The instruments in one registry.

    Args:
        registry: Where they are registered.

    Attributes:
        labels: Bounds the values of labels.
        lag: How late the event loop is, where nobody else knows it.
        live: How many calls there are at present, by transport.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        from prometheus_client import Counter, Gauge, Histogram  # noqa: PLC0415 - an extra
        from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415
        from prometheus_client.registry import Collector  # noqa: PLC0415

        self.labels = Labels()
        self.lag = LoopLag()
        self.live: dict[str, int] = {}
        self._registry = registry
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        for name, one in INSTRUMENTS.items():
            full = f"voicepipe_{name}{'_seconds' if one.is_in_seconds else ''}"
            if one.kind == "counter":
                self._counters[name] = Counter(full, one.help, one.labels, registry=registry)
            else:
                self._histograms[name] = Histogram(full, one.help, one.labels, buckets=one.buckets, registry=registry)
        self._ended = Counter(
            "voicepipe_sessions", "Calls that have ended.", ["transport", "ended_by"], registry=registry
        )
        build = Gauge("voicepipe_build_info", "The version.", ["version"], registry=registry)
        build.labels(version("voicepipe")).set(1)
        sink = self

        class Present(Collector):
            """Reads what is so at present when somebody asks."""

            def describe(self) -> Iterable[Metric]:
                """Return nothing: a counter has the gauge's name, too, so no registry may know it beforehand."""
                return []

            def collect(self) -> Iterable[Metric]:
                """Return the gauge."""
                sessions = GaugeMetricFamily("voicepipe_sessions", "Calls at present.", labels=["transport"])
                for transport, count in sink.live.items():
                    sessions.add_metric([transport], count)
                yield sessions

        registry.register(Present())

    def register_lag(self) -> None:
        """Register how late the loop is."""
        from prometheus_client import Gauge  # noqa: PLC0415

        gauge = Gauge("voicepipe_loop_lag_seconds", "The latest tick of the last 10 s.", registry=self._registry)
        gauge.set_function(lambda: self.lag.worst_s)

    def add(self, name: str, amount: float, /, *labels: str) -> None:
        """Add to a counter."""
        counter = self._counters[name]
        (counter.labels(*labels) if labels else counter).inc(amount)

    def observe(self, name: str, value: float, /, *labels: str) -> None:
        """Take a value of a histogram."""
        histogram = self._histograms[name]
        (histogram.labels(*labels) if labels else histogram).observe(value)

    @contextmanager
    def call(self, transport: str, ended_by: Callable[[], str]) -> Generator[None]:
        """Count a call for as long as the block lasts, and then how it has ended."""
        self.live[transport] = self.live.get(transport, 0) + 1
        try:
            yield
        finally:
            self.live[transport] -= 1
            self._ended.labels(transport, ended_by()).inc()


_SINKS: WeakKeyDictionary[CollectorRegistry, PrometheusSink] = WeakKeyDictionary()
