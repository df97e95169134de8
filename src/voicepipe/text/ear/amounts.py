# ruff: noqa: RUF001 - dashes, quotes and signs as replies have them
"""How sums of money, measures, shares and plain numbers are read out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from voicepipe.text.ear.numerals import AFTER, ALONE_AFTER, ALONE_BEFORE, BEFORE, Number
from voicepipe.text.ear.rule import GAP, Language, Rule, any_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["number_rules", "rules"]

SIGNS: Final = {"US$": "USD", "$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR"}

CODES: Final = (
    "USD", "EUR", "GBP", "CHF", "JPY", "CAD", "AUD", "NZD", "SEK", "NOK", "DKK", "PLN", "CZK", "HUF", "MXN", "BRL",
    "INR", "CNY", "ZAR", "TRY",
)  # fmt: skip

PESOS: Final = frozenset({"AR", "CL", "CO", "MX", "UY"})
"""Regions of Spanish in which "$" is the peso."""

UNITS: Final = {
    "km": "length-kilometer", "m": "length-meter", "cm": "length-centimeter", "mm": "length-millimeter",
    "ft": "length-foot", "mi": "length-mile", "kg": "mass-kilogram", "g": "mass-gram", "mg": "mass-milligram",
    "t": "mass-tonne", "lb": "mass-pound", "lbs": "mass-pound", "oz": "mass-ounce", "l": "volume-liter",
    "L": "volume-liter", "ml": "volume-milliliter", "mL": "volume-milliliter", "cl": "volume-centiliter",
    "°C": "temperature-celsius", "°F": "temperature-fahrenheit", "km/h": "speed-kilometer-per-hour",
    "mph": "speed-mile-per-hour", "kWh": "energy-kilowatt-hour", "kW": "power-kilowatt", "W": "power-watt",
    "V": "electric-volt", "KB": "digital-kilobyte", "MB": "digital-megabyte", "GB": "digital-gigabyte",
    "TB": "digital-terabyte", "Hz": "frequency-hertz", "kHz": "frequency-kilohertz", "MHz": "frequency-megahertz",
    "GHz": "frequency-gigahertz", "h": "duration-hour", "min": "duration-minute", "s": "duration-second",
    "sec": "duration-second", "ms": "duration-millisecond", "ha": "area-hectare", "m²": "area-square-meter",
    "km²": "area-square-kilometer", "m³": "volume-cubic-meter", "°": "",
}  # fmt: skip
"""Symbols after a number, by their names in CLDR; the degree has a word of its own."""

MILLION: Final = 1_000_000

LONGEST_PLAIN: Final = 3
"""Digits of a bare number that is nothing but a number: one of four may be a year, or the end of an account."""

AFTER_CAPITALS: Final = re.compile(r"(?<!\w)[A-Z]{1,3}[ \u00a0]$")

FIRST_YEAR: Final = 1100
LAST_YEAR: Final = 2099


def rules(language: Language) -> Iterator[Rule]:
    """Yield the rules of amounts, the more special ones first."""
    n, table = language.numerals.pattern, language.table
    amount = _Amounts(language)
    magnitudes = any_of(table.section("magnitudes"))
    words = {word for code in table.section("currencies") for word in table.words(code, "currencies")[:2]}
    signs, numbers = any_of([*SIGNS, *CODES]), rf"(?P<a>{n})(?:[.,][-–—]{{1,2}}|{GAP}?[-–]{GAP}?(?P<b>{n}))?"
    sums = numbers.replace(f"(?P<a>{n})", rf"(?P<a>{n}|{re.escape(language.numerals.decimal)}[0-9]{{2}})")
    minus = r"(?P<minus>[-−])?"
    many = rf"(?:{GAP}?(?P<many>{magnitudes})(?!\w))?"
    of = rf"(?:{any_of([table.text('of', 'money'), table.text('of_vowel', 'money')])})?{GAP}?"
    before, after = r"(?<![\w/@#:.,])(?<!\w[-–−])", r"(?!\w)(?![.,][0-9])"
    yield Rule("money", re.compile(rf"{before}{minus}(?P<sign>{signs}){GAP}?{sums}{many}{after}"), amount.money)
    named = rf"{BEFORE}{minus}{numbers}{many}{GAP}?(?:{of})(?P<sign>{any_of([*SIGNS, *CODES, *words])})(?!\w)"
    yield Rule("money", re.compile(named), amount.money)
    yield Rule("percent", re.compile(rf"{BEFORE}{minus}{numbers}{GAP}?%(?!\w)"), amount.percent)
    dot = rf"(?:(?<=[a-z]{{2}})\.(?={GAP}[a-z0-9]|,))?"  # "15 min. before", but not the end of the sentence
    unit = rf"{BEFORE}{minus}{numbers}{GAP}?(?P<unit>{any_of(amount.units)})(?![\w/°²³])(?![-.]\w)(?<![0-9]s){dot}"
    yield Rule("unit", re.compile(unit), amount.unit)


def number_rules(language: Language) -> Iterator[Rule]:
    """Yield the rules of numbers that nothing else has read."""
    n, table = language.numerals.pattern, language.table
    amount = _Amounts(language)
    long_words = [word for word in table.section("magnitudes") if len(word.rstrip(".")) > 2]
    plain = rf"{AFTER}{ALONE_AFTER}(?![-–]\w)(?!{GAP}?[%°$€£¥₹¢])"
    for dash, follows in (("–", ""), ("-", rf"(?={GAP}[^\W\d_])")):
        yield Rule(
            "range", re.compile(rf"{BEFORE}(?P<a>{n}){GAP}?{dash}{GAP}?(?P<b>{n}){plain}{follows}"), amount.range
        )
    yield Rule("number", re.compile(rf"{BEFORE}(?P<a>{n}){GAP}(?P<many>{any_of(long_words)})(?!\w)"), amount.many)
    yield Rule("number", re.compile(rf"{BEFORE}{ALONE_BEFORE}(?P<minus>[-−])?(?P<a>{n}){plain}"), amount.plain)


class _Amounts:
    def __init__(self, language: Language) -> None:
        self._language = language
        self._table = language.table
        self._numerals = language.numerals
        self.units: dict[str, str] = UNITS | self._table.section("units")
        self._codes = dict(SIGNS)
        if self._table.code == "es" and self._table.locale.territory in PESOS:
            territory = self._table.locale.territory
            self._codes["$"] = str(self._table.currencies.get_territory_currencies(territory)[0])
        for code in self._table.section("currencies"):
            for word in self._table.words(code, "currencies")[:2]:
                self._codes.setdefault(word, code)

    def money(self, match: re.Match[str]) -> str | None:
        """Say a sum, or a range of sums."""
        code = self._codes.get(match["sign"], match["sign"])
        low, high = self._both(match)
        if low is None or (match["b"] and high is None):
            return None
        if high is not None:
            name = self._table.currency_name(code, is_one=False)
            noun = self._magnitude(match["many"], high) or name
            said = self._language.ranged(match, self._numerals.said(low, noun), self._numerals.said(high, noun))
            return f"{said} {self._counted(match['many'], high, name)}"
        return self._signed(match, self._sum(low, code, match["many"]))

    def percent(self, match: re.Match[str]) -> str | None:
        """Say a share."""
        return self._counted_range(match, self._table.text("percent"), "")

    def unit(self, match: re.Match[str]) -> str | None:
        """Say a measure."""
        unit = self.units[match["unit"]]
        last = self._numerals.read(match["b"] or match["a"])
        if last is None:
            return None
        name = self._table.unit_name(unit, last.value) if unit else self._table.text("degrees")
        return self._counted_range(match, name, name)

    def range(self, match: re.Match[str]) -> str | None:
        """Say a range of plain numbers or years; numbers that do not rise may be a score, and are left."""
        low, high = self._both(match)
        if low is None or high is None or low.value >= high.value:
            return None
        if all(_is_year(match[name]) for name in "ab"):
            return self._language.ranged(match, self._numerals.year(low.whole), self._numerals.year(high.whole))
        if not self._numerals.is_sure(high.whole) or any(self._is_bare(match[name]) for name in "ab"):
            return None
        return self._language.ranged(match, self._numerals.said(low), self._numerals.said(high))

    def many(self, match: re.Match[str]) -> str | None:
        """Say a number of millions."""
        number = self._numerals.read(match["a"])
        if number is None:
            return None
        magnitude = self._magnitude(match["many"], number)
        return f"{self._numerals.said(number, magnitude)} {magnitude}"

    def plain(self, match: re.Match[str]) -> str | None:
        """Say a number, unless it may be a year, a part of a longer one, or agree with a noun that nobody knows."""
        text = match["a"]
        number = self._numerals.read(text)
        if number is None or self._is_bare(text):
            return None
        if not number.decimals and not self._numerals.is_sure(number.whole):
            return None
        if not match.string[: match.start()].strip() and match.string.startswith(". ", match.end()):
            return None  # an item of a list
        if AFTER_CAPITALS.search(match.string[: match.start()]):
            return None  # "LH 458", "Gate A 14"
        return self._signed(match, self._numerals.said(number))

    def _is_bare(self, text: str) -> bool:
        """Return whether a number has too many digits for one, with nothing between them."""
        whole = text.partition(self._numerals.decimal)[0]
        return whole.isdigit() and len(whole) > LONGEST_PLAIN

    def _both(self, match: re.Match[str]) -> tuple[Number | None, Number | None]:
        return self._numerals.read(match["a"]), self._numerals.read(match["b"]) if match["b"] else None

    def _signed(self, match: re.Match[str], said: str) -> str:
        return f"{self._table.text('minus')} {said}" if match["minus"] else said

    def _counted_range(self, match: re.Match[str], name: str, noun: str) -> str | None:
        low, high = self._both(match)
        if low is None or (match["b"] and high is None):
            return None
        if high is None:
            counted = self._numerals.counted(low, name) if noun else f"{self._numerals.said(low)} {name}"
            return self._signed(match, counted)
        if low.value >= high.value:
            return None
        said = self._language.ranged(match, self._numerals.said(low, noun), self._numerals.said(high, noun))
        return f"{said} {name}"

    def _sum(self, number: Number, code: str, many: str | None) -> str:
        name = self._table.currency_name(code, is_one=number.is_one and not many)
        part = self._table.currency_name(code, is_one=number.decimals == "01", is_part=True)
        if many or not number.decimals or len(number.decimals) != 2 or not part:
            noun = self._magnitude(many, number) or name
            return f"{self._numerals.said(number, noun)} {self._counted(many, number, name)}"
        minor = self._numerals.cardinal(int(number.decimals), self._numerals.gender(part))
        if number.decimals == "00":
            return f"{self._numerals.said(Number(number.whole), name)} {self._one_or_many(number.whole, code)}"
        if not number.whole:
            return f"{minor} {part}"
        whole = f"{self._numerals.said(Number(number.whole), name)} {self._one_or_many(number.whole, code)}"
        template = self._table.text("whole_and_part", "money")
        alone = minor if "{minor}" in template else self._numerals.cardinal(int(number.decimals))
        return template.format(whole=whole, part=alone, minor=part)

    def _one_or_many(self, whole: int, code: str) -> str:
        return self._table.currency_name(code, is_one=whole == 1)

    def _magnitude(self, many: str | None, number: Number) -> str:
        """Return "millions" or the like, "" without any."""
        forms = self._table.words(many, "magnitudes") if many else []
        return forms[0 if number.is_one else 1] if forms else ""

    def _counted(self, many: str | None, number: Number, name: str) -> str:
        """Return what is counted, with its magnitude and the word between both."""
        magnitude = self._magnitude(many, number)
        of = self._table.text("of", "money")
        if not magnitude:
            is_round = not number.decimals and number.whole and not number.whole % MILLION
            return self._of(name) if is_round and of else name
        return f"{magnitude} {self._of(name) if of and many and magnitude not in ('mil', 'mille') else name}"

    def _of(self, name: str) -> str:
        vowel = self._table.text("of_vowel", "money")
        return f"{vowel}{name}" if vowel and name[0] in "aeiouyé" else f"{self._table.text('of', 'money')} {name}"


def _is_year(text: str) -> bool:
    return len(text) == 4 and text.isdigit() and FIRST_YEAR <= int(text) <= LAST_YEAR
