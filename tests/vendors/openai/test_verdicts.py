"""What finish reasons and error objects mean: by themselves, and for a turn."""

from __future__ import annotations

import json
from typing import Any

import pytest

import voicepipe as vp
from tests.helpers.questions import ask_raw
from tests.helpers.raw_server import DONE, END, HEAD, Act, answer, data, delta, text
from voicepipe.errors import AuthenticationError, IncompleteReply, RateLimited, VendorError
from voicepipe.flow import ReplyEnd
from voicepipe.vendors.openai.verdicts import failed_reply, finish_reason_in, is_passing, reported

pytestmark = pytest.mark.anyio

GOOD: list[Act] = [HEAD, text("Very well."), END]


# --- finish reasons ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reason",
    [
        *(
            "stop",
            "eos",
            "eos_token",
            "stop_sequence",
            "end_turn",
            "tool_calls",
            "tool_use",
            "function_call",
            "COMPLETE",
        ),
        "a word of next year",
    ],
)
def test_a_reply_that_ended_by_itself_is_whole(reason: str) -> None:
    """The usual words for an end, and words that nobody knows yet, mean a whole reply."""
    assert not failed_reply(reason)
    assert not ReplyEnd(finish_reason=reason).is_cut


@pytest.mark.parametrize(
    "reason",
    [
        *("length", "MAX_TOKENS", "model_length", "content_filter", "SAFETY", "refusal", "guardrail_intervened"),
        *("sensitive", "model_context_window_exceeded"),
    ],
)
def test_a_reply_that_the_service_stopped_is_cut(reason: str) -> None:
    """A limit or a filter stops a reply in the middle; that is no failure of the service."""
    assert ReplyEnd(finish_reason=reason).is_cut
    assert not failed_reply(reason)


FAILED = [
    *("error", "ERROR", "abort", "insufficient_system_resource", "network_error", "timeout", "MALFORMED_FUNCTION_CALL"),
    *("function_call_filter: MALFORMED_FUNCTION_CALL", "tool_use_failed"),
]


@pytest.mark.parametrize("reason", FAILED)
def test_a_reason_that_reports_a_failure_is_one(reason: str) -> None:
    """Services report their own failures as finish reasons, each in its own spelling."""
    assert failed_reply(reason)
    assert not ReplyEnd(finish_reason=reason).is_cut


@pytest.mark.parametrize("reason", [None, 3, "", "null", " None ", "NULL", "FINISH_REASON_UNSPECIFIED"], ids=repr)
def test_a_word_for_null_is_no_reason(reason: object) -> None:
    """A service that writes null as a word has not ended the reply."""
    assert finish_reason_in({"finish_reason": reason}) == ""


async def test_a_reason_in_every_event_that_means_null_cuts_nothing() -> None:
    """The whole reply is said although each of its pieces has the reason "null"."""
    pieces = [data(delta("null", content=piece)) for piece in ("Very ", "well.")]
    asked, _ = await ask_raw([HEAD, *pieces, END])

    assert (asked.said, type(asked.end)) == ("Very well.", vp.TurnCompleted)


@pytest.mark.parametrize("reason", FAILED)
async def test_a_failure_of_the_provider_is_asked_again(reason: str) -> None:
    """Before the first word a finish reason that reports a failure counts like a 503: the request is sent again."""
    asked, server = await ask_raw([HEAD, data(delta(role="assistant", content="")), data(delta(reason)), DONE], GOOD)

    assert (asked.said, type(asked.end)) == ("Very well.", vp.TurnCompleted)
    assert (len(server.requests), asked.retries) == (2, 1)


async def test_a_failure_of_the_provider_after_words_cuts_the_reply() -> None:
    """After the first word it is an `IncompleteReply`, which names the reason, and the request is not sent again."""
    asked, server = await ask_raw([HEAD, text("Your balance is three hund"), data(delta("error")), DONE])

    assert isinstance(asked.end.error, IncompleteReply)
    assert "finish reason 'error'" in str(asked.end.error)
    assert len(server.requests) == 1


# --- empty replies ----------------------------------------------------------------------------------------------------

CHOICE = {"message": {"role": "assistant", "content": None}, "finish_reason": "stop"}


@pytest.mark.parametrize(
    "first",
    [
        pytest.param([HEAD, END], id="stop"),
        pytest.param([HEAD, data(delta("stop", content=""))], id="stop without [DONE]"),
        pytest.param([HEAD, DONE], id="[DONE] alone"),
        pytest.param([HEAD, text(" \n"), END], id="blanks"),
        pytest.param([answer("200 OK", json.dumps({"choices": [CHOICE]}).encode())], id="a whole body"),
    ],
)
async def test_an_empty_reply_is_asked_again(first: list[Act]) -> None:
    """A reply without words and calls is of no use to anybody, so the request is sent again."""
    asked, server = await ask_raw(first, GOOD)

    assert (asked.said, type(asked.end)) == ("Very well.", vp.TurnCompleted)
    assert (len(server.requests), asked.retries) == (2, 1)


async def test_a_service_that_stays_empty_is_asked_three_times() -> None:
    """A service that has nothing to say gets as many requests as one that answers 503, and its turn fails."""
    asked, server = await ask_raw([HEAD, END])

    assert "sent an empty reply (finish reason 'stop')" in str(asked.end.error)
    assert len(server.requests) == 3


@pytest.mark.parametrize(("reason", "remedy"), [("length", "raise max_tokens"), ("content_filter", "refuses")])
async def test_a_reply_that_is_cut_before_its_first_word_is_not_asked_again(reason: str, remedy: str) -> None:
    """The same request would be cut again, so the turn fails at once, and the error says what to do."""
    asked, server = await ask_raw([HEAD, data(delta(reason)), DONE])

    assert f"before its first word ({reason})" in str(asked.end.error)
    assert remedy in str(asked.end.error)
    assert len(server.requests) == 1


# --- [DONE] -----------------------------------------------------------------------------------------------------------


async def test_an_end_that_is_reported_is_an_end() -> None:
    """A whole answer followed by `[DONE]` is whole, also without a finish reason."""
    asked, server = await ask_raw([HEAD, text("Very well."), DONE])

    assert (asked.said, type(asked.end), asked.end.finish_reason) == ("Very well.", vp.TurnCompleted, "")
    assert len(server.requests) == 1


async def test_a_connection_that_just_closes_is_a_failure() -> None:
    """Without a finish reason and without `[DONE]` nobody knows whether the reply was whole."""
    asked, _ = await ask_raw([HEAD, text("Very well.")])

    assert isinstance(asked.end.error, IncompleteReply)
    assert "closed the connection without an end of the reply" in str(asked.end.error)


# --- errors -----------------------------------------------------------------------------------------------------------

PASSING: list[Any] = [
    {"error": {"message": "x", "code": 503}},
    {"error": {"message": "x", "code": "502"}},
    {"error": {"message": "x", "code": 408}},
    {"error": {"message": "x", "code": 529, "metadata": {"provider_name": "p"}}},
    {"code": 500, "message": "x"},
    {"status": 500, "message": "x"},
    {"error": {"message": "x", "type": "server_error"}},
    {"error": {"message": "x", "type": "overloaded_error"}},
    {"error": {"message": "x", "type": "InternalServerError", "code": 500}},
    {"error": {"message": "x", "code": "engine_overloaded"}},
    {"error": {"message": "x", "type": "invalid_request_error", "code": "tool_use_failed"}},
    {"error": {"message": "x", "status": "UNAVAILABLE"}},
    [{"error": {"message": "x", "status": "RESOURCE_EXHAUSTED"}}],
    {"error": {"message": "The model is overloaded. Please try again later."}},
    {"detail": "overloaded"},
    {"errors": [{"message": "overloaded"}]},
]

FINAL: list[Any] = [
    {"error": {"message": "x", "code": 400}},
    {"error": {"message": "x", "code": 404, "type": "server_error"}},
    {"error": {"message": "x", "type": "invalid_request_error", "code": "context_length_exceeded"}},
    {"error": {"message": "x", "code": "model_not_found"}},
    {"error": "no such model"},
    {"detail": [{"msg": "field required", "type": "missing"}]},
    "text",
    None,
    [3],
]


@pytest.mark.parametrize("body", PASSING, ids=json.dumps)
def test_an_error_that_passes_is_known_by_its_code_its_type_or_its_words(body: object) -> None:
    """Codes of 500 and more, 408 and 429, and the words for overload and for a failed call pass, in every shape."""
    assert is_passing(body)


@pytest.mark.parametrize("body", FINAL, ids=json.dumps)
def test_any_other_error_is_final(body: object) -> None:
    """An error that names another code, or nothing that is known to pass, is final."""
    assert not is_passing(body)


@pytest.mark.parametrize(
    ("code", "kind", "retryable"),
    [(429, RateLimited, True), (401, AuthenticationError, False), (503, VendorError, True), (400, VendorError, False)],
)
def test_an_error_in_a_stream_has_the_type_of_its_status(code: int, kind: type[VendorError], retryable: bool) -> None:
    """An error object is the error that its code would be as a status."""
    error = reported("v", "reported an error: x", {"error": {"code": code, "message": "x"}})
    assert (type(error), error.retryable) == (kind, retryable)


@pytest.mark.parametrize("body", [*PASSING[:3], *PASSING[7:11], PASSING[13]], ids=json.dumps)
@pytest.mark.parametrize("where", ["stream", "event", "choice", "refusal"])
async def test_an_error_that_passes_is_asked_again(body: Any, where: str) -> None:
    """Wherever a service says so before the first word, also with the status 400, the request is sent again."""
    asked, server = await ask_raw(
        {
            "stream": [HEAD, data(delta(role="assistant", content="")), data(body), DONE],
            "event": [HEAD, b"event: error\n" + data(body)],
            "choice": [HEAD, data({"choices": [{"index": 0, "delta": {}, **body}]}), DONE],
            "refusal": [answer("400 Bad Request", json.dumps(body).encode())],
        }[where],
        GOOD,
    )

    assert (asked.said, type(asked.end)) == ("Very well.", vp.TurnCompleted)
    assert (len(server.requests), asked.retries) == (2, 1)


async def test_an_error_after_words_cuts_the_reply() -> None:
    """After the first word even an error that passes is an `IncompleteReply`."""
    asked, server = await ask_raw([HEAD, text("Your balance is"), data(PASSING[0]), DONE])

    assert isinstance(asked.end.error, IncompleteReply)
    assert len(server.requests) == 1
