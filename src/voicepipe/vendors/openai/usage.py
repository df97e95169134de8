"""What a model's service reports about a request: the tokens, and how many requests are left. Pure.

Rule 1: this library reads a report if it comes, and never asks for one. A malformed report is ignored.

Source: OpenAI's API reference, "Chat completions" and "Rate limits", and AssemblyAI's reference of the LLM Gateway,
read 2026-11-22.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from voicepipe.model.model import Usage
from voicepipe.vendors.loose_json import as_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["RateLimit", "limit_in", "usage_in"]

NEAR: Final = 0.2
"""Below this part of the limit few requests are left, ..."""

NEAR_REQUESTS: Final = 3
"""... and with so many requests, whatever the limit: a turn with a tool takes two."""

KINDS: Final = ("", "-requests")
"""How the headers for limits on requests end: AssemblyAI's gateway has no others, OpenAI also limits tokens."""

DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")

LONGEST_S: Final = 1e6
"""A larger number of seconds is a date, and this library has no calendar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """How many requests are left.

    Attributes:
        remaining: Requests left.
        limit: Requests in the whole window.
        reset_s: Seconds until a new window begins; None when the service does not say.
    """

    remaining: int
    limit: int
    reset_s: float | None

    @property
    def is_near(self) -> bool:
        """Whether few requests are left."""
        return self.remaining < NEAR * self.limit or self.remaining <= NEAR_REQUESTS


def usage_in(chunk: Mapping[str, Any]) -> Iterator[Usage]:
    """Yield the tokens that an event of a stream or a whole answer counts, if it does."""
    usage = as_object(chunk.get("usage"))
    written, read = (
        _first(usage.get(f"{kind}_tokens") for kind in kinds)
        for kinds in (("completion", "output"), ("prompt", "input"))
    )
    if written is not None and read is not None:
        model = chunk.get("model")
        yield Usage(model=model if isinstance(model, str) else "", input_tokens=read, output_tokens=written)


def limit_in(header: Callable[[str], str | None]) -> Iterator[RateLimit]:
    """Yield how many requests are left, if the head of a response says so."""
    for kind in KINDS:
        limit, remaining = (_count(header(f"x-ratelimit-{name}{kind}")) for name in ("limit", "remaining"))
        if limit is not None and remaining is not None:
            reset_s = _seconds(header(f"x-ratelimit-reset{kind}"))
            yield RateLimit(remaining=remaining, limit=limit, reset_s=reset_s)
            return


def _first(counts: Iterable[object]) -> int | None:
    return next((count for count in counts if type(count) is int and count >= 0), None)


def _count(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[0-9]{1,15}", text) else None


def _seconds(text: str | None) -> float | None:
    """Return the seconds in "12", "0.5", "6m0s" or "120ms"."""
    text = (text or "").strip()
    if re.fullmatch(r"[0-9]{1,15}(\.[0-9]+)?", text):
        return seconds if (seconds := float(text)) < LONGEST_S else None
    if not text or not (found := DURATION.fullmatch(text)):
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
