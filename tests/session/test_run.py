"""`vp.run` as a program: how it ends, and what it says when it cannot begin."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import voicepipe as vp
from tests.helpers.event_loops import UVLOOP
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedVoice

SRC = Path(vp.__file__).parents[1]

CALL = """
import sys
from contextlib import asynccontextmanager
import anyio
import voicepipe as vp
from voicepipe.testing import Calls, RecordingOutput, ScriptedModel, ScriptedUser, ScriptedVoice

class Line(RecordingOutput):
    @asynccontextmanager
    async def attach(self, session):
        async with super().attach(session):
            yield
            print("hung up", flush=True)

@vp.tool
async def book() -> str:
    "Book a table."
    print("booking", flush=True)
    await anyio.sleep(0.5)
    print("booked", flush=True)
    return "booked"

user = ScriptedUser().says("Book a table.", at_s=0.0)
row = (user, ScriptedModel([Calls("book", {})]), vp.ToolRouter([book]), vp.SentenceChunker(), ScriptedVoice())
vp.run(vp.Pipeline(*row, output=Line()), uvloop=UVLOOP)
print("never")
"""

BROKEN = """
import voicepipe as vp
from voicepipe.testing import ScriptedModel, ScriptedVoice
vp.run(vp.Pipeline(ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice()))
"""

KEYLESS = """
import voicepipe as vp
from voicepipe.testing import RecordingOutput, ScriptedModel
vp.run(vp.Pipeline(ScriptedModel([]), vp.SentenceChunker(), vp.AssemblyAITTS(), output=RecordingOutput()))
"""


def program(text: str) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", text],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment, "PYTHONPATH": str(SRC)},
    )


@pytest.mark.slow
@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.skipif(sys.platform == "win32", reason="sends signals to a process")
@pytest.mark.parametrize("uvloop", UVLOOP)
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_the_call_in_order(name: str, uvloop: bool) -> None:
    """A signal that ends a program ends the call: a writing tool finishes, the parts close, within 3 s."""
    number = signal.Signals[name]
    with program(CALL.replace("UVLOOP", str(uvloop))) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "booking\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=3)
    assert (out, err, process.returncode) == ("booked\nhung up\n", "", 128 + number)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "words"), [(BROKEN, "there is no output for the agent's audio"), (KEYLESS, "ASSEMBLYAI_API_KEY")]
)
def test_a_wrong_configuration_is_one_line(text: str, words: str) -> None:
    """A wrong configuration or a missing key is one line on stderr, with the exit status 2."""
    with program(text) as process:
        out, err = process.communicate(timeout=30)
    assert (out, process.returncode, len(err.splitlines())) == ("", 2, 1)
    assert err.startswith("voicepipe: ")
    assert words in err


def row() -> vp.Pipeline:
    return vp.Pipeline(ScriptedModel([Says("Hi.")]), vp.SentenceChunker(), ScriptedVoice(character_s=0.0))


@pytest.mark.parametrize("uvloop", UVLOOP)
def test_it_returns_the_result(uvloop: bool) -> None:
    """A call that ends by itself gives what `end` was given."""

    class Hangs(vp.SessionStage[vp.AudioFrame, vp.Hearing]):
        async def run(self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: vp.Session) -> None:
            session.end(result="done")

    pipeline = vp.Pipeline(Hangs(), ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice())
    assert vp.run(pipeline, source=vp.PushSource(), output=RecordingOutput(), uvloop=uvloop) == "done"


@pytest.mark.parametrize("uvloop", UVLOOP)
def test_another_thread_can_feed_the_call(uvloop: bool) -> None:
    """Audio that a thread pushes, as a sound card does, wakes the loop at once, whichever loop it is."""
    source, heard = vp.PushSource(), bytearray()

    class Hears(vp.SessionStage[vp.AudioFrame, vp.Hearing]):
        async def run(self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: vp.Session) -> None:
            thread = threading.Thread(target=lambda: (source.push(b"\1\0" * 640), source.end()))
            thread.start()
            async for frame in inbox:
                heard.extend(frame.pcm)
            thread.join()

    pipeline = vp.Pipeline(Hears(), ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice(), detector=None)
    vp.run(pipeline, source=source, output=RecordingOutput(), uvloop=uvloop)
    assert bytes(heard) == b"\1\0" * 640


def test_off_the_main_thread_a_wrong_configuration_is_an_exception() -> None:
    """In a thread, which no exit status is for, the error is raised."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            vp.run(row())
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [type(error) for error in errors] == [vp.ConfigurationError]
