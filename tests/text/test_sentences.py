# ruff: noqa: RUF001 - marks of many scripts, look-alikes included
"""The sentence splitter, a table per reason to hold a mark. No text here comes from anywhere else."""

from __future__ import annotations

import re
import sys
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voicepipe.text.sentences import SentenceSplitter

_TOKEN: Final = re.compile(r" ?\w+|\s+|\.+|.", re.DOTALL)


def spoken(text: str) -> list[str]:
    """Return the sentences of a text that comes as words with their leading space and single marks."""
    splitter = SentenceSplitter()
    sentences = [sentence for delta in _TOKEN.finditer(text) for sentence in splitter.feed(delta.group())]
    return [sentence.strip() for sentence in [*sentences, *splitter.flush()]]


def test_a_reply_full_of_dots() -> None:
    """Titles, prices, times and acronyms of one reply do not end its sentences."""
    sentences = [
        "Dr. Smith paid $3.50 for it at 9 a.m. on Monday.",
        "The U.S. office closed at 5.30 that day.",
        "Anything else?",
    ]

    assert spoken(" ".join(sentences)) == sentences


@pytest.mark.parametrize(
    "deltas",
    [
        ["Sure", "!"],
        ["I", " moved", " it", " to", " this", " morning", "."],
        ["Is", " that", " all", "?"],
        ["We", " meet", " on", " Monday", "."],
        ["Your", " total", " is", " $", "18", ".", "40", "."],
        ["We", " met", " in", " 2019", "."],
        ["Alle", " 16.30", "."],
        ["À", " 15", " h", " 30", "."],
        ["See", " you", " on", " the", " 5th", "."],
        ["Have", " you", " tried", " Acme.com", "?"],
        ["Hi", " :)", " there", "."],
        ["Yes", ",", " I", " am", "."],
        ["Il", " dit", " «", " oui", " »", "."],
        ["On", " the", " 5th", ",", " 2024", "."],
        ["Closed", " on", " Jan", ".", " ", "1", "."],
        ["Since", " May", " 2024", "."],
        ["Sunny", " ☀", " today", "."],
        ["Glad", " to", " help", "."],
        ["你", "好", "。"],
        ["ठीक", " है", "।"],
        ["*", "Great", "!*"],
    ],
)
def test_a_plain_mark_needs_no_lookahead(deltas: list[str]) -> None:
    """A sentence goes out with the very delta that ends it, and with nothing before."""
    splitter = SentenceSplitter()

    assert [splitter.feed(delta) for delta in deltas] == [[] for _ in deltas[1:]] + [["".join(deltas)]]


@pytest.mark.parametrize(
    ("deltas", "decided_by"),
    [
        (["There are 14", "."], " Tw"),
        (["It closes at 5 p.m", "."], " Ti"),
        (["He moved to the U.S", "."], " He "),
        (["One moment", "..."], " S"),
        (["Visit example", "."], " I"),
        (["I saw it at Lumo", "!"], " L"),
        (["I saw it on Yahoo", "!"], " I "),
        (["What", "?"], " I"),
        (["So", "...."], " W"),
        (["That is it.T"], "hese "),
        (["No", "!!!"], " W"),
        (["I like tea and", "."], " W"),
        (["Pan, queso, etc", "."], " ¿"),
        (['Then—"No', "."], '" T'),
        (["Opening hours"], "\n"),
        (["Press 'Next", "."], "' T"),
        (["It is in bay 12", "."], " 12 "),
        (["It weighs 5 kg", "."], " 4"),
        (["Take 2 sach", "."], " T"),
        (["It costs 5 $"], "."),
        (["It is in row F", "."], " P"),
        (["He came to Elm St", "."], " Don't"),
        (["C'est la porte K", "."], " E"),
        (["The answer is no", "."], " Pl"),
    ],
)
def test_a_held_mark_waits_no_longer_than_it_must(deltas: list[str], decided_by: str) -> None:
    """What is held goes out with the first delta that decides, and not with the one before."""
    splitter = SentenceSplitter()

    assert [splitter.feed(delta) for delta in [*deltas, *decided_by[:-1]]] == [[] for _ in [*deltas, *decided_by[:-1]]]
    assert len(splitter.feed(decided_by[-1])) == 1


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        (["Where", "?", "!", " Yes", "!", "!", " Good", "."], ["Where?", "!", " Yes!!", " Good."]),
        (["I", " will", ".", ".", ".", " Done", ".", ".", ".", " Bye"], ["I will.", "..", " Done...", " Bye"]),
        (["It is", ".", ".", "\n", "So"], ["It is.", ".", "\nSo"]),
        (["It is", ".", "."], ["It is.", "."]),
        (["I use Lumo", ".", "app", "."], ["I use Lumo.app."]),
    ],
)
def test_marks_that_come_late_begin_no_sentence(deltas: list[str], expected: list[str]) -> None:
    """Further marks of a sentence that has gone out go after it by themselves; from then on marks wait for them."""
    splitter = SentenceSplitter()

    assert [sentence for delta in deltas for sentence in splitter.feed(delta)] + splitter.flush() == expected


def test_an_emoji_stays_with_its_sentence_once_one_was_seen() -> None:
    """The first emoji after a mark comes too late, because the mark does not wait; from then on marks do."""
    splitter = SentenceSplitter()
    deltas = ["Sure", "!", " 🎉", " Done", "!", " 👍", " Bye", "."]

    assert [splitter.feed(delta) for delta in deltas] == [[], ["Sure!"], [], [], [], [], [" 🎉 Done! 👍"], []]


def test_an_emoji_in_the_same_delta_is_seen_as_well() -> None:
    """An emoji that came with its sentence makes the next mark wait, too."""
    splitter = SentenceSplitter()

    assert splitter.feed("Hi! 🎉 Sure") == ["Hi! 🎉"]
    assert splitter.feed("!") == []


def test_scripts_with_spaces_abbreviate_with_dots() -> None:
    """A dot inside a word is no end, also where letters have no capitals."""
    assert SentenceSplitter().feed("यह 5 कि.मी. दूर है।") == ["यह 5 कि.मी. दूर है।"]


def test_a_stream_that_spells_is_cut_as_well_as_tokens() -> None:
    """Where every delta is a character a mark waits for the next one, which comes at once."""
    splitter = SentenceSplitter()

    assert [sentence for letter in "Let me see... Done!! Bye" for sentence in splitter.feed(letter)] == [
        "Let me see...",
        " Done!!",
    ]


def test_a_newline_forgets_what_was_left_open() -> None:
    """A quote that nobody closed costs its own line, not the rest of the reply."""
    splitter = SentenceSplitter()

    assert [splitter.feed(delta) for delta in ['"Go.', "\n", "Stop", "."]] == [[], ['"Go.'], [], ["\nStop."]]


def test_a_quote_that_never_closes_is_forgotten() -> None:
    """A stray quote makes the marks of some sentences wait for one word, not those of the whole reply."""
    splitter = SentenceSplitter()

    assert splitter.feed('It is 5" wide and "') == []
    assert splitter.feed("so on " * 60 + "it goes.") != []


# --- release and flush ------------------------------------------------------------------------------------------------


COMPLETE: Final = [
    "There are 14.",
    "The answer is no.",
    "I called the Dr.",
    "Tea, milk, etc.",
    "Wait . . .",
    "It opens at 9 a.m.",
    "One moment...",
    "No.",
    "I am in the U.S.",
    "She said “Go.”",
]


@pytest.mark.parametrize("text", COMPLETE)
def test_release_gives_out_what_may_stand(text: str) -> None:
    """A held sentence that looks complete is released, and the white space after it stays."""
    splitter = SentenceSplitter()

    assert splitter.feed(text + " ") == []
    assert splitter.release() == [text]
    assert splitter.flush() == [" "]


HALF: Final = ["", "Let me", "I asked Dr.", "Ask J.", "1.", "That is it.T", "Run `a."]
OPEN: Final = ["She said “Go.", "There are 14. S'", "The U.S. A", "(There are 14."]


@pytest.mark.parametrize("text", [*HALF, *OPEN])
def test_release_keeps_what_is_unfinished(text: str) -> None:
    """Nothing that visibly goes on is cut by a pause, and it comes out whole later."""
    splitter = SentenceSplitter()
    before = splitter.feed(text)

    assert splitter.release() == []
    assert "".join(before + splitter.flush()) == text


def test_flush_gives_out_everything() -> None:
    """An unfinished sentence and a held one come out with a flush."""
    for text in ["Half a sent", "I asked Dr.", "(open", " ", "\n\n", "..."]:
        splitter = SentenceSplitter()
        assert splitter.feed(text) == []
        assert splitter.flush() == [text]


def test_flush_decides_by_the_last_word() -> None:
    """The last word of a text is complete at its end, so it decides about the mark before it."""
    splitter = SentenceSplitter()

    assert splitter.feed("He moved to the U.S. He") == []
    assert splitter.flush() == ["He moved to the U.S.", " He"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", "<SentenceSplitter empty>"),
        ("Let me", "<SentenceSplitter holds 'Let me': no end yet>"),
        ("It's 3.", '<SentenceSplitter holds "It\'s 3.": a number may go on>'),
        ("Ask Dr. ", "<SentenceSplitter holds 'Ask Dr. ': something follows this abbreviation>"),
    ],
)
def test_repr_shows_what_is_held_and_why(text: str, shown: str) -> None:
    """The repr names the pending text and the reason."""
    splitter = SentenceSplitter()
    splitter.feed(text)

    assert repr(splitter) == shown


def test_repr_stays_short() -> None:
    """Of a long pending text the end is shown."""
    splitter = SentenceSplitter()
    splitter.feed("a" * 5000 + " 3.")
    splitter.feed(" " * 5000)

    assert len(repr(splitter)) < 250


@pytest.mark.parametrize("start", ["It is 3.", "So...", "At 9 a.m.", "Acme Inc.", "Ask Dr.", "1.", "Say “no.", "No!!!"])
@pytest.mark.parametrize("fill", [" ", "“", "!", ".", "😀", " .", " 😀", "—", "*", ")", "A", "\ufe0f"])
def test_a_hold_ends_whatever_follows(start: str, fill: str) -> None:
    """No run of anything keeps a mark held for long: its sentence goes out, or it was no end and the text goes on."""
    splitter = SentenceSplitter()
    splitter.feed(start)

    assert any(splitter.feed(fill) or "no end yet" in repr(splitter) for _ in range(50))


# --- any text at all --------------------------------------------------------------------------------------------------

WORDS: Final = st.sampled_from(
    ["Dr", "no", "a.m", "U", "S", "He", "it", "3", "12", "²", "Part", "kg", "Jan", "example", "com", "はい", "है"]
)
MARKS: Final = st.sampled_from([*".!?…。？।؟ \n\t\"'“”«»()[]*_`-,:/@€😀\u2028\ufe0f", "...", "\r\n"])
TEXT: Final = st.lists(WORDS | MARKS | st.text(max_size=3), max_size=40).map("".join)
LANGUAGE: Final = st.sampled_from([None, "en", "de", "fr", "ja", ""])


@st.composite
def divided(draw: st.DrawFn) -> list[str]:
    """Any text, cut anywhere."""
    text = draw(TEXT)
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=10)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@given(divided(), LANGUAGE, st.data())
def test_every_character_comes_out_once_and_in_order(
    deltas: list[str], language: str | None, data: st.DataObject
) -> None:
    """However a text is cut, and whenever a release falls in, the sentences add up to it."""
    splitter = SentenceSplitter(language)
    out: list[str] = []
    for delta in deltas:
        out += splitter.feed(delta)
        if data.draw(st.booleans()):
            out += splitter.release()
    out += splitter.flush()

    assert "".join(out) == "".join(deltas)
    assert "" not in out
    assert repr(splitter) == "<SentenceSplitter empty>"


@given(TEXT)
def test_characters_one_by_one(text: str) -> None:
    """A text that arrives character by character is complete as well."""
    splitter = SentenceSplitter()

    assert "".join([s for character in text for s in splitter.feed(character)] + splitter.flush()) == text


@given(divided())
def test_no_sentence_ends_in_white_space(deltas: list[str]) -> None:
    """White space leads the sentence after it, so only a flush can end with some."""
    splitter = SentenceSplitter()

    for delta in deltas:
        for sentence in [*splitter.feed(delta), *splitter.release()]:
            assert sentence == sentence.rstrip()


@example(["(so"], ["Go."])
@example(["There are 14."], [" ²."])
@example(["..."], ['"Go."'])
@given(divided(), divided())
def test_a_flushed_splitter_is_as_new(before: list[str], deltas: list[str]) -> None:
    """What was said before a flush has no influence on what is cut after it."""
    used, new = SentenceSplitter(), SentenceSplitter()
    for delta in before:
        used.feed(delta)
    used.flush()

    assert [used.feed(delta) for delta in deltas] == [new.feed(delta) for delta in deltas]
    assert used.flush() == new.flush()


# --- cost -------------------------------------------------------------------------------------------------------------


def calls_for(text: str) -> int:
    """Return how many functions are called while `text` arrives character by character."""
    splitter, calls = SentenceSplitter(), 0

    def count(_frame: object, event: str, _value: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        for character in text:
            splitter.feed(character)
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize(
    "piece",
    ["word ", "longword", "3.", "a. b ", "(go. on ", "Dr. ", "wait… so ", "U.S. and ", "語", "`a. B` ", "“a. b "],
)
@pytest.mark.slow
def test_the_work_is_linear(piece: str) -> None:
    """Twice as much text without an end of a sentence is twice as many calls, whatever is pending."""
    calls = [calls_for("So " + piece * count) for count in (1000, 2000)]

    assert 0 < 1.9 * calls[0] < calls[1] < 2.1 * calls[0]
