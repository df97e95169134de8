"""How far a caller has come with what is expected of them: spoken forms, parts of a value, and other talk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import voicepipe as vp
from voicepipe.turntaking.needs import needed
from voicepipe.turntaking.phrases import known_languages, phrases_for
from voicepipe.turntaking.spoken_values import runs

if TYPE_CHECKING:
    from voicepipe.turntaking.expectation import Progress

ORDER = vp.Pattern(r"^ORD-\d{5}$")
PLATE = vp.Pattern(r"^[A-Z]{2} ?\d{3}$")
CODE = vp.Pattern(r"^[A-Z0-9]{6}$")
BETWEEN = vp.Pattern(r"^\d{4,6}$")


@pytest.mark.parametrize(
    ("expectation", "text", "progress"),
    [
        (vp.Digits(5), "", "none"),
        (vp.Digits(5), "I do not have it.", "none"),
        (vp.Digits(5), "one two", "begun"),
        (vp.Digits(5), "One, two.", "begun"),
        (vp.Digits(5), "12", "begun"),
        (vp.Digits(5), "the number is one two, um", "begun"),
        (vp.Digits(5), "I have 2 dogs.", "none"),
        (vp.Digits(5), "1 2 3 4 5", "met"),
        (vp.Digits(5), "It is 12345, I think.", "met"),
        (vp.Digits(5), "123-45.", "met"),
        (vp.Digits(5), "one two, um, three four five", "met"),
        (vp.Digits(5), "one two three no one two three four five", "met"),
        (vp.Digits(5), "one two three no one two three", "begun"),
        (vp.Digits(5), "double five, triple oh", "met"),
        (vp.Digits(5), "one two three four double", "begun"),
        (vp.Digits(4), "twenty five, thirty one", "met"),
        (vp.Digits(4), "twenty twenty", "enough"),  # "six" may follow
        (vp.Digits(4), "two thousand five hundred", "enough"),
        (vp.Digits(3), "one hundred and five", "met"),
        (vp.Digits(3), "one hundred twelve", "met"),
        (vp.Digits(4), "ten oh four", "met"),
        (vp.Digits(5), "123456", "met"),
        (ORDER, "ord", "begun"),
        (ORDER, "ord one two", "begun"),
        (ORDER, "ORD-12", "begun"),
        (ORDER, "ord one two three four five", "met"),
        (ORDER, "one two three four five", "met"),  # the letters are the same in every number
        (ORDER, "ORD-12345", "met"),
        (ORDER, "Where is my order?", "none"),
        (PLATE, "It's A B one", "begun"),
        (PLATE, "AB 123.", "met"),
        (PLATE, "a b one two three", "met"),
        (PLATE, "double a one two three", "met"),
        (PLATE, "It is a one two three", "begun"),  # an "a" that no letter follows may be a word
        (PLATE, "Can I", "none"),
        (PLATE, "AB 123 PLEASE", "none"),  # where all is in capitals, they say nothing
        (CODE, "X 4 oh 9 K", "begun"),
        (CODE, "ABCDEF.", "met"),
        (CODE, "X 4 oh 9 K K", "met"),
        (BETWEEN, "one two three", "begun"),
        (BETWEEN, "one two three four", "enough"),
        (BETWEEN, "one two three four five six", "met"),
        (vp.Pattern("^(cash|card)$"), "By card.", "met"),
        (vp.Pattern("^(cash|card)$"), "How can I", "none"),
        (vp.Phone(), "oh three oh", "begun"),
        (vp.Phone(), "030 123 45 67", "enough"),
        (vp.Phone(), "+49 30 1234567 890123", "met"),
        (vp.Email(), "I have none.", "none"),
        (vp.Email(), "It's john dot smith", "begun"),
        (vp.Email(), "john at", "begun"),
        (vp.Email(), "john at example", "begun"),
        (vp.Email(), "j o h n", "begun"),
        (vp.Email(), "john at example dot com", "enough"),  # "dot au" may follow
        (vp.Email(), "john at example dot co dot uk", "met"),
        (vp.Email(), "It's john@example.org.", "met"),
        (vp.Email(), "john at example dot org, thank you", "met"),
        (vp.Date(), "Tomorrow.", "none"),
        (vp.Date(), "I may come.", "none"),
        (vp.Date(), "on the 3rd", "begun"),
        (vp.Date(), "May 3rd", "enough"),
        (vp.Date(), "the 3rd of May 2027", "met"),
        (vp.Date(), "3 May twenty twenty", "enough"),
        (vp.Date(), "3 May twenty twenty seven", "met"),
        (vp.Date(), "2027-05-03", "met"),
        (vp.Date(), "5/3/2027", "met"),
        (vp.Date(), "03052027", "met"),
    ],
)
def test_progress(expectation: vp.Expectation, text: str, progress: Progress) -> None:
    """An expectation says whether nothing of it was said, more must follow, more may follow, or nothing can."""
    assert expectation.progress(text, "en") == progress


@pytest.mark.parametrize(
    ("language", "text", "digits"),
    [
        ("cs", "nula jedna dva dvacet pět pětadvacet", 7),
        ("da", "nul en to tyve femogtyve", 7),
        ("de", "null eins zwei zwo fünfundzwanzig doppel drei", 8),
        ("en", "oh one two twenty-five double three", 7),
        ("es", "cero uno dos veinticinco treinta y cinco doble tres", 9),
        ("fr", "zéro un deux vingt-cinq quatre-vingt-dix-neuf", 7),
        ("it", "zero uno due venticinque ventuno doppio tre", 9),
        ("nl", "nul één twee vijfentwintig drieëntwintig dubbel drie", 9),
        ("pl", "zero jeden dwa dwadzieścia pięć", 5),
        ("pt", "zero um meia vinte e cinco", 5),
        ("ru", "ноль один два двадцать пять дважды три", 7),
        ("sv", "noll ett två tjugofem dubbel tre", 7),
        ("pt-BR", "seis meia", 2),
    ],
)
def test_digits_of_a_language(language: str, text: str, digits: int) -> None:
    """Each language's words for digits count, with its way to say two digits at once."""
    assert [run.digits for run in runs(text, phrases_for(language))] == [digits]
    assert vp.Digits(digits).progress(text, language) == "met"
    assert vp.Digits(digits + 1).progress(text, language) == "begun"


@pytest.mark.parametrize("language", sorted(known_languages()))
def test_every_digit_counts_once(language: str) -> None:
    """Each of a language's words for one digit is one, also in capitals and after another one."""
    numbers = phrases_for(language).numbers
    words = sorted(words[0] for words, kind in numbers.kinds.items() if kind in ("unit", "zero"))
    assert len(words) >= 10
    for word in words:
        assert vp.Digits(1).progress(word.upper(), language) == "met"
        assert vp.Digits(2).progress(f"{word}, {word}.", language) == "met"
    assert phrases_for(language).at
    assert phrases_for(language).dot
    assert len(phrases_for(language).months) >= 12


@pytest.mark.parametrize("language", sorted(known_languages()))
def test_an_address_in_every_language(language: str) -> None:
    """An address that is spoken with a language's words for the signs is complete at its last part."""
    phrases = phrases_for(language)
    for at in phrases.at:
        for dot in phrases.dot:
            text = f"anna {' '.join(at)} example {dot}"
            assert vp.Email().progress(text, language) in ("begun", "none"), text
            assert vp.Email().progress(f"{text} org", language) == "met", text


@pytest.mark.parametrize(
    ("regex", "digits", "letters", "either", "most"),
    [
        (r"^ORD-\d{5}$", 5, 0, 0, 5),
        (r"^(?:ORD|INV)-\d{5}$", 5, 0, 0, 5),
        (r"^(ORD-)?\d{5}$", 5, 0, 0, 5),
        (r"^(ORD-\d{5}|INV-\d{6})$", 5, 0, 0, 6),
        (r"^[0-9]{3}[- ]?[0-9]{2}$", 5, 0, 0, 5),
        (r"^A\d{3}B$", 3, 1, 0, 4),
        (r"^49\d{6}$", 8, 0, 0, 8),
        (r"[A-Z]{2}\d{2,4}", 2, 2, 0, 6),
        (r"^[A-Z0-9]{6}$", 0, 0, 6, 6),
        (r"^(?=\d)\d+$", 1, 0, 0, float("inf")),
        (r"^\w{2}(?P<a>\d)(?P=a)*$", 1, 0, 2, float("inf")),
        (r"(\d\d|[a-z])(?:x{0})", 0, 0, 0, 2),
        (r".{3}[^-]", 0, 0, 0, 4),
        (r"(.*){0}\d", 1, 0, 0, 1),
    ],
)
def test_what_an_expression_needs(regex: str, digits: int, letters: int, either: int, most: float) -> None:
    """Digits and letters are counted; separators and the letters that a value begins with are not."""
    need = needed(regex)
    assert (need.digits, need.letters, need.either, need.most) == (digits, letters, either, most)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: vp.Digits(0), "from 1 to 100, not 0"),
        (lambda: vp.Digits(101), "not 101"),
        (lambda: vp.Digits(True), "not True"),
        (lambda: vp.Digits("5"), "not '5'"),  # type: ignore[arg-type]
        (lambda: vp.Pattern("("), "needs a regular expression"),
        (lambda: vp.Pattern(5), "as text, not a int"),  # type: ignore[arg-type]
        (lambda: vp.Pattern(rb"\d"), "as text, not a bytes"),  # type: ignore[arg-type]
        (lambda: vp.Pattern("^-+$"), "no speech can meet it"),
        (lambda: vp.Pattern(""), "no speech can meet it"),
        (lambda: vp.Pattern(r"\d{1000}"), "1000 letters and digits"),
    ],
)
def test_what_no_speech_can_meet_is_refused(made: type, said: str) -> None:
    """An expectation that nobody can meet is an error when it is made."""
    with pytest.raises(vp.ConfigurationError) as raised:
        made()
    assert said in str(raised.value)


def test_expectations_are_values() -> None:
    """Two expectations of the same are equal, and show what they are."""
    assert vp.Pattern(r"\d{3}") == vp.Pattern(r"\d{3}") != vp.Pattern(r"\d{4}")
    assert (repr(vp.Digits(5)), repr(vp.Pattern("a1"))) == ("Digits(count=5)", "Pattern(regex='a1')")


DIGIT_WORDS = st.sampled_from(["oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "0", "7"])


@given(st.lists(DIGIT_WORDS, min_size=1, max_size=12), st.integers(1, 12), st.sampled_from([" ", ", ", " um ", ". "]))
def test_digits_one_by_one(words: list[str], count: int, pause: str) -> None:
    """Whatever stands between single digits, the value is complete with its last one, and not before."""
    expected = "met" if len(words) >= count else "begun"
    assert vp.Digits(count).progress(pause.join(words), None) == expected


@given(st.integers(0, 10**12).map(str), st.text(" -./,", max_size=2))
def test_a_written_number_is_its_digits(number: str, separator: str) -> None:
    """A number that the recogniser writes in figures is complete with exactly its digits, however it groups them."""
    text = f"{number[:2]}{separator}{number[2:]}"
    assert vp.Digits(len(number)).progress(text, None) == "met"
    assert vp.Digits(len(number) + 1).progress(text, None) == "begun"


KINDS: list[vp.Expectation] = [vp.Digits(5), ORDER, PLATE, CODE, BETWEEN, vp.Phone(), vp.Email(), vp.Date()]


@given(
    st.sampled_from(KINDS),
    st.text()
    | st.lists(st.sampled_from(["at", "dot", "oh", "double", "A", "ORD", "5", "May", "and", "hundred"])).map(" ".join),
    st.sampled_from([None, "", "de", "fr", "xx"]),
)
def test_any_text_has_a_progress(expectation: vp.Expectation, text: str, language: str | None) -> None:
    """No text is an error, in a known language or not."""
    assert expectation.progress(text, language) in ("none", "begun", "enough", "met")
