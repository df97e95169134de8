# ruff: noqa: RUF001 - marks of other scripts and of phonemes, look-alikes included
"""When words end, from the lengths of their phonemes; and what Piper would read as a notation."""

from __future__ import annotations

import pytest

from voicepipe.vendors.piper.notation import without_notation
from voicepipe.vendors.piper.words import word_ends

SOUNDS = {
    "It": ["ˈɪt"],
    "It costs": ["ɪt kˈɔsts"],
    "It costs 5.50": ["ɪt kˈɔsts fˈaɪv pɔɪnt fˈɪfti"],
    "It costs 5.50 on": ["ɪt kˈɔsts fˈaɪv pɔɪnt fˈɪfti ˈɔn"],
    "It costs 5.50 on the": ["ɪt kˈɔsts fˈaɪv pɔɪnt fˈɪfti ɔnðə"],
    "It costs 5.50 on the web.": ["ɪt kˈɔsts fˈaɪv pɔɪnt fˈɪfti ɔnðə wˈɛb."],
    "Café": ["kæfˈeɪ"],
    "Café —": ["kæfˈeɪ; "],
    "Café — déjà": ["kæfˈeɪ; dˈeɪdʒæ"],
    "Café — déjà vu.": ["kæfˈeɪ; dˌeɪʒɑː vˈuː."],
    "Stop!": ["stˈɑːp!"],
    "Stop! Now": ["stˈɑːp!", "nˈaʊ"],
}


def sounds(text: str) -> list[list[str]]:
    """As eSpeak says them; "on the" is one word, a dash none, and "déjà" sounds as it does only before "vu"."""
    return [list(part) for part in SOUNDS[text]]


def phonemes_of(text: str) -> list[tuple[str, int]]:
    """Each phoneme lasts ten samples."""
    return [(phoneme, 10) for part in sounds(text) for phoneme in ("^", *part, "$")]


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("It costs 5.50 on the web.", {"It": 30, "costs": 100, "5.50": 290, "the": 340, "web.": 390}),
        ("Café — déjà vu.", {"—": 70, "déjà": 160, "vu.": 210}),  # "déjà" is seen only as a whole with its "vu"
        ("Stop! Now", {"Stop!": 70, "Now": 140}),
    ],
)
def test_a_word_ends_with_its_last_sound(text: str, ends: dict[str, int]) -> None:
    """Numbers end as a whole, joined words at the second, a silent mark with its word; an uncertain word has no end."""
    assert word_ends(text, phonemes_of(text), sounds) == [
        (text.index(word) + len(word), samples) for word, samples in ends.items()
    ]


def test_a_text_that_sounds_otherwise_has_no_end() -> None:
    """Where the words of the text and those that were spoken do not agree, nothing is guessed."""
    assert word_ends("It costs", phonemes_of("Stop!"), sounds) == []


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Dr. Smith and Mrs. Y, e.g. tomorrow.", "Dr  Smith and Mrs  Y, e.g  tomorrow."),
        ("That is no. 5, said the Dr.", "That is no  5, said the Dr."),
        ("Stop. Now. It is 5 p.m. here.", "Stop. Now. It is 5 p.m. here."),
        ("say [[ h@loU ]] \0 \ud83d", "say    h@loU      ?"),
    ],
)
def test_words_are_no_notation(text: str, plain: str) -> None:
    """What a model writes is said as a reader would say it, place by place."""
    assert without_notation(text, "en-us") == plain
    assert len(plain) == len(text)
