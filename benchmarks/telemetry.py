"""What traces and metrics cost: the same calls with and without an `OpenTelemetry` observer, side by side.

The provider is OpenTelemetry's SDK; its exporter takes the spans in batches, in its thread, and drops them. The CPU is
that of `scale`: 50 calls that speak most of the time, each number measured in a process of its own on a simulated core.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from statistics import median

import anyio
import anyio.lowlevel
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

import voicepipe as vp
from benchmarks._figures import Figure, percentile
from benchmarks.parts import Ears, Voice, called
from benchmarks.scale import measured
from voicepipe.testing import Says, ScriptedModel

__all__ = ["observer", "telemetry"]

CALLS = 50
TRIES = 6  # in turns; the load of other processes only adds to the CPU of one
SESSIONS = 200
TURNS = 800
REPLY = "Your parcel left our depot. You can expect it on Thursday."


class Nowhere(SpanExporter):
    """Takes spans and drops them."""

    def export(self, spans):
        del spans
        return SpanExportResult.SUCCESS

    def shutdown(self):
        pass


class Timed(vp.OpenTelemetry):
    """Notes the CPU that it uses."""

    lateness = None

    def on_event(self, event):
        began_s = time.thread_time()
        super().on_event(event)
        self._note(began_s)

    def on_exchange(self, exchange):
        began_s = time.thread_time()
        super().on_exchange(exchange)
        self._note(began_s)

    def _note(self, began_s):
        if self.lateness.is_on:
            self.lateness.observing_s += time.thread_time() - began_s


def observer(lateness=None) -> vp.OpenTelemetry:
    """Return an observer whose spans and figures go nowhere."""
    tracers = TracerProvider(resource=Resource({}))
    tracers.add_span_processor(BatchSpanProcessor(Nowhere()))
    meters = MeterProvider([InMemoryMetricReader()], resource=Resource({}))
    if lateness is None:
        return vp.OpenTelemetry(tracer_provider=tracers, meter_provider=meters)
    watching = Timed(tracer_provider=tracers, meter_provider=meters)
    watching.lateness = lateness
    return watching


@asynccontextmanager
async def _sessions(observers: list[vp.Observer]):
    """Hold many calls, which are silent unless they are asked."""
    row = Ears(), ScriptedModel(lambda _: Says(REPLY)), vp.SentenceChunker(), Voice(first_audio_s=0.0, frames=2)
    async with vp.Pipeline(*row, observers=observers).open() as host, called(host, SESSIONS, real_time=False) as calls:
        yield calls


async def telemetry() -> list[Figure]:
    """Measure the CPU of 50 calls, and what 200 sessions add to the first frame of a turn."""
    plain, traced, observing = [], [], []
    for _ in range(TRIES):
        plain.append((await measured("held_calls", CALLS)).cpu_percent)
        found = await measured("traced_calls", CALLS)
        traced.append(found.cpu_percent)
        observing.append(found.observing_percent)
    waits_ms: tuple[list[float], list[float]] = ([], [])
    async with _sessions([]) as without, _sessions([observer()]) as with_it:
        for number in range(TURNS):
            for calls, found in zip((without, with_it), waits_ms, strict=True):  # in turns
                call = calls[number % SESSIONS]
                asked_s = await call.ask(f"Where is parcel {number}?")
                found.append((await call.output.wait_first_frame() - asked_s) * 1e3)
                await call.wait_done()
                await anyio.lowlevel.checkpoint()
    quiet_ms, watched_ms = waits_ms
    return [
        Figure(f"telemetry: CPU of {CALLS} calls without it, the least of {TRIES}", min(plain), "% of a core"),
        Figure("telemetry: CPU of the same calls with OpenTelemetry", min(traced), "% of a core"),
        Figure("telemetry: of which in the observer itself", min(observing), "% of a core", 2),
        Figure(f"telemetry: {SESSIONS} sessions, transcript to first frame without it, median", median(quiet_ms), "ms"),
        Figure("telemetry: the same with OpenTelemetry, median", median(watched_ms), "ms"),
        Figure("telemetry: the same without it, p99", percentile(quiet_ms, 99), "ms"),
        Figure("telemetry: the same with OpenTelemetry, p99", percentile(watched_ms, 99), "ms"),
    ]
