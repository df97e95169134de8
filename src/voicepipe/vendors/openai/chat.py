"""A language model behind any OpenAI-compatible `/chat/completions`, streamed or whole.

Rule 1: a request's own settings override the stage's, and `adjust` overrides both.
Rule 2: a request is sent again only while nothing of its reply was used.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast, get_args
from weakref import WeakKeyDictionary

from voicepipe.core.failures import named
from voicepipe.errors import ConfigurationError, IncompleteReply, VendorError
from voicepipe.http.address import host_of
from voicepipe.http.client import HTTPClient
from voicepipe.http.network import Network
from voicepipe.model.hedge import Hedge
from voicepipe.model.model import Completion, Model, ReplyPart, Request
from voicepipe.model.race import Race, Runner
from voicepipe.model.summary import Summaries
from voicepipe.model.window import Window
from voicepipe.model_events import RequestRetried
from voicepipe.vendors.credentials import Credentials, authorization, keyless, without_key
from voicepipe.vendors.extras import Extras
from voicepipe.vendors.openai.answer import Answer
from voicepipe.vendors.openai.conversation_json import Conversation, check_settings
from voicepipe.vendors.openai.deadlines import Deadlines
from voicepipe.vendors.openai.exchange import PATH, Exchange
from voicepipe.vendors.openai.retry import persist
from voicepipe.vendors.openai.schemas import SchemaForm, SchemaTexts
from voicepipe.vendors.openai.services import GATEWAY_URL, LimitField, filler_of, service_at
from voicepipe.vendors.openai.spoken_text import SpokenText
from voicepipe.vendors.openai.strict_order import MessageOrder
from voicepipe.vendors.openai.turn_outbox import TurnOutbox

if TYPE_CHECKING:
    from typing import Self

    from pydantic import SecretStr

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.channel import Outbox
    from voicepipe.core.context import AnySession, SessionContext
    from voicepipe.history import UserMessage

__all__ = ["Deadlines", "LLMStreamStage"]

RETRY_WITHIN: Final = 1.5
"""No try begins later than this many first-token deadlines after the first one: a silent service is asked twice."""

SystemPrompt: TypeAlias = str | Callable[["AnySession"], str]

Adjust: TypeAlias = Callable[[Request, "Turn"], Request]


class LLMStreamStage(Model):
    """Streams replies from an OpenAI-compatible service. Without arguments that is AssemblyAI's LLM Gateway.

    LLMStreamStage("Keep replies short.")                                            # the key is in ASSEMBLYAI_API_KEY
    LLMStreamStage(base_url="http://127.0.0.1:11434/v1", model="llama3.2")
    LLMStreamStage(base_url="https://ada.openai.azure.com/openai/deployments/gpt", params={"api-version": "2024-10-21"})
    LLMStreamStage(adjust=lambda request, turn: replace(request, model="gpt-5.2") if request.step else request)

    A request that fails before anything of its reply was used is sent again: at once, and then after a short pause. No
    try begins later than one and a half first-token deadlines after the first. The stage obeys a service that asks to
    wait if that fits.

    Args:
        system: The system prompt, or a function of the session that returns it, called for each request.
        base_url: The service's URL, without `/chat/completions`. The gateway in the EU is at
            "https://llm-gateway.eu.assemblyai.com/v1".
        model: The model's id, any string the service knows. Without it the service is AssemblyAI's LLM Gateway, at its
            own address or simulated on this machine, and the model is "gpt-5.2".
        api_key: The key. Over plain http it is sent only to this machine.
        api_key_env: Name of the environment variable that holds the key, read when the pipeline is opened. Without it
            and `api_key`, a known service's key is read from its usual variable (ASSEMBLYAI_API_KEY, OPENAI_API_KEY,
            AZURE_OPENAI_API_KEY, GEMINI_API_KEY, GROQ_API_KEY, MISTRAL_API_KEY, DEEPSEEK_API_KEY, OPENROUTER_API_KEY);
            that key is sent to no other host.
        headers: Further headers of each request. Over plain http one that may hold a key is sent only to this machine.
            A header that carries the key itself, e.g. {"authorization": "Bearer ..."}, takes the place of `api_key`.
        params: Query parameters of each request, e.g. Azure's {"api-version": "2024-10-21"}.
        max_tokens: Limit of a reply, in the model's tokens; None leaves it to the service.
        max_tokens_field: The field that carries the limit. OpenAI's reasoning models take no other than
            "max_completion_tokens". None chooses it where the service is known, and is "max_tokens" elsewhere.
        temperature: 0 to 2; None leaves it to the service.
        extra_body: Further fields of the request's body, e.g. {"reasoning_effort": "low"}. To the gateway
            `fallback_config: {"retry": false}` is sent unless this holds `fallback_config` or `fallbacks`: the
            gateway's own retry is invisible and takes half a second.
        deadlines: How long to wait.
        adjust: Called before each request with the request, this stage's own settings filled in, and the turn. The
            request that it returns is sent. An exception that it raises fails the turn.
        schemas: How to write the schemas of tools and answers: as they are ("plain"), so that a service can hold the
            model to them ("strict"), or without the keywords that some services refuse ("reduced").
        window: How much of the conversation a request holds; None for all of it.
        messages: The order of the messages. "free" sends the conversation as it was, which a service with a strict
            template refuses after a greeting, or where nobody answered; "strict" puts it into an order that all known
            templates take. None is "strict" at Mistral's service and "free" elsewhere.
        streams: Whether to ask for the reply in pieces. Use False for a model that cannot stream: a whole reply has
            10 s instead of `deadlines`, and is still spoken sentence by sentence.
        begins_in_thoughts: Whether a reply begins inside its thoughts: the model's chat template opens them, and the
            server leaves them in the text, so that only the mark that closes them arrives (`...</think>Hello.`).
            Thoughts that a model opens itself are found without it.
        proxy: URL of the proxy to use, e.g. "http://user:password@proxy.example.com:3128"; "direct" for none. None
            leaves it to the environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY), whose proxies never serve this
            machine.
        hedge: When to send a second request for a reply that is late; see `Hedge`. It is the same request, as `adjust`
            left it, but for the model. None sends none, as for whole answers. For another service, see `FirstOf`.

    Raises:
        ConfigurationError: A value is invalid; raised here or when the pipeline is opened. The request that `adjust`
            returns is checked in the same way; an invalid one fails its turn.
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
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        max_tokens: int | None = 300,
        max_tokens_field: LimitField | None = None,
        temperature: float | None = None,
        extra_body: Mapping[str, Any] | None = None,
        deadlines: Deadlines | None = None,
        adjust: Adjust | None = None,
        schemas: SchemaForm = "plain",
        window: Window | None = Window(),  # noqa: B008 - frozen
        messages: MessageOrder | None = None,
        streams: bool = True,
        begins_in_thoughts: bool = False,
        proxy: str | SecretStr | None = None,
        hedge: Hedge | None = None,
    ) -> None:
        host = host_of(base_url, PATH)
        self._service = service_at(host, model, self.name)
        self._extras = Extras(self.name, base_url, host, headers, params)
        self._network = Network(self.name, base_url, proxy)
        self._credentials = Credentials(
            self.name,
            base_url,
            host,
            api_key=api_key,
            api_key_env=api_key_env,
            usual_env=self._service.key_env,
            own_header=self._service.header if self._extras.carries(self._service.header) else "",
        )
        if max_tokens_field not in (None, *get_args(LimitField)):
            known = " or ".join(map(repr, get_args(LimitField)))
            raise ConfigurationError(f"LLMStreamStage: max_tokens_field must be {known}, not {max_tokens_field!r}")
        if window is not None and not isinstance(cast("object", window), Window):
            raise ConfigurationError(f"LLMStreamStage: window must be a Window(...) or None, not {window!r}")
        if adjust is not None and not callable(adjust):
            raise ConfigurationError(f"LLMStreamStage: adjust must be a function, not {type(adjust).__name__}")
        if hedge is not None and not isinstance(cast("object", hedge), Hedge):
            raise ConfigurationError(f"LLMStreamStage: hedge must be a Hedge(after_s=...) or None, not {hedge!r}")
        self.system = system
        self.base_url = base_url
        self.model = model or self._service.model
        self.hedge = hedge
        self.deadlines = deadlines or Deadlines()
        self.window = window
        self.streams = streams
        self.begins_in_thoughts = begins_in_thoughts
        if messages not in (None, *get_args(MessageOrder)):
            raise ConfigurationError(f"LLMStreamStage: messages must be 'free' or 'strict', not {messages!r}")
        self._order: MessageOrder = messages or self._service.order
        self._summaries = Summaries(window, window.summarise) if window and window.summarise else None
        self._limit_field: LimitField = max_tokens_field or self._service.limit_field
        self._adjust = adjust
        self._schemas = SchemaTexts(schemas, self.name)
        own = Request(messages=(), max_tokens=max_tokens, temperature=temperature, extra_body=extra_body or {})
        check_settings(replace(own, model=self.model, system=None if callable(system) else system), self.name)
        self._own = replace(own, extra_body=self._service.extra_body(own.extra_body))
        self._http: HTTPClient
        self._asked: Mapping[str, Conversation] = {}  # of the session
        self._began: Mapping[str, int] = {}  # where the requests of another worker began

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Keep one pool of warm connections for all sessions."""
        key = self._credentials.read()
        service, extras = self._service, self._extras
        self._http = HTTPClient(
            self.base_url,
            {**authorization(key, service.scheme, service.header), **extras.headers},
            hide=lambda text: extras.hidden(without_key(text, key)),
            params=extras.params,
            network=self._network,
        )
        self._schemas = SchemaTexts(self._schemas.form, self.name)
        self._conversations: WeakKeyDictionary[SessionContext, dict[str, Conversation]] = WeakKeyDictionary()
        async with self._http.open(warms=True):
            yield

    def _at_simulator(self, base_url: str) -> Self:
        """Return a copy that uses a simulator on this machine, without a key and without the application's headers.

        What is sent is otherwise what its own service gets.

        Raises:
            ConfigurationError: The URL cannot be used.
        """
        host = host_of(base_url, PATH)
        twin = self._copied()
        twin.base_url = base_url
        twin._credentials = keyless(self.name, base_url, host)
        twin._extras = Extras(self.name, base_url, host, None, None)
        return twin

    def _elsewhere(self, base_url: str, model: str) -> Self:
        """Return a copy that asks a model of another service, with that service's usual key if it has one.

        The prompt and the application's limits stay; what it set for its own service alone does not. The order of
        messages is one that all known templates take.

        Raises:
            ConfigurationError: The URL cannot be used.
        """
        host = host_of(base_url, PATH)
        twin = self._copied()
        twin.base_url, twin.model, twin.hedge = base_url, model, None
        twin._service = service = service_at(host, model, self.name)
        twin._extras = Extras(self.name, base_url, host, None, None)
        twin._network = Network(self.name, base_url, None)
        twin._credentials = Credentials(
            self.name, base_url, host, api_key=None, api_key_env=None, usual_env=service.key_env
        )
        body = {name: value for name, value in self._own.extra_body.items() if name not in self._service.body}
        twin._own = replace(self._own, extra_body=service.extra_body(body))
        twin._order, twin._limit_field = "strict", service.limit_field
        return twin

    async def reply(self, request: Request, outbox: Outbox[ReplyPart], turn: Turn) -> None:
        """Send the request, and send it again while nothing of its reply was used. See `Model.reply`."""
        asked, summary = self._filled(request, turn), None
        if self._summaries is not None:
            self._summaries.follow(turn)
            summary, messages = self._summaries.split(asked.messages)
            asked = replace(asked, messages=tuple(messages))

        async def ask() -> None:
            if self.hedge is None:
                await self._ask(asked, turn, summary, outbox)
            else:
                both = (asked, replace(asked, model=self.hedge.model or asked.model))
                runners = [
                    Runner(self.name, self._label(one.model), partial(self._ask, one, turn, summary)) for one in both
                ]
                await Race(outbox, turn, self.hedge.after_s).run(runners)

        def retried(error: VendorError) -> None:
            turn.emit(RequestRetried(turn_id=turn.turn_id, error=error))

        await persist(ask, RETRY_WITHIN * self.deadlines.first_token_s, retried)

    async def _ask(self, asked: Request, turn: Turn, summary: UserMessage | None, outbox: Outbox[ReplyPart]) -> None:
        """Send a request once, and its reply into an outbox."""
        filler = filler_of(asked.model)
        conversations = self._conversations.setdefault(turn.session, {})
        if filler not in conversations:
            conversations[filler] = self._conversation(filler, self._began.get(filler, 0))
        self._asked = conversations
        body = self._body(asked, conversations[filler], stream=self.streams, summary=summary)
        limits = self.deadlines if self.streams else None
        reply = TurnOutbox(outbox, turn, asked, self._http.vendor, len(body.encode("utf-8", "replace")))
        turn.before_end(reply.report)
        turn.timeline.mark_again("llm_request")
        try:
            await Exchange(self._http, body, reply, limits=limits, filler=filler, spoken=self._spoken(asked)).run()
        except VendorError as error:
            if reply.is_used:
                raise IncompleteReply(f"the reply was cut: {error}", vendor=error.vendor) from error
            raise

    async def complete(self, request: Request) -> Completion:
        """Return the whole answer to one request, and retry while that may help. See `Model.complete`.

        There is no session here, so a system prompt that is a function of one is left out, and `adjust` is not called.
        A request may take 10 s.

        Raises:
            IncompleteReply: The answer was cut, by the service or at `max_tokens`.
        """
        asked = self._filled(request, None)
        filler = filler_of(asked.model)
        body = self._body(asked, self._conversation(filler), stream=False)

        async def ask() -> Completion:
            answer = Answer(self._http.vendor)
            await Exchange(self._http, body, answer, limits=None, filler=filler, spoken=self._spoken(asked)).run()
            return answer.completion()

        return await persist(ask, RETRY_WITHIN * self.deadlines.first_token_s, lambda _error: None)

    def state(self) -> object | None:
        """Return where the last requests began, if their window has moved."""
        since = {filler: one.since for filler, one in self._asked.items() if one.since}
        return {"since": since} if since else None

    def restore(self, state: Any) -> None:  # noqa: ANN401 - JSON values
        """Begin the next requests where the last ones of another worker began."""
        self._began = {str(filler): int(since) for filler, since in state["since"].items()}

    @property
    def label(self) -> str:  # noqa: D102 - the base class says it
        return self._label(self.model)

    def _label(self, model: str) -> str:
        return f"{model} at {self.base_url}"

    def _filled(self, request: Request, turn: Turn | None) -> Request:
        """Fill this stage's settings in where the request has none, and let `adjust` change the result."""
        own, system = self._own, request.system
        if system is None and isinstance(self.system, str):
            system = self.system
        elif system is None:
            system = self._prompt(turn.session) if turn else ""
        filled = replace(
            request,
            system=system,
            model=request.model or self.model,
            max_tokens=own.max_tokens if request.max_tokens is None else request.max_tokens,
            temperature=own.temperature if request.temperature is None else request.temperature,
            extra_body={**own.extra_body, **request.extra_body} if request.extra_body else own.extra_body,
        )
        if self._adjust and turn:
            with named(f"{_name_of(self._adjust)}, the adjust function of {self.name}"):
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

    def _conversation(self, filler: str, since: int = 0) -> Conversation:
        return Conversation(self.window, filler, service=self._http.base_url, order=self._order, since=since)

    def _spoken(self, asked: Request) -> SpokenText:
        # Data that was asked for may look like a call.
        return SpokenText(begins_in_thoughts=self.begins_in_thoughts, keeps_json=asked.response_format is not None)

    def _prompt(self, session: AnySession) -> str:
        """Return what the application's prompt function writes; what it raises carries that function's name."""
        write = cast("Callable[[AnySession], str]", self.system)
        with named(f"the prompt function {_name_of(write)}"):
            return write(session)

    def _body(
        self, asked: Request, conversation: Conversation, *, stream: bool, summary: UserMessage | None = None
    ) -> str:
        schemas = self._schemas.text(asked.tools, asked.response_format)
        return conversation.body(asked, stream=stream, schemas=schemas, limit_field=self._limit_field, summary=summary)

    def __repr__(self) -> str:
        """Show the model and where it is; never the key."""
        return f"<LLMStreamStage {self.label}>"


def _name_of(function: object) -> str:
    return getattr(function, "__name__", type(function).__name__)
