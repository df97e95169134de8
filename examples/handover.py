"""Structured output before the reply: callers who need a colleague are handed over, all others are answered.

Runs without key or network: the models are scripted, the voice is a tone, and time is virtual.
"""

from pydantic import BaseModel

import voicepipe as vp
from voicepipe.testing import ChatRequest, RecordingOutput, Says, ScriptedModel, ScriptedVoice, run_on_virtual_time


class Routing(BaseModel):
    """Where a call goes."""

    escalate: bool
    summary: str


def route(routing: Routing, turn: vp.Turn) -> bool:
    """Return whether the model may reply."""
    if routing.escalate:
        turn.session.say("I am connecting you with a colleague.")
        turn.session.end(after_reply=True, result=routing.summary)
    return not routing.escalate


def agent(classifier: vp.Model, model: vp.Model, output: vp.Output) -> vp.Pipeline:
    return vp.Pipeline(
        vp.Structured(Routing, gate=route, llm=classifier),
        model,
        vp.SentenceChunker(),
        ScriptedVoice(),
        output=output,
    )


def classify(request: ChatRequest) -> Says:
    """Return the scripted classifier's answer."""
    is_angry = "human" in request.last_user_text
    return Says(Routing(escalate=is_angry, summary=request.last_user_text).model_dump_json(), after_s=0.4)


async def main() -> None:
    model = ScriptedModel([Says("We are open until six.")])
    goodbye = "I am connecting you with a colleague."

    async with agent(ScriptedModel(classify), model, RecordingOutput()).session() as session:
        await session.user_says("When do you close?")
        await session.user_says("Give me a human!")
        await session.ended.wait()

    for message in session.history:
        print(f"{type(message).__name__:16} {message.text}")
    assert [message.text for message in session.history][1::2] == ["We are open until six.", goodbye]  # as heard
    assert session.result == "Give me a human!"
    assert model.script.unused == ()
    assert len(model.requests) == 1  # the model was not asked about the second question


if __name__ == "__main__":
    run_on_virtual_time(main)
