# ruff: noqa: RUF001 - signs of many kinds, look-alikes included
"""What a voice is given of a text."""

from __future__ import annotations

import re
import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from voicepipe.text.markup import PASSES, printable, spoken

WORDS = st.text(alphabet=st.sampled_from("abzAZéßя中 09.,;!?'\"()%$€°\n\t"), max_size=60)
# What every rule is made of, so that rules meet each other in all orders.
MARKS = st.lists(
    st.sampled_from(
        [
            "<",
            ">",
            "/",
            "b",
            "br",
            "&",
            "amp;",
            "lt;",
            "#38;",
            *"*_`[]()|-#\\\n x1!:=+•👍\ufe0f\u200c\u202e\x00ب",
            "**",
            "~~",
            "\\(",
            "\\)",
            "$",
            "^",
            "{",
        ]
    ),
    max_size=40,
).map("".join)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("**bold**, *leaning* and ***both***", "bold, leaning and both", id="asterisks"),
        pytest.param("__bold__ and _leaning_ “_quoted_”", "bold and leaning “quoted”", id="underscores"),
        pytest.param("~~old~~ new, about ~5", "old new, about ~5", id="struck out"),
        pytest.param("Is it **really?** **_Yes._**", "Is it really? Yes.", id="marks beside marks"),
        pytest.param("**Take this.", "Take this.", id="only the beginning"),
        pytest.param(" And that.**", " And that.", id="only the end"),
        pytest.param("**太字**です", "太字です", id="no space where none is written"),
        pytest.param("**Bold**text", "Bold text", id="words do not grow together"),
        pytest.param("2**10", "2 10", id="nor do numbers"),
        pytest.param("# Title", "Title", id="heading"),
        pytest.param("\n### Title\nText", "\nTitle\nText", id="heading in the middle"),
        pytest.param("\n- milk\n* eggs\n+ bread\n• tea", "\nmilk\neggs\nbread\ntea", id="bullets"),
        pytest.param("- [x] milk\n- [ ] eggs", "milk\neggs", id="tasks"),
        pytest.param("  - **Milk**: 2 l", "  Milk: 2 l", id="bullet further in"),
        pytest.param("> said\n>> again", "said\nagain", id="quotations"),
        pytest.param("> - # deep", "deep", id="marks of a line in a row"),
        pytest.param("A\n---\nB\n* * *\nC\n___\n", "A\n\nB\n\nC\n\n", id="rules"),
        pytest.param("Title\n=====", "Title\n", id="underlined heading"),
        pytest.param("| A | B |\n|---|:-:|\n| 1 | 2 |", "A, B\n\n1, 2", id="table"),
        pytest.param("Run `ls -l` now", "Run ls -l now", id="code"),
        pytest.param("```python\nprint(1)\n```", "\nprint(1)\n", id="fence"),
        pytest.param("See [the map](https://example.com/a_(b)?c=*d*).", "See the map.", id="link"),
        pytest.param("See [the map][1] ![of Oslo](map.png)", "See the map of Oslo", id="label and picture"),
        pytest.param("詳細は[こちら](x)です", "詳細はこちらです", id="link within words"),
        pytest.param("<https://example.com/a>", "https://example.com/a", id="address in brackets"),
        pytest.param(r"**So** \(x^2 \le 4\), *or* \(a<b\)", "So x² ≤ 4, or a < b", id="formulas"),
        pytest.param(r"\*not\* snake\_case \$5", "not snake_case $5", id="escapes"),
        pytest.param('Wait <break time="9s"/> now', "Wait  now", id="SSML"),
        pytest.param("<speak>Hi</speak><script>alert(1)</script>", "Hi alert(1)", id="tags beside each other"),
        pytest.param("One<br>two</b>, three", "One two, three", id="a tag stands for a space at most"),
        pytest.param("a <b and c> d", "a  d", id="whatever looks like a tag"),
        pytest.param("<!-- hidden --><?xml?><!DOCTYPE x>Hi", "Hi", id="comment and declarations"),
        pytest.param("<<b>break<i>/>Hi", "Hi", id="tags in tags"),
        pytest.param("<*break*/>Hi <`b`>ho", "Hi ho", id="tags that marks break up"),
        pytest.param('Stop <break time="9s"', 'Stop  break time="9s"', id="tag without end"),
        pytest.param("&lt;break time='9s'/&gt; Hi", " Hi", id="tag of entities"),
        pytest.param("&amp;lt;break&amp;gt; Hi", " Hi", id="tag of entities of entities"),
        pytest.param("Tom &amp; Jerry&#39;s", "Tom & Jerry's", id="entities"),
        pytest.param("Done 👍. Fine 👨‍👩‍👧 👍🏽 🇩🇪 ❤️ day", "Done. Fine day", id="emoji"),
        pytest.param("Done👍Next 1️⃣", "Done Next 1", id="emoji within words"),
        pytest.param("Write to <ann.b+c@mail.example.com>.", "Write to ann.b+c@mail.example.com.", id="mail address"),
        pytest.param("~~20~~15 dollars, ~~old~~new", "20 15 dollars, old new", id="struck out beside its successor"),
        pytest.param("`12``34`, `5`6, `code`s", "12 34, 5 6, codes", id="code beside code"),
        pytest.param("*see 12*, *12* and **34**, 2**10", "see 12, 12 and 34, 2 10", id="numbers in marks"),
        pytest.param("Done<b class='x y'>now</b> a<b and c>!", "Done now a!", id="a tag beside words"),
        pytest.param("dial *67 or *82#, *5 apples*", "dial *67 or *82#, 5 apples", id="keys"),
    ],
)
def test_markup_is_not_said(text: str, said: str) -> None:
    """Marks go, whether they are paired or not, and the words stay."""
    assert spoken(text) == said


@pytest.mark.parametrize(
    "text",
    [
        "3 * 4 = 12, 3*4, 2 < 3 and 3 > 2",
        "I <3 you, a < b",
        "snake_case in example.com/_next/a_b?x=1&copy=2#top",
        "C# and #5 and F#",
        "1. milk\n2. eggs",
        "It is -5 °C – or +3.",
        "Press * or #. (*)",
        "Dial *21*0170# now, *31*#, **61*123# or *#06#",
        "Your code is 1234*",
        "AT&T, R&D; Q&A;",
        "key = value, 5 | 6, a || b",
        "see [1] and row[1][2]",
        "★★★ for © 2024 Acme™, 5′ → ①",
        " \t two  spaces\n\n",
        "می‌خواهم क्‍ष",
        "",
    ],
)
def test_what_only_looks_like_markup_stays(text: str) -> None:
    """Signs that are said, or that stand for themselves, are left alone."""
    assert spoken(text) == text


def test_arithmetic_keeps_its_words() -> None:
    """Signs of arithmetic between words are no tag; a space after "<" keeps them from ever being one."""
    assert spoken("if x<y and y>z then") == "if x < y and y>z then"


@given(WORDS)
def test_text_without_markup_comes_back(text: str) -> None:
    """Nothing is changed where nothing is marked, white space included."""
    assert spoken(text) == text


@settings(max_examples=500)
@given(MARKS | st.text(max_size=40))
@example("&amp;" * 9 + "amp;amp;lt;b&gt;")
@example("\\" * 9 + "*" + "\n:" * 9)
@pytest.mark.slow
def test_clean_text_is_clean(text: str) -> None:
    """Cleaning twice is cleaning once, also for text made to get something past it."""
    said = spoken(text)
    assert spoken(said) == said


@settings(max_examples=500)
@given(MARKS)
@example("<" * 9 + "b>" * 9)
@example("&" + "amp;" * 9 + "lt;b/>")
@pytest.mark.slow
def test_no_tag_is_left(text: str) -> None:
    """No "<" is left that may begin a tag, alone or with the sentences after it; nor an entity that is one."""
    said = spoken(text)
    assert not re.search(r"<[A-Za-z/!?]", said)
    assert not re.search("&(lt|#0*60|#x0*3c);", said, re.IGNORECASE)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(["Rome", "5", "Überlingen", "中文"]), min_size=1, max_size=8), st.data())
@pytest.mark.slow
def test_words_are_never_lost(words: list[str], data: st.DataObject) -> None:
    """Whatever marks stand around words, each word is said."""
    marks = st.sampled_from(
        ["*", "**", "_", "__", "`", "~~", "\n- ", "\n> ", "\n# ", "|", "👍", " ", "\n---\n", "\x00"]
    )
    text = "".join(f"{data.draw(marks)}{word}{data.draw(marks)} " for word in words)
    assert re.findall(r"[^\W_]+", spoken(text)) == words


@given(st.text(alphabet=st.characters(), max_size=40))
def test_what_cannot_be_printed_goes(text: str) -> None:
    """No control, format, private or broken character is left, save newlines, tabs and joiners that are spelling."""
    for clean in (printable(text), spoken(text)):
        left = [c for c in clean if unicodedata.category(c)[0] == "C" and c not in "\n\t\u200c\u200d"]
        assert left == []


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        pytest.param("one\x00two\x1b", "one two ", id="controls"),
        pytest.param("a\u200bb\u00adc\ufeff", "abc", id="no width"),
        pytest.param("ab\u202edc\u2066x\u2069", "abdcx", id="direction"),
        pytest.param("a\ue000b\ud83dc\uffff", "abc", id="private, half, none"),
        pytest.param("a\r\nb\tc", "a \nb\tc", id="white space"),
        pytest.param("a\u200cb \u200d", "ab ", id="joiners without use"),
        pytest.param("\u0628\u061c\u200c\u0628", "\u0628\u0628", id="joiner beside a format character"),
        pytest.param("**so** <b>", "**so** <b>", id="markup"),
    ],
)
def test_printable_text_keeps_its_markup(text: str, clean: str) -> None:
    """Only what has no shape goes; a control character leaves a space."""
    assert printable(text) == clean


@pytest.mark.parametrize(
    "mark",
    [
        *(
            "<",
            "<b",
            "<a>",
            "<<a>",
            "a>",
            ">",
            "*",
            "*a",
            "*1 ",
            "_a",
            "[",
            "](",
            "[a](",
            "[](()",
            "&",
            "&amp;",
            "&#38",
        ),
        *("`", "|", "\n|", "> ", "- ", "# ", "\\", "\\*", "<*", "👍", "\u200c", "\x00", " ", "\n", "a*b<i>_&lt;"),
    ],
)
@pytest.mark.slow
def test_the_worst_text_takes_milliseconds(mark: str) -> None:
    """Nothing in here is quadratic: of 128 KiB of marks each costs what it costs in a short text.

    Processor time, with the bound far from both: a linear run takes some 60 ms, a quadratic one six seconds and more.
    """
    began_s = time.process_time()
    spoken("<" + mark * (128 * 1024 // len(mark)))
    spoken(mark * (128 * 1024 // len(mark)))
    assert time.process_time() - began_s < 3.0


def test_layers_of_marks_have_an_end() -> None:
    """Text that is still not clean after some passes loses every sign, and keeps its words."""
    said = spoken("Call &" + "amp;" * (PASSES + 2) + "lt;break&gt; me")
    assert re.findall(r"\w+", said) == ["Call", "amp", "amp", "lt", "break", "me"]
    assert not set("<>&") & set(said)
