"""What a part uses when the application has not chosen anything.

Parts with a default are below the vendors, and the default comes from a vendor. So the default is declared next to the
part, made by `voicepipe.vendors.defaults`, and the package says which maker belongs to which default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Default"]

T = TypeVar("T")


class Default(Generic[T]):
    """A default that is chosen elsewhere, by its name; calling it creates an instance."""

    _makers: ClassVar[dict[str, Callable[[], object]]] = {}

    def __init__(self, name: str) -> None:
        self._name = name

    @classmethod
    def choose(cls, **makers: Callable[[], object]) -> None:
        """Set what creates an instance of each default, by name."""
        cls._makers.update(makers)

    def __call__(self) -> T:
        """Create an instance."""
        return cast("T", self._makers[self._name]())
