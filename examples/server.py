"""One opened pipeline, many calls: the application feeds each call's audio and takes the agent's.

`one_call` is what a websocket handler would do. The peer here is a few lines that send speech-like audio and count what
comes back.
"""

import anyio

import voicepipe as vp
from voicepipe.testing import Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice

FRAME = b"\x00\x01" * 320  # 20 ms at 16 kHz


def agent() -> vp.Pipeline:
    recogniser = ScriptedRecogniser().says("Hello?", at_s=0.4)  # after 0.4 s of audio, whatever was said
    model = ScriptedModel(lambda request: Says(f"You said {request.last_user_text} Good-bye."))
    return vp.Pipeline(vp.STTStage(recogniser), model, vp.SentenceChunker(), ScriptedVoice(character_s=0.01))


async def one_call(host: vp.Host, number: int) -> None:
    """Bridge one caller: their audio goes in, the agent's comes out."""
    caller, loudspeaker = vp.PushSource(sample_rate=16_000), vp.PullOutput(sample_rate=24_000)
    heard_bytes = 0

    async def send() -> None:
        for _ in range(50):
            caller.push(FRAME)
            await anyio.sleep(0.02)
        caller.end()  # hangs up

    async def receive() -> None:
        nonlocal heard_bytes
        async for pcm in loudspeaker:
            heard_bytes += len(pcm)
            await anyio.sleep(len(pcm) / 2 / 24_000)

    async with host.session(source=caller, output=loudspeaker) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        tasks.start_soon(receive)
        async for event in session:
            if isinstance(event, vp.TurnEnded):
                print(f"call {number}: {type(event).__name__}, heard {event.heard!r}")
        tasks.cancel_scope.cancel()
    assert heard_bytes > 0


async def main() -> None:
    async with agent().open() as host, anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(one_call, host, number)


if __name__ == "__main__":
    anyio.run(main)
