"""Loads an application's pipeline from its file or module.

Rule 1: whatever is wrong with the file is reported in one line, with the place in the file.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import voicepipe as vp

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["load_agent"]

DEFAULT_NAME: Final = "agent"


def load_agent(where: str) -> vp.Pipeline:
    """Return the pipeline that e.g. `app.py`, `app.py:support` or `shop.agents:support` names.

    The file is run as `python app.py` would run it, except for its `if __name__ == "__main__":` block.

    Args:
        where: A file or a dotted module, and the name of the pipeline in it; `agent` if there is no name.

    Raises:
        ConfigurationError: There is no such file or name, the file cannot be run, or the name is not a pipeline.
    """
    place, name = _parted(where)
    module = _module_of(place)
    found = getattr(module, name, None)
    if isinstance(found, vp.Pipeline):
        return found
    there = [name for name, value in vars(module).items() if isinstance(value, vp.Pipeline)]
    hint = (
        f"; it has {', '.join(f'{place}:{other}' for other in there)}" if there else f"; write {name} = Pipeline(...)"
    )
    if not hasattr(module, name):
        raise vp.ConfigurationError(f"{place} has no {name!r}{hint}")
    raise vp.ConfigurationError(f"{place}:{name} must be a Pipeline, but it is a {type(found).__name__}{hint}")


def _parted(where: str) -> tuple[str, str]:
    place, colon, name = where.rpartition(":")
    if colon and name.isidentifier() and len(place) > 1:  # a single letter is the drive of a path
        return place, name
    return where.removesuffix(":"), DEFAULT_NAME


def _module_of(place: str) -> ModuleType:
    path = Path(place)
    if path.suffix != ".py" and not path.exists() and all(part.isidentifier() for part in place.split(".")):
        sys.path.insert(0, "")  # as `python -m` does
        return _run(place, None)
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [other.name for other in path.parent.glob("*.py")], n=1, cutoff=0.5)
        hint = f"; did you mean {path.with_name(near[0])}?" if near else "; name a Python file that creates a Pipeline"
        what = "is not a file" if path.exists() else "does not exist"
        raise vp.ConfigurationError(f"{place} {what}{hint}")
    sys.path.insert(0, str(path.parent.resolve()))
    return _run(place, path)


def _run(place: str, path: Path | None) -> ModuleType:
    try:
        return _loaded(path) if path else importlib.import_module(place)
    except SystemExit as error:
        raise vp.ConfigurationError(
            f"{place} ends the program when it is loaded; put what it does under `if __name__ == '__main__':`"
        ) from error
    except Exception as error:  # the file may raise anything
        raise vp.ConfigurationError(f"{place} cannot be loaded: {_explained(error, path)}") from error


def _loaded(path: Path) -> ModuleType:
    name = path.stem if path.stem not in sys.modules else f"_{path.stem}_of_voicepipe_talk"
    spec: Any = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise vp.ConfigurationError("it is not a Python file; rename it so that its name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # type hints are resolved there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _explained(error: Exception, path: Path | None) -> str:
    """Return what went wrong, and where in the application's own file."""
    last = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, vp.VoicepipeError):
        last = str(error)
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {last}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if path is not None and Path(frame.filename).resolve() == path.resolve() and frame.line
    ]
    return f"{last} ({path}:{frames[-1].lineno}: {frames[-1].line})" if frames else last
