"""Another model replies when the first one fails: AssemblyAI's LLM Gateway does this within one request.

For any other service, and for a model that is only late, write `vp.FirstOf(one, other, after_s=0.8)`; see
docs/services.md.

The gateway is simulated, on virtual time; leave out `base_url` to use the real one. Without `fallbacks`, voicepipe asks
the gateway not to retry by itself, because that retry is invisible and takes half a second.
"""

import voicepipe as vp
from voicepipe.testing import ChatRequest, RecordingOutput, Refuses, Reply, Says, ScriptedVoice, run_on_virtual_time
from voicepipe.testing.simulators.gateway import GatewaySimulator

FALLBACKS = {
    "fallbacks": [{"model": "claude-haiku-4-5-20251001"}, {"model": "gemini-2.5-flash"}],
    "fallback_config": {"depth": 2, "retry": False},
}


def agent(base_url: str) -> vp.Pipeline:
    return vp.Pipeline(
        vp.LLMStreamStage("Keep replies short.", base_url=base_url, model="gpt-5.2", extra_body=FALLBACKS),
        vp.SentenceChunker(),
        ScriptedVoice(character_s=0.01),
        output=RecordingOutput(),
    )


def script(request: ChatRequest) -> Reply:
    """Return the reply: only the last of the three models works."""
    return Says("We open at nine.") if request.model.startswith("gemini") else Refuses(503, "overloaded")


async def main() -> None:
    gateway = GatewaySimulator(script)
    async with gateway.serve() as base_url, agent(base_url).session() as session:
        await session.user_says("When do you open?")
        session.end()
        used = [event async for event in session if isinstance(event, vp.ModelUsage)]

    print(used[0].model, "said:", session.history[-1].text)
    assert len(gateway.requests) - 1 == len(used) == 1  # one request, and one that opened the connection
    assert used[0].model == "gemini-2.5-flash"


if __name__ == "__main__":
    run_on_virtual_time(main)  # anyio.run(main) with the real gateway
