"""`voicepipe simulate`: a simulated speech service in the foreground, until Ctrl-C.

Rule 1: the first line on stdout is only the URL, so that a script can read it.
Rule 2: the modules of a service are imported only when it is served.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio

from voicepipe.core.process import run
from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from voicepipe.hearing.recogniser import Recogniser
    from voicepipe.speaking.tts_sink import TTSSink
    from voicepipe.testing.simulators.stt import Spoken

__all__ = ["SERVICES", "Asked", "Simulated", "simulate"]

FIRST_S: Final = 1.0
WORD_S: Final = 0.35
PAUSE_S: Final = 3.0

HEARING: Final = ("stt", "deepgram")
"""The services that recognise speech."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of the command line.

    Attributes:
        port: The port to listen on; 0 for a free one.
        say: The texts to say, one per turn.
        delay_s: Seconds from the end of a request to the beginning of the answer; None for the default.
        grammar: A file with a grammar, with which an embedded recogniser recognises the audio.
        hears: A recogniser that recognises the audio.
        calls: The tools that a simulated model calls, each with its arguments.
    """

    port: int = 0
    say: Sequence[str] = ()
    delay_s: float | None = None
    grammar: Path | None = None
    hears: Recogniser | None = None
    calls: Sequence[tuple[str, Mapping[str, Any]]] = ()


class Simulated(NamedTuple):
    """A service that can be served.

    Attributes:
        serving: Serves within its block, and returns the URL on entering.
        use: The line of a program that uses the service, with {url} in place of the URL.
    """

    serving: AbstractAsyncContextManager[str]
    use: str


def _stt(asked: Asked) -> Simulated:
    from voicepipe.testing.simulators.stt import STTSimulator, Timing  # noqa: PLC0415 - Rule 2

    timing = Timing() if asked.delay_s is None else Timing(final_s=asked.delay_s, force_s=asked.delay_s)
    serving = STTSimulator(_heard(asked), timing=timing, record=False)
    return Simulated(serving.serve(port=asked.port), "vp.STTStage(vp.AssemblyAIRecogniser(url='{url}'))")


def _deepgram(asked: Asked) -> Simulated:
    from voicepipe.testing.simulators.deepgram import DeepgramSimulator, DeepgramTiming  # noqa: PLC0415 - Rule 2

    timing = DeepgramTiming() if asked.delay_s is None else DeepgramTiming(result_s=asked.delay_s)
    serving = DeepgramSimulator(_heard(asked), timing=timing, record=False)
    return Simulated(serving.serve(port=asked.port), "vp.STTStage(vp.DeepgramFluxRecogniser(url='{url}'))")


def _heard(asked: Asked) -> Recogniser | Sequence[Spoken]:
    """Return what a simulated recogniser hears: what it is told to, or what another one makes of the audio."""
    if asked.hears is not None:
        return asked.hears
    from voicepipe.testing.simulators.stt import Spoken  # noqa: PLC0415 - Rule 2

    if asked.grammar is not None:
        from voicepipe.vendors.pocketsphinx.recogniser import PocketsphinxRecogniser  # noqa: PLC0415 - Rule 2

        return PocketsphinxRecogniser(_read(asked.grammar))
    script: list[Spoken] = []
    start_s = FIRST_S
    for text in asked.say or ["My order number is four two."]:
        end_s = start_s + WORD_S * max(1, len(text.split()))
        script.append(Spoken(text, start_s, end_s))
        start_s = end_s + PAUSE_S
    return script


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"--grammar {path}: cannot be read: {why}") from error


def _voice() -> TTSSink | None:
    """Return eSpeak if the extra is installed; None is a tone."""
    from voicepipe.vendors.espeak.tts import EspeakTTS  # noqa: PLC0415 - Rule 2

    return EspeakTTS() if find_spec("espeakng_loader") and find_spec("soxr") else None


def _tts(asked: Asked) -> Simulated:
    from voicepipe.testing.simulators.tts import TTSSimulator  # noqa: PLC0415 - Rule 2

    first_audio_s = 0.3 if asked.delay_s is None else asked.delay_s
    serving = TTSSimulator(_voice(), first_audio_s=first_audio_s, record=False).serve(port=asked.port)
    return Simulated(serving, "vp.AssemblyAITTS(url='{url}')")


def _elevenlabs(asked: Asked) -> Simulated:
    from voicepipe.testing.simulators.elevenlabs import ElevenLabsSimulator  # noqa: PLC0415 - Rule 2

    first_audio_s = 0.3 if asked.delay_s is None else asked.delay_s
    serving = ElevenLabsSimulator(_voice(), voices=None, first_audio_s=first_audio_s, record=False)
    return Simulated(serving.serve(port=asked.port), "vp.ElevenLabsTTS(url='{url}')")


def _cartesia(asked: Asked) -> Simulated:
    from voicepipe.testing.simulators.cartesia import CartesiaSimulator  # noqa: PLC0415 - Rule 2

    first_audio_s = 0.3 if asked.delay_s is None else asked.delay_s
    serving = CartesiaSimulator(_voice(), voices=None, first_audio_s=first_audio_s, record=False)
    return Simulated(serving.serve(port=asked.port), "vp.CartesiaTTS(url='{url}')")


def _gateway(asked: Asked) -> Simulated:
    from voicepipe.cli._simulated_model import SimulatedModel  # noqa: PLC0415 - Rule 2
    from voicepipe.testing.simulators.gateway import GatewaySimulator  # noqa: PLC0415 - Rule 2

    model = SimulatedModel(asked.say, asked.calls, after_s=0.3 if asked.delay_s is None else asked.delay_s)
    serving = GatewaySimulator(model, port=asked.port, record=False).serve()
    return Simulated(serving, "vp.LLMStreamStage(base_url='{url}')")


SERVICES: Final[Mapping[str, Callable[[Asked], Simulated]]] = {
    "stt": _stt,
    "tts": _tts,
    "gateway": _gateway,
    "deepgram": _deepgram,
    "elevenlabs": _elevenlabs,
    "cartesia": _cartesia,
}


def simulate(service: str, asked: Asked) -> int:
    """Serve until interrupted.

    Args:
        service: One of `SERVICES`.
        asked: The options of the command line.

    Raises:
        ConfigurationError: There is no such service, an option does not apply to it, the grammar cannot be read, or the
            port is in use.
        KeyboardInterrupt: Ctrl-C or another signal that ends a program, once every connection is closed.
    """
    if service not in SERVICES:
        raise ConfigurationError(f"there is no simulator of {service!r}; choose from {', '.join(SERVICES)}")
    if asked.grammar is not None and (service not in HEARING or asked.say):
        raise ConfigurationError(
            f"--grammar makes {' or '.join(HEARING)} recognise its audio; use it only with these, and without --say"
        )
    if asked.calls and service != "gateway":
        raise ConfigurationError(f"--calls is for gateway, whose model calls tools; {service} has no model")
    if service not in (*HEARING, "gateway") and asked.say:
        raise ConfigurationError(
            f"--say is for {', '.join(HEARING)} and gateway; {service} says the text that it is sent"
        )
    run(_serve, SERVICES[service](asked))
    return 0


async def _serve(simulated: Simulated) -> None:
    async with simulated.serving as url:
        print(url)
        print(f"use it: {simulated.use.format(url=url)}")
        print("end it: Ctrl-C")
        sys.stdout.flush()
        await anyio.sleep_forever()
