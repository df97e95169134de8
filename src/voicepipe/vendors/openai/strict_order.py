"""Messages in an order that strict services and chat templates take. Pure.

Rule 1: users and the model speak in turns, and the user begins and is the last one, unless a tool is.
Rule 2: each call is a message of its own without words, its result follows it, and the model speaks after it.
Rule 3: nothing that was said is left out. What is added is in parentheses, or the mark of a message that was cut.

Three orders are met at once. Mistral's service, and vLLM with its tokenizer: no words next to calls, no user after a
result, ids of nine letters and digits. The templates of Gemma and of older Mistral models: user and model take turns,
calls and their results left out, and the content is always text. Llama's templates: one call in a message, and a user
before it.

Source: the validator of mistral-common, and the chat templates of vLLM's examples, read 2026-11-29.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from voicepipe.conversation.tool_result import result_of
from voicepipe.history import UserMessage
from voicepipe.vendors.loose_json import is_object
from voicepipe.vendors.openai.message_json import CUT_MARK, call_json, content_of, state_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voicepipe.history import AssistantMessage, Message

__all__ = ["MessageOrder", "folds_system", "in_strict_order"]

MessageOrder: TypeAlias = Literal["free", "strict"]
"""As the conversation was, or in an order that strict services take."""

SILENCE: Final = "(The caller says nothing.)"
"""Stands where a user has to speak and nobody did, e.g. ahead of a greeting."""

NO_ANSWER: Final = CUT_MARK.strip()
"""Stands where the model has to speak and was cut before it did."""

SAID: Final = "you_said_before_this_call"
"""The field of a result that holds the words before its call."""

ID_CHARACTERS: Final = 9


def folds_system(model: str) -> bool:
    """Return whether a model's template takes no system prompt: Gemma's did not before its fourth version."""
    return re.search(r"gemma(?![-_ ]?[4-9](?![0-9]*b))", model, re.IGNORECASE) is not None


def in_strict_order(
    system: str, messages: Iterable[Message], filler: str = "{}", *, service: str = "", folds: bool = False
) -> list[dict[str, Any]]:
    """Return a conversation as chat messages in strict order.

    Args:
        system: The system prompt, or "".
        messages: The conversation. Each of its calls has an id of its own.
        filler: Sent in place of empty arguments.
        service: Where they are sent.
        folds: Whether the system prompt belongs in front of the first message of the user.
    """
    order = _Order(filler, service)
    if system and not folds:
        order.sent.append({"role": "system", "content": system})
    for message in messages:
        if isinstance(message, UserMessage):
            order.user(message.text)
        else:
            order.assistant(message)
    order.close()
    if system and folds:
        first = order.sent[0]
        first["content"] = f"{system}\n\n{first['content']}"
    return order.sent


class _Order:
    """The messages so far."""

    def __init__(self, filler: str, service: str) -> None:
        self.sent: list[dict[str, Any]] = []
        self._filler = filler
        self._service = service

    def user(self, text: str) -> None:
        if self._last == "tool":
            self._say("assistant", NO_ANSWER)
        self._say("user", text if text.strip() else SILENCE)

    def assistant(self, message: AssistantMessage) -> None:
        content = content_of(message)
        if not message.calls:
            if content:
                self._begin(may_follow=("user", "tool", "assistant"))
                self._say("assistant", content)
            return
        self._begin(may_follow=("user", "tool"))
        for place, call in enumerate(message.calls):
            call_id = _id(call.call_id)
            result = result_of(call)
            if content and not place:
                result = _with_words(content, result)
            calls = [{**call_json(call, self._filler, self._service), "id": call_id}]
            state = {} if place else state_for(self._service, message.state)
            self.sent.append({**state, "role": "assistant", "content": "", "tool_calls": calls})
            self.sent.append({"role": "tool", "tool_call_id": call_id, "content": result})

    def close(self) -> None:
        self._begin(may_follow=("user", "tool"))

    @property
    def _last(self) -> str:
        return self.sent[-1]["role"] if self.sent else ""

    def _begin(self, may_follow: tuple[str, ...]) -> None:
        if self._last not in may_follow:
            self._say("user", SILENCE)

    def _say(self, role: str, text: str) -> None:
        if self._last == role:
            self.sent[-1]["content"] += f"\n{text}"
        else:
            self.sent.append({"role": role, "content": text})


def _with_words(words: str, result: str) -> str:
    """Return a result that holds the words before its call, too."""
    said = json.dumps({SAID: words}, ensure_ascii=False)[:-1]
    if not is_object(result):
        return f'{said}, "result": {json.dumps(result, ensure_ascii=False)}}}'
    rest = result.lstrip()[1:].lstrip()
    return f"{said}{rest}" if rest.startswith("}") else f"{said}, {rest}"


def _id(call_id: str) -> str:
    """Return an id of nine letters and digits, always the same for the same call."""
    if re.fullmatch(rf"[a-zA-Z0-9]{{{ID_CHARACTERS}}}", call_id):
        return call_id
    return hashlib.sha256(call_id.encode("utf-8", "replace")).hexdigest()[:ID_CHARACTERS]
