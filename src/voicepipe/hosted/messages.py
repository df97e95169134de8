"""What goes over the connection to a hosted agent, in no vendor's words.

Rule 1: a vendor's protocol translates; what is above it knows only these.
Rule 2: everything here is immutable.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from voicepipe.errors import VendorError, VoicepipeError
    from voicepipe.history import Message

__all__ = [
    "AgentEvent",
    "AgentRequest",
    "AgentSetup",
    "CallResult",
    "CallerAudio",
    "CallerSaid",
    "CallerSpeaks",
    "CallerStopped",
    "CallerTyped",
    "ReplyAudio",
    "ReplyBegan",
    "ReplyCalls",
    "ReplyDone",
    "ReplyText",
    "RequestFailed",
    "ServiceComplained",
    "SetInstructions",
    "SetInterruptible",
    "SetTools",
    "ShowResults",
    "Speak",
    "StopReply",
    "Suggest",
]

# --- from the service -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallerSpeaks:
    """The service hears the caller speak.

    Attributes:
        stops_agent: Whether the service stops its reply at this, although no message about the reply need follow: all
            of its audio may have come already.
        item_id: The service's id of what the caller will have said; "" if it gives none.
    """

    stops_agent: bool = False
    item_id: str = ""


@dataclass(frozen=True, slots=True)
class CallerStopped:
    """The service hears the caller no longer."""


@dataclass(frozen=True, slots=True)
class CallerSaid:
    """What the caller has said.

    Attributes:
        text: The words so far, or all of them.
        is_final: Whether they end the caller's turn; without words, nobody knows what they were.
        item_id: As in `CallerSpeaks`.
    """

    text: str
    is_final: bool = True
    item_id: str = ""


@dataclass(frozen=True, slots=True)
class ReplyBegan:
    """The service begins a reply.

    Attributes:
        reply_id: The service's id; "" if it gives none.
        tag: That of the request that asked for it, if the service repeats it.
    """

    reply_id: str = ""
    tag: str = ""


@dataclass(frozen=True, slots=True)
class ReplyAudio:
    """A piece of a reply's audio: whole 16-bit mono samples at the agent's rate.

    Attributes:
        pcm: The samples.
        reply_id: The reply's; "" for the one that is being given.
    """

    pcm: bytes = field(repr=False)
    reply_id: str = ""


@dataclass(frozen=True, slots=True)
class ReplyText:
    """A piece of a reply's words.

    Attributes:
        text: As it came, with its white space.
        start_s: When it begins in the reply's audio; None if the service does not say.
        end_s: When it ends there.
        reply_id: The reply's; "" for the one that is being given.
    """

    text: str
    start_s: float | None = None
    end_s: float | None = None
    reply_id: str = ""


@dataclass(frozen=True, slots=True)
class ReplyCalls:
    """The service calls a tool; its arguments are whole.

    Attributes:
        call_id: The service's id of the call.
        name: The tool's name.
        arguments: JSON text.
        reply_id: The reply's; "" for the one that is being given.
    """

    call_id: str
    name: str
    arguments: str
    reply_id: str = ""


@dataclass(frozen=True, slots=True)
class ReplyDone:
    """The service has ended a reply.

    Attributes:
        status: How.
        reason: Why, in the service's word; "" if it has none.
        error: Why it failed.
        reply_id: The reply's; "" for the one that is being given.
        lacks_words: Whether its words may still come.
    """

    status: Literal["completed", "interrupted", "failed"]
    reason: str = ""
    error: VendorError | None = None
    reply_id: str = ""
    lacks_words: bool = False


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """The service refuses a request for a reply.

    Attributes:
        error: Why.
        tag: The request's; "" for the oldest one that waits.
    """

    error: VendorError
    tag: str = ""


@dataclass(frozen=True, slots=True)
class ServiceComplained:
    """The service reports an error that belongs to no reply, and goes on."""

    error: VoicepipeError


AgentEvent: TypeAlias = (
    CallerSpeaks
    | CallerStopped
    | CallerSaid
    | ReplyBegan
    | ReplyAudio
    | ReplyText
    | ReplyCalls
    | ReplyDone
    | RequestFailed
    | ServiceComplained
)
"""What a service reports."""

# --- to the service ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSetup:
    """What a connection begins with.

    Attributes:
        instructions: The system prompt.
        tools: Definitions of the tools, in OpenAI's form.
        history: What was said before this connection.
        greets: Whether the service is to speak its greeting, if it has one.
        resumes: The service's id of the session that was lost; "" to begin one.
    """

    instructions: str
    tools: tuple[dict[str, Any], ...] = ()
    history: tuple[Message, ...] = ()
    greets: bool = False
    resumes: str = ""


@dataclass(frozen=True, slots=True)
class CallerAudio:
    """What the caller's line carries: whole 16-bit mono samples at the agent's rate."""

    pcm: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CallerTyped:
    """Words of the caller that were not spoken; the service is to answer them."""

    text: str
    tag: str


@dataclass(frozen=True, slots=True)
class Suggest:
    """Let the service speak, by a note of the application."""

    note: str
    tag: str


@dataclass(frozen=True, slots=True)
class Speak:
    """Ask the service to say a text of the application word for word."""

    text: str
    tag: str


@dataclass(frozen=True, slots=True)
class CallResult:
    """What a tool call brought.

    Attributes:
        call_id: The service's id of the call.
        name: The tool's name.
        text: The result as the model may see it: JSON, with the mark of data that nobody vouches for.
        is_error: Whether the call failed.
    """

    call_id: str
    name: str
    text: str
    is_error: bool


@dataclass(frozen=True, slots=True)
class ShowResults:
    """Show the service the results of its calls.

    Attributes:
        results: The results.
        tag: For the reply that is wanted; "" if none is.
        are_late: Whether the reply that called was interrupted or is long over, so that nobody waits for them.
    """

    results: tuple[CallResult, ...]
    tag: str = ""
    are_late: bool = False


@dataclass(frozen=True, slots=True)
class StopReply:
    """A reply was cut off here.

    Attributes:
        reply_id: The reply's.
        heard_s: Seconds of its audio that the caller heard.
        is_over: Whether the service has ended it already.
    """

    reply_id: str
    heard_s: float
    is_over: bool


@dataclass(frozen=True, slots=True)
class SetInstructions:
    """Change the system prompt."""

    text: str


@dataclass(frozen=True, slots=True)
class SetTools:
    """Change the tools: definitions in OpenAI's form."""

    tools: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class SetInterruptible:
    """Choose whether the caller's words interrupt the service's replies."""

    is_interruptible: bool


AgentRequest: TypeAlias = (
    CallerAudio
    | CallerTyped
    | Suggest
    | Speak
    | ShowResults
    | StopReply
    | SetInstructions
    | SetTools
    | SetInterruptible
)
"""What a service is asked."""
