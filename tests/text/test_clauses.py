# ruff: noqa: RUF001 - marks of many scripts, look-alikes included
"""Where a sentence may be cut before its end: a table for the first words, a table for the longest chunk."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voicepipe.text.clauses import FIRST_WORDS, LONGEST, LONGEST_WITH_MARKS, SHORTEST, Clauses
from voicepipe.text.languages import words_for
from voicepipe.text.sentences import SentenceSplitter

_TOKEN = re.compile(r" ?\w+|\s+|\.+|.", re.DOTALL)


def tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)


def chunks(deltas: Iterable[str], language: str | None = None, *, first_words: bool = True) -> list[str]:
    splitter = SentenceSplitter(language, first_words=first_words)
    return [*itertools.chain.from_iterable(map(splitter.feed, deltas)), *splitter.flush()]


# --- the first words --------------------------------------------------------------------------------------------------

# Replies with a bar where the first words end; without one their first sentence leaves whole.
FIRST: Final = [
    ("en", "Good afternoon,| how may I help you?"),
    ("en", "I can move that to Friday,| but the price is higher."),
    ("en", "That slot is taken,| and so is the next."),
    ("en", "That slot is taken,| I'm afraid."),
    ("en", "Thank you so much,| it’s done."),
    ("en", "Please wait a second,| while I look it up."),
    ("en", "There are two ways:| by bus or by train."),
    ("en", "It is closed today;| try tomorrow."),
    ("en", "It is closed today —| try tomorrow."),
    ("en", "It is closed today—|try tomorrow."),
    ("en", "It is closed today –| try tomorrow."),
    ("en", "It is closed today -| try tomorrow."),
    ("en", "The label reads,| “Keep cold.”"),
    ("en", "You bought two shirts,| 3 ties and a hat."),
    ("en", "Dear Mrs. Okoro,| thanks for waiting."),
    ("en", "It weighs 1,200 grams,| and that is fine."),
    ("en", "Your driver is Omar,| in a grey van."),
    ("en", "So, as you asked,| the alarm is off."),
    ("en", "I know, Ada, and Ben,| you told me."),
    # Too short: a single word, or few letters.
    ("en", "Well, that depends on it."),
    ("en", "Unfortunately, it is closed."),
    ("en", "I see, but it is late."),
    ("en", "Note: it is closed."),
    ("en", "       I see, but it is late."),
    ("en", "👋 Unfortunately, the shop is shut."),
    # Numbers, dates, places, addresses, names.
    ("en", "The total is 1,299 euros."),
    ("en", "It starts on May 5, 2031 at noon."),
    ("en", "It starts on Friday, March 6 at noon."),
    ("en", "Your seats are 4, 5 and 6 there."),
    ("en", "It begins at 10: 30 sharp."),
    ("en", "The odds are about 3:1 there."),
    ("en", "It takes some 3-4 days there."),
    ("en", "It takes some 3 - 4 days there."),
    ("en", "It is on pages 3–4 there."),
    ("en", "We open Monday - Friday at nine."),
    ("en", "She lives in Lyon, France now."),
    ("en", "We are at 7 Elm Street, Dover now."),
    ("en", "You may ask Ada, Ben and Carl there."),
    ("en", "You may ask Ada, Ben, and Carl there."),
    ("en", "They live on floor B, 3 doors down."),
    ("en", "We are closed — Monday to Friday."),
    ("en", "We have both pre- and post-war flats."),
    # Things in a row.
    ("en", "It comes in red, green and blue."),
    ("en", "It comes in red, green, and blue."),
    ("en", "Red, green, blue, and grey are left."),
    ("en", "It is first come, first served."),
    # What is quoted, bracketed or emphasised sounds as one.
    ("en", "He said “Come over here, you two” and left."),
    ("en", "The seats (row five, on the left) are free."),
    ("en", "It is **very important, you know** to us."),
    ("en", "The smile is nice :) and it is free."),
    ("en", "Go to example.com/a,b and look."),
    # A clause that has only begun.
    ("en", "It is the one which, in my view, fits."),
    ("en", "It is warm today and, as you know, dry."),
    # A sentence that ends with the word after the comma.
    ("en", "I will do it, you."),
    ("de", "Ihr Tisch ist reserviert,| und wir freuen uns."),
    ("de", "Das ist leider ausverkauft,| aber ich suche weiter."),
    ("de", "Das geht leider nicht,| Sie müssten anrufen."),
    ("de", "Wir haben Brot, Käse und Wein."),
    ("es", "Buenos días, Eva,| ¿en qué puedo ayudarle?"),
    ("es", "Puedo cambiarlo,| pero cuesta más."),
    ("es", "Tenemos pan, queso y vino."),
    ("fr", "Je regarde cela,| c’est très rapide."),
    ("fr", "Bonjour Madame,| puis-je vous aider ?"),
    ("it", "Certo signora,| ma serve il codice."),
    ("pt", "Posso alterar isso,| mas custa mais."),
    ("nl", "Dat kan helaas niet,| maar morgen wel."),
    ("hi", "मैं देख सकता हूँ,| लेकिन समय लगेगा।"),
    ("ar", "يمكنني المساعدة،| لكن أحتاج رقم الطلب."),
    ("zh", "您的包裹已经寄出，|明天会送到。"),
    ("zh", "好的，我看看。"),
    ("zh", "我们有红色、绿色、蓝色三种。"),
    ("ja", "確認いたしますので、|少々お待ちください。"),
    ("ja", "駐車場、図書館、公園があります。"),
    # Other languages and none: the words of all.
    (None, "Das ist leider ausverkauft,| aber ich suche weiter."),
    ("ru", "Здравствуйте, Анна, чем помочь?"),
    ("ru", "Ваш заказ готов:| его можно забрать."),
]


@pytest.mark.parametrize(("language", "marked"), FIRST, ids=[marked[:40] for _, marked in FIRST])
@pytest.mark.parametrize("cut", [tokens, list], ids=["tokens", "characters"])
def test_the_first_words_end_where_a_speaker_would_pause(
    cut: Callable[[str], list[str]], language: str | None, marked: str
) -> None:
    """A reply may begin with a clause; never with one word, a part of a number, a date, a place or a list."""
    first, _, rest = marked.partition("|")
    assert chunks(cut(first + rest), language)[0] == (first if rest else chunks([first], language)[0])


@pytest.mark.parametrize(("language", "count"), [("en", 1), ("en-GB", 1), ("de", 2), (None, 2), ("xx", 2)])
def test_the_language_decides_what_begins_a_clause(language: str | None, count: int) -> None:
    """German "die" begins no English clause; no language and unknown ones take the words of all."""
    assert len(chunks(tokens("You need one cup, die and board."), language)) == count


def test_only_the_first_chunk_of_a_text_is_a_part_of_a_sentence() -> None:
    """After the first words, and after a first sentence that was short, whole sentences follow."""
    assert chunks(tokens("Good morning all, it is nine, and I am here. It rains, but it is warm.")) == [
        "Good morning all,",
        " it is nine, and I am here.",
        " It rains, but it is warm.",
    ]
    assert chunks(tokens("Sure. I can do that, but not now.")) == ["Sure.", " I can do that, but not now."]


def test_every_text_has_first_words() -> None:
    """After `flush` the splitter looks for first words again."""
    splitter = SentenceSplitter(first_words=True)
    for _ in range(2):
        assert [text for token in tokens("I am here now, so ask") for text in splitter.feed(token)] == [
            "I am here now,"
        ]
        assert splitter.flush() == [" so ask"]


def test_a_sentence_that_is_there_is_not_cut() -> None:
    """When the delta that decides brings the sentence's end, it leaves whole."""
    assert chunks(["I am here now, so ask. Bye, then."]) == ["I am here now, so ask.", " Bye, then."]


def test_the_splitter_cuts_no_first_words_unless_told() -> None:
    """Without the policy every chunk is a whole sentence."""
    assert chunks(tokens("I am here now, so ask."), first_words=False) == ["I am here now, so ask."]


def test_a_mark_held_stays_held_after_the_first_words() -> None:
    """The first words may leave while a mark after them is not decided."""
    splitter = SentenceSplitter(first_words=True)
    assert splitter.feed("I asked for it again, so Dr.") == ["I asked for it again,"]
    assert splitter.feed(" Lund came.") == [" so Dr. Lund came."]


# --- the longest chunk ------------------------------------------------------------------------------------------------


def words(count: int) -> str:
    """Return that many characters of words of four letters, ending in the middle of one or not."""
    return ("wend " * (count // 5 + 1))[:count]


def is_bounded(chunk: str) -> bool:
    """Return whether a chunk is no longer than the marks in it allow."""
    return 0 < len(chunk) <= (LONGEST_WITH_MARKS if CLAUSE_MARKS & set(chunk[SHORTEST - 1 :]) else LONGEST)


CLAUSE_MARKS: Final = frozenset(",;:-–—،؛，；：、")


@pytest.mark.parametrize(
    ("why", "text", "length"),
    [
        ("the latest space", words(400), 299),
        ("a conjunction rather than a space", words(200) + "and " + words(200), 199),
        ("the latest conjunction", words(200) + "and " + words(20) + "but " + words(200), 223),
        ("a clause mark rather than a conjunction", words(159) + ", " + words(40) + "and " + words(300), 160),
        ("a clause mark of the first half", words(99) + ", " + words(400), 100),
        ("the latest clause mark", words(159) + ", " + words(90) + "wend, " + words(400), 256),
        ("the latest of clause marks without end", "wend wend, " * 100, 593),
        ("no clause mark that leaves little", words(29) + ", " + words(400), 295),
        ("a comma within a number is none", words(200) + "1,000 " + words(200), 295),
        ("a comma between numbers is none", words(200) + "5, 2031 " + words(200), 297),
        ("the space before a long word", words(50) + "w" * 400, 49),
        ("a word that is longer", "w" * 400, 299),
        ("an address that is longer", "https://example.com/" + "a/b-c?d=" * 50, 299),
        ("white space leads what follows", ("wend" + " " * 5) * 60, 292),
        ("white space alone", " " * 400, 299),
        ("Chinese at its clause mark", "我" * 200 + "，" + "我" * 400, 201),
        ("Chinese between characters", "我" * 400, 299),
        ("Chinese before a Latin word", "我" * 290 + "voicemail" * 3 + "我" * 200, 290),
        ("Chinese not before a closing mark", "我" * 299 + "」" + "我" * 200, 298),
        ("Japanese not before a sign of length", "コ" * 299 + "ー" + "コ" * 200, 298),
        ("Thai at its latest space", "ก" * 200 + " " + "ก" * 200, 200),
        ("Thai not before a vowel sign", "กี" * 200, 298),
        ("Thai not before a vowel letter", "กา" * 200, 298),
        ("Thai not after a vowel that leads", "เก" * 200, 298),
        ("not before an accent of its own", "e\u0301" * 200, 298),
        ("not within an emoji of several", "👩\u200d🚀" * 200, 297),
        ("not within a flag", "w" * 298 + "🇫🇷" + "w" * 200, 298),
        ("not before a skin tone", "w" * 298 + "👍🏽" + "w" * 200, 298),
        ("signs without end", "\u0301" * 400, 300),
        ("dots without end", "So" + "." * 400, None),
        ("a mark that is held", words(290) + "x Dr. Lund " + words(100), None),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_no_more_is_held_than_can_be_heard_at_once(why: str, text: str, length: int | None) -> None:
    """Text without an end leaves in pieces, cut at the best place at hand: clause, conjunction, space, character."""
    splitter = SentenceSplitter()
    out = [chunk for character in text for chunk in splitter.feed(character)]
    assert len(out[0]) == length or length is None, why
    assert all(map(is_bounded, out))
    assert is_bounded("".join(splitter.flush()))


def test_a_mark_that_may_stand_ends_the_chunk_at_the_bound() -> None:
    """When the text is too long and its end perhaps there, the cut is made at that mark, whatever follows it."""
    text = words(284) + " It’s 9 a.m."
    rest = ' "Mondays ' + words(289)
    assert chunks(list(text + rest + words(400)[4:]), first_words=False)[:2] == [text, rest]


@pytest.mark.parametrize(
    ("length", "rest"), [(299, " ! Next one."), (299, " 2. Milk."), (298, " 2. Milk."), (299, " Dr. Lund came.")]
)
def test_after_the_bound_the_sentence_goes_on(length: int, rest: str) -> None:
    """What is left behind by a cut at the bound is judged as if the cut were not there; no mark leaves alone."""
    text = "1. Tea" + words(400)[4 : length - 2]
    assert chunks(list(text + rest), first_words=False) == [text, rest]


# --- whatever the text, however it is divided -------------------------------------------------------------------------

WORD: Final = st.sampled_from(
    ["I", "we", "can", "Ada", "and", "but", "which", "it’s", "red", "Main", "Dr", "9", "1,200", "2031", "“so", "you”"]
)
GAP: Final = st.sampled_from([" ", " ", " ", ", ", "; ", ": ", " — ", "—", " - ", ". ", "? ", "\n"])
SPACED: Final = st.lists(st.tuples(WORD, GAP).map("".join), max_size=120).map("".join)
ANY: Final = SPACED | st.text(max_size=700) | st.text("我กี，、a9 👩\u200d\u0301-,", max_size=700)


@st.composite
def divided(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> list[str]:
    """Return a text cut into deltas anywhere."""
    text = draw(texts)
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=30)))
    return [text[start:end] for start, end in itertools.pairwise([0, *cuts, len(text)])]


@given(divided(ANY), st.booleans())
@example(["w" * 299, ".", "x" * 299], True)
def test_every_character_leaves_once_and_in_time(deltas: list[str], first_words: bool) -> None:
    """Nothing is lost, doubled or empty; without clause marks chunks have 300 characters at most, with them 600."""
    splitter, held = SentenceSplitter(first_words=first_words), 0
    out = []
    for delta in deltas:
        out += (left := splitter.feed(delta))
        held += len(delta) - sum(map(len, left))
        assert held < LONGEST_WITH_MARKS
    out += splitter.flush()
    assert "".join(out) == "".join(deltas)
    assert all(map(is_bounded, out))


class Lettered(SentenceSplitter):
    """Takes the letters of a word one by one, as all other characters."""

    def _take_letters(self, run: str) -> None:
        for character in run:
            self._take(character)


@given(divided(ANY) | divided(st.text("aB c.,—\"'3\n我กé", max_size=700)), st.booleans(), st.data())
def test_letters_may_come_in_one_piece(deltas: list[str], first_words: bool, data: st.DataObject) -> None:
    """Words that go through in one piece are cut at the same places, at the same time, as letter by letter."""
    whole, lettered = SentenceSplitter(first_words=first_words), Lettered(first_words=first_words)
    for delta in deltas:
        assert whole.feed(delta) == lettered.feed(delta)
        assert repr(whole) == repr(lettered)
        if data.draw(st.booleans()):
            assert whole.release() == lettered.release()
    assert whole.flush() == lettered.flush()


@given(divided(SPACED), st.booleans())
def test_no_cut_is_inside_a_word(deltas: list[str], first_words: bool) -> None:
    """Where a text has white space it is cut there, or after a dash that stands for it."""
    out = chunks(deltas, first_words=first_words)
    assert all(before[-1] == "—" or after[0].isspace() for before, after in itertools.pairwise(out))


@given(divided(SPACED.map(lambda text: text[:280])))
@example(["I can, or can, can,", " which,", " "])
def test_the_first_words_are_one_cut_more(deltas: list[str]) -> None:
    """The first words are two words and 12 characters at least; without their cut everything is as without them."""
    first, *rest = chunks(deltas) or [""]
    whole = chunks(deltas, first_words=False) or [""]
    if [first, *rest] != whole:
        assert [first + rest[0], *rest[1:]] == whole
        assert len(first.strip()) >= FIRST_WORDS
        assert len(re.findall(r"\w[\w,’]*", first)) >= 2


@pytest.mark.parametrize("piece", ["wend ", "w", "我", "wend, ", "\u0301", "-"])
def test_nothing_is_kept_of_what_came(piece: str) -> None:
    """After 20,000 characters no more is remembered than after 300, so none can be read again."""
    remembered: dict[int, int] = {}
    for length in (LONGEST, 20_000):
        clauses = Clauses(words_for(None), first_words=True)
        for character in (piece * length)[:length]:
            if left := clauses.take(character):
                clauses.cut(left)
        remembered[length] = len(repr(vars(clauses)))

    assert remembered[20_000] < remembered[LONGEST] + 40  # larger numbers have more digits
