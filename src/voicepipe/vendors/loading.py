"""Optional packages that a part needs, imported when a host opens and not before."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from voicepipe.errors import MissingExtra

__all__ = ["loaded"]


def loaded(part: str, extra: str, *packages: str) -> list[Any]:
    """Import packages and return their modules. The first time in a process numpy takes 0.1 s, before any call.

    Args:
        part: Errors name it.
        extra: The extra that installs the packages.
        packages: Their names.

    Raises:
        MissingExtra: One is not installed.
    """
    modules: list[Any] = []
    for package in packages:
        try:
            modules.append(import_module(package))
        except ImportError as error:
            raise MissingExtra(part, (error.name or package).partition(".")[0], extra) from error
    return modules
