"""Writes requests in the chat-completions format. Pure: no network, no clock.

Rule 1: the cost of a request does not grow with the length of the conversation.
Rule 2: a setting is checked in the same way wherever it comes from.

Source: OpenAI's API reference, "Chat completions", read 2026-11-22.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from operator import is_
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from voicepipe.conversation.tool_result import dumped
from voicepipe.errors import ConfigurationError
from voicepipe.history import AssistantMessage, Message, UserMessage, check_calls
from voicepipe.vendors.openai.message_json import rendered_message
from voicepipe.vendors.openai.strict_order import MessageOrder, folds_system, in_strict_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from voicepipe.model.model import Request
    from voicepipe.model.window import Window
    from voicepipe.vendors.openai.services import LimitField

__all__ = ["Conversation", "check_settings", "messages_json", "was_answered"]

OWN_FIELDS: Final = {"messages", "stream", "tools", "model"}
"""Fields of a body that the stage sets itself."""


def messages_json(system: str, messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return the conversation as chat messages. See `Conversation`."""
    rendered: list[dict[str, Any]] = json.loads(Conversation().rendered(system, tuple(messages)))
    return rendered


class Beginning(NamedTuple):
    """The first messages of a request, up to one of the assistant's: the same in every later request with them.

    Attributes:
        messages: The messages, of which none can change.
        parts: Their JSON texts.
        call_ids: The ids of their calls.
    """

    messages: Sequence[Message] = ()
    parts: Sequence[str] = ()
    call_ids: AbstractSet[str] = frozenset()


class Conversation:
    """The messages of one session as JSON text.

    A message that can no longer change is rendered once, and messages outside the window are forgotten. The messages
    with which the last request began are not even looked at, so the cost of a request depends on what is new in it.

    Neighbouring user messages become one. An assistant message of an earlier turn holds only the text that the caller
    heard; without such text and without a tool call it is left out. Exactly one result follows each call.

    Args:
        window: How much of the conversation a request holds; None for all of it.
        filler: Sent in place of empty arguments.
        service: Where it is sent: the state of another service stays here. See `ServiceState`.
        order: Whether the messages are put into an order that strict services take. See `strict_order`.
        since: Where the last request of another worker began.

    Attributes:
        since: Where the last request began, as the number of a message.
    """

    def __init__(
        self,
        window: Window | None = None,
        filler: str = "",
        *,
        service: str = "",
        order: MessageOrder = "free",
        since: int = 0,
    ) -> None:
        self._window = window
        self._filler = filler or "{}"
        self._service = service
        self._order = order
        self.since = since
        self._first: Message | None = None  # the message there, once there was a request
        self._beginning = Beginning()
        # With the message, so that its id is not used again.
        self._final: dict[int, tuple[Message, str]] = {}

    def body(
        self,
        request: Request,
        *,
        stream: bool,
        schemas: str = "",
        limit_field: LimitField = "max_tokens",
        summary: UserMessage | None = None,
    ) -> str:
        """Return the body of a request.

        Args:
            request: What is asked, with the conversation.
            stream: Whether the reply should come in pieces.
            schemas: Its tools and format as JSON text, each after a comma. See `SchemaTexts`.
            limit_field: The field that limits the reply.
            summary: A message to send before those of the window, which tells of earlier ones.

        Raises:
            ConfigurationError: A call has no id, no result, or the id of another call.
        """
        if self._order == "strict":
            messages = self._in_strict_order(request, summary)
        else:
            messages = self.rendered(request.system or "", request.messages, summary)
        return f'{dumped(_fields(request, limit_field, stream=stream))[:-1]}{schemas},"messages":{messages}}}'

    def rendered(self, system: str, messages: Sequence[Message], summary: UserMessage | None = None) -> str:
        """Return the messages as a JSON array."""
        sent = self._windowed(messages, summary)
        beginning = self._begun(sent)
        parts, call_ids = list(beginning.parts), set(beginning.call_ids)
        said: list[UserMessage] = []
        may_settle = True
        for end, message in enumerate(sent[len(beginning.messages) :], len(beginning.messages) + 1):
            if isinstance(message, UserMessage):
                said.append(message)
                continue
            may_settle = may_settle and _is_final(message)
            if message.calls or message.text.strip():
                check_calls(message.calls, call_ids)
                parts += self._user(said)
                said = []
                parts.append(self._once(message))
                if may_settle:
                    self._beginning = Beginning(sent[:end], tuple(parts), frozenset(call_ids))
        parts += self._user(said)
        if len(self._final) > 2 * len(sent) + 16:
            self._forget(sent)
        return f"[{','.join([dumped({'role': 'system', 'content': system}), *parts] if system else parts)}]"

    def _begun(self, sent: Sequence[Message]) -> Beginning:
        """Return what is known of the beginning of a request with these messages."""
        known = self._beginning.messages
        if len(known) > len(sent) or not all(map(is_, known, sent)):
            self._beginning = Beginning()  # the window has moved, or the conversation has changed
        return self._beginning

    def _in_strict_order(self, request: Request, summary: UserMessage | None) -> str:
        # Each message depends on its neighbours, so the whole window is written for each request.
        sent, call_ids = self._windowed(request.messages, summary), set[str]()
        for message in sent:
            if isinstance(message, AssistantMessage):
                check_calls(message.calls, call_ids)
        folds = folds_system(request.model)
        return dumped(in_strict_order(request.system or "", sent, self._filler, service=self._service, folds=folds))

    def _windowed(self, messages: Sequence[Message], summary: UserMessage | None) -> Sequence[Message]:
        sent = self._newest(messages)
        return sent if summary is None else (summary, *sent)

    def _newest(self, messages: Sequence[Message]) -> Sequence[Message]:
        if self._window is None or not messages:
            return messages
        if self.since >= len(messages) or messages[self.since] is not (self._first or messages[self.since]):
            self.since = 0  # the conversation has changed: an earlier message was removed
        self.since = self._window.start(messages, self.since)
        self._first = messages[self.since]
        return messages[self.since :]

    def _user(self, said: list[UserMessage]) -> list[str]:
        if len(said) > 1:
            return [rendered_message(UserMessage("\n".join(message.text for message in said)))]
        return [self._once(message) for message in said]

    def _once(self, message: Message) -> str:
        if (known := self._final.get(id(message))) is not None:
            return known[1]
        text = rendered_message(message, self._filler, self._service)
        if _is_final(message):
            self._final[id(message)] = message, text
        return text

    def _forget(self, sent: Sequence[Message]) -> None:
        kept = set(map(id, sent))
        self._final = {key: known for key, known in self._final.items() if key in kept}


def was_answered(messages: Sequence[Message]) -> bool:
    """Return whether the model said something to the caller before it called tools, and all of them succeeded.

    Then it may have nothing to add to their results.
    """
    replies: list[AssistantMessage] = []
    for message in reversed(messages):
        if isinstance(message, UserMessage):
            break
        replies.append(message)
    calls = [call for reply in replies for call in reply.calls]
    has_words = any(reply.text.strip() for reply in replies if reply.calls)
    return has_words and all(call.status == "done" for call in calls)


def check_settings(request: Request, part: str) -> None:
    """Refuse invalid settings.

    Args:
        request: Holds the settings.
        part: The part whose settings they are; named in the error.

    Raises:
        ConfigurationError: A setting is invalid; the message names it.
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
        raise ConfigurationError(f"{part}: extra_body must hold JSON values only: {error}") from None


def _names(request: Request) -> list[str]:
    return [str(tool["function"]["name"]) for tool in request.tools]


def _fields(request: Request, limit_field: LimitField, *, stream: bool) -> dict[str, Any]:
    """Return the body of a request without its messages, tools and format."""
    fields: dict[str, Any] = {"model": request.model, "stream": stream}
    # A service refuses two limits.
    if request.max_tokens is not None and not {"max_tokens", "max_completion_tokens"} & set(request.extra_body):
        fields[limit_field] = request.max_tokens
    if request.temperature is not None:
        fields["temperature"] = request.temperature
    fields |= request.extra_body
    if request.must_call:
        fields["tool_choice"] = {"type": "function", "function": {"name": request.must_call}}
    if request.response_format is not None:
        fields.pop("response_format", None)
    return fields


def _is_final(message: Message) -> bool:
    if isinstance(message, UserMessage):
        return True
    return message.is_settled and all(call.status not in ("pending", "unknown") for call in message.calls)
