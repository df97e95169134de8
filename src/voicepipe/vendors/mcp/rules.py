"""What a model may do with the tools of a server: the application's word, and the server's where that is missing. Pure.

Rule 1: a hint of a server is only its own word. The application's counts more, and where nobody says anything, the
        careful choice is made: the tool writes.
Rule 2: a tool that no application has named does not write without the caller's agreement.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from voicepipe.tools.tool import Effect

__all__ = ["Hints", "Rules", "texts"]

PREFIX: Final = re.compile(r"[a-zA-Z0-9_-]{0,32}")
NAME_LENGTH: Final = 64
"""The longest name that models accept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """What a server says about one of its tools; None where it says nothing.

    Attributes:
        reads_only: Whether a call changes nothing.
        destroys: Whether a call may destroy something.
    """

    reads_only: bool | None = None
    destroys: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The application's word about the tools of one server, by the names that the server gives them.

    Attributes:
        part: The part that has these settings; errors name it.
        allow: The tools that the model is offered; None for all of them.
        effects: "read" or "write", whatever the server says.
        confirm: The tools to which the caller has to agree; None leaves it to `asks_first`.
        prefix: Stands in front of each name that the model sees.
        say: What the agent says while a tool takes long.
        timeout_s: Seconds after which the router stops waiting for a tool.

    Raises:
        ConfigurationError: A setting is invalid.
    """

    part: str
    allow: frozenset[str] | None = None
    effects: Mapping[str, Effect] = field(default_factory=dict[str, "Effect"])
    confirm: frozenset[str] | None = None
    prefix: str = ""
    say: str = ""
    timeout_s: float

    def __post_init__(self) -> None:
        """Refuse invalid settings."""
        if not PREFIX.fullmatch(self.prefix):
            raise ConfigurationError(
                f"{self.part}: prefix must be at most 32 letters, digits, _ and -, not {self.prefix!r}; "
                'write for example prefix="shop_"'
            )
        for name, effect in self.effects.items():
            if effect not in ("read", "write"):
                raise ConfigurationError(f'{self.part}: the effect of {name} must be "read" or "write", not {effect!r}')
        if not 0 < self.timeout_s < float("inf"):
            raise ConfigurationError(f"{self.part}: timeout_s must be positive seconds, not {self.timeout_s}")

    def offers(self, listed: str) -> bool:
        """Return whether the model is offered a tool of the server."""
        return self.allow is None or listed in self.allow

    def name(self, listed: str) -> str:
        """Return the name that the model sees; the characters that models refuse become underscores."""
        return self.prefix + re.sub(r"[^a-zA-Z0-9_-]", "_", listed)

    def effect(self, listed: str, hints: Hints) -> Effect:
        """Return what a call of the tool does (Rule 1)."""
        return self.effects.get(listed) or ("read" if hints.reads_only is True else "write")

    def asks_first(self, listed: str, hints: Hints) -> bool:
        """Return whether the caller has to agree before a call runs (Rule 2)."""
        if self.confirm is not None:
            return listed in self.confirm
        if self.effect(listed, hints) == "read":
            return False
        is_named = self.allow is not None or listed in self.effects
        return hints.destroys is True or not is_named

    def check_known(self, listed: Iterable[str]) -> None:
        """Refuse a name that the server does not have: it is misspelt, and its rule would be lost.

        Raises:
            ConfigurationError: The server lists no such tool.
        """
        known = frozenset(listed)
        for setting, names in (("allow", self.allow), ("effects", self.effects), ("confirm", self.confirm)):
            if unknown := sorted(frozenset(names or ()) - known):
                offered = ", ".join(sorted(known)) or "none"
                raise ConfigurationError(
                    f"{self.part}: {setting} names {', '.join(unknown)}, but the server's tools are: {offered}"
                )


def texts(part: str, setting: str, names: Any) -> frozenset[str] | None:  # noqa: ANN401 - an application may pass anything
    """Return names of tools as a set.

    Raises:
        ConfigurationError: It is one text, or holds something else than names.
    """
    if names is None:
        return None
    if isinstance(names, str):
        raise ConfigurationError(f"{part}: {setting} must be a list of names; write {setting}=[{names!r}]")
    found = list(names)
    for name in found:
        if not isinstance(name, str):
            raise ConfigurationError(f"{part}: {setting} must hold the names of tools, not {type(name).__name__}")
    return frozenset(found)
