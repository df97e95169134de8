"""A language model behind any OpenAI-compatible `/chat/completions`, streamed.

Rule 1: deadlines count data events, not bytes: comments and keep-alives are no progress.
Rule 2: a request is sent again only while nothing of its reply was used.
Rule 3: the response is read to its end, so that the connection stays warm for the next turn.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import anyio
from pydantic import SecretStr

from voicepipe._http import HTTPClient, HTTPResponse, checked_host
from voicepipe.errors import AuthenticationError, ConfigurationError, IncompleteReply, RateLimited, VendorError
from voicepipe.events import ReplyEnd, RequestRetried
from voicepipe.stages.model import Model, ReplyPart, Request
from voicepipe.vendors.openai_compatible import CompletionParser, messages_json, refusal

if TYPE_CHECKING:
    from voicepipe.channel import Outbox
    from voicepipe.session import Session
    from voicepipe.turn import Turn

__all__ = ["Deadlines", "LLMStreamStage"]

RETRY_PAUSES_S: Final = (0.0, 0.4)
"""Pauses before the second and the third try, each shortened by up to half at random: first at once, because a caller
waits; then a little later, because many callers may wait."""

AFTER_END_S: Final = 0.5
"""How long a server may take to close the stream after the last piece."""

WHOLE_BODY_BYTES: Final = 1 << 18
"""The largest answer that is taken when a server does not stream."""

SystemPrompt: TypeAlias = str | Callable[["Session"], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long to wait for the model, each per request and counted only while waiting for the network.

    Attributes:
        first_token_s: From sending a request to its first data event.
        gap_s: Between two data events.
    """

    first_token_s: float = 4.0
    gap_s: float = 3.0

    def __post_init__(self) -> None:
        """Refuse what can never be met."""
        if self.first_token_s <= 0 or self.gap_s <= 0:
            raise ConfigurationError(f"deadlines must be positive seconds, not {self}")


class LLMStreamStage(Model):
    """Streams replies from an OpenAI-compatible service.

    Args:
        system: The system prompt, or a function of the session that returns it, called for each request.
        base_url: Where the service is, up to and without `/chat/completions`.
        model: The model's id, any string the service knows.
        api_key: The key. Sent as `Authorization: Bearer`; over plain http only to this machine.
        api_key_env: Name of the environment variable that holds the key, read when the pipeline is opened.
        max_tokens: Limit of a reply, in the model's tokens.
        temperature: 0 to 2; None leaves it to the service.
        extra_body: Further fields of the request's body, e.g. {"reasoning_effort": "low"}.
        deadlines: How long to wait.

    Raises:
        ConfigurationError: A value cannot be meant; raised here or when the pipeline is opened.
    """

    def __init__(
        self,
        system: SystemPrompt = "",
        *,
        base_url: str,
        model: str,
        api_key: str | SecretStr | None = None,
        api_key_env: str | None = None,
        max_tokens: int = 300,
        temperature: float | None = None,
        extra_body: Mapping[str, Any] | None = None,
        deadlines: Deadlines | None = None,
    ) -> None:
        if api_key is not None and api_key_env is not None:
            raise ConfigurationError("LLMStreamStage: give api_key or api_key_env, not both")
        if not model:
            raise ConfigurationError("LLMStreamStage: model must name a model of the service, not be empty")
        if max_tokens < 1:
            raise ConfigurationError(f"LLMStreamStage: max_tokens must be at least 1, not {max_tokens}")
        if temperature is not None and not 0 <= temperature <= 2:
            raise ConfigurationError(f"LLMStreamStage: temperature must be 0 to 2, not {temperature}")
        if taken := {"messages", "stream", "tools", "model"} & set(extra_body or ()):
            raise ConfigurationError(f"LLMStreamStage: extra_body may not set {', '.join(sorted(taken))}")
        checked_host(base_url, has_key=api_key is not None or api_key_env is not None)
        self.system = system
        self.base_url = base_url
        self.model = model
        self.deadlines = deadlines or Deadlines()
        self._api_key = SecretStr(api_key) if isinstance(api_key, str) else api_key
        self._api_key_env = api_key_env
        self._body = {"model": model, "stream": True, "max_tokens": max_tokens, **(extra_body or {})}
        if temperature is not None:
            self._body["temperature"] = temperature
        self._http: HTTPClient

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Keep one pool of warm connections for all sessions."""
        key = self._key()
        headers = {"authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        self._http = HTTPClient(self.base_url, headers)
        async with self._http.open(), anyio.create_task_group() as tasks:
            tasks.start_soon(self._http.warm)
            yield
            tasks.cancel_scope.cancel()

    def _key(self) -> SecretStr | None:
        if self._api_key_env is None:
            return self._api_key
        key = os.environ.get(self._api_key_env, "")
        if not key.strip():
            raise AuthenticationError(
                f"LLMStreamStage: the environment variable {self._api_key_env} is not set; put the key of "
                f"{checked_host(self.base_url, has_key=False)} into it, or pass api_key",
                vendor=checked_host(self.base_url, has_key=False),
            )
        return SecretStr(key.strip())

    async def reply(self, request: Request, outbox: Outbox[ReplyPart], turn: Turn) -> None:
        """Ask, and ask again while nothing of the reply was used. See `Model.reply`."""
        for pause_s in (*RETRY_PAUSES_S, None):
            sent = _Counted(outbox)
            try:
                return await self._ask(request, sent, turn)
            except VendorError as error:
                if sent.count:
                    raise self._cut(error) from error
                wait_s = _wait_before_retry(error, pause_s, self.deadlines.first_token_s)
                if wait_s is None:
                    raise
                turn.session.tell(RequestRetried(turn_id=turn.turn_id, error=error))
            await anyio.sleep(wait_s)
        raise AssertionError("the last try either returned or raised")

    async def _ask(self, request: Request, outbox: Outbox[ReplyPart], turn: Turn) -> None:
        system = self.system if isinstance(self.system, str) else self.system(turn.session)
        body = {**self._body, "messages": messages_json(system, request.messages)}
        if request.tools:
            body["tools"] = list(request.tools)
        parser = CompletionParser(self._http.vendor)
        turn.timeline.mark_again("llm_request")
        limit_s = self.deadlines.first_token_s
        deadline = anyio.current_time() + limit_s
        async with self._http.post("/chat/completions", body, limit_s=limit_s) as response:
            if response.status == 200 and response.content_type == "text/event-stream":
                await self._read_events(response, parser, outbox, deadline)
            else:
                text = await self._whole_body(response, deadline)
                if response.status != 200:
                    raise refusal(self._http.vendor, response.status, text, response.header("retry-after"))
                for part in parser.whole(text):
                    await outbox.send(part)
        if not parser.has_ended:
            raise VendorError(
                f"{self._http.vendor} ended the reply without a finish reason", vendor=self._http.vendor, retryable=True
            )

    async def _read_events(
        self, response: HTTPResponse, parser: CompletionParser, outbox: Outbox[ReplyPart], deadline: float
    ) -> None:
        due = f"the first token ({self.deadlines.first_token_s:g} s)"
        async with aclosing(response.events()) as events:
            while True:
                data = None
                with anyio.CancelScope(deadline=deadline) as wait:
                    data = await anext(events, None)
                if wait.cancelled_caught and not parser.has_ended:
                    raise VendorError(
                        f"{self._http.vendor} fell silent: {due} did not come", vendor=self._http.vendor, retryable=True
                    )
                if data is None:
                    return
                for part in parser.feed(data):
                    await outbox.send(part)
                due = f"the next piece of the reply ({self.deadlines.gap_s:g} s)"
                deadline = anyio.current_time() + (AFTER_END_S if parser.has_ended else self.deadlines.gap_s)

    async def _whole_body(self, response: HTTPResponse, deadline: float) -> str:
        with anyio.CancelScope(deadline=deadline):
            return (await response.body(WHOLE_BODY_BYTES)).decode("utf-8", "replace")
        return ""

    def _cut(self, error: VendorError) -> IncompleteReply:
        return IncompleteReply(f"the reply was cut: {error}", vendor=error.vendor)

    def __repr__(self) -> str:
        """Show the model and where it is; never the key."""
        return f"<LLMStreamStage {self.model} at {self.base_url}>"


class _Counted:
    """An outbox that knows whether anything went through it."""

    def __init__(self, outbox: Outbox[ReplyPart]) -> None:
        self.count = 0
        self._outbox = outbox

    async def send(self, item: ReplyPart, /) -> None:
        self.count += not isinstance(item, ReplyEnd)
        await self._outbox.send(item)

    def close(self) -> None:
        self._outbox.close()


def _wait_before_retry(error: VendorError, pause_s: float | None, limit_s: float) -> float | None:
    """Return how long to wait before asking again, or None if that makes no sense."""
    if pause_s is None or not error.retryable:
        return None
    wait_s = pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
    if isinstance(error, RateLimited) and error.retry_after_s is not None:
        wait_s = max(wait_s, error.retry_after_s)
    return wait_s if wait_s <= limit_s else None
