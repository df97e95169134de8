"""Offline, without a key: a spoken question in a WAV file goes in, the spoken answer comes out as a WAV file.

Recogniser and voice are embedded (`voicepipe[local]`); the model is scripted and used over HTTP on loopback. The
recogniser knows the phrases of its grammar, and forces everything else into them.
"""

import sys
import tempfile
from pathlib import Path

import anyio

import voicepipe as vp
from voicepipe.testing import Says, ScriptedGateway

GRAMMAR = """
#JSGF V1.0;
grammar questions;
public <question> = what time do you open | what is the weather today;
"""


async def record(text: str, path: Path) -> None:
    """Write the embedded voice's speech to a WAV file."""
    speak = vp.Pipeline(SilentModel(), vp.SentenceChunker(), vp.EspeakTTS("en-us"), output=vp.WavOutput(path, 16_000))
    async with speak.session(greeting=text) as session:
        session.end(after_reply=True)
        await session.ended.wait()


class SilentModel(vp.Model):
    """Return nothing: this pipeline only speaks, and never asks its model."""

    async def reply(self, request: vp.Request, outbox: vp.Outbox[vp.ReplyPart], turn: vp.Turn) -> None:
        raise AssertionError("the greeting needs no model")


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder, "question.wav"), Path(folder, "answer.wav")
        await record("What time do you open?", question)
        async with ScriptedGateway([Says("We open at nine. See you soon!")], token_s=0.01).serve() as base_url:
            agent = vp.Pipeline(
                vp.WavSource(question),
                vp.STTStage(vp.PocketsphinxRecogniser(GRAMMAR)),
                vp.LLMStreamStage("Keep replies short.", base_url=base_url, model="scripted"),
                vp.SentenceChunker(),
                vp.EspeakTTS("en-us"),
                output=vp.WavOutput(answer),
            )
            async with agent.session() as session:
                async for event in session:
                    match event:
                        case vp.Transcript(text=text):
                            print("caller:", text)
                        case vp.SentenceStarted(text=text):
                            print("agent: ", text)
                        case vp.TurnCompleted(timeline=timeline):
                            print(timeline)
                        case _:
                            pass
        print(f"{answer.name}: {answer.stat().st_size} bytes")


if __name__ == "__main__":
    try:
        anyio.run(main)
    except vp.MissingExtra as error:
        sys.exit(str(error))
