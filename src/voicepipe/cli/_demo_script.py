"""The script of the demo: the caller's lines, the recogniser's grammar, the model's answers, the tools.

Rule 1: the model is scripted, everything else is real. The model answers what was recognised, played and looked up, so
        a conversation that goes wrong anywhere does not match this script.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, Field

import voicepipe as vp
from voicepipe.testing.script import Calls, ChatRequest, Reply, Says

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "CALLER",
    "GRAMMAR",
    "GREETING",
    "LINES",
    "LIVE_SYSTEM",
    "NOTES",
    "PHRASES",
    "SYSTEM",
    "TOOLS",
    "Line",
    "answer",
    "problems",
]

NOTES: Final = (
    "recogniser: pocketsphinx, embedded; it understands only the phrases of its grammar",
    "voice: eSpeak NG, embedded, GPL-3; the caller is another eSpeak voice",
    "model: scripted, on a real HTTP server of this machine, 10 ms a token, no first-token delay",
    "figures: end of speech to first audio, measured; they exclude a real model and the network",
)
"""What is real and what is not; shown once, at the top."""

CALLER: Final = "en-us+f2"
"""The caller's voice: one of the six voices, of eight tested, that were recognised in each of 30 sentences."""

SYSTEM: Final = "You are the telephone assistant of a small shop. Keep replies short."

LIVE_SYSTEM: Final = (
    f"{SYSTEM} Speak plain sentences without lists. The shop is open from nine to five. Order numbers have five digits "
    "and are written like ORD-12345: look an order up with the tool before you speak of it. The return policy, which "
    "you explain in three sentences: anything can be returned within thirty days, unused and in its box; it is sent "
    "back with the label from the website; it is refunded within a week and costs nothing. When the caller says "
    "goodbye, say goodbye in one short sentence, and call no tool for that."
)
"""What a live model has to know."""

DIGITS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
HOURS: Final = "when are you open"
ORDER: Final = "where is my order"
RETURNS: Final = "tell me about your return policy"
COST: Final = "how much does it cost"
BYE: Final = "thank you and goodbye"

PHRASES: Final = (HOURS, f"{ORDER} one two three four five", RETURNS, COST, BYE)
"""What a caller may say; any five digits do."""

GREETING: Final = "Hello, this is the shop. How can I help you?"
"""What the agent says first to a caller who is a person."""

GRAMMAR: Final = f"""#JSGF V1.0;
grammar shop;
public <request> = {HOURS} | {ORDER} <number> | {RETURNS} | {COST} | {BYE};
<number> = <digit> <digit> <digit> <digit> <digit>;
<digit> = {" | ".join(DIGITS)};
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Something the caller says, and its expected result.

    Attributes:
        text: The words.
        reply: The words of the expected reply.
        cut_after_s: How long the caller listens before interrupting with the next line; None to listen to the end.
        tool: The tool that must have run by then; "" for none.
        recording: The name of a recording of a person who says it; "" if there is none.
    """

    text: str
    reply: str
    cut_after_s: float | None = None
    tool: str = ""
    recording: str = ""


LINES: Final = (
    Line(text=HOURS, reply="We are open from nine to five."),
    Line(
        text=f"{ORDER} one two three four five",
        reply="Let me look that up. Order one two three four five has been shipped. It arrives tomorrow morning.",
        tool="get_order_status",
    ),
    Line(
        text=RETURNS,
        reply="You can return anything within thirty days. It must be unused and in its box. "
        "Send it back with the label from our website, and we refund you within a week.",
        cut_after_s=1.6,
    ),
    Line(text=COST, reply="Sending it back costs you nothing."),
    Line(text=BYE, reply="You are very welcome. Goodbye.", tool="end_call"),
)


class OrderStatus(BaseModel):
    """What the shop knows about an order."""

    order_id: str
    state: str
    arrives: str


SHOP: Final = {"ORD-12345": OrderStatus(order_id="ORD-12345", state="shipped", arrives="tomorrow morning")}


@vp.tool(effect="read")
async def get_order_status(order_id: Annotated[str, Field(pattern=r"ORD-\d{5}")]) -> OrderStatus:
    """Look up the status of a customer's order."""
    if order_id not in SHOP:
        raise vp.ToolError(f"there is no order {order_id}")
    return SHOP[order_id]


@vp.tool
async def end_call(call: vp.ToolContext[None]) -> str:
    """Hang up after the agent's current words."""
    call.session.end(after_reply=True, result="goodbye")
    return "The call ends after your last words."


TOOLS: Final = (get_order_status, end_call)


def answer(request: ChatRequest) -> Reply:
    """Answer as a model would that knows `LINES`."""
    said = request.last_user_text.rpartition("\n")[2]  # an earlier text whose reply was never played stands before it
    if (number := said.removeprefix(f"{ORDER} ")) != said:
        if not request.tool_results:
            digits = "".join(str(DIGITS.index(word)) for word in number.split())
            return Calls("get_order_status", {"order_id": f"ORD-{digits}"}, say="Let me look that up. ")
        return Says(_order_in_words(*request.tool_results.values()))
    if said == BYE:
        return Says("Goodbye.") if request.tool_results else Calls("end_call", {}, say="You are very welcome. ")
    return Says(next((line.reply for line in LINES if line.text == said), "Sorry, I did not understand that."))


def _order_in_words(result: str) -> str:
    known = json.loads(result)
    if "error" in known:
        return "I cannot find that order."
    order = OrderStatus.model_validate(known)
    digits = " ".join(DIGITS[int(digit)] for digit in re.findall(r"\d", order.order_id))
    return f"Order {digits} has been {order.state}. It arrives {order.arrives}."


def problems(events: Sequence[vp.Event]) -> list[str]:
    """Return how a conversation differs from the script, a sentence each."""
    turns = [event for event in events if isinstance(event, vp.TurnEnded)]
    done = {event.name for event in events if isinstance(event, vp.ToolFinished) and event.status == "done"}
    found = [
        f"turn {turn.turn_id}: {problem}"
        for line, turn in zip(LINES, turns, strict=False)
        if (problem := _problem(line, turn))
    ]
    found += [f"the tool {line.tool} did not succeed" for line in LINES if line.tool and line.tool not in done]
    if len(turns) != len(LINES):
        found.append(f"there were {len(turns)} turns instead of {len(LINES)}")
    return found


def _problem(line: Line, turn: vp.TurnEnded) -> str:
    kind = vp.TurnCompleted if line.cut_after_s is None else vp.TurnInterrupted
    if turn.user_text != line.text:
        return f"the caller said {line.text!r}, but {turn.user_text!r} was recognised"
    if not isinstance(turn, kind):
        return f"it should end as {kind.__name__}, but it ended as {type(turn).__name__}"
    if line.cut_after_s is None and turn.heard != line.reply:
        return f"{turn.heard!r} was heard instead of {line.reply!r}"
    if line.cut_after_s is not None and not (turn.heard and _is_beginning(turn.heard, line.reply)):
        return f"{turn.heard!r} was heard, which is not the beginning of {line.reply!r}"
    return ""


def _is_beginning(heard: str, whole: str) -> bool:
    return whole.startswith(heard) and heard != whole
