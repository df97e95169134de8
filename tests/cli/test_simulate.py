"""`voicepipe simulate`: a simulated service in a separate process, used over a real socket."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import anyio
import httpx
import pytest
from pydantic import BaseModel
from websockets.sync.client import connect

import voicepipe as vp
from voicepipe.audio.resample import Resampler
from voicepipe.cli import main
from voicepipe.testing import RecordingOutput, ScriptedVoice
from voicepipe.testing.simulators.stt import STTSimulator

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytestmark = pytest.mark.slow  # each test starts a program

RUN = "from voicepipe.cli import main\nraise SystemExit(main())"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # the other side is a program


@contextmanager
def simulated(*arguments: str) -> Generator[tuple[subprocess.Popen[str], list[str]]]:
    """Run the command, and return its process and the three lines that it prints."""
    program = [sys.executable, "-W", "error", "-c", RUN, "simulate", *arguments]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, [process.stdout.readline().rstrip() for _ in range(3)]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.usefixtures("ctrl_c")
def test_stt_says_what_it_is_told() -> None:
    """`simulate stt --say` prints its URL and its use, reports the texts turn by turn, and ends with Ctrl-C."""
    with simulated("stt", "--say", "Hello there.", "--say", "Good bye.") as (process, lines):
        with connect(f"{lines[0]}/v3/ws?sample_rate=16000", proxy=None, compression=None) as socket:
            for _ in range(28):  # 2.8 s of audio at once: the first text, which is over at 1.7 s, is heard in real time
                socket.send(bytes(3200))
            socket.send(json.dumps({"type": "ForceEndpoint"}))
            turns: list[str] = []
            while not turns:
                message = json.loads(socket.recv(timeout=30))
                turns += [message["transcript"]] if message.get("end_of_turn") else []
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert turns == ["Hello there."]
    assert lines[1:] == [
        f"use it: vp.STTStage(vp.AssemblyAIRecogniser(url='{lines[0]}'))",
        "end it: Ctrl-C",
    ]
    assert (process.returncode, out, err) == (130, "", "")


def test_the_line_to_use_is_valid() -> None:
    """The printed line, put into a program, creates a part."""
    with simulated("stt") as (_, lines):
        use = lines[1].removeprefix("use it: ")
    assert isinstance(eval(use, {"vp": vp}), vp.STTStage)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dance"], "voicepipe: there is no simulator of 'dance'; choose from stt"),
        (["stt", "--say", " "], "voicepipe: Spoken needs words and an end after its beginning"),
        (["tts", "--say", "Hm."], "voicepipe: --say is for stt, deepgram and gateway"),
        (["tts", "--grammar", "x"], "voicepipe: --grammar makes stt or deepgram recognise its audio"),
        (["stt", "--grammar", "x", "--say", "Hm."], "voicepipe: --grammar makes stt or deepgram recognise its audio"),
        (["stt", "--calls", "a={}"], "voicepipe: --calls is for gateway, whose model calls tools; stt has no model"),
        (["stt", "--grammar", "no/such.jsgf"], "voicepipe: --grammar no/such.jsgf: cannot be read: No such file"),
    ],
)
def test_what_cannot_be_simulated_is_told(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown service or an empty text prints one line on stderr, with exit status 2."""
    assert main(["simulate", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(said)


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_must_be_one(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An invalid port is refused in one line before anything is started."""
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "stt", f"--port={port}"])
    assert ended.value.code == 2
    assert f"expected a port from 0 to 65535, not '{port}'" in capsys.readouterr().err


@pytest.mark.parametrize("delay", ["-1", "nan", "soon", "3601"])
def test_a_delay_must_be_one(delay: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An invalid delay is refused in one line before anything is started."""
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "stt", f"--delay={delay}"])
    assert ended.value.code == 2
    assert f"expected a delay of 0 to 3600 seconds, not '{delay}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("find_table", """expected a tool and its arguments, e.g. 'find_table={"guests": 4}', not 'find_table'"""),
        ("find table={}", "expected a tool and its arguments"),
        ("={}", "expected a tool and its arguments"),
        ("find_table={guests: 4}", "the arguments of find_table are not JSON: Expecting property name"),
        ("find_table=", "the arguments of find_table are not JSON: Expecting value"),
        ("find_table=[4]", "the arguments of find_table must be a JSON object, not [4]; write e.g. 'find_table={"),
    ],
)
def test_a_call_must_be_one(call: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A call without a tool, or with arguments that are no JSON object, is refused before anything is started."""
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "gateway", f"--calls={call}"])
    err = capsys.readouterr().err
    assert (ended.value.code, err.count("\n")) == (2, 1)
    assert f"voicepipe simulate: argument --calls: {said}" in err


def test_help_tells_of_all_three(capsys: pytest.CaptureFixture[str]) -> None:
    """The help says what each service is, does and takes."""
    with pytest.raises(SystemExit):
        main(["simulate", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert all(said in shown for said in ("stt: streaming recognition", "gateway: the LLM", "tts: streaming speech"))
    assert all(option in shown for option in ("--port", "--say", "--calls", "--delay", "--grammar"))


@pytest.mark.parametrize("delay_s", [0.0, 1.0])
def test_the_gateway_answers_after_its_delay(delay_s: float) -> None:
    """`simulate gateway --say --delay` replies with the texts, after the delay."""
    with simulated("gateway", "--say", "Well?", "--delay", str(delay_s)) as (_, lines):
        body = {"model": "gpt-5.2", "messages": [{"role": "user", "content": "Hm."}]}
        answer = httpx.post(f"{lines[0]}/chat/completions", json=body, trust_env=False)
    assert answer.json()["choices"][0]["message"]["content"] == "Well?"
    assert answer.elapsed.total_seconds() >= delay_s


@vp.tool(effect="read")
async def find_table(guests: int) -> str:
    """Find a free table."""
    return f"table {guests + 1}"


@vp.tool(effect="read")
async def get_hours() -> str:
    """Look up the opening hours."""
    return "nine to five"


@pytest.mark.anyio
async def test_the_gateway_calls_tools() -> None:
    """`simulate gateway --calls` calls each tool once, one in each turn, and then says its result."""
    calls = ["--calls", 'find_table={"guests": 4}', "--calls", "get_hours={}"]
    with simulated("gateway", *calls, "--say", "Bye.", "--delay", "0") as (_, lines):
        replies = await asked(lines[0], [find_table, get_hours], ["A table?", "When?", "Thanks.", "Still there?"])
    assert replies == [
        "find_table returned table 5",
        "get_hours returned nine to five",
        "Bye.",
        "You said: Still there?",
    ]


@pytest.mark.anyio
async def test_a_tool_that_is_not_offered_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """A call of a tool that the application does not have fails the turn, and the error names both."""
    with simulated("gateway", "--calls", "find_tables={}", "--delay", "0") as (_, lines):
        await asked(lines[0], [find_table], ["A table?"])
    assert "--calls names find_tables, but this request offers find_table; correct the name in --calls" in caplog.text


async def asked(url: str, tools: list[vp.Tool[..., Any]], texts: list[str]) -> list[str]:
    """Return what the agent answers to each text."""
    model = vp.LLMStreamStage(base_url=url)
    row = model, vp.ToolRouter(tools), vp.SentenceChunker(), ScriptedVoice(character_s=0.0)
    replies: list[str] = []
    async with vp.Pipeline(*row, fallback="", output=RecordingOutput()).session() as session:
        for text in texts:
            await session.user_says(text)
            replies.append(session.history[-1].text)
    return replies


@pytest.mark.parametrize("form", ["response_format", "tool"])
@pytest.mark.anyio
async def test_the_gateway_gives_no_data(form: Literal["response_format", "tool"]) -> None:
    """A question for structured output is refused with the reason."""

    class Order(BaseModel):
        number: int

    with simulated("gateway", "--calls", "find_table={}") as (_, lines):
        with pytest.raises(vp.VendorError, match="the simulated model gives no structured answers"):
            await vp.structured(Order, "Number 4.", llm=vp.LLMStreamStage(base_url=lines[0]), form=form)


@pytest.mark.slow
def test_stt_understands_speech(tmp_path: Path) -> None:
    """`simulate stt --grammar` recognises the audio it is sent, behind the real protocol."""
    pytest.importorskip("pocketsphinx")
    pytest.importorskip("espeakng_loader")
    grammar = tmp_path / "shop.jsgf"
    grammar.write_text("#JSGF V1.0;\ngrammar shop;\npublic <request> = what time do you open | good morning;\n")
    speech = anyio.run(spoken, "What time do you open?")
    with simulated("stt", "--grammar", str(grammar)) as (_, lines):
        with connect(f"{lines[0]}/v3/ws?sample_rate=16000", proxy=None, compression=None) as socket:
            for at in range(0, len(speech), 3200):
                socket.send(speech[at : at + 3200].ljust(3200, b"\0"))
            socket.send(json.dumps({"type": "Terminate"}))
            messages = [json.loads(message) for message in socket]
    assert [one["transcript"] for one in messages if one.get("end_of_turn")] == ["What time do you open."]


async def spoken(text: str) -> bytes:
    voice, pcm = vp.EspeakTTS("en-us"), b""
    async with voice.open():
        async for piece in voice.synthesize(vp.Sentence(text)):
            pcm += piece if isinstance(piece, bytes) else b""
    resampler = Resampler(voice.sample_rate, 16_000)
    return bytes(16_000) + resampler.feed(pcm) + resampler.flush() + bytes(32_000)


@pytest.mark.anyio
async def test_a_port_in_use_is_told() -> None:
    """A port in use prints one line that says what to do, with exit status 2."""
    async with STTSimulator().serve() as url:
        port = url.rpartition(":")[2]
        program = [sys.executable, "-c", RUN, "simulate", "stt", "--port", port]
        ended = subprocess.run(program, capture_output=True, text=True, check=False)  # noqa: ASYNC221 - nothing else runs
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"voicepipe: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "choose another port, or 0 for a free one\n"
    )
