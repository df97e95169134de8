"""A language model behind any OpenAI-compatible `/chat/completions`, streamed.

Rule 1: deadlines count data events, not bytes: comments and keep-alives are no progress.
Rule 2: a request is sent again only while nothing of its reply was used.
Rule 3: the response is read to its end, so that the connection stays warm for the next turn.
"""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from weakref import WeakKeyDictionary

import anyio

from voicepipe._http import HTTPClient, HTTPResponse, checked_host
from voicepipe.errors import AuthenticationError, ConfigurationError, IncompleteReply, RateLimited, VendorError
from voicepipe.events import ReplyEnd, RequestRetried, TextDelta
from voicepipe.sentences import SentenceSplitter
from voicepipe.stages.model import Model, ReplyPart, Request
from voicepipe.vendors.openai_compatible import CompletionParser, Conversation, refusal

if TYPE_CHECKING:
    from pydantic import SecretStr

    from voicepipe.channel import Outbox
    from voicepipe.session import Session
    from voicepipe.turn import Turn

__all__ = ["Deadlines", "LLMStreamStage"]

RETRY_PAUSES_S: Final = (0.0, 0.4)
"""Pauses before the second and the third try, each shortened by up to half at random: first at once, because a caller
waits; then a little later, because many callers may wait."""

RETRY_WITHIN: Final = 1.5
"""No try begins later than this many first-token deadlines after the first one: a silent service is asked twice."""

SENTENCE_CHARACTERS: Final = 200
"""Text of this length counts as a sentence where no mark ends one: not every script has such marks."""

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
        first_sentence_s: From sending a request to the end of its first sentence, if it is words that come: they may
            dribble. A model that thinks before it speaks needs more.
    """

    first_token_s: float = 4.0
    gap_s: float = 3.0
    first_sentence_s: float = 6.0

    def __post_init__(self) -> None:
        """Refuse what can never be met."""
        if min(self.first_token_s, self.gap_s) <= 0:
            raise ConfigurationError(f"deadlines must be positive seconds, not {self}")
        if self.first_sentence_s < self.first_token_s:
            raise ConfigurationError(f"a sentence cannot come before its first token: raise first_sentence_s in {self}")


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
        from pydantic import SecretStr  # noqa: PLC0415 - see tools.py, Rule 4

        self._api_key = SecretStr(api_key) if isinstance(api_key, str) else api_key
        if self._api_key is not None and not self._api_key.get_secret_value().strip():
            raise ConfigurationError("LLMStreamStage: api_key is empty; leave it out for a service without keys")
        if not model:
            raise ConfigurationError("LLMStreamStage: model must name a model of the service, not be empty")
        if max_tokens < 1:
            raise ConfigurationError(f"LLMStreamStage: max_tokens must be at least 1, not {max_tokens}")
        if temperature is not None and not 0 <= temperature <= 2:
            raise ConfigurationError(f"LLMStreamStage: temperature must be 0 to 2, not {temperature}")
        if taken := {"messages", "stream", "tools", "model"} & set(extra_body or ()):
            raise ConfigurationError(f"LLMStreamStage: extra_body may not set {', '.join(sorted(taken))}")
        try:
            json.dumps(dict(extra_body or {}))
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"LLMStreamStage: extra_body must be what JSON can hold: {error}") from None
        checked_host(base_url, has_key=api_key is not None or api_key_env is not None)
        self.system = system
        self.base_url = base_url
        self.model = model
        self.deadlines = deadlines or Deadlines()
        self._api_key_env = api_key_env
        self._body = {"model": model, "stream": True, "max_tokens": max_tokens, **(extra_body or {})}
        if temperature is not None:
            self._body["temperature"] = temperature
        self._http: HTTPClient

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Keep one pool of warm connections for all sessions."""
        key = self._key()
        headers = {"authorization": f"Bearer {key.get_secret_value().strip()}"} if key else {}
        self._http = HTTPClient(self.base_url, headers)
        self._conversations: WeakKeyDictionary[Session, Conversation] = WeakKeyDictionary()
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
        from pydantic import SecretStr  # noqa: PLC0415 - see tools.py, Rule 4

        return SecretStr(key)

    async def reply(self, request: Request, outbox: Outbox[ReplyPart], turn: Turn) -> None:
        """Ask, and ask again while nothing of the reply was used. See `Model.reply`."""
        last_try_s = anyio.current_time() + RETRY_WITHIN * self.deadlines.first_token_s
        for pause_s in (*RETRY_PAUSES_S, None):
            sent = _Counted(outbox)
            try:
                return await self._ask(request, sent, turn)
            except VendorError as error:
                if sent.count:
                    raise self._cut(error) from error
                wait_s = _wait_before_retry(error, pause_s, last_try_s - anyio.current_time())
                if wait_s is None:
                    raise
                turn.tell(RequestRetried(turn_id=turn.turn_id, error=error))
            await anyio.sleep(wait_s)
        raise AssertionError("the last try either returned or raised")

    async def _ask(self, request: Request, outbox: Outbox[ReplyPart], turn: Turn) -> None:
        system = self.system if isinstance(self.system, str) else self.system(turn.session)
        fields = {**self._body, "tools": request.tools} if request.tools else self._body
        conversation = self._conversations.setdefault(turn.session, Conversation())
        body = conversation.request(fields, system, request.messages)
        parser = CompletionParser(self._http.vendor, self._http.without_key)
        turn.timeline.mark_again("llm_request")
        asked_s, limit_s = anyio.current_time(), self.deadlines.first_token_s
        async with self._http.post("/chat/completions", body, limit_s=limit_s) as response:
            if response.status == 200 and response.content_type == "text/event-stream":
                try:
                    await self._read_events(response, parser, outbox, asked_s)
                except VendorError:
                    if not parser.has_ended:
                        raise
                    # The reply is whole; it is only the connection that did not end well.
            else:
                text = await self._whole_body(response, asked_s + limit_s)
                for part in parser.whole(text):
                    await outbox.send(part)
        if not parser.has_ended:
            raise VendorError(
                f"{self._http.vendor} ended the reply without a finish reason", vendor=self._http.vendor, retryable=True
            )

    async def _read_events(
        self, response: HTTPResponse, parser: CompletionParser, outbox: Outbox[ReplyPart], asked_s: float
    ) -> None:
        patience = _Patience(self.deadlines, asked_s)
        # One scope whose deadline moves: a scope for each event would cost as much as reading it.
        with anyio.CancelScope(deadline=patience.until) as wait:
            async with aclosing(response.events()) as events:
                async for data in events:
                    wait.deadline = math.inf  # only the network is waited for
                    for part in parser.feed(data):
                        patience.saw(part)
                        await outbox.send(part)
                    patience.renew(is_over=parser.is_over)
                    wait.deadline = patience.until
        if wait.cancelled_caught and not parser.is_over:
            raise self._silent(patience.waits_for)

    async def _whole_body(self, response: HTTPResponse, deadline: float) -> str:
        """Return the body of an answer that is no stream.

        Raises:
            VendorError: It is a refusal, or does not come.
        """
        body = None
        with anyio.CancelScope(deadline=deadline):
            body = (await response.body(WHOLE_BODY_BYTES)).decode("utf-8", "replace")
        if response.status != 200:
            shown = self._http.without_key(body or "")
            raise refusal(self._http.vendor, response.status, shown, response.header("retry-after"))
        if body is None:
            raise self._silent(f"the reply ({self.deadlines.first_token_s:g} s)")
        return body

    def _silent(self, waits_for: str) -> VendorError:
        vendor = self._http.vendor
        return VendorError(f"{vendor} fell silent: {waits_for} did not come", vendor=vendor, retryable=True)

    def _cut(self, error: VendorError) -> IncompleteReply:
        return IncompleteReply(f"the reply was cut: {error}", vendor=error.vendor)

    def __repr__(self) -> str:
        """Show the model and where it is; never the key."""
        return f"<LLMStreamStage {self.model} at {self.base_url}>"


class _Patience:
    """What a reply waits for, and until when. It is renewed by data, so that comments are no progress."""

    def __init__(self, limits: Deadlines, asked_s: float) -> None:
        self.waits_for = f"the first token ({limits.first_token_s:g} s)"
        self.until = asked_s + limits.first_token_s
        self._limits = limits
        self._sentence_due = asked_s + limits.first_sentence_s
        self._splitter = SentenceSplitter()
        self._characters = 0
        self._is_over = False

    def saw(self, part: ReplyPart) -> None:
        """Take note of a piece: the first sentence, or a call instead, is not waited for any more."""
        if self._sentence_due == math.inf:
            return
        if isinstance(part, TextDelta):
            self._characters += len(part.text)
            if not self._splitter.feed(part.text) and self._characters < SENTENCE_CHARACTERS:
                return
        self._sentence_due = math.inf

    def renew(self, *, is_over: bool) -> None:
        """A data event has come. The end of the stream is waited for once, whatever still comes."""
        now = anyio.current_time()
        if is_over and not self._is_over:
            self.until, self._is_over = now + AFTER_END_S, True
        elif not is_over and self._sentence_due < now + self._limits.gap_s:
            self.until, self.waits_for = self._sentence_due, f"the first sentence ({self._limits.first_sentence_s:g} s)"
        elif not is_over:
            self.until, self.waits_for = now + self._limits.gap_s, f"the next piece ({self._limits.gap_s:g} s)"


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
