# ruff: noqa: RUF001 - signs of mathematics, look-alikes included
"""What a voice is given of a formula."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voicepipe.text.formulas import without_formulas
from voicepipe.text.markup import spoken
from voicepipe.text.sentences import SentenceSplitter

DELIMITERS = [r"\(", r"\)", r"\[", r"\]", "$$", "$"]
COMMANDS = [r"\frac{", r"\sqrt{", r"\sqrt[", r"\text{", r"\pi", r"\,", "\\\\"]
PIECES = st.sampled_from([*DELIMITERS, *COMMANDS, *"{}^_&<~[]x2 \n", "kilo"])


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (r"So \(x = 3\), or so.", "So x = 3, or so."),
        (r"It is \( \pi r^2 \).", "It is π r²."),
        (r"\[ a \times b \le 10^{12} \]", "a × b ≤ 10¹²"),
        ("$$E = mc^2$$ is it.", "E = mc² is it."),
        (r"That's $\alpha_1 \cdot x_{max}$ or $2^{n+1}$.", "That's α1 · x max or 2^n+1."),
        (r"\(\frac{a+b}{2}\) and \(\frac{\frac{1}{2}}{3}\)", "(a+b)/2 and (1/2)/3"),
        (r"\(x = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a}\)", "x = (-b ± √(b² - 4ac))/2a"),
        (r"\(\sqrt{2}\), \(\sqrt[3]{8}\)", "√2, ³√8"),
        (r"\(90^\circ\), \(20\%\), \(5\,\text{kg}\), \(\sin x\)", "90°, 20%, 5 kg, sin x"),
        (r"\(\left(a\right)\), \(a<b\)", "(a), a < b"),
        (r"\[\begin{aligned} a &= b \\ c &= d \end{aligned}\]", "a = b c = d"),
    ],
)
def test_a_formula_becomes_plain_signs(text: str, plain: str) -> None:
    """Delimiters and commands go; numbers, names and what has a sign of its own stay."""
    assert without_formulas(text) == plain
    assert spoken(text) == plain


@pytest.mark.parametrize(
    "text",
    [
        "It costs $5 and $6_00, or $7^a?",
        "A table is $$, the bar $$$.",
        "It's $$ or $$.",
        r"Open C:\new\text or D:\pi.",
        "Two (2) of [3] are {set} & a_b ^ c.",
    ],
)
def test_what_only_looks_like_a_formula_stays(text: str) -> None:
    """Amounts, price ranges, paths and brackets are no formula."""
    assert without_formulas(text) == text


def test_a_formula_on_lines_of_its_own_is_said_line_by_line() -> None:
    """A newline ends a sentence, so the delimiters arrive without the formula, and neither is said with its marks."""
    splitter = SentenceSplitter()
    said = [spoken(sentence) for sentence in splitter.feed("That is:\n\\[\nx = \\frac{a}{b}\n\\]\nOkay?")]

    assert [text.strip() for text in said if any(map(str.isalnum, text))] == ["That is:", "x = a/b", "Okay?"]


def test_a_formula_is_not_cut() -> None:
    """The dots and marks inside of a formula end no sentence, the one behind it does."""
    assert SentenceSplitter().feed(r"It is \(x = 2.5! + .5\). Next.") == [r"It is \(x = 2.5! + .5\).", " Next."]


@given(st.lists(PIECES, max_size=30).map("".join))
@example(r"\(" * 3 + r"\)" * 3)
@example("$$a$$$$b^2$$")
def test_a_plain_text_is_plain(text: str) -> None:
    """Cleaning twice is cleaning once, whatever is nested or left open, and words stay."""
    said = spoken(text)

    assert spoken(said) == said
    assert said.count("kilo") == text.count("kilo")


@pytest.mark.parametrize(
    "piece",
    [r"\(", r"\(a\)", "$$", "$a^", "$a^$ ", r"\frac{", r"\frac{a}{", r"\sqrt[", "{", "^", "_", "\\", r"\a{" + "\n"],
)
@pytest.mark.slow
def test_the_worst_formula_takes_milliseconds(piece: str) -> None:
    """Nothing is quadratic: of 128 KiB each piece costs what it costs in a short text, in a formula or out of one."""
    text = piece * (128 * 1024 // len(piece))
    began_s = time.process_time()
    without_formulas(text)
    without_formulas(rf"\({text}\)")
    assert time.process_time() - began_s < 3.0
