"""Loads what an application has in its file or module: its pipeline, or a function that makes it.

Rule 1: whatever is wrong with the file is reported in one line, with the place in the file.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
import traceback
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import voicepipe as vp

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from types import ModuleType

__all__ = ["Loaded", "load_agent", "load_deps", "load_served"]

DEFAULT_NAME: Final = "agent"

SERVED_NAMES: Final = ("serve", DEFAULT_NAME)
"""What a server looks for first."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What an application has under a name.

    Attributes:
        where: How the command line names it.
        value: The object itself, or a function or class that makes it.
        path: The file, if the command line names one.
    """

    where: str
    value: object
    path: Path | None

    @asynccontextmanager
    async def made(self) -> AsyncGenerator[object]:
        """Provide the object. What makes it may be async, or return an async context manager, which is open meanwhile.

        Raises:
            ConfigurationError: It cannot be made.
        """
        if not _makes(self.value):
            yield self.value
            return
        async with AsyncExitStack() as stack:
            try:
                made = cast("Callable[[], object]", self.value)()
                if inspect.isawaitable(made):
                    made = await made
                if isinstance(made, AbstractAsyncContextManager):
                    made = await stack.enter_async_context(cast("AbstractAsyncContextManager[object]", made))
            except SystemExit as error:
                raise vp.ConfigurationError(f"{self.where}() ends the program; let it return what it makes") from error
            except Exception as error:  # the application may raise anything
                raise vp.ConfigurationError(f"{self.where}() failed: {_explained(error, self.path)}") from error
            yield made

    @asynccontextmanager
    async def pipeline(self) -> AsyncGenerator[vp.Pipeline]:
        """Provide the pipeline that this is or makes. Of a `Host` its pipeline is used, for a session of its own.

        Raises:
            ConfigurationError: It cannot be made, or is something else.
        """
        async with self.made() as made:
            pipeline = made._pipeline if isinstance(made, vp.Host) else made
            if not isinstance(pipeline, vp.Pipeline):
                raise vp.ConfigurationError(
                    f"{self.where}() must return a Pipeline or a Host, but it returned {type(made).__name__}"
                )
            yield pipeline


def load_agent(where: str) -> Loaded:
    """Return the pipeline that e.g. `app.py`, `app.py:support` or `shop.agents:support` names, or what makes it.

    The file is run as `python app.py` would run it, except for its `if __name__ == "__main__":` block.

    Args:
        where: A file or a dotted module, and the name of the pipeline in it; `agent` if there is no name.

    Raises:
        ConfigurationError: There is no such file or name, the file cannot be run, or the name is neither.
    """
    place, name = _parted(where)
    module = _module_of(place)
    found = getattr(module, name, None)
    if isinstance(found, vp.Pipeline) or _makes(found):
        return Loaded(f"{place}:{name}", found, _file(place))
    there = [name for name, value in vars(module).items() if isinstance(value, vp.Pipeline)]
    hint = (
        f"; it has {', '.join(f'{place}:{other}' for other in there)}" if there else f"; write {name} = Pipeline(...)"
    )
    if not hasattr(module, name):
        raise vp.ConfigurationError(f"{place} has no {name!r}{hint}")
    raise vp.ConfigurationError(f"{place}:{name} must be a Pipeline, but it is a {type(found).__name__}{hint}")


def load_served(where: str, kinds: tuple[type, ...]) -> Loaded:
    """Return what a server serves: what e.g. `app.py:support` names, or the only thing in `app.py` that fits.

    Without a name, that is `serve` or `agent`, or else the only object of these kinds.

    Args:
        where: A file or a dotted module, and a name in it.
        kinds: A `Pipeline`, and what holds one.

    Raises:
        ConfigurationError: There is no such file or name, the file cannot be run, or nothing or too much fits.
    """
    place, name = _parted(where, "")
    module = _module_of(place)
    fitting = [other for other, value in vars(module).items() if isinstance(value, kinds)]
    hint = f"; it has {', '.join(f'{place}:{other}' for other in fitting)}" if fitting else ""
    if not name:
        usual = [other for other in SERVED_NAMES if other in fitting or _makes(getattr(module, other, None))]
        if not usual and len(fitting) != 1:
            said = (
                "several pipelines; name one of them"
                if fitting
                else f"no Pipeline; write {DEFAULT_NAME} = Pipeline(...)"
            )
            raise vp.ConfigurationError(f"{place} has {said}{hint}")
        name = usual[0] if usual else fitting[0]
    if not hasattr(module, name):
        raise vp.ConfigurationError(f"{place} has no {name!r}{hint}")
    found = getattr(module, name)
    if not isinstance(found, kinds) and not _makes(found):
        raise vp.ConfigurationError(f"{place}:{name} must be a Pipeline, but it is a {type(found).__name__}{hint}")
    return Loaded(f"{place}:{name}", found, _file(place))


def load_deps(where: str) -> Loaded:
    """Return what e.g. `app.py:shop` or `shop.database:connect` names, the deps of a session or what makes them.

    Raises:
        ConfigurationError: There is no such file or name, or the file cannot be run.
    """
    place, name = _parted(where, "")
    if not name:
        raise vp.ConfigurationError(f"--deps {where}: name an object or a function, e.g. {place}:deps")
    module = _module_of(place)
    if not hasattr(module, name):
        raise vp.ConfigurationError(f"--deps {where}: {place} has no {name!r}")
    return Loaded(where, getattr(module, name), _file(place))


def _file(place: str) -> Path | None:
    return Path(place) if Path(place).is_file() else None


def _makes(value: object) -> bool:
    return inspect.isroutine(value) or inspect.isclass(value)


def _parted(where: str, default: str = DEFAULT_NAME) -> tuple[str, str]:
    place, colon, name = where.rpartition(":")
    if colon and name.isidentifier() and len(place) > 1:  # a single letter is the drive of a path
        return place, name
    return where.removesuffix(":"), default


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
    there = sys.modules.get(path.stem)
    if there is not None and there.__file__ is not None and Path(there.__file__).resolve() == path.resolve():
        return there  # the file has both the agent and its deps
    name = path.stem if there is None else f"_{path.stem}_of_voicepipe_talk"
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
