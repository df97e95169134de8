"""Metrics of calls as instruments of OpenTelemetry.

Rule 1: the figures are those of `instruments`, and those of the conventions; here they only get their form.
Rule 2: a provider has each instrument once: what counts into the same provider shares them.
"""

from __future__ import annotations

from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from opentelemetry import metrics
from opentelemetry.metrics import Observation

from voicepipe.watching.telemetry import names
from voicepipe.watching.telemetry.instruments import INSTRUMENTS, Labels
from voicepipe.watching.telemetry.loop_lag import LoopLag

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, MeterProvider

    from voicepipe.watching.telemetry.request_span import RequestTimes

__all__ = ["Meters", "meters_of"]


class Meters:
    """The instruments of one provider.

    Args:
        meter: Makes them.

    Attributes:
        labels: Bounds the values of labels.
        lag: How late the event loop is.
    """

    def __init__(self, meter: Meter) -> None:
        self.labels = Labels()
        self.lag = LoopLag()
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self._labelled: dict[tuple[str, tuple[str, ...]], dict[str, str]] = {}
        for name, one in INSTRUMENTS.items():
            full, unit = f"voicepipe.{name}", "s" if one.is_in_seconds else "1"
            if one.kind == "counter":
                self._counters[name] = meter.create_counter(full, unit, one.help)
            else:
                self._histograms[name] = _histogram(meter, full, one.help, one.buckets)
        self._live = meter.create_up_down_counter("voicepipe.sessions", "1", "Calls at present.")
        self._ended = meter.create_counter("voicepipe.sessions.ended", "1", "Calls that have ended.")
        self._inference = _histogram(meter, names.INFERENCE_S, "How long requests to models took.", names.BUCKETS_S)
        self._first_chunk = _histogram(meter, names.FIRST_CHUNK_S, "Until the reply began.", names.BUCKETS_S)
        self._tokens_in = meter.create_counter(names.TOKENS_IN, "{token}", "Tokens of requests.")
        self._tokens_out = meter.create_counter(names.TOKENS_OUT, "{token}", "Tokens of replies.")
        meter.create_observable_gauge(
            "voicepipe.loop_lag", [self._lag], "s", "The latest tick of the event loop in the last 10 s."
        )

    def add(self, name: str, amount: float, /, *labels: str) -> None:
        """Add to a counter."""
        self._counters[name].add(amount, self._attributes(name, labels))

    def observe(self, name: str, value: float, /, *labels: str) -> None:
        """Take a value of a histogram."""
        self._histograms[name].record(value, self._attributes(name, labels))

    def _attributes(self, name: str, labels: tuple[str, ...]) -> dict[str, str]:
        known = self._labelled.get((name, labels))
        if known is None:  # there are few: the values of labels are bounded
            known = self._labelled[name, labels] = dict(zip(INSTRUMENTS[name].labels, labels, strict=True))
        return known

    @contextmanager
    def call(self, transport: str, ended_by: Callable[[], str]) -> Generator[None]:
        """Count a call for as long as the block lasts, and then how it has ended."""
        self._live.add(1, {"transport": transport})
        try:
            yield
        finally:
            self._live.add(-1, {"transport": transport})
            self._ended.add(1, {"transport": transport, "ended_by": ended_by()})

    def request(self, took: RequestTimes) -> None:
        """Take what a request to a model took, by the names of the conventions."""
        attributes = {
            names.OPERATION: "chat",
            names.PROVIDER: took.provider,
            names.REQUEST_MODEL: self.labels.model(took.model),
        }
        self._inference.record(took.took_s, attributes | ({names.ERROR: took.error} if took.error else {}))
        if took.first_s is not None:
            self._first_chunk.record(took.first_s, attributes)
        if took.input_tokens:
            self._tokens_in.add(took.input_tokens, attributes)
        if took.output_tokens:
            self._tokens_out.add(took.output_tokens, attributes)

    def _lag(self, options: CallbackOptions) -> Iterable[Observation]:
        del options
        yield Observation(self.lag.worst_s)


def meters_of(provider: MeterProvider | None) -> Meters:
    """Return the instruments of a provider; of the global one by default."""
    provider = metrics.get_meter_provider() if provider is None else provider
    if provider not in _METERS:
        _METERS[provider] = Meters(provider.get_meter("voicepipe", version("voicepipe"), names.SCHEMA_URL))
    return _METERS[provider]


def _histogram(meter: Meter, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
    return meter.create_histogram(name, "s", text, explicit_bucket_boundaries_advisory=buckets)


_METERS: Final[dict[MeterProvider, Meters]] = {}
