"""What a session reports about requests to the model; see `events`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from voicepipe.flow import Stamped

if TYPE_CHECKING:
    from voicepipe.errors import VoicepipeError

__all__ = [
    "HedgeStarted",
    "ModelAnswered",
    "ModelUsage",
    "RateLimitNear",
    "ReplyCut",
    "RequestRetried",
    "Summarised",
    "SummaryFailed",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRetried(Stamped):
    """A request to the model failed before any of its reply was used, and is sent again.

    Attributes:
        turn_id: The turn that asks.
        error: Why it failed.
        model: Which other model is asked, as `ModelAnswered` has it; "" for the same one.
    """

    turn_id: int
    error: VoicepipeError
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeStarted(Stamped):
    """Nothing of a reply has come in time, so another request is sent, and the first one goes on (`Hedge`, `FirstOf`).

    Attributes:
        turn_id: The turn that asks.
        model: Which model is asked, as `ModelAnswered` has it.
    """

    turn_id: int
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswered(Stamped):
    """Of several requests for one reply, one has begun to give it, and the others are closed (`Hedge`, `FirstOf`).

    Attributes:
        turn_id: The turn that asked.
        model: Which model it is: its id and service, e.g. "gpt-5.2 at https://llm-gateway.assemblyai.com/v1", or the
            name of a `Model` of your own (`Model.label`).
        was_first: Whether its request was the first one; if not, the other request was worth it.
    """

    turn_id: int
    model: str
    was_first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyCut(Stamped):
    """A reply of the model is not whole, but it has called a tool: the turn goes on with what the tool brings.

    A reply that is cut without having called a tool fails its turn (`TurnFailed`).

    Attributes:
        turn_id: The turn that goes on.
        error: Why the reply is not whole.
    """

    turn_id: int
    error: VoicepipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUsage(Stamped):
    """The tokens of a request to the model, reported when the reply has ended, or with the end of its turn.

    A whole reply is reported if the service counts it. Requests of `Structured` and for summaries are reported as those
    for replies are.

    Attributes:
        turn_id: The turn that asked; one with tools asks several times.
        model: The model that replied, in the service's word.
        step: Which of the turn's requests it was, from 0; None for one of `Structured` or for a summary.
        input_tokens: Tokens of the request.
        output_tokens: Tokens of the reply.
        is_estimated: Whether the reply was cut or interrupted before the service counted it, so that the numbers are a
            quarter of the bytes.
    """

    turn_id: int
    model: str
    step: int | None = None
    input_tokens: int
    output_tokens: int
    is_estimated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitNear(Stamped):
    """The model's service will soon refuse requests: less than a fifth of its limit is left, or at most 3 requests.

    Attributes:
        turn_id: The turn that asked.
        remaining: Requests left.
        limit: Requests allowed in the whole window.
        reset_s: Seconds until the next window begins; None if the service did not say.
    """

    turn_id: int
    remaining: int
    limit: int
    reset_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summarised(Stamped):
    """The oldest messages of the conversation are a summary in the requests that follow: see `Window`.

    Attributes:
        turn_id: The turn after which it was written.
        messages: How many messages of the history it covers.
        text: The summary.
    """

    turn_id: int
    messages: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryFailed(Stamped):
    """A summary could not be written. Requests hold what they would hold without it, and another try comes later.

    Attributes:
        turn_id: The turn after which it was tried.
        error: Why.
    """

    turn_id: int
    error: VoicepipeError
