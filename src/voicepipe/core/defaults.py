"""What a part uses where the application chose nothing.

The parts that have a default stand below the vendors, and a default is a vendor's. So a default is declared beside the
part, and chosen in `voicepipe.session.wiring`, the one place above the vendors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Default"]

T = TypeVar("T")


class Default(Generic[T]):
    """A default that is chosen elsewhere; calling it makes one."""

    def __init__(self) -> None:
        self._make: Callable[[], T]

    def choose(self, make: Callable[[], T]) -> None:
        """Choose what makes one."""
        self._make = make

    def __call__(self) -> T:
        """Make one."""
        return self._make()
