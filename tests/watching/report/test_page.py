"""The page of a call: whole, private, and with nothing in it that could run or reach out."""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64decode, b64encode
from hashlib import sha256
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.recorded_calls import MARKUP
from voicepipe.watching.report.content import without_content
from voicepipe.watching.report.page import filled, json_block, page
from voicepipe.watching.report.records import Records, read_records
from voicepipe.watching.report.story import Story, story_of
from voicepipe.watching.report.waterfall import waterfall_svg

if TYPE_CHECKING:
    from pathlib import Path

SVG = "{http://www.w3.org/2000/svg}"


class Elements(HTMLParser):
    """The elements of a page as a browser finds them, each with its attributes and its text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.found:
            tag, attributes, text = self.found[-1]
            self.found[-1] = (tag, attributes, text + data)

    def of(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, text) for name, attributes, text in self.found if name == tag]

    def block(self, name: str) -> str:
        return next(text.strip() for attributes, text in self.of("script") if attributes.get("id") == name)

    @property
    def call(self) -> dict[str, Any]:
        return json.loads(self.block("call"))


@pytest.fixture(scope="module")
def records(recording: Path) -> Records:
    return read_records(recording)


@pytest.fixture(scope="module")
def story(records: Records) -> Story:
    return story_of(records)


@pytest.fixture(scope="module")
def html(records: Records, story: Story) -> Elements:
    return Elements(page(records, story, figures=[("Turns", "5")]))


@pytest.mark.slow
def test_the_page_is_whole_by_itself(html: Elements) -> None:
    """It names no file and no address: no image, no link, no frame, no source, no attribute that is a script."""
    attributes = {name for _, given, _ in html.found for name in given}
    assert not {"src", "href", "action", "style"} & attributes
    assert [name for name in attributes if name.startswith("on")] == []
    assert not {"link", "img", "iframe", "object", "base", "form"} & {tag for tag, _, _ in html.found}


@pytest.mark.slow
def test_only_the_script_of_the_page_may_run(html: Elements) -> None:
    """The policy names the hash of the one script and the one style; nothing else runs, loads or is sent."""
    (policy,) = [one["content"] for one, _ in html.of("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    (script,) = [text for attributes, text in html.of("script") if "type" not in attributes]
    ((_, style),) = html.of("style")
    # What stands between the end of the script and the next element counts as its text here.
    script, style = script.rstrip() + "\n", style.rstrip() + "\n"
    hashes = [b64encode(sha256(text.encode()).digest()).decode() for text in (script, style)]
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; media-src blob:; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def test_words_that_look_like_markup_stay_words(html: Elements, story: Story) -> None:
    """A caller who says the end of a script is shown saying it."""
    call = html.call
    assert call["turns"][4]["user"] == f"Thanks. {MARKUP}"
    assert [turn["heard"] for turn in call["turns"]] == [turn.heard for turn in story.turns]


def test_messages_that_requests_share_are_there_once(html: Elements, story: Story) -> None:
    """Each request names its messages by number, in their order."""
    call = html.call
    sent = [[call["messages"][number] for number in one["messages"]] for one in call["turns"][2]["requests"]]
    assert sent == [list(one.messages) for one in story.turns[2].requests]
    everything = [number for turn in call["turns"] for one in turn["requests"] for number in one["messages"]]
    assert len({json.dumps(one) for one in call["messages"]}) == len(call["messages"]) < len(everything)


def test_the_sound_is_in_it_once(html: Elements) -> None:
    """Both sides are there, as long as the call."""
    for side in ("caller", "agent"):
        assert len(zlib.decompress(b64decode(html.block(f"sound-{side}")))) == 32 * 8_000
        assert len(zlib.decompress(b64decode(html.block(f"shape-{side}")))) == 32 * 100 * 2


def test_a_page_without_content_has_neither_words_nor_sound(records: Records, story: Story) -> None:
    """Nothing that was said is anywhere in the file, nor a fact of the session, nor an argument of a tool."""
    text = page(records, without_content(story), with_audio=False)
    text = re.sub(r'<script type="text/plain" id="shape-.*?</script>', "", text)  # base64, which may spell anything
    words = ("euros", "gold", "Thank", "Mhm", "seven eight", "Lyon", 'id="sound-caller"')
    assert [word for word in words if word in text] == []
    assert "price" in text


TEXTS = st.text(max_size=6) | st.sampled_from(["</script>", "<!--", "<script", "]]>", "\u2028", "\ud800"])


@given(st.lists(TEXTS, max_size=4), st.dictionaries(TEXTS, TEXTS, max_size=2))
def test_no_words_end_the_block_they_are_in(words: list[str], named: dict[str, str]) -> None:
    """Whatever is put into a script element comes out of it, and nothing after it changes."""
    value = [words, named]
    text = f'<script type="application/json">{json_block(value)}</script><b>after</b>'
    assert text.encode()
    block, after = Elements(text).found
    assert json.loads(block[2]) == value
    assert after == ("b", {}, "after")


def test_a_value_is_not_a_template() -> None:
    """What looks like a name in braces within a value stays as it is."""
    assert filled("{{one}} {{two}}", {"one": "{{two}}", "two": "2"}) == "{{two}} 2"


def test_a_side_alone_has_one_wave(records: Records, story: Story) -> None:
    """Of a recording of one side, or without audio, the page shows what there is."""
    for sides in (("agent",), ()):
        alone = Records(
            name="call",
            manifest=records.manifest,
            events=records.events,
            rate=records.rate,
            sides=sides,
            audio=records.audio,
        )
        call = Elements(page(alone, story)).call
        assert (call["sides"], call["rate"]) == (list(sides), 8_000 if sides else 0)


def test_a_waterfall_is_a_picture_of_the_wait(story: Story) -> None:
    """It is well-formed SVG, has a bar for each contribution, and is the same each time; words are only words."""
    answered = [turn for turn in story.turns if turn.spans]
    text = waterfall_svg(answered)
    root = ET.fromstring(text)
    words = [one.text or "" for one in root.iter(f"{SVG}text")]
    assert words[:2] == ["Turn 2: 700 ms until the caller hears the agent", "“How much is the tea?”"]
    names = ("Silence", "Model", "Sentence", "Voice", "Lead-in")
    assert [one for one in words if one in names][:5] == list(names)
    assert {"200 ms", "250 ms", "60 ms", "150 ms", "40 ms"} <= set(words)
    assert f"“Thanks. {MARKUP}”" in words
    assert waterfall_svg(answered) == text
    bars = [one for one in root.iter(f"{SVG}rect") if one.get("class") != "page"]
    assert len(bars) == sum(len(turn.spans) for turn in answered)
