"""What observers of a session get besides its events: the audio, and what its parts were given and gave.

Rule 1: everything here is immutable.
Rule 2: times are seconds on the event loop's clock (`anyio.current_time()`); field names carry the unit.
Rule 3: an exchange says what any part was given or gave, whoever wrote it, in voicepipe's own words. A wire message
        says what went over the network, for the services that voicepipe speaks to itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voicepipe.errors import VoicepipeError
    from voicepipe.flow import Hearing, ReplyEnd, ReplyState, TextDelta, ToolCallDelta, Wording, WordMark
    from voicepipe.history import Message

__all__ = [
    "ApplicationAsked",
    "AskedBy",
    "DraftDropped",
    "Exchange",
    "Heard",
    "ModelAsked",
    "ModelEnded",
    "ModelGave",
    "PlayedAudio",
    "SessionBegan",
    "ToolAsked",
    "ToolGave",
    "ToolOffered",
    "VoiceAsked",
    "VoiceEnded",
    "VoiceGave",
    "WireMessage",
]

AskedBy: TypeAlias = Literal["application", "turn", "rules"]
"""Who used the session: the application's own code, a tool, stage or hook of a turn, or the rules of turn-taking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayedAudio:
    """Audio of the agent that was played.

    Attributes:
        pcm: Little-endian signed 16-bit mono samples, as bytes.
        sample_rate: Samples per second.
        at_s: When its first sample was audible at the output; a network behind it takes its time on top.
        turn_id: The turn that it belongs to.
    """

    pcm: bytes
    sample_rate: int
    at_s: float
    turn_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WireMessage:
    """A message to or from a service, as it was on the network. Keys in it are replaced by "***".

    Attributes:
        at_s: When it was sent, or when it had come.
        peer: The host of the service.
        connection: Counts the requests and websockets of a session, from 1: which of them the message belongs to.
        direction: "sent" or "received".
        head: What stands in front of the content: "POST /v1/chat/completions", "200 text/event-stream",
            "websocket /v3/ws", "closed 1000"; "" for a further piece, or a message of a websocket.
        data: The content; bytes where it is audio.
    """

    at_s: float
    peer: str
    connection: int
    direction: Literal["sent", "received"]
    head: str = ""
    data: str | bytes = ""


# --- what parts were given and gave -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionBegan:
    """All parts are attached, and the session begins to listen: with these properties of its parts it takes turns.

    Attributes:
        at_s: When.
        is_closed: As in `Recogniser`: whether the recogniser forces all speech into a fixed set of phrases.
        has_echo: Whether the session takes it that the microphone picks up the agent.
        shows_text: As in `Output`: whether the output shows what the agent says, and plays nothing.
        output_rate: Samples per second that the output plays.
        history: What was said before this session.
    """

    at_s: float
    is_closed: bool
    has_echo: bool
    shows_text: bool
    output_rate: int
    history: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Turn-taking was given what a recogniser or a detector reports, typed words, or a key.

    Attributes:
        at_s: When.
        hearing: What it was given.
        is_typed: Whether the words were typed: `Session.user_says`.
    """

    at_s: float
    hearing: Hearing
    is_typed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAsked:
    """A model was given a request.

    Attributes:
        at_s: When.
        request_id: Counts the requests of a session, those of drafts included, from 1.
        turn_id: The turn that asks. A draft that is dropped gives its number to the next turn.
        step: Counts the requests of one turn, from 0; those after the first follow tool results.
        model: Which model it is, as `ModelAnswered` has it.
        system: The system prompt that the session gave; None for the model's own.
        messages: The conversation, oldest first.
        tools: Names of the tools that the model may call.
    """

    at_s: float
    request_id: int
    turn_id: int
    step: int
    model: str = ""
    system: str | None
    messages: tuple[Message, ...]
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelGave:
    """A model gave a piece of a reply.

    Attributes:
        at_s: When.
        request_id: As in `ModelAsked`.
        part: The piece.
    """

    at_s: float
    request_id: int
    part: TextDelta | ToolCallDelta | ReplyState | ReplyEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEnded:
    """A model returned, or failed. One that was cancelled has neither.

    Attributes:
        at_s: When.
        request_id: As in `ModelAsked`.
        error: Why it failed; None if it did not.
    """

    at_s: float
    request_id: int
    error: VoicepipeError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOffered:
    """A request offers a tool to the model that none of the session has offered before, or not as it is now.

    Attributes:
        at_s: When.
        name: As in `Tool`, and so are those that follow.
        description: What the model reads of it.
        parameters: JSON schema of the arguments.
        effect: "read" or "write".
        timeout_s: Seconds after which the router stops waiting.
        say: What the agent says when the tool takes long; "" for nothing.
        confirm: Whether the caller has to agree before the tool runs.
        reply: Whether the model is asked for a reply once the tool has returned.
        say_after_s: As in `ToolRouter`.
        follows_up: As in `ToolRouter`.
    """

    at_s: float
    name: str
    description: str
    parameters: Mapping[str, object]
    effect: str
    timeout_s: float
    say: str
    confirm: bool
    reply: bool
    say_after_s: float
    follows_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftDropped:
    """A draft was dropped without a trace: what its model was asked and gave belongs to no turn.

    Attributes:
        at_s: When.
        turn_id: The number that it had, which the next turn gets.
    """

    at_s: float
    turn_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolAsked:
    """A tool is run, with arguments that validate.

    Attributes:
        at_s: When.
        turn_id: The turn whose reply calls it.
        call_id: The call.
        name: The tool.
        arguments: JSON text of an object, as the model wrote it.
    """

    at_s: float
    turn_id: int
    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolGave:
    """A tool returned, or failed.

    Attributes:
        at_s: When.
        call_id: As in `ToolAsked`.
        status: "done", "failed", or "unknown" if it was cancelled with the session.
        result: What the model is shown.
    """

    at_s: float
    call_id: str
    status: str
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceAsked:
    """A voice was given a sentence.

    Attributes:
        at_s: When.
        sentence_id: Counts the sentences of a session, those of drafts included, from 1.
        turn_id: The turn that speaks.
        voice: Name of the part that synthesises it.
        text: The sentence as the model wrote it, cleaned of markup.
        segment: As in `Sentence`.
        sample_rate: Samples per second of the audio that the voice gives.
        start_buffer_s: How long after its first audio it is played, as `TTSSink.start_buffer_s` says for it.
        is_filler: Whether it only fills a silence, and answers nothing; see `Timeline`.
        wording: What the voice was given in its place, if a stage such as `Speakable` put other words in; as in
            `Sentence`.
    """

    at_s: float
    sentence_id: int
    turn_id: int
    voice: str
    text: str
    segment: int
    sample_rate: int
    start_buffer_s: float = 0.0
    is_filler: bool = False
    wording: tuple[Wording, ...] = ()

    @property
    def spoken(self) -> str:
        """What the voice was given."""
        return "".join(piece.spoken for piece in self.wording) or self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceGave:
    """A voice gave a piece of a sentence's audio, or said how far its words have come.

    Attributes:
        at_s: When.
        sentence_id: As in `VoiceAsked`.
        piece: Little-endian signed 16-bit mono samples as bytes, perhaps half of one at the end; or a mark.
    """

    at_s: float
    sentence_id: int
    piece: bytes | WordMark


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceEnded:
    """A voice has given all audio of a sentence, or failed. One that was cancelled has neither.

    Attributes:
        at_s: When.
        sentence_id: As in `VoiceAsked`.
        error: Why it failed; None if it did not.
    """

    at_s: float
    sentence_id: int
    error: VoicepipeError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationAsked:
    """A method of the session was called: `say`, `reply`, `expect`, `interrupt`, `correct_heard` or `end`.

    Attributes:
        at_s: When.
        by: Who called it.
        method: Its name.
        arguments: Its arguments by name, those that were left out excepted.
    """

    at_s: float
    by: AskedBy
    method: str
    arguments: Mapping[str, object]


Exchange: TypeAlias = (
    SessionBegan
    | Heard
    | ToolOffered
    | ModelAsked
    | ModelGave
    | ModelEnded
    | DraftDropped
    | ToolAsked
    | ToolGave
    | VoiceAsked
    | VoiceGave
    | VoiceEnded
    | ApplicationAsked
)
"""What a part was given or gave."""
