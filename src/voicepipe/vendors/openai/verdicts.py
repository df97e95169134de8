"""What a finish reason or an error object of a service means: whether a reply is whole, and whether to ask again. Pure.

Rule 1: a word that is not known here means no failure as a finish reason, and no temporary one as an error.
Rule 2: what a service says is judged in one way, wherever it says it: as a refusal with a status, or inside a stream.

Source, read 2026-11-29: the API references of OpenAI, Azure, Anthropic, Gemini, Mistral ("error", "model_length"),
DeepSeek ("insufficient_system_resource"), Groq ("tool_use_failed"), OpenRouter ("error"), Cohere and Zhipu AI
("network_error", "sensitive"), and the sources of vLLM ("abort", "error") and SGLang.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from voicepipe.errors import AuthenticationError, RateLimited, VendorError
from voicepipe.vendors.loose_json import as_object, as_objects

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["failed_reply", "finish_reason_in", "is_passing", "reported", "weighed"]

NO_REASON: Final = {"", "null", "none", "undefined", "finish_reason_unspecified"}
"""What some services write where others write null: the reply goes on."""

FAILURES: Final = {
    *("error", "error_limit", "abort", "aborted", "cancelled", "canceled", "timeout", "failed", "server_error"),
    *("network_error", "insufficient_system_resource", "engine_overloaded", "overloaded", "load", "unload"),
    *("tool_use_failed", "malformed_function_call", "unexpected_tool_call", "malformed_tool_use"),
    *("malformed_model_output", "malformed_response", "other_error", "internal_error", "user_cancel"),
}
"""Finish reasons that mean that the service failed."""

PASSING_STATUSES: Final = (408, 425, 429, 498)
"""Statuses below 500 after which the same request may succeed; 498 is Groq's "capacity exceeded"."""

PASSING: Final = re.compile(
    r"overload|rate.?limit|too.?many.?requests|time.?out|timed.out|unavailable|internal|server.?error"
    r"|insufficient.system.resource|capacity|tool.?use.?failed|resource.?exhausted",
    re.IGNORECASE,
)
"""Types and codes of errors that pass, in every spelling."""

PASSING_WORDS: Final = re.compile(r"overloaded|temporarily unavailable|try again|at capacity", re.IGNORECASE)
"""What the message of such an error says if it has neither a type nor a code."""

REFUSED: Final = r"(?:unsupported|not.{1,12}support|not.{1,8}permit|unrecogni[sz]ed|unknown|unexpected|extra|invalid)"


def _refuses(name: str) -> str:
    return rf"\b{name}\b.{{0,80}}{REFUSED}|{REFUSED}.{{0,80}}\b{name}\b"


ORDER: Final = (
    r"roles? must alternate|unexpected role|message.order|single tool.calls? at once|system role not supported"
    r"|length (?:of )?9|either content or tool_calls|expected last role|first user message"
)

ADVICE: Final = tuple(
    (re.compile(sign, re.IGNORECASE | re.DOTALL), remedy)
    for sign, remedy in (
        (r"use .{0,3}max_completion_tokens", 'set max_tokens_field="max_completion_tokens"'),
        (_refuses("max_completion_tokens"), 'set max_tokens_field="max_tokens"'),
        (_refuses("max_tokens"), 'set max_tokens_field="max_completion_tokens"'),
        (_refuses("temperature"), "set temperature=None"),
        (ORDER, 'set messages="strict"'),
        (r"api-version", "set params={'api-version': '...'}"),
    )
)
"""What a refusal says, and the option of `LLMStreamStage` that helps."""

NAMES: Final = ("type", "code", "status", "name", "error_type")
WORDS: Final = ("message", "detail", "error")


def finish_reason_in(choice: Mapping[str, Any]) -> str:
    """Return why the model stopped, in the service's word; "" while it goes on."""
    reason = choice.get("finish_reason")
    return reason if reason and isinstance(reason, str) and reason.strip().lower() not in NO_REASON else ""


def failed_reply(reason: str) -> bool:
    """Return whether a finish reason means that the service failed."""
    word = reason.strip().lower()
    # Gemini's service puts its own reason behind a colon: "function_call_filter: MALFORMED_FUNCTION_CALL".
    return word in FAILURES or word.rpartition(":")[2].strip() in FAILURES


def is_passing(body: object) -> bool:
    """Return whether the same request may succeed after an error.

    Args:
        body: What the service reports, as parsed JSON: an error object, or what holds one.
    """
    errors = list(_errors(body))
    if codes := [code for error in errors if (code := _status(error)) is not None and code != 400]:
        return all(code in PASSING_STATUSES or code >= 500 for code in codes)
    return any(PASSING.search(name) for name in _texts(errors, NAMES)) or any(
        PASSING_WORDS.search(words) for words in _texts(errors, WORDS)
    )


def _texts(errors: Iterable[Mapping[str, Any]], keys: Iterable[str]) -> list[str]:
    return [text for error in errors for key in keys if isinstance(text := error.get(key), str)]


def reported(vendor: str, said: str, body: object) -> VendorError:
    """Return the error for one that a service reports where a reply belongs.

    Args:
        vendor: Named in the error.
        said: The message, without the vendor's name.
        body: What the service reports, as parsed JSON.
    """
    codes = [_status(error) for error in _errors(body)]
    if 429 in codes:
        return RateLimited(f"{vendor} {said}", vendor=vendor, retry_after_s=None)
    if 401 in codes or 403 in codes:
        return AuthenticationError(f"{vendor} {said}; check the key", vendor=vendor)
    return VendorError(f"{vendor} {said}", vendor=vendor, retryable=is_passing(body))


def weighed(error: VendorError, words: str) -> VendorError:
    """Return the error for a refusal: its body may say that it passes, or what this library can do about it.

    Args:
        error: The error for the status.
        words: The body that came with it.
    """
    if type(error) is not VendorError:
        return error
    if advice := next((remedy for sign, remedy in ADVICE if sign.search(words)), ""):
        # Also with the status 500: the same request will be refused again.
        return VendorError(f"{error}; {advice}", vendor=error.vendor, retryable=False)
    with suppress(ValueError, RecursionError):  # a page, or nothing: the status counts
        error.retryable = error.retryable or is_passing(json.loads(words))
    return error


def _errors(body: object) -> Iterator[dict[str, Any]]:
    """Yield the objects of a report that may describe an error, from the outside to the inside."""
    for outer in as_objects(body) or [as_object(body)]:
        yield outer
        for inner in (outer.get("error"), outer.get("errors"), outer.get("detail")):
            yield from as_objects(inner) or ([as_object(inner)] if isinstance(inner, dict) else [])


def _status(error: Mapping[str, Any]) -> int | None:
    """Return the HTTP status that an error object names."""
    for key in ("code", "status_code", "status"):
        code = error.get(key)
        if isinstance(code, str) and re.fullmatch(r"[1-5][0-9]{2}", code):
            code = int(code)
        if type(code) is int and 100 <= code < 600:
            return code
    return None
