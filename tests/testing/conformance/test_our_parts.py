"""Every part of ours passes the kit that vendors run, and docs/vendors.md says of it what the kit finds."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from contextlib import suppress

import anyio
import pytest

import voicepipe as vp
from tests.helpers.conformance import (
    assemblyai_ears,
    assemblyai_voice,
    cartesia_voice,
    elevenlabs_voice,
    gateway_model,
    openai_ears,
    openai_model,
    openai_voice,
)
from tests.helpers.vendor_table import check_row, rows
from voicepipe.audio.resample import Resampler
from voicepipe.errors import ConfigurationError
from voicepipe.testing import Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice
from voicepipe.testing.conformance import KEY, Speech, check_model, check_recogniser, check_voice
from voicepipe.vendors.assemblyai import tts as assemblyai
from voicepipe.vendors.cartesia import languages as cartesia
from voicepipe.vendors.elevenlabs import languages as elevenlabs

MISSING = [name for name in ("pocketsphinx", "espeakng_loader", "soxr") if importlib.util.find_spec(name) is None]
needs_local = pytest.mark.skipif(
    bool(MISSING) and os.environ.get("VOICEPIPE_TEST_ALL") != "1",
    reason=f"not installed (extra local): {', '.join(MISSING)}",
)

needs_pydantic_ai = pytest.mark.skipif(
    importlib.util.find_spec("pydantic_ai") is None and os.environ.get("VOICEPIPE_TEST_ALL") != "1",
    reason="not installed: pydantic_ai",
)


@pytest.mark.slow
def test_assemblyai_tts() -> None:
    """AssemblyAI's voice conforms; its messages hold whole samples, so none can be cut."""
    report = check_voice(
        lambda url: vp.AssemblyAITTS(url=url, api_key=KEY),
        server=assemblyai_voice,
        refuses=[lambda: vp.AssemblyAITTS(" "), lambda: vp.AssemblyAITTS(sample_rate=11_025)],
    )
    assert report.not_applicable == ("samples are cut in the middle",)
    check_row(report)
    check_rates("AssemblyAITTS", vp.AssemblyAITTS)


@pytest.mark.slow
def test_elevenlabs_tts() -> None:
    """ElevenLabs' voice conforms; its messages hold whole samples, so none can be cut."""
    report = check_voice(
        lambda url: vp.ElevenLabsTTS(url=url, api_key=KEY),
        server=elevenlabs_voice,
        refuses=[lambda: vp.ElevenLabsTTS(" "), lambda: vp.ElevenLabsTTS(sample_rate=11_025)],
    )
    assert report.not_applicable == ("samples are cut in the middle",)
    check_row(report)
    check_rates("ElevenLabsTTS", vp.ElevenLabsTTS)


@pytest.mark.slow
def test_cartesia_tts() -> None:
    """Cartesia's voice conforms; its messages hold whole samples, so none can be cut."""
    report = check_voice(
        lambda url: vp.CartesiaTTS(url=url, api_key=KEY),
        server=cartesia_voice,
        refuses=[lambda: vp.CartesiaTTS(" "), lambda: vp.CartesiaTTS(speed=9)],
    )
    assert report.not_applicable == ("samples are cut in the middle",)
    check_row(report)
    check_rates("CartesiaTTS", vp.CartesiaTTS)


def check_rates(name: str, voice: Callable[..., vp.TTSSink]) -> None:
    """Compare the rates in a voice's row with those that it accepts."""
    accepted: list[str] = []
    for rate in (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000):
        with suppress(ConfigurationError):
            voice(sample_rate=rate)
            accepted.append(str(rate))
    assert rows()[name]["sample rates"] == ", ".join(accepted)


@pytest.mark.slow
def test_openai_tts() -> None:
    """OpenAI's voice conforms."""
    report = check_voice(
        lambda url: vp.OpenAITTS(base_url=url, api_key=KEY),
        server=openai_voice,
        refuses=[lambda: vp.OpenAITTS(voice=""), lambda: vp.OpenAITTS(speed=9)],
    )
    assert report.not_applicable == ()
    check_row(report)


@needs_local
def test_espeak() -> None:
    """The embedded voice conforms, in real time."""
    report = check_voice(vp.EspeakTTS, real_time=True, refuses=[lambda: vp.EspeakTTS(words_per_minute=1)])
    assert "speaking is cancelled at each await" in report.passed
    check_row(report)
    assert rows()["EspeakTTS"]["sample rates"] == str(vp.EspeakTTS.sample_rate)


def test_scripted_voice() -> None:
    """The scripted voice conforms, at once and in real time."""
    check_voice(lambda: ScriptedVoice(first_audio_s=0.2, speed=1.0, marks=False))
    check_row(check_voice(ScriptedVoice))


@pytest.mark.slow
def test_assemblyai_recogniser() -> None:
    """AssemblyAI's recogniser conforms."""
    report = check_recogniser(
        lambda url: vp.AssemblyAIRecogniser(url=url, api_key=KEY),
        server=assemblyai_ears,
        speech=Speech(text="My order number is four two"),
        refuses=[lambda: vp.AssemblyAIRecogniser(speech_model="")],
    )
    assert report.not_applicable == ()
    check_row(report)


class Loud(vp.Detector):
    """Takes for speech what is not silent."""

    sample_rate = 16_000
    start_threshold, end_threshold = 0.6, 0.4

    def speech(self, frame: bytes) -> float:
        return float(any(frame))


@pytest.mark.slow
def test_openai_recogniser() -> None:
    """Recognition by the transcription endpoint conforms."""
    report = check_recogniser(
        lambda url: vp.OpenAIRecogniser(base_url=url, api_key=KEY, detector=Loud()),
        server=openai_ears,
        speech=Speech(text="My order number is four two"),
        refuses=[lambda: vp.OpenAIRecogniser(model="")],
    )
    assert report.not_applicable == ()
    check_row(report)


def test_scripted_recogniser() -> None:
    """The scripted recogniser conforms."""
    report = check_recogniser(lambda: ScriptedRecogniser().says("Hello there.", at_s=2.0, speech_s=1.0, silence_s=0.5))
    assert "the turn is ended on request" in report.passed
    check_row(report)


@needs_local
@pytest.mark.slow
def test_pocketsphinx() -> None:
    """The embedded recogniser conforms, in real time, with a sentence that the embedded voice speaks."""
    text, before_s = "cancel my order", 0.5
    pcm = anyio.run(_spoken, text)
    end_s = before_s + len(pcm) / 2 / RATE
    audio = bytes(2 * round(before_s * RATE)) + pcm + bytes(2 * RATE)
    report = check_recogniser(
        lambda: vp.PocketsphinxRecogniser("#JSGF V1.0; grammar shop; public <request> = cancel my order | stop;"),
        speech=Speech(start_s=before_s, end_s=end_s, length_s=end_s + 1, pcm=audio, text=text),
        refuses=[lambda: vp.PocketsphinxRecogniser("", silence_s=0.01)],
        real_time=True,
    )
    check_row(report)


RATE = vp.PocketsphinxRecogniser.sample_rate


async def _spoken(text: str) -> bytes:
    voice, pcm = vp.EspeakTTS(words_per_minute=150), b""
    resampler = Resampler(voice.sample_rate, RATE)
    async with voice.open():
        async for piece in voice.synthesize(vp.Sentence(text)):
            pcm += resampler.feed(piece) if isinstance(piece, bytes) else b""
    return pcm + resampler.flush()


@pytest.mark.slow
def test_openai_model() -> None:
    """The model for services like OpenAI's conforms."""
    report = check_model(
        lambda url: vp.LLMStreamStage("Be brief.", base_url=url, api_key=KEY, model="scripted"),
        server=openai_model,
        refuses=[lambda: vp.LLMStreamStage("Be brief.", base_url="no url")],
    )
    assert report.not_applicable == ()
    check_row(report)


@pytest.mark.slow
def test_gateway_model() -> None:
    """The model conforms with AssemblyAI's gateway, too."""
    report = check_model(
        lambda url: vp.LLMStreamStage("Be brief.", base_url=url, api_key=KEY, model="gpt-5.2"), server=gateway_model
    )
    assert report.not_applicable == ("bad options are refused",)


@needs_pydantic_ai
@pytest.mark.slow
def test_pydantic_ai() -> None:
    """An agent of pydantic-ai conforms, with pydantic-ai's own client of services like OpenAI's."""
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    def make(url: str) -> vp.PydanticAIModel:
        provider = OpenAIProvider(base_url=url, api_key=KEY)
        provider.client.max_retries = 0  # the retries are ours
        provider.client._platform = "Linux"  # it would ask for it in a thread
        return vp.PydanticAIModel(Agent(OpenAIChatModel("scripted", provider=provider)))

    report = check_model(
        make, server=openai_model, refuses=[lambda: vp.PydanticAIModel(Agent("test", output_type=int))]
    )
    assert report.not_applicable == ()
    check_row(report)


def test_scripted_model() -> None:
    """The scripted model conforms."""
    report = check_model(lambda: ScriptedModel(lambda _: Says("Hello.", token_s=0.1)))
    assert "two replies at once" in report.passed
    check_row(report)


@pytest.mark.slow
def test_parts_that_hold_others() -> None:
    """The first of two models, and a voice whose openers are kept, conform like what they hold."""

    def model(url: str) -> vp.LLMStreamStage:
        return vp.LLMStreamStage("Be brief.", base_url=url, api_key=KEY, model="scripted")

    check_model(lambda url: vp.FirstOf(model(url), model(url), after_s=0.5), server=openai_model)
    check_voice(
        lambda url: vp.CachedOpeners(vp.AssemblyAITTS(url=url, api_key=KEY), ["Hello there."]), server=assemblyai_voice
    )


def test_every_vendor_has_its_row() -> None:
    """docs/vendors.md has a row for each voice, recogniser and model of a vendor."""
    kinds = (vp.TTSSink, vp.Recogniser, vp.Model)
    exported = [(name, getattr(vp, name)) for name in vp.__all__]
    vendors = {
        name
        for name, it in exported
        if isinstance(it, type) and issubclass(it, kinds) and it.__module__.startswith("voicepipe.vendors.")
    }
    assert vendors - rows().keys() == set()


def test_the_languages_of_voices_are_counted() -> None:
    """docs/vendors.md says how many languages the voices of services speak, as their modules list them."""
    known = {"AssemblyAITTS": assemblyai.LANGUAGES, "CartesiaTTS": cartesia.LANGUAGES}
    known["ElevenLabsTTS"] = elevenlabs.LANGUAGES[vp.ElevenLabsTTS(api_key=KEY).model_id]
    said = {name: int(rows()[name]["languages"].split()[0]) for name in known}
    assert said == {name: len(languages) for name, languages in known.items()}
