"""Tools and their types, for tests of schemas and of arguments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from voicepipe.tools.tool import tool


class Urgency(StrEnum):
    LOW = "low"
    HIGH = "high"


class Address(BaseModel):
    """Where to send it."""

    street: str
    number: int = 1


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow", strict=False)

    title: int


@dataclass
class Shop:
    key: str

    async def find(self, article: str) -> str:
        """Find an article."""
        return f"{article} in {self.key}"

    def count(self, article: str) -> int:
        """Count an article."""
        return len(article)


@tool
def ping() -> None:
    """Do nothing."""


@tool
def anything(
    json: Address | None = None, copy: list[Loose] | None = None, _id: float = 0.0, day: date | None = None
) -> Any:
    """Take fields whose names mean something to pydantic."""
    return json, copy, _id, day
