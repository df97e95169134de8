"""The model over HTTP, asked by a whole session: what happens to a reply."""

from __future__ import annotations

import json
import random

import pytest

import voicepipe as vp
from tests.helpers.questions import ask, ask_raw
from tests.helpers.raw_server import DONE, END, HEAD, Act, RawServer, answer, data, delta, text
from voicepipe.errors import AuthenticationError, IncompleteReply, RateLimited, VendorError
from voicepipe.testing import Breaks, Refuses, Says, ScriptedGateway

pytestmark = pytest.mark.anyio

KEY = "sk-canary-7f3a"
ERROR = {"error": {"message": "the service is on fire", "type": "server_error"}}


# --- sent again, or reported ------------------------------------------------------------------------------------------

GOOD: list[Act] = [HEAD, text("Very well."), END]


@pytest.mark.parametrize(
    "first",
    [
        pytest.param([answer("500 Internal Server Error", b"boom")], id="500"),
        pytest.param([answer("503 Service Unavailable", b"<html>busy</html>", kind="text/html")], id="503"),
        pytest.param([answer("408 Request Timeout", b"")], id="408"),
        pytest.param(["reset"], id="reset before the head"),
        pytest.param([], id="closed before the head"),
        pytest.param([HEAD], id="stream without events"),
        pytest.param([HEAD, b": ping\n\n", "reset"], id="reset before the first event"),
        pytest.param([HEAD, data(delta(role="assistant", content=""))], id="cut before the first word"),
        pytest.param([b"no HTTP at all\r\n\r\n"], id="garbage"),
    ],
)
async def test_what_may_pass_is_asked_again_before_the_first_word(first: list[Act]) -> None:
    """A request that failed before anything of its reply was used is sent again: the caller hears one reply."""
    asked, server = await ask_raw(first, GOOD)

    assert asked.said == "Very well."
    assert isinstance(asked.end, vp.TurnCompleted)
    assert (len(server.requests), asked.retries) == (2, 1)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("400 Bad Request", VendorError),
        ("401 Unauthorized", AuthenticationError),
        ("403 Forbidden", AuthenticationError),
        ("404 Not Found", VendorError),
    ],
)
async def test_a_refusal_for_good_is_not_repeated(status: str, error: type[Exception]) -> None:
    """A final refusal is not repeated, and the error quotes the status and the beginning of the body."""
    asked, server = await ask_raw([answer(status, b"bad\n" + b"x" * 1000)])

    assert type(asked.end.error) is error
    assert status[:3] in str(asked.end.error)
    assert "bad xxx" in str(asked.end.error)
    assert len(str(asked.end.error)) < 300
    assert len(server.requests) == 1


async def test_a_service_that_stays_broken_is_asked_three_times() -> None:
    """A service that fails quickly gets three requests a turn, and the turn fails with its error."""
    asked, server = await ask_raw([answer("500 Internal Server Error", b"boom")])

    assert "HTTP 500: boom" in str(asked.end.error)
    assert len(server.requests) == 3


async def test_it_is_asked_again_at_once_and_then_a_little_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second try comes at once, the third one after 0.4 s, shortened by up to half at random."""
    drawn: list[tuple[float, float]] = []
    monkeypatch.setattr(random, "uniform", lambda low, high: drawn.append((low, high)) or high)
    asked, server = await ask_raw([answer("500 Internal Server Error", b"boom")])

    assert [request.at_s - server.requests[0].at_s for request in server.requests] == [0.0, 0.0, 0.4]
    assert asked.took_s == 0.4
    assert drawn == [(0.5, 1.0)] * 2


async def test_a_refused_connection_names_the_url() -> None:
    """If nothing listens at the URL, the turn fails after the third try, and the error names the URL to check."""
    async with RawServer([]).serve() as base_url:
        pass
    asked = await ask(base_url)

    assert f"cannot connect to {base_url}" in str(asked.end.error)
    assert asked.retries == 2


async def test_retry_after_is_obeyed_when_it_fits() -> None:
    """After a 429 that asks for two seconds the request is sent again exactly two seconds later."""
    gateway = ScriptedGateway([Refuses(429, "slow down", retry_after_s=2), Says("Very well.")])
    async with gateway.serve() as base_url:
        asked = await ask(base_url)

    first, second = [request.received_s for request in gateway.requests if request.method == "POST"]
    assert round(second - first, 6) == 2.0
    assert asked.said == "Very well."


async def test_retry_after_that_does_not_fit_fails_at_once() -> None:
    """A 429 that asks for half a minute fails the turn at once, and the error says for how long."""
    gateway = ScriptedGateway([Refuses(429, "slow down", retry_after_s=30)])
    async with gateway.serve() as base_url:
        asked = await ask(base_url)

    assert isinstance(asked.end.error, RateLimited)
    assert asked.end.error.retry_after_s == 30
    assert asked.took_s == 0.0


async def test_retry_after_must_fit_the_turn() -> None:
    """A turn that has one second left fails at once when the service asks for two."""
    gateway = ScriptedGateway([Refuses(429, "slow down", retry_after_s=2)])
    async with gateway.serve() as base_url:
        asked = await ask(base_url, turn_s=1.0)

    assert isinstance(asked.end.error, RateLimited)
    assert asked.took_s == 0.0


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param([], id="ends without a finish reason"),
        pytest.param(["reset"], id="reset"),
        pytest.param([data(ERROR), END], id="error object"),
        pytest.param([b"event: error\n" + data(ERROR)], id="error event"),
        pytest.param([data(b'{"choices": [{"del'), END], id="broken JSON"),
        pytest.param([data([1]), END], id="no object"),
        pytest.param([data(b"[" * 100_000), END], id="nested too deeply"),
        pytest.param([b"data: " + b"x" * (2 << 20)], id="an event without end"),
    ],
)
async def test_a_cut_reply_is_never_repeated(broken: list[Act]) -> None:
    """After the first word a failure is an `IncompleteReply`: what was said stays, and nothing is sent again."""
    asked, server = await ask_raw([HEAD, text("First. "), text("Second"), 0.1, *broken])

    assert asked.said.startswith("First. Second")
    assert isinstance(asked.end, vp.TurnFailed)
    assert isinstance(asked.end.error, IncompleteReply)
    assert len(server.requests) == 1


async def test_an_event_that_is_named_error_is_one() -> None:
    """Whatever shape the data of an error event has, the error quotes it."""
    asked, _ = await ask_raw(
        [HEAD, text("First. "), b"event: error\n" + data({"detail": "overloaded"}), text("x"), END]
    )

    assert isinstance(asked.end.error, IncompleteReply)
    assert "overloaded" in str(asked.end.error)


async def test_a_connection_that_breaks_in_the_middle_cuts_the_reply() -> None:
    """A connection that breaks inside a chunked body cuts the reply."""
    async with ScriptedGateway([Breaks("Half a sent")]).serve() as base_url:
        asked = await ask(base_url)

    assert isinstance(asked.end.error, IncompleteReply)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "no such model", "type": "invalid_request_error", "code": 400}},
        {"error": "no such model"},
        {"code": 404, "message": "no such model"},
        {"code": "model_not_found", "message": "no such model"},
        {"type": "error", "message": "no such model"},
        {"object": "error", "message": "no such model"},
        {"detail": "no such model"},
        [{"error": "no such model"}],
    ],
    ids=str,
)
async def test_a_200_that_is_an_error_is_quoted(body: object) -> None:
    """An error with status 200 fails the turn with its own words, after one request."""
    asked, server = await ask_raw([answer("200 OK", json.dumps(body).encode())])

    assert json.dumps(body) in str(asked.end.error)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "head",
    [
        ["retry-after: 2"],
        ["retry-after: Sun, 22 Nov 2026 10:00:02 GMT", "date: Sun, 22 Nov 2026 10:00:00 GMT"],
    ],
    ids=["seconds", "date"],
)
@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable", "529 Overloaded"])
async def test_any_service_may_ask_to_wait(status: str, head: list[str]) -> None:
    """After a temporary refusal the request is sent again at the time it names, in seconds or as a date."""
    asked, server = await ask_raw([answer(status, b"", *head)], GOOD)

    assert asked.said == "Very well."
    assert round(server.requests[1].at_s - server.requests[0].at_s, 6) == 2.0


async def test_a_short_wait_does_not_shorten_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request to wait for less than the pause between two tries does not shorten that pause."""
    monkeypatch.setattr(random, "uniform", lambda _low, high: high)
    _, server = await ask_raw([answer("429 Too Many Requests", b"", "retry-after: 0.1")])
    assert [round(request.at_s - server.requests[0].at_s, 6) for request in server.requests] == [0.0, 0.1, 0.5]


async def test_a_redirect_is_not_followed() -> None:
    """A redirect to another server fails the turn; the other server sees no request, and so no key."""
    other = RawServer(GOOD)
    async with other.serve() as elsewhere:
        moved = answer("307 Temporary Redirect", b"", f"location: {elsewhere}/chat/completions")
        asked, server = await ask_raw([moved], api_key=KEY)

    assert "redirects are not followed: change base_url" in str(asked.end.error)
    assert (len(server.requests), other.requests) == (1, [])


# --- silence ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "fails_at_s", "requests", "error"),
    [
        pytest.param(["hold"], 8.0, 2, "did not answer within 4 s", id="no byte"),
        pytest.param([HEAD, "hold"], 8.0, 2, "the first token (4 s)", id="only a head"),
        pytest.param([HEAD, b": ping\n\n", 0.5, "repeat"], 8.0, 2, "the first token (4 s)", id="only comments"),
        pytest.param([HEAD, 1.0, text("Well"), "hold"], 4.0, 1, "the next piece (3 s)", id="stall"),
        pytest.param([HEAD, text("Well"), b": ping\n\n", 0.5, "repeat"], 3.0, 1, "next piece (3 s)", id="comments"),
        pytest.param([HEAD, text("a"), 1.0, "repeat"], 6.0, 1, "the first sentence (6 s)", id="letters dribble in"),
        pytest.param([b"HTTP/1.1 200 OK\r\n", b"a: b\r\n", 1.0, "repeat"], 8.0, 2, "within 4 s", id="head dribbles in"),
    ],
)
async def test_silence_ends_at_its_deadline(reply: list[Act], fails_at_s: float, requests: int, error: str) -> None:
    """Each wait ends at its deadline, to the microsecond; comments are no progress; silence gets two requests."""
    asked, server = await ask_raw(reply)

    assert (asked.took_s, len(server.requests)) == (fails_at_s, requests)
    assert error in str(asked.end.error)


async def test_a_body_that_does_not_come_is_silence() -> None:
    """An answer that is not a stream has the first-token deadline for its whole body."""
    asked, _ = await ask_raw([b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{", "hold"])

    assert asked.took_s == 8.0
    assert "fell silent: the first token (4 s)" in str(asked.end.error)


async def test_deadlines_are_options() -> None:
    """The deadlines of a stage can be set."""
    asked, _ = await ask_raw(["hold"], deadlines=vp.Deadlines(first_token_s=0.5))

    assert asked.took_s == 1.0


async def test_a_slow_reply_that_moves_is_whole() -> None:
    """A reply may take as long as it likes once it speaks, as long as something comes within each gap."""
    words = [act for word in ["One."] + [" more"] * 9 for act in (text(word), 2.9)]
    asked, _ = await ask_raw([HEAD, *words, END])

    assert asked.said == "One." + " more" * 9
    assert asked.took_s == 29.0


# --- legal oddities ---------------------------------------------------------------------------------------------------

WELL = "Very well."


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param([text(WELL), END], id="plain"),
        pytest.param([b"\n".join(text(WELL).replace(b"data: ", b"data:").splitlines()) + b"\n\n", END], id="no space"),
        pytest.param([b": hello\n\n", b"id: 1\nretry: 10\n\n", text(WELL), b": bye\n\n", END], id="comments, ids"),
        pytest.param([text(WELL).replace(b"\n", b"\r\n"), END.replace(b"\n", b"\r\n")], id="CRLF"),
        pytest.param([text(WELL), data(delta("stop"))], id="no [DONE]"),
        pytest.param([text(WELL), END, text(" ghost")], id="text after [DONE]"),
        pytest.param([text(WELL), data(delta("stop", content=None)), text(" ghost"), DONE], id="text after the end"),
        pytest.param([data({"choices": []}), text(WELL), END, data({"choices": [], "usage": {}})], id="no choices"),
        pytest.param([data({"choices": None}), data({"type": "ping"}), text(WELL), END], id="unknown objects"),
        pytest.param([data({"choices": [{"delta": None}]}), text(WELL), END], id="null delta"),
        pytest.param([text(None), data(delta()), text(""), text(WELL), END], id="null content"),
        pytest.param([data(delta(tool_calls=[{"index": 0}])), text(WELL), END], id="blank tool delta"),
        pytest.param([data(delta(tool_calls=[None], content=WELL)), END], id="null tool call"),
        pytest.param([data(delta("stop", content=WELL)), DONE], id="text and end in one"),
        pytest.param([text(WELL), END, 0.1, "reset"], id="reset after the end"),
        pytest.param([bytes([byte]) for byte in text(WELL) + END], id="a byte at a time"),
    ],
)
async def test_legal_oddities_of_a_stream_do_no_harm(stream: list[Act]) -> None:
    """Whatever a service sends around the words, the whole reply is said, once, without a warning."""
    asked, server = await ask_raw([HEAD, *stream])

    assert asked.said == WELL
    assert isinstance(asked.end, vp.TurnCompleted)
    assert (asked.retries, len(server.requests)) == (0, 1)


def escaped(content: str) -> bytes:
    return data(json.dumps(delta(content=content)).encode())


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        pytest.param([text("one\u2028two.")], "one\u2028two.", id="U+2028"),
        pytest.param([escaped("\ud840"), escaped("\udc00 hi.")], "\U00020000 hi.", id="halves"),
        pytest.param([escaped("\ud83d"), text("hi.")], "\ufffdhi.", id="a lost half"),
        pytest.param([text("caf").replace(b"caf", b"caf\xff"), text(" hi.")], "caf\ufffd hi.", id="no UTF-8"),
    ],
)
async def test_characters_arrive_whole(pieces: list[bytes], said: str) -> None:
    """Text arrives unchanged; bytes that are not characters are replaced, and never break the call."""
    asked, _ = await ask_raw([HEAD, *pieces, END])

    assert asked.said == said
    assert isinstance(asked.end, vp.TurnCompleted)


async def test_a_whole_completion_is_used() -> None:
    """The reply of a service that does not stream is used, too."""
    choice = {"message": {"role": "assistant", "content": WELL}, "finish_reason": "stop"}
    asked, _ = await ask_raw([answer("200 OK", json.dumps({"choices": [choice]}).encode())])

    assert asked.said == WELL
    assert asked.end.finish_reason == "stop"


@pytest.mark.parametrize("reason", ["stop", "end_turn", "something new"])
async def test_the_finish_reason_is_shown(reason: str) -> None:
    """The terminal event holds the service's own finish reason."""
    asked, _ = await ask_raw([HEAD, text("Very we"), data(delta(reason))])
    assert (type(asked.end), asked.end.finish_reason) == (vp.TurnCompleted, reason)


@pytest.mark.parametrize("reason", ["length", "MAX_TOKENS", "content_filter"])
async def test_a_reply_that_the_service_cuts_fails_its_turn(reason: str) -> None:
    """A reply that was stopped in the middle is an `IncompleteReply`, and the event holds the service's reason."""
    asked, server = await ask_raw([HEAD, text("Very we"), data(delta(reason))])
    assert (type(asked.end), asked.end.finish_reason) == (vp.TurnFailed, reason)
    assert isinstance(asked.end.error, IncompleteReply)
    assert len(server.requests) == 1


async def test_a_refusal_in_words_is_spoken() -> None:
    """Text in the field for refusals is spoken like any other text."""
    asked, _ = await ask_raw([HEAD, data(delta(content=None, refusal="I cannot help with that.")), END])

    assert asked.said == "I cannot help with that."


async def test_an_endless_reply_is_bounded() -> None:
    """A reply is cut at 16 KiB of text, and reported as incomplete."""
    asked, server = await ask_raw([HEAD, text("word " * 200), 0.001, "repeat"])

    assert isinstance(asked.end.error, IncompleteReply)
    assert "longer than 16384 characters" in str(asked.end.error)
    assert len(asked.said) == 16 * 1024
    assert len(server.requests) == 1
