"""What the caller's next words are expected to hold, so that the agent waits until it is complete, and no longer.

Rule 1: pure: text goes in, how far the caller has come goes out.
Rule 2: an expectation changes how long the agent waits. It never refuses words, nor checks them: tools do that.
Rule 3: spoken forms count: "double five", "oh", "john at example dot com".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, cast, runtime_checkable

from voicepipe.errors import ConfigurationError
from voicepipe.turntaking.needs import Need, needed
from voicepipe.turntaking.phrases import phrases_for
from voicepipe.turntaking.spoken_values import runs

if TYPE_CHECKING:
    from voicepipe.turntaking.phrases import Phrases

__all__ = ["Date", "Digits", "Email", "Expectation", "Pattern", "Phone", "Progress", "checked"]

Progress: TypeAlias = Literal["none", "begun", "enough", "met"]
"""How far the caller has come: "none", nothing that was expected, or they speak of something else by now; "begun", and
more must follow; "enough", though more may follow, so that the usual waits apply; "met", and nothing can follow."""

MOST_DIGITS: Final = 100
"""Nobody says more in one turn."""

FEWEST_PHONE_DIGITS: Final = 7
MOST_PHONE_DIGITS: Final = 15
"""A number with its area, and the longest international one (ITU-T E.164)."""

SECOND_LEVELS: Final = frozenset({"co", "com", "ac", "gov", "or", "ne"})
"""Labels after which the country may follow: "dot co dot uk"."""


@runtime_checkable
class Expectation(Protocol):
    """What the caller's next words are expected to hold; `Digits`, `Pattern`, `Email`, `Phone`, `Date` or your own."""

    def progress(self, text: str, language: str | None) -> Progress:
        """Return how far the caller has come.

        Args:
            text: What they have said of this turn so far, all parts joined.
            language: `TurnRules.language`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Digits:
    """A number of exactly so many digits, spoken, typed or as keys of a telephone.

    Raises:
        ConfigurationError: `count` is not a number from 1 to 100.

    >>> Digits(5).progress("one two, um, double oh", None), Digits(5).progress("one two double oh seven", None)
    ('begun', 'met')
    """

    count: int

    def __post_init__(self) -> None:
        """Refuse a number that nobody can say."""
        count = cast("object", self.count)
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST_DIGITS:
            raise ConfigurationError(f"Digits needs a number of digits from 1 to {MOST_DIGITS}, not {count!r}")

    def progress(self, text: str, language: str | None) -> Progress:
        """Return how many of the digits the caller has said. See `Expectation.progress`."""
        return _counted(text, phrases_for(language), Need(digits=self.count, most=self.count))


@dataclass(frozen=True, slots=True)
class Pattern:
    r"""Something that a regular expression describes, as the `pattern` of a tool's parameter does.

    What counts is how many digits and letters it needs. Letters that it begins with, such as ORD, are the same in every
    value, so callers may leave them out. Others count if they are spelled: "A B", or "AB" as recognisers write it.

    Raises:
        ConfigurationError: It is no regular expression, or one without letters and digits, which nobody can say.

    >>> order = Pattern(r"^ORD-\d{5}$")
    >>> order.progress("ord one two", None), order.progress("ord one two three four five", None)
    ('begun', 'met')
    """

    regex: str
    _need: Need = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Count what the expression needs."""
        need = needed(self.regex)
        if (least := need.digits + need.letters + need.either) > MOST_DIGITS:
            raise ConfigurationError(
                f"Pattern({self.regex!r}) needs {least} letters and digits; nobody says more than {MOST_DIGITS}"
            )
        if not need.most and not need.prefixes:
            raise ConfigurationError(
                f"Pattern({self.regex!r}) needs no letter and no digit, so no speech can meet it; describe what is said"
            )
        object.__setattr__(self, "_need", need)

    def progress(self, text: str, language: str | None) -> Progress:
        """Return how much of it the caller has said. See `Expectation.progress`."""
        return _counted(text, phrases_for(language), self._need)


@dataclass(frozen=True, slots=True)
class Phone:
    """A telephone number; how long it is differs, so from 7 digits on the usual waits apply.

    >>> Phone().progress("oh three oh, one two", "en"), Phone().progress("030 123 45 67", "en")
    ('begun', 'enough')
    """

    def progress(self, text: str, language: str | None) -> Progress:
        """Return how many digits of it the caller has said. See `Expectation.progress`."""
        return _counted(text, phrases_for(language), Need(digits=FEWEST_PHONE_DIGITS, most=MOST_PHONE_DIGITS))


@dataclass(frozen=True, slots=True)
class Email:
    """An e-mail address, written or spoken.

    >>> Email().progress("It's john dot smith at example", None), Email().progress("john at example dot org", None)
    ('begun', 'met')
    """

    def progress(self, text: str, language: str | None) -> Progress:
        """Return which of its parts the caller has said. See `Expectation.progress`."""
        phrases = phrases_for(language)
        written = _written_address(text, phrases)
        found = ADDRESS.search(written)
        if found:
            label = found["label"]
            return "met" if label not in SECOND_LEVELS or found["host"].count(".") > 1 else "enough"
        if BEGUN_ADDRESS.search(written):
            return "begun"
        spelled = runs(text, phrases, spells=True)
        is_spelling = spelled and spelled[-1].is_last and spelled[-1].letters + spelled[-1].digits > 1
        return "begun" if is_spelling else "none"


@dataclass(frozen=True, slots=True)
class Date:
    """A day: with its month it is enough, and with its year it is complete.

    >>> [Date().progress(text, "en") for text in ("on the 3rd", "May 3", "May 3, 2027", "twenty seven", "2027-05-03")]
    ['begun', 'enough', 'met', 'begun', 'met']
    """

    def progress(self, text: str, language: str | None) -> Progress:
        """Return which of day, month and year the caller has said. See `Expectation.progress`."""
        phrases = phrases_for(language)
        found = runs(text, phrases)
        digits = sum(run.digits for run in found)
        words = {word.casefold() for word in re.findall(r"\w+", text)}
        if not digits:
            return "none"
        if words & phrases.months:
            is_open = found[-1].is_open and found[-1].is_last
            return "met" if digits > YEAR_DIGITS and not is_open else "enough"
        if digits >= DATE_DIGITS or (digits > YEAR_DIGITS and WRITTEN_DATE.search(text)):
            return "met"
        return "begun" if found[-1].is_last else "none"


YEAR_DIGITS: Final = 4
DATE_DIGITS: Final = 8
WRITTEN_DATE: Final = re.compile(r"\d+[./-]\d+[./-]\d+")

ADDRESS: Final = re.compile(r"[^\s@]+@(?P<host>[^\s@]+\.(?P<label>[^\W\d_]{2,}))\b(?![.@\w-])")
BEGUN_ADDRESS: Final = re.compile(r"[^\s@]+@\S*$|\S\.[^\s.]+$")


def checked(expectation: object) -> Expectation | None:
    """Return what `Session.expect` was given.

    Raises:
        ConfigurationError: It is neither an expectation nor None.
    """
    if expectation is None or (isinstance(expectation, Expectation) and not isinstance(expectation, type)):
        return expectation
    hint = f"; write {expectation.__name__}(...)" if isinstance(expectation, type) else ""
    raise ConfigurationError(
        f"expect needs Digits(5), Pattern(...), Email(), Phone(), Date(), an object with the method progress, or None, "
        f"not {_kind(expectation)}{hint}"
    )


def _kind(value: Any) -> str:  # noqa: ANN401 - an application may have passed anything
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"


def _counted(text: str, phrases: Phrases, need: Need) -> Progress:
    """Return how far the digits and letters of a text have come; one row of them that is whole is enough."""
    found = runs(text, phrases, spells=need.has_letters, prefixes=need.prefixes)
    if not need.most:  # it consists of fixed words
        return "met" if found else "none"
    is_enough = False
    for run in found:
        if need.is_met_by(run):
            is_enough = True
            if run.digits + run.letters + run.either >= need.most and not run.is_open:
                return "met"
    if is_enough:
        return "enough"
    return "begun" if found and found[-1].is_last else "none"


def _written_address(text: str, phrases: Phrases) -> str:
    """Write spoken signs of an address: "john dot smith at example dot com" becomes "john.smith@example.com"."""
    words = [word.strip(".,!?;") for word in text.casefold().split()]
    written = ""
    at = 0
    while at < len(words):
        signs = {length: tuple(words[at : at + length]) for length in (2, 1)}
        if length := next((length for length, sign in signs.items() if sign in phrases.at), 0):
            written, at = written.rstrip() + "@", at + length
        elif signs[1][0] in phrases.dot:
            written, at = written.rstrip() + ".", at + 1
        else:
            written, at = f"{written}{words[at]} ", at + 1
    return written.rstrip()
