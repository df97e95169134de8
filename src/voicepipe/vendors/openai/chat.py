"""A language model behind any OpenAI-compatible `/chat/completions`, streamed or whole.

Rule 1: what a request says of itself goes before the stage's own settings, and `adjust` before both.
Rule 2: a request is sent again only while nothing of its reply was used.
Rule 3: a key goes to the host that it belongs to, and to no other.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast
from weakref import WeakKeyDictionary

import anyio

from voicepipe.errors import AuthenticationError, ConfigurationError, IncompleteReply, VendorError
from voicepipe.events import ModelUsage, RateLimitNear, RequestRetried
from voicepipe.http.client import HTTPClient, checked_host, is_loopback
from voicepipe.model.model import Completion, Model, ReplyPart, Request
from voicepipe.model.window import Window
from voicepipe.vendors.openai.completion import CompletionParser
from voicepipe.vendors.openai.conversation_json import Conversation
from voicepipe.vendors.openai.deadlines import Deadlines
from voicepipe.vendors.openai.exchange import exchange, silent
from voicepipe.vendors.openai.retry import Collected, Counted, body_fields, check_settings, persist
from voicepipe.vendors.openai.schemas import SchemaForm, SchemaTexts
from voicepipe.vendors.openai.services import GATEWAY_URL, service_at
from voicepipe.vendors.openai.usage import ServiceFacts

if TYPE_CHECKING:
    from pydantic import SecretStr

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.channel import Outbox
    from voicepipe.core.context import AnySession, SessionContext

__all__ = ["Deadlines", "LLMStreamStage"]

RETRY_WITHIN: Final = 1.5
"""No try begins later than this many first-token deadlines after the first one: a silent service is asked twice."""

COMPLETION_S: Final = 10.0
"""How long a whole answer may take, for each request: nothing is seen of it before its end."""

WHOLE: Final = Deadlines(first_token_s=math.inf, gap_s=math.inf, first_sentence_s=math.inf)
"""Within `COMPLETION_S` a whole answer has no deadlines of its own."""

SystemPrompt: TypeAlias = str | Callable[["AnySession"], str]

Adjust: TypeAlias = Callable[[Request, "Turn"], Request]


class LLMStreamStage(Model):
    """Streams replies from an OpenAI-compatible service. Without arguments that is AssemblyAI's LLM Gateway.

    LLMStreamStage("Keep replies short.")                                            # the key is in ASSEMBLYAI_API_KEY
    LLMStreamStage(base_url="http://127.0.0.1:11434/v1", model="llama3.2")
    LLMStreamStage(adjust=lambda request, turn: replace(request, model="gpt-5.2") if request.step else request)

    A request that fails before anything of its reply was used is sent again, at once and then after a short pause, but
    never later than one and a half first-token deadlines after the first. A service that asks to wait is obeyed if that
    fits.

    Args:
        system: The system prompt, or a function of the session that returns it, called for each request.
        base_url: Where the service is, up to and without `/chat/completions`. A gateway in the EU is at
            "https://llm-gateway.eu.assemblyai.com/v1".
        model: The model's id, any string the service knows. Left out, AssemblyAI's LLM Gateway is meant, at its own
            address or simulated on this machine, and the model is "gpt-5.2".
        api_key: The key. Over plain http it is sent only to this machine.
        api_key_env: Name of the environment variable that holds the key, read when the pipeline is opened. Without it
            and `api_key`, the gateway's key is read from ASSEMBLYAI_API_KEY; no other host is sent that one.
        max_tokens: Limit of a reply, in the model's tokens; None leaves it to the service.
        temperature: 0 to 2; None leaves it to the service.
        extra_body: Further fields of the request's body, e.g. {"reasoning_effort": "low"}. To the gateway
            `fallback_config: {"retry": false}` is sent unless this holds `fallback_config` or `fallbacks`: its retry is
            unseen and takes half a second.
        deadlines: How long to wait.
        adjust: Called before each request with that request, in which this stage's own settings are filled in, and the
            turn. The request that it returns is sent. What it raises fails the turn.
        schemas: How the parameters of tools and formats of answers are written: as they are ("plain"), so that a
            service can hold the model to them ("strict"), or without the keywords that some services refuse
            ("reduced").
        window: How much of the conversation a request holds; None for all of it.
        streams: Whether to ask for the reply in pieces. False is for a model that cannot: a reply then has 10 s to come
            as a whole instead of `deadlines`, and is spoken sentence by sentence all the same.

    Raises:
        ConfigurationError: A value cannot be meant; raised here or when the pipeline is opened. What `adjust` returns
            is checked in the same way, and fails its turn.
        AuthenticationError: The environment variable holds no key; raised when the pipeline is opened.

    Source: OpenAI's API reference, "Chat completions", and AssemblyAI's reference of the LLM Gateway, read 2026-11-22.
    """

    def __init__(
        self,
        system: SystemPrompt = "",
        *,
        base_url: str = GATEWAY_URL,
        model: str = "",
        api_key: str | SecretStr | None = None,
        api_key_env: str | None = None,
        max_tokens: int | None = 300,
        temperature: float | None = None,
        extra_body: Mapping[str, Any] | None = None,
        deadlines: Deadlines | None = None,
        adjust: Adjust | None = None,
        schemas: SchemaForm = "plain",
        window: Window | None = Window(),  # noqa: B008 - frozen
        streams: bool = True,
    ) -> None:
        if api_key is not None and api_key_env is not None:
            raise ConfigurationError("LLMStreamStage: give api_key or api_key_env, not both")
        from pydantic import SecretStr  # noqa: PLC0415 - see tools.py, Rule 4

        self._api_key = SecretStr(api_key) if isinstance(api_key, str) else api_key
        if self._api_key is not None and not self._api_key.get_secret_value().strip():
            raise ConfigurationError("LLMStreamStage: api_key is empty; leave it out for a service without keys")
        host = checked_host(base_url, has_key=False)
        self._service = service_at(host, is_local=is_loopback(host), model=model, part=self.name)
        self._api_key_env = api_key_env if self._api_key or api_key_env is not None else self._service.key_env
        checked_host(base_url, has_key=self._api_key is not None or self._api_key_env is not None)
        if window is not None and not isinstance(cast("object", window), Window):
            raise ConfigurationError(f"LLMStreamStage: window must be a Window(...) or None, not {window!r}")
        if adjust is not None and not callable(adjust):
            raise ConfigurationError(f"LLMStreamStage: adjust must be a function, not {type(adjust).__name__}")
        self.system = system
        self.base_url = base_url
        self.model = model or self._service.model
        self.deadlines = deadlines or Deadlines()
        self.window = window
        self.streams = streams
        self._adjust = adjust
        self._schemas = SchemaTexts(schemas, self.name)
        own = Request(messages=(), max_tokens=max_tokens, temperature=temperature, extra_body=extra_body or {})
        check_settings(replace(own, model=self.model, system=None if callable(system) else system), self.name)
        self._own = replace(own, extra_body=self._service.extra_body(own.extra_body))
        self._http: HTTPClient

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Keep one pool of warm connections for all sessions."""
        key = self._key()
        headers = {"authorization": f"{self._service.scheme}{key.get_secret_value().strip()}"} if key else {}
        self._http = HTTPClient(self.base_url, headers)
        self._schemas = SchemaTexts(self._schemas.form, self.name)
        self._conversations: WeakKeyDictionary[SessionContext, dict[str, Conversation]] = WeakKeyDictionary()
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
        asked = self._filled(request, turn)
        filler = self._service.filler(asked.model)
        conversations = self._conversations.setdefault(turn.session, {})
        if filler not in conversations:
            conversations[filler] = Conversation(self.window, filler)
        body = self._body(asked, conversations[filler], stream=self.streams)

        async def ask() -> None:
            sent, facts = Counted(outbox), ServiceFacts()
            turn.timeline.mark_again("llm_request")
            try:
                if self.streams:
                    parser, told = self._parser(filler), partial(_tell, facts, asked, turn)
                    await exchange(self._http, body, parser, sent, self.deadlines, facts, told)
                else:
                    await self._whole(filler, body, sent, facts, partial(_tell, facts, asked, turn))
            except VendorError as error:
                if sent.count:
                    raise IncompleteReply(f"the reply was cut: {error}", vendor=error.vendor) from error
                raise

        def retried(error: VendorError) -> None:
            turn.emit(RequestRetried(turn_id=turn.turn_id, error=error))

        await persist(ask, RETRY_WITHIN * self.deadlines.first_token_s, retried)

    async def complete(self, request: Request) -> Completion:
        """Return the answer to one request as a whole, asked for again while that may help. See `Model.complete`.

        It needs no session, so a system prompt that is a function of one is left out, and `adjust` is not called. A
        request may take 10 s.

        Raises:
            IncompleteReply: The answer was cut, by the service or at `max_tokens`.
        """
        asked = self._filled(request, None)
        filler = self._service.filler(asked.model)
        body = self._body(asked, Conversation(self.window, filler), stream=False)

        async def ask() -> Completion:
            answer = Collected(self._http.vendor)
            await self._whole(filler, body, answer, ServiceFacts(), lambda: None)
            return answer.completion()

        return await persist(ask, RETRY_WITHIN * self.deadlines.first_token_s, lambda _error: None)

    async def _whole(
        self, filler: str, body: str, outbox: Outbox[ReplyPart], facts: ServiceFacts, told: Callable[[], None]
    ) -> None:
        """Ask for an answer that is not streamed, and pass it on."""
        with anyio.move_on_after(COMPLETION_S):
            await exchange(self._http, body, self._parser(filler), outbox, WHOLE, facts, told)
            return
        raise silent(self._http, f"the whole answer ({COMPLETION_S:g} s)")

    def _filled(self, request: Request, turn: Turn | None) -> Request:
        """Return the request with this stage's settings where it has none of its own, as `adjust` wants it."""
        own, system = self._own, request.system
        if system is None and isinstance(self.system, str):
            system = self.system
        elif system is None:
            system = cast("Callable[[AnySession], str]", self.system)(turn.session) if turn else ""
        filled = replace(
            request,
            system=system,
            model=request.model or self.model,
            max_tokens=own.max_tokens if request.max_tokens is None else request.max_tokens,
            temperature=own.temperature if request.temperature is None else request.temperature,
            extra_body={**own.extra_body, **request.extra_body} if request.extra_body else own.extra_body,
        )
        if self._adjust and turn:
            filled = self._adjust(filled, turn)
            if not isinstance(cast("object", filled), Request):
                if inspect.iscoroutine(filled):
                    filled.close()
                raise ConfigurationError(
                    f"LLMStreamStage: adjust must return a Request, not {type(filled).__name__}; "
                    "write return replace(request, ...)"
                )
        check_settings(filled, self.name)
        return filled

    def _body(self, asked: Request, conversation: Conversation, *, stream: bool) -> str:
        return conversation.request(
            body_fields(asked, stream=stream),
            asked.system or "",
            asked.messages,
            schemas=self._schemas.text(asked.tools, asked.response_format),
        )

    def _parser(self, filler: str) -> CompletionParser:
        return CompletionParser(self._http.vendor, self._http.without_key, filler)

    def __repr__(self) -> str:
        """Show the model and where it is; never the key."""
        return f"<LLMStreamStage {self.model} at {self.base_url}>"


def _tell(facts: ServiceFacts, asked: Request, turn: Turn) -> None:
    """Tell the application what a service said beside its reply."""
    if turn.is_over:
        return  # with its terminal event all was told
    if (usage := facts.usage) is not None:
        counts = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
        turn.emit(ModelUsage(turn_id=turn.turn_id, model=usage.model or asked.model, **counts))
    if (limit := facts.rate_limit) is not None and limit.is_near:
        left = {"remaining": limit.remaining, "limit": limit.limit}
        turn.emit(RateLimitNear(turn_id=turn.turn_id, reset_s=limit.reset_s, **left))
