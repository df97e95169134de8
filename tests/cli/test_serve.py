"""`voicepipe serve` and `voicepipe dev`: what they say about bad input, and how they run as programs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING

import httpx
import pytest

from voicepipe.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

NEEDED = ("starlette", "uvicorn", "prometheus_client", "watchfiles")
MISSING = [name for name in NEEDED if find_spec(name) is None]
pytestmark = pytest.mark.skipif(
    bool(MISSING) and os.environ.get("VOICEPIPE_TEST_ALL") != "1", reason=f"not installed: {', '.join(MISSING)}"
)

ROOT = Path(__file__).parents[2]
TLS = ROOT / "tests" / "helpers"

HEAD = """
import voicepipe as vp
from voicepipe.testing import ScriptedModel, ScriptedRecogniser, ScriptedVoice
ears = vp.STTStage(ScriptedRecogniser())
rest = ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice(sample_rate=16_000)
"""

SERVE = (
    HEAD
    + """
from tests.helpers.plain_transport import Plain
from voicepipe.serving import Serve
serve = Serve(vp.Pipeline(ears, *rest), [Plain()])
"""
)


@pytest.fixture(autouse=True)
def _same_modules(tmp_path: Path) -> Iterator[None]:
    path = [*sys.path]
    yield
    sys.path[:] = path
    for name, module in [*sys.modules.items()]:
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "app.py"
    path.write_text(SERVE, encoding="utf-8")
    return path


PATHS = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}


def finished(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    command = [sys.executable, "-W", "error", "-c", program, *arguments]
    return subprocess.run(command, env=PATHS, capture_output=True, text=True, check=False)


def complaint(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run the command, which must fail with one line and the status 2; return the line."""
    assert main(["serve", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), err[:11]) == ("", 1, "voicepipe: ")
    return err.removeprefix("voicepipe: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "app.py has no Pipeline; write agent = Pipeline(...)"),
        (
            f"{HEAD}one = vp.Pipeline(ears, *rest)\nother = vp.Pipeline(ears, *rest)",
            "app.py has several pipelines; name one of them; it has app.py:one, app.py:other",
        ),
        ("agent = 5", "app.py has no Pipeline"),
        (f"{HEAD}def agent(): return 5", "app.py:agent() must return a Pipeline or a Serve, not a int"),
        (f"{HEAD}agent = vp.Pipeline(vp.MicSource(), ears, *rest)", "this pipeline begins with MicSource"),
        (f"{HEAD}agent = vp.Pipeline(*rest)", "this pipeline has no recogniser for what callers say"),
        ("1 / 0", "app.py cannot be loaded: ZeroDivisionError"),
        ("from voicepipe.serving import Serve\nserve = Serve(1, [])", "app.py cannot be loaded: agent must be"),
    ],
)
def test_a_file_that_cannot_be_served(text: str, said: str, app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong with the file is one sentence, and the exit status 2."""
    app.write_text(text, encoding="utf-8")
    assert complaint("app.py", "--port", "0", capsys=capsys).startswith(said)


def test_names_that_do_not_fit(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is missing or of another kind is answered with those that are there."""
    assert complaint("app.py:agent", capsys=capsys).startswith("app.py has no 'agent'; it has app.py:serve")
    assert complaint("app.py:rest", capsys=capsys).startswith("app.py:rest must be a Pipeline, but it is a tuple")
    assert complaint("shop.py", capsys=capsys).startswith("shop.py does not exist; did you mean app.py?")


def test_a_greeting_for_a_serve(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A Serve has its own greeting, so the option would have no effect."""
    said = complaint("app.py", "--greeting", "Hello!", capsys=capsys)
    assert said.startswith("--greeting has no effect: app.py:serve is a Serve")


def test_a_place_that_cannot_hold_recordings(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--record` names a directory; what is wrong with it is said before anybody can call."""
    assert complaint("app.py", "--record", "app.py", capsys=capsys) == (
        "Recorder: app.py is a file; name a directory for the recordings\n"
    )


def test_a_port_in_use(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A port that another program has is named."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = complaint("app.py", "--port", str(port), capsys=capsys)
    assert said.startswith(f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another port")


def test_an_address_without_a_proof(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where other machines could call without a proof of who they are, the program does not listen."""
    said = complaint("app.py", "--host", "0.0.0.0", capsys=capsys)
    assert said.startswith("on 0.0.0.0 other machines could call by plain without a proof")


def test_an_address_that_is_not_here(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An address of another machine cannot be listened on."""
    proof = ", origins=['https://a.example'], authenticate=lambda _: {})"
    app.write_text(SERVE.replace("[Plain()])", f"[Plain()]{proof}"), encoding="utf-8")
    said = complaint("app.py", "--host", "192.0.2.1", capsys=capsys)
    assert said.startswith("cannot listen on 192.0.2.1:8000: Cannot assign requested address")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--key", "k.pem"], "--key has no effect without --certificate"),
        (["--certificate", "no.pem"], "the certificate no.pem with the key no.pem cannot be used"),
        (["--certificate", "app.py"], "the certificate app.py with the key app.py cannot be used"),
        (
            ["--certificate", str(TLS / "loopback_server.pem"), "--key", str(TLS / "loopback_authority.pem")],
            "the certificate ",
        ),
    ],
)
def test_a_certificate_that_does_not_fit(
    arguments: list[str], said: str, app: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A certificate that is missing, invalid, or belongs to another key is one sentence."""
    assert complaint("app.py", "--port", "0", *arguments, capsys=capsys).startswith(said)


def test_rates_that_nothing_can_convert(
    app: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A voice at another rate than the transport needs soxr, and the sentence says so before anybody calls."""
    monkeypatch.setitem(sys.modules, "soxr", None)
    app.write_text(SERVE.replace("16_000", "22_050"), encoding="utf-8")
    said = complaint("app.py", capsys=capsys)
    assert said.startswith("app.py cannot be loaded: ScriptedVoice gives 22050 Hz, plain takes 16000 Hz")


@pytest.mark.parametrize("package", ["starlette", "prometheus_client", "uvicorn"])
@pytest.mark.slow
def test_a_missing_extra(package: str, app: Path) -> None:
    """Without the server's packages the command says what to install."""
    program = f"import sys\nsys.modules[{package!r}] = None\nfrom voicepipe.cli import main\nsys.exit(main())"
    ended = finished(program, "serve", "app.py", "--port", "0")
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "pip install 'voicepipe[server]'" in ended.stderr


def test_help_needs_no_server() -> None:
    """Help works without the extra."""
    blocked = dict.fromkeys(NEEDED)
    program = f"import sys\nsys.modules.update({blocked})\nfrom voicepipe.cli import main\nsys.exit(main())"
    for command in ("serve", "dev"):
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-c", program, command, "--help"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, "")


# --- programs ---------------------------------------------------------------------------------------------------------

COMMAND = [sys.executable, "-u", "-W", "error", "-c", "import sys; from voicepipe.cli import main; sys.exit(main())"]


@contextmanager
def started(*arguments: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], IO[str], IO[str]]]:
    """Run the command; yield the process, what it prints and its errors."""
    with subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=PATHS,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        try:
            yield program, program.stdout, program.stderr
        finally:
            program.kill()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("number", "text", "status"),
    [(signal.SIGINT, SERVE, 404), (signal.SIGTERM, f"{HEAD}agent = vp.Pipeline(ears, *rest)", 200)],
)
def test_a_signal_ends_the_program_in_order(number: int, text: str, status: int, app: Path, ctrl_c: None) -> None:
    """A Pipeline is served with a page, a Serve with what it has; both end at a signal, without a word on stderr.

    What is recorded of calls is said first.
    """
    app.write_text(text, encoding="utf-8")
    with started("serve", "app.py", "--port", "0", "--record", "calls", folder=app.parent) as (program, out, err):
        assert out.readline().startswith("voicepipe: recorded: both sides, ")
        line = out.readline()
        assert line.startswith("voicepipe: serving on http://127.0.0.1:")
        assert httpx.get(line.rpartition(" ")[2].strip(), trust_env=False).status_code == status
        program.send_signal(number)
        assert (program.wait(20), err.read()) == (0, "")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_dev_starts_again_when_a_file_is_saved(app: Path, ctrl_c: None) -> None:
    """A file with a mistake is said and waited for; a saved one is served; Ctrl-C ends all."""
    app.write_text("1 / 0\n", encoding="utf-8")
    with started("dev", "app.py", "--port", "0", "--no-browser", folder=app.parent) as (program, out, err):
        assert "ended with the status 2" in out.readline()
        assert "ZeroDivisionError" in err.readline()
        app.write_text(SERVE, encoding="utf-8")
        assert out.readline() == "voicepipe: app.py changed; starting again\n"
        assert out.readline().startswith("voicepipe: serving on http://127.0.0.1:")
        program.send_signal(signal.SIGINT)
        assert (program.wait(20), err.read()) == (130, "")
