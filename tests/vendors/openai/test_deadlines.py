"""How long a whole session waits for a reply; other kinds of silence are in `test_chat.py`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import voicepipe as vp
from tests.helpers.questions import ask_raw
from tests.helpers.raw_server import DONE, END, HEAD, Act, data, delta, text
from voicepipe.flow import TextDelta, ToolCallDelta
from voicepipe.vendors.openai.completion import Part, Unspoken
from voicepipe.vendors.openai.deadlines import Patience

pytestmark = pytest.mark.anyio

GOOD: list[Act] = [HEAD, text("Very well."), END]


CALL = {"index": 0, "id": "a", "function": {"name": "look", "arguments": ""}}


def arguments(piece: str) -> bytes:
    return data(delta(tool_calls=[{"index": 0, "function": {"arguments": piece}}]))


@pytest.mark.parametrize(
    ("acts", "took_s"),
    [
        pytest.param([arguments('{"a": "'), arguments("x"), 1.0, "repeat"], 6.0, id="arguments"),
        pytest.param([arguments(""), 1.0, "repeat"], 6.0, id="nothing"),
        pytest.param([text("\n"), arguments('{"a": "'), arguments("x"), 1.0, "repeat"], 6.0, id="a blank before"),
    ],
)
async def test_a_call_that_dribbles_in_is_silence(acts: list[Act], took_s: float) -> None:
    """Arguments that arrive letter by letter are silence to the caller: they have the first sentence's deadline."""
    asked, _ = await ask_raw([HEAD, data(delta(tool_calls=[CALL])), *acts])

    assert asked.took_s == took_s
    assert "the first sentence (6 s)" in str(asked.end.error)


@pytest.mark.parametrize(
    "acts",
    [
        pytest.param([arguments("{}"), *[2.9, b": x\n\n", arguments(" ")] * 3], id="a whole call"),
        pytest.param(
            [arguments('{"a": "' + "x" * 100), 1.0, arguments("x" * 100), *[2.0, arguments("x")] * 4], id="long"
        ),
        pytest.param([text("Wait"), *[2.0, arguments(" ")] * 5], id="words"),
    ],
)
async def test_a_call_that_moves_may_take_its_time(acts: list[Act]) -> None:
    """A call that is whole, has 200 characters, or follows words meets the first sentence's deadline."""
    asked, _ = await ask_raw(
        [HEAD, *acts[:1], data(delta(tool_calls=[CALL])), *acts[1:], data(delta("stop")), DONE], GOOD
    )
    assert isinstance(asked.end, vp.TurnCompleted)


async def test_a_script_without_full_stops_has_sentences() -> None:
    """Without a mark that ends it, text of 200 characters counts as a sentence, as in Thai."""
    words = [act for _ in range(60) for act in (text("\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35"), 0.15)]
    asked, _ = await ask_raw([HEAD, *words, END])

    assert isinstance(asked.end, vp.TurnCompleted)
    assert asked.took_s == 9.0


@pytest.mark.parametrize(
    "empty", [data(delta()), text(""), text(" \n"), arguments("")], ids=["nothing", "no text", "blanks", "no arguments"]
)
async def test_data_events_without_content_are_silence(empty: bytes) -> None:
    """After the first sentence, data events without text or call may arrive for 6 s, then the reply counts as cut."""
    asked, _ = await ask_raw([HEAD, text("One moment, please. Now"), 1.0, empty, "repeat"])

    assert isinstance(asked.end, vp.TurnFailed)
    assert isinstance(asked.end.error, vp.IncompleteReply)
    assert "the next words (6 s)" in str(asked.end.error)
    assert asked.end.heard.startswith("One moment, please.")
    assert asked.took_s == 6.0


async def test_words_that_dribble_in_after_the_first_sentence_are_heard() -> None:
    """A reply whose words arrive every 5 s is slow, but it moves."""
    words = [act for word in ("two ", "three ", "four.") for act in (2.5, data(delta()), 2.5, text(word))]
    asked, _ = await ask_raw([HEAD, text("One moment, please. One "), *words, END])

    assert isinstance(asked.end, vp.TurnCompleted)
    assert asked.took_s == 15.0


PARTS: list[Part] = [
    *map(TextDelta, ("Hello", " there", ".", " Dr", "!", " \n", "A whole sentence. And", "x" * 90)),
    *(ToolCallDelta(index=0, arguments=piece) for piece in ("", "{", "}", "y" * 90)),
    Unspoken(),
]


class Eager(Patience):
    """Looks for the first sentence with each part."""

    def saw(self, part: Part) -> None:
        super().saw(part)
        self._has_sentence()


@given(st.lists(st.tuples(st.sampled_from(PARTS), st.floats(0, 3), st.floats(0, 1)), max_size=40))
def test_the_first_sentence_can_be_looked_for_late(events: list[tuple[Part, float, float]]) -> None:
    """A wait ends at the same time, for the same reason, if the text is split only once that matters."""
    late, eager = Patience(vp.Deadlines(), 0.0), Eager(vp.Deadlines(), 0.0)
    now = 0.0
    for part, after_s, held_s in events:
        now += after_s + held_s
        for patience in (late, eager):
            patience.saw(part)
            patience.renew(now, held_s=held_s)
        assert (late.until, late.waits_for) == (eager.until, eager.waits_for)
