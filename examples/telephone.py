"""A telephone number: callers reach the agent over Twilio, press keys, interrupt it, and are handed to a person.

`server` can be deployed as it is, behind TLS, with an agent that has a real recogniser, model and voice, and with the
account's own token; docs/telephone.md says how. Here all three are scripted, and so are the network and its caller.
"""

import anyio

import voicepipe as vp
from voicepipe.serving import Serve, Twilio
from voicepipe.testing import Calls, Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice
from voicepipe.testing.simulators.twilio import CallEnded, TwilioCall, TwilioSimulator

AUTH_TOKEN = "the account's own"  # noqa: S105 - Twilio() without one reads TWILIO_AUTH_TOKEN
PUBLIC_URL = "https://voice.example.com"


@vp.tool
async def reception(call: vp.ToolContext[None]) -> str:
    """Connect the caller with a person."""
    call.session.end(after_reply=True, result=vp.Transfer("+15550111"))
    return "The caller is being connected."


async def note(session: vp.Session[None]) -> None:
    """Print what happens in a call; the caller's number is a fact of its session."""
    print(f"agent: a call from {session.facts['from']}")
    async for event in session:
        if isinstance(event, vp.Transcript):
            print(f"agent: the caller said {event.text!r}")
        elif isinstance(event, vp.TurnEnded):
            print(f"agent: {type(event).__name__}, heard {event.heard!r}")


def server(agent: vp.Pipeline[None]) -> Serve[None]:
    """Return the server of a telephone number, whose webhook in Twilio's console is PUBLIC_URL and /twilio."""
    return Serve(agent, [Twilio(AUTH_TOKEN)], greeting="Parcel line, hello!", public_url=PUBLIC_URL, on_call=note)


def scripted_agent() -> vp.Pipeline[None]:
    """Return an agent with a scripted recogniser, model and voice: times are seconds of the caller's audio."""
    ears = ScriptedRecogniser(sample_rate=8_000)
    ears.says("Where is my parcel?", at_s=1.5).interrupts("Stop, a person please.", at_s=3.5)
    answer = "It left Lyon on Monday, was in Paris on Tuesday, and it is on the road to you since."
    model = ScriptedModel([Says(answer), Calls("reception", {}), Says("One moment.")])
    voice = ScriptedVoice(character_s=0.04, sample_rate=8_000)
    return vp.Pipeline(vp.STTStage(ears), model, vp.ToolRouter([reception]), vp.SentenceChunker(), voice)


async def listen(call: TwilioCall) -> None:
    """Print what the caller hears, until the call has ended."""
    while call.ended_s is None:
        try:
            await call.wait_speaking()
        except CallEnded:
            return
        print("caller: the agent speaks")
        await call.wait_silent()
        print("caller: the agent is silent")


async def main() -> None:
    async with server(scripted_agent()).listening() as port:
        network = TwilioSimulator(AUTH_TOKEN, server=f"http://127.0.0.1:{port}", public_url=PUBLIC_URL)
        async with network.call(f"{PUBLIC_URL}/twilio", caller="+15550123") as call:
            await listen(call)
    assert [what for _, what in call.received].count("clear") == 1  # the interruption
    assert call.dialed == ["+15550111"]
    print(f"caller: connected with {call.dialed[0]}")


if __name__ == "__main__":
    anyio.run(main)
