"""The metrics of a fleet: what each worker counts, with a label that says which one, and what the gateway knows.

Rule 1: values of labels come from fixed sets: workers are numbered by their place, which a successor takes over.
Rule 2: a worker's series are added up by who reads them (`sum without (worker)`); what only the gateway knows has names
        of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prometheus_client.metrics_core import Metric

    from voicepipe.fleet.engine import Engine

__all__ = ["FleetMetrics"]

OUTCOMES = ("passed", "refused", "unreachable", "interrupted", "unknown")


class FleetMetrics:
    """What a gateway counts.

    Args:
        engine: Knows the workers.
    """

    def __init__(self, engine: Engine) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "voicepipe_gateway_requests", "Requests, by what came of them.", ["outcome"], registry=self._registry
        )
        for outcome in OUTCOMES:
            self._requests.labels(outcome)
        self._engine = engine
        self._registry.register(_Fleet(engine))

    def request(self, outcome: str) -> None:
        """Count a request."""
        self._requests.labels(outcome).inc()

    def text(self, of_workers: Mapping[int, bytes]) -> bytes:
        """Return everything in the format of Prometheus.

        Args:
            of_workers: What each worker has answered, by its index.
        """
        registry = CollectorRegistry()
        registry.register(_Workers(of_workers))
        return generate_latest(self._registry) + generate_latest(registry)


class _Fleet(Collector):
    """Reads the present state of a fleet when somebody asks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterable[Metric]:
        """Return the state of the fleet."""
        loads = [worker.load for worker in self._engine.workers()]
        workers = GaugeMetricFamily("voicepipe_fleet_workers", "Workers, by what they do.", labels=["state"])
        ready = sum(load.is_ready for load in loads)
        draining = sum(load.is_draining for load in loads)
        for state, count in (("ready", ready), ("draining", draining), ("busy", len(loads) - ready - draining)):
            workers.add_metric([state], count)
        yield workers
        calls = sum(load.calls for load in loads)
        yield GaugeMetricFamily("voicepipe_fleet_calls", "Calls of all workers.", value=calls)
        places = sum(load.places for load in loads if not load.is_draining)
        yield GaugeMetricFamily("voicepipe_fleet_places", "Calls that all workers take at a time.", value=places)
        yield CounterMetricFamily(
            "voicepipe_fleet_workers_lost", "Workers that ended unasked.", value=self._engine.lost
        )
        yield CounterMetricFamily(
            "voicepipe_fleet_workers_replaced", "Workers that were replaced by request.", value=self._engine.replaced
        )


class _Workers(Collector):
    """Joins what several workers have answered: series of one name belong together."""

    def __init__(self, of_workers: Mapping[int, bytes]) -> None:
        self._of_workers = of_workers

    def collect(self) -> Iterable[Metric]:
        """Return the series of all workers."""
        families: dict[tuple[str, str], Metric] = {}  # by name and type: a counter's name may be that of a gauge
        for index, text in sorted(self._of_workers.items()):
            for family in text_string_to_metric_families(text.decode(errors="replace")):
                known = families.setdefault((family.name, family.type), family)
                samples = [sample._replace(labels={**sample.labels, "worker": str(index)}) for sample in family.samples]
                known.samples = samples if known is family else [*known.samples, *samples]
        return families.values()
