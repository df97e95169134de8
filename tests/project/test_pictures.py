"""The pictures of the documentation show what the code does today."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from tests.project.pictures import CALLS, FOLDER, pictures

PAGES = {"states": "turns", "drafts": "latency", "turn": "latency", "talk": "talking"} | dict.fromkeys(CALLS, "turns")
"""Which page shows each picture. `turn` is drawn from a call that `make demo` has held in real time."""


def test_the_pictures_are_those_of_today() -> None:
    """Each call that is held, and the table of transitions, gives the picture that is in docs/pictures, to the byte."""
    stale = [name for name, content in pictures() if (FOLDER / name).read_text(encoding="utf-8") != content]
    assert stale == [], "look at what has changed, and run: python -m tests.project.pictures"


@pytest.mark.parametrize("name", PAGES)
def test_a_picture_can_be_shown(name: str) -> None:
    """It is small and loads nothing, a screen reader can read its title, and the page shows it with a text."""
    path = FOLDER / f"{name}.svg"
    content = path.read_text(encoding="utf-8")
    title = ET.fromstring(content).find("{http://www.w3.org/2000/svg}title")
    assert len(content) < 20_000
    assert "href" not in content
    assert "url(http" not in content
    assert title is not None
    assert title.text
    page = FOLDER.parent / f"{PAGES[name]}.md"
    shown = [line for line in page.read_text(encoding="utf-8").splitlines() if f"](pictures/{name}.svg)" in line]
    assert [line.startswith("![") and line.index("]") > 20 for line in shown] == [True]
