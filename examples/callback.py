"""Booking a callback: tools that share an appointment book, one of which runs only after the caller has agreed.

The model is scripted, but used over HTTP server-sent events, on virtual time. Leave out `base_url` and `model` to use
AssemblyAI's LLM Gateway.
"""

from datetime import UTC, datetime

import anyio
from pydantic import BaseModel, Field

import voicepipe as vp
from voicepipe.testing import (
    Calls,
    ChatRequest,
    RecordingOutput,
    Says,
    ScriptedGateway,
    ScriptedVoice,
    run_on_virtual_time,
)


class Callback(BaseModel):
    number: str = Field(pattern=r"^\+\d{7,15}$")
    at: datetime


class Appointments(vp.Toolbox):
    """The tools of one session share the book; the model never sees it."""

    def __init__(self) -> None:
        self.booked: list[Callback] = []

    @vp.tool(effect="read", say="Let me look into the calendar.")
    async def free_times(self) -> list[datetime]:
        """List the times at which a colleague can call back."""
        await anyio.sleep(1.0)
        return [datetime(2027, 3, 1, 15, tzinfo=UTC), datetime(2027, 3, 2, 9, tzinfo=UTC)]

    @vp.tool(confirm=True)
    async def book_callback(self, callback: Callback) -> str:
        """Book a callback. The caller is asked to agree first.

        Args:
            callback: The caller's number with the country's code, and one of the free times.
        """
        self.booked.append(callback)
        return "Booked."


def agent(base_url: str, appointments: Appointments) -> vp.Pipeline:
    return vp.Pipeline(
        vp.LLMStreamStage("You arrange callbacks. Keep replies short.", base_url=base_url, model="scripted"),
        vp.ToolRouter([appointments]),
        vp.SentenceChunker(),
        ScriptedVoice(character_s=0.01),
        output=RecordingOutput(),
    )


CALLBACK = Calls("book_callback", {"callback": {"number": "+15550100", "at": "2027-03-01T15:00:00Z"}})


def script(request: ChatRequest) -> Says | Calls:
    """Return the scripted model's answer; like many real models it would book without asking."""
    results = " ".join(request.tool_results.values())
    if "needs_confirmation" in results:
        return Says("Monday at three in the afternoon, on the number ending in 0100. Shall I book it?")
    if "Booked" in results:
        return Says("Done. A colleague calls you on Monday at three.")
    if results:
        return Says("Monday at three is free, and Tuesday at nine.")
    return Calls("free_times", {}) if "When" in request.last_user_text else CALLBACK


async def main() -> None:
    appointments = Appointments()
    async with (
        ScriptedGateway(script, token_s=0.01).serve() as base_url,
        agent(base_url, appointments).session() as session,
    ):
        await session.user_says("When can you call me back?")
        await session.user_says("Monday then.")
        assert appointments.booked == []  # the model has called the tool, but the caller has not agreed yet
        await session.user_says("Yes, please.")

    for message in session.history:
        print(f"{type(message).__name__:16} {message.text}")
    assert [callback.at.hour for callback in appointments.booked] == [15]


if __name__ == "__main__":
    run_on_virtual_time(main)  # anyio.run(main) with a real model
