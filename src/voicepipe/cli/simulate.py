"""`voicepipe simulate`: a simulated speech service in the foreground, until Ctrl-C.

Rule 1: the first line on stdout is the URL and nothing else, so that a script can read it.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio

from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from voicepipe.testing.script import ChatRequest

__all__ = ["SERVICES", "Simulated", "simulate"]

FIRST_S: Final = 1.0
WORD_S: Final = 0.35
PAUSE_S: Final = 3.0


class Simulated(NamedTuple):
    """A service that can be served.

    Attributes:
        serving: Serves while it is entered, and gives the URL.
        use: The line of a program that uses it, with {url} for the URL.
    """

    serving: AbstractAsyncContextManager[str]
    use: str


def _stt(port: int, say: Sequence[str]) -> Simulated:
    from voicepipe.testing.simulators.stt import Spoken, STTSimulator  # noqa: PLC0415 - only for this service

    script: list[Spoken] = []
    start_s = FIRST_S
    for text in say or ["My order number is four two."]:
        end_s = start_s + WORD_S * max(1, len(text.split()))
        script.append(Spoken(text, start_s, end_s))
        start_s = end_s + PAUSE_S
    simulator = STTSimulator(script, record=False)
    return Simulated(simulator.serve(port=port), "vp.STTStage(vp.AssemblyAIRecogniser(url='{url}', api_key='any'))")


def _tts(port: int, say: Sequence[str]) -> Simulated:
    del say
    from voicepipe.testing.simulators.tts import TTSSimulator  # noqa: PLC0415 - only for this service
    from voicepipe.vendors.espeak import EspeakTTS  # noqa: PLC0415 - likewise

    # Words where the extra is installed, a tone where it is not.
    voice = EspeakTTS() if find_spec("espeakng_loader") and find_spec("soxr") else None
    serving = TTSSimulator(voice, record=False).serve(port=port)
    return Simulated(serving, "vp.AssemblyAITTS(url='{url}', api_key='any')")


def _gateway(port: int, say: Sequence[str]) -> Simulated:
    from voicepipe.testing.script import Says  # noqa: PLC0415 - only for this service
    from voicepipe.testing.simulators.gateway import GatewaySimulator  # noqa: PLC0415 - likewise

    waiting = list(say)

    def reply(request: ChatRequest) -> Says:
        return Says(waiting.pop(0) if waiting else f"You said: {request.last_user_text}", after_s=0.3, token_s=0.02)

    serving = GatewaySimulator(reply, port=port, record=False).serve()
    return Simulated(serving, "vp.LLMStreamStage(base_url='{url}', model='gpt-5.2')")


SERVICES: Final[Mapping[str, Callable[[int, Sequence[str]], Simulated]]] = {
    "stt": _stt,
    "tts": _tts,
    "gateway": _gateway,
}
"""Each gets the port and what is to be said; a service that says nothing by itself ignores that."""


def simulate(service: str, *, port: int, say: Sequence[str]) -> int:
    """Serve until interrupted.

    Args:
        service: One of `SERVICES`.
        port: Where to listen on this machine; 0 takes a free one.
        say: What is said, in turns.

    Raises:
        ConfigurationError: There is no such service, or the port cannot be had.
        KeyboardInterrupt: Ctrl-C, once every connection is closed.
    """
    if service not in SERVICES:
        raise ConfigurationError(f"there is no simulator of {service!r}; choose from {', '.join(SERVICES)}")
    anyio.run(_serve, SERVICES[service](port, say))
    return 0


async def _serve(simulated: Simulated) -> None:
    async with simulated.serving as url:
        print(url)
        print(f"use it: {simulated.use.format(url=url)}")
        print("end it: Ctrl-C")
        sys.stdout.flush()
        await anyio.sleep_forever()
