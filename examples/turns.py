"""Turn-taking: a notice that must be heard, a caller who says nothing, and keys of a telephone.

Runs without key or network: caller and model are scripted, the voice is a tone, and time is virtual.
"""

import voicepipe as vp
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedUser, ScriptedVoice, run_on_virtual_time

NOTICE = "This call is recorded, to train our staff."


def agent(caller: ScriptedUser, replies: list[Says], turns: vp.TurnRules | None = None) -> vp.Pipeline:
    model = ScriptedModel(replies)
    return vp.Pipeline(caller, model, vp.SentenceChunker(), ScriptedVoice(), output=RecordingOutput(), turns=turns)


async def notice() -> list[str]:
    """A protected greeting is heard whole; what the caller says over it is answered afterwards."""
    caller = ScriptedUser().interrupts("I want to book a table.", at_s=0.5).hangs_up(at_s=5.0)
    async with agent(caller, [Says("For how many?")]).session(greeting=NOTICE, protected_greeting=True) as session:
        await session.ended.wait()
    return [message.text for message in session.history]


async def silence() -> list[str]:
    """A caller who is silent for 8 s is asked once, and said goodbye to after 8 s more."""
    turns = vp.TurnRules(idle=(8, 16), idle_texts=("Are you still there?", "Please call again. Goodbye."))
    async with agent(ScriptedUser(), [], turns).session(greeting="How can I help?") as session:
        await session.ended.wait()
        steps = [event.step async for event in session if isinstance(event, vp.Idle)]
    assert steps == [1, 2]
    return [message.text for message in session.history]


async def keys() -> list[str]:
    """Keys stop the agent as words do, and are one message once "#" or a pause follows.

    A transport that reports keys calls `session.press("1")` for each.
    """
    caller = ScriptedUser().presses("4711#", at_s=1.0).hangs_up(at_s=6.0)
    question = "Please type the number of your order, and end with the hash key."
    async with agent(caller, [Says("Order 4711 is on its way.")]).session(greeting=question) as session:
        await session.ended.wait()
    return [message.text for message in session.history]


def main() -> None:
    heard = [run_on_virtual_time(call) for call in (notice, silence, keys)]
    for call in heard:
        print("\n".join(call), end="\n\n")
    assert heard[0] == [NOTICE, "I want to book a table.", "For how many?"]
    assert heard[1] == ["How can I help?", "Are you still there?", "Please call again. Goodbye."]
    assert heard[2] == ["Please type the", "4711", "Order 4711 is on its way."]


if __name__ == "__main__":
    main()
