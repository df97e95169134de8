"""`voicepipe talk --simulate`: an application of AssemblyAI's services in a call without key, network or sound card."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

import voicepipe as vp
from tests.helpers.talking import PROGRAM, said, talk
from tests.project.test_docs import blocks_of
from voicepipe.cli import _services, main
from voicepipe.testing import Says, ScriptedModel
from voicepipe.testing.simulators.gateway import GatewaySimulator
from voicepipe.testing.simulators.tts import TTSSimulator

if TYPE_CHECKING:
    from collections.abc import Iterator

README = Path(__file__).parents[2] / "README.md"

ORDER = 'get_order_status={"order_id": "ORD-12345"}'

slow = pytest.mark.slow  # starts a program


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # the other side is a program


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The README's first program, as app.py in the current folder."""
    monkeypatch.chdir(tmp_path)
    program = next(block.text for block in blocks_of(README.read_text(encoding="utf-8")) if block.language == "python")
    (tmp_path / "app.py").write_text(program, encoding="utf-8")
    monkeypatch.setattr("sys.path", [*sys.path])
    yield "app.py"
    for name in ("app", "shop"):  # where the command ran in this process
        sys.modules.pop(name, None)


@slow
def test_the_program_of_the_readme_calls_its_tool(app: str) -> None:
    """What is typed is recognised, the model calls the program's own tool, and its result is spoken: over sockets."""
    ended = talk(
        app,
        "--simulate",
        "--calls",
        ORDER,
        typed="Where is my order?\n\nThank you.",
        before="sys.modules['sounddevice'] = None",
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert said(ended.stdout) == [
        ("caller", "Where is my order?"),
        ("tool", "get_order_status: done"),
        ("agent", "get_order_status returned ORD-12345 has been shipped"),
        ("caller", "Thank you."),
        ("agent", "You said: Thank you."),
    ]
    at = re.findall(r"^  simulated: (\w+) at (ws|http)://127\.0\.0\.1:\d+(?:/v1)?$", ended.stdout, re.MULTILINE)
    assert at == [("AssemblyAIRecogniser", "ws"), ("LLMStreamStage", "http"), ("AssemblyAITTS", "ws")]


@slow
def test_the_parts_keep_their_settings(tmp_path: Path, app: str) -> None:
    """Another rate of the recogniser and a model inside of another part go to the simulators, too."""
    program = Path(app).read_text(encoding="utf-8")
    program = program.replace("vp.STTStage()", "vp.STTStage(vp.AssemblyAIRecogniser(parameters=EIGHT))")
    program = program.replace(
        "    vp.LLMStreamStage(", "    vp.Structured(Intent, on_result=print),\n    vp.LLMStreamStage("
    )
    first = "import pydantic\nimport voicepipe as vp\nEIGHT = vp.StreamingParameters(sample_rate=8_000)\n"
    Path(app).write_text(f"{first}class Intent(pydantic.BaseModel):\n    word: str\n{program}", encoding="utf-8")
    ended = talk(app, "--simulate", typed="Hello.")
    assert ended.returncode == 0
    assert said(ended.stdout) == [("caller", "Hello."), ("agent", "You said: Hello.")]
    assert "the simulated model gives no structured answers" in ended.stderr  # a warning of the log


def test_several_models_go_to_the_simulator_together() -> None:
    """Models of a `FirstOf` are parts of the program as well: each is moved to the simulator with its settings."""
    models = vp.LLMStreamStage(model="gpt-5.2"), ScriptedModel([]), vp.LLMStreamStage(model="gpt-5-mini")
    given = vp.FirstOf(*models, after_s=0.8)
    moved = _services._moved(given, {"llm": "http://127.0.0.1:1/v1"})
    assert isinstance(moved, vp.FirstOf)
    assert [model.label for model in moved.models] == [
        "gpt-5.2 at http://127.0.0.1:1/v1",
        "ScriptedModel",
        "gpt-5-mini at http://127.0.0.1:1/v1",
    ]
    assert (moved.after_s, given.models, _services._moved(given, {})) == (0.8, models, given)


def test_a_model_that_writes_summaries_is_simulated_as_well() -> None:
    """It is held by the window of another one, and would ask its own service."""
    small = vp.LLMStreamStage(base_url="https://small.example.com/v1", model="s", api_key="key")
    given = vp.LLMStreamStage(model="m", api_key="key", window=vp.Window(summarise=small))
    moved = _services._moved(given, {"llm": "http://127.0.0.1:1/v1"})
    assert isinstance(moved, vp.LLMStreamStage)
    (summaries,) = moved._held()
    assert [part.label for part in (moved, *summaries._held()) if isinstance(part, vp.Model)] == [
        "m at http://127.0.0.1:1/v1",
        "s at http://127.0.0.1:1/v1",
    ]


@slow
def test_typing_past_the_recogniser(app: str) -> None:
    """With --text the words go to the model as they were typed, and no recogniser is simulated."""
    ended = talk(app, "--simulate", "--text", "--greeting", "Good day.", typed="hello\n")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert said(ended.stdout) == [("agent", "Good day."), ("caller", "hello"), ("agent", "You said: hello")]
    assert "AssemblyAIRecogniser" not in ended.stdout


@slow
def test_a_typed_line_interrupts_through_the_recogniser(app: str) -> None:
    """On a terminal the next line interrupts the reply as speech would; Ctrl-D ends the call after the last reply."""
    ours, theirs = pty.openpty()
    long = "one two three four five six seven eight nine ten eleven twelve"
    with subprocess.Popen(
        [*PROGRAM, app, "--simulate"], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        shown = b""
        os.write(ours, f"{long}\n".encode())
        while b"agent   You said: One two" not in shown:
            line = process.stdout.readline()
            assert line
            shown += line
        os.write(ours, b"stop\n\x04")
        shown += process.stdout.read()
        assert (process.wait(10), process.stderr.read()) == (0, b"")
    os.close(ours)
    os.close(theirs)
    lines = said(shown.decode())
    cut = next(at for at, (who, _) in enumerate(lines) if who == "cut")
    assert {who for who, _ in [*lines[:cut], *lines[cut + 1 :]]} == {"agent"}
    assert lines[-1][1].endswith("Stop.")


@slow
@pytest.mark.anyio
async def test_simulators_that_run_already(app: str) -> None:
    """--llm-url and --tts-url take the parts to simulators that run elsewhere, and no key goes there."""
    gateway, voice = GatewaySimulator([Says("Good.")]), TTSSimulator(first_audio_s=0.0)
    key = "os.environ['ASSEMBLYAI_API_KEY'] = 'secret'"
    async with gateway.serve() as llm_url, voice.serve() as tts_url:
        urls = ["--llm-url", llm_url, "--tts-url", tts_url]
        call = partial(talk, app, "--text", *urls, typed="hello\n", before=f"import os\n{key}")
        ended = await anyio.to_thread.run_sync(call)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert said(ended.stdout) == [("caller", "hello"), ("agent", "Good.")]
    assert all("authorization" not in request.headers for request in gateway.requests)
    assert [speech.text for session in voice.sessions for speech in session.speeches] == ["Good."]


@pytest.mark.parametrize(
    ("part", "url"),
    [
        (vp.AssemblyAIRecogniser(api_key="secret"), "ws://127.0.0.1:9"),
        (vp.LLMStreamStage(api_key="secret"), "http://127.0.0.1:9/v1"),
        (
            vp.LLMStreamStage(
                base_url="https://api.openai.com/v1", model="gpt-5.2", headers={"authorization": "Bearer secret"}
            ),
            "http://127.0.0.1:9/v1",
        ),
        (vp.AssemblyAITTS(api_key="secret"), "ws://127.0.0.1:9"),
    ],
)
def test_no_key_goes_to_a_simulator(
    part: vp.AssemblyAIRecogniser | vp.LLMStreamStage | vp.AssemblyAITTS, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part at a simulator has no key: neither the application's, nor its header, nor that of the environment."""
    monkeypatch.setenv("ASSEMBLYAI_API_KEY", "secret")
    moved = part._at_simulator(url)
    assert moved._credentials.read().get_secret_value() == ""
    assert not isinstance(moved, vp.LLMStreamStage) or moved._extras.headers == {}


FACTORIES = """
from contextlib import asynccontextmanager
import voicepipe as vp
from voicepipe.testing import Calls, RecordingOutput, Says, ScriptedModel, ScriptedVoice

class Shop:
    name = "the shop"

shop = Shop()

@asynccontextmanager
async def opened_shop():
    print("shop opens")
    yield shop
    print("shop closes")

@vp.tool(effect="read")
async def who(context: vp.ToolContext[Shop]) -> str:
    "Say who this is."
    return context.deps.name

def answer(request):
    results = request.tool_results
    return Says(" ".join(results.values())) if results else Calls("who", {})

def make():
    model = ScriptedModel(answer)
    return vp.Pipeline(model, vp.ToolRouter([who]), vp.SentenceChunker(), ScriptedVoice(character_s=0.001))

async def make_later():
    return make()

def host():
    return make().open()

def nothing():
    return None

def broken():
    raise OSError("no database")

def needs(argument): ...
"""


# --- factories and deps -----------------------------------------------------------------------------------------------


@slow
@pytest.mark.parametrize(("name", "deps"), [("make", "shop"), ("make_later", "Shop"), ("host", "opened_shop")])
def test_a_factory_makes_the_agent_and_its_deps(
    name: str, deps: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent is a Pipeline or a Host that a function returns, and its tools get the object of --deps."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.py").write_text(FACTORIES, encoding="utf-8")
    ended = talk(f"shop:{name}", "--text", "--deps", f"shop.py:{deps}", typed="hello\n")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert said(ended.stdout) == [("caller", "hello"), ("tool", "who: done"), ("agent", "the shop")]
    assert ended.stdout.startswith("shop opens\n") is ended.stdout.endswith("shop closes\n") is (deps == "opened_shop")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["shop.py:nothing"], "shop.py:nothing() must return a Pipeline or a Host, but it returned NoneType"),
        (["shop.py:broken"], "shop.py:broken() failed: OSError: no database (shop.py:"),
        (["shop.py:needs"], "shop.py:needs() failed: TypeError: needs() missing 1 required positional argument"),
        (["shop.py:make", "--deps", "shop.py"], "--deps shop.py: name an object or a function, e.g. shop.py:deps"),
        (["shop.py:make", "--deps", "shop.py:till"], "--deps shop.py:till: shop.py has no 'till'"),
        (["shop.py:make", "--simulate"], "--simulate has no effect: shop.py:make has none of AssemblyAIRecogniser, "),
        (
            ["shop.py:make", "--tts-url", "ws://127.0.0.1:9"],
            "--tts-url has no effect: shop.py:make has no AssemblyAITTS",
        ),
        (["app.py", "--simulate", "--calls", "a={}"], "--calls: app.py has no tool 'a'; it has get_order_status"),
        (["app.py", "--calls", "a={}"], "--calls has no effect without --simulate"),
        (["app.py", "--simulate", "--stt-url", "ws://127.0.0.1:9"], "--stt-url has no effect with --simulate"),
        (["app.py", "--simulate", "--input", "0"], "--input has no effect with --simulate"),
        (
            ["app.py", "--simulate", "--llm-url", "http://127.0.0.1:9/v1", "--calls", "a={}"],
            "--calls has no effect: app.py has no LLMStreamStage, or --llm-url names its simulator",
        ),
        (
            ["app.py", "--text", "--llm-url", "https://llm.example.com/v1"],
            "LLMStreamStage: expected the URL of a simulator on this machine, not of llm.example.com",
        ),
        (
            ["app.py", "--text", "--tts-url", "wss://tts.example.com"],
            "AssemblyAITTS: expected the URL of a simulator on this machine, not of tts.example.com",
        ),
    ],
)
def test_what_cannot_be_done_is_reported_in_one_line(
    arguments: list[str], line: str, app: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An option without effect, a factory that fails or an unknown tool is one line on stderr, with exit status 2."""
    Path("shop.py").write_text(FACTORIES, encoding="utf-8")
    assert main(["talk", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"voicepipe: {line}")
