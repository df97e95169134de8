"""`voicepipe report` and `voicepipe stats`: what they write, and what they say about what they cannot read."""

from __future__ import annotations

import json
import shutil
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from tests.helpers.recorded_calls import recorded_shop_call
from voicepipe.cli import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded_shop_call(tmp_path_factory.mktemp("calls") / "recordings")


@pytest.fixture
def recording(recorded: Path, tmp_path: Path) -> Path:
    """The recording, under a name that is the same each time."""
    return shutil.copytree(recorded, tmp_path / "calls" / "shop.vprec")


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Return the exit status of a command, what it printed, and what it complained about."""
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.slow
def test_a_report_is_written_next_to_its_recording(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A page or a picture with the recording's name, for its owner alone; the command prints where it is."""
    for options, ending in (((), ".html"), (("--svg",), ".svg"), (("--svg", "--turn", 4), ".svg")):
        path = recording.with_name(f"shop{ending}")
        assert said(capsys, "report", recording, *options) == (0, f"{path}\n", "")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    picture = recording.with_name("shop.svg").read_text(encoding="utf-8")
    assert picture.count("until the caller hears the agent") == 1


def test_a_report_of_the_current_folder_has_its_name(
    recording: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`voicepipe report .` within a recording writes next to it, as its path would."""
    monkeypatch.chdir(recording)
    status, out, _ = said(capsys, "report", ".", "--no-audio")
    assert (status, out.strip()) == (0, str(recording.with_suffix(".html")))


@pytest.mark.slow
def test_words_are_left_out_on_demand(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--no-content leaves nothing that was said in page or picture, and no sound; --no-audio keeps the words."""
    page = tmp_path / "page"
    manifest = recording / "manifest.json"
    fields = json.loads(manifest.read_text())
    fields["ended"]["reason"] = "cannot say 'five pounds'"  # an error may quote
    manifest.write_text(json.dumps(fields))
    for options, words, sound in (([], True, True), (["--no-audio"], True, False), (["--no-content"], False, False)):
        assert said(capsys, "report", recording, "-o", page, *options)[0] == 0
        text = page.read_text(encoding="utf-8")
        assert ("two euros" in text, "five pounds" in text, 'id="sound-caller"' in text) == (words, words, sound)
    assert said(capsys, "report", recording, "-o", page, "--svg", "--no-content")[0] == 0
    assert "tea" not in page.read_text(encoding="utf-8")


def test_a_cut_recording_is_shown_up_to_there(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was written before the end is in the report, and the command says that it breaks off."""
    manifest = recording / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "ended": None}))
    events = (recording / "events.jsonl").read_bytes()
    (recording / "events.jsonl").write_bytes(events[: len(events) // 2])
    status, _, err = said(capsys, "report", recording)
    assert (status, err) == (
        0,
        f"voicepipe: {recording} breaks off before the end of the call; the report ends there\n",
    )
    assert '"isCut":true' in recording.with_name("shop.html").read_text(encoding="utf-8")
    assert json.loads(said(capsys, "stats", recording, "--json")[1])["cut"] == 1


@pytest.mark.slow
def test_a_side_that_was_not_recorded_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a recording of the caller alone the page has their words and their sound, and of the agent when it spoke."""
    recording = recorded_shop_call(tmp_path / "recordings", sides="caller")
    assert said(capsys, "report", recording, "-o", tmp_path / "page")[0] == 0
    text = (tmp_path / "page").read_text(encoding="utf-8")
    assert ("How much is the tea?" in text, "two euros" in text) == (True, False)
    assert ('id="sound-caller"' in text, 'id="sound-agent"' in text) == (True, False)
    assert '"heard":"[not recorded]","unheard":""' in text
    assert "[not recorded][not recorded]" not in text


@pytest.mark.slow
def test_what_cannot_be_reported_is_one_sentence(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each names what was found and what to do, exits with 2, and writes nothing."""
    newer, damaged = (shutil.copytree(recording, recording.with_name(name)) for name in ("new.vprec", "bad.vprec"))
    manifest = json.loads((newer / "manifest.json").read_text())
    (newer / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    (damaged / "events.jsonl").write_text('{"t_s": 1.0, "event": "TurnStarted"}\n')
    folder, empty = recording.parent, recording.parent / "empty"
    empty.mkdir()
    before = sorted(folder.iterdir())
    for arguments, words in (
        (["report", folder / "none.vprec"], "none.vprec: does not exist; name a directory .vprec"),
        (["report", folder], "has no manifest.json, so it is not a recording"),
        (["report", recording / "audio.wav"], "audio.wav: is a file, not a recording"),
        (["report", newer], "in the form 99, and this one reads 1; upgrade voicepipe"),
        (["report", damaged], "bad.vprec is damaged: a record is not what voicepipe writes"),
        (["report", recording, "-o", folder], "cannot be written: it is a directory; name another file"),
        (["report", recording, "-o", folder / "no" / "page"], "cannot be written: No such file or directory"),
        (
            ["report", recording, "--svg", "--turn", "1"],
            "there is no turn 1 that answers a caller; those that do: 2, 3",
        ),
        (["report", recording, "--turn", "1"], "--turn has no effect without --svg"),
        (["report", recording, "--svg", "--no-audio"], "--no-audio has no effect with --svg"),
        (["stats", folder / "none"], "none: does not exist; name a directory with recordings"),
        (["stats", recording / "audio.wav"], "audio.wav: is a file; name a directory with recordings"),
        (["stats", empty], "empty: there is no recording in it; name a directory with NAME.vprec"),
        (["stats", recording, "--prices", folder / "prices.toml"], "prices.toml: cannot be read"),
        (["stats", recording, "--price", "gpt"], "--price takes a model with its prices"),
        (
            ["stats", recording, "--budget", "first_audio"],
            "--budget takes names with seconds, e.g. --budget first_audio",
        ),
        (["stats", recording, "--budget", "llm=1.2.3"], "--budget takes names with seconds"),
        (["stats", recording, "--budget", "quick=1"], "'quick' is nothing that is measured; there are first_audio_s"),
        (["stats", recording, "--budget", "llm=0"], "llm must be a number of seconds above 0"),
    ):
        status, out, err = said(capsys, *arguments)
        assert (status, out, err.count("\n"), err.startswith("voicepipe: ")) == (2, "", 1, True), arguments
        assert words in err
    assert sorted(folder.iterdir()) == before


def test_a_percentile_is_a_percentage(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else is refused before a recording is read."""
    for given in ("0", "101", "most"):
        with pytest.raises(SystemExit) as ended:
            main(["stats", str(recording), "--percentile", given])
        assert ended.value.code == 2
        assert f"expected a percentage from above 0 to 100, not '{given}'" in capsys.readouterr().err


def test_stats_leave_out_what_cannot_be_read(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recording that cannot be read is named and the others count; the exit status says that one is missing."""
    (recording.parent / "empty.vprec").mkdir()
    status, out, err = said(capsys, "stats", recording.parent, "--json")
    assert (status, "empty.vprec: has no manifest.json" in err) == (1, True)
    figures = json.loads(out)
    assert (figures["calls"], figures["silence_s"]["p95"], len(figures["left_out"])) == (1, 1.54, 1)
    assert [one["recording"] for one in figures["recordings"]] == ["shop.vprec"]
    shutil.rmtree(recording)
    assert said(capsys, "stats", recording.parent)[0] == 2


def test_a_budget_that_is_not_met_fails_the_command(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The 95th percentile, or another, is compared; what is over is named on stderr, and exits with 1 for CI."""
    assert said(capsys, "stats", recording, "--budget", "first_audio=1.54,llm_first_token=0.5")[0] == 0
    assert said(capsys, "stats", recording, "--budget", "first_audio=0.7", "--percentile", 50)[0] == 0
    status, out, err = said(capsys, "stats", recording, "--json", "--budget", "first_audio=0.9,tools=1")
    assert (status, err.splitlines()) == (
        1,
        [
            "voicepipe: over budget: first_audio, p95 is 1.540 s; the budget is 0.9 s",
            "voicepipe: over budget: tools, p95 was not measured in any turn; the budget is 1 s",
        ],
    )
    first, tools = json.loads(out)["budgets"]
    assert (first["took_s"], first["turns"], first["over"], first["is_met"]) == (1.54, 4, 2, False)
    assert (tools["took_s"], tools["turns"], tools["is_met"]) == (None, 0, False)


def test_stats_are_a_table_with_and_without_rich(
    recording: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both tables say the same, and a price adds what calls cost."""
    printed: list[list[str]] = []
    for _ in range(2):
        status, out, err = said(capsys, "stats", recording, "--price", "gpt=1,2")
        assert (status, err) == (0, "")
        printed.append(out.split())
        monkeypatch.setitem(sys.modules, "rich.console", None)
    assert printed[0] == printed[1]
    assert " ".join(printed[0]).count("silence heard 4 700 1,540 1,540 1,540") == 1


def test_no_name_controls_the_terminal(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a model called a tool is shown without the characters that would move the cursor or colour the screen."""
    events = recording / "events.jsonl"
    events.write_text(events.read_text().replace('"name":"price"', '"name":"price\\u001b[2J"'))
    status, out, _ = said(capsys, "stats", recording)
    assert (status, "\x1b[2J" in out, "price [2J" in out) == (0, False, True)
    events.write_text(events.read_text().replace("\\u001b", "\u00e9\\ud83d\\u009b"))
    status, out, _ = said(capsys, "stats", recording, "--json")
    assert (status, json.loads(out)["tools"][0]["name"]) == (0, "price\u00e9\ud83d\x9b[2J")
    assert "price\u00e9\\ud83d\\u009b[2J" in out


def test_stats_are_a_page(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is its owner's alone, runs no script, loads nothing, and escapes the names of recordings."""
    named = recording.rename(recording.with_name("<b>&.vprec"))
    page = tmp_path / "stats.html"
    assert said(capsys, "stats", named.parent, "--html", page) == (0, f"{page}\n", "")
    text = page.read_text(encoding="utf-8")
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert "default-src &#x27;none&#x27;; style-src &#x27;sha256-" in text
    assert "&lt;b&gt;&amp;.vprec" in text
    assert [word for word in ("<b>", "<script", "src=", "href=", "style=") if word in text] == []
    assert ">700 ms<" in text
