# ruff: noqa: RUF001 - dashes, quotes and signs as replies have them
"""How dates, years and times of day are read out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from voicepipe.text.ear.inflection import ending, inflected
from voicepipe.text.ear.numerals import AFTER, BEFORE
from voicepipe.text.ear.rule import GAP, Language, Rule, any_of, last_word

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["rules"]

LONGEST_MONTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

CENTURY_SINCE: Final = 70
"""Two digits of a year from here on are of the last century."""

YEAR: Final = r"[12][0-9]{3}"
DAY: Final = r"[0-3]?[0-9]"


def rules(language: Language) -> Iterator[Rule]:
    """Yield the rules of dates, times and years."""
    calendar, table = _Calendar(language), language.table
    end = r"(?![\w/@-])(?![.,:][0-9])"
    iso = rf"{BEFORE}(?P<year>{YEAR})-(?P<month>[01][0-9])-(?P<day>[0-3][0-9])(?![\w/-])"
    yield Rule("date", re.compile(iso), calendar.date)
    short = rf"{BEFORE}(?P<first>{DAY})(?P<sign>[./-])(?P<second>{DAY})(?P=sign)(?P<year>{YEAR}|[0-9]{{2}}){end}"
    yield Rule("date", re.compile(short), calendar.short)
    dot = rf"(?:\.(?={GAP}\S))?"  # that of a short form, but not that of the sentence
    month = rf"(?P<month>{any_of(calendar.months)})(?!\w){dot}"
    if table.code == "en":
        suffix = r"(?:st|nd|rd|th)?(?!\w)"
        year = rf"(?:,?{GAP}(?P<year>{YEAR}){end})?"
        yield Rule(
            "date", re.compile(rf"(?<!\w){month}{GAP}(?P<day>{DAY}){suffix}(?![:.,]?[0-9]|%){year}"), calendar.date
        )
        day = rf"{BEFORE}(?P<the>)(?P<day>{DAY}){suffix}{GAP}(?:of{GAP})?"
        yield Rule("date", re.compile(day + month + year), calendar.date)
    elif table.code == "de":
        spaced = rf"{BEFORE}(?P<first>{DAY})(?P<sign>\.){GAP}(?P<second>{DAY})\.{GAP}(?P<year>{YEAR}){end}"
        yield Rule("date", re.compile(spaced), calendar.short)
        yield Rule(
            "date", re.compile(rf"{BEFORE}(?P<day>{DAY})\.{GAP}?{month}(?:{GAP}(?P<year>{YEAR}){end})?"), calendar.date
        )
        yield Rule(
            "date", re.compile(rf"{BEFORE}(?P<day>{DAY})\.{GAP}?(?P<number>[01]?[0-9])\.(?!{GAP}?[0-9])"), calendar.day
        )
    else:
        of = rf"{GAP}{table.text('of', 'dates')}{GAP}" if table.text("of", "dates") else GAP
        day = rf"{BEFORE}(?P<day>{DAY})(?:er|[º°])?{of}{month}"
        of_year = of.replace("de", "del?")
        yield Rule("date", re.compile(rf"{day}(?:{of_year}(?P<year>{YEAR}){end})?"), calendar.date)
    of = table.text("of", "dates")
    between = rf"{GAP}(?:{of}l?{GAP})?" if of else GAP
    yield Rule("date", re.compile(rf"(?<!\w){month}{between}(?P<year>{YEAR}){AFTER}"), calendar.month)
    after = any_of(table.words("after", "years"))
    year = rf"(?P<said>(?<!\w)(?:{after}){GAP})(?P<year>{YEAR}){AFTER}(?![-–]|{GAP}[a-zäöüéèñ%°€$])"
    yield Rule("year", re.compile(year, re.IGNORECASE), calendar.year)
    yield from _times(language)


def _times(language: Language) -> Iterator[Rule]:
    times, table = _Times(language), language.table
    hour, minute = r"(?:[01]?[0-9]|2[0-4])", r"[0-5][0-9]"
    word, hour_word = (
        rf"(?:{GAP}?(?P<word>{any_of(table.words(name, 'times'))})(?!\w))" for name in ("word", "hour_word")
    )
    clock = rf"(?P<hour>{hour}):(?P<minute>{minute})"
    until = rf"(?:{GAP}?[-–]{GAP}?(?P<hour2>{hour}):(?P<minute2>{minute}))?"
    yield Rule("time", re.compile(rf"{BEFORE}{clock}{until}(?:{word}|(?![\w/:%]|[.,][0-9]))"), times.time)
    dotted = rf"(?P<hour>{hour})\.(?P<minute>{minute})"
    if table.has("dot_needs_word", "times"):
        yield Rule("time", re.compile(rf"{BEFORE}{dotted}{word}"), times.time)
    if before := table.words("before", "times"):
        said = rf"(?P<said>(?<!\w)(?:{any_of(before)}){GAP}?)"
        yield Rule("time", re.compile(rf"{said}{dotted}{AFTER}", re.IGNORECASE), times.time)
    if table.has("hour_letter", "times"):
        lettered = rf"{BEFORE}(?P<hour>{hour}){GAP}?h(?:{GAP}?(?P<minute>{minute}))?(?![\w/])(?:\.(?={GAP}[a-z]))?"
        yield Rule("time", re.compile(lettered), times.time)
    elif table.words("hour_word", "times"):
        hours = rf"{BEFORE}(?P<hour>{hour})(?:{GAP}?[-–]{GAP}?(?P<hour2>{hour}))?{hour_word}"
        yield Rule("time", re.compile(hours), times.time)


class _Calendar:
    def __init__(self, language: Language) -> None:
        self._language = language
        self._table = language.table
        self._numerals = language.numerals
        self._order = self._table.date_order
        self._years_after = frozenset(self._table.words("after", "years"))
        self.months = self._table.month_names() | self._table.section("months")
        if self._table.code == "en":  # small letters are verbs and "may"
            self.months = {name: number for name, number in self.months.items() if name[0].isupper()}

    def date(self, match: re.Match[str]) -> str | None:
        """Say a date whose parts are known."""
        groups = match.groupdict()
        month = self.months.get(groups["month"]) or int(groups["month"])
        return self._said(match, int(groups["day"]), month, groups.get("year"))

    def short(self, match: re.Match[str]) -> str | None:
        """Say a date in digits, if the language or the region or the numbers decide its order."""
        first, second, year = int(match["first"]), int(match["second"]), match["year"]
        order = self._order
        if not order and len(year) == 4:
            order = "DMY" if first > 12 or first == second else "MDY" if second > 12 else ""
        if not order or (len(year) == 2 and match["sign"] == "-"):
            return match[0]  # it stays, and is no telephone number either
        day, month = (first, second) if order == "DMY" else (second, first)
        return self._said(match, day, month, year)

    def day(self, match: re.Match[str]) -> str | None:
        """Say a German day and month in digits, after a word that a date follows."""
        if not ending(match, self._table, "en"):
            return None
        month = int(match["number"])
        return self._said(match, int(match["day"]), month, None)

    def month(self, match: re.Match[str]) -> str | None:
        """Say a month and a year."""
        said = match[0][: match.start("year") - match.start()]
        name = match["month"]
        return f"{self._table.month_name(self.months[name])}{said[len(name) :].lstrip('.')}{self._year(match['year'])}"

    def year(self, match: re.Match[str]) -> str | None:
        """Say a year after a word that announces one."""
        return match["said"] + self._year(match["year"])

    def _year(self, text: str) -> str:
        year = int(text)
        if len(text) == 2:
            year += 1900 if year >= CENTURY_SINCE else 2000
        return self._numerals.year(year)

    def _said(self, match: re.Match[str], day: int, month: int, year: str | None) -> str | None:
        if not (1 <= month <= 12 and 1 <= day <= LONGEST_MONTHS[month - 1]):
            return None
        name, code = self._table.month_name(month), self._table.code
        if code == "en":
            ordinal = self._numerals.ordinal(day)
            if self._table.locale.territory in (None, "US", "CA") and "the" not in match.re.groupindex:
                said = f"{name} {ordinal}"
            else:
                the = "" if last_word(match.string[: match.start()]) == "the" else "the "
                said = the + self._table.text("day_of_month", "dates").format(day=ordinal, month=name)
            return f"{said}, {self._year(year)}" if year else said
        if code == "de":
            said = f"{inflected(match, self._table, self._numerals.ordinal(day))} {name}"
            return f"{said} {self._year(year)}" if year else said
        of = f" {word} " if (word := self._table.text("of", "dates")) else " "
        is_first = day == 1 and code in ("fr", "it")
        said = f"{self._numerals.ordinal(1) if is_first else self._numerals.cardinal(day)}{of}{name}"
        return f"{said}{of}{self._year(year)}" if year else said


class _Times:
    def __init__(self, language: Language) -> None:
        self._language = language
        self._table = language.table
        self._numerals = language.numerals
        self._gender = self._table.text("hour_gender", "times")

    def time(self, match: re.Match[str]) -> str | None:
        """Say a time of day, or from when to when."""
        groups = match.groupdict()
        hour, minute, word = int(match["hour"]), int(groups.get("minute") or 0), groups.get("word") or ""
        if self._table.code == "en":
            has_minute = groups.get("minute") is not None
            if not has_minute and hour > 12:
                return None  # "15 am" is none
        said = self._clock(hour, minute, word)
        if groups.get("hour2") is not None:
            first = said.removesuffix(self._last(word))
            if self._table.code == "de":
                first = said if groups.get("minute") else self._numerals.cardinal(hour)
            if self._table.code == "en":
                first = self._clock(hour, minute, "a.m.") if word else said
            second = self._clock(int(match["hour2"]), int(groups.get("minute2") or 0), word)
            said = self._language.ranged(match, first, second)
        last = self._last(word)
        is_dotted = match.string.startswith(".", match.end())
        return groups.get("said", "") + said + (last.removesuffix(".") if is_dotted else last)

    def _clock(self, hour: int, minute: int, word: str) -> str:
        numerals, code = self._numerals, self._table.code
        said = numerals.cardinal(hour, self._gender)
        if minute:
            if hour <= 12 and minute in (15, 30) and (form := self._table.text(_PARTS[minute], "times")):
                return form.format(hour=said)
            template = self._table.text("small_minutes" if minute < 10 else "minutes", "times")
        elif code == "en":
            template = "{hour}" if word else "{hour} hundred" if hour > 12 else self._table.text("on_the_hour", "times")
        else:
            template = self._table.text("on_the_hour", "times")
        one, several = self._table.words("hours", "times") or ("", "")
        return template.format(hour=said, minute=numerals.cardinal(minute), hours=one if hour == 1 else several)

    def _last(self, word: str) -> str:
        """Return what is said after a time."""
        if self._table.code == "en" and word:
            return " a.m." if word[0] in "aA" else " p.m."
        return f" {said}" if word and (said := self._table.text("said_word", "times")) else ""


_PARTS: Final = {15: "quarter", 30: "half"}
