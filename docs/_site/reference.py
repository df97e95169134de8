"""The pages of the reference: one for each folder that has public names, and for each module with an `__all__`.

Rule 1: what is public is asked of the code. A new public name is on its page without a line here.
Rule 2: a class or function has one entry, under the shortest of its public names.
"""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

import voicepipe

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["pages"]

ABOUT: Final = {
    "session": ("Pipelines and sessions", "What an application builds, opens and talks to."),
    "tools": ("Tools", "Functions that a model may call."),
    "model": ("Models", "From a request to the pieces of a reply, structured output included."),
    "speaking": ("Voices", "From sentences to audio."),
    "hearing": ("Recognisers and detectors", "From audio to transcripts and stretches of speech."),
    "text": ("Sentences", "From tokens to sentences."),
    "turntaking": ("Turn-taking", "Who has the floor, and what is expected."),
    "conversation": ("Turns", "One turn and its states."),
    "audio": ("Sources and outputs", "Sound cards, files, remote peers."),
    "vendors": ("Vendors", "Parts that know a service or an engine."),
    "core": ("Stages and channels", "What parts are made of."),
    "history": ("History", "What is remembered of a call."),
    "events": ("Events", "What a session reports while it runs."),
    "watching": ("Watching", "Recordings, budgets and what else observers are for."),
    "observed": ("What observers get", "Facts about a call that no stage and no application gets."),
    "flow": ("What flows", "The facts that pass between parts."),
    "timeline": ("Timeline", "Where the time of a turn went."),
    "errors": ("Errors", "One class for each reaction that a caller can have."),
}
"""The pages in order: title and first sentence. A folder that is not named comes last, under its own name."""

EVENTS: Final = ("events", "floor_events", "listening_events", "model_events", "watching_events")

MODULES: Final = {
    "audio": "Telephone codecs",
    "serving": "Serving",
    "testing": "Testing",
    "testing.conformance": "Conformance",
    "watching.recording": "Recordings",
}
"""Public modules with an `__all__`; others that have one come behind them, under their own name."""

NOT_PUBLIC: Final = ("cli", "serving.")


def pages() -> dict[str, str]:
    """Return the reStructuredText of each page by its name; "index" lists the others in order."""
    members = _members_by_page()
    order = [*(name for name in ABOUT if name in members), *sorted(set(members) - set(ABOUT))]
    found = {name: _page(*ABOUT.get(name, (name.capitalize(), "")), "voicepipe", members[name]) for name in order}
    described = {id(getattr(voicepipe, name)) for name in voicepipe.__all__}
    for module in _public_modules():
        imported = import_module(f"voicepipe.{module}")
        title = MODULES.get(module, module.replace(".", " ").capitalize())
        text = f"``voicepipe.{module}``. {inspect.cleandoc(imported.__doc__ or '').splitlines()[0]}"
        names = [name for name in imported.__all__ if id(getattr(imported, name)) not in described]
        described |= {id(getattr(imported, name)) for name in names}
        if names:
            found[f"voicepipe.{module}"] = _page(title, text, f"voicepipe.{module}", names)
    listed = "\n".join(f"   {name}" for name in found)
    about = (
        "Every public name, from its docstring. They are imported from ``voicepipe``, unless the page names a module."
    )
    found["index"] = f"{_title('API reference')}{about}\n\n.. toctree::\n   :maxdepth: 1\n\n{listed}\n"
    return found


def _members_by_page() -> dict[str, list[str]]:
    """Return the public names of the package by the folder, or module of the ground floor, that defines them."""
    stub = Path(voicepipe.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    members: dict[str, list[str]] = {}
    for node in ast.parse(stub).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module != "voicepipe":
            folder = node.module.split(".")[1]
            page = "events" if folder in EVENTS else folder
            members.setdefault(page, []).extend(alias.asname or alias.name for alias in node.names)
    return members


def _public_modules() -> Iterator[str]:
    root = Path(voicepipe.__file__).parent
    folders = sorted((path.parent.relative_to(root).parts for path in root.glob("*/**/__init__.py")), key=len)
    others = (".".join(parts) for parts in folders)
    for module in [*MODULES, *(name for name in others if name not in MODULES)]:
        source = root.joinpath(*module.split("."), "__init__.py").read_text(encoding="utf-8")
        if "__all__" in source and not module.startswith(NOT_PUBLIC):
            yield module


def _page(title: str, about: str, module: str, names: list[str]) -> str:
    return "\n".join(
        [f"{_title(title)}{about}\n", f".. currentmodule:: {module}\n", *(_entry(module, n) for n in names)]
    )


def _title(title: str) -> str:
    return f"{title}\n{'=' * len(title)}\n\n"


def _entry(module: str, name: str) -> str:
    value = getattr(import_module(module), name)
    if inspect.isclass(value):
        kind = "exception" if issubclass(value, BaseException) else "class"
        return f".. auto{kind}:: {name}\n"
    if inspect.isfunction(value):
        return f".. autofunction:: {name}\n"
    if inspect.ismodule(value):
        return f".. py:module:: {module}.{name}\n   :no-index:\n"
    if members := get_args(value):
        named = ", ".join(f"`{getattr(member, '__name__', member)}`" for member in members)
        return f".. py:data:: {name}\n\n   One of {named}.\n"
    return f".. autodata:: {name}\n"
