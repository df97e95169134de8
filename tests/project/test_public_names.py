"""The public names: `__all__` and the package agree, and each name says what it is. `public_api.txt` lists them."""

from __future__ import annotations

import inspect
import types

import voicepipe


def test_the_public_names_are_sorted() -> None:
    """`voicepipe.__all__` is sorted and holds no name twice."""
    assert list(voicepipe.__all__) == sorted(set(voicepipe.__all__))


def test_nothing_else_is_bound() -> None:
    """The package binds no public name that `__all__` lacks, its modules apart, and lacks none that is in it."""
    for name in voicepipe.__all__:
        getattr(voicepipe, name)
    bound = {
        name
        for name, value in vars(voicepipe).items()
        if not name.startswith("_") and (name in voicepipe.__all__ or not isinstance(value, types.ModuleType))
    }
    assert bound - {"annotations"} == set(voicepipe.__all__)


def described(value: object) -> bool:
    """Return whether a class or function has a docstring of its own; a dataclass that has none gets its signature."""
    doc: str | None = vars(value).get("__doc__") if inspect.isclass(value) else getattr(value, "__doc__", None)
    return doc is not None and bool(doc.strip()) and not doc.startswith(f"{getattr(value, '__name__', '')}(")


def test_each_public_name_is_described() -> None:
    """Every public name resolves, and says in a docstring what it is."""
    assert [name for name in voicepipe.__all__ if not described(getattr(voicepipe, name))] == []


def test_a_missing_docstring_is_found() -> None:
    """A class without docstring, or with none but what `dataclass` writes, counts as not described."""
    bare = type("Bare", (ValueError,), {})
    generated = type("Generated", (), {"__doc__": "Generated(text: str)"})
    assert (described(bare), described(generated), described(lambda: None)) == (False, False, False)
