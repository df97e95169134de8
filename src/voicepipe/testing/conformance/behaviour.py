"""How a simulated service behaves while a part is checked.

Rule 1: a service simulates what it can, and says so: a check of what it cannot simulate is reported by name.
Rule 2: what a network does (late bytes, silence, a broken connection) needs no simulator: see `Relay`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from enum import Enum
from typing import Final, TypeAlias

__all__ = ["KEY", "Behaviour", "Server"]

KEY: Final = "sk-conformance-5b1e77c0"
"""The key that the checked part is given. The kit looks for it wherever no key may be."""


class Behaviour(Enum):
    """What a service does. A voice speaks each text, a recogniser hears one turn, a model replies with text."""

    NORMAL = "works as it should"
    EMPTY = "accepts what it is asked, and answers with nothing in it"
    ODD = "cuts its audio in the middle of a sample"
    TOOL_CALL = "answers with a call of the first tool that it is offered"
    UNAUTHORISED = "refuses the key"
    RATE_LIMITED = "refuses because there were too many requests"
    FAILING = "fails on its side, as with HTTP 500"
    INVALID = "refuses what it is asked as invalid, as with HTTP 400"


Server: TypeAlias = Callable[[Behaviour], AbstractAsyncContextManager[str] | None]
"""Starts a service on loopback that behaves like this, and yields its URL; None if it cannot simulate that."""
