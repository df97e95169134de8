"""Recorded calls as tests: a call that went wrong becomes a test in three lines."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

import voicepipe as vp
from tests.helpers.recorded import recorded_file
from voicepipe.errors import RecordingError
from voicepipe.testing import (
    Calls,
    Says,
    ScriptedModel,
    ScriptedUser,
    ScriptedVoice,
    assert_turn,
    cassette,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


@vp.tool(effect="read")
async def price(what: str) -> str:
    """Return a price."""
    return f"{what}: 2 euros"


def answer(request: Any) -> Any:
    return Says("That is two euros.") if request.tool_results else Calls("price", {"what": "tea"})


def agent(*tools: Any, **options: Any) -> vp.Pipeline:
    user = ScriptedUser().says("how much is it, please?", at_s=1.0, silence_s=0.2).hangs_up(at_s=5.0)
    return vp.Pipeline(
        user, ScriptedModel(answer), vp.ToolRouter(tools or [price]), vp.SentenceChunker(), ScriptedVoice(), **options
    )


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded_file(tmp_path_factory.mktemp("calls"), agent(), greeting="Hello.")


async def test_a_recording_is_a_test(recording: Path) -> None:
    """The application as it is today holds the recorded call as it was held, to the millisecond."""
    call = await cassette(recording, agent())
    call.assert_same()
    assert call.difference.largest_s <= 0.001
    assert_turn(call.turns[1], caller="how much is it, please?", contains="two euros", tools=["price"])


async def test_a_changed_outcome_is_shown(recording: Path) -> None:
    """The message of the failed assertion is the difference, side by side."""

    @vp.tool(name="price", effect="read")
    async def free(what: str) -> str:
        """Return a price."""
        return f"{what}: nothing"

    call = await cassette(recording, agent(free), live=["tools"])
    with pytest.raises(AssertionError) as failed:
        call.assert_same()
    assert "! tool 1" in str(failed.value)
    assert "done: tea: 2 euros" in str(failed.value)
    assert "done: tea: nothing" in str(failed.value)
    assert_turn(call.turns[1], tools=[("price", {"what": "tea"})])


async def test_a_cassette_without_the_application(recording: Path) -> None:
    """Recorded parts alone need none: the test pins down what voicepipe itself does."""
    (await cassette(str(recording))).assert_same()


@pytest.mark.parametrize("damage", ["missing", "cut", "line"])
async def test_a_damaged_recording_is_refused_or_replayed_up_to_its_cut(
    recording: Path, tmp_path: Path, damage: str
) -> None:
    """What is missing or damaged is an error that names the file; of what was cut off, everything is replayed."""
    copy = tmp_path / "call.vprec"
    if damage != "missing":
        shutil.copytree(recording, copy)
    manifest, exchanges = copy / "manifest.json", copy / "exchanges.jsonl"
    if damage == "cut":
        text = manifest.read_text(encoding="utf-8")
        start = text.index('"ended"')
        end = text.index("}", start) + 1
        manifest.write_text(text[:start] + '"ended": null' + text[end:], encoding="utf-8")
        exchanges.write_bytes(exchanges.read_bytes()[:-10])
        assert (await cassette(copy)).recording.is_cut
        return
    if damage == "line":
        exchanges.write_bytes(b"{}\n" + exchanges.read_bytes())
    with pytest.raises(RecordingError, match=r"call\.vprec"):
        await cassette(copy)
