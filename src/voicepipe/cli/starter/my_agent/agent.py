"""The agent that callers talk to."""

import voicepipe as vp

from my_agent.orders import get_order_status

INSTRUCTIONS = """\
You answer the phone of a small shop.
What you write is spoken: reply in one or two short sentences, without lists or symbols.
Look up every order that the caller asks about, and never guess its status.
"""

GREETING = "Hello, this is the shop. How can I help you?"

agent = vp.Pipeline(
    vp.MicSource(),
    vp.STTStage(),  # AssemblyAI's streaming recogniser
    vp.LLMStreamStage(INSTRUCTIONS),  # AssemblyAI's LLM Gateway
    vp.ToolRouter([get_order_status]),
    vp.SentenceChunker(),
    vp.AssemblyAITTS(),
)

if __name__ == "__main__":
    vp.run(agent, greeting=GREETING)
