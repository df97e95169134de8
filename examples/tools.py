"""A tool call, then a streamed reply: the words before the tool call are spoken while the tool runs.

The model is scripted, but used over real HTTP server-sent events; change `base_url` and `model` to use a real one.
"""

from typing import Annotated

import anyio
from pydantic import BaseModel, Field

import voicepipe as vp
from voicepipe.testing import Calls, ChatRequest, RecordingOutput, Says, ScriptedGateway, ScriptedVoice


class OrderStatus(BaseModel):
    status: str
    arrives: str


class Shop:
    """What the tools of one session may use; the model never sees it."""

    async def order(self, order_id: str) -> OrderStatus:
        await anyio.sleep(0.2)
        return OrderStatus(status=f"{order_id} has been shipped", arrives="tomorrow")


@vp.tool(effect="read")
async def get_order_status(
    order_id: Annotated[str, Field(pattern=r"^ORD-\d{5}$")], call: vp.ToolContext[Shop]
) -> OrderStatus:
    """Look up the status of a customer order.

    Args:
        order_id: The order's number, e.g. ORD-12345.
    """
    return await call.deps.order(order_id)


@vp.tool
async def hang_up(call: vp.ToolContext[Shop]) -> str:
    """End the call when the caller has nothing more to ask."""
    call.session.end(after_reply=True, result="served")
    return "Say good-bye."


def agent(base_url: str) -> vp.Pipeline:
    return vp.Pipeline(
        vp.LLMStreamStage(
            "You are a friendly voice assistant. Keep replies short.", base_url=base_url, model="scripted"
        ),
        vp.ToolRouter([get_order_status, hang_up]),
        vp.SentenceChunker(),
        ScriptedVoice(character_s=0.01),
        output=RecordingOutput(),
    )


def script(request: ChatRequest) -> Says | Calls:
    """Return the scripted model's answer."""
    if "order" in request.last_user_text:
        if not request.tool_results:
            return Calls("get_order_status", {"order_id": "ORD-12345"}, say="One moment, I am looking it up.")
        return Says("It has been shipped. It arrives tomorrow.")
    return Says("Good-bye!") if request.tool_results else Calls("hang_up", {})


async def main() -> None:
    async with (
        ScriptedGateway(script, token_s=0.01).serve() as base_url,
        agent(base_url).session(deps=Shop(), greeting="Hello!") as session,
    ):
        await session.user_says("Where is my order 1 2 3 4 5?")
        await session.user_says("That is all.")
        await session.ended.wait()

    for message in session.history:
        print(f"{type(message).__name__:16} {message.text}")
    assert session.result == "served"


if __name__ == "__main__":
    anyio.run(main)
