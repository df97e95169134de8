"""What is read out, and in which languages. Light: it is imported with `Speakable`, and the rules are not."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

__all__ = ["KINDS", "LANGUAGES", "Kind"]

LANGUAGES: Final = ("de", "en", "es", "fr", "it")
"""The languages that are read out; each has a table in this folder."""

Kind: TypeAlias = Literal[
    "money", "date", "time", "phone", "unit", "ordinal", "id", "percent", "year", "range", "address", "abbreviation",
    "number",
]  # fmt: skip
"""What is read out."""

KINDS: Final = frozenset[str](get_args(Kind))
