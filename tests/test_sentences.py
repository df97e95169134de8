# ruff: noqa: RUF001 - marks of many scripts, look-alikes included
"""The sentence splitter, a table per reason to hold a mark. No text here comes from anywhere else."""

from __future__ import annotations

import re
import statistics
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voicepipe.sentences import SentenceSplitter

_TOKEN = re.compile(r" ?\w+|\s+|\.+|.", re.DOTALL)


def tokens(text: str) -> list[str]:
    """Cut as models do: words with their leading space, punctuation alone, dots in a row together."""
    return _TOKEN.findall(text)


def spoken(deltas: Iterable[str], language: str | None = None) -> list[str]:
    """Return all sentences without the white space around them."""
    splitter = SentenceSplitter(language)
    sentences = [sentence for delta in deltas for sentence in splitter.feed(delta)]
    return [sentence.strip() for sentence in [*sentences, *splitter.flush()] if sentence.strip()]


# Texts with a bar at every cut to be found, by the reason why their marks are no easy ones.
EXACT: Final = [
    ("plain", "I moved it to this morning.|Shall I do more?|Great!|Bye."),
    ("plain", "Nothing to cut here"),
    ("decimal", "It's 3.5 miles.|Take a cab."),
    ("decimal", "There are 14.|Two are new."),
    ("decimal", "It rose by 2.5% since May.|Good news."),
    ("whole number", "Your total is $18.40.|Pay now?"),
    ("whole number", "Call 555-0142.|Ask for Mia."),
    ("title", "Ask Dr. Lund or Mrs. Okoro.|Both are in."),
    ("title", "Prof. Vance, e.g. in May, teaches.|Ask her."),
    ("counted", "Take bus no. 12 from here.|It is quick."),
    ("counted", "The answer is no.|Sorry."),
    ("counted", "No.|We are closed."),
    ("counted", "See fig. 4 there.|It helps."),
    ("abbreviation", "Acme Inc. ships to Elm St. in Dover.|It takes a day."),
    ("abbreviation", "Bring pens, paper, etc.|You will need them."),
    ("abbreviation", "We close on Dec. 24 and Sun. mornings.|Come before."),
    ("abbreviation", "It is on Palm Blvd. near the pier.|You will see it."),
    ("acronym", "The U.S. office is shut.|Try again."),
    ("acronym", "He moved to the U.K.|He likes it."),
    ("acronym", "A Ph.D. Program starts.|Join."),
    ("time", "It opens at 9 a.m. on Monday.|Come early."),
    ("time", "It closes at 5 p.m.|Tickets are free."),
    ("time", "Call at 8 a.m. Eastern.|Or later."),
    ("initial", "Ask J. P. Moreau for it.|He knows."),
    ("initial", "It is for you and I.|We share."),
    ("initial", "J. A. Blum called.|Call back."),
    ("ordinal", "Er kommt am 12. Juni an.|Danke."),
    ("ordinal", "In der 4. Etage ist er.|Danke."),
    ("site", "Visit example.com for it.|It is free."),
    ("site", "Write to jo.doe@example.org.|She answers."),
    ("site", "Have you tried Example.net?|It is cheap."),
    ("site", "Go to example.com/a?b=1.2 now.|Log in."),
    ("site", "Open the file report.txt there.|Read it."),
    ("id", "Your code is B7.C9.|Keep it."),
    ("id", "Update to 12.4.1.|Then restart."),
    ("ellipsis", "Let me see...|Here it is."),
    ("ellipsis", "Well... maybe not.|Sorry."),
    ("ellipsis", "Hold on…|Found it."),
    ("ellipsis", "Wait . . . there it is.|Good."),
    ("quote", 'She said "Stop."|Then she left.'),
    ("quote", "“Really?” she asked.|“Yes.”|He nodded."),
    ("quote", "Press 'Next.'|Then wait."),
    ("quote", "„Komm mit.“|Er ging."),
    ("quote", "« Oui. »|Elle part."),
    ("quote", "It is full (so they say.) but open.|Go in."),
    ("quote", "*Good idea!*|I will add it."),
    ("newline", "Opening hours|We open at nine.|Parking|It is free."),
    ("newline", "1. Red|2. Blue|3. Dr. Green's|Pick one."),
    ("newline", "- Tea|- Milk|That is all."),
    ("newline", "a. The red one|b. The blue one|Pick one."),
    ("wide", "明日は晴れです。|傘は要りません。"),
    ("wide", "「はい。行きます。」と言った。|では。"),
    ("wide", "他说：“好。”|然后走了。"),
    ("wide", "好吗？|好！"),
    ("other scripts", "कल मिलते हैं।|ठीक है?"),
    ("other scripts", "هل تريد المزيد؟|نعم."),
    ("other scripts", "ሰላም።|ደህና ነኝ።"),
    ("other scripts", "Который час?|Уже пять.|Пора."),
]
GLUED: Final = {"wide"}  # scripts without white space between sentences
CUTS: Final[dict[str, Callable[[str], list[str]]]] = {
    "tokens": tokens,
    "characters": list,
    "whole": lambda text: [text],
}
CASES: Final = [
    pytest.param(text.split("|"), kind, cut, id=f"{kind}-{number}-{name}")
    for number, (kind, text) in enumerate(EXACT)
    for name, cut in CUTS.items()
    if (kind, name) != ("ellipsis", "characters")  # its first dot alone would be a full stop
]


@pytest.mark.parametrize(("sentences", "kind", "cut"), CASES)
def test_sentences_are_found_again(sentences: list[str], kind: str, cut: Callable[[str], list[str]]) -> None:
    """Joined sentences are cut where they were joined, in tokens, in characters and at once."""
    glue = "" if kind in GLUED else "\n" if kind == "newline" else " "

    assert spoken(cut(glue.join(sentences))) == sentences


def test_a_reply_full_of_dots() -> None:
    """Titles, prices, times and acronyms of one reply do not end its sentences."""
    sentences = [
        "Dr. Smith paid $3.50 for it at 9 a.m. on Monday.",
        "The U.S. office closed at 5.30 that day.",
        "Anything else?",
    ]

    assert spoken(tokens(" ".join(sentences))) == sentences


@pytest.mark.parametrize(
    "deltas",
    [
        ["Sure", "!"],
        ["I", " moved", " it", " to", " this", " morning", "."],
        ["Is", " that", " all", "?"],
        ["We", " meet", " on", " Monday", "."],
        ["Your", " total", " is", " $", "18", ".", "40", "."],
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
        (["Visit example", "."], " "),
        (["Opening hours"], "\n"),
        (["Press 'Next", "."], "' T"),
    ],
)
def test_a_held_mark_waits_no_longer_than_it_must(deltas: list[str], decided_by: str) -> None:
    """What is held goes out with the first delta that decides, and not with the one before."""
    splitter = SentenceSplitter()

    assert [splitter.feed(delta) for delta in [*deltas, *decided_by[:-1]]] == [[] for _ in [*deltas, *decided_by[:-1]]]
    assert len(splitter.feed(decided_by[-1])) == 1


@pytest.mark.parametrize(
    ("language", "text", "sentences"),
    [
        ("de", "Die 3. Etage, bzw. Etage vier. Gut.", ["Die 3. Etage, bzw. Etage vier.", "Gut."]),
        ("de", "Es sind 7. Kann ich helfen?", ["Es sind 7.", "Kann ich helfen?"]),
        ("es", "La Sra. Vega llega. Un momento.", ["La Sra. Vega llega.", "Un momento."]),
        ("it", "Il dott. Neri arriva. Va bene?", ["Il dott. Neri arriva.", "Va bene?"]),
        ("pt-BR", "A Dra. Lima chega. Tudo bem?", ["A Dra. Lima chega.", "Tudo bem?"]),
        ("en", "Check the doc. Then call.", ["Check the doc.", "Then call."]),
        ("xx", "Ask Dr. Lund. Good.", ["Ask Dr. Lund.", "Good."]),
        ("cs", "Otevři doc. Novák.", ["Otevři doc. Novák."]),
    ],
)
def test_the_language_chooses_the_abbreviations(language: str, text: str, sentences: list[str]) -> None:
    """A language brings its own abbreviations and ordinals; an unknown one is treated as None."""
    assert spoken(tokens(text), language) == sentences


def test_marks_that_come_late_lead_the_next_sentence() -> None:
    """Further marks after a sentence has gone out are no sentence of their own."""
    splitter = SentenceSplitter()

    assert [splitter.feed(delta) for delta in ["What", "?", "!", " Yes", "."]] == [[], ["What?"], [], [], ["! Yes."]]


def test_a_newline_forgets_what_was_left_open() -> None:
    """A quote that nobody closed costs its own line, not the rest of the reply."""
    splitter = SentenceSplitter()

    assert [splitter.feed(delta) for delta in ['"Go.', "\n", "Stop", "."]] == [[], ['"Go.'], [], ["\nStop."]]


# --- release and flush ------------------------------------------------------------------------------------------------


COMPLETE: Final = ["There are 14.", "It opens at 9 a.m.", "One moment...", "No.", "I am in the U.S.", "She said “Go.”"]


@pytest.mark.parametrize("text", COMPLETE)
def test_release_gives_out_what_may_stand(text: str) -> None:
    """A held sentence that looks complete is released, and the white space after it stays."""
    splitter = SentenceSplitter()

    assert splitter.feed(text + " ") == []
    assert splitter.release() == [text]
    assert splitter.flush() == [" "]


HALF: Final = ["", "Let me", "I asked Dr.", "Take no.", "Ask J.", "1."]
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


# --- any text at all --------------------------------------------------------------------------------------------------

WORDS: Final = st.sampled_from(
    ["Dr", "no", "a.m", "U", "S", "He", "it", "3", "12", "Jan", "example", "com", "はい", "है"]
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


class Watched(str):
    """A character that counts how often it is looked at: looked up in a table, or asked what it is."""

    looks = 0

    def __hash__(self) -> int:
        Watched.looks += 1
        return super().__hash__()

    def __getattribute__(self, name: str) -> object:
        Watched.looks += 1
        return super().__getattribute__(name)


class WatchedText(str):
    """A delta of watched characters."""

    def __iter__(self) -> Iterator[str]:
        return (Watched(character) for character in str(self))


def looks_at(text: str) -> int:
    """Return how often characters are looked at while `text` arrives one by one."""
    splitter = SentenceSplitter()
    Watched.looks = 0
    for character in text:
        assert splitter.feed(WatchedText(character)) == []
    return Watched.looks


@pytest.mark.parametrize(
    "piece", ["word ", "longword", "3.", "a. b ", "(go. on ", "Dr. ", "wait… so ", "U.S. and ", "語"]
)
def test_the_work_is_linear(piece: str) -> None:
    """Ten times as much more text is ten times as many more looks, although nothing goes out before the flush."""
    looks = {count: looks_at("So " + piece * count) for count in (100, 200, 1000, 2000)}

    assert looks[200] > looks[100] > 0
    assert looks[2000] - looks[1000] == 10 * (looks[200] - looks[100])


@pytest.mark.parametrize("piece", ["word ", "longword", "3."])
def test_a_delta_costs_nothing_for_what_is_pending(piece: str) -> None:
    """With 20,000 characters pending a delta copies none of them."""
    splitter = SentenceSplitter()
    assert splitter.feed((piece * 20_000)[:20_000]) == []
    peaks: list[int] = []
    tracemalloc.start()
    try:
        for _ in range(9):  # a list grows now and then, so the middle counts
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            splitter.feed("x")
            peaks.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()

    assert statistics.median(peaks) < 2_000
