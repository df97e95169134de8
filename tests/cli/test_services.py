"""Parts at simulators: which ones `--simulate` moves, and what `voicepipe simulate` runs for them."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest

import voicepipe as vp
from voicepipe.cli._services import PARTS, simulated
from voicepipe.cli.simulate import SERVICES, Asked
from voicepipe.testing import ScriptedModel, ScriptedVoice

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # eSpeak, which speaks in the simulators where it is installed, has a thread


@pytest.mark.parametrize("name", ["tts", "elevenlabs", "cartesia"])
async def test_a_voice_goes_to_the_simulator_of_its_vendor(name: str) -> None:
    """With --simulate a voice uses a simulator of its protocol and no key, also where another part holds it."""
    voice = vp.CachedOpeners(PARTS[name](api_key="canary"), ["Well."])
    agent = vp.Pipeline(ScriptedModel([]), vp.SentenceChunker(), voice)
    options = Namespace(
        app="app.py", simulate=True, text=True, calls=None, stt_url=None, llm_url=None, tts_url=None, local=False
    )
    async with simulated(agent, options) as simulation:
        (note,) = simulation.notes
        (moved,) = simulation.agent.parts[-1]._held()
        assert note.startswith(f"simulated: {PARTS[name].__name__} at ws://127.0.0.1:")
        assert repr(moved).partition(" at ")[2].startswith(note.partition(" at ")[2])
        assert moved._credentials.source == ""  # type: ignore[attr-defined]  # all voices of services have it


@pytest.mark.parametrize("name", ["stt", "nova", "flux"])
async def test_a_recogniser_goes_to_the_simulator_of_its_vendor(name: str) -> None:
    """With --simulate a recogniser hears what is typed, from a simulator of its protocol and without a key."""
    recogniser: Any = PARTS[name](api_key="canary")
    agent = vp.Pipeline(vp.STTStage(recogniser), ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice())
    options = Namespace(
        app="app.py", simulate=True, text=False, calls=None, stt_url=None, llm_url=None, tts_url=None, local=False
    )
    async with simulated(agent, options) as simulation:
        (note,) = simulation.notes
        (moved,) = simulation.agent.parts[0]._held()
        assert (simulation.speech is not None, note.partition(" at ")[0]) == (True, f"simulated: {moved.name}")
        assert repr(moved).partition(" at ")[2].startswith(note.partition(" at ")[2])


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "gateway"])
def test_the_line_to_use_is_valid(name: str) -> None:
    """The line that `voicepipe simulate` prints, put into a program, creates a part."""
    use = SERVICES[name](Asked()).use.format(url="ws://127.0.0.1:9")
    assert isinstance(eval(use, {"vp": vp}), vp.Stage | vp.STTStage)
