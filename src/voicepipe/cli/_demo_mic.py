"""`voicepipe demo --mic`: the demo's shop, with you as the caller.

Rule 1: as in the demo, the model is scripted and everything else is real.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import voicepipe as vp
from voicepipe.cli._demo_script import GRAMMAR, GREETING, PHRASES, SYSTEM, TOOLS, answer
from voicepipe.cli._display import Display
from voicepipe.cli.talk import converse, spoken_call
from voicepipe.core.process import run
from voicepipe.testing.gateway import ScriptedGateway

if TYPE_CHECKING:
    import argparse

__all__ = ["demo_by_microphone"]

TOKEN_S: Final = 0.01

NOTES: Final = (
    "say one of these; the recogniser, pocketsphinx, takes everything you say for one of them:",
    *(f"    {phrase}" for phrase in PHRASES),
    "choose any five digits; only order 1 2 3 4 5 exists",
    "voice: eSpeak NG, embedded, GPL-3; model: scripted, on a real HTTP server of this machine",
)


def demo_by_microphone(options: argparse.Namespace) -> int:
    """Hold the call until the caller says goodbye, and return 0.

    Raises:
        ConfigurationError: A device cannot be used, or an optional package is missing.
        VoicepipeError: The call could not be held to its end.
        KeyboardInterrupt: Ctrl-C or another signal that ends a program, once the call has ended.
    """
    run(_hold, options)
    return 0


async def _hold(options: argparse.Namespace) -> None:
    async with ScriptedGateway(answer, token_s=TOKEN_S).serve() as base_url:
        agent = vp.Pipeline(
            vp.STTStage(vp.PocketsphinxRecogniser(GRAMMAR)),
            vp.LLMStreamStage(SYSTEM, base_url=base_url, model="scripted"),
            vp.ToolRouter(TOOLS),
            vp.SentenceChunker(),
            vp.EspeakTTS(),
        )
        call = spoken_call(agent, options)
        display = Display(is_live=True)
        with display.open("A call with a small shop: you are the caller.", (*NOTES, *call.notes)):
            await converse(call, GREETING, display)
