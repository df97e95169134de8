# ruff: noqa: RUF001 - dashes, quotes and signs as replies have them
"""What is known of a language: its table of words, and the package data of CLDR for the names that all languages have.

Rule 1: data only, read when a language is first used; `de.toml` explains the entries.
Rule 2: babel and num2words are imported here and nowhere else, and not before a table is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Final, cast

from voicepipe.errors import MissingExtra
from voicepipe.text.ear.kinds import LANGUAGES

__all__ = ["Table", "table_for"]

UNSURE_ORDERS: Final = frozenset({"en"})
"""Languages in which a date such as 03/04/2025 means two days, unless a region is given."""

SPACES: Final = " \u00a0\u202f"


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A language, perhaps with a region.

    Attributes:
        code: The language, e.g. "en".
        entries: Its table.
        locale: The `babel.Locale`.
        converter: What num2words has for the language.
        units: The module `babel.units`.
        currencies: The module `babel.numbers`.
    """

    code: str
    entries: dict[str, Any]
    locale: Any
    converter: Any
    units: Any
    currencies: Any

    def text(self, name: str, section: str = "", default: str = "") -> str:
        """Return an entry; `default` if there is none."""
        return str(self.section(section).get(name, default))

    def has(self, name: str, section: str = "") -> bool:
        """Return whether an entry is true."""
        return bool(self.section(section).get(name, False))

    def words(self, name: str, section: str = "") -> list[str]:
        """Return the words of an entry."""
        return self.text(name, section).split()

    def section(self, name: str) -> dict[str, Any]:
        """Return a section; the table itself for ""."""
        return cast("dict[str, Any]", self.entries.get(name, {})) if name else self.entries

    def agreement(self, gender: str) -> list[tuple[re.Pattern[str], str]]:
        """Return what becomes of a number before a noun of this gender."""
        return [(re.compile(pattern), text) for pattern, text in self.section("agreement").get(gender, [])]

    @property
    def separators(self) -> tuple[str, str]:
        """The signs between groups of digits, as a class of a pattern, and the sign before decimals."""
        symbols = self.locale.number_symbols.get("latn", self.locale.number_symbols)
        group = str(symbols.get("group", ""))
        if group.isspace():
            return SPACES, str(symbols.get("decimal", "."))
        return "".join(sorted({group, *SPACES[1:], *("'’" if group in "'’" else "")})), str(symbols["decimal"])

    @property
    def date_order(self) -> str:
        """The order of the parts of a short date: "DMY", "MDY", or "" where it is not known."""
        if self.code in UNSURE_ORDERS and self.locale.territory is None:
            return ""
        pattern = str(self.locale.date_formats["short"].pattern)
        order = "".join(part for part in "".join(dict.fromkeys(re.sub(r"[^dMy]", "", pattern))).upper())
        return order if order in ("DMY", "MDY") else ""

    def month_names(self) -> dict[str, int]:
        """Return the months by their names and short forms, without dots."""
        names: dict[str, int] = {}
        for kind in ("format", "stand-alone"):
            for width in ("wide", "abbreviated"):
                for number, name in self.locale.months[kind][width].items():
                    names.setdefault(str(name).rstrip("."), int(number))
        return names | {name.capitalize(): number for name, number in names.items()}

    def month_name(self, number: int) -> str:
        """Return the name of a month, as in a date."""
        return str(self.locale.months["format"]["wide"][number])

    def unit_name(self, unit: str, value: float) -> str:
        """Return the name of a unit after a number, e.g. "kilometers"."""
        written = str(self.units.format_unit(value, unit, length="long", locale=self.locale))
        return re.sub(rf"^[-\d.,'’{SPACES}]+", "", written).replace("\u00a0", " ")

    def currency_name(self, code: str, *, is_one: bool, is_part: bool = False) -> str:
        """Return the name of a currency, or of its hundredth; "" where it has none."""
        forms = self.words(code, "currencies")
        if not forms:
            count = 1 if is_one else 2
            return "" if is_part else str(self.currencies.get_currency_name(code, count=count, locale=self.locale))
        forms = forms[2:] if is_part else forms[:2]
        return forms[0 if is_one else 1] if forms else ""


@cache
def table_for(language: str, part: str) -> Table | None:
    """Return what is known of a language; None for one without a table.

    Args:
        language: E.g. "de" or "en-GB". A region that CLDR does not know is left out.
        part: Who asks, for the error.

    Raises:
        MissingExtra: babel or num2words is not installed.
    """
    import tomllib  # noqa: PLC0415 - Rule 1
    from importlib.resources import files  # noqa: PLC0415 - Rule 1

    code, _, region = language.replace("_", "-").partition("-")
    code = code.lower()
    if code not in LANGUAGES:
        return None
    babel, numerals = _imported("babel", part), _imported("num2words", part)
    try:
        locale = babel.Locale.parse(f"{code}-{region}" if region else code, sep="-")
    except (ValueError, babel.UnknownLocaleError):
        locale = babel.Locale.parse(code)
    text = (files("voicepipe.text") / "ear" / f"{code}.toml").read_text(encoding="utf-8")
    return Table(
        code=code,
        entries=tomllib.loads(text),
        locale=locale,
        converter=numerals.CONVERTER_CLASSES[code],
        units=_imported("babel.units", part),
        currencies=_imported("babel.numbers", part),
    )


def _imported(name: str, part: str) -> Any:  # noqa: ANN401 - a module
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtra(part, name.partition(".")[0], "speakable") from error
