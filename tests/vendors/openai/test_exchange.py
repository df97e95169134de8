"""One request to the model over HTTP: what counts as a reply, what an error quotes, and what waits for what."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.questions import ask_raw, calling
from tests.helpers.raw_server import DONE, END, HEAD, Act, RawServer, answer, data, delta, text
from voicepipe.errors import AuthenticationError
from voicepipe.http.client import HTTPClient
from voicepipe.vendors.openai.deadlines import Deadlines
from voicepipe.vendors.openai.exchange import Exchange

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        pytest.param(
            answer("200 OK", b"<html>4711</html>", kind="text/html"), "not a reply (text/html); is", id="page"
        ),
        pytest.param(answer("200 OK", b"", kind="text/plain"), "not a reply (text/plain)", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n4711", "not a reply (no content type)", id="no type"),
        pytest.param(answer("200 OK", b'{"balance": 4711}'), "not a completion: it holds: balance", id="JSON"),
        pytest.param(answer("200 OK", b"[4711]"), "not a JSON object", id="list"),
        pytest.param(answer("200 OK", b'{"choices": [4711'), "not JSON", id="broken"),
        pytest.param(answer("200 OK", b'{"n": 4711' + b" " * (1 << 18) + b"}"), "more than 262144 bytes", id="long"),
    ],
)
async def test_a_200_that_is_anything_else_is_not_quoted(reply: bytes, said: str) -> None:
    """A body that is neither a reply nor an error is refused at once and not quoted: it may hold any data."""
    asked, server = await ask_raw([reply])

    assert asked.said == ""
    assert said in str(asked.end.error)
    assert "4711" not in str(asked.end.error)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"detail": "no such model"},
        {"errors": [{"message": "no such model"}]},
        {"status": 400, "message": "no such model"},
        [{"error": {"message": "no such model"}}],
        {"choices": [{"index": 0, "delta": {}, "finish_reason": None, "error": {"message": "no such model"}}]},
    ],
    ids=str,
)
async def test_an_error_in_a_stream_is_quoted_after_one_request(body: object) -> None:
    """An error of any shape is quoted, whether or not text came before it."""
    for said in ([], [text("First. ")]):
        asked, server = await ask_raw([HEAD, *said, data(body), DONE])

        assert isinstance(asked.end, vp.TurnFailed)
        assert "no such model" in str(asked.end.error)
        assert len(server.requests) == 1


BOM = b"\xef\xbb\xbf"


SSE = "text/event-stream"


@pytest.mark.parametrize(
    "kind",
    [
        *(
            "Text/Event-Stream;charset=UTF-8",
            f"{SSE}; charset=utf-16",
            f"{SSE}; charset=hex",
            f"{SSE}; charset=latin-1",
        ),
        *("text/html", "text/plain", "application/json", "application/octet-stream"),
    ],
)
async def test_a_stream_is_one_whatever_its_head_says(kind: str) -> None:
    """What begins like events is read as events, in UTF-8."""
    asked, _ = await ask_raw(
        [f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n\r\n".encode(), text("Gr\u00fc\u00df dich."), END]
    )
    assert (asked.said, type(asked.end)) == ("Gr\u00fc\u00df dich.", vp.TurnCompleted)


@pytest.mark.parametrize(
    "begin",
    [
        [b""],
        [BOM],
        [BOM[:1], 0.1, BOM[1:2], 0.1, BOM[2:]],
        [b"\r\n"],
        [b": hello\n\n"],
        [b"event: message\n"],
        [b"id: 1\n"],
    ],
    ids=str,
)
async def test_a_stream_may_begin_in_many_ways(begin: list[Act]) -> None:
    """A byte order mark, blanks, comments and fields may precede the first word."""
    for kind in (HEAD, b"HTTP/1.1 200 OK\r\n\r\n"):
        asked, _ = await ask_raw([kind, *begin, text("It is not "), text("sunny."), END])
        assert (asked.said, type(asked.end)) == ("It is not sunny.", vp.TurnCompleted)


@pytest.mark.parametrize("kind", [SSE, "text/html", "application/json; charset=utf-16"])
@pytest.mark.parametrize("begin", [b"", BOM, b"\n ", BOM + b"\n"])
async def test_a_completion_is_one_whatever_its_head_says(kind: str, begin: bytes) -> None:
    """What begins like JSON is read as a whole reply."""
    choice = {"message": {"role": "assistant", "content": "Very well."}, "finish_reason": "stop"}
    asked, _ = await ask_raw(
        [answer("200 OK", begin + json.dumps({"choices": [choice]}, indent=1).encode(), kind=kind)]
    )
    assert (asked.said, type(asked.end)) == ("Very well.", vp.TurnCompleted)


@pytest.mark.parametrize("rest", ["hold", "reset"])
async def test_a_refusal_without_its_whole_body_is_a_refusal(rest: Act) -> None:
    """The status of a refusal decides; the error quotes the part of the body that arrives within half a second."""
    asked, server = await ask_raw([b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 99\r\n\r\nbad key", 0.1, rest])

    assert isinstance(asked.end.error, AuthenticationError)
    assert "HTTP 401: bad key; check the key" in str(asked.end.error)
    assert (asked.took_s, len(server.requests)) == (0.5 if rest == "hold" else 0.1, 1)


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(["hold"], id="nothing"),
        pytest.param([text("ghost"), 0.2, "repeat"], id="more text for ever"),
        pytest.param([b": ping\n\n", 0.2, "repeat"], id="comments for ever"),
    ],
)
@pytest.mark.parametrize("end", [END, data(delta("stop"))], ids=["done", "finish reason"])
async def test_a_stream_that_does_not_close_does_not_hold_the_turn(end: bytes, after: list[Act]) -> None:
    """A reply that has ended is whole; the turn waits 50 ms for the end of the response, whatever still comes."""
    asked, _ = await ask_raw([HEAD, text("Very well."), end, *after])

    assert isinstance(asked.end, vp.TurnCompleted)
    assert (asked.said, asked.took_s) == ("Very well.", 0.05)


async def test_a_stream_that_does_not_close_is_closed() -> None:
    """Half a second after the end of the reply the connection is closed."""
    server = RawServer([HEAD, text("Very well."), END, "hold"])
    async with server.serve() as base_url, calling(base_url) as session:
        began_s = anyio.current_time()
        await session.user_says("How are you?")
        await server.gone.wait()
        assert round(anyio.current_time() - began_s, 3) == 0.5


class SlowOutbox:
    """Takes ten seconds for each piece, like a stage that waits for the caller."""

    def __init__(self) -> None:
        self.parts: list[Any] = []

    async def send(self, item: Any, /) -> None:
        await anyio.sleep(10.0)
        self.parts.append(item)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("limits", [Deadlines(), None], ids=["pieces", "whole"])
async def test_only_the_network_is_waited_for(limits: Deadlines | None) -> None:
    """The time for which the outbox holds a piece up is not the service's."""
    async with RawServer([HEAD, text("One"), 1.0, text(" two"), 1.0, END]).serve() as base_url:
        http, outbox = HTTPClient(base_url, {}), SlowOutbox()
        async with http.open():
            await Exchange(http, "{}", outbox, limits=limits).run()
    assert [getattr(part, "text", "") for part in outbox.parts] == ["One", " two", ""]


RAN: list[str] = []


@vp.tool(effect="write")
async def book(day: str) -> str:
    """Book a table."""
    RAN.append(day)
    return "booked"


@vp.tool(effect="write")
async def cancel() -> str:
    """Cancel the booking."""
    RAN.append("cancelled")
    return "cancelled"


def call(**fields: Any) -> bytes:
    return data(delta(tool_calls=[fields]))


def piece(written: str, name: str | None = None) -> dict[str, str]:
    return {"arguments": written} | ({"name": name} if name else {})


ALL_CALLED = data(delta("tool_calls")) + DONE
TWO = [{"index": 0, "id": "a", "function": piece('{"day":"mo"}', "book")}]


@pytest.mark.parametrize(
    ("acts", "ran"),
    [
        pytest.param(
            [
                *(call(index=at, id=name, function=piece('{"day":', "book")) for at, name in (("0", "a"), ("1", "b"))),
                *(call(index=at, function=piece(day)) for at, day in (("0", '"mo"}'), ("1", '"tu"}'))),
                ALL_CALLED,
            ],
            ["mo", "tu"],
            id="indices as text",
        ),
        pytest.param(
            [
                *(call(id=name, function=piece('{"day":', "book")) for name in "ab"),
                *(call(id=name, function=piece(day)) for name, day in (("a", '"mo"}'), ("b", '"tu"}'))),
                ALL_CALLED,
            ],
            ["mo", "tu"],
            id="ids alone",
        ),
        pytest.param(
            [data({"choices": [{"index": at, "delta": {"tool_calls": TWO}} for at in (0, 1)]}), ALL_CALLED],
            ["mo"],
            id="two choices",
        ),
        pytest.param(
            [call(index=0, id="a", function=piece("", "cancel")), data(delta("length")), DONE], [], id="cut before"
        ),
        pytest.param(
            [call(index=0, id="a", function=piece("", "cancel")), ALL_CALLED], ["cancelled"], id="no arguments"
        ),
    ],
)
async def test_each_call_runs_with_its_own_arguments(acts: list[Act], ran: list[str]) -> None:
    """A call runs once, with what the model wrote for it, however a service numbers calls and choices."""
    RAN.clear()
    server = RawServer([HEAD, *acts], [HEAD, text("Very well."), END])
    async with server.serve() as base_url, calling(base_url, router=vp.ToolRouter([book, cancel])) as session:
        await session.user_says("Book it.")
    assert ran == RAN


async def test_a_tool_does_not_wait_for_the_end_of_a_stream() -> None:
    """A tool runs, and its result is sent, when the calls are complete; an open response costs 50 ms."""
    called: list[Act] = [HEAD, call(index=0, id="a", function=piece("", "cancel")), ALL_CALLED, "hold"]
    server = RawServer(called, [HEAD, text("Very well."), END])
    async with server.serve() as base_url, calling(base_url, router=vp.ToolRouter([book, cancel])) as session:
        await session.user_says("Book it.")
    first, second = server.requests
    assert round(second.at_s - first.at_s, 3) == 0.05
