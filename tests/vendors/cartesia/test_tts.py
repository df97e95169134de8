"""What is particular to Cartesia's voice; what all such voices do is in tests/vendors/line/test_voice.py."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.context_voices import KEY, Vendor, calling, pieces_of
from voicepipe.errors import AuthenticationError, ConfigurationError, RateLimited
from voicepipe.testing.simulators.cartesia import CartesiaSimulator

pytestmark = pytest.mark.anyio

CARTESIA = Vendor(vp.CartesiaTTS, CartesiaSimulator)


async def test_the_settings_go_into_each_message() -> None:
    """Model, voice, language, format and manner travel with the text; the key does so in the handshake alone."""
    simulator = CartesiaSimulator(api_key=KEY, voices=["anna"])
    settings: dict[str, Any] = {"model_id": "sonic-3", "language": "nb-NO", "sample_rate": 16_000, "speed": 1.2}
    async with simulator.serve() as url:
        await pieces_of(vp.CartesiaTTS("anna", url=url, api_key=KEY, emotion="content", **settings), "Hei.")
    (session,) = simulator.sessions
    assert (session.path, session.query, session.spoken) == ("/tts/websocket", {}, [("Hei.", "done")])
    assert [message for _, message in session.messages] == [
        {
            "model_id": "sonic-3",
            "voice": {"mode": "id", "id": "anna"},
            "language": "no",
            "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 16_000},
            "generation_config": {"speed": 1.2, "emotion": "content"},
            "add_timestamps": True,
            "use_normalized_timestamps": False,
            "max_buffer_delay_ms": 0,
            "context_id": "1",
            "transcript": "Hei.",
            "continue": False,
        }
    ]


async def test_a_barge_in_cancels_both_contexts() -> None:
    """The sentence that is spoken and the one after it are cancelled at the service, in the moment of the barge-in."""
    simulator = CartesiaSimulator(speed=2.0)
    async with calling(CARTESIA, simulator, "One two three four five. Six seven eight nine ten.") as call:
        assert await call.is_interrupted_after(0.2 + 0.5) == "One two"
        at_s = anyio.current_time()
    cancels = [(at, message) for at, message in simulator.sessions[0].messages if "cancel" in message]
    assert sorted((at, message["context_id"]) for at, message in cancels) == [(at_s, "1"), (at_s, "2")]
    assert {outcome for _, outcome in simulator.sessions[0].spoken} == {"cancelled"}


async def test_a_full_account_delays_the_next_reply() -> None:
    """Contexts that are cancelled still count until their audio is complete; the next sentence waits and is spoken."""
    simulator = CartesiaSimulator(most_contexts=2, speed=5.0)
    long = "One two three four five six seven. Eight nine ten eleven twelve."
    async with calling(CARTESIA, simulator, long, "Fine.") as call:
        await call.is_interrupted_after(0.3)
        turn = await call.session.user_says("Sorry?")
    assert (call.heard, turn.failure) == ("Fine.", None)
    assert turn.timeline.tts_first_audio - turn.timeline.first_sentence == pytest.approx(0.7)

    async with calling(CARTESIA, CartesiaSimulator(most_contexts=0), "Fine.") as call:
        turn = await call.session.user_says("Sorry?")
    assert isinstance(turn.failure, RateLimited)


@pytest.mark.parametrize("strips_punctuation", [False, True])
async def test_words_are_found_with_and_without_punctuation(*, strips_punctuation: bool) -> None:
    """A word's mark counts the punctuation around it, whether the service repeats it or not."""
    simulator = CartesiaSimulator(strips_punctuation=strips_punctuation)
    async with simulator.serve() as url:
        pieces = await pieces_of(vp.CartesiaTTS(url=url), '"Well," he said: (no) 3.5!')
    marks = [(piece.char_end, piece.end_s) for _, piece in pieces if isinstance(piece, vp.WordMark)]
    assert marks == [(end, pytest.approx(0.06 * end)) for end in (7, 10, 16, 21, 26)]


async def test_a_refused_key_ends_the_session_at_its_start() -> None:
    """The service looks at the key in the handshake, so a wrong one is an error before the first turn."""
    with pytest.raises(AuthenticationError, match=r"HTTP 401 .*check the key"):
        async with calling(CARTESIA, CartesiaSimulator(api_key="another")):
            raise AssertionError("it opened")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"speed": 2.0}, "speed must be between 0.6 and 1.5, not 2.0"),
        ({"volume": 0.1}, "volume must be between 0.5 and 2.0, not 0.1"),
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    """A wrong value is an error when the part is made, and the message says what would be right."""
    with pytest.raises(ConfigurationError, match=words):
        vp.CartesiaTTS(**settings)
    url = "wss://api.cartesia.ai/tts/websocket"
    shown = f"<CartesiaTTS f786b574-daa5-4673-aa0c-cbe3e8534c02 sonic-3.5 24000 Hz at {url}>"
    assert repr(vp.CartesiaTTS(api_key=KEY)) == shown
