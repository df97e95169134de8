"""All promises, each checked after every fact of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.explore.content import Bounded, Heard, Once, Silence, Tools
from tests.explore.course import Answered, Exit, Loud, Settles, Whole
from tests.explore.moving import NotTwice, RunsOnce, SameCall
from tests.explore.promise import Broken, Promise

if TYPE_CHECKING:
    from tests.explore.facts import Noted

PROMISES: tuple[type[Promise], ...] = (
    Settles, Once, Whole, Heard, Tools, Silence, Bounded, Exit, Loud, Answered, RunsOnce, NotTwice, SameCall,
)  # fmt: skip


class Checker:
    """Shows each fact to all promises."""

    def __init__(self) -> None:
        self.broken: list[Broken] = []
        self._promises = [promise() for promise in PROMISES]
        self._count = 0

    def take(self, noted: Noted) -> None:
        """Take the next fact."""
        self._count += 1
        for promise in self._promises:
            for what in promise.take(noted.fact, noted.at_s):
                self.add(promise.name, what)

    def add(self, name: str, what: str) -> None:
        """Note that a promise was broken."""
        self.broken.append(Broken(name, what, self._count - 1))


def check(story: list[Noted]) -> list[Broken]:
    """Return what is broken in the facts of a call."""
    checker = Checker()
    for noted in story:
        checker.take(noted)
    return checker.broken
