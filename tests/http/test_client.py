"""Requests and responses over HTTP."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.helpers.get_server import GetServer
from tests.helpers.raw_server import HEAD, Act, RawServer, answer, data
from voicepipe.errors import ConfigurationError, VendorError
from voicepipe.http import client
from voicepipe.http.client import HTTPClient

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.anyio

KEY = "sk-canary-7f3a"


async def events(*acts: Act) -> list[str]:
    """Return the data of the events of a stream."""
    async with RawServer([HEAD, *acts]).serve() as base_url:
        client = HTTPClient(base_url, {})
        async with (
            client.open(),
            client.post("/x", "{}", limit_s=1.0) as response,
            aclosing(response.events()) as found,
        ):
            return [data async for data, _ in found]


@pytest.mark.parametrize(
    ("acts", "found"),
    [
        pytest.param([data(b"one"), data(b"two")], ["one", "two"], id="two events"),
        pytest.param([b"data:one\n\n"], ["one"], id="no space"),
        pytest.param([b": note\n\nid: 3\n\nretry: 9\n\ndata: one\n\n"], ["one"], id="comments and fields"),
        pytest.param([b"data: one\r\ndata: two\r\n\r\n"], ["one\ntwo"], id="several lines"),
        pytest.param([b"data:\n\n", data(b"one")], ["one"], id="empty data"),
        pytest.param([data("a\u2028b\u2029c\u0085d".encode())], ["a\u2028b\u2029c\u0085d"], id="Unicode's line ends"),
        pytest.param([bytes([byte]) for byte in data("\u00e9\U0001f600".encode())], ["\u00e9\U0001f600"], id="bytes"),
        pytest.param([], [], id="nothing"),
    ],
)
async def test_events_are_the_data_of_a_stream(acts: Sequence[Act], found: list[str]) -> None:
    """Only events with data are events; everything else in a stream is skipped."""
    assert await events(*acts) == found


@pytest.mark.parametrize(
    "piece",
    [pytest.param(b"data: " + b"x" * 65_000, id="line"), pytest.param(b"data: x\n" * 8_000, id="lines without number")],
)
async def test_an_event_without_end_is_refused(piece: bytes) -> None:
    """An event without an end is cut off at a mebibyte, so that it does not fill memory."""
    with pytest.raises(VendorError, match="an event is longer than 1048576 bytes") as raised:
        await events(piece, 0.0, "repeat")
    assert not raised.value.retryable


async def test_a_path_keeps_its_query() -> None:
    """The parameters of a client are added to those of a path."""
    for params, path in (({}, "/token?expires=60"), ({"version": "2"}, "/token?expires=60&version=2")):
        server = GetServer(answer("200 OK", b"{}"))
        async with server.serve() as url:
            client = HTTPClient(url, {}, params=params)
            async with client.open(), client.get("/token?expires=60", limit_s=1.0) as response:
                assert await response.body(10) == b"{}"
        assert server.asked[0].startswith(f"GET {path} HTTP/1.1")


async def test_a_long_stream_of_events_is_read() -> None:
    """The limit counts for one event; a stream may be of any length."""
    piece = data(b"x" * 60_000)
    assert len(await events(*[piece] * 40)) == 40


async def test_a_cut_body_is_a_vendor_error() -> None:
    """A connection that ends inside a chunk is a retryable error."""
    head = HEAD.replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n")
    async with RawServer([head, b"20\r\ndata: x\n\n"]).serve() as base_url:
        client = HTTPClient(base_url, {})
        async with client.open(), client.post("/x", "{}", limit_s=1.0) as response:
            with pytest.raises(VendorError, match=r"the connection to 127\.0\.0\.1 broke") as raised:
                async for _ in response.events():
                    pass
    assert raised.value.retryable


async def test_a_body_is_read_up_to_its_limit() -> None:
    """Only the beginning of a long body is returned."""
    async with RawServer([answer("200 OK", b"abcdef")]).serve() as base_url:
        client = HTTPClient(base_url, {})
        async with client.open(), client.post("/x", "{}", limit_s=1.0) as response:
            assert response.status == 200
            assert response.content_type == "application/json"
            assert response.header("Content-Length") == "6"
            assert response.header("retry-after") is None
            assert await response.body(4) == b"abcd"


async def test_a_response_is_closed_with_its_block() -> None:
    """A response that was not read to its end is closed with its block, while the client stays open."""
    server = RawServer([HEAD, b"abcdef", "hold"])
    async with server.serve() as base_url:
        client = HTTPClient(base_url, {})
        async with client.open():
            async with client.post("/x", "{}", limit_s=1.0) as response:
                assert response.status == 200
                assert not server.gone.is_set()
            with anyio.fail_after(1.0):
                await server.gone.wait()


async def test_a_silent_server_is_given_up_at_the_limit() -> None:
    """Waiting for a response's head ends exactly at its limit."""
    async with RawServer(["hold"]).serve() as base_url:
        client = HTTPClient(base_url, {})
        async with client.open():
            with pytest.raises(VendorError, match=r"did not answer within 1\.5 s"):
                async with client.post("/x", "{}", limit_s=1.5):
                    pytest.fail("there is no response")
    assert round(anyio.current_time(), 6) == 1.5


async def test_half_a_surrogate_pair_can_be_sent() -> None:
    """A question mark takes the place of what UTF-8 cannot hold: one odd word must not end a call."""
    server = RawServer([answer("200 OK", b"")])
    async with server.serve() as base_url:
        client = HTTPClient(base_url, {})
        async with client.open(), client.post("/x", '{"text": "a\ud83db"}', limit_s=1.0):
            pass
    assert server.requests[0].body == {"text": "a?b"}


async def test_answers_are_asked_for_uncompressed() -> None:
    """A compressing server would hold tokens back until a block is full."""
    server = RawServer([answer("200 OK", b"")])
    async with server.serve() as base_url:
        client = HTTPClient(base_url, {"Authorization": f"Bearer {KEY}"})
        async with client.open(), client.post("/x", "{}", limit_s=1.0):
            pass
    sent = server.requests[0].headers.lower()
    assert "accept-encoding: identity" in sent
    assert "content-type: application/json" in sent
    assert f"authorization: bearer {KEY}" in sent


async def test_a_client_is_used_inside_of_open() -> None:
    """A request outside of `open` says what is wrong."""
    client = HTTPClient("https://api.example.com/v1", {})
    with pytest.raises(ConfigurationError, match=r"api\.example\.com is used outside"):
        async with client.post("/x", "{}", limit_s=1.0):
            pytest.fail("sent")


async def test_a_client_shows_its_host_alone() -> None:
    """Its repr has neither key nor path."""
    client = HTTPClient("https://api.example.com/v1", {"Authorization": f"Bearer {KEY}"})
    assert repr(client) == "<HTTPClient api.example.com>"


async def test_what_must_not_be_shown_is_taken_out_of_words() -> None:
    """The text of a body that is shown, and the error for a refusal, go through `hide`."""
    async with RawServer([answer("401 Unauthorized", f"bad key {KEY}".encode())]).serve() as base_url:
        client = HTTPClient(base_url, {}, hide=lambda text: text.replace(KEY, "***"))
        async with client.open():
            for read in (lambda response: response.words(99), lambda response: response.refusal()):
                async with client.post("/x", "{}", limit_s=1.0) as response:
                    shown = str(await read(response))
                    assert "bad key ***" in shown
                    assert KEY not in shown


async def test_the_connection_timeout_is_bounded() -> None:
    """The limit for connecting is below the deadline of a first token."""
    assert 0 < client.CONNECT_S < 4.0


async def test_a_proxy_of_the_environment_never_sees_a_key_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request to loopback goes straight there, whatever HTTP_PROXY says."""
    proxy = RawServer([answer("200 OK", b"{}")])
    service = RawServer([answer("200 OK", b"{}")])
    async with proxy.serve() as proxy_url, service.serve() as base_url:
        monkeypatch.setenv("HTTP_PROXY", proxy_url.removesuffix("/v1"))
        monkeypatch.setenv("http_proxy", proxy_url.removesuffix("/v1"))
        client = HTTPClient(base_url, {"authorization": f"Bearer {KEY}"})
        async with client.open(), client.post("/x", "{}", limit_s=1.0) as response:
            assert response.status == 200
    assert (len(proxy.requests), len(service.requests)) == (0, 1)
