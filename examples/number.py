"""A number collector that waits: the caller reads a number in parts, and is answered at its last digit.

The caller and the model are scripted, and time is virtual. With a real recogniser, `agent` needs no other line.
"""

from typing import Annotated

import anyio
from pydantic import Field

import voicepipe as vp
from voicepipe.testing import (
    Calls,
    RecordingOutput,
    Says,
    ScriptedModel,
    ScriptedUser,
    ScriptedVoice,
    run_on_virtual_time,
)


@vp.tool(effect="read")
async def find_order(order_id: Annotated[str, Field(pattern=r"^ORD-\d{5}$")]) -> str:
    """Look an order up. Ask the caller for its number."""
    return f"{order_id} is on its way."


@vp.tool(effect="read")
async def ask_for_pin(call: vp.ToolContext) -> str:
    """Call this before you ask the caller for their PIN."""
    call.session.expect(vp.Digits(4))
    return "Ask for the PIN now."


caller = (
    ScriptedUser()
    .says("Where is my order?", at_s=1.0)
    .says("It's ord one two", at_s=4.0, speech_s=1.0, silence_s=0.3)
    .says("um, double five", at_s=6.0, speech_s=0.8, silence_s=0.3)
    .says("oh", at_s=7.5, speech_s=0.2, silence_s=0.3)
    .says("one two", at_s=11.0, speech_s=0.5, silence_s=0.3)
    .says("three four", at_s=13.0, speech_s=0.5, silence_s=0.3)
    .hangs_up(at_s=16.0)
)

model = ScriptedModel(
    [
        Calls("find_order", {}),  # the number is missing: the tool refuses, and what it lacks is expected of the caller
        Says("What is its number?"),
        Calls("find_order", {"order_id": "ORD-12550"}),
        Calls("ask_for_pin", {}),
        Says("I have found it. What is your PIN?"),
        Says("Thank you. It arrives tomorrow."),
    ]
)


def agent(output: vp.Output) -> vp.Pipeline:
    return vp.Pipeline(
        caller,
        model,
        vp.ToolRouter([find_order, ask_for_pin]),
        vp.SentenceChunker(),
        ScriptedVoice(),
        output=output,
        turns=vp.TurnRules(drafts=False),  # so that the script of the model has no reply to half a number
    )


async def main() -> None:
    output = RecordingOutput()
    async with agent(output).session() as session:
        async for event in session:
            if isinstance(event, vp.Transcript | vp.SentenceStarted):
                print(f"{anyio.current_time():5.2f} s  {type(event).__name__:16} {event.text}")

    print([message.text for message in session.history if isinstance(message, vp.UserMessage)])
    assert [start_s for start_s, _ in output.spans()] == [1.0, 7.5, 13.0]  # at the end of each question and number


if __name__ == "__main__":
    run_on_virtual_time(main)
