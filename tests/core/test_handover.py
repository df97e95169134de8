"""What one part hands over to the next is checked there."""

from __future__ import annotations

import math
from typing import Any, Never, cast

import pytest

import voicepipe as vp
from voicepipe.core.handover import checked, checker

NAN = math.nan


@pytest.mark.parametrize("kind", [vp.Sentence, vp.Sentence | vp.TextDelta, Any, Never])
def test_what_a_part_says_it_sends_passes(kind: object) -> None:
    """An item of the right kind passes, and anything passes where the kind is unknown."""
    checker(kind, "Shout")(vp.Sentence("Hello."))


@pytest.mark.parametrize(
    ("kind", "names"), [(vp.Sentence, "Sentence"), (vp.Sentence | vp.TextDelta, "Sentence or TextDelta")]
)
def test_another_kind_is_refused_by_name(kind: object, names: str) -> None:
    """The error names the part that sent it, what it may send, and what it sent."""
    with pytest.raises(vp.StageError, match=rf"^Shout must send {names}, not str$") as caught:
        checker(kind, "Shout")("Hello.")
    assert caught.value.part == "Shout"


@pytest.mark.parametrize(
    "item",
    [
        vp.SpeechStarted(at_s=NAN),
        vp.SpeechEnded(at_s=math.inf),
        vp.Transcript("Hello.", NAN, 1.0),
        vp.Transcript("Hello.", 1.0, -math.inf),
        vp.Transcript("Hello.", 1.0, 1.0, (vp.Word("Hello.", 0.5, NAN, 1.0),)),
        vp.AudioFrame(pcm=b"", sample_rate=16_000, start_s=NAN),
        vp.WordMark(char_end=3, end_s=NAN),
        vp.SpeechStarted(at_s=cast("float", "1.0")),
    ],
    ids=lambda item: type(item).__name__,
)
def test_times_that_are_no_numbers_are_refused(item: object) -> None:
    """A time that is not a finite number is refused where it is handed over, not where it is counted with."""
    with pytest.raises(vp.StageError, match=r"^Ears sent a .* is not a number of seconds, but"):
        checked(item, "Ears")


@pytest.mark.parametrize("item", [vp.Sentence(cast("str", None)), vp.TextDelta(cast("str", b"Hello."))])
def test_texts_that_are_none_are_refused(item: object) -> None:
    """A text has to be a str."""
    with pytest.raises(vp.StageError, match="whose text is not str, but"):
        checked(item, "Shout")
