"""What streamed and whole requests to a model have in common: their settings, and when they are sent again.

Rule 1: a request is sent again only while nothing of its reply was used.
Rule 2: a setting is checked in the same way wherever it comes from.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import anyio

from voicepipe.errors import ConfigurationError, IncompleteReply, RateLimited, VendorError
from voicepipe.flow import ReplyEnd, TextDelta, ToolCallDelta
from voicepipe.model.model import Completion, ReplyPart, Request
from voicepipe.vendors.openai.completion import CUT_REASONS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from voicepipe.core.channel import Outbox

__all__ = ["Collected", "Counted", "body_fields", "check_settings", "persist"]

T = TypeVar("T")

RETRY_PAUSES_S: Final = (0.0, 0.4)
"""Pauses before the second and the third try, each shortened by up to half at random: first at once, because a caller
waits; then a little later, because many callers may wait."""

OWN_FIELDS: Final = {"messages", "stream", "tools", "model"}
"""Fields of a body that have a setting of their own."""

MAX_ANSWER_CHARACTERS: Final = 1 << 18
"""The longest whole answer that is taken from a stream."""


def check_settings(request: Request, part: str) -> None:
    """Refuse settings that cannot be meant.

    Args:
        request: Holds them.
        part: Whose they are; named in the error.

    Raises:
        ConfigurationError: Names the field.
    """
    model, system, extra = (cast("object", value) for value in (request.model, request.system, request.extra_body))
    if not isinstance(model, str) or not model.strip():
        raise ConfigurationError(f"{part}: model must name a model of the service, not be {model!r}")
    if system is not None and not isinstance(system, str):
        raise ConfigurationError(f"{part}: system must be text, not {type(system).__name__}")
    if request.max_tokens is not None and (type(request.max_tokens) is not int or request.max_tokens < 1):
        raise ConfigurationError(f"{part}: max_tokens must be at least 1, not {request.max_tokens!r}")
    temperature: Any = request.temperature
    if temperature is not None and not (type(temperature) in (int, float) and 0 <= temperature <= 2):
        raise ConfigurationError(f"{part}: temperature must be 0 to 2, not {temperature!r}")
    if extra:
        _check_extra(extra, part)
    if request.must_call and request.must_call not in _names(request):
        offered = ", ".join(_names(request)) or "none"
        raise ConfigurationError(
            f"{part}: must_call names {request.must_call!r}, which is not among the tools: {offered}"
        )


def _check_extra(extra: object, part: str) -> None:
    if not isinstance(extra, Mapping):
        raise ConfigurationError(f"{part}: extra_body must be a dict of fields, not {type(extra).__name__}")
    if taken := OWN_FIELDS & set(extra):
        raise ConfigurationError(f"{part}: extra_body may not set {', '.join(sorted(map(str, taken)))}")
    try:
        json.dumps(dict(extra), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{part}: extra_body must be what JSON can hold: {error}") from None


def _names(request: Request) -> list[str]:
    return [str(tool["function"]["name"]) for tool in request.tools]


def body_fields(request: Request, *, stream: bool) -> dict[str, Any]:
    """Return the body of a request without its messages, tools and format."""
    fields: dict[str, Any] = {"model": request.model, "stream": stream}
    if request.max_tokens is not None:
        fields["max_tokens"] = request.max_tokens
    if request.temperature is not None:
        fields["temperature"] = request.temperature
    fields |= request.extra_body
    if request.must_call:
        fields["tool_choice"] = {"type": "function", "function": {"name": request.must_call}}
    if request.response_format is not None:
        fields.pop("response_format", None)
    return fields


async def persist(ask: Callable[[], Awaitable[T]], within_s: float, retried: Callable[[VendorError], None]) -> T:
    """Ask, and ask again while that may help.

    Args:
        ask: Sends the request. It raises nothing retryable once something of the reply was used.
        within_s: No try begins later than this after the first one, or after the deadline around it.
        retried: Told of each failure that is followed by another try.

    Raises:
        VendorError: What the last try raised.
    """
    last_try_s = min(anyio.current_time() + within_s, anyio.current_effective_deadline())
    for pause_s in RETRY_PAUSES_S:
        try:
            return await ask()
        except VendorError as error:
            wait_s = _wait_before_retry(error, pause_s)
            if not error.retryable or wait_s > last_try_s - anyio.current_time():
                raise
            retried(error)
        await anyio.sleep(wait_s)
    return await ask()


def _wait_before_retry(error: VendorError, pause_s: float) -> float:
    wait_s = pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
    if isinstance(error, RateLimited) and error.retry_after_s is not None:
        return max(wait_s, error.retry_after_s)
    return wait_s


class Counted:
    """An outbox that knows whether anything went through it."""

    def __init__(self, outbox: Outbox[ReplyPart]) -> None:
        self.count = 0
        self._outbox = outbox

    async def send(self, item: ReplyPart, /) -> None:
        """Take a piece of the reply. See `Outbox.send`."""
        self.count += not isinstance(item, ReplyEnd)
        await self._outbox.send(item)

    def close(self) -> None:
        """End the reply. See `Outbox.close`."""
        self._outbox.close()


class Collected:
    """An outbox that puts an answer together."""

    def __init__(self, vendor: str) -> None:
        self._vendor = vendor
        self._parts: list[ReplyPart] = []
        self._characters = 0

    async def send(self, item: ReplyPart, /) -> None:
        """Take a piece of the reply. See `Outbox.send`."""
        if not isinstance(item, ReplyEnd):
            self._characters += len(item.text if isinstance(item, TextDelta) else item.arguments)
        if self._characters > MAX_ANSWER_CHARACTERS:
            raise IncompleteReply(f"the answer is longer than {MAX_ANSWER_CHARACTERS} characters", vendor=self._vendor)
        self._parts.append(item)

    def close(self) -> None:
        """End the reply. See `Outbox.close`."""
        """Nothing to do: the answer ends with its request."""

    def completion(self) -> Completion:
        """Return the whole answer.

        Raises:
            IncompleteReply: The model was stopped before its end.
        """
        reason = next((part.finish_reason for part in self._parts if isinstance(part, ReplyEnd)), "")
        if reason in CUT_REASONS:
            raise IncompleteReply(
                f"{self._vendor} cut the answer short ({reason}): {CUT_REASONS[reason]}", vendor=self._vendor
            )
        calls = [part for part in self._parts if isinstance(part, ToolCallDelta)]
        return Completion(
            text="".join(part.text for part in self._parts if isinstance(part, TextDelta)),
            arguments="".join(part.arguments for part in calls if part.index == calls[0].index) or ("{}" * bool(calls)),
            finish_reason=reason,
        )
