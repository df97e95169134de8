"""The messages of AssemblyAI's Voice Agent API. Pure.

Rule 1: what no reference settles is read either way; docs/hosted-agents.md has the list. A message that cannot be read
        is skipped, and so is one that is not known.
Rule 2: the service takes no messages of earlier turns and no late results, so the prompt carries them.

Source: the vendor's Voice Agent reference and notes of its users, read 2026-11-22. Never tried live.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, Final

from voicepipe.audio.g711 import from_ulaw, to_ulaw
from voicepipe.conversation.tool_result import dumped
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
    ServiceComplained,
    SetInstructions,
    SetInterruptible,
    SetTools,
    ShowResults,
    Speak,
    Suggest,
)
from voicepipe.hosted.retelling import retold
from voicepipe.http.refusals import excerpt
from voicepipe.vendors.assemblyai.agent_refusals import closed, refusal
from voicepipe.vendors.credentials import without_key
from voicepipe.vendors.line.agent_socket import AgentProtocol
from voicepipe.vendors.line.json_values import number, parsed
from voicepipe.vendors.loose_json import as_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

    from voicepipe.errors import VoicepipeError
    from voicepipe.hosted.messages import AgentEvent, AgentRequest, AgentSetup, CallResult

__all__ = ["VoiceAgentProtocol"]

SO_FAR: Final = "\n\nThe conversation so far, which goes on now:\n{}"
SINCE_THEN: Final = "\n\nResults of tool calls that came late:\n{}"

MAX_LATE_CHARACTERS: Final = 24_000
"""Late results in the prompt: three of the longest, or a call's worth of usual ones."""

AGENT_KINDS: Final = frozenset(
    {
        *("reply.started", "reply.audio", "reply.done", "transcript.agent.delta", "transcript.agent", "tool.call"),
    }
)
"""Messages about a reply."""

TYPED: Final = "The caller has typed this instead of speaking; answer it: {}"
VERBATIM: Final = "Say exactly this text, word for word, and nothing else: {}"


class VoiceAgentProtocol(AgentProtocol):
    """One session.

    Args:
        session: The fields of the first `session.update`, without prompt and tools.
        key: Kept out of error messages.
        is_telephone: Whether the audio is G.711 at 8 kHz.
    """

    def __init__(self, session: Mapping[str, Any], key: SecretStr, *, is_telephone: bool) -> None:
        super().__init__()
        self._session = dict(session)
        self._key = key
        self._is_telephone = is_telephone
        self._resumes = self._prompt = ""
        self._so_far = ""
        self._late: list[str] = []
        self._tools: tuple[dict[str, Any], ...] = ()
        self._odd = b""
        self._words = ""  # of the present reply,
        self._has_audio = False  # and whether it has any sound

    # --- to the service -----------------------------------------------------------------------------------------------

    def opening(self, setup: AgentSetup) -> list[str]:
        """Return the first message: a new session's settings, or the session to go on with."""
        self._prompt, self._tools, self._resumes = setup.instructions, setup.tools, setup.resumes
        if setup.resumes:
            return [_message("session.resume", session_id=setup.resumes)]
        if told := retold(setup.history):
            self._so_far = SO_FAR.format(told)
        session = dict(self._session)
        if not setup.greets:
            session.pop("greeting", None)
        if "agent_id" in session:
            return [_message("session.update", session={"agent_id": session["agent_id"]})]
        session["system_prompt"] = self._full_prompt
        if setup.tools:
            session["tools"] = _tools(setup.tools)
        return [_message("session.update", session=session)]

    def settling(self) -> list[str]:
        """Return what a stored or resumed session still has to learn."""
        changes: dict[str, Any] = {}
        is_stored = "agent_id" in self._session
        if (is_stored or self.was_resumed) and self._tools:
            changes["tools"] = _tools(self._tools)
        if is_stored and (self._prompt or self._so_far):
            changes["system_prompt"] = self._full_prompt
        if is_stored:
            changes |= {name: self._session[name] for name in ("input", "output") if name in self._session}
        elif self.was_resumed:  # the connection may have been lost while nobody was to interrupt
            turns = as_object(as_object(self._session.get("input")).get("turn_detection"))
            changes["input"] = {"turn_detection": {"interrupt_response": turns.get("interrupt_response", True)}}
        return [_message("session.update", session=changes)] if changes else []

    @property
    def _full_prompt(self) -> str:
        late = SINCE_THEN.format("\n".join(self._late)) if self._late else ""
        return f"{self._prompt}{self._so_far}{late}".strip()

    def write(self, request: AgentRequest) -> list[str]:
        """Return the messages for a request. There is none that stops a reply: it goes on, and nobody hears it."""
        match request:
            case CallerAudio(pcm=pcm):
                audio = to_ulaw(pcm) if self._is_telephone else pcm
                return [_message("input.audio", audio=base64.b64encode(audio).decode())]
            case CallerTyped(text=text):
                return [_reply(TYPED.format(json.dumps(text, ensure_ascii=False)))]
            case Suggest(note=note):
                return [_reply(note)]
            case Speak(text=text):
                return [_reply(VERBATIM.format(json.dumps(text, ensure_ascii=False)))]
            case ShowResults(results=results, are_late=False):
                return [_result(result) for result in results]
            case ShowResults(results=results):
                self._keep_late(results)
                return [_message("session.update", session={"system_prompt": self._full_prompt})]
            case SetInstructions(text=text):
                self._prompt = text
                return [_message("session.update", session={"system_prompt": self._full_prompt})]
            case SetTools(tools=tools):
                self._tools = tools
                return [_message("session.update", session={"tools": _tools(tools)})]
            case SetInterruptible(is_interruptible=is_interruptible):
                turns = {"interrupt_response": is_interruptible}
                return [_message("session.update", session={"input": {"turn_detection": turns}})]
            case _:
                return []

    def _keep_late(self, results: tuple[CallResult, ...]) -> None:
        """Keep late results for the prompt, quoted so that none can imitate a line of it; the oldest leave it again."""
        self._late += [f"{dumped(result.name)} has returned: {dumped(result.text)}" for result in results]
        while len(self._late) > 1 and sum(map(len, self._late)) > MAX_LATE_CHARACTERS:
            del self._late[0]

    def farewell(self) -> list[str]:
        """Return the message that ends the session; one that is not ended is billed for another 30 s."""
        return [_message("session.end")]

    # --- from the service ---------------------------------------------------------------------------------------------

    def read(self, data: bytes) -> list[AgentEvent]:
        """Return what a message reports."""
        message = parsed(data)
        match message.get("type"):
            case "session.ready":
                return self._ready(message)
            case "session.updated" | "session.ended":
                return []
            case "session.error" | "error":
                return self._error(message)
            case "input.speech.started":
                return [CallerSpeaks()]
            case "input.speech.stopped":
                return [CallerStopped()]
            case "transcript.user.delta":
                return [CallerSaid(_text(message, "text") or _text(message, "delta"), is_final=False)]
            case "transcript.user":
                return [CallerSaid(_text(message, "text"))]
            case str(kind) if kind in AGENT_KINDS:
                return self._of_agent(kind, message)
            case kind:
                self.unknown.add(str(kind))
                return []

    def _of_agent(self, kind: str, message: dict[str, Any]) -> list[AgentEvent]:
        match kind:
            case "reply.started":
                self._odd, self._words, self._has_audio = b"", "", False
                return [ReplyBegan(_text(message, "reply_id"))]
            case "reply.audio":
                return self._audio(message)
            case "transcript.agent.delta":
                return self._delta(message)
            case "transcript.agent":
                return self._agent_said(message)
            case "tool.call":
                return self._call(message)
            case _:
                return self._done(message)

    def closed(self, code: int, reason: str) -> VoicepipeError:
        """Return the error for a connection that the service has closed."""
        return closed(code, reason)

    def _ready(self, message: dict[str, Any]) -> list[AgentEvent]:
        session_id = _text(message, "session_id")
        if self._resumes and session_id not in ("", self._resumes):
            self.failure = refusal("session_not_found", "another session answers")
            return []
        self.is_ready, self.was_resumed = True, bool(self._resumes)
        self.session_id = session_id or self._resumes
        return []

    def _error(self, message: dict[str, Any]) -> list[AgentEvent]:
        code, said, param = (
            excerpt(without_key(_text(message, name), self._key)) for name in ("code", "message", "param")
        )
        error = refusal(code, said, param)
        if not self.is_ready or code in ("unauthorized", "audio_rate_violation"):
            self.failure = error
            return []
        return [ServiceComplained(error)]

    def _audio(self, message: dict[str, Any]) -> list[AgentEvent]:
        try:
            audio = base64.b64decode(_text(message, "data") or _text(message, "audio"), validate=True)
        except (binascii.Error, ValueError):
            self.unknown.add("reply.audio that is not base64")
            return []
        self._has_audio = True
        pcm = self._odd + (from_ulaw(audio) if self._is_telephone else audio)
        whole = len(pcm) & ~1
        self._odd = pcm[whole:]
        return [ReplyAudio(pcm[:whole], _text(message, "reply_id"))] if whole else []

    def _delta(self, message: dict[str, Any]) -> list[AgentEvent]:
        text = _text(message, "delta") or _text(message, "text")
        if not text:
            return []
        start, end = number(message.get("start_ms")), number(message.get("end_ms"))
        if start is None or end is None:
            self._words += text
            return [ReplyText(text, reply_id=_text(message, "reply_id"))]
        text = _spaced(self._words, text)
        self._words += text
        return [ReplyText(text, start / 1000, end / 1000, _text(message, "reply_id"))]

    def _agent_said(self, message: dict[str, Any]) -> list[AgentEvent]:
        """Read a reply's whole text, which may hold words that did not come before; not that of a cut reply."""
        text = _text(message, "text")
        if message.get("interrupted") is True or not text.startswith(self._words.strip()):
            return []
        rest = text[len(self._words.strip()) :]
        self._words += rest
        return [ReplyText(rest, reply_id=_text(message, "reply_id"))] if rest.strip() else []

    def _call(self, message: dict[str, Any]) -> list[AgentEvent]:
        given = message.get("arguments", message.get("args"))
        arguments = given if isinstance(given, str) else json.dumps(given if given is not None else {})
        name, call_id = _text(message, "name"), _text(message, "call_id")
        return [ReplyCalls(call_id, name, arguments, _text(message, "reply_id"))] if name and call_id else []

    def _done(self, message: dict[str, Any]) -> list[AgentEvent]:
        reply_id = _text(message, "reply_id")
        if message.get("status") == "interrupted":
            return [ReplyDone("interrupted", reply_id=reply_id)]
        return [ReplyDone("completed", reply_id=reply_id, lacks_words=self._has_audio and not self._words)]


def _message(kind: str, **fields: object) -> str:
    return json.dumps({"type": kind, **fields}, ensure_ascii=False)


def _reply(instructions: str) -> str:
    return _message("reply.create", instructions=instructions)


def _result(result: CallResult) -> str:
    """Return the message for a tool's result, which is JSON text: other text becomes a JSON string."""
    try:
        json.loads(result.text)
        text = result.text
    except ValueError:
        text = json.dumps(result.text, ensure_ascii=False)
    return _message("tool.result", call_id=result.call_id, result=text, is_error=result.is_error)


def _tools(tools: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    """Return definitions in the service's flat form."""
    return [{"type": "function", **_function(tool)} for tool in tools]


def _function(tool: dict[str, Any]) -> dict[str, Any]:
    function = tool["function"]
    return {name: function[name] for name in ("name", "description", "parameters") if name in function}


def _text(message: Mapping[str, Any], name: str) -> str:
    value = message.get(name)
    return value if isinstance(value, str) else ""


def _spaced(before: str, text: str) -> str:
    """Return a word of a reply with a space before it, where the service leaves that out."""
    is_joined = before and not before[-1].isspace() and text[:1].isalnum() and text[:1] < "\u2e80"
    return f" {text}" if is_joined else text
