"""Tokens that let a peer in once: a page gets one from the application's own login, and shows it when it connects.

Rule 1: a token is valid for one connection, of one kind, for 30 s.
Rule 2: at most `Limits.tokens` of each kind are kept; further ones are refused, so that nobody's valid token is lost,
        and visitors of a page who ask for many keep no telephone call out.
Rule 3: with a store, a token is valid at every worker. Only its hash lies there, so that nobody who reads the store can
        call with it. While the store is away, a token is valid at the worker that issued it.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from hashlib import sha256
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any, Final

from voicepipe.core.clock import loop_time
from voicepipe.core.log import Personal, log
from voicepipe.errors import ConfigurationError, StoreError
from voicepipe.keeping.answering import answering
from voicepipe.serving.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from voicepipe.core.context import Fact
    from voicepipe.keeping.store import Store

__all__ = ["Tokens"]

TOKEN_BYTES: Final = 24
"""192 random bits: nobody guesses one within its 30 s."""


class Tokens:
    """The tokens that are valid at present.

    Args:
        valid_s: For how long a token is valid.
        most: How many of each kind this worker may have issued that are valid at a time.
        clock: What tells the time in seconds; the running event loop's by default.
        store: Where the workers of a service share them; None for tokens of this worker only. It has to be open.
    """

    def __init__(
        self,
        *,
        valid_s: float = 30.0,
        most: int = 10_000,
        clock: Callable[[], float] = loop_time,
        store: Store | None = None,
    ) -> None:
        self._valid_s = valid_s
        self._most = most
        self._clock = clock
        self._store = store
        self._is_store_away = False
        self._counts = Counter[str]()  # by kind
        # The oldest first. What one of them stands for is None where it lies in the store.
        self._valid: OrderedDict[str, tuple[float, str, dict[str, Fact] | None]] = OrderedDict()

    async def issue(self, kind: str, facts: Mapping[str, Fact]) -> str:
        """Return a new token, of URL-safe characters.

        Args:
            kind: What it is good for, e.g. the name of a transport.
            facts: What is known about the peer that will show it.

        Raises:
            Refused: Too many are valid.
            ConfigurationError: There is a store, and a fact is nothing that can be written there.

        Cancelling may leave one behind that nobody knows, until it expires.
        """
        now = self._clock()
        while self._valid and next(iter(self._valid.values()))[0] <= now:
            self._counts[self._valid.popitem(last=False)[1][1]] -= 1
        if self._counts[kind] >= self._most:
            raise Refused("rate", "too many tokens; try again soon", status=429, code=4429, retry_s=1.0)
        token, known = token_urlsafe(TOKEN_BYTES), dict(facts)
        self._valid[token] = now + self._valid_s, kind, known
        self._counts[kind] += 1
        if self._store is not None and await self._shares(self._store, kind, token, known) and token in self._valid:
            self._valid[token] = now + self._valid_s, kind, None
        return token

    async def redeem(self, kind: str, token: str) -> Mapping[str, Fact]:
        """Return the facts of a token, which is invalid from now on, whatever comes of it.

        Raises:
            Refused: It is unknown, was used, has expired, or is good for something else; or the store in which it may
                lie cannot be reached.

        Cancelling may have used it.
        """
        found = self._valid.pop(token, None)
        facts: Mapping[str, Fact] | None = None
        if found is not None:
            self._counts[found[1]] -= 1
            facts = found[2] if found[1] == kind and found[0] > self._clock() else None
        if self._store is not None and (found is None or found[2] is None):
            facts = await self._shared(self._store, kind, token)
        if facts is None:
            raise Refused("token", "the token is not valid", status=401, code=4401)
        return facts

    async def _shares(self, store: Store, kind: str, token: str, facts: Mapping[str, Fact]) -> bool:
        """Put a token into the store, and return whether it lies there."""
        written = _written(kind, facts)
        try:
            with answering():
                await store.keep(_key(token), written, expires_s=self._valid_s)
        except StoreError as error:
            self._note_away(error)
            return False
        self._is_store_away = False
        return True

    async def _shared(self, store: Store, kind: str, token: str) -> Mapping[str, Fact] | None:
        try:
            with answering():
                value = await store.take(_key(token))
        except StoreError as error:
            self._note_away(error)
            raise Refused(
                "store", "the token cannot be checked now; try again soon", status=503, code=1013, retry_s=1.0
            ) from error
        self._is_store_away = False
        return None if value is None else _read(kind, value)

    def _note_away(self, error: StoreError) -> None:
        """Log an outage of the store, once."""
        if not self._is_store_away:
            log.warning("tokens are valid at the worker that issued them only, until the store is back: %s", error)
        self._is_store_away = True

    def __len__(self) -> int:
        """Return how many this worker has issued that are valid, or may be."""
        return len(self._valid)

    def __repr__(self) -> str:
        """Show how many there are, and none of them."""
        return f"<Tokens {len(self._valid)} kept>"


def _key(token: str) -> str:
    return f"token:{sha256(token.encode(errors='surrogatepass')).hexdigest()}"


def _written(kind: str, facts: Mapping[str, Fact]) -> bytes:
    personal = [name for name, fact in facts.items() if isinstance(fact, Personal)]
    try:
        return json.dumps({"kind": kind, "facts": dict(facts), "personal": personal}).encode()
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"the facts of a token must be texts, numbers and booleans ({error})") from None


def _read(kind: str, value: bytes) -> Mapping[str, Fact] | None:
    """Return the facts of a token; None if it is good for something else."""
    try:
        written: Any = json.loads(value)
        if written["kind"] != kind:
            return None
        personal = frozenset(written["personal"])
        return {name: Personal(fact) if name in personal else fact for name, fact in written["facts"].items()}
    except (ValueError, TypeError, LookupError, AttributeError):
        log.error("what the store holds for a token is nothing that voicepipe wrote")
        return None
