"""Clients of OpenAI's Realtime protocol talk to an agent: here the `openai` package, which knows nothing of voicepipe.

The agent is scripted and time is virtual, so it runs without key or network. With an agent of your own:

    serve = Serve(agent, [Realtime(key=os.environ["SHOP_KEY"])], greeting="Hello!")
    serve.run()
"""

import base64

import anyio
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

import voicepipe as vp
from voicepipe.serving import Realtime, Serve
from voicepipe.testing import Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice, run_on_virtual_time

KEY = "sk-of-the-shop"
RATE = 24_000
STORY = "Once upon a time there was a queue that had no end, and so it had no beginning either."


def agent() -> vp.Pipeline:
    ears = ScriptedRecogniser(sample_rate=RATE).says("A story, please.", at_s=4.0, speech_s=1.0, silence_s=0.3)
    ears.interrupts("Stop, that is enough.", at_s=7.0)
    model = ScriptedModel([Says(STORY), Says("As you like.")])
    return vp.Pipeline(vp.STTStage(ears), model, vp.SentenceChunker(), ScriptedVoice())


async def speak(connection: AsyncRealtimeConnection) -> None:
    """Send audio all the time, as a microphone does."""
    while True:
        await connection.input_audio_buffer.append(audio=base64.b64encode(b"\0\x10" * (RATE // 25)).decode())
        await anyio.sleep(0.04)


async def listen(connection: AsyncRealtimeConnection) -> str:
    """Print what happens until the second answer has ended; return how the first one ended."""
    statuses: list[str] = []
    async for event in connection:
        match event.type:
            case "conversation.item.input_audio_transcription.completed":
                print(f"caller: {event.transcript}")
            case "response.output_audio_transcript.delta":
                print(f"agent:  {event.delta}")
            case "conversation.item.truncated":
                print(f"        (cut after {event.audio_end_ms} ms)")
            case "response.done" if event.response.output:
                statuses.append(event.response.status or "")
                if len(statuses) == 3:
                    break
            case "error":
                raise AssertionError(event.error.message)
            case _:
                pass
    return statuses[1]


async def call(port: int) -> None:
    async with (
        AsyncOpenAI(api_key=KEY, base_url=f"http://127.0.0.1:{port}/v1") as client,
        client.realtime.connect(model="voicepipe") as connection,
        anyio.create_task_group() as tasks,
    ):
        await connection.session.update(session={"type": "realtime"})
        tasks.start_soon(speak, connection)
        assert await listen(connection) == "cancelled"  # the caller has interrupted the story
        tasks.cancel_scope.cancel()


async def main() -> None:
    serve = Serve(agent(), [Realtime(key=KEY)], greeting="Hello! What can I do for you?")
    async with serve.listening() as port:
        await call(port)


if __name__ == "__main__":
    run_on_virtual_time(main)
