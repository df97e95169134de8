"""Another model for each request of a turn: one decides on tools, another one speaks.

The models are scripted, but used over HTTP server-sent events, on virtual time. Leave out `base_url` and `model` to use
AssemblyAI's LLM Gateway.
"""

from dataclasses import replace

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


@vp.tool(effect="read")
async def opening_hours(weekday: str) -> str:
    """Look up when the shop is open."""
    return f"{weekday} from nine to six"


def choose(request: vp.Request, _turn: vp.Turn) -> vp.Request:
    """Choose a careful model for the first request of a turn, which decides on tools, and a fast one after that."""
    return replace(request, model="gpt-5.2", temperature=0.7) if request.step else request


def agent(base_url: str) -> vp.Pipeline:
    return vp.Pipeline(
        vp.LLMStreamStage("You answer for a shop.", base_url=base_url, model="claude-sonnet-4-6", adjust=choose),
        vp.ToolRouter([opening_hours]),
        vp.SentenceChunker(),
        ScriptedVoice(character_s=0.01),
        output=RecordingOutput(),
    )


def script(request: ChatRequest) -> Says | Calls:
    """Return the scripted models' answers."""
    if not request.tool_results:
        return Calls("opening_hours", {"weekday": "Monday"})
    return Says(f"We are open on {request.tool_results['call_1']}.")


async def main() -> None:
    gateway = ScriptedGateway(script, token_s=0.01)
    async with gateway.serve() as base_url, agent(base_url).session() as session:
        await session.user_says("When do you open on Monday?")

    asked = [request.chat.model for request in gateway.requests if request.chat is not None]
    print(" then ".join(asked), "said:", session.history[-1].text)
    assert asked == ["claude-sonnet-4-6", "gpt-5.2"]


if __name__ == "__main__":
    run_on_virtual_time(main)  # anyio.run(main) with a real model
