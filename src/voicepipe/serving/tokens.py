"""Tokens that let a peer in once: a page gets one from the application's own login, and shows it when it connects.

Rule 1: a token is valid for one connection, of one kind, for 30 s.
Rule 2: at most `Limits.tokens` of each kind are kept; further ones are refused, so that nobody's valid token is lost,
        and visitors of a page who ask for many keep no telephone call out.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Final

from voicepipe.core.clock import loop_time
from voicepipe.serving.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from voicepipe.core.context import Fact

__all__ = ["Tokens"]

TOKEN_BYTES: Final = 24
"""192 random bits: nobody guesses one within its 30 s."""


class Tokens:
    """The tokens that are valid at present.

    Args:
        valid_s: For how long a token is valid.
        most: How many of each kind may be valid at a time.
        clock: What tells the time in seconds; the running event loop's by default.
    """

    def __init__(self, *, valid_s: float = 30.0, most: int = 10_000, clock: Callable[[], float] = loop_time) -> None:
        self._valid_s = valid_s
        self._most = most
        self._clock = clock
        self._counts = Counter[str]()  # by kind
        self._valid: OrderedDict[str, tuple[float, str, dict[str, Fact]]] = OrderedDict()  # the oldest first

    def issue(self, kind: str, facts: Mapping[str, Fact]) -> str:
        """Return a new token, of URL-safe characters.

        Args:
            kind: What it is good for, e.g. the name of a transport.
            facts: What is known about the peer that will show it.

        Raises:
            Refused: Too many are valid.
        """
        now = self._clock()
        while self._valid and next(iter(self._valid.values()))[0] <= now:
            self._counts[self._valid.popitem(last=False)[1][1]] -= 1
        if self._counts[kind] >= self._most:
            raise Refused("rate", "too many tokens; try again soon", status=429, code=4429, retry_s=1.0)
        token = token_urlsafe(TOKEN_BYTES)
        self._valid[token] = now + self._valid_s, kind, dict(facts)
        self._counts[kind] += 1
        return token

    def redeem(self, kind: str, token: str) -> Mapping[str, Fact]:
        """Return the facts of a token, which is invalid from now on, whatever comes of it.

        Raises:
            Refused: It is unknown, was used, has expired, or is good for something else.
        """
        found = self._valid.pop(token, None)
        if found is not None:
            self._counts[found[1]] -= 1
        if found is None or found[1] != kind or found[0] <= self._clock():
            raise Refused("token", "the token is not valid", status=401, code=4401)
        return found[2]

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._valid)

    def __repr__(self) -> str:
        """Show how many there are, and none of them."""
        return f"<Tokens {len(self._valid)} kept>"
