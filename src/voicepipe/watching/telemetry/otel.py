"""Traces and metrics of calls for OpenTelemetry. The application brings the SDK and the exporter.

Rule 1: nothing of OpenTelemetry is imported before an `OpenTelemetry` is made.
Rule 2: no words of a call are written unless the application asks for it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast

import anyio

from voicepipe.core.observer import Observer
from voicepipe.errors import ConfigurationError, MissingExtra
from voicepipe.hearing.recogniser import NoRecogniser
from voicepipe.watching.telemetry import names
from voicepipe.watching.telemetry.content import Content, is_wanted
from voicepipe.watching.telemetry.instruments import CallCounts
from voicepipe.watching.telemetry.outcomes import ended_by

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from contextlib import AbstractContextManager

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Tracer, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from voicepipe.core.context import AnySession, SessionContext
    from voicepipe.events import Event
    from voicepipe.observed import Exchange, ToolAsked
    from voicepipe.watching.telemetry.content import Kind
    from voicepipe.watching.telemetry.meters import Meters
    from voicepipe.watching.telemetry.spans import CallSpans

__all__ = ["OpenTelemetry"]


class OpenTelemetry(Observer):
    """Traces and metrics of calls: `Pipeline(..., observers=[OpenTelemetry()])`.

    A call is a span, below it are its turns, and below each turn what the recogniser, the model, the tools and the
    voice did for it. The names are those of OpenTelemetry's conventions for generative AI, see docs/watching.md.

    A tool runs with its span as the current one, so what it traces itself hangs below it.

    Args:
        agent: What the agent is called.
        capture_content: Whether the words of the call are written: what caller and agent said, prompts, arguments and
            results of tools. None does what OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT says, by default no.
        redact: Gets each text that would be written, and what it is, and returns what may be written.
        attributes: Returns what each span of a call has in addition, from its session: `{"user.id": "42"}`.
        openinference: Whether the attributes of OpenInference, which Phoenix reads, are written as well.
        tracer_provider: Makes the spans; the global one by default.
        meter_provider: Makes the instruments; the global one by default.

    Raises:
        ConfigurationError: An option does not fit.
        MissingExtra: opentelemetry-api is not installed.
    """

    def __init__(
        self,
        *,
        agent: str = "voicepipe",
        capture_content: bool | None = None,
        redact: Callable[[str, Kind], str] | None = None,
        attributes: Callable[[Any], Mapping[str, AttributeValue]] | None = None,
        openinference: bool = False,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        for name, function in (("redact", redact), ("attributes", attributes)):
            if function is not None and not callable(function):
                raise ConfigurationError(f"OpenTelemetry: {name} must be a function, not {function!r}")
        try:
            self._api: Any = import_module("opentelemetry.trace")
        except ImportError as error:
            raise MissingExtra("OpenTelemetry", "opentelemetry", "otel") from error
        self._agent = agent
        self._content = Content(redact) if is_wanted(capture_content) else None
        self._attributes = attributes
        self._openinference = openinference
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider
        self._tracer: Tracer
        self._meters: Meters
        self._spans: CallSpans
        self._counts: CallCounts
        self._ended_by = "cancelled"

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Get the tracer and the instruments, and watch how late the event loop is."""
        from voicepipe.watching.telemetry.meters import meters_of  # noqa: PLC0415 - it imports OpenTelemetry

        self._tracer = self._api.get_tracer("voicepipe", version("voicepipe"), self._tracer_provider, names.SCHEMA_URL)
        self._meters = meters_of(self._meter_provider)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._meters.lag.watch)
            yield
            tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Begin the span of a call, below the span that is the current one where the session was opened."""
        from voicepipe.watching.telemetry.spans import CallSpans  # noqa: PLC0415 - it imports OpenTelemetry

        context: SessionContext[Any] = session
        meters = self._meters
        transport = str(context.facts.get("transport", ""))
        self._counts = CallCounts(meters, meters.labels, context.tools)
        self._spans = spans = CallSpans(
            self._tracer,
            context.id,
            agent=self._agent,
            recogniser="" if isinstance(context.recogniser, NoRecogniser) else cast("Any", context.recogniser).name,
            content=self._content,
            attributes={} if self._attributes is None else self._attributes(session),
            transport=transport,
            openinference=self._openinference,
            measured=meters.request,
        )
        try:
            with meters.call(meters.labels.transport(transport or "none"), lambda: self._ended_by):
                yield
        finally:
            spans.closed()

    def on_event(self, event: Event) -> None:
        """Trace and count an event."""
        self._counts.event(event)
        self._spans.event(event)

    def on_exchange(self, exchange: Exchange) -> None:
        """Trace what a part was given, or gave."""
        self._spans.exchange(exchange)

    def around_tool(self, call: ToolAsked) -> AbstractContextManager[object]:
        """Make the tool's span the current one."""
        return self._spans.around_tool(call)

    def on_end(self, reason: str) -> None:
        """End the spans of the call."""
        self._ended_by = ended_by(reason)
        self._spans.ended(reason)
