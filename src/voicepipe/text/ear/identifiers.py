# ruff: noqa: RUF001 - dashes, quotes and signs as replies have them
"""How telephone numbers, codes and addresses are spelled out, and how ordinals are read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from voicepipe.text.ear.inflection import ending, inflected
from voicepipe.text.ear.numerals import AFTER, ALONE_AFTER, ALONE_BEFORE, BEFORE
from voicepipe.text.ear.rule import GAP, Language, Rule, any_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["address_rules", "rules"]

DOMAINS: Final = (
    "com", "org", "net", "edu", "gov", "info", "io", "ai", "app", "dev", "eu", "uk", "de", "at", "ch", "fr", "es", "it",
    "be", "nl", "us", "ca", "mx",
)  # fmt: skip

PHONES: Final = {
    "en": r"\(?[2-9][0-9]{2}\)?[ .-][0-9]{3}[-. ][0-9]{4}|1[- ][0-9]{3}[- ][0-9]{3}[- ][0-9]{4}|[0-9]{3}-[0-9]{4}",
    "es": r"[6-9][0-9]{2}(?: [0-9]{3}){2}|[6-9][0-9]{2}(?: [0-9]{2}){3}|9[0-9](?: [0-9]{3})(?: [0-9]{2}){2}",
    "it": r"3[0-9]{2}[ -][0-9]{6,7}|3[0-9]{2}(?:[ -][0-9]{3}[ -][0-9]{3,4})|800[ -][0-9]{3}[ -][0-9]{3}",
}
"""Numbers of one country; those that begin with a zero or a plus are known in all."""

SHORTEST_PHONE: Final = 7
LONGEST_PHONE: Final = 15
LONGEST_LETTERS: Final = 4
SHORTEST_ID: Final = 5
SHORTEST_DIGITS_OF_ID: Final = 3
SHORTEST_DIGITS: Final = 7
"""Digits in a row that are nobody's amount, so that they are read one by one."""


def address_rules(language: Language) -> Iterator[Rule]:
    """Yield the rules of addresses: their dots and digits must be taken for nothing else."""
    spell = _Spelling(language)
    name = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    mail = rf"(?<![\w.+@:-])[A-Za-z0-9][A-Za-z0-9._%+-]*@{name}(?:\.{name})+(?![\w@])"
    yield Rule("address", re.compile(mail), spell.address)
    path = r"(?:[/?#][^\s<>\"“”()]*[\w/=~#])?"
    url = rf"(?<![\w@])https?://{name}(?:\.{name})*(?::[0-9]+)?{path}"
    yield Rule("address", re.compile(url), spell.address)
    domain = rf"(?<![\w@.:/-])(?:www\.{name}(?:\.{name})+|(?:{name}\.)+(?:{any_of(DOMAINS)}))(?![\w@-]){path}"
    yield Rule("address", re.compile(domain), spell.address)


def rules(language: Language) -> Iterator[Rule]:
    """Yield the rules of telephone numbers, codes and ordinals."""
    spell, table = _Spelling(language), language.table
    account = r"(?<!\w)[A-Z]{2}[0-9]{2}(?: [A-Z0-9]{4}){2,7}(?: [A-Z0-9]{1,3})?(?!\w)"
    yield Rule("id", re.compile(account), spell.code)
    after = r"(?![\w@])(?!(?:[-–/.,]|[ ]|[ ][(])[0-9])"
    yield Rule(
        "phone", re.compile(rf"(?<![\w+])\+[1-9][0-9]{{0,2}}(?:[ ./-]?\(?[0-9]{{1,12}}\)?){{1,7}}{after}"), spell.phone
    )
    if table.code in PHONES:
        yield Rule("phone", re.compile(rf"{BEFORE}(?:{PHONES[table.code]}){after}"), spell.phone)
    zero = rf"{BEFORE}\(?0[0-9]{{0,5}}\)?(?:[ /.-]{{1,3}}[0-9]{{1,10}}){{1,5}}{after}"
    yield Rule("phone", re.compile(zero), spell.phone)
    code = r"(?<![\w/@.,:*-])(?=[A-Z0-9./-]*[A-Z])(?=[A-Z0-9./-]*[0-9])[A-Z0-9]+(?:[-./][A-Z0-9]+)*"
    yield Rule("id", re.compile(rf"{code}(?![\w@'’-])(?![./]\w)"), spell.code)
    yield Rule("id", re.compile(rf"(?<![\w&])#{GAP}?(?P<digits>[0-9]+){AFTER}"), spell.hashed)
    links = any_of(table.words("links", "ids"))
    for name, shortest in (("words", 4), ("short", 3)):  # "order 500 of them"
        said = rf"(?P<said>(?<!\w)(?:{any_of(table.words(name, 'ids'))}):?{GAP}(?:(?:{links}):?{GAP}){{0,2}})"
        yield Rule("id", re.compile(rf"{said}(?P<digits>[0-9]{{{shortest},}}){AFTER}", re.IGNORECASE), spell.named)
    yield Rule(
        "id",
        re.compile(rf"{BEFORE}{ALONE_BEFORE}(?P<digits>0[0-9]+|[0-9]{{{SHORTEST_DIGITS},}}){AFTER}{ALONE_AFTER}"),
        spell.row,
    )
    yield from _ordinals(language)


def _ordinals(language: Language) -> Iterator[Rule]:
    table, ordinals = language.table, _Ordinals(language)
    if table.code == "en":
        pattern = rf"{BEFORE}(?P<digits>[1-9][0-9]{{0,2}})(?P<sign>st|nd|rd|th)(?!\w)"
        yield Rule("ordinal", re.compile(pattern), ordinals.english)
    elif table.code == "de":
        pattern = rf"{BEFORE}(?P<digits>[1-9][0-9]{{0,2}})(?:\.(?={GAP}[A-ZÄÖÜa-zäöü])|(?=\.\s*$))"
        yield Rule("ordinal", re.compile(pattern), ordinals.german)
    else:
        signs = any_of([*table.words("masculine", "ordinals"), *table.words("feminine", "ordinals")])
        pattern = rf"{BEFORE}(?P<digits>[1-9][0-9]{{0,2}})\.?(?P<sign>{signs})(?!\w)"
        yield Rule("ordinal", re.compile(pattern), ordinals.romance)


class _Spelling:
    def __init__(self, language: Language) -> None:
        self._numerals = language.numerals
        self._signs = language.table.section("addresses")
        self._plus, self._number = language.table.text("plus"), language.table.text("number")
        self._has_pairs = language.table.has("pairs")

    def address(self, match: re.Match[str]) -> str | None:
        """Spell an address."""
        text = re.sub(r"^https?://", "", match[0])
        parts: list[str] = re.findall(r"[0-9]+|[^\W\d_]+|.", text)
        return " ".join(self._part(part) for part in parts if part.strip("/") or len(text) > 1)

    def _part(self, part: str) -> str:
        if part.isascii() and part.isdigit():
            return self._numerals.digits(part)
        return str(self._signs.get(part, part))

    def phone(self, match: re.Match[str]) -> str | None:
        """Read a telephone number, group by group."""
        groups: list[str] = re.findall(r"[0-9]+", match[0])
        if not SHORTEST_PHONE <= sum(map(len, groups)) <= LONGEST_PHONE:
            return None
        said = [
            self._numerals.pair(group) if self._has_pairs and len(group) <= 2 else self._numerals.digits(group)
            for group in groups
        ]
        return (f"{self._plus} " if match[0].startswith("+") else "") + ", ".join(said)

    def code(self, match: re.Match[str]) -> str | None:
        """Spell a code of letters and digits, unless it may be a word or a short name such as "B12"."""
        groups: list[str] = re.split(r"[-./ ]", match[0])
        digits = sum(character.isdigit() for character in match[0])
        runs: list[str] = re.findall(r"[A-Z]+", match[0])
        if re.fullmatch(r"[0-9]+[A-Z]{1,3}", match[0]):  # "500GB", "14C"
            return None
        if (
            digits < SHORTEST_DIGITS_OF_ID
            or sum(map(len, groups)) < SHORTEST_ID
            or max(map(len, runs)) > LONGEST_LETTERS
        ):
            return None
        return ", ".join(
            " ".join(self._numerals.digits(one) if one.isdigit() else one for one in group) for group in groups
        )

    def hashed(self, match: re.Match[str]) -> str | None:
        """Read what follows a "#": a small number as one, others digit by digit."""
        digits = match["digits"]
        is_small = len(digits) <= 2 and digits[0] != "0"
        return f"{self._number} {self._numerals.cardinal(int(digits)) if is_small else self._numerals.digits(digits)}"

    def named(self, match: re.Match[str]) -> str | None:
        """Read digits after a word that says that they are a code."""
        return match["said"] + self._numerals.digits(match["digits"])

    def row(self, match: re.Match[str]) -> str | None:
        """Read digits one by one."""
        return self._numerals.digits(match["digits"])


class _Ordinals:
    def __init__(self, language: Language) -> None:
        self._numerals = language.numerals
        self._table = language.table
        self._feminine = frozenset(self._table.words("feminine", "ordinals"))
        self._first = self._table.text("feminine_first", "ordinals")
        self._apocope = self._table.text("apocope", "ordinals")
        self._highest = int(self._table.text("highest", "ordinals") or 999)

    def english(self, match: re.Match[str]) -> str | None:
        """Say "23rd", but not "23th"."""
        number = int(match["digits"])
        sign = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
        return self._numerals.ordinal(number) if match["sign"] == sign else None

    def german(self, match: re.Match[str]) -> str | None:
        """Say "3." after a word that an ordinal follows: otherwise it may be an item of a list, or end a sentence."""
        if not ending(match, self._table):
            return None
        return inflected(match, self._table, self._numerals.ordinal(int(match["digits"])))

    def romance(self, match: re.Match[str]) -> str | None:
        """Say "2e", "2.ª" or "2º"."""
        number, sign = int(match["digits"]), match["sign"]
        if number > self._highest:
            return None
        said = self._numerals.ordinal(number)
        if sign in self._feminine:
            return self._first if number == 1 and self._first else re.sub(r"o\b", "a", said)
        if sign == self._apocope and number in (1, 3):
            return said.removesuffix("o")
        return said
