"""What `import voicepipe` costs everybody who writes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from voicepipe.testing import Calls, Reply, Says
from voicepipe.testing.simulators.gateway import GatewaySimulator
from voicepipe.testing.simulators.stt import Spoken, STTSimulator
from voicepipe.testing.simulators.tts import TTSSimulator

SOURCE = Path(__file__).parents[2] / "src"

REPORT = """
import json, sys, threading
import voicepipe
print(json.dumps({"modules": sorted(sys.modules), "threads": [thread.name for thread in threading.enumerate()]}))
"""


def python(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter that turns warnings into errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def report() -> dict[str, list[str]]:
    ran = python(REPORT)
    assert ran.returncode == 0, ran.stderr
    loaded: dict[str, list[str]] = json.loads(ran.stdout)
    return loaded


def test_importing_is_silent() -> None:
    """The import works with warnings as errors, and prints nothing."""
    ran = python("import voicepipe; assert voicepipe.__file__")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "module",
    [
        "anyio",
        "assemblyai",
        "asyncio",
        "espeakng_loader",
        "piper",
        "httpx",
        "httpx_sse",
        "numpy",
        "openai",
        "pocketsphinx",
        "pydantic",
        "pydantic_core",
        "pytest",
        "rich",
        "sounddevice",
        "soxr",
        "voicepipe.cli",
        "voicepipe.events",
        "voicepipe.session.pipeline",
        "voicepipe.testing",
        "websockets",
    ],
)
def test_importing_loads_neither_libraries_nor_parts(report: dict[str, list[str]], module: str) -> None:
    """The import loads no library, and no part of this one: each comes with the first name that needs it."""
    assert module not in report["modules"]


def test_a_description_loads_neither_services_nor_a_session() -> None:
    """A pipeline of an application's own recogniser, model and voice loads no client of a service, and no session."""
    ran = python("""
import sys
before = set(sys.modules)  # measuring coverage has loaded something as well
import voicepipe as vp
vp.Pipeline, vp.STTStage, vp.Recogniser, vp.Model, vp.ToolRouter, vp.SentenceChunker, vp.TTSSink, vp.run
late = {"httpx", "httpx_sse", "tomllib", "voicepipe.http.client", "voicepipe.vendors.assemblyai.stt"}
print(*sorted((late | {"voicepipe.session.session", "voicepipe.turntaking.core"}) & set(sys.modules) - before))
""")
    assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, "", "")


def test_importing_starts_no_thread(report: dict[str, list[str]]) -> None:
    """After the import there is the main thread and no other."""
    assert report["threads"] == ["MainThread"]


CALL = """
import json, sys
from pathlib import Path
import anyio
import voicepipe as vp

stt_url, llm_url, tts_url, folder = sys.argv[1:]

@vp.tool(effect="read")
async def order(number: int) -> str:
    '''Look up an order.'''
    return f"{number} has been shipped"

class Silence(vp.Source):
    sample_rate = 16_000
    async def frames(self):
        began_s = anyio.current_time()
        for count in range(300):
            await anyio.sleep_until(began_s + count * 0.02)
            yield bytes(640)

agent = vp.Pipeline(
    vp.STTStage(vp.AssemblyAIRecogniser(url=stt_url)),
    vp.LLMStreamStage(base_url=llm_url),
    vp.ToolRouter([order]),
    vp.SentenceChunker(),
    vp.AssemblyAITTS(url=tts_url),
    output=vp.WavOutput(Path(folder) / "agent.wav"),
)

async def main():
    async with agent.session(source=Silence()) as session:
        before = set(sys.modules)
        async for event in session:
            if isinstance(event, vp.TurnEnded):
                break
    watching = ("opentelemetry", "prometheus", "voicepipe.watching.")
    unused = [name for name in sys.modules if name.startswith(watching) or name == "voicepipe.watching"]
    print(json.dumps({"heard": event.heard, "imported": sorted(set(sys.modules) - before), "unused": unused}))

anyio.run(main)
"""


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_no_turn_waits_for_an_import(tmp_path: Path) -> None:
    """What only a call needs is imported when the pipeline is opened: the first turn, with a tool, imports nothing.

    And a call that nobody watches has loaded nothing of what watches calls.
    """
    replies: list[Reply] = [Calls("order", {"number": 7}), Says("On its way.")]
    stt, gateway, tts = STTSimulator([Spoken("Where is order 7?", 0.1, 0.5)]), GatewaySimulator(replies), TTSSimulator()
    async with stt.serve() as stt_url, gateway.serve() as llm_url, tts.serve() as tts_url:
        command = [sys.executable, "-c", CALL, stt_url, llm_url, tts_url, str(tmp_path)]
        with anyio.fail_after(30):
            ran = await anyio.run_process(command, env={**os.environ, "PYTHONPATH": str(SOURCE)}, stderr=None)
    assert json.loads(ran.stdout) == {"heard": "On its way.", "imported": [], "unused": []}
