"""Traces of calls: which spans there are, what they say, and what they must not say."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import voicepipe as vp
from voicepipe.testing import (
    Breaks,
    Calls,
    RecordingOutput,
    Refuses,
    Says,
    ScriptedGateway,
    ScriptedModel,
    ScriptedRecogniser,
    ScriptedUser,
    ScriptedVoice,
)
from voicepipe.watching.telemetry import names

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

pytestmark = pytest.mark.anyio


class Traced:
    """A provider of each kind, with exporters in memory."""

    def __init__(self, **options: Any) -> None:
        self.spans_of = InMemorySpanExporter()
        self.tracers = TracerProvider(resource=Resource({}), shutdown_on_exit=False)  # else threads look for one
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans_of))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], resource=Resource({}), shutdown_on_exit=False)
        self.observer = vp.OpenTelemetry(tracer_provider=self.tracers, meter_provider=self.meters, **options)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return sorted(self.spans_of.get_finished_spans(), key=lambda span: (span.start_time or 0, span.name))

    def named(self, begin: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name.startswith(begin)]

    def figures(self) -> dict[str, Any]:
        """Return each point of each metric, by its name and attributes."""
        found: dict[str, Any] = {}
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        labels = ",".join(
                            f"{name}={value!s}" for name, value in sorted((point.attributes or {}).items())
                        )
                        value = getattr(point, "value", None)
                        found[f"{metric.name}{{{labels}}}"] = (
                            round(getattr(point, "sum", 0.0), 6) if value is None else value
                        )
        return found


def parent_of(span: ReadableSpan, among: Sequence[ReadableSpan]) -> str:
    """Return the name of a span's parent; "" for a root."""
    parent = span.parent
    return "" if parent is None else next(one.name for one in among if one.context.span_id == parent.span_id)


def took_s(span: ReadableSpan) -> float:
    return round(((span.end_time or 0) - (span.start_time or 0)) / 1e9, 6)


@vp.tool(effect="read")
async def price(what: str) -> str:
    """Return a price."""
    await anyio.sleep(0.5)
    return f"{what}: 2 euros"


def priced(request: Any) -> Any:
    return Says("Two euros.", after_s=0.3) if request.tool_results else Calls("price", {"what": "tea"}, after_s=0.4)


def agent(model: Any, user: ScriptedUser, **options: Any) -> vp.Pipeline:
    row = user, model, vp.ToolRouter([price]), vp.SentenceChunker(), ScriptedVoice(first_audio_s=0.1)
    return vp.Pipeline(*row, output=RecordingOutput(), **options)


def asks() -> ScriptedUser:
    return ScriptedUser().says("How much is tea?", at_s=1.0, silence_s=0.2)


async def test_a_call_is_a_tree_of_spans() -> None:
    """Below the call are its turns, below a turn what was done for it, all with the times of the timeline."""
    traced = Traced(agent="shop", attributes=lambda session: {"user.id": session.facts["user"]})
    user = asks().hangs_up(at_s=5.0)
    async with agent(ScriptedModel(priced), user).session(
        observers=[traced.observer], id="call-1", facts={"user": "u7", "transport": "plain"}
    ) as session:
        (turn,) = [event async for event in session if isinstance(event, vp.TurnEnded)]
    spans = traced.spans
    assert [(span.name, parent_of(span, spans), took_s(span)) for span in spans] == [
        ("voicepipe.session", "", 5.0),
        ("invoke_agent shop", "voicepipe.session", took_s(spans[1])),
        ("speech_to_text", "invoke_agent shop", 0.2),
        ("chat ScriptedModel", "invoke_agent shop", 0.4),
        ("execute_tool price", "invoke_agent shop", 0.5),
        ("chat ScriptedModel", "invoke_agent shop", 0.3),
        ("text_to_speech ScriptedVoice", "invoke_agent shop", 0.1),
    ]
    assert {span.attributes["gen_ai.conversation.id"] for span in spans if span.attributes} == {"call-1"}
    assert {span.attributes["session.id"] for span in spans if span.attributes} == {"call-1"}
    assert {span.attributes["user.id"] for span in spans if span.attributes} == {"u7"}
    spent = {f"voicepipe.wait.{part}_s": us / 1e6 for part, us in turn.timeline.contributions_us.items()}
    about = spans[1].attributes or {}
    assert {name: value for name, value in about.items() if name.startswith("voicepipe.wait.")} == spent
    assert about["voicepipe.silence_heard_s"] == 1.5 == sum(spent.values())
    assert (about["voicepipe.outcome"], about["voicepipe.turn.number"], about["voicepipe.draft"]) == (
        "completed",
        1,
        False,
    )
    assert [event.name for event in spans[1].events] == list(turn.timeline.marks)
    first, second = (span.attributes or {} for span in traced.named("chat"))
    assert first["gen_ai.response.finish_reasons"] == ("tool_calls",)
    assert (second["gen_ai.response.finish_reasons"], second["gen_ai.response.time_to_first_chunk"]) == (
        ("stop",),
        pytest.approx(0.3),
    )
    assert {span.kind for span in traced.named("chat")} == {SpanKind.CLIENT}
    assert (spans[0].attributes or {})["voicepipe.ended_by"] == "the caller hung up"


async def test_no_word_of_a_call_is_written_by_default() -> None:
    """Neither words, nor arguments, nor results, nor prompts; also not in errors."""
    traced, user = Traced(), asks().says("And cake?", at_s=5.0).hangs_up(at_s=9.0)
    model = ScriptedModel([Calls("price", {"what": "tea"}), Says("Two euros."), Breaks("Cake is")])
    async with agent(model, user).session(observers=[traced.observer]) as session:
        await session.ended.wait()
    written = " ".join(span.to_json() for span in traced.spans).lower()
    for word in ("tea", "euros", "cake", "how much"):
        assert word not in written
    failed = traced.named("invoke_agent")[-1]
    assert (failed.status.status_code, (failed.attributes or {})["error.type"]) == (StatusCode.ERROR, "VendorError")


class Line(vp.Source):
    """A line that breaks."""

    sample_rate = 16_000

    async def frames(self) -> AsyncGenerator[bytes]:
        await anyio.sleep(1.0)
        yield bytes(640)
        raise vp.VendorError("cannot say 'How much is tea?'", vendor="shop", retryable=False)


@pytest.mark.parametrize("with_content", [False, True])
async def test_the_error_that_ends_a_call_is_quoted_only_with_content(with_content: bool) -> None:
    """The message of an error may quote the caller, so by default the span says only that it was one."""
    traced = Traced(capture_content=with_content)
    row = vp.STTStage(ScriptedRecogniser()), ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice()
    pipeline = vp.Pipeline(*row, output=RecordingOutput(), detector=None, observers=[traced.observer])
    with pytest.raises(vp.VendorError, match="How much"):
        async with pipeline.session(source=Line()) as session:
            await session.ended.wait()
    (call,) = traced.named("voicepipe.session")
    assert "tea" in str((call.attributes or {})["voicepipe.ended_by"]) if with_content else "tea" not in call.to_json()


async def test_an_observer_that_fails_still_ends_the_call() -> None:
    """Even if the application's own function raises, the span of the call is exported when the call ends."""

    def redact(text: str, kind: str) -> str:
        raise LookupError

    traced = Traced(capture_content=True, redact=redact)
    async with agent(
        ScriptedModel([Says("Two.")]), asks().hangs_up(at_s=4.0), observers=[traced.observer]
    ).session() as s:
        failed = [event async for event in s if isinstance(event, vp.ObserverFailed)]
    assert len(failed) == 1
    (call,) = traced.named("voicepipe.session")
    assert (took_s(call), (call.attributes or {})["voicepipe.ended_by"]) == (4.0, "it was not watched to its end")


async def test_content_is_written_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the option or the variable of the conventions, and never without having gone through `redact`."""
    seen: list[tuple[str, str]] = []

    def redact(text: str, kind: str) -> str:
        seen.append((kind, text))
        return text.replace("tea", "[drink]")

    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY")
    traced = Traced(redact=redact)
    async with agent(ScriptedModel(priced), asks().hangs_up(at_s=5.0)).session(observers=[traced.observer]) as session:
        await session.ended.wait()
    tool, chat = traced.named("execute_tool")[0].attributes or {}, traced.named("chat")[1].attributes or {}
    assert tool["gen_ai.tool.call.arguments"] == '{"what": "[drink]"}'
    assert tool["gen_ai.tool.call.result"] == "[drink]: 2 euros"
    sent = json.loads(str(chat["gen_ai.input.messages"]))
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert sent[0]["parts"] == [{"type": "text", "content": "How much is [drink]?"}]
    assert sent[2]["parts"][0]["response"] == "[drink]: 2 euros"
    assert json.loads(str(chat["gen_ai.output.messages"])) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "Two euros."}], "finish_reason": "stop"}
    ]
    assert {"input", "output", "heard", "sentence", "arguments", "result"} <= {kind for kind, _ in seen}
    assert "tea" not in " ".join(span.to_json() for span in traced.spans)

    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "loud")
    with pytest.raises(vp.ConfigurationError, match="must be one of FALSE, NO_CONTENT, EVENT_ONLY, TRUE, SPAN_ONLY"):
        vp.OpenTelemetry()
    vp.OpenTelemetry(capture_content=False)  # what the application says counts


async def test_a_turn_links_to_the_draft_that_it_replaces() -> None:
    """What a model was asked for a dropped draft hangs below the draft, and not below the turn that got its number."""
    traced = Traced()
    user = ScriptedUser().guesses("What", at_s=0.6).says("Where is it?", at_s=1.0).hangs_up(at_s=4.0)
    async with agent(ScriptedModel(lambda _: Says("Two.", after_s=0.2)), user).session(
        observers=[traced.observer]
    ) as session:
        await session.ended.wait()
    draft, turn = traced.named("invoke_agent")
    assert [(span.attributes or {})["voicepipe.outcome"] for span in (draft, turn)] == ["dropped", "completed"]
    assert [link.context.span_id for link in turn.links] == [draft.context.span_id]
    assert [parent.parent and parent.parent.span_id for parent in traced.named("chat")] == [
        draft.context.span_id,
        turn.context.span_id,
    ]
    assert (turn.attributes or {})["voicepipe.draft"] is False


async def test_spans_are_exported_while_the_call_goes_on() -> None:
    """What belongs to a turn is there when the turn has ended, however long the call lasts."""
    traced, user = Traced(), asks().hangs_up(at_s=3600.0)
    async with agent(ScriptedModel(priced), user).session(observers=[traced.observer]) as session:
        async for event in session:
            if isinstance(event, vp.TurnEnded):
                break
        assert [span.name for span in traced.spans].count("chat ScriptedModel") == 2
        assert traced.named("invoke_agent")
        assert not traced.named("voicepipe.session")


async def test_an_interruption_ends_every_span() -> None:
    """What was cut says so, nothing stays open, and the figures know who interrupted, and who did not."""
    traced = Traced()
    user = ScriptedUser().says("Tell me a story.", at_s=1.0).coughs(at_s=2.0, for_s=0.5)
    user.interrupts("Stop, please.", at_s=5.0).hangs_up(at_s=9.0)
    replies = [Says("One two three four five six seven eight nine ten. " * 3), Says("Fine.")]
    async with agent(ScriptedModel(replies), user).session(observers=[traced.observer]) as session:
        events = [event async for event in session]
    kinds = [type(event).__name__ for event in events]
    assert ("Resumed" in kinds, "TurnInterrupted" in kinds) == (True, True)
    cut = traced.named("invoke_agent")[0].attributes or {}
    assert cut["gen_ai.agent.invocation.end_reason"] == "interrupted"
    assert (cut["voicepipe.outcome"], cut["voicepipe.interrupted_by"]) == ("interrupted", "caller")
    assert all(span.end_time is not None and span.end_time >= (span.start_time or 0) for span in traced.spans)
    figures = traced.figures()
    assert figures["voicepipe.interruptions{by=caller}"] == figures["voicepipe.false_interruptions{}"] == 1
    assert figures["voicepipe.interruption{}"] == pytest.approx(0.3)  # the agent pauses 0.3 s after the first sound
    assert figures["voicepipe.turns{outcome=interrupted}"] == figures["voicepipe.turns{outcome=completed}"] == 1


async def test_figures_have_the_names_of_the_conventions_and_our_own() -> None:
    """Silence, its parts, tools, requests, calls: each once, and nothing of them is an id or a word."""
    traced = Traced()
    async with agent(ScriptedModel(priced), asks().hangs_up(at_s=5.0)).session(
        observers=[traced.observer], facts={"transport": "plain"}
    ) as session:
        await anyio.sleep(0.5)
        assert traced.figures()["voicepipe.sessions{transport=plain}"] == 1
        await session.ended.wait()
    figures = traced.figures()
    expected = {
        "voicepipe.sessions{transport=plain}": 0,
        "voicepipe.sessions.ended{ended_by=caller,transport=plain}": 1,
        "voicepipe.silence_heard{}": 1.5,
        "voicepipe.answer{}": 1.5,
        "voicepipe.wait{part=llm}": 0.7,
        "voicepipe.wait{part=tools}": 0.5,
        "voicepipe.first_token{}": 0.3,
        "voicepipe.first_audio{}": 0.1,
        "voicepipe.tool{status=done,tool=price}": 0.5,
        "voicepipe.tool_calls{status=done,tool=price}": 1,
        "voicepipe.loop_lag{}": 0.0,
    }
    assert {name: round(figures[name], 6) for name in expected} == expected
    asked = "gen_ai.operation.name=chat,gen_ai.provider.name=ScriptedModel,gen_ai.request.model=ScriptedModel"
    assert figures[f"gen_ai.client.inference.duration{{{asked}}}"] == pytest.approx(0.7)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # plain functions run in threads, which need real time
async def test_what_a_tool_traces_hangs_below_its_span(anyio_backend: str) -> None:
    """A tool's own spans are children of its span: those of an async function, and those of one in a thread."""
    traced = Traced()
    tracer = traced.tracers.get_tracer("application")

    @vp.tool(effect="read")
    async def ask_database() -> str:
        """Ask."""
        with tracer.start_as_current_span("SELECT"):
            await anyio.lowlevel.checkpoint()
        return "7"

    @vp.tool(effect="read")
    def ask_file() -> str:
        """Ask."""
        with tracer.start_as_current_span("read"):
            raise KeyError("file")

    model = ScriptedModel([Calls("ask_database", {}), Calls("ask_file", {}), Says("Seven.")])
    row = model, vp.ToolRouter([ask_database, ask_file]), vp.SentenceChunker(), ScriptedVoice(character_s=0.001)
    with tracer.start_as_current_span("request of the application"):
        async with vp.Pipeline(*row, output=RecordingOutput()).session(observers=[traced.observer]) as session:
            await session.user_says("Go.")
            assert trace.get_current_span().get_span_context().is_valid
    spans = traced.spans
    parents = {span.name: parent_of(span, spans) for span in spans}
    assert (parents["SELECT"], parents["read"]) == ("execute_tool ask_database", "execute_tool ask_file")
    assert parents["voicepipe.session"] == "request of the application"
    failed = traced.named("execute_tool ask_file")[0]
    assert (failed.status.status_code, (failed.attributes or {})["error.type"]) == (StatusCode.ERROR, "KeyError")


async def test_phoenix_gets_its_own_names_too() -> None:
    """With `openinference` each span has the kind that Phoenix sorts it by, and its model."""
    traced = Traced(openinference=True)
    async with agent(ScriptedModel(priced), asks().hangs_up(at_s=5.0)).session(observers=[traced.observer]) as session:
        await session.ended.wait()
    kinds = {
        span.name.partition(" ")[0]: (span.attributes or {}).get("openinference.span.kind") for span in traced.spans
    }
    assert kinds == {
        "voicepipe.session": None, "invoke_agent": "AGENT", "chat": "LLM", "execute_tool": "TOOL",
        "speech_to_text": "CHAIN", "text_to_speech": "CHAIN",
    }  # fmt: skip
    assert (traced.named("chat")[0].attributes or {})["llm.model_name"] == "ScriptedModel"


async def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named where the observer is made; a wrong option is named as well."""
    with pytest.raises(vp.ConfigurationError, match="OpenTelemetry: redact must be a function, not 'all'"):
        vp.OpenTelemetry(redact="all")  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    with pytest.raises(vp.MissingExtra, match=r"pip install 'voicepipe\[otel\]'"):
        vp.OpenTelemetry()


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("gpt-5.2 at https://api.openai.com/v1", ("gpt-5.2", "openai", "api.openai.com")),
        ("m at https://llm-gateway.assemblyai.com/v1", ("m", "assemblyai", "llm-gateway.assemblyai.com")),
        ("a at b at http://127.0.0.1:8080/v1", ("a at b", "127.0.0.1", "127.0.0.1")),
        ("MyModel", ("MyModel", "MyModel", "")),
    ],
)
def test_a_model_has_a_provider(label: str, expected: tuple[str, str, str]) -> None:
    """Who provides a model follows from its address; one of the application provides itself."""
    assert names.model_and_provider(label) == expected


async def test_requests_are_described_by_what_their_service_reports() -> None:
    """Over HTTP: the tokens that the service counted, the model that replied, and a try that failed as an event."""
    traced = Traced()
    gateway = ScriptedGateway([Refuses(503, "busy"), Says("Two euros.")])
    async with gateway.serve() as url:
        asks = {"stream_options": {"include_usage": True}}
        model = vp.LLMStreamStage(base_url=url, model="gpt-5.2", extra_body=asks)
        row = model, vp.SentenceChunker(), ScriptedVoice(character_s=0.001)
        async with vp.Pipeline(*row, output=RecordingOutput()).session(observers=[traced.observer]) as session:
            await session.user_says("How much?")
    (chat,) = traced.named("chat")
    about = chat.attributes or {}
    assert (chat.name, about["gen_ai.request.model"], about["server.address"]) == (
        "chat gpt-5.2",
        "gpt-5.2",
        "127.0.0.1",
    )
    assert int(str(about["gen_ai.usage.input_tokens"])) > 0
    assert int(str(about["gen_ai.usage.output_tokens"])) > 0
    assert about["gen_ai.response.finish_reasons"] == ("stop",)
    assert [event.name for event in chat.events] == ["voicepipe.request_retried"]
