"""What is particular to ElevenLabs' voice; what all such voices do is in tests/vendors/line/test_voice.py."""

from __future__ import annotations

from typing import Any

import pytest

import voicepipe as vp
from tests.helpers.context_voices import KEY, Vendor, calling, pause_s, pieces_of
from voicepipe.errors import ConfigurationError
from voicepipe.testing.simulators.elevenlabs import ElevenLabsSimulator, VoiceFault

pytestmark = pytest.mark.anyio


async def test_the_settings_go_into_the_address_and_the_first_message() -> None:
    """Voice, model, language and format are in the URL, the voice's settings in each context, the key in neither."""
    simulator = ElevenLabsSimulator(api_key=KEY, voices=["my voice/1"])
    settings: dict[str, Any] = {"language": "nb-NO", "sample_rate": 16_000, "text_normalization": "off"}
    async with simulator.serve() as url:
        voice = vp.ElevenLabsTTS("my voice/1", url=url, api_key=KEY, voice_settings={"speed": 1.1}, **settings)
        await pieces_of(voice, "Hei.")
    (session,) = simulator.sessions
    assert session.path == "/v1/text-to-speech/my%20voice%2F1/multi-stream-input"
    assert session.query == {
        "model_id": "eleven_flash_v2_5",
        "language_code": "no",
        "output_format": "pcm_16000",
        "auto_mode": "true",
        "sync_alignment": "true",
        "apply_text_normalization": "off",
        "inactivity_timeout": "180",
    }
    assert session.messages[0][1]["voice_settings"] == {"speed": 1.1}
    assert session.spoken == [("Hei.", "done")]


async def test_a_model_that_takes_no_code_gets_none() -> None:
    """A model that speaks the language of its text is asked without a code, which it would refuse."""
    simulator = ElevenLabsSimulator()
    async with simulator.serve() as url:
        await pieces_of(vp.ElevenLabsTTS(url=url, model_id="eleven_multilingual_v2", language="de"), "Ja.")
    assert "language_code" not in simulator.sessions[0].query
    with pytest.raises(ConfigurationError, match="eleven_flash_v2 speaks en, not 'de'"):
        vp.ElevenLabsTTS(model_id="eleven_flash_v2", language="de")


@pytest.mark.parametrize("counts_on", [False, True])
async def test_both_ways_to_count_give_the_same_marks(*, counts_on: bool) -> None:
    """Times that start from each piece and times that count on from the first one mean the same words."""
    simulator = ElevenLabsSimulator(counts_on=counts_on)
    async with simulator.serve() as url:
        pieces = await pieces_of(vp.ElevenLabsTTS(url=url), "One two. 三四五。")
    marks = [(piece.char_end, piece.end_s) for _, piece in pieces if isinstance(piece, vp.WordMark)]
    assert marks == [(end, pytest.approx(0.06 * end - late)) for end, late in MARKS]


MARKS = [(3, 0.0), (8, 0.06), (10, 0.0), (11, 0.0), (13, 0.06)]
"""Characters and how much earlier than their end the last letter ends."""


async def test_a_message_of_more_than_a_megabyte_is_read() -> None:
    """The service may send much audio at once; a client with the usual limit would break the connection."""
    simulator = ElevenLabsSimulator(character_s=5.0, chunk_s=14.0)
    async with simulator.serve() as url:
        pieces = await pieces_of(vp.ElevenLabsTTS(url=url, sample_rate=48_000), "Oh.")
    assert sum(len(piece) for _, piece in pieces if isinstance(piece, bytes)) == 15 * 96_000


async def test_a_full_account_costs_only_time() -> None:
    """A socket that is closed because the account speaks too much at once is replaced after a moment."""
    simulator = ElevenLabsSimulator(faults=[VoiceFault(code=1008, reason="Too many concurrent requests")])
    async with calling(Vendor(vp.ElevenLabsTTS, ElevenLabsSimulator), simulator, "Fine.") as call:
        turn = await call.session.user_says("Hello?")
    assert (call.heard, turn.failure) == ("Fine.", None)
    assert turn.timeline.tts_first_audio == pytest.approx(0.2 + pause_s(pause_s=0.5))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"voice_settings": {"warmth": 1.0}}, "voice_settings has stability, .* not warmth"),
        ({"text_normalization": "maybe"}, '"auto", "on" or "off"'),
        ({"region": "mars"}, "region must be"),
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    """A wrong value is an error when the part is made, and the message says what would be right."""
    with pytest.raises(ConfigurationError, match=words):
        vp.ElevenLabsTTS(**settings)


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "wss://api.elevenlabs.io/v1/text-to-speech"),
        ({"region": "eu"}, "wss://api.eu.residency.elevenlabs.io/v1/text-to-speech"),
        ({"url": "ws://127.0.0.1:8000/"}, "ws://127.0.0.1:8000/v1/text-to-speech"),
    ],
)
def test_it_says_what_it_is(settings: dict[str, Any], url: str) -> None:
    """The region, a host or a URL decides where text goes; the repr shows it, and not the key."""
    voice = vp.ElevenLabsTTS(api_key=KEY, **settings)
    assert repr(voice) == f"<ElevenLabsTTS JBFqnCBsd6RMkjVDRZzb eleven_flash_v2_5 24000 Hz at {url}>"
