"""The cost of a tool call and of a token within the framework: from the model to the tool, and through the chunker."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Annotated

from anyio import current_time
from pydantic import BaseModel, Field

import voicepipe as vp
from benchmarks._figures import Figure, percentile
from benchmarks.parts import Loudspeaker, Voice

__all__ = ["tools"]

TURNS = 1_000
TURNS_OF_A_CALL = 20
ARGUMENTS = ('{"order_id": ', '"ORD-12345", ', '"address": {"street": "Elm", ', '"number": 5}, "gift": true}')
REPLY = " Your parcel left our depot before nine this morning."


class Address(BaseModel):
    street: str
    number: Annotated[int, Field(ge=1)]


@dataclass
class Times:
    """When each item was sent and when it arrived; kept outside the parts, because a pipeline copies those."""

    called_s: list[float] = field(default_factory=list)
    started_s: list[float] = field(default_factory=list)
    ended_s: list[float] = field(default_factory=list)
    chunked_s: list[float] = field(default_factory=list)


class Probe(vp.Model):
    """Calls a tool, then says a sentence, and notes when the awaited pieces were sent."""

    def __init__(self, times: Times) -> None:
        self.times = times

    async def reply(self, request, outbox, turn):
        del turn
        if not request.step:
            await outbox.send(vp.ToolCallDelta(index=0, name="send_order"))
            for piece in ARGUMENTS[:-1]:
                await outbox.send(vp.ToolCallDelta(index=0, arguments=piece))
            self.times.called_s.append(current_time())
            await outbox.send(vp.ToolCallDelta(index=0, arguments=ARGUMENTS[-1]))
        else:
            for token in REPLY[:-1].replace(" ", "| ").split("|"):
                await outbox.send(vp.TextDelta(token))
            self.times.ended_s.append(current_time())
            await outbox.send(vp.TextDelta(REPLY[-1]))
        await outbox.send(vp.ReplyEnd(finish_reason="stop"))


class Stamp(vp.Stage[vp.Sentence, vp.Sentence]):
    """Notes when the chunker sends a sentence."""

    def __init__(self, times: Times) -> None:
        self.times = times

    async def run(self, inbox, outbox, turn):
        del turn
        async for sentence in inbox:
            self.times.chunked_s.append(current_time())
            await outbox.send(sentence)


async def tools() -> list[Figure]:
    """Turns with one tool call each, one conversation at a time."""
    times = Times()

    @vp.tool(effect="read")
    async def send_order(order_id: Annotated[str, Field(pattern=r"^ORD-\d{5}$")], address: Address, gift: bool) -> str:
        """Send an order."""
        times.started_s.append(current_time())
        return f"{order_id} to {address.street}, {gift}"

    agent = vp.Pipeline(Probe(times), vp.ToolRouter([send_order]), vp.SentenceChunker(), Stamp(times), Voice(0.0, 1))
    async with agent.open() as host:
        for _ in range(TURNS // TURNS_OF_A_CALL):
            async with host.session(output=Loudspeaker(real_time=False)) as session:
                for _ in range(TURNS_OF_A_CALL):
                    await session.user_says("Send it.")
    calls_ms = [(end - start) * 1e3 for start, end in zip(times.called_s, times.started_s, strict=True)]
    tokens_ms = [(end - start) * 1e3 for start, end in zip(times.ended_s, times.chunked_s, strict=True)]
    return [
        Figure("tools: last piece of a call to its tool, validated, median", median(calls_ms), "ms", 0.2),
        Figure("tools: last piece of a call to its tool, validated, p99", percentile(calls_ms, 99), "ms"),
        Figure("tools: last token of a sentence through the chunker, median", median(tokens_ms), "ms", 0.1),
        Figure("tools: last token of a sentence through the chunker, p99", percentile(tokens_ms, 99), "ms"),
    ]
