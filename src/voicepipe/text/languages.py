"""What the sentence splitter knows about languages: one file of words a language, in `languages/`.

Rule 1: data only, and read only when a language is used for the first time, with all that reading needs.
        `languages/any.toml` explains the entries.
Rule 2: without a language code English comes first, and the others add what does not contradict it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["Words", "known_codes", "words_for"]

_NO_WORDS: Final = frozenset[str]()


@dataclass(frozen=True, slots=True)
class Words:
    """One language, as far as the ends of sentences depend on it.

    Attributes:
        leading: Abbreviations that something always follows: "Dr.", "e.g.".
        counted: Abbreviations before a number that are also words of their own: "no.", "sec.".
        either: Abbreviations inside and at the end of sentences: "Inc.", "etc.".
        closing: What ends a list; a capital after it begins a sentence: "etc.".
        units: As `either`, but only after a number: "5 min.", "3 in.".
        times: What follows the hour; as `either`, but most capitals after it begin a sentence: "a.m.".
        dates: Words that go on after an hour or a day: "9 a.m. Eastern", "12. Juni".
        starters: Words that begin sentences and are hardly ever names.
        links: Words that tie on to what was before, also with a capital: "Wait... And then".
        joining: The same words, as they begin a clause and also the last item of a list.
        conjunctions: Words that begin a clause wherever they stand; a capital counts, here and in `opening`.
        opening: Words that begin a clause after a comma, as hardly an item of a list does.
        marks: What ends sentences in this language only: the Greek ";".
        brands: Names that end with an exclamation mark: "Yahoo".
        stems: Words that often go on with a dot, as files and products do: "config", "Node".
        abroad: Everyday words that are abbreviations in other languages: "ok. 240 zł". Without a language code only.
        places: Nouns that a letter or number tells apart and that head nothing: "Gate C."
        hesitations: Words after which a sentence may trail off: "Let me see" + "..."
        has_ordinals: Whether "3." is how the language writes "3rd".
        prefixes: All beginnings of dates, starters and links, so that a word can be ruled out before it is complete.
    """

    leading: frozenset[str] = _NO_WORDS
    counted: frozenset[str] = _NO_WORDS
    either: frozenset[str] = _NO_WORDS
    closing: frozenset[str] = _NO_WORDS
    units: frozenset[str] = _NO_WORDS
    times: frozenset[str] = _NO_WORDS
    dates: frozenset[str] = _NO_WORDS
    starters: frozenset[str] = _NO_WORDS
    links: frozenset[str] = _NO_WORDS
    joining: frozenset[str] = _NO_WORDS
    conjunctions: frozenset[str] = _NO_WORDS
    opening: frozenset[str] = _NO_WORDS
    marks: frozenset[str] = _NO_WORDS
    brands: frozenset[str] = _NO_WORDS
    stems: frozenset[str] = _NO_WORDS
    abroad: frozenset[str] = _NO_WORDS
    places: frozenset[str] = _NO_WORDS
    hesitations: frozenset[str] = _NO_WORDS
    has_ordinals: bool = False
    prefixes: dict[frozenset[str], frozenset[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Derive the prefixes."""
        lists = (self.dates, self.starters, self.links)
        object.__setattr__(
            self,
            "prefixes",
            {words: frozenset(word[:end] for word in words for end in range(1, len(word) + 1)) for words in lists},
        )


_LISTS: Final = tuple(entry.name for entry in fields(Words) if entry.default is _NO_WORDS)
_ABBREVIATIONS: Final = ("leading", "counted", "either", "closing", "units", "times")


def words_for(language: str | None) -> Words:
    """Return what is known about a language ("de", "pt-BR"), or about all at once for None and unknown codes."""
    code = (language or "").replace("_", "-").partition("-")[0].lower()
    return _words(code if code in known_codes() else "")


@cache
def known_codes() -> frozenset[str]:
    """Return the codes of the languages of which something is known."""
    return frozenset(file.name.removesuffix(".toml") for file in _folder().iterdir()) - {"any"}


@cache
def _words(code: str) -> Words:
    if not code:
        return _everything()
    lists, common = _read(code), _read("any")
    own = frozenset[str]().union(
        *(lists.get(name, _NO_WORDS) for name in ("leading", "counted", "either", "units", "times"))
    )
    for name in ("leading", "either", "times"):
        lists[name] = lists.get(name, _NO_WORDS) | (common[name] - own)
    lists |= {name: common[name] for name in ("brands", "stems")}
    return Words(**lists, joining=lists.get("links", _NO_WORDS), has_ordinals=_has_ordinals(code))


def _everything() -> Words:
    """Return English with what the other languages add without taking an everyday English word for something else."""
    english, common = _words("en"), _read("any")
    others = [_words(code) for code in sorted(known_codes() - {"en"})]
    listed = english.leading | english.counted | english.either | english.closing | english.times
    known = listed | common["everyday"]
    leads = _NO_WORDS.union(*(words.leading for words in others))
    leading = leads - known
    either = _NO_WORDS.union(*(words.either for words in others))
    days = frozenset(word for word in either if word[0].isupper())  # "Do." is Thursday
    closing = _NO_WORDS.union(*(words.closing for words in others)) - known - leading
    return Words(
        leading=english.leading | leading,
        counted=english.counted | (_NO_WORDS.union(*(words.counted for words in others)) - listed),
        either=english.either | (either - known - leading - closing),
        closing=english.closing | closing,
        units=english.units.union(*(words.units for words in others)),
        times=english.times,
        dates=english.dates.union(*(words.dates for words in others)),
        starters=english.starters | (_NO_WORDS.union(*(words.starters for words in others)) - common["name_parts"]),
        links=english.links,
        joining=english.joining.union(*(words.joining for words in others)),
        conjunctions=english.conjunctions | (_NO_WORDS.union(*(words.conjunctions for words in others)) - known),
        opening=english.opening | (_NO_WORDS.union(*(words.opening for words in others)) - known),
        brands=english.brands,
        stems=english.stems,
        abroad=(leads | days) & common["everyday"],
        places=english.places.union(*(words.places for words in others)),
        hesitations=english.hesitations.union(*(words.hesitations for words in others)),
    )


@cache
def _file(code: str) -> dict[str, str | bool]:
    import tomllib  # noqa: PLC0415 - Rule 1

    return tomllib.loads((_folder() / f"{code}.toml").read_text(encoding="utf-8"))


@cache
def _folder() -> Traversable:
    from importlib.resources import files  # noqa: PLC0415 - Rule 1

    return files("voicepipe.text") / "languages"


def _read(code: str) -> dict[str, frozenset[str]]:
    return {name: frozenset(words.split()) for name, words in _file(code).items() if isinstance(words, str)}


def _has_ordinals(code: str) -> bool:
    return bool(_file(code).get("has_ordinals", False))
