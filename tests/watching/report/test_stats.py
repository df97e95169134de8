"""Figures of calls: what is counted, what a percentile is, what it costs."""

from __future__ import annotations

import stat
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.errors import ConfigurationError
from voicepipe.watching.report.percentiles import percentile, spread_of
from voicepipe.watching.report.prices import ModelPrice, Prices, read_prices, with_models
from voicepipe.watching.report.records import Records, read_records
from voicepipe.watching.report.stats import CallStats, Tokens, cost_of, figures_of, stats_of, summed
from voicepipe.watching.report.story import story_of
from voicepipe.watching.report.tables import in_time, tables_of
from voicepipe.watching.report.writing import write_private

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def stats(recording: Path) -> CallStats:
    records = read_records(recording)
    return stats_of(records, story_of(records))


def test_a_call_is_counted(stats: CallStats) -> None:
    """Turns by outcome, interruptions true and false, tools by status, audio: as the call went."""
    assert (stats.calls, stats.call_s, stats.backchannels, stats.drafts) == (1, 32.0, 1, 1)
    assert stats.waits == [0.7, 0.5, 1.54, 1.54]
    assert stats.turns == {"completed": 4, "interrupted": 1}
    assert +stats.interruptions == {"by the caller": 1, "false: resumed": 2}
    assert stats.tools == {("price", "done"): 1, ("price", "failed"): 1}
    assert (stats.failed_tools, round(stats.voice_s, 6), stats.characters) == (1, 15.12, 305)
    assert stats.contributions["patience"] == [0.41, 0.67]
    assert ("Interruptions", "1, 2 false") in figures_of(stats)


def test_calls_add_up(stats: CallStats) -> None:
    """Of two equal calls every count is twice as large, and the percentiles are those of all turns together."""
    two = summed([stats, stats])
    assert two.waits == stats.waits * 2
    assert (two.turns, two.tools) == ({"completed": 8, "interrupted": 2}, dict.fromkeys(stats.tools, 2))
    assert (two.wait, two.calls) == (spread_of(stats.waits * 2), 2)
    assert summed([]).as_json()["silence_s"] is None


def test_filler_ends_the_silence_and_not_the_wait_for_the_answer() -> None:
    """A turn that begins with filler has two times: until anything was audible, and until the answer was."""
    marks = {"speech_ended": 1.0, "endpoint": 1.2, "first_frame": 1.5, "first_audible": 1.5, "answer": 3.0}
    ended = {
        "t_s": 5.0,
        "event": "TurnCompleted",
        "turn_id": 1,
        "user_text": "Hello",
        "heard": "One moment. Yes.",
        "marks": marks,
        "contributions": {"silence": 0.2, "output": 0.3},
    }
    records = Records(name="call", manifest={}, events=[ended])
    stats = stats_of(records, story_of(records))
    assert (stats.waits, stats.answers) == ([0.5], [2.0])
    (silence, *_) = tables_of(stats)
    assert [row[:3] for row in silence.rows[:2]] == [
        ("silence heard", "1", "500"),
        ("answer after filler", "1", "2,000"),
    ]


def usage(model: str, given: int, taken: int, *, is_estimated: bool = False) -> dict[str, object]:
    return {
        "t_s": 1.0,
        "event": "ModelUsage",
        "turn_id": 1,
        "model": model,
        "input_tokens": given,
        "output_tokens": taken,
        "is_estimated": is_estimated,
    }


def test_tokens_and_their_price() -> None:
    """Tokens are counted by model and priced by the longest name that fits; what has no price is named, not guessed."""
    events = [usage("gpt-5.2-mini", 1_000, 500), usage("gpt-5.2-mini", 1_000, 0, is_estimated=True), usage("own", 9, 9)]
    records = Records(name="call", manifest={"ended": {"t_s": 120.0, "reason": "bye"}}, events=events)
    stats = stats_of(records, story_of(records))
    assert stats.tokens["gpt-5.2-mini"] == Tokens(requests=2, input=2_000, output=500, estimated=1)
    prices = Prices(
        models={"gpt-5.2": ModelPrice(100.0, 100.0), "gpt-5.2-mini": ModelPrice(1.0, 10.0)}, recogniser_per_minute=0.01
    )
    cost = cost_of(stats, prices)
    assert cost.models == {"gpt-5.2-mini": (2_000 * 1.0 + 500 * 10.0) / 1e6}
    assert (cost.recogniser, cost.voice, cost.unpriced) == (0.02, None, ["own"])
    assert cost.total == pytest.approx(0.02 + 0.007)
    assert summed([stats, stats]).tokens["gpt-5.2-mini"] == Tokens(requests=4, input=4_000, output=1_000, estimated=2)
    stats.voice_s, stats.characters = 30.0, 500_000
    voice = cost_of(stats, Prices(voice_per_minute=0.02, voice_per_million_characters=15.0)).voice
    assert voice == pytest.approx(0.01 + 7.5)
    rows = {table.title: table.rows for table in tables_of(stats, cost)}
    assert rows["Models"] == [
        ("gpt-5.2-mini", "2 (1 estimated)", "2,000", "500", "0.0070 USD"),
        ("own", "1", "9", "9", "no price"),
    ]


@given(st.lists(st.integers(0, 50), min_size=1), st.integers(1, 100))
def test_a_percentile_is_the_smallest_value_that_enough_do_not_exceed(values: list[int], percent: int) -> None:
    """It is one of the values; at least so many are not above it, and of no smaller one that is so."""
    found = percentile(values, percent)

    def share(limit: float) -> Fraction:
        return Fraction(100 * sum(value <= limit for value in values), len(values))

    assert found in values
    assert share(found) >= percent
    assert all(share(smaller) < percent for smaller in values if smaller < found)


def test_percentiles_count_exactly() -> None:
    """Rounding of floats moves no rank: the 95th of 20 values is the 19th, and that of 100 is the 95th."""
    assert [percentile(range(1, 21), 95), percentile(range(1, 101), 95), percentile([7], 99)] == [19, 95, 7]
    assert percentile(range(1, 1_001), 99.9) == 999
    for values, percent in (([], 50), ([1], 0), ([1], 101)):
        with pytest.raises(ValueError, match="percentage"):
            percentile(values, percent)


TOML = """
currency = "EUR"
[models."gpt-5.2"]
input = 1.25
output = 10
[recogniser]
per_minute = 0.0025
[voice]
per_million_characters = 15
"""


def test_prices_come_from_a_file_and_the_command_line(tmp_path: Path) -> None:
    """TOML and JSON say the same, and a price of the command line takes the place of one in the file."""
    (tmp_path / "prices.toml").write_text(TOML)
    (tmp_path / "prices.json").write_text(
        '{"currency": "EUR", "models": {"gpt-5.2": {"input": 1.25, "output": 10}}, '
        '"recogniser": {"per_minute": 0.0025}, "voice": {"per_million_characters": 15}}'
    )
    prices = read_prices(tmp_path / "prices.toml")
    assert prices == read_prices(tmp_path / "prices.json")
    assert (prices.currency, prices.of_model("gpt-5.2-2026"), prices.of_model("own")) == ("EUR", (1.25, 10.0), None)
    assert with_models(prices, ["gpt-5.2=2,3", "a=b=0,1"]).models == {"gpt-5.2": (2.0, 3.0), "a=b": (0.0, 1.0)}


def test_a_wrong_price_is_refused(tmp_path: Path) -> None:
    """A sentence says which one, and what is expected."""
    files = {
        "a.toml": ("models = 3", "a.toml: models: Input should be a valid dictionary"),
        "b.toml": ("[models.x]\ninput = -1\noutput = 1", r"b.toml: models.x.input: .*greater than or equal to 0"),
        "c.toml": ("[modles]", "c.toml: modles: Extra inputs are not permitted"),
        "d.toml": ("= 1", "d.toml: neither TOML nor JSON"),
        "e.json": ("[", "e.json: neither TOML nor JSON"),
        "f.json": ("[]", "f.json: the file: "),
    }
    for name, (text, said) in files.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(ConfigurationError, match=said):
            read_prices(tmp_path / name)
    with pytest.raises(ConfigurationError, match=r"none.toml: cannot be read"):
        read_prices(tmp_path / "none.toml")
    for text in ("gpt", "gpt=1", "gpt=1,2,3", "=1,2", "gpt=a,b", "gpt=-1,2", "gpt=nan,1"):
        with pytest.raises(ConfigurationError, match=r"--price takes a model .* e.g. --price gpt-5.2=1.25,10"):
            with_models(Prices(), [text])


def test_a_report_is_private_and_whole(tmp_path: Path) -> None:
    """The file is its owner's alone, and one that cannot be written leaves nothing behind."""
    path = tmp_path / "call.html"
    write_private(path, "one")
    write_private(path, "two")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("two", 0o600)
    (tmp_path / "folder").mkdir()
    for wrong in (tmp_path / "folder", tmp_path / "none" / "call.html"):
        with pytest.raises(ConfigurationError, match=r"cannot be written: .*; name another file"):
            write_private(wrong, "three")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["call.html", "folder"]


def test_lengths_of_time() -> None:
    """They are written in the unit that suits them."""
    lengths = [in_time(seconds) for seconds in (0, 59.4, 60, 185, 7_800)]
    assert lengths == ["0 s", "59 s", "1:00 min", "3:05 min", "2:10 h"]
