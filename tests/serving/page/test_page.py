"""The page's end of a call, played by a client that speaks its protocol to the real server, on virtual time."""

from __future__ import annotations

import json
import re
from importlib.resources import files

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.routing import Mount
from websockets.exceptions import InvalidStatus

import voicepipe as vp
from tests.helpers.page_client import SILENCE, ask, calling, connected, page_server, token_for
from voicepipe.serving import Limits, Page, Serve
from voicepipe.serving.page.transport import FILES
from voicepipe.testing import Refuses, Says, ScriptedGateway, ScriptedModel, ScriptedRecogniser, ScriptedVoice

pytestmark = pytest.mark.anyio

RATE = 24_000
KEY = "sk-canary-5e1d"
STORY = "Once upon a time there was a queue that had no end, and so it had no beginning."


def agent(ears: ScriptedRecogniser | None = None, replies: list[Says] | None = None) -> vp.Pipeline[None]:
    """An agent whose ears, model and voice follow a script; a character of its speech takes 50 ms."""
    model = ScriptedModel(replies or [])
    voice = ScriptedVoice(character_s=0.05, sample_rate=RATE)
    return vp.Pipeline(vp.STTStage(ears or ScriptedRecogniser()), model, vp.SentenceChunker(), voice)


# --- a conversation ---------------------------------------------------------------------------------------------------


async def test_what_happens_reaches_the_page_in_the_order_of_the_audio() -> None:
    """Sentences come before their audio, the end of an utterance after it, and the end of a turn once it was played."""
    ears = ScriptedRecogniser().guesses("When", at_s=2.0).says("When are you open?", at_s=2.5, speech_s=1.0)
    async with page_server(agent(ears, [Says("From nine to five.")]), greeting="Hello!") as (_, port):
        async with calling(port) as page:
            await page.until("turn_ended", 2)
            log = [what for _, what in page.log]
    assert log == [
        *("ready", "turn_started", "sentence", "audio", "utterance_ended", "turn_ended"),  # the greeting
        *("speech_started", "transcript", "speech_ended", "transcript"),
        *("turn_started", "sentence", "audio", "utterance_ended", "turn_ended"),
    ]
    said = [message["text"] for message in page.messages if message["type"] in ("transcript", "sentence")]
    assert said == ["Hello!", "When", "When are you open?", "From nine to five."]
    ended = page.messages[-1]
    assert (ended["outcome"], ended["heard"]) == ("completed", "From nine to five.")
    assert sum(ended["spent_s"].values()) == pytest.approx(ended["waited_s"], abs=1e-9)


@pytest.mark.slow
async def test_a_key_of_a_service_reaches_no_browser() -> None:
    """A service that refuses the key, and quotes it: the turn fails, and neither its messages nor the page have it."""
    gateway = ScriptedGateway([Refuses(401, f"no such key: {KEY}")], api_key=KEY)
    async with gateway.serve() as base_url:
        model = vp.LLMStreamStage("Be brief.", base_url=base_url, model="m", api_key=KEY)
        voice = ScriptedVoice(character_s=0.01, sample_rate=RATE)
        row = vp.Pipeline(vp.STTStage(ScriptedRecogniser()), model, vp.SentenceChunker(), voice)
        async with page_server(row) as (_, port), calling(port) as page:
            await page.send("text", text="Where is my order?")
            failed = await page.until("turn_ended")
            shown = [
                (await ask(port, path)).text for path in ("/", *(f"/{name}" for name in FILES if name != "index.html"))
            ]
            shown += [(await ask(port, "/metrics")).text, (await ask(port, "/ready")).text, json.dumps(page.messages)]
    assert [request.status for request in gateway.requests if request.method == "POST"] == [401]
    assert failed["outcome"] == "failed"
    assert not [text for text in shown if KEY in text or base_url in text]


async def test_an_interruption_silences_the_page_and_keeps_what_it_played() -> None:
    """`clear` comes first, no audio before the next reply, and the words end where the page was."""
    ears = ScriptedRecogniser().says("A story!", at_s=0.5).interrupts("Stop it now", at_s=2.5)
    async with page_server(agent(ears, [Says(STORY), Says("Fine.")])) as (_, port):
        async with calling(port) as page:
            await page.until("turn_ended", 2)
    log = [what for _, what in page.log]
    cut = log.index("clear")
    assert log[cut + 1] == "paused"
    assert "audio" not in log[cut : log.index("sentence", cut)]
    first, second = (message for message in page.messages if message["type"] == "turn_ended")
    assert (first["outcome"], second["outcome"]) == ("interrupted", "completed")
    assert STORY.startswith(first["heard"])
    assert first["heard_s"] == 2.22  # of the 2.3 s until the pause: the page reports every 0.1 s


async def test_a_page_that_reports_nothing_has_heard_nothing() -> None:
    """What counts as heard is what the page has reported, not what it was sent."""
    ears = ScriptedRecogniser().says("A story!", at_s=0.5).interrupts("Stop it now", at_s=2.5)
    async with page_server(agent(ears, [Says(STORY), Says("Fine.")])) as (_, port):
        async with calling(port, reports=False) as page:
            ended = await page.until("turn_ended")
    assert (ended["heard"], ended["heard_s"]) == ("", 0.0)


async def test_a_caller_may_type() -> None:
    """Typed words are answered aloud, without a microphone too; a text without words is ignored."""
    async with page_server(agent(replies=[Says("From nine to five.")])) as (_, port):
        async with calling(port, speaks=False) as page:
            await page.send("text", text=" ?! ")
            await page.send("text", text="When are you open?")
            ended = await page.until("turn_ended")
    assert ended["heard"] == "From nine to five."
    assert [message["text"] for message in page.messages if message["type"] == "transcript"] == ["When are you open?"]


async def test_the_stop_button_interrupts() -> None:
    """`interrupt` stops the agent's words."""
    async with page_server(agent(), greeting=STORY) as (_, port):
        async with calling(port) as page:
            await page.until("sentence")
            await anyio.sleep(1.0)
            await page.send("interrupt")
            ended = await page.until("turn_ended")
    assert ended["outcome"] == "interrupted"


async def test_a_ping_is_answered() -> None:
    """A page learns that the connection is alive; a caller who only types may be silent for long because of it."""
    async with page_server(agent(), limits=Limits(idle_s=30)) as (_, port):
        async with calling(port, speaks=False, reports=False) as page:
            for number in range(4):
                await anyio.sleep(20)
                await page.send("ping", id=number)
            assert (await page.until("pong", 4))["id"] == 3


async def test_hanging_up_ends_in_order() -> None:
    """After `end` the server says good-bye and closes with 1000."""
    async with page_server(agent()) as (_, port):
        async with calling(port) as page:
            await page.send("end")
            bye = await page.until("bye")
            await page.closed.wait()
    assert (bye["reason"], page.code) == ("ended", 1000)


async def test_a_server_that_restarts_invites_the_page_to_call_again() -> None:
    """A drained server says that it restarts, and closes with 1012."""
    async with page_server(agent()) as (serve, port):
        async with calling(port) as page:
            await serve.desk.drain(0.0)
            bye = await page.until("bye")
            await page.closed.wait()
    assert (bye["reason"], page.code) == ("restarting", 1012)


async def test_what_is_known_about_the_microphone() -> None:
    """The session knows how the browser captures the microphone; without echo cancellation it expects an echo."""
    facts, echo = [], []

    def note(session: vp.Session[None]) -> None:
        facts.append(dict(session.facts))
        echo.append(session._output.has_echo)  # no public name: the pipeline decides by it

    async with page_server(agent(), on_call=note) as (_, port):
        for microphone in ({"echo_cancellation": False, "noise_suppression": True}, {"echo_cancellation": True}):
            async with calling(port, microphone=microphone):
                pass
    assert facts == [
        {"transport": "page", "microphone": True, "echo_cancellation": False, "noise_suppression": True},
        {"transport": "page", "microphone": True, "echo_cancellation": True},
    ]
    assert echo == [True, False]


async def test_a_lost_microphone_is_reported_to_the_application() -> None:
    """A page says that its microphone is gone, and the session emits an event about it."""
    events: list[vp.Event] = []

    async def listen(session: vp.Session[None]) -> None:
        async for event in session:
            events.append(event)

    async with page_server(agent(), on_call=listen) as (_, port):
        async with calling(port) as page:
            await page.send("microphone_lost")
            await page.send("end")
            await page.closed.wait()
    assert any(isinstance(event, vp.MicrophoneLost) for event in events)


# --- who may connect --------------------------------------------------------------------------------------------------


async def status_of(port: int, token: str, **more: str) -> int:
    """Return the status with which a connection is refused; 101 if it is not."""
    try:
        async with connected(port, token, **more):
            return 101
    except InvalidStatus as error:
        return error.response.status_code


async def test_a_token_is_good_for_one_connection() -> None:
    """A token lets a page in once, within 30 s."""
    async with page_server(agent(), limits=Limits(token_s=30)) as (_, port):
        once = await token_for(port)
        late = await token_for(port)
        assert await status_of(port, once) == 101
        assert await status_of(port, once) == 401
        await anyio.sleep(30)
        assert await status_of(port, late) == 401
        assert await status_of(port, "made-up") == 401


async def test_another_page_cannot_use_a_token_up() -> None:
    """The origin is checked before the token is taken: after a wrong origin the token is still good."""
    async with page_server(agent()) as (_, port):
        token = await token_for(port)
        assert await status_of(port, token, origin="https://evil.example") == 403
        assert await status_of(port, token, origin="null") == 403
        assert await status_of(port, token) == 101


async def test_another_page_gets_no_token() -> None:
    """Only a page of this server gets a token."""
    async with page_server(agent()) as (_, port):
        for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {}):
            response = await ask(port, "/token", "POST", **headers)
            assert (response.status_code, "token" in response.json()) == (403, False)
            assert response.headers["cache-control"] == "no-store"
        assert (await ask(port, "/token")).status_code == 405


async def test_a_token_that_takes_too_long() -> None:
    """An authenticator that does not answer within `start_s` costs its request; a refusal is counted."""

    async def who(_: HTTPConnection) -> None:
        await anyio.sleep_forever()

    async with page_server(agent(), authenticate=who, limits=Limits(start_s=1)) as (serve, port):
        began_s = anyio.current_time()
        response = await ask(port, "/token", "POST", origin=f"http://127.0.0.1:{port}")
        assert (response.status_code, anyio.current_time() - began_s) == (503, pytest.approx(1, abs=0.1))
        counted = serve.desk.metrics.registry.get_sample_value("voicepipe_refused_total", {"reason": "start"})
    assert counted == 1


async def test_the_identity_comes_from_the_authenticator() -> None:
    """What the application's authenticator knows is in the session's facts; a stranger gets no token."""
    facts: list[dict[str, object]] = []

    def who(request: HTTPConnection) -> dict[str, str] | None:
        user = request.headers.get("x-user")
        return {"subject": user} if user else None

    def note(session: vp.Session[None]) -> None:
        facts.append(dict(session.facts))

    async with page_server(agent(), authenticate=who, on_call=note) as (_, port):
        assert (await ask(port, "/token", "POST", origin=f"http://127.0.0.1:{port}")).status_code == 401
        async with connected(port, await token_for(port, x_user="ada")) as socket:
            await socket.send('{"type":"hello"}')
            assert json.loads(await socket.recv())["type"] == "ready"
    assert facts == [{"subject": "ada", "microphone": False, "transport": "page"}]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{}", 1008),
        ('{"type":"hello"}', 1008),
        (b"\0", 1008),
        (bytes(3_202), 1009),
        (b"\0" * 16_400, 1009),
    ],
)
async def test_a_malformed_message_ends_its_own_call(message: str | bytes, code: int) -> None:
    """A message that is not in the protocol closes its connection with a code; another call goes on."""
    async with page_server(agent()) as (_, port), calling(port) as other:
        async with calling(port) as page:
            await page.socket.send(message)
            await page.closed.wait()
            assert page.code == code
        await other.send("end")
        await other.until("bye")


async def test_too_many_texts_end_the_call() -> None:
    """A caller whose texts wait for more than eight replies is sent away."""
    async with page_server(agent(replies=[Says("Yes.", after_s=5.0)] * 9)) as (_, port), calling(port) as page:
        for _ in range(9):
            await page.send("text", text="Hello?")
        await page.closed.wait()
    assert page.code == 4429


@pytest.mark.parametrize("kind", ["text", "microphone_lost"])
async def test_what_costs_a_request_or_a_line_of_the_log_has_a_pace(kind: str) -> None:
    """Ten texts may come at once, each of which takes back the one before; a flood of them ends the call."""
    more = {"text": "Hello?"} if kind == "text" else {}
    async with page_server(agent(replies=[Says("Yes.")] * 20)) as (_, port), calling(port) as page:
        for number in range(11):
            await page.send(kind, **more)
            await page.send("interrupt")
            await anyio.sleep(0.01)
            assert page.code == (0 if number < 10 else 4429)


async def test_audio_before_hello_is_refused() -> None:
    """The first message is hello."""
    async with page_server(agent()) as (_, port), connected(port, await token_for(port)) as socket:
        await socket.send(SILENCE)
        await socket.wait_closed()
        assert socket.close_code == 1008


# --- the files --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_the_page_and_its_files_are_served_under_a_strict_policy() -> None:
    """The page runs only its own scripts and reaches no other server; an unchanged file is not sent again."""
    async with page_server(agent(), Page("/talk/", title="Tom & Ann's shop")) as (_, port):
        index = await ask(port, "/talk/")
        assert "<title>Tom &amp; Ann&#x27;s shop</title>" in index.text
        policy = dict(part.strip().split(" ", 1) for part in index.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert {*policy.values()} == {"'none'", "'self'"}
        assert index.headers["permissions-policy"].startswith("microphone=(self),")
        for name in {*FILES} - {"index.html"}:
            response = await ask(port, f"/talk/{name}")
            assert response.headers["content-type"].split(";")[0] == FILES[name]
            assert response.headers["x-content-type-options"] == "nosniff"
            again = await ask(port, f"/talk/{name}", if_none_match=response.headers["etag"])
            assert (again.status_code, again.content) == (304, b"")
        async with calling(port, path="/talk/") as page:
            await page.send("end")
            await page.until("bye")


async def test_the_policy_names_where_the_websockets_may_be() -> None:
    """A page may connect to its own server, and to the other servers that the application names."""
    places = ["wss://w1.shop.example", "wss://*.voice.example:8443", "ws://127.0.0.1:*"]
    async with page_server(agent(), socket_origins=places) as (_, port):
        policy = (await ask(port, "/")).headers["content-security-policy"]
    assert f"; connect-src 'self' {' '.join(sorted(places))}; " in policy


@pytest.mark.parametrize(
    ("voice_rate", "sample_rate", "rate"), [(22_050, None, 22_050), (16_000, 24_000, 24_000), (11_025, None, 24_000)]
)
async def test_the_page_plays_the_voice_at_its_own_rate(voice_rate: int, sample_rate: int | None, rate: int) -> None:
    """Nothing is converted unless the application asks for it, or the rate has no whole frame of 20 ms."""
    row = agent().replace({ScriptedVoice: ScriptedVoice(sample_rate=voice_rate)})
    async with page_server(row, Page(sample_rate=sample_rate)) as (_, port):
        assert f'data-rate="{rate}"' in (await ask(port, "/")).text
        async with calling(port) as page:
            assert page.rate == rate


async def test_the_page_works_where_it_is_mounted() -> None:
    """All its addresses are relative, so an application may mount the server anywhere."""
    app = Starlette(routes=[Mount("/voice", Serve(agent(), [Page()]).app)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.test") as client:
        index = await client.get("/voice/")
        assert index.status_code == 200
        for address in re.findall(r"(?:src|href)=\"([^\"]+)\"", index.text):
            assert (await client.get(f"/voice/{address}")).status_code == 200


@pytest.mark.parametrize("path", ["../transport.py", "%2e%2e/transport.py", "..%2ftransport.py", "files/page.js", "x"])
async def test_no_other_file_can_be_read(path: str) -> None:
    """No path leads out of the page's files."""
    async with page_server(agent()) as (_, port), await anyio.connect_tcp("127.0.0.1", port) as raw:
        await raw.send(f"GET /{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        assert (await raw.receive()).split(b" ")[1] == b"404"


def test_the_page_refers_to_nothing_but_its_files() -> None:
    """The files are complete, name no other server, and have neither inline scripts nor markup made of words."""
    folder = files("voicepipe.serving.page") / "files"
    assert {entry.name for entry in folder.iterdir()} == {*FILES}
    for name in FILES:
        text = (folder / name).read_text(encoding="utf-8")
        assert set(re.findall(r"https?://[^\s\"'<]+", text)) <= {"http://www.w3.org/2000/svg"}
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|\bon\w+=[\"']", text)
        for used in re.findall(r"(?:src|href|from|URL)[=( ]\"(?:\./)?([\w.]+)\"", text):
            assert used in FILES or used in ("token", "webrtc", ".")
    index = (folder / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<(script|style)\b[^>]*>(?!</script>)", index) == []
    assert "style=" not in index


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"path": "talk/"}, 'path must begin and end with "/"'),
        ({"path": "/talk"}, 'path must begin and end with "/"'),
        ({"path": "/{talk}/"}, 'path must begin and end with "/"'),
        ({"sample_rate": 96_000}, "sample_rate must be 8000 to 48000"),
        ({"sample_rate": 22_051}, "a multiple of 50"),
    ],
)
def test_invalid_settings_are_refused(options: dict[str, object], said: str) -> None:
    """What cannot work is said when the page is made."""
    with pytest.raises(vp.ConfigurationError, match=re.escape(said)):
        Page(**options)
