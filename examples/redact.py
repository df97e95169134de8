"""A stage between two others: card numbers are never spoken, whatever the model writes.

A number spans several tokens, so the stage looks at whole sentences. Runs without key or network: the model is
scripted, the voice is a tone, and time is virtual.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import replace

import voicepipe as vp
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedVoice, run_on_virtual_time

CARD = re.compile(r"\b(?:\d[ -]?){12}(\d{4})\b")


@vp.stage
async def redact(sentence: vp.Sentence) -> AsyncIterator[vp.Sentence]:
    """Keep the last four digits."""
    yield replace(sentence, text=CARD.sub(r"the card that ends in \1", sentence.text))


async def main() -> None:
    model = ScriptedModel([Says("I charged 4111 1111 1111 1234. Anything else?")])
    voice = ScriptedVoice()
    agent = vp.Pipeline(model, vp.SentenceChunker(), redact, voice, output=RecordingOutput())

    async with agent.session() as session:
        await session.user_says("Which card did you use?")

    spoken = "".join(text for _, text in voice.sentences)
    print(spoken)
    assert spoken == "I charged the card that ends in 1234. Anything else?"


if __name__ == "__main__":
    run_on_virtual_time(main)
