"""A call with a hosted agent: one stage hears, answers and speaks, and our tool brings what it does not know.

The service is simulated on loopback, so this needs neither a key nor a network. Against the real one, leave `url=` out
and put the key into ASSEMBLYAI_API_KEY.
"""

import anyio

import voicepipe as vp
from voicepipe.testing import Calls, RecordingOutput, Says, run_on_virtual_time
from voicepipe.testing.hosted_service import tone
from voicepipe.testing.simulators.voice_agent import VoiceAgentSimulator

RATE = 24_000


@vp.tool(effect="read")
async def get_order(number: int) -> str:
    """Look up an order by its number."""
    await anyio.sleep(0.3)
    return f"Order {number} has shipped and comes on Monday."


async def call(source: vp.PushSource) -> None:
    """Make a sound from 2 to 3 s, and again over the agent's answer, then hang up."""
    for frame in range(9 * 50):
        await anyio.sleep(0.02)
        is_speech = 2 <= frame / 50 < 3 or 5.5 <= frame / 50 < 6
        source.push(tone(0.02, RATE) if is_speech else bytes(RATE // 25))
    source.end()


async def main() -> None:
    simulator = VoiceAgentSimulator(
        ["Where is my order?", "Thank you."],
        [Calls("get_order", {"number": 42}), Says("It comes on Monday, between nine and noon."), Says("Goodbye!")],
    )
    source = vp.PushSource(RATE)
    async with simulator.serve() as url:
        hosted = vp.HostedVoiceAgent("Be brief.", greeting="Hello!", url=url)
        agent = vp.Pipeline(hosted, vp.ToolRouter([get_order]))
        async with (
            agent.session(source=source, output=RecordingOutput(RATE)) as session,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(call, source)
            async for event in session:
                match event:
                    case vp.Transcript(text=text):
                        print("caller:", text)
                    case vp.ToolFinished(name=name):
                        print("tool:  ", name)
                    case vp.TurnInterrupted(heard=heard):
                        print("agent: ", heard, "- interrupted")
                    case vp.TurnEnded(heard=heard):
                        print("agent: ", heard)
                    case _:
                        pass


if __name__ == "__main__":
    run_on_virtual_time(main)
