"""The messages of OpenAI's Realtime API, as its client. Pure.

Rule 1: a reply that we ask for has our tag in its metadata, and its request the tag in its `event_id`, so that replies
        and refusals find the turn that asked.
Rule 2: the service learns how much of a cut reply was heard, so that it knows what the caller knows.

Source: the types of the `openai` package 3.57 and OpenAI's Realtime reference, read 2026-11-30. Never tried live.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, Final

from voicepipe.audio.g711 import from_ulaw, to_ulaw
from voicepipe.conversation.tool_result import result_of
from voicepipe.errors import AuthenticationError, ConfigurationError, RateLimited, VendorError
from voicepipe.history import UserMessage
from voicepipe.hosted.messages import (
    CallerAudio,
    CallerSaid,
    CallerSpeaks,
    CallerStopped,
    CallerTyped,
    ReplyAudio,
    ReplyBegan,
    ReplyCalls,
    ReplyDone,
    ReplyText,
    RequestFailed,
    ServiceComplained,
    SetInstructions,
    SetInterruptible,
    SetTools,
    ShowResults,
    Speak,
    StopReply,
    Suggest,
)
from voicepipe.http.refusals import excerpt
from voicepipe.vendors.credentials import without_key
from voicepipe.vendors.line.agent_socket import AgentProtocol
from voicepipe.vendors.line.json_values import parsed
from voicepipe.vendors.loose_json import as_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

    from voicepipe.errors import VoicepipeError
    from voicepipe.history import Message
    from voicepipe.hosted.messages import AgentEvent, AgentRequest, AgentSetup

__all__ = ["VENDOR", "RealtimeProtocol"]

VENDOR: Final = "OpenAI"

VERBATIM: Final = "Say exactly this text, word for word, and nothing else: {}"

TAG: Final = "voicepipe"
"""The name of our tag in a response's metadata."""

MAX_EARLY_CHARACTERS: Final = 8_000
"""The caller's words in one turn, before they are final."""

IGNORED_PREFIXES: Final = (
    "conversation.item.",
    "input_audio_buffer.",
    "mcp_list_tools.",
    "rate_limits.",
    "response.content_part.",
    "response.output_",
    "response.function_call_arguments.",
    "response.mcp_call",
    "session.",
)
"""What is known and needs nothing: the same is said by other messages, or it is about what is not used."""

MAX_ITEMS: Final = 8
"""The newest replies, of which one may still be played and so be cut."""

HARMLESS: Final = frozenset({"response_cancel_not_active"})
"""The reply had just ended when it was to be stopped."""


class RealtimeProtocol(AgentProtocol):
    """One session.

    Args:
        session: The fields of the first `session.update`, without prompt and tools.
        key: Kept out of error messages.
        is_telephone: Whether the audio is G.711 at 8 kHz.
        interrupts: Whether the caller's voice interrupts the agent.
    """

    def __init__(self, session: Mapping[str, Any], key: SecretStr, *, is_telephone: bool, interrupts: bool) -> None:
        super().__init__()
        self._session = dict(session)
        self._key = key
        self._is_telephone = is_telephone
        self._interrupts = self._interrupts_now = interrupts
        self._prompt = ""
        self._history: tuple[Message, ...] = ()
        self._early: dict[str, str] = {}  # the caller's words so far, by item
        self._items: dict[str, tuple[str, int]] = {}  # what each response speaks: the item, and its part
        self._odd = b""

    # --- to the service -----------------------------------------------------------------------------------------------

    def opening(self, setup: AgentSetup) -> list[str]:
        """Return the message with the settings; the session is ready once it is accepted."""
        self._prompt, self._history = setup.instructions, setup.history
        return [_update({**self._session, "instructions": setup.instructions, "tools": _tools(setup.tools)})]

    def settling(self) -> list[str]:
        """Return the conversation so far, item by item."""
        return [_item(item) for message in self._history for item in _items_of(message)]

    def write(self, request: AgentRequest) -> list[str]:
        """Return the messages for a request."""
        match request:
            case CallerAudio(pcm=pcm):
                audio = to_ulaw(pcm) if self._is_telephone else pcm
                return [_message("input_audio_buffer.append", audio=base64.b64encode(audio).decode())]
            case CallerTyped(text=text, tag=tag):
                return [_item(_user(text)), _ask(tag)]
            case Suggest(note=note, tag=tag):
                return [_ask(tag, instructions=f"{self._prompt}\n\n{note}".strip())]
            case Speak(text=text, tag=tag):
                return [
                    _ask(tag, instructions=VERBATIM.format(json.dumps(text, ensure_ascii=False)), tool_choice="none")
                ]
            case ShowResults(results=results, tag=tag):
                outputs = [_item(_output(result.call_id, result.text)) for result in results]
                return outputs + ([_ask(tag)] if tag else [])
            case StopReply():
                return self._stop(request)
            case SetInstructions(text=text):
                self._prompt = text
                return [_update({"instructions": text})]
            case SetTools(tools=tools):
                return [_update({"tools": _tools(tools)})]
            case SetInterruptible(is_interruptible=is_interruptible):
                return self._set_interruptible(is_interruptible)

    def _stop(self, request: StopReply) -> list[str]:
        stopping = [] if request.is_over else [_message("response.cancel", response_id=request.reply_id)]
        if (spoken := self._items.pop(request.reply_id, None)) is None:
            return stopping
        item_id, index = spoken
        heard_ms = int(request.heard_s * 1000)
        cut = _message("conversation.item.truncate", item_id=item_id, content_index=index, audio_end_ms=heard_ms)
        return [*stopping, cut]

    def _set_interruptible(self, is_interruptible: bool) -> list[str]:
        turns = as_object(as_object(as_object(self._session.get("audio")).get("input")).get("turn_detection"))
        self._interrupts_now = is_interruptible and self._interrupts
        changed = {**turns, "interrupt_response": self._interrupts_now}
        return [_update({"audio": {"input": {"turn_detection": changed}}})]

    # --- from the service ---------------------------------------------------------------------------------------------

    def read(self, data: bytes) -> list[AgentEvent]:
        """Return what a message reports."""
        message = parsed(data)
        kind, item_id = _text(message, "type"), _text(message, "item_id")
        match kind:
            case "session.updated":
                self.is_ready = True
                return []
            case "error":
                return self._error(as_object(message.get("error")))
            case "input_audio_buffer.speech_started":
                return [CallerSpeaks(stops_agent=self._interrupts_now, item_id=item_id)]
            case "input_audio_buffer.speech_stopped":
                return [CallerStopped()]
            case "conversation.item.input_audio_transcription.delta":
                said = (self._early.pop(item_id, "") + _text(message, "delta"))[:MAX_EARLY_CHARACTERS]
                if len(self._early) == MAX_ITEMS:
                    del self._early[next(iter(self._early))]
                self._early[item_id] = said
                return [CallerSaid(said, is_final=False, item_id=item_id)]
            case "conversation.item.input_audio_transcription.completed":
                self._early.pop(item_id, None)
                return [CallerSaid(_text(message, "transcript"), item_id=item_id)]
            case "conversation.item.input_audio_transcription.failed":
                self._early.pop(item_id, None)
                return [CallerSaid("", item_id=item_id)]
            case _:
                return self._of_response(kind, message)

    def _of_response(self, kind: str, message: dict[str, Any]) -> list[AgentEvent]:
        response, response_id = as_object(message.get("response")), _text(message, "response_id")
        match kind:
            case "response.created":
                self._odd = b""
                return [ReplyBegan(_text(response, "id"), _text(as_object(response.get("metadata")), TAG))]
            case "response.output_audio.delta":
                return self._audio(message, response_id)
            case "response.output_audio_transcript.delta":
                text = _text(message, "delta")
                return [ReplyText(text, reply_id=response_id)] if text else []
            case "response.output_item.done":
                return self._item_done(as_object(message.get("item")), response_id)
            case "response.done":
                return [self._done(response)]
            case _:
                if not kind.startswith(IGNORED_PREFIXES):
                    self.unknown.add(kind or "?")
                return []

    def _audio(self, message: dict[str, Any], response_id: str) -> list[AgentEvent]:
        index = message.get("content_index")
        if response_id not in self._items and len(self._items) == MAX_ITEMS:
            del self._items[next(iter(self._items))]
        self._items[response_id] = _text(message, "item_id"), index if isinstance(index, int) else 0
        try:
            audio = base64.b64decode(_text(message, "delta"), validate=True)
        except (binascii.Error, ValueError):
            self.unknown.add("audio that is not base64")
            return []
        pcm = self._odd + (from_ulaw(audio) if self._is_telephone else audio)
        whole = len(pcm) & ~1
        self._odd = pcm[whole:]
        return [ReplyAudio(pcm[:whole], response_id)] if whole else []

    def _item_done(self, item: dict[str, Any], response_id: str) -> list[AgentEvent]:
        name, call_id = _text(item, "name"), _text(item, "call_id")
        if item.get("type") != "function_call" or item.get("status") == "incomplete" or not (name and call_id):
            return []
        return [ReplyCalls(call_id, name, _text(item, "arguments"), response_id)]

    def _done(self, response: dict[str, Any]) -> ReplyDone:
        details, response_id = as_object(response.get("status_details")), _text(response, "id")
        match response.get("status"):
            case "cancelled":
                return ReplyDone("interrupted", reply_id=response_id)
            case "failed":
                error = self._refusal(as_object(details.get("error")))
                failure = error if isinstance(error, VendorError) else _failed(str(error))
                return ReplyDone("failed", error=failure, reply_id=response_id)
            case "incomplete":
                return ReplyDone("completed", _text(details, "reason"), reply_id=response_id)
            case _:
                return ReplyDone("completed", reply_id=response_id)

    # --- errors -------------------------------------------------------------------------------------------------------

    def _error(self, error: dict[str, Any]) -> list[AgentEvent]:
        event_id, failure = _text(error, "event_id"), self._refusal(error)
        if not self.is_ready or error.get("code") == "session_expired":
            self.failure = failure
            return []
        if event_id.startswith(f"{TAG}-"):
            known = failure if isinstance(failure, VendorError) else _failed(str(failure))
            return [RequestFailed(known, event_id.removeprefix(f"{TAG}-"))]
        return [] if error.get("code") in HARMLESS else [ServiceComplained(failure)]

    def _refusal(self, error: dict[str, Any]) -> VoicepipeError:
        """Return the error for one of the service."""
        code, kind, param, said = (
            excerpt(without_key(_text(error, name), self._key)) for name in ("code", "type", "param", "message")
        )
        about = f"{code or kind or 'an error'}{f', {param}' if param else ''}"
        text = f"{VENDOR}'s Realtime API reports {about}: {said or 'no reason given'}"
        if code in ("invalid_api_key", "insufficient_permissions") or kind == "authentication_error":
            return AuthenticationError(f"{text}; check OPENAI_API_KEY or api_key", vendor=VENDOR)
        if code in ("rate_limit_exceeded", "insufficient_quota"):
            return RateLimited(
                f"{text}; open fewer sessions, or raise the account's limits", vendor=VENDOR, retry_after_s=None
            )
        if not self.is_ready and kind == "invalid_request_error":
            return ConfigurationError(f"{text}; check the arguments of OpenAIRealtimeAgent")
        return VendorError(text, vendor=VENDOR, retryable=kind != "invalid_request_error" or code == "session_expired")

    def closed(self, code: int, reason: str) -> VoicepipeError:
        """Return the error for a connection that the service has closed."""
        text = f"{VENDOR}'s Realtime API closed the connection with code {code}: {reason or 'no reason given'}"
        if code == 3000 or (code == 1008 and not self.is_ready):
            return AuthenticationError(f"{text}; check OPENAI_API_KEY or api_key", vendor=VENDOR)
        return VendorError(f"{text}; is the network up?", vendor=VENDOR, retryable=code != 1009)


def _failed(text: str) -> VendorError:
    return VendorError(text, vendor=VENDOR, retryable=False)


def _message(kind: str, **fields: object) -> str:
    return json.dumps({"type": kind, **fields}, ensure_ascii=False)


def _update(session: dict[str, Any]) -> str:
    return _message("session.update", session={"type": "realtime", **session})


def _ask(tag: str, **response: object) -> str:
    return _message("response.create", event_id=f"{TAG}-{tag}", response={"metadata": {TAG: tag}, **response})


def _item(item: dict[str, Any]) -> str:
    return _message("conversation.item.create", item=item)


def _user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def _output(call_id: str, text: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def _items_of(message: Message) -> list[dict[str, Any]]:
    """Return the items of a message of the conversation so far."""
    if isinstance(message, UserMessage):
        return [_user(message.text)]
    items = list[dict[str, Any]]()
    if message.text.strip():
        content = [{"type": "output_text", "text": message.text}]
        items.append({"type": "message", "role": "assistant", "content": content})
    for call in message.calls:
        asked = {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments}
        items += [asked, _output(call.call_id, result_of(call))]
    return items


def _tools(tools: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    """Return definitions in the API's flat form."""
    names = ("name", "description", "parameters")
    return [{"type": "function", **{name: tool["function"].get(name) for name in names}} for tool in tools]


def _text(message: Mapping[str, Any], name: str) -> str:
    value = message.get(name)
    return value if isinstance(value, str) else ""
