"""What one part hands over to the next is checked there, so that an error names the part that did it.

Rule 1: checked is what would make the reader fail: the kind of an item, its times, and that texts are texts.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from typing import TYPE_CHECKING, Any, Final, Never, TypeVar, cast, get_args, get_origin

from voicepipe.errors import StageError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["checked", "checker"]

T = TypeVar("T")

_CONTENTS: Final[dict[str, type]] = {"text": str, "pcm": bytes}


@functools.lru_cache(maxsize=256)
def checker(kind: Any, part_name: str) -> Callable[[Any], None]:  # noqa: ANN401 - a type at run time
    """Return a function that raises `StageError` for items that a part must not send.

    Args:
        kind: What the part says it sends, such as `Sentence` or `TextDelta | Sentence`.
        part_name: Its name.
    """
    kinds = _classes(kind)
    names = " or ".join(one.__name__ for one in kinds)

    def check(item: object) -> None:
        if kinds and not isinstance(item, kinds):
            raise StageError(f"{part_name} must send {names}, not {type(item).__name__}", part=part_name)
        checked(item, part_name)

    return check


def checked(item: T, part_name: str) -> T:
    """Return an item whose times are numbers, whose text is text and whose audio is bytes.

    Raises:
        StageError: One of them is not.
    """
    times, contents, has_words = _shape(cast("type", type(item)))
    for name in times:
        value = getattr(item, name)
        if value is not None and not (isinstance(value, (int, float)) and math.isfinite(value)):
            found = f"{part_name} sent a {type(item).__name__} whose {name} is not a number of seconds, but {value!r}"
            raise StageError(found, part=part_name)
    for name, kind in contents:
        if not isinstance(value := getattr(item, name), kind):
            found = f"{part_name} sent a {type(item).__name__} whose {name} is not {kind.__name__}"
            raise StageError(f"{found}, but {type(value).__name__}", part=part_name)
    if has_words:
        for inner in cast("Any", item).words:
            checked(inner, part_name)
    return item


@functools.cache
def _shape(kind: type) -> tuple[tuple[str, ...], tuple[tuple[str, type], ...], bool]:
    """Return the fields of a class that hold seconds, those that hold text or audio, and whether it has words."""
    if not dataclasses.is_dataclass(kind):
        return (), (), False
    names = [field.name for field in dataclasses.fields(kind)]
    times = tuple(name for name in names if name.endswith("_s"))
    return times, tuple((name, _CONTENTS[name]) for name in names if name in _CONTENTS), "words" in names


def _classes(kind: Any) -> tuple[type, ...]:  # noqa: ANN401
    """Return the classes that a type at run time consists of; none if one of its alternatives is not a class."""
    alternatives = get_args(kind) if get_origin(kind) in (types.UnionType, typing.Union) else (kind,)
    classes = [get_origin(one) or one for one in alternatives]
    if any(one in (Any, Never, object) or not isinstance(one, type) for one in classes):
        return ()
    return cast("tuple[type, ...]", tuple(classes))
