"""A worker as its engine knows it, and what an engine can do with one that it has launched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.fleet.application import Listening

__all__ = ["ANSWER_S", "Handle", "Load", "Worker"]

ANSWER_S: Final = 2.0
"""How long a worker may take to say how busy it is."""


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a worker is.

    Attributes:
        calls: Its calls at present.
        places: How many it takes at a time.
        is_draining: Whether it takes no further ones, because it will end.
        lag_s: How late its event loop is: 99 of 100 ticks of the last 10 s were less late, in seconds.
        refuses: Why it takes no further call at present, in a word: "draining", "full", "lag", "silent"; "" if it does.
    """

    calls: int
    places: int
    is_draining: bool = False
    lag_s: float = 0.0
    refuses: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether it takes a further call."""
        return not self.is_draining and not self.refuses and self.calls < self.places


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker as it is at present.

    Attributes:
        id: What it is called; no other worker of this engine ever has the same name.
        url: Where the gateway reaches it, e.g. "http://127.0.0.1:4711".
        load: How busy it is.
        index: Its place among the workers, from 0 on; one that comes in its place may have the same.
        media_url: Where callers reach it, e.g. "wss://w0.example.com".
        paths: The paths that it answers, as starlette writes them.
    """

    id: str
    url: str
    load: Load
    index: int = 0
    media_url: str = ""
    paths: Sequence[str] = ()


class Handle(ABC):
    """A worker that an engine has launched. Its methods may be called at the same time.

    Attributes:
        listening: What it reported when it began to listen.
    """

    listening: Listening

    @abstractmethod
    async def wait_ended(self) -> str:
        """Return once the worker has ended, however it did, and how in words: "it was killed by the signal 9"."""

    @abstractmethod
    async def load(self) -> Load:
        """Return how busy it is. Cancelled after 2 s.

        Raises:
            WorkerError: It does not answer, or not with a load.
        """

    @abstractmethod
    async def drain(self, within_s: float, *, hands_over: bool) -> None:
        """Ask it to take no further call and to end with its last one, after this time at the latest; do not wait.

        Asked once more, it ends its calls at once. A worker that has ended takes no notice.

        Args:
            within_s: How long its calls may go on.
            hands_over: Whether other workers are there to go on with calls that have a record.
        """

    @abstractmethod
    async def kill(self) -> None:
        """End it at once, whatever its calls are doing. A worker that has ended stays so."""
