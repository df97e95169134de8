"""What a promise is: a model of its own of what can be seen, which says what is wrong at the first fact that shows it.

Rule 1: a promise sees facts alone, so it can be checked again on facts that were tampered with.
Rule 2: it knows nothing of the library but its events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.explore.facts import Fact


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that was broken.

    Attributes:
        promise: Its name: "R1".
        what: What happened.
        at: The number of the fact that shows it.
    """

    promise: str
    what: str
    at: int


class Promise:
    """Base of the promises; the docstring of each is its sentence, and `take` yields what is wrong."""

    name: ClassVar[str]

    def take(self, fact: Fact, at_s: float) -> Iterator[str]:
        """Take the next fact."""
        raise NotImplementedError
