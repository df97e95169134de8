"""A server and its calls, over real websockets on virtual time."""

from __future__ import annotations

import json
import math
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest
from starlette.requests import HTTPConnection
from websockets.exceptions import InvalidStatus

import voicepipe as vp
from tests.helpers.plain_transport import FRAME, Plain, agent, calling
from voicepipe.serving import Limits, Refused, Serve

pytestmark = pytest.mark.anyio


async def refusal(port: int, **settings: Any) -> tuple[int, str | None, str]:
    """Try to call; return status, time to try again, and what was said."""
    with pytest.raises(InvalidStatus) as caught:
        async with calling(port, **settings):
            pass
    response = caught.value.response
    return response.status_code, response.headers.get("retry-after"), (response.body or b"").decode()


# --- a call -----------------------------------------------------------------------------------------------------------


async def test_a_call_from_hello_to_good_bye() -> None:
    """The caller is greeted and answered, hangs up, and the transport says good-bye before the connection closes."""
    sessions: list[vp.Session] = []
    serve = Serve(agent(), [Plain()], greeting="Hello!", on_call=sessions.append)
    async with serve.listening() as port, calling(port, subprotocols=["plain.v1"]) as caller:
        await caller.hello(name="Ada")
        await caller.speak(1.0)
        await caller.socket.send("bye")
        assert await caller.wait_closed() == 1000
        assert caller.socket.subprotocol == "plain.v1"
        assert caller.texts == [{"type": "bye", "result": None}]
    (session,) = sessions
    assert session.facts == {"name": "Ada", "transport": "plain"}
    assert [message.text for message in session.history][:2] == ["Hello!", "Hello?"]
    assert caller.heard_s > 0.1


async def test_a_peer_that_vanishes() -> None:
    """A connection that breaks is a caller who hung up: the session ends, and the place is free."""
    serve = Serve(agent(), [Plain()], limits=Limits(sessions=1))
    async with serve.listening() as port:
        for _ in range(3):
            async with calling(port) as caller:
                await caller.hello()
                await caller.socket.send(FRAME)
                caller.socket.transport.abort()
            await serve.desk.wait_empty()


async def test_the_agent_ends_the_call() -> None:
    """When the session is ended by the application, its result reaches the transport's good-bye."""

    def end(session: vp.Session) -> None:
        session.end(after_reply=True, result="done")

    serve = Serve(agent(), [Plain()], greeting="Good-bye.", on_call=end)
    async with serve.listening() as port, calling(port) as caller:
        await caller.hello()
        assert await caller.wait_closed() == 1000
        assert caller.texts == [{"type": "bye", "result": "done"}]
        assert caller.heard_s > 0.05


async def test_what_the_authenticator_knows_wins() -> None:
    """Identity comes from the authenticator: what the peer claims under the same name is overridden."""
    sessions: list[vp.Session] = []
    deps: list[Any] = []

    async def who(request: HTTPConnection) -> dict[str, str] | None:
        return {"subject": "ada"} if request.headers.get("cookie") == "login=ada" else None

    async def deps_of(facts: Any) -> str:
        deps.append(facts["subject"])
        return "deps of ada"

    serve = Serve(agent(), [Plain()], authenticate=who, on_call=sessions.append, deps=deps_of)
    async with serve.listening() as port:
        async with calling(port, additional_headers={"Cookie": "login=ada"}) as caller:
            await caller.hello(subject="eve", transport="telephone", name="Eve")
            await caller.speak(0.1)
        await serve.desk.wait_empty()
        assert await refusal(port) == (401, None, "sign in first")
    assert sessions[0].facts == {"subject": "ada", "transport": "plain", "name": "Eve"}
    assert (deps, sessions[0].deps) == (["ada"], "deps of ada")


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origins", "origin", "is_refused"),
    [
        ([], "http://127.0.0.1:{port}", False),
        ([], "http://localhost:{port}", False),
        ([], "http://127.0.0.1:1", True),
        ([], "http://shop.example:{port}", True),
        ([], "null", True),
        ([], None, True),
        (["https://shop.example"], "https://shop.example", False),
        (["https://shop.example"], "https://shop.example.evil.example", True),
        (["https://shop.example"], "http://shop.example", True),
        (["https://shop.example"], "https://shop.example:8443", True),
        (["https://shop.example"], "http://127.0.0.1:{port}", True),
        (["https://shop.example"], None, True),
    ],
)
async def test_only_the_pages_of_the_application_connect(
    origins: list[str], origin: str | None, is_refused: bool
) -> None:
    """An origin is compared whole, before the upgrade; a missing one is refused as well."""
    serve = Serve(agent(), [Plain()], origins=origins)
    async with serve.listening() as port:
        shown = origin.format(port=port) if origin else None
        if is_refused:
            assert await refusal(port, origin=shown) == (403, None, "")
        else:
            async with calling(port, origin=shown) as caller:
                await caller.hello()


async def test_a_program_without_origin_needs_the_authenticator() -> None:
    """Programs send no origin; the application's authenticator decides then."""
    serve = Serve(agent(), [Plain()], authenticate=lambda _: {"subject": "robot"}, origins=["https://shop.example"])
    async with serve.listening() as port, calling(port, origin=None) as caller:
        await caller.hello()


async def test_tokens_at_the_door() -> None:
    """A token lets in once; used, expired, unknown and those of another kind are refused before the upgrade."""
    serve = Serve(agent(), [Plain()])
    async with serve.listening() as port:
        tokens = serve.desk.tokens
        good, other, late = (
            await tokens.issue("plain", {"subject": "ada"}),
            await tokens.issue("page", {}),
            await tokens.issue("plain", {}),
        )
        async with calling(port, subprotocols=["plain.v1", f"token.{good}"]) as caller:
            assert caller.socket.subprotocol == "plain.v1"
        for token in (good, other, "unknown"):
            assert await refusal(port, subprotocols=["plain.v1", f"token.{token}"]) == (
                401,
                None,
                "the token is not valid",
            )
        await anyio.sleep(30.0)
        assert (await refusal(port, subprotocols=["plain.v1", f"token.{late}"]))[0] == 401


async def test_a_token_of_another_worker() -> None:
    """Workers that share a store let in each other's peers, once."""
    store = vp.MemoryStore()
    one, other = Serve(agent(), [Plain()], store=store), Serve(agent(), [Plain()], store=store)
    async with one.listening() as port, other.listening():
        offered = ["plain.v1", f"token.{await other.desk.tokens.issue('plain', {'subject': 'ada'})}"]
        async with calling(port, subprotocols=offered) as caller:
            await caller.hello()
        assert (await refusal(port, subprotocols=offered))[0] == 401


async def test_a_wrong_origin_does_not_spend_the_token() -> None:
    """A stranger's page that got hold of a token cannot use it up."""
    serve = Serve(agent(), [Plain()])
    async with serve.listening() as port:
        token = await serve.desk.tokens.issue("plain", {})
        await refusal(port, subprotocols=["plain.v1", f"token.{token}"], origin="https://evil.example")
        async with calling(port, subprotocols=["plain.v1", f"token.{token}"]) as caller:
            await caller.hello()


async def test_a_full_server() -> None:
    """A call more than allowed gets a 503 and a time to try again, and costs no session."""
    sessions: list[vp.Session] = []
    serve = Serve(agent(), [Plain()], limits=Limits(sessions=1), on_call=sessions.append)
    async with serve.listening() as port:
        async with calling(port) as caller:
            await caller.hello()
            await caller.speak(0.1)
            assert await refusal(port) == (503, "1", "all 1 lines are busy")
        await serve.desk.wait_empty()
        async with calling(port) as caller:
            await caller.hello()
            await caller.speak(0.1)
    assert len(sessions) == 2


async def test_calls_of_one_subject() -> None:
    """A subject has as many calls as the limit says; another one is let in."""

    def who(request: HTTPConnection) -> dict[str, str]:
        return {"subject": request.headers["x-user"]}

    serve = Serve(agent(), [Plain()], authenticate=who, limits=Limits(per_subject=1))
    async with serve.listening() as port, calling(port, additional_headers={"X-User": "ada"}):
        assert await refusal(port, additional_headers={"X-User": "ada"}) == (
            429,
            "1",
            "this caller has too many calls already",
        )
        async with calling(port, additional_headers={"X-User": "bob"}):
            pass


async def test_too_many_calls_at_once() -> None:
    """Calls beyond the opening rate get a 429, and are let in a moment later."""
    serve = Serve(agent(), [Plain()], limits=Limits(opening_per_s=2))
    async with serve.listening() as port:
        for _ in range(2):
            async with calling(port):
                pass
        assert (await refusal(port))[:2] == (429, "1")
        await anyio.sleep(0.5)
        async with calling(port):
            pass


async def test_a_late_loop_takes_no_calls() -> None:
    """A server whose loop stood still lets nobody in for 2 s."""
    serve = Serve(agent(), [Plain()])
    async with serve.listening() as port:
        serve.desk._door.lag.note(anyio.current_time(), 0.3)
        assert await refusal(port) == (503, "1", "the server is overloaded")
        await anyio.sleep(2.0)
        async with calling(port):
            pass


async def test_an_authenticator_that_takes_too_long() -> None:
    """Nobody waits longer than `start_s` to be let in, and no place is taken meanwhile."""

    async def who(_: HTTPConnection) -> dict[str, str]:
        await anyio.sleep_forever()
        return {}

    serve = Serve(agent(), [Plain()], authenticate=who)
    async with serve.listening() as port:
        began_s = anyio.current_time()
        assert (await refusal(port))[0] == 503
        assert 5.0 <= anyio.current_time() - began_s < 5.1


async def test_deps_that_take_too_long(caplog: pytest.LogCaptureFixture) -> None:
    """A call whose deps do not come within `start_s` ends as our fault, and its place is free."""

    async def deps_of(_: Any) -> None:
        await anyio.sleep_forever()

    serve = Serve(agent(), [Plain()], deps=deps_of)
    async with serve.listening() as port, calling(port) as caller:
        began_s = anyio.current_time()
        await caller.hello()
        assert await caller.wait_closed() == 1011
        assert 5.0 <= anyio.current_time() - began_s < 5.1
    assert "deps of Serve did not return within 5 s" in caplog.text


async def test_an_authenticator_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A fault of the application's authenticator is in the log, and lets nobody in."""

    def who(_: HTTPConnection) -> dict[str, str]:
        raise ZeroDivisionError("no such user")

    serve = Serve(agent(), [Plain()], authenticate=who)
    async with serve.listening() as port:
        assert await refusal(port) == (500, None, "the server failed")
    assert "ZeroDivisionError" in caplog.text


# --- sent away --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["{", "[]", '{"facts": 1}', "[" * 4_000, b"\x00", "x" * 5_000])
async def test_a_malformed_first_message(first: str | bytes) -> None:
    """A first message that cannot be read closes the connection with a code that says so."""
    serve = Serve(agent(), [Plain()])
    async with serve.listening() as port, calling(port) as caller:
        await caller.socket.send(first)
        assert await caller.wait_closed() == (1009 if len(first) > 4_096 else 1007)


async def test_a_peer_that_says_nothing() -> None:
    """Without a first message the connection is closed after 5 s."""
    serve = Serve(agent(), [Plain()])
    async with serve.listening() as port, calling(port) as caller:
        began_s = anyio.current_time()
        assert await caller.wait_closed() == 4408
        assert round(anyio.current_time() - began_s, 1) == 5.0


async def test_a_peer_that_falls_silent() -> None:
    """A peer that sends no message for 30 s is gone; one that sends any stays."""
    serve = Serve(agent(), [Plain()])
    async with serve.listening() as port, calling(port) as caller:
        await caller.hello()
        for _ in range(3):
            await anyio.sleep(29.0)
            await caller.socket.send(FRAME)
        began_s = anyio.current_time()
        assert await caller.wait_closed() == 4408
        assert round(anyio.current_time() - began_s, 1) == 30.0


async def test_limits_that_are_turned_off() -> None:
    """Without the limits of time, a silent peer stays."""
    serve = Serve(agent(), [Plain()], limits=Limits(idle_s=math.inf, call_s=math.inf))
    async with serve.listening() as port, calling(port) as caller:
        await caller.hello()
        await anyio.sleep(40.0)
        await caller.socket.send("bye")
        assert await caller.wait_closed() == 1000


@pytest.mark.parametrize(("message", "code"), [(b"\x00", 1007), ("what?", 1007), (b"\x00" * 5_000, 1009)])
async def test_a_malformed_message_ends_that_call_alone(message: str | bytes, code: int) -> None:
    """The other call goes on, and is answered."""
    serve = Serve(agent(), [Plain()])
    async with serve.listening() as port, calling(port) as good, calling(port) as bad:
        await good.hello()
        await bad.hello()
        await good.speak(0.2)
        await bad.socket.send(message)
        assert await bad.wait_closed() == code
        await good.speak(1.0)
        await good.socket.send("bye")
        assert await good.wait_closed() == 1000
        assert good.heard_s > 0.1


async def test_the_longest_call() -> None:
    """After `call_s` the agent says so, and the call ends in order."""
    serve = Serve(agent(), [Plain()], limits=Limits(call_s=60, call_text="The time is over."))
    async with serve.listening() as port, calling(port) as caller:
        await caller.hello()
        began_s = anyio.current_time()
        async with anyio.create_task_group() as tasks:

            async def speak() -> None:
                for _ in range(70):
                    await caller.socket.send(FRAME)
                    await anyio.sleep(1.0)

            tasks.start_soon(speak)
            assert await caller.wait_closed() == 1000
            tasks.cancel_scope.cancel()
        assert 60.1 < anyio.current_time() - began_s < 61.0
        assert caller.texts[-1]["type"] == "bye"


async def test_a_part_that_fails_ends_its_call_with_1011(caplog: pytest.LogCaptureFixture) -> None:
    """What accompanies the call raises: the call is closed as our fault, and the log has the traceback."""

    async def fail(session: vp.Session) -> None:
        raise ZeroDivisionError("boom")

    serve = Serve(agent(), [Plain()], on_call=fail)
    async with serve.listening() as port, calling(port) as caller:
        await caller.hello()
        assert await caller.wait_closed() == 1011
    assert "ZeroDivisionError: boom" in caplog.text


async def test_facts_that_a_peer_may_not_claim(caplog: pytest.LogCaptureFixture) -> None:
    """Facts that would forge a log line end the call before it begins."""
    serve = Serve(agent(), [Plain()])
    async with serve.listening() as port, calling(port) as caller:
        await caller.socket.send(json.dumps({"facts": {"name\n": "x"}}))
        assert await caller.wait_closed() == 1011
    assert "must be printable" in caplog.text


# --- the server -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"transports": []}, "needs at least one transport"),
        ({"transports": [Plain(), Plain()]}, "two transports are named 'plain'"),
        ({"transports": ["page"]}, "must be a list of transports, not 'page'"),
        ({"origins": "https://shop.example"}, "must be a list of origins"),
        ({"origins": ["*"]}, "without a path or a star, not '\\*'"),
        ({"origins": ["https://shop.example/"]}, "without a path"),
        ({"socket_origins": "wss://w1.shop.example"}, "must be a list of schemes and hosts"),
        ({"socket_origins": ["https://w1.shop.example"]}, "such as 'wss://w1.shop.example'"),
        ({"socket_origins": ["wss://w1.shop.example; script-src *"]}, "without a path"),
        ({"public_url": "shop.example"}, "public_url must be an address such as"),
        ({"transports": Plain()}, "must be a list of transports, not <"),
        ({"authenticate": "ada"}, "authenticate must be a function, not 'ada'"),
        ({"deps": {}}, "deps must be a function"),
        ({"greeting": None}, "greeting must be a text, not None"),
        ({"metrics_token": ""}, "metrics_token must be a text that is not blank"),
        ({"limits": {"sessions": 3}}, "limits must be of the type Limits, not dict"),
        ({"agent": "agent"}, "agent must be of the type Pipeline, not str"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], said: str) -> None:
    """What is wrong with the settings is said when the server is built."""
    given: dict[str, Any] = {"agent": agent(), "transports": [Plain()], **settings}
    with pytest.raises(vp.ConfigurationError, match=said):
        Serve(given.pop("agent"), given.pop("transports"), **given)


def test_rows_that_no_caller_can_use() -> None:
    """A row with a microphone of its own, or without a recogniser, is refused with what to do."""
    row = agent().parts
    with pytest.raises(vp.ConfigurationError, match="begins with MicSource"):
        Serve(vp.Pipeline(vp.MicSource(), *row), [Plain()])
    with pytest.raises(vp.ConfigurationError, match="has no recogniser"):
        Serve(vp.Pipeline(*row[1:]), [Plain()])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"port": 65_536}, "the port must be 0 to 65535, not 65536"),
        ({"port": -1}, "the port must be"),
        ({"drain_s": -1.0}, "drain_s must be a time of at least 0 seconds, not -1.0"),
        ({"drain_s": float("nan")}, "drain_s must be"),
        ({"host": "a" * 300, "port": 1}, "other machines could call"),
    ],
)
def test_running_with_settings_that_do_not_fit(settings: dict[str, Any], said: str) -> None:
    """`run` refuses them before it opens anything."""
    with pytest.raises(vp.ConfigurationError, match=said):
        Serve(agent(), [Plain()]).run(**settings)


async def test_running_in_a_loop_that_runs() -> None:
    """Inside of a coroutine `run` says what to do instead."""
    with pytest.raises(vp.ConfigurationError, match=r"give serve\.app to a server"):
        Serve(agent(), [Plain()]).run()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
async def test_other_machines_need_a_proof(host: str) -> None:
    """The server does not listen beyond this machine while anybody could call; with a proof it may."""
    with pytest.raises(vp.ConfigurationError, match="could call by plain without a proof"):
        async with Serve(agent(), [Plain()]).listening(host):
            pass
    with pytest.raises(vp.ConfigurationError, match="without a proof"):
        Serve(agent(), [Plain()], origins=["https://shop.example"]).check_reach(host)
    Serve(agent(), [Plain()], origins=["https://a.example"], authenticate=lambda _: {}).check_reach(host)


async def test_a_server_of_others_that_listens_everywhere(caplog: pytest.LogCaptureFixture) -> None:
    """Under another ASGI server, peers from other machines are refused at the door, and the log says why, once."""
    serve = Serve(agent(), [Plain()])
    scope = {"type": "websocket", "headers": [], "client": ("192.0.2.7", 4711), "server": ("127.0.0.1", 80)}
    async with serve.lifespan():
        for _ in range(2):
            with pytest.raises(Refused, match="other machines"):
                await serve.desk.let_in(serve._transports[0], HTTPConnection(scope))
    assert caplog.text.count("lets anybody call") == 1


async def test_a_lifespan_that_does_not_run() -> None:
    """The first call of a mounted application says what to write."""
    serve = Serve(agent(), [Plain()])
    scope = {"type": "websocket", "headers": [], "client": ("127.0.0.1", 4711), "server": ("127.0.0.1", 80)}
    with pytest.raises(vp.ConfigurationError, match=r"write FastAPI\(lifespan=serve.lifespan\)"):
        await serve.desk.let_in(serve._transports[0], HTTPConnection(scope))


async def test_a_lifespan_is_entered_once() -> None:
    """A second one at a time is an error; one after the other is not."""
    serve = Serve(agent(), [Plain()])
    for _ in range(2):
        async with serve.lifespan():
            with pytest.raises(vp.ConfigurationError, match="runs already"):
                async with serve.lifespan():
                    pass


async def test_the_end_of_the_block_cuts_calls() -> None:
    """What is left of calls when the server ends is closed with 1012, and nothing is left behind."""
    serve = Serve(agent(), [Plain()])
    async with AsyncExitStack() as client, serve.listening() as port:
        caller = await client.enter_async_context(calling(port))
        await caller.hello()
        await caller.speak(0.1)
    assert await caller.wait_closed() == 1012
    assert not serve.desk.is_open


@pytest.mark.parametrize(
    ("public_url", "root_path", "expected"),
    [
        (None, "", "http://127.0.0.1:8000"),
        (None, "/voice", "http://127.0.0.1:8000/voice"),
        ("https://shop.example", "", "https://shop.example"),
        ("https://shop.example/", "/voice", "https://shop.example/voice"),
        ("https://shop.example/voice", "/voice", "https://shop.example/voice"),
    ],
)
def test_the_public_address(public_url: str | None, root_path: str, expected: str) -> None:
    """It comes from the settings and the place of mounting, never from the header Host."""
    desk = Serve(agent(), [Plain()], public_url=public_url).desk
    headers = [(b"host", b"evil.example")]
    scope = {
        "type": "http",
        "headers": headers,
        "server": ("127.0.0.1", 8000),
        "root_path": root_path,
        "scheme": "http",
    }
    assert desk.public_url(HTTPConnection(scope)) == expected


def test_a_public_address_that_is_unknown() -> None:
    """Beyond this machine it has to be set."""
    scope = {"type": "http", "headers": [(b"host", b"shop.example")], "server": ("192.0.2.1", 80), "root_path": ""}
    with pytest.raises(vp.ConfigurationError, match="public_url="):
        Serve(agent(), [Plain()]).desk.public_url(HTTPConnection(scope))
