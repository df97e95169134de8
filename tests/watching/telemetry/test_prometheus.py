"""Metrics of calls for Prometheus, in an application without voicepipe's own server."""

from __future__ import annotations

import sys
from typing import Any

import anyio
import pytest
from prometheus_client import CollectorRegistry, generate_latest

import voicepipe as vp
from voicepipe.testing import Breaks, Calls, RecordingOutput, Says, ScriptedModel, ScriptedUser, ScriptedVoice
from voicepipe.watching.telemetry.instruments import INSTRUMENTS, Bounded

pytestmark = pytest.mark.anyio

STORY = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen."


@vp.tool(effect="read")
async def price() -> str:
    """Return a price."""
    await anyio.sleep(0.25)
    return "2 euros"


def agent(*replies: Any, user: ScriptedUser, observers: list[vp.Observer]) -> vp.Pipeline:
    row = user, ScriptedModel(list(replies)), vp.ToolRouter([price]), vp.SentenceChunker(), ScriptedVoice()
    return vp.Pipeline(*row, output=RecordingOutput(), observers=observers)


def value(registry: CollectorRegistry, name: str, /, **labels: str) -> float | None:
    return registry.get_sample_value(f"voicepipe_{name}", labels)


async def test_calls_are_counted_in_the_registry_of_the_application() -> None:
    """Turns, waits, tools, interruptions true and false, calls: by the names that dashboards know."""
    registry = CollectorRegistry()
    user = ScriptedUser().says("How much is it?", at_s=1.0, silence_s=0.2)
    user.says("Tell me a story.", at_s=4.0).coughs(at_s=5.0, for_s=0.5).interrupts("Stop, please.", at_s=8.0)
    user.says("And now?", at_s=12.0).hangs_up(at_s=15.0)
    replies = [Calls("price", {}, after_s=0.4), Says("Two."), Says(STORY), Says("Fine."), Breaks("Now")]
    watching = [vp.PrometheusMetrics(registry), vp.LatencyBudget(first_audio_s=0.5)]
    async with agent(*replies, user=user, observers=[*watching]).session(facts={"transport": "plain"}) as session:
        assert value(registry, "sessions", transport="plain") == 1
        events = [event async for event in session]
    turns = [event for event in events if isinstance(event, vp.TurnEnded)]
    assert [type(turn).__name__ for turn in turns] == [
        "TurnCompleted", "TurnInterrupted", "TurnCompleted", "TurnFailed",
    ]  # fmt: skip
    expected: dict[tuple[str, tuple[str, ...]], float] = {
        ("turns_total", ("outcome=completed",)): 2,
        ("turns_total", ("outcome=interrupted",)): 1,
        ("turns_total", ("outcome=failed",)): 1,
        ("silence_heard_seconds_count", ()): 4,
        ("interruptions_total", ("by=caller",)): 1,
        ("false_interruptions_total", ()): 1,
        ("interruption_seconds_sum", ()): 0.3,
        ("tool_calls_total", ("tool=price", "status=done")): 1,
        ("tool_seconds_sum", ("tool=price", "status=done")): 0.25,
        ("failures_total", ("part=turn", "error=VendorError")): 1,
        ("budget_exceeded_total", ("name=first_audio",)): 1,
        ("sessions", ("transport=plain",)): 0,
        ("sessions_total", ("transport=plain", "ended_by=caller")): 1,
        ("loop_lag_seconds", ()): 0,
    }
    found = {
        (name, labels): round(value(registry, name, **dict(one.split("=") for one in labels)) or 0, 6)
        for name, labels in expected
    }
    assert found == expected
    waited_s = sum(turn.timeline.waited_us or 0 for turn in turns) / 1e6
    assert value(registry, "silence_heard_seconds_sum") == pytest.approx(waited_s)
    text = generate_latest(registry).decode()
    assert "How much" not in text
    assert all(f"# TYPE voicepipe_{name}" in text for name in INSTRUMENTS)


async def test_what_is_lost_counts_as_a_failure_and_a_reconnect() -> None:
    """A recogniser, a microphone and a server of tools that are lost count by part, and so do their reconnects."""
    registry, error = CollectorRegistry(), vp.VendorError("gone", vendor="shop", retryable=True)
    observed = agent(user=ScriptedUser(), observers=[vp.PrometheusMetrics(registry)])
    async with observed.session() as session:
        session.emit(vp.RecogniserLost(error=error))
        session.emit(vp.MicrophoneLost(error=error))
        session.emit(vp.ToolServerLost(server="shop", error=error))
    for part in ("stt", "microphone", "tool_server"):
        assert value(registry, "failures_total", part=part, error="VendorError") == 1
        assert value(registry, "reconnects_total", part=part) == 1


async def test_two_observers_share_one_registry() -> None:
    """A second agent of the process counts into the same instruments, and a label has a bounded number of values."""
    registry = CollectorRegistry()
    for number in range(2):
        user = ScriptedUser().says("How much is it?", at_s=1.0).hangs_up(at_s=2.0 + number)
        watching = vp.PrometheusMetrics(registry)
        async with agent(Says("Two."), user=user, observers=[watching]).session() as session:
            await session.ended.wait()
    assert value(registry, "turns_total", outcome="completed") == 2
    assert value(registry, "sessions_total", transport="none", ended_by="caller") == 2
    bounded = Bounded(2)
    assert [bounded(one) for one in ("a", "b", "c", "a")] == ["a", "b", "other", "a"]


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named where the observer is made."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(vp.MissingExtra, match=r"pip install 'voicepipe\[metrics\]'"):
        vp.PrometheusMetrics()
