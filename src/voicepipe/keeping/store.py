"""Where the workers of a service keep what another one needs to go on with a call, and the tokens of their door.

Rule 1: a call belongs to the worker that claimed it last. Each claim makes the revision larger, and what a worker with
        a smaller one writes never replaces the record.
Rule 2: nothing is kept for ever: whatever is written says when it expires, by the store's own clock.
Rule 3: no operation waits without end: one that cannot be done raises `StoreError`, and the call goes on without it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from voicepipe.errors import ConfigurationError, StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["RECORD_BYTES", "Kept", "Store", "check_data", "check_name", "check_times"]

RECORD_BYTES: Final = 65_536
"""What a record may take. A call of an hour, without a pause, takes about half of it; a store serves many calls."""

NAME_CHARACTERS: Final = 512
"""How long the id of a call, a worker or a token may be. Ids of telephone networks have up to 64."""

LONGEST_S: Final = 31 * 86_400.0
"""For how long something may be kept: a month."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a store holds of a call.

    Attributes:
        data: What was written last, by a worker to which the call belonged then; b"" before the first time. It holds
            what was said in the call, so no `repr` shows it.
        revision: The number of the claim that counts. Of two workers the one with the larger number has the call.
        worker: Which worker has it; "" if the store has lost that.
        lease_left_s: For how many more seconds a worker that had the call may act for it without asking. In what
            `claim` returns, that is the worker before.
        late: What a worker wrote after it had lost the call; None if none did. It never replaces `data`.
    """

    data: bytes = field(repr=False)
    revision: int
    worker: str
    lease_left_s: float = 0.0
    late: bytes | None = field(default=None, repr=False)


class Store(ABC):
    """Keeps the records of calls, and values that are good once. Subclass it for a service of your own.

    All workers of a service share one. Each operation is atomic for all of them. `conformance.check_store` of
    `voicepipe.testing` checks a subclass.

    A record holds what was said in a call, and who called: it is personal data. `forget` deletes it, and it expires.

    Any operation raises `StoreError` if the store cannot be reached, does not answer in time, or holds nonsense; or if
    a name or the data is too long. One that is cancelled may have been done.
    """

    @property
    def is_shared(self) -> bool:
        """Whether another worker could go on with a call now. If not, a server that stops hands no call over."""
        return True

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Hold what the operations need. A store that cannot be reached is no error here, because calls can do without.

        Raises:
            MissingExtra: The store needs a package that is not installed.
        """
        yield

    @abstractmethod
    async def create(self, call_id: str, worker: str, expires_s: float) -> int:
        """Begin the record of a new call, and return its revision.

        A record of this name is replaced, and the worker that had it has lost its call.

        Args:
            call_id: The name of the record; any text of up to 512 characters.
            worker: Which worker has the call.
            expires_s: In how many seconds the record expires.
        """

    @abstractmethod
    async def put(self, call_id: str, data: bytes, *, revision: int, lease_s: float, expires_s: float) -> bool:
        """Write what is to be known of a call, and return whether the call still belongs to this worker.

        False means that another worker has claimed it: this one has to let go of the call. What it wrote is kept apart,
        as `Kept.late`, until the record expires.

        A record that the store has lost is made again. One that was forgotten is not: then nothing is kept, and the
        call still belongs to this worker.

        Args:
            call_id: The name of the record.
            data: What is written, up to 65,536 bytes.
            revision: What `create` or `claim` has given this worker.
            lease_s: For how long this worker may act for the call before it writes again; 0 if it does nothing.
            expires_s: In how many seconds the record expires, unless it is written again.
        """

    @abstractmethod
    async def get(self, call_id: str) -> Kept | None:
        """Return what is kept of a call, and change nothing; None if there is none, or it has expired."""

    @abstractmethod
    async def claim(self, call_id: str, worker: str) -> Kept | None:
        """Take a call over, and return what is kept of it; None if there is none, or it has expired.

        From now on the call belongs to this worker, under the revision that is returned, and the worker before is
        refused. When the record expires does not change.
        """

    @abstractmethod
    async def forget(self, call_id: str) -> None:
        """Delete what is kept of a call. What its workers write from now on is not kept."""

    @abstractmethod
    async def keep(self, key: str, value: bytes, *, expires_s: float) -> None:
        """Keep a value that is good once, e.g. what a token stands for. One of this key is replaced.

        Args:
            key: The name of the value, up to 512 characters.
            value: Up to 65,536 bytes.
            expires_s: In how many seconds it expires.
        """

    @abstractmethod
    async def take(self, key: str) -> bytes | None:
        """Return a value and delete it, so that nobody else gets it; None if there is none, or it has expired."""


def check_name(what: str, name: str) -> None:
    """Refuse a name that no store takes.

    Args:
        what: What the name is of, for the message.
        name: The name.

    Raises:
        StoreError: It is empty or too long.
    """
    if not 0 < len(name) <= NAME_CHARACTERS:
        raise StoreError(f"the {what} has {len(name)} characters; a store takes from 1 to {NAME_CHARACTERS}")


def check_data(data: bytes) -> None:
    """Refuse what is too large to be kept.

    Raises:
        StoreError: It is.
    """
    if len(data) > RECORD_BYTES:
        raise StoreError(
            f"the record has {len(data)} bytes, and a store takes {RECORD_BYTES}; keep less of the history with "
            "Window(...), and large values out of the session's facts and the parts' state"
        )


def check_times(expires_s: float, lease_s: float = 0.0) -> None:
    """Refuse times that make no sense.

    Raises:
        ConfigurationError: One does not.
    """
    if not 0.0 < expires_s <= LONGEST_S:
        raise ConfigurationError(f"expires_s must be above 0 and at most {LONGEST_S:.0f} seconds, not {expires_s!r}")
    if not 0.0 <= lease_s <= LONGEST_S or math.isnan(lease_s):
        raise ConfigurationError(f"lease_s must be from 0 to {LONGEST_S:.0f} seconds, not {lease_s!r}")
