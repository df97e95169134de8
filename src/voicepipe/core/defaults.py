"""What a part uses when the application has not chosen anything.

Parts with a default are below the vendors, and the default comes from a vendor. So the default is declared next to the
part and chosen in `voicepipe.session.wiring`, the one place above the vendors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Default"]

T = TypeVar("T")


class Default(Generic[T]):
    """A default that is chosen elsewhere; calling it creates an instance."""

    def __init__(self) -> None:
        self._make: Callable[[], T]

    def choose(self, make: Callable[[], T]) -> None:
        """Set what creates an instance."""
        self._make = make

    def __call__(self) -> T:
        """Create an instance."""
        return self._make()
