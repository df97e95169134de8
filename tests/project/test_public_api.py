"""The public interface as it was last agreed on: a change to it is seen in a file, and made on purpose."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.project.public_api import describe, public_modules

AGREED = Path(__file__).with_name("public_api.txt")
NUMBERS = itertools.count()


@pytest.mark.slow
def test_the_public_interface_is_as_agreed() -> None:
    """Every public name, member and signature is a line of `public_api.txt`, and each line there is one of them."""
    agreed = AGREED.read_text(encoding="utf-8").splitlines()
    changes = list(difflib.unified_diff(agreed, describe(public_modules()).splitlines(), "agreed", "found", n=0))
    assert not changes, "\n".join(
        [
            "the public interface has changed; if it should, say in CHANGELOG.md what to do about it, and run",
            "    python -m tests.project.public_api > tests/project/public_api.txt",
            *changes,
        ]
    )


MODULE = """
from __future__ import annotations
import abc, contextlib, dataclasses, enum, functools, typing
from collections.abc import AsyncGenerator, Callable, Iterator

__all__ = ["Base", "Choice", "Colour", "Given", "Line", "Point", "make", "LIMIT"]

T = typing.TypeVar("T")
LIMIT = 3

class Colour(enum.Enum):
    RED = "red"
    def mixed(self, other: Colour = RED) -> Colour: ...

class _Shared:
    def __init__(self, name: str = "none", *, colour: Colour = Colour.RED) -> None:
        self.name = name
        self.colour: Colour = colour
        self.left, self._right = 1, 2
    def shared(self) -> None: ...

class Base(_Shared, typing.Generic[T]):
    rate: int = 8_000
    size = 1
    def __iter__(self) -> Iterator[T]: ...
    def __repr__(self) -> str: ...
    def _hidden(self) -> None: ...
    @property
    def first(self) -> typing.Optional[T]: ...
    @functools.cached_property
    def last(self) -> T: ...
    @abc.abstractmethod
    async def run(self, item: "T", /, *rest: 'T', **more: typing.Any) -> None: ...
    @contextlib.asynccontextmanager
    async def open(self) -> AsyncGenerator[None]: yield
    @staticmethod
    def plain(key: typing.Callable[[int], str] = str) -> None: ...
    @classmethod
    def made(cls) -> typing.Self: ...

class Line(Base["Point"]):
    rate = 16_000
    async def run(self, item: Point, /, *rest: Point, **more: typing.Any) -> None: ...
    @contextlib.asynccontextmanager
    async def open(self) -> AsyncGenerator[None]: yield

@dataclasses.dataclass
class Point:
    x: float
    tags: list[str] = dataclasses.field(default_factory=list)
    norm: float = dataclasses.field(init=False)

Choice = typing.Literal["a", "b"]
Given = Point | Callable[[Point], "Line"] | None

@typing.overload
def make(name: str) -> Point: ...
@typing.overload
def make(name: None = ...) -> None: ...
def make(name: str | None = None) -> Point | None: ...
"""

LINES = """\
Base: class(Generic[T])
Base.__init__: (name: str = 'none', *, colour: Colour = Colour.RED)
Base.__iter__: () -> Iterator[T]
Base.colour: attribute Colour
Base.first: property T | None
Base.last: property T
Base.left: attribute
Base.made: classmethod () -> Self
Base.name: attribute str
Base.open: contextmanager () -> AsyncGenerator[None]
Base.plain: staticmethod (key: Callable[[int], str] = str) -> None
Base.rate: attribute int = 8000
Base.run: abstract async (item: T, /, *rest: T, **more: Any) -> None
Base.shared: () -> None
Base.size: attribute = 1
Choice: type Literal['a', 'b']
Colour: class(Enum)
Colour.RED: member 'red'
Colour.mixed: (other: Colour = 'red') -> Colour
Given: type Point | Callable[[Point], Line] | None
LIMIT: constant int
Line: class(Base[Point])
Line.rate: attribute = 16000
Line.run: async (item: Point, /, *rest: Point, **more: Any) -> None
Point: dataclass
Point.__init__: (x: float, tags: list[str] = <factory>)
Point.norm: attribute float
make: overload (name: None = ...) -> None
make: overload (name: str) -> Point
"""


@pytest.fixture
def describe_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Return a function that describes a module with this text, under a name that was never imported before."""
    monkeypatch.syspath_prepend(tmp_path)

    def described(text: str) -> list[str]:
        name = f"sample_{next(NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        return describe([name]).replace(f"{name}.", "").splitlines()

    return described


def test_what_a_program_can_use_is_a_line(describe_text: Callable[[str], list[str]]) -> None:
    """Names, members and signatures are described; what is private, or the same in a public base, is not."""
    assert describe_text(MODULE) == LINES.splitlines()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("name: str) -> Point", "name: bytes) -> Point", id="type of a parameter"),
        pytest.param("name: str) -> Point", "name: str) -> Line", id="type of a result"),
        pytest.param("key: typing", "keys: typing", id="name of a parameter"),
        pytest.param('name: str = "none", *', 'name: str = "none"', id="positional or not"),
        pytest.param('"none"', '"nobody"', id="default"),
        pytest.param("    @property\n", "", id="property"),
        pytest.param("    async def run", "    def run", id="async"),
        pytest.param("    @abc.abstractmethod\n", "", id="abstract"),
        pytest.param("def shared", "def _shared", id="a method of a private base"),
        pytest.param("self.name = name", "self._name = name", id="an attribute set in the constructor"),
        pytest.param("rate = 16_000", "pass", id="an attribute of a class"),
        pytest.param('RED = "red"', 'RED = "rot"', id="a member of an enum"),
        pytest.param("x: float", "x: int", id="a field"),
        pytest.param("Point |", "Line |", id="an alias"),
        pytest.param('Base["Point"]', 'Base["Line"]', id="a parameter of a base"),
    ],
)
def test_a_change_is_seen(before: str, after: str, describe_text: Callable[[str], list[str]]) -> None:
    """Whatever a program could notice changes the description."""
    changed = MODULE.replace(before, after, 1)
    assert (changed != MODULE, describe_text(changed) != LINES.splitlines()) == (True, True)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("item: \"T\", /, *rest: 'T'", "item: T, /, *rest: T", id="quotes"),
        pytest.param("-> typing.Self", "-> 'typing.Self'", id="quotes around a module's name"),
        pytest.param("_hidden", "_veiled", id="a private method"),
        pytest.param("_Shared", "_Common", id="a private base"),
    ],
)
def test_how_it_is_written_is_no_change(before: str, after: str, describe_text: Callable[[str], list[str]]) -> None:
    """Quotes and private names do not matter."""
    changed = MODULE.replace(before, after)
    assert (changed != MODULE, describe_text(changed)) == (True, LINES.splitlines())


def test_where_it_is_written_is_no_change(tmp_path: Path, describe_text: Callable[[str], list[str]]) -> None:
    """What moves to another module, and is exported from where it was, stays as it was."""
    (tmp_path / "below.py").write_text(MODULE, encoding="utf-8")
    assert describe_text("from below import *\nfrom below import __all__\n") == LINES.splitlines()


def test_annotations_may_be_objects(describe_text: Callable[[str], list[str]]) -> None:
    """An annotation that Python has evaluated reads like one that it has not."""
    text = """
import typing
from collections.abc import Callable, Iterable
__all__ = ["Item", "work"]
T = typing.TypeVar("T")
class Item(typing.Generic[T]): ...
def work(
    each: Iterable[Item[T]], call: Callable[[str, int], None], how: typing.Literal["a-b"] | None = "a-b"
) -> "typing.Any | Item[T]": ...
"""
    evaluated = describe_text(text)
    assert evaluated[1].startswith(
        "work: (each: Iterable[Item[T]], call: Callable[[str, int], None], how: Literal['a-b']"
    )
    assert describe_text(f"from __future__ import annotations\n{text}") == evaluated
