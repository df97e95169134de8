"""The gateway: which worker gets a request, what of it arrives there, and who may look after the fleet.

Workers and gateway are real servers in one event loop, on virtual time.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import anyio
import anyio.abc
import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

import voicepipe as vp
from tests.helpers.asgi_server import needs_server
from tests.helpers.page_client import admission, ask, calling
from tests.helpers.plain_transport import Plain, agent
from tests.helpers.scripted_engine import APPLICATION, Script, ScriptedEngine
from tests.helpers.serving_engine import fleet
from voicepipe.fleet import Load, Worker
from voicepipe.fleet.choosing import Choice
from voicepipe.fleet.gateway import Gateway
from voicepipe.serving import Limits, Page, Serve
from voicepipe.serving.desk import Desk
from voicepipe.serving.place import Place
from voicepipe.serving.token_route import give_token

pytestmark = [pytest.mark.anyio, needs_server]


class Hook(Plain):
    """A webhook that answers what it has got."""

    numbers = itertools.count()

    def __init__(self) -> None:
        self.number = next(self.numbers)
        self.status = 200
        self.waits_s = 0.0
        self.asked: list[str] = []

    def routes(self, desk: Desk) -> Sequence[BaseRoute]:
        async def hook(request: Request) -> Response:
            self.asked.append(request.method)
            await anyio.sleep(self.waits_s)
            if self.status != 200:
                return PlainTextResponse("not now", self.status, {"Retry-After": "1"} if self.status == 503 else {})
            response = JSONResponse(
                {
                    "number": self.number,
                    "client": request.client and request.client.host,
                    "scheme": request.url.scheme,
                    "path": request.url.path,
                    "query": request.url.query,
                    "headers": request.headers.items(),
                    "body": (await request.body()).decode(),
                }
            )
            response.set_cookie("a", "1")
            response.set_cookie("b", "2")
            response.headers["connection"] = "x-secret"
            response.headers["x-secret"] = "of this connection"
            return response

        return [Route("/hook", hook, methods=["GET", "POST"])]


class Hooks:
    """Makes the servers of a fleet, each with a webhook."""

    def __init__(self, **limits: Any) -> None:
        self.all: list[Hook] = []
        self._limits = Limits(**limits)

    def __call__(self) -> Serve:
        self.all.append(Hook())
        return Serve(agent(), [Page(), self.all[-1]], limits=self._limits)


async def test_a_page_calls_a_worker() -> None:
    """The gateway shows the page and gives the token; the call itself goes to the worker that the token names."""
    async with fleet(lambda: Serve(agent(), [Page()], greeting="Hello!")) as (_, engine, port):
        page = await ask(port, "/")
        assert page.status_code == 200
        assert "connect-src 'self' ws://127.0.0.1:*;" in page.headers["content-security-policy"]
        given = await admission(port)
        assert given["url"] in {f"{work.listening.media_url}/" for work in engine.works}
        async with calling(port):
            assert sum(work.load().calls for work in engine.works) == 1


async def test_what_arrives_at_a_worker() -> None:
    """Path, query, body and headers arrive as they were; what proxies and connections say about a request does not."""
    hooks = Hooks()
    async with fleet(hooks, 1) as (_, _, port), httpx.AsyncClient(trust_env=False) as client:
        headers = {
            "Host": "voice.example.com",
            "Cookie": "login=ada",
            "X-Signature": "abc",
            "Connection": "close, x-mine",
            "X-Mine": "of this connection",
            "Proxy-Authorization": "Basic abc",
            "X-Forwarded-For": "203.0.113.9",
            "X-Forwarded-Proto": "https",
            "X-Voicepipe-Gateway": "guessed",
        }
        answer = await client.post(f"http://127.0.0.1:{port}/hook?a=%2F&b=", headers=headers, content=b"From=%2B1")
        got = answer.json()
        arrived = dict(got["headers"])
        assert (got["path"], got["query"], got["body"]) == ("/hook", "a=%2F&b=", "From=%2B1")
        assert (got["client"], got["scheme"]) == ("127.0.0.1", "http")
        assert {name: arrived[name] for name in ("host", "cookie", "x-signature")} == {
            "host": "voice.example.com",
            "cookie": "login=ada",
            "x-signature": "abc",
        }
        assert arrived["via"] == "1.1 proxy"  # somebody stands between the caller and the gateway
        assert not arrived.keys() & {"x-mine", "proxy-authorization", "x-forwarded-for", "x-voicepipe-gateway"}
        assert answer.headers.get_list("set-cookie") == ["a=1; Path=/; SameSite=lax", "b=2; Path=/; SameSite=lax"]
        assert "x-secret" not in answer.headers


async def test_paths_that_no_worker_has() -> None:
    """The gateway passes on the workers' own paths, and no other one: not even what only their engine may ask."""
    async with fleet(Hooks()) as (_, engine, port):
        for path in ("/load", "/hooks", "/hook/x", "//example.com/", "/http://example.com/"):
            assert (await ask(port, path)).status_code == 404, path
        worker = int(engine.works[0].listening.url.rpartition(":")[2])
        assert (await ask(worker, "/load")).status_code == 403
        assert (await ask(worker, "/load", authorization="Bearer guessed")).status_code == 403
        assert (await ask(port, "/hook", "PATCH")).status_code == 405  # says the worker
        for host in ("x/hook?", "x/hook#", "x\\hook"):  # which does not decide about the path
            assert (await ask(port, "/load", host=host)).status_code in (400, 404), host


async def test_requests_that_are_too_long() -> None:
    """A body of more than 64 KiB reaches no worker."""
    hooks = Hooks()
    async with fleet(hooks, 1) as (_, _, port), httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"http://127.0.0.1:{port}/hook", content=bytes(65_537))
        assert answer.status_code == 413
        assert hooks.all[0].asked == []


async def test_a_worker_that_refuses_is_passed_over() -> None:
    """A refusal goes to the caller only if all workers refuse; any other answer is that of the worker asked first."""
    hooks = Hooks()
    async with fleet(hooks, 2) as (_, _, port):
        hooks.all[0].status = 503
        assert [(await ask(port, "/hook", "POST")).json()["number"] for _ in range(3)] == [hooks.all[1].number] * 3
        hooks.all[1].status = 503
        refused = await ask(port, "/hook", "POST")
        assert (refused.status_code, refused.headers["retry-after"], refused.text) == (503, "1", "not now")
        hooks.all[0].status = hooks.all[1].status = 500
        assert (await ask(port, "/hook", "POST")).status_code == 500


async def test_a_worker_that_is_gone_is_passed_over() -> None:
    """A request that no worker has got goes to the next one; one that a worker has taken does only if that is safe."""

    async def hang_up(client: anyio.abc.SocketStream) -> None:
        async with client:
            await client.receive()

    async with Hooks()().listening() as there, await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        leaves = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, hang_up)
            for ports, method, status in (
                ((1, there), "POST", 200),
                ((1, leaves, there), "GET", 200),
                ((1, leaves, there), "POST", 502),
                ((1, 1), "POST", 503),
            ):
                engine = ScriptedEngine([Script(url=f"http://127.0.0.1:{one}", starts_s=0.0) for one in ports])
                gateway = Gateway(engine, APPLICATION, len(ports))
                async with gateway.open(), httpx.AsyncClient(transport=httpx.ASGITransport(gateway.app)) as client:
                    answer = await client.request(method, "http://voice.test/hook")
                    assert answer.status_code == status, (ports, method)
                    assert ("retry-after" in answer.headers) == (status > 500)
            tasks.cancel_scope.cancel()


async def test_no_answer_in_time() -> None:
    """A worker that does not answer costs 14 s, and the caller gets a sentence."""
    hooks = Hooks()
    async with fleet(hooks, 1) as (_, _, port), httpx.AsyncClient(trust_env=False, timeout=60) as client:
        hooks.all[0].waits_s = 100.0
        began_s = anyio.current_time()
        answer = await client.post(f"http://127.0.0.1:{port}/hook")
        assert (answer.status_code, answer.json()) == (504, {"message": "the server did not answer in time"})
        assert anyio.current_time() - began_s == pytest.approx(14.0)


async def test_a_full_worker_gives_no_token() -> None:
    """Tokens come from workers with a free place; if there is none, the page reads why and tries again."""
    async with fleet(lambda: Serve(agent(), [Page()], limits=Limits(sessions=1))) as (_, engine, port):
        async with calling(port), calling(port):
            assert [work.load().calls for work in engine.works] == [1, 1]
            refused = await ask(port, "/token", "POST", origin=f"http://127.0.0.1:{port}")
            assert (refused.status_code, refused.json()) == (503, {"message": "all 1 lines are busy"})
            assert refused.headers["retry-after"]
            assert (await ask(port, "/")).status_code == 200  # the page is there all the same
            await anyio.sleep(1.0)
            assert (await ask(port, "/ready")).status_code == 503
        await anyio.sleep(1.0)
        assert (await ask(port, "/ready")).status_code == 200


async def test_requests_that_lead_back_to_a_worker() -> None:
    """What one worker alone knows, such as a token for WebRTC, is asked of it, for as long as it is there."""
    hooks = Hooks()
    async with fleet(hooks, 2) as (_, engine, port):
        numbers = {work.listening.url: hook.number for work, hook in zip(engine.works, hooks.all, strict=True)}
        for worker in engine.workers():
            path = f"/hook{Place(worker.index, '', '').back}"
            assert (await ask(port, path, "POST")).json()["number"] == numbers[worker.url]
        for gone in ("7", "-1", "x", "99999999999999999999"):
            assert (await ask(port, f"/hook?worker={gone}", "POST")).status_code == 200


class Posted(Plain):
    """Calls begin with a request, as over WebRTC."""

    name = "posted"
    path = ""

    def routes(self, desk: Desk) -> Sequence[BaseRoute]:
        return [Route("/posted/token", partial(give_token, self, desk), methods=["POST"])]


async def test_a_token_says_where_it_is_good() -> None:
    """A token for a websocket comes with its address, and another one with what leads back to its worker.

    A store makes each token good everywhere.
    """
    shared = vp.MemoryStore()
    for store, more in ((None, {"query": "?worker=0"}), (shared, {})):
        made = partial(Serve, agent(), [Posted(), Page()], store=store)
        async with fleet(made, 1) as (_, _, port):
            origin = f"http://127.0.0.1:{port}"
            given = (await ask(port, "/posted/token", "POST", origin=origin)).json()
            assert {name: value for name, value in given.items() if name != "token"} == more
            given = (await ask(port, "/token", "POST", origin=origin)).json()
            assert given.keys() == {"token", "url"}


async def test_another_page_gets_no_token() -> None:
    """Which page asks is decided by the worker, as without a gateway: the gateway's own page may, and no other one."""
    async with fleet(Hooks()) as (_, _, port):
        for origin in ("https://evil.example", "http://127.0.0.1:1", "null"):
            assert (await ask(port, "/token", "POST", origin=origin)).status_code == 403


async def test_websockets_are_not_passed_on() -> None:
    """Who connects to the gateway is sent to where the workers' addresses come from."""
    async with fleet(Hooks(), 1) as (_, _, port):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"ws://127.0.0.1:{port}/plain", proxy=None):
                pass
        assert refused.value.response.status_code == 421
        assert b"connect to the address that comes with a token" in (refused.value.response.body or b"")


async def test_who_may_look_after_the_fleet() -> None:
    """Programs of this machine may, or who shows the token: no page, no name that merely leads here, no proxy."""
    here: dict[str, Any] = {"host": "localhost:8000"}
    cases: dict[str | None, list[tuple[dict[str, str], bool]]] = {
        None: [
            ({}, True),
            (here, True),
            ({**here, "origin": "http://127.0.0.1:8000"}, False),
            ({"host": "evil.example:8000"}, False),
            ({"x-forwarded-for": "127.0.0.1"}, False),
        ],
        "s3cret": [({}, False), ({"authorization": "Bearer s3cre"}, False), ({"authorization": "Bearer s3cret"}, True)],
    }
    for token, asked in cases.items():
        async with fleet(Hooks(), 1, token=token) as (_, engine, port):
            for headers, may in asked:
                found = [(await ask(port, path, **headers)).status_code for path in ("/fleet", "/metrics")]
                assert found == [200 if may else 403] * 2, headers
                if not may:
                    for path in ("/fleet/restart", "/fleet/drain"):
                        assert (await ask(port, path, "POST", **headers)).status_code == 403
            await anyio.sleep(1.0)
            assert engine.replaced == 0


async def test_a_restart_by_request() -> None:
    """`/fleet/restart` begins a rolling restart, `/fleet` says how far it is, and what fails is said there."""
    async with fleet(Hooks(), 2) as (_, engine, port):
        assert (await ask(port, "/fleet/restart", "POST")).status_code == 202
        again = await ask(port, "/fleet/restart", "POST")
        assert (again.status_code, again.json()["message"][:30]) == (409, "the workers are being restarte")
        await anyio.sleep(10.0)
        state = (await ask(port, "/fleet")).json()
        assert (state["is_restarting"], state["replaced"], state["failed"]) == (False, 2, "")
        assert [worker["refuses"] for worker in state["workers"]] == ["", ""]
        assert len(engine.works) == 4


async def test_a_drain_that_cannot_be() -> None:
    """What is wrong with a request to drain is one sentence."""
    cases = {
        '{"worker": "w9"}': "there is no worker 'w9'",
        '{"worker": "w1"}': "w1 is the only worker",
        "{}": "name the worker",
        "[]": "an object of JSON",
        "{": "an object of JSON",
        '{"worker": "w1", "within_s": -1}': "within_s must be from 0 to 3600 seconds, not -1",
        '{"worker": "w1", "within_s": 1e999}': "not a number that is not finite",
    }
    async with fleet(Hooks(), 1) as (_, _, port), httpx.AsyncClient(trust_env=False) as client:
        for body, said in cases.items():
            answer = await client.post(f"http://127.0.0.1:{port}/fleet/drain", content=body)
            assert (answer.status_code, said in answer.json()["message"]) == (409, True), answer.text


async def test_the_metrics_of_a_fleet() -> None:
    """Each worker's series have its number as a label; what only the gateway knows has names of its own."""
    async with fleet(lambda: Serve(agent(), [Page()]), 2) as (_, _, port):
        async with calling(port):
            await anyio.sleep(1.0)
            text = (await ask(port, "/metrics")).text
        lines = text.splitlines()
        calls = [line for line in lines if line.startswith('voicepipe_sessions{transport="page"')]
        assert sorted(line.rpartition(" ")[2] for line in calls) == ["0.0", "1.0"]
        assert all('worker="' in line for line in calls)
        assert "voicepipe_fleet_calls 1.0" in lines
        assert "voicepipe_fleet_places 200.0" in lines
        assert 'voicepipe_fleet_workers{state="ready"} 2.0' in lines
        assert 'voicepipe_gateway_requests_total{outcome="passed"} 1.0' in lines
        assert len([line for line in lines if line.startswith("# TYPE voicepipe_sessions gauge")]) == 1


async def test_a_gateway_that_stops() -> None:
    """While the gateway drains it is not ready and gives no token; it has ended when the calls have."""
    async with fleet(lambda: Serve(agent(), [Page()]), 2) as (gateway, engine, port):
        async with anyio.create_task_group() as tasks:
            async with calling(port):
                tasks.start_soon(gateway.drain, 30.0)
                await anyio.sleep(0.5)
                assert (await ask(port, "/ready")).status_code == 503
                refused = await ask(port, "/token", "POST", origin=f"http://127.0.0.1:{port}")
                assert refused.status_code == 503
                assert len(engine.workers()) == 1  # the other one had no call
        assert engine.workers() == []


def workers(*loads: Load) -> list[Worker]:
    return [Worker(f"w{index}", "", load, index) for index, load in enumerate(loads)]


def test_the_worker_with_the_fewest_calls() -> None:
    """Requests go to who has the fewest calls, those that were just promised included; who takes none comes last."""
    choice = Choice()
    three = workers(Load(3, 10), Load(1, 10), Load(0, 10, refuses="lag"))
    assert [worker.id for worker in choice.order(three, 0.0)] == ["w1", "w0", "w2"]
    for _ in range(3):
        choice.note("w1", 0.0)
    assert choice.order(three, 1.9)[0].id == "w0"
    assert choice.order(three, 2.0)[0].id == "w1"  # by now its load has them
    assert choice.order(three, 2.0, back=2)[0].id == "w2"
    assert choice.order(three, 2.0, back=7)[0].id == "w1"


def test_a_blank_token() -> None:
    """A token that anybody could guess is refused."""
    with pytest.raises(vp.ConfigurationError, match="must not be blank"):
        Gateway(ScriptedEngine(), APPLICATION, 1, token=" ")
