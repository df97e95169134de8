"""The words of each language: files a reader can extend without reading code."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from dataclasses import fields
from importlib.resources import files

import pytest

from voicepipe.text.languages import Words, words_for
from voicepipe.text.left import is_letter
from voicepipe.text.sentences import SentenceSplitter

FILES = {
    file.name.removesuffix(".toml"): file.read_text(encoding="utf-8")
    for file in (files("voicepipe.text") / "languages").iterdir()
}
LANGUAGES = sorted(FILES.keys() - {"any"})
ABBREVIATIONS = ("leading", "counted", "either", "closing", "units", "times")
CLAUSES = ("conjunctions", "opening")  # words as they are written, "I" and "Sie" with their capital
SPOKEN = ("starters", "dates", "links")  # words that are compared with what follows, in lower case
BEFORE = ("places", "hesitations")  # words that are compared with what stands before, in lower case


def entries(code: str, name: str) -> list[str]:
    return str(tomllib.loads(FILES[code]).get(name, "")).split()


def test_the_languages_are_those_the_documentation_names() -> None:
    """A file that is missing from the package would be a language that is silently unknown."""
    assert " ".join(LANGUAGES) == "ar cs da de el en es fr hi it nl pl pt ru sk sv"


@pytest.mark.parametrize("code", FILES)
def test_a_file_has_known_lists_only(code: str) -> None:
    """A misspelt list is found here and not by a wrong cut."""
    known = {entry.name for entry in fields(Words) if entry.init} - {"joining", "brands", "stems", "abroad"}
    common = {"everyday", "name_parts", "brands", "stems"}

    assert tomllib.loads(FILES[code]).keys() <= known | (common if code == "any" else set())


@pytest.mark.parametrize("code", FILES)
def test_a_file_stays_readable(code: str) -> None:
    """Lists are sorted, so that an entry is found, and no line is too long to read."""
    for name in (*ABBREVIATIONS, *SPOKEN, *BEFORE, *CLAUSES):
        assert entries(code, name) == sorted(set(entries(code, name)), key=lambda entry: (entry.lower(), entry)), name
    assert max(len(line) for line in FILES[code].splitlines()) <= 120
    assert len(FILES[code].splitlines()) < 60


@pytest.mark.parametrize("code", FILES)
def test_an_abbreviation_has_one_meaning(code: str) -> None:
    """No abbreviation stands in two lists, with its final dot, or in capitals where it is there in any case."""
    found = [entry for name in ABBREVIATIONS for entry in entries(code, name)]

    assert len(found) == len(set(found))
    assert [entry for entry in found if entry.endswith(".")] == []
    assert [entry for entry in found if entry != entry.lower() and entry.lower() in entries(code, "leading")] == []


@pytest.mark.parametrize("code", FILES)
def test_words_that_follow_are_in_lower_case(code: str) -> None:
    """What stands around a mark is compared in lower case and up to the first character that is no letter."""
    for name in (*SPOKEN, *BEFORE):
        assert [
            entry for entry in entries(code, name) if entry != entry.lower() or not all(map(is_letter, entry))
        ] == []


@pytest.mark.parametrize(("code", "same"), [("pt-BR", "pt"), ("DE", "de"), ("zh", None), ("xx", None), ("", None)])
def test_a_code_finds_its_language(code: str, same: str | None) -> None:
    """Regions and case do not matter, and an unknown language is like none."""
    assert words_for(code) is words_for(same)


def test_any_is_no_language() -> None:
    """The file of what all share cannot be asked for by its name."""
    assert words_for("any") is words_for(None)


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_language_knows_what_begins_a_clause(code: str) -> None:
    """Each language has words that join, and says of each other word once what it begins."""
    words = words_for(code)

    assert words.joining == words.links != frozenset()
    assert words.conjunctions
    assert words.opening
    assert not words.conjunctions & words.opening
    assert not words.joining & (words.conjunctions | words.opening)


def test_without_a_language_all_begin_clauses_but_for_english_words() -> None:
    """Swedish "men" joins clauses, and no English ones."""
    words = words_for(None)

    assert {"and", "und", "или"} <= words.joining
    assert {"but", "aber", "потому"} <= words.conjunctions
    assert "men" in words_for("sv").conjunctions - words.conjunctions


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_language_takes_in_what_all_share(code: str) -> None:
    """Titles travel, but a language that gives a word another meaning keeps its own."""
    words = words_for(code)

    assert {"mrs", "dr"} <= words.leading
    assert not words.leading & words.either


def test_without_a_language_english_comes_first() -> None:
    """Other languages add their abbreviations, save those that are everyday words of English."""
    words = words_for(None)

    assert {"bzw", "sra", "dott", "mevr", "godz"} <= words.leading
    assert not {"mind", "out", "so", "on", "do", "ill"} & (words.leading | words.either)
    assert words.dates >= words_for("de").dates
    assert not words.has_ordinals
    assert {"ok", "Do"} <= words.abroad
    assert not words.abroad & words.leading


@pytest.mark.parametrize("code", [*LANGUAGES, None])
def test_every_beginning_of_a_word_that_decides_is_known(code: str | None) -> None:
    """A word is ruled out at the letter that no entry has, and not before."""
    words = words_for(code)

    for name in SPOKEN:
        listed = getattr(words, name)
        assert words.prefixes[listed] == {word[:end] for word in listed for end in range(1, len(word) + 1)}


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_leading_abbreviation_holds_its_sentence(code: str) -> None:
    """Something follows "Dr." in every language, whatever its first letter."""
    for word in entries(code, "leading"):
        splitter = SentenceSplitter(code)
        assert splitter.feed(f"Xxx {word}. Xxx") == []
        assert splitter.release() == []


def test_a_language_is_read_when_it_is_used() -> None:
    """Importing the splitter reads no file, a German splitter reads two."""
    program = """
import sys
files = []
def hear(event, args):
    if event == "open" and str(args[0]).endswith(".toml"):
        files.append(str(args[0]).replace("\\\\", "/").rpartition("/")[2])
sys.addaudithook(hear)
from voicepipe.text.sentences import SentenceSplitter
print(*files)
SentenceSplitter("de"), SentenceSplitter("de")
print(*sorted(files))
"""

    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert done.stdout.splitlines() == ["", "any.toml de.toml"]
