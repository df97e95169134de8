"""`voicepipe demo --page`: the demo's shop in a browser, with you as the caller.

Rule 1: as in the demo, the model is scripted and everything else is real.
"""

from __future__ import annotations

from typing import Final

import voicepipe as vp
from voicepipe.cli._demo_script import GRAMMAR, GREETING, PHRASES, TOOLS, answer
from voicepipe.cli._demo_stack import SILENCE_S, TOKEN_S
from voicepipe.serving import Page, Serve
from voicepipe.testing.scripted import ScriptedModel

__all__ = ["demo_page", "shop_page"]

INTRO: Final = (
    "It takes everything you say or type for one of these: " + ", ".join(f"“{phrase}”" for phrase in PHRASES) + "."
)


def demo_page(port: int) -> int:
    """Serve the page until a signal ends it, and return 0.

    Args:
        port: The port on this machine; 0 for a free one.

    Raises:
        ConfigurationError: The port is in use, or an optional package is missing.
    """
    print("Open the address in a browser on this machine. Nothing leaves it: ears, voice and model are embedded.")
    print("Say one of these:", *(f"    {phrase}" for phrase in PHRASES), sep="\n", flush=True)
    shop_page().run(port=port, drain_s=0.0)
    return 0


def shop_page() -> Serve[None]:
    """Return the server of the demo's page."""
    agent = vp.Pipeline(
        vp.STTStage(vp.PocketsphinxRecogniser(GRAMMAR, silence_s=SILENCE_S)),
        ScriptedModel(answer, token_s=TOKEN_S),
        vp.ToolRouter(TOOLS),
        vp.SentenceChunker(),
        vp.EspeakTTS(),
    )
    return Serve(agent, [Page(title="A small shop", intro=INTRO)], greeting=GREETING)
