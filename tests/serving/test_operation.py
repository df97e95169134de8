"""A server in operation: health, metrics, and how it stops."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import anyio
import httpx
import pytest
from websockets.exceptions import InvalidStatus

import voicepipe as vp
from tests.helpers.plain_transport import FRAME, RATE, Caller, Plain, agent, calling
from voicepipe.serving import Limits, Serve
from voicepipe.serving.uvicorn_server import Server, bound, configured
from voicepipe.testing import Breaks, Calls, Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice

pytestmark = pytest.mark.anyio


async def get(port: int, path: str, **headers: str) -> tuple[int, str]:
    async with httpx.AsyncClient(trust_env=False) as client:
        reply = await client.get(f"http://127.0.0.1:{port}{path}", headers=headers)
    return reply.status_code, reply.text


@asynccontextmanager
async def stoppable(serve: Serve[Any], drain_s: float) -> AsyncGenerator[tuple[int, Server, anyio.Event]]:
    """Run a server; yield its port, the server, and what is set when it has stopped."""
    stopped = anyio.Event()
    with bound("127.0.0.1", 0) as listener:
        async with serve.lifespan(), anyio.create_task_group() as tasks:
            server = Server(configured(serve.app), serve.desk, drain_s)

            async def run() -> None:
                await server.serve([listener])
                stopped.set()

            tasks.start_soon(run)
            await server.listens.wait()
            yield listener.getsockname()[1], server, stopped
            server.stop()
            server.stop()


async def keep_speaking(caller: Caller) -> None:
    while True:
        await caller.socket.send(FRAME)
        await anyio.sleep(0.02)


# --- health -----------------------------------------------------------------------------------------------------------


async def test_live_and_ready() -> None:
    """A server is live while it answers, and says in words why it takes no calls."""
    serve = Serve(agent(), [Plain()], limits=Limits(sessions=1))
    async with serve.listening() as port:
        answers = [await get(port, "/live"), await get(port, "/ready")]
        async with calling(port) as caller:
            await caller.hello()
            await caller.speak(0.1)
            answers.append(await get(port, "/ready"))
        await serve.desk.wait_empty()
        serve.desk._door.lag.note(anyio.current_time(), 0.3)
        answers += [await get(port, "/ready"), await get(port, "/live")]
    assert answers == [
        (200, "live"),
        (200, "ready"),
        (503, "full: all 1 lines are busy"),
        (503, "lag: the server is overloaded"),
        (200, "live"),
    ]


@pytest.mark.parametrize("trusted", [(), ("192.0.2.1",), ("127.0.0.1",)])
@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
async def test_a_stranger_behind_a_proxy_on_this_machine(name: str, trusted: tuple[str, ...]) -> None:
    """Who calls through a proxy comes from elsewhere, whether the proxy is named or not, and needs a proof."""
    serve = Serve(agent(), [Plain()])
    config = configured(serve.app, trusted_proxies=trusted)
    with bound("127.0.0.1", 0) as listener:
        async with serve.lifespan(), anyio.create_task_group() as tasks:
            server = Server(config, serve.desk)
            tasks.start_soon(server.serve, [listener])
            await server.listens.wait()
            headers = {name: "192.0.2.7"}
            try:
                async with calling(listener.getsockname()[1], additional_headers=headers) as caller:
                    found = caller.socket.response.status_code
            except InvalidStatus as error:
                found = error.response.status_code
            server.stop()
            server.stop()
    assert found == 403


# --- metrics ----------------------------------------------------------------------------------------------------------


def samples(text: str) -> dict[str, float]:
    """Return what was counted, without zeros and without buckets."""
    found = re.findall(r"^(voicepipe_[^ ]+) ([^ ]+)$", text, re.MULTILINE)
    return {
        name: float(value) for name, value in found if float(value) and "_bucket" not in name and "_created" not in name
    }


async def test_what_is_counted() -> None:
    """Calls, how they ended, turns, waits, tools, tokens and refusals, with labels from fixed sets."""

    @vp.tool
    async def weather() -> str:
        """Return the weather."""
        await anyio.sleep(0.25)
        return "sunny"

    ears = ScriptedRecogniser().says("Weather?", at_s=0.4, speech_s=0.3, silence_s=0.1)
    row = vp.Pipeline(
        vp.STTStage(ears),
        ScriptedModel([Calls("weather", {}), Says("It is sunny.")]),
        vp.ToolRouter([weather]),
        vp.SentenceChunker(),
        ScriptedVoice(character_s=0.01, sample_rate=RATE),
        detector=None,
    )
    serve = Serve(row, [Plain()])
    async with serve.listening() as port:
        async with calling(port) as caller:
            await caller.hello()
            await caller.speak(1.5)
            during = samples((await get(port, "/metrics"))[1])
            await caller.socket.send("bye")
            await caller.wait_closed()
        async with calling(port) as caller:
            await caller.socket.send("{")
            await caller.wait_closed()
        with pytest.raises(InvalidStatus):
            async with calling(port, origin="https://evil.example"):
                pass
        after = samples((await get(port, "/metrics"))[1])
    assert during['voicepipe_sessions{transport="plain"}'] == 1
    expected = {
        'voicepipe_sessions_total{ended_by="caller",transport="plain"}': 1,
        'voicepipe_sessions_total{ended_by="refused",transport="plain"}': 1,
        'voicepipe_refused_total{reason="malformed"}': 1,
        'voicepipe_refused_total{reason="origin"}': 1,
        'voicepipe_turns_total{outcome="completed"}': 1,
        "voicepipe_silence_heard_seconds_count": 1,
        'voicepipe_tool_calls_total{status="done",tool="weather"}': 1,
        'voicepipe_tool_seconds_sum{status="done",tool="weather"}': 0.25,
        'voicepipe_build_info{{version="{}"}}'.format(version("voicepipe")): 1,
    }
    assert {name: round(after.get(name, 0.0), 3) for name in expected} == expected
    waits = sum(value for name, value in after.items() if name.startswith("voicepipe_wait_seconds_sum"))
    assert waits == pytest.approx(after["voicepipe_silence_heard_seconds_sum"])
    assert 'voicepipe_sessions{transport="plain"}' not in after


async def test_failures_are_counted_by_class() -> None:
    """A turn that fails is counted with the class of its error, and never with its words."""
    ears = ScriptedRecogniser().says("Hello?", at_s=0.2)
    model = ScriptedModel([Breaks("Secret words.")] * 9)
    row = vp.Pipeline(vp.STTStage(ears), model, vp.SentenceChunker(), ScriptedVoice(sample_rate=RATE), detector=None)
    serve = Serve(row, [Plain()])
    async with serve.listening() as port:
        async with calling(port) as caller:
            await caller.hello()
            await caller.speak(8.0)
        await serve.desk.wait_empty()
        text = (await get(port, "/metrics"))[1]
    assert samples(text)['voicepipe_turns_total{outcome="failed"}'] == 1
    assert 'voicepipe_failures_total{error="VendorError",part="turn"}' in samples(text)
    assert "ecret words" not in text


async def test_who_may_read_the_metrics() -> None:
    """Without a token, requests from this machine may, except those of a proxy; with one, those that have it."""
    async with Serve(agent(), [Plain()]).listening() as port:
        assert (await get(port, "/metrics"))[0] == 200
        assert (await get(port, "/metrics", **{"X-Forwarded-For": "192.0.2.7"}))[0] == 403
    async with Serve(agent(), [Plain()], metrics_token="s3cret").listening() as port:
        assert (await get(port, "/metrics"))[0] == 403
        assert (await get(port, "/metrics", Authorization="Bearer s3cre"))[0] == 403
        assert (await get(port, "/metrics", Authorization="Bearer s3cret"))[0] == 200


async def test_names_of_tools_that_a_caller_brings_are_no_labels() -> None:
    """What a session adds to the agent's tools counts as "other": a client names its functions as it likes."""
    metrics = Serve(agent(), [Plain()]).desk.metrics
    async with Serve(agent(), [Plain()]).lifespan():
        note = metrics.observer()
        for number in range(100):
            note(vp.ToolFinished(turn_id=1, call_id=str(number), name=f"tool-{number}", status="done"))
        counted = samples(metrics.text().decode())
    assert counted['voicepipe_tool_calls_total{status="done",tool="other"}'] == 100
    assert len([name for name in counted if "tool" in name]) == 1


async def test_words_of_a_transport_of_your_own_are_bounded() -> None:
    """A transport that makes up a reason for each refusal does not fill the registry."""
    metrics = Serve(agent(), [Plain()]).desk.metrics
    async with Serve(agent(), [Plain()]).lifespan():
        for number in range(1_000):
            metrics.refused(f"reason-{number}")
        counted = samples(metrics.text().decode())
    assert len([name for name in counted if "refused" in name]) == 33
    assert counted['voicepipe_refused_total{reason="other"}'] == 968


def test_metrics_can_be_read_in_any_thread() -> None:
    """An application that publishes the registry by itself reads it where no event loop runs."""
    metrics = Serve(agent(), [Plain()]).desk.metrics
    assert samples(metrics.text().decode()).keys() == {
        'voicepipe_build_info{{version="{}"}}'.format(version("voicepipe"))
    }


# --- stopping ---------------------------------------------------------------------------------------------------------


async def test_the_first_signal_drains() -> None:
    """Nobody new gets in, the call goes on for as long as it wants, and the server stops when it has ended."""
    serve = Serve(agent(), [Plain()])
    async with stoppable(serve, 600.0) as (port, server, stopped), calling(port) as caller:
        await caller.hello()
        await caller.speak(0.1)
        server.stop()
        await caller.speak(1.0)
        answers = [await get(port, "/ready"), await get(port, "/live")]
        with pytest.raises(InvalidStatus) as caught:
            async with calling(port):
                pass
        await caller.speak(10.0)
        assert not stopped.is_set()
        await caller.socket.send("bye")
        assert await caller.wait_closed() == 1000
        await stopped.wait()
    assert answers == [(503, "draining: the server is stopping"), (200, "live")]
    assert (caught.value.response.status_code, caught.value.response.headers["retry-after"]) == (503, "1")


async def test_what_is_left_at_the_deadline_ends_between_two_turns() -> None:
    """At the deadline a reply is still heard to its end; then the transport says that the server restarts, and 1012."""
    sessions: list[vp.Session] = []
    serve = Serve(agent(character_s=0.2), [Plain()], on_call=sessions.append)
    async with stoppable(serve, 1.0) as (port, server, stopped), calling(port) as caller:
        await caller.hello()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep_speaking, caller)
            await caller.wait_audio()  # the reply takes 3 s
            server.stop()
            assert await caller.wait_closed() == 1012
            tasks.cancel_scope.cancel()
        await stopped.wait()
    assert caller.texts == [{"type": "restarts"}]
    assert [message.text for message in sessions[0].history][-1] == "You said Hello?"


async def test_the_second_signal_ends_at_once() -> None:
    """A second signal does not wait for any reply."""
    serve = Serve(agent(character_s=1.0), [Plain()])
    async with stoppable(serve, 600.0) as (port, server, stopped), calling(port) as caller:
        await caller.hello()
        await caller.speak(1.0)
        server.stop()
        await anyio.sleep(1.0)
        began_s = anyio.current_time()
        server.stop()
        assert await caller.wait_closed() == 1012
        await stopped.wait()
        assert anyio.current_time() - began_s < 1.0


async def test_two_signals_at_the_same_time() -> None:
    """Two signals before the loop has run once are two."""
    serve = Serve(agent(), [Plain()])
    async with stoppable(serve, 600.0) as (port, server, stopped), calling(port) as caller:
        await caller.hello()
        await caller.speak(0.2)
        server.stop()
        server.stop()
        assert await caller.wait_closed() == 1012
        await stopped.wait()


async def test_a_call_that_has_not_begun_is_cut_by_the_drain() -> None:
    """A peer that has not said its first message has nothing to lose."""
    serve = Serve(agent(), [Plain()])
    async with stoppable(serve, 0.0) as (port, server, stopped), calling(port) as caller:
        server.stop()
        assert await caller.wait_closed() == 1012
        await stopped.wait()


async def test_several_may_wait_for_the_end() -> None:
    """An application that drains, and one that is closed meanwhile, both go on when the last call has ended."""
    serve = Serve(agent(), [Plain()])
    async with serve.listening() as port:
        async with anyio.create_task_group() as tasks:
            async with calling(port) as caller:
                await caller.hello()
                for _ in range(2):
                    tasks.start_soon(serve.drain, 600)
                    await anyio.sleep(0.1)
            ended_s = anyio.current_time()
        assert anyio.current_time() - ended_s < 5


async def test_a_transport_without_a_word_for_restarts() -> None:
    """`Transport.restarts` is `finish` by default."""
    said: list[str] = []

    class Silent(Plain):
        async def finish(self, peer: Any, line: Any, session: Any) -> None:
            said.append("finish")

        restarts = vp.serving.Transport.restarts  # type: ignore[assignment]

    serve = Serve(agent(), [Silent()])
    async with stoppable(serve, 0.0) as (port, server, stopped), calling(port) as caller:
        await caller.hello()
        await caller.speak(0.1)
        server.stop()
        assert await caller.wait_closed() == 1012
        await stopped.wait()
    assert (said, caller.texts) == (["finish"], [])
