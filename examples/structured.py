"""Structured output alongside the reply: the caller hears an acknowledgement while a ticket is written.

Runs without key or network: the language model is a scripted service on loopback, the voice is a tone, and time is
virtual. Leave out `base_url` and `model` to use AssemblyAI's LLM Gateway for both models.
"""

from typing import Literal

import anyio
from pydantic import BaseModel, Field

import voicepipe as vp
from voicepipe.testing import ChatRequest, RecordingOutput, Says, ScriptedGateway, ScriptedVoice, run_on_virtual_time


class Ticket(BaseModel):
    """What a caller wants from customer service."""

    intent: Literal["billing", "support", "sales", "cancel", "other"]
    urgency: Literal["low", "medium", "high"]
    escalate: bool = Field(description="Whether a colleague has to take over.")
    summary: str


async def route_ticket(ticket: Ticket, turn: vp.Turn) -> None:
    print(f"{anyio.current_time():.1f} s: {ticket!r}")
    turn.session.deps.append(ticket)


def agent(base_url: str) -> vp.Pipeline:
    return vp.Pipeline(
        vp.Structured(Ticket, on_result=route_ticket, llm=vp.LLMStreamStage(base_url=base_url, model="scripted")),
        vp.LLMStreamStage("Acknowledge in one sentence.", base_url=base_url, model="scripted"),
        vp.SentenceChunker(),
        ScriptedVoice(),
        output=RecordingOutput(),
    )


TICKET = Ticket(intent="cancel", urgency="high", escalate=True, summary="Wants to cancel the subscription now.")


def script(request: ChatRequest) -> Says:
    """Return the scripted model's answer: data if data was asked for, otherwise words."""
    if request.response_format is not None:
        return Says(TICKET.model_dump_json(), after_s=0.9)
    return Says("I am sorry to hear that; I am taking care of it.", after_s=0.3)


async def main() -> None:
    tickets: list[Ticket] = []
    async with (
        ScriptedGateway(script).serve() as base_url,
        agent(base_url).session(deps=tickets) as session,
    ):
        turn = await session.user_says("I want to cancel my subscription right now.")
        print(f"{turn.timeline.ended:.1f} s: the caller has heard {session.history[-1].text!r}")
        print(f"first sound after {turn.timeline.first_frame - turn.timeline.transcript:.1f} s")
        assert turn.timeline.first_frame - turn.timeline.transcript < 0.4  # the ticket took 0.9 s

        llm = vp.LLMStreamStage(base_url=base_url, model="scripted")
        assert await vp.structured(Ticket, "I want to cancel my subscription right now.", llm=llm) == TICKET

    assert tickets == [TICKET]


if __name__ == "__main__":
    run_on_virtual_time(main)
