"""What an agent's configuration is, in a few characters: so that a call that goes on can say what differs.

Rule 1: equal configurations have equal fingerprints in every process, on every machine.
Rule 2: it covers the pipeline, and not what one session has changed.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from voicepipe.model.model import Model
from voicepipe.tools.toolbox import Toolset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicepipe.core.part import Part
    from voicepipe.session.wiring import Row

__all__ = ["differences", "fingerprint", "held_parts"]

DIGITS: Final = 12


def fingerprint(row: Row) -> dict[str, str]:
    """Return a hash of each thing that makes an agent what it is."""
    parts = dict(held_parts(row))
    prompts = [getattr(part, "system", None) for part in parts.values() if isinstance(part, Model)]
    return {
        "parts": _hash(list(parts)),
        "tools": _hash(Toolset(row.router._given).definitions),
        "prompt": _hash([_prompt(one) for one in prompts]),
        "rules": _hash(repr(row.turns)),
    }


def differences(before: dict[str, str], now: dict[str, str]) -> tuple[str, ...]:
    """Return the names of what differs."""
    return tuple(sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name)))


def held_parts(row: Row) -> Iterator[tuple[str, Part]]:
    """Yield each part of a row, those that others hold included, with a name that no other has."""
    seen: dict[str, int] = {}
    for part in row.parts(hears=True):
        for name, one in _with_held(part, ""):
            seen[name] = count = seen.get(name, 0) + 1
            yield (name if count == 1 else f"{name} {count}"), one


def _with_held(part: Part, before: str) -> Iterator[tuple[str, Part]]:
    name = f"{before}{part.name}"
    yield name, part
    for held in part._held():
        yield from _with_held(held, f"{name}.")


def _prompt(system: object) -> str:
    """Return a prompt, or the name of the function that writes it."""
    return system if isinstance(system, str) else f"{getattr(system, '__module__', '')}:{_name_of(system)}"


def _name_of(function: object) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _hash(value: Any) -> str:  # noqa: ANN401
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:DIGITS]
