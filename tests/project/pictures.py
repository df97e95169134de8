"""The pictures of the documentation, from calls that are held for them and from the table of transitions.

python -m tests.project.pictures    # writes docs/pictures
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.project.draft_picture import drafts
from tests.project.lanes import Call, drawn
from tests.project.state_picture import states
from tests.project.talk_picture import talking
from voicepipe.testing import ScriptedUser, run_on_virtual_time

__all__ = ["FOLDER", "pictures"]

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"

WEATHER = "It is 22 degrees in Lyon and tomorrow it rains."


def asks() -> ScriptedUser:
    return ScriptedUser().says("What is the weather?", at_s=1.8, speech_s=1.4, silence_s=0.2)


CALLS = {
    "interruption": Call(
        "An interruption: a sound pauses the agent after 0.3 s, and the first word ends its reply.",
        asks().interrupts("Stop. And in Nice?", at_s=3.8, for_s=1.2),
        [WEATHER, "There it is 25 degrees."],
        7.2,
    ),
    "backchannel": Call(
        'A back-channel: "mhm" pauses the agent, which goes on at the word that was cut.',
        asks().hums("Mhm.", at_s=3.6),
        [WEATHER],
        7.2,
    ),
    "cough": Call(
        "Two coughs: one withholds a reply that was not heard yet, one pauses it. Each word is heard.",
        asks().coughs(at_s=2.1, for_s=0.5).coughs(at_s=4.45, for_s=0.5),
        [WEATHER],
        8.2,
    ),
    "number": Call(
        "A number in two breaths: the agent waits for the rest, and answers all of it at once.",
        ScriptedUser()
        .says("My code is seven eight", at_s=2.0, speech_s=1.5, silence_s=0.2)
        .says("nine one six", at_s=3.5, speech_s=0.8, silence_s=0.2),
        ["I have found your order."] * 2,
        6.4,
    ),
}


def pictures() -> Iterator[tuple[str, str]]:
    """Yield the name and the content of each picture."""
    yield "states.svg", states()
    yield "drafts.svg", run_on_virtual_time(drafts)
    yield "talk.svg", run_on_virtual_time(talking)
    for name, call in CALLS.items():
        yield f"{name}.svg", run_on_virtual_time(partial(drawn, call))


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, content in pictures():
        (FOLDER / name).write_text(content, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
