"""Traces and metrics over the network: OpenTelemetry's own exporters send them to a receiver of the test's own."""

from __future__ import annotations

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import voicepipe as vp
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedVoice

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.anyio


class Receiver(BaseHTTPRequestHandler):
    """Takes what exporters send, as a collector does."""

    bodies: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.bodies.append((self.path, body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Write nothing."""


@contextmanager
def receiving() -> Generator[tuple[str, list[tuple[str, bytes]]]]:
    bodies: list[tuple[str, bytes]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Kept", (Receiver,), {"bodies": bodies}))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", bodies
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # exporters send in threads of their own
async def test_a_collector_gets_the_spans_and_the_figures(anyio_backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The names and the tree are in the bytes that arrive, and no word of the call is."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with receiving() as (url, bodies):
        tracers = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
        tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces")))
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{url}/v1/metrics"), export_interval_millis=3.6e6)
        meters = MeterProvider([reader], resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
        watching = vp.OpenTelemetry(tracer_provider=tracers, meter_provider=meters)
        row = ScriptedModel([Says("Two euros.")]), vp.SentenceChunker(), ScriptedVoice(character_s=0.001)
        async with vp.Pipeline(*row, output=RecordingOutput(), observers=[watching]).session(id="call-1") as session:
            await session.user_says("How much?")
        tracers.shutdown()
        meters.shutdown()
    traces = [ExportTraceServiceRequest.FromString(body) for path, body in bodies if path == "/v1/traces"]
    scopes = [scope for one in traces for resource in one.resource_spans for scope in resource.scope_spans]
    spans = [span for scope in scopes for span in scope.spans]
    ids = {span.span_id: span.name for span in spans}
    assert {span.name: ids.get(span.parent_span_id) for span in spans} == {
        "voicepipe.session": None,
        "invoke_agent voicepipe": "voicepipe.session",
        "chat ScriptedModel": "invoke_agent voicepipe",
        "text_to_speech ScriptedVoice": "invoke_agent voicepipe",
    }
    figures = [ExportMetricsServiceRequest.FromString(body) for path, body in bodies if path == "/v1/metrics"]
    sent = {
        metric.name
        for one in figures
        for resource in one.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert {"voicepipe.silence_heard", "voicepipe.turns", "gen_ai.client.inference.duration"} <= sent
    assert not any(b"euros" in body or b"How much" in body for _, body in bodies)
