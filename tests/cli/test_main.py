"""The command `voicepipe`: what it prints, where, and its exit status, before any conversation begins."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from voicepipe.cli import main

if TYPE_CHECKING:
    from pathlib import Path

RUN = "from voicepipe.cli import main\nraise SystemExit(main())"


def command(*arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run `voicepipe` in a separate process, after a line of Python."""
    program = [sys.executable, "-W", "error", "-c", f"import sys\n{before}\n{RUN}", *arguments]
    return subprocess.run(program, capture_output=True, text=True, encoding="utf-8", check=False)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["demo", "--help"], ["talk", "--help"], ["devices", "--help"], ["new", "--help"]]
)
def test_help_is_on_stdout(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With --help, the command prints help on stdout and exits with 0."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    assert out.startswith("usage: voicepipe")
    assert arguments[0].removeprefix("--help") in out


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """--version prints the name and the version of the installed package."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr()) == (0, (f"voicepipe {version('voicepipe')}\n", ""))


@pytest.mark.parametrize("name", ["demo", "talk", "devices", "new"])
def test_help_needs_no_extra(name: str) -> None:
    """Help works without any optional package."""
    blocked = "rich", "h11", "pocketsphinx", "espeakng_loader", "soxr", "numpy", "sounddevice"
    ended = command(name, "--help", before=f"sys.modules.update(dict.fromkeys({blocked}))")
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dance"], "voicepipe: argument COMMAND: invalid choice: 'dance' (choose from "),
        ([], "voicepipe: the following arguments are required: COMMAND; see voicepipe --help"),
        (["demo", "--loud"], "voicepipe: unrecognized arguments: --loud; see voicepipe --help"),
        (["demo", "--out"], "voicepipe demo: argument --out: expected one argument; see voicepipe demo --help"),
    ],
)
def test_a_wrong_call_is_told_in_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown command or option prints one line on stderr, with exit status 2."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    assert (ended.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(said)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["talk", "app.py", "--play"], "--play has no effect without --text or --simulate; see voicepipe talk --help"),
        (["talk", "app.py", "--text", "--headphones"], "--headphones has no effect with --text"),
        (["talk", "app.py", "--text", "--input", "0"], "--input has no effect with --text"),
        (["devices", "--seconds", "3"], "--seconds has no effect without --level"),
        (["devices", "--loopback", "--seconds", "3"], "--seconds has no effect without --level"),
        (["devices", "--level", "--json"], "--json has no effect with --level"),
        (["demo", "--input", "0"], "--input has no effect without --mic"),
        (["demo", "--output", "0"], "--output has no effect without --mic or --play"),
        (["demo", "--mic", "--json"], "--json has no effect with --mic"),
        (["demo", "--page", "--mic"], "--mic has no effect with --page"),
        (["demo", "--port", "8001"], "--port has no effect without --page"),
        (["demo", "--local", "--mic"], "--local has no effect with --mic"),
        (["demo", "--local", "--tts-url", "ws://127.0.0.1:9"], "--stt-url and --tts-url have no effect with --local"),
        (["talk", "app.py", "--local", "--simulate"], "--local has no effect with --simulate"),
        (["talk", "app.py", "--local", "--llm-model", "a"], "--llm-model has no effect without --llm-url"),
        (["talk", "app.py", "--llm-model", "a", "--llm-url", "b"], "--llm-model has no effect without --local"),
        (["serve", "app.py", "--llm-url", "http://127.0.0.1:11434/v1"], "--llm-url has no effect without --local"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An option without the one it needs, or together with one that makes it void, is refused in one line."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"voicepipe: {said}")


@pytest.mark.parametrize("seconds", ["0", "-1", "inf", "nan", "soon"])
def test_seconds_are_seconds(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A time that is negative, infinite or not a number is refused."""
    with pytest.raises(SystemExit):
        main(["devices", "--level", f"--seconds={seconds}"])
    assert f"expected a number of seconds above 0, not {seconds!r}" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["talk", "app.py"], ["devices", "--level"], ["demo", "--mic"]])
@pytest.mark.slow
def test_the_other_commands_need_the_terminal_package_too(arguments: list[str]) -> None:
    """Without rich, each command that draws says in one line what to install."""
    ended = command(*arguments, before="sys.modules['rich'] = None")
    assert ended.stderr == (
        f"voicepipe: voicepipe {arguments[0]} needs the package rich, which is not installed; "
        "run: pip install 'voicepipe[cli]'\n"
    )
    assert (ended.returncode, ended.stdout) == (2, "")


@pytest.mark.parametrize(
    ("package", "arguments", "who", "extra"),
    [
        ("rich", [], "voicepipe demo", "cli"),
        ("h11", [], "voicepipe demo", "testing"),
        ("pocketsphinx", ["--json"], "PocketsphinxRecogniser", "local"),
        ("soxr", ["--json"], "Resampling from 22050 to 16000 Hz", "local"),
    ],
)
@pytest.mark.slow
def test_a_missing_package_is_told_in_one_line(
    package: str, arguments: list[str], who: str, extra: str, tmp_path: Path
) -> None:
    """A missing package prints one line with the command that installs it, and exit status 2."""
    out = tmp_path / "out"
    ended = command("demo", "--out", str(out), *arguments, before=f"sys.modules[{package!r}] = None")
    assert ended.stderr == (
        f"voicepipe: {who} needs the package {package}, which is not installed; run: pip install 'voicepipe[{extra}]'\n"
    )
    assert (ended.returncode, ended.stdout, out.exists()) == (2, "", False)


@pytest.mark.slow
def test_the_demo_needs_two_extras_only(tmp_path: Path) -> None:
    """The demo gets as far as the recogniser without what only tests need, though its model is a scripted one."""
    blocked = "pytest", "hypothesis", "openai", "assemblyai", "sounddevice"
    before = f"sys.modules.update(dict.fromkeys({blocked}), pocketsphinx=None)"
    assert "needs the package pocketsphinx" in command("demo", "--out", str(tmp_path), before=before).stderr


@pytest.mark.slow
def test_a_conversation_as_json_needs_no_terminal_package(tmp_path: Path) -> None:
    """With --json the demo does not need rich, which only draws on the terminal."""
    ended = command("demo", "--json", "--out", str(tmp_path), before="sys.modules.update(rich=None, pocketsphinx=None)")
    assert "needs the package pocketsphinx" in ended.stderr


def test_a_directory_that_cannot_be_written_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An output directory that cannot be created is refused before the conversation begins, with exit status 2."""
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "conversation"
    assert main(["demo", "--out", str(out)]) == 2
    assert capsys.readouterr() == (
        "",
        f"voicepipe: --out {out}: cannot be written: Not a directory; name a writable directory\n",
    )
