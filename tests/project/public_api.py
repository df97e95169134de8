"""The public interface as text, a line for each name, member and signature that an application can use.

Rule 1: the text depends neither on the module in which something is written nor on the version of Python.
Rule 2: a member stands under the public class that brings it; what a private base brings counts as the class's own.

    python -m tests.project.public_api > tests/project/public_api.txt
"""

from __future__ import annotations

import ast
import enum
import functools
import importlib
import inspect
import itertools
import pkgutil
import re
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Iterator

from voicepipe.testing import simulators

__all__ = ["describe", "public_modules"]

# Special methods that a program calls by syntax. The others (__repr__, __eq__, ...) promise nothing of their own.
CALLED_BY_SYNTAX = {
    *("__call__", "__await__", "__enter__", "__exit__", "__aenter__", "__aexit__", "__bool__", "__len__", "__get__"),
    *("__iter__", "__next__", "__aiter__", "__anext__", "__getitem__", "__contains__"),
}


def public_modules() -> list[str]:
    """Return the modules that an application may import from."""
    below = pkgutil.iter_modules(simulators.__path__, f"{simulators.__name__}.")
    named = [module.name for module in below if "._" not in module.name]
    tested = ["voicepipe.testing", "voicepipe.testing.conformance", *named]
    own = ["voicepipe", "voicepipe.audio", "voicepipe.observed", "voicepipe.serving", "voicepipe.fleet"]
    return [*own, *tested]


def describe(modules: Iterable[str]) -> str:
    """Return the lines of what these modules export, sorted; an object that two of them export is described once."""
    names: dict[str, object] = {}
    for name in modules:
        module = importlib.import_module(name)
        for exported in getattr(module, "__all__", ()):
            it = getattr(module, exported)
            if not any(it is known for known in names.values()):
                names[f"{name}.{exported}"] = it
    public = {it for it in names.values() if inspect.isclass(it)}
    lines = [(f"{name}{member}", text) for name, it in names.items() for member, text in lines_of(it, public)]
    return "".join(f"{name}: {text}\n" for name, text in sorted(lines))


def lines_of(it: object, public: set[type]) -> Iterator[tuple[str, str]]:
    """Describe an exported object: the member that a line is about, e.g. ".say", or "" for itself; and what it is."""
    if inspect.isclass(it):
        bases = ", ".join(dict.fromkeys(bases_of(it, public)))
        kind = "dataclass" if "__dataclass_fields__" in vars(it) else "class"
        yield "", f"{kind}({bases})" if bases else kind
        yield from ((f".{name}", text) for name, texts in members_of(it, public).items() for text in texts)
    elif inspect.isfunction(it):
        yield from (("", text) for text in signatures_of(it))
    elif inspect.ismodule(it):
        yield "", "module"
    elif typing.get_origin(it) is not None:
        yield "", f"type {annotation(it)}"
    else:
        yield "", f"constant {type(it).__name__}"


def bases_of(it: type, public: set[type]) -> Iterator[str]:
    """Name the bases with their parameters, e.g. "Stage[TextDelta, Sentence]"; a private one by its own bases."""
    for base in vars(it).get("__orig_bases__", it.__bases__):
        origin = typing.get_origin(base) or base
        if is_private(origin, it, public):
            yield from bases_of(origin, public)
        elif origin is not object and not origin.__name__.startswith("_"):
            yield annotation(base)


def is_private(base: type, it: type, public: set[type]) -> bool:
    return base not in public and base.__module__.partition(".")[0] == it.__module__.partition(".")[0]


def members_of(it: type, public: set[type]) -> dict[str, list[str]]:
    """Return the descriptions of each public member, by name, without those that a public base has alike."""
    bases = [base for base in it.__mro__[1:] if base in public]
    above = {ancestor for base in bases for ancestor in base.__mro__}
    found: dict[str, list[str]] = {}
    for each in (one for one in it.__mro__ if one is it or (is_private(one, it, public) and one not in above)):
        if issubclass(each, enum.Enum):
            found |= {name: [f"member {member.value!r}"] for name, member in each.__members__.items()}
        for name, texts in (*attributes_of(each), *defined_in(each), *set_in_constructor(each)):
            if not name.startswith("_") or name in CALLED_BY_SYNTAX or name == "__init__":
                found.setdefault(name, texts)
    inherited: dict[str, list[str]] = {}
    for base in reversed(bases):
        inherited |= members_of(base, public)
    return {name: texts for name, texts in found.items() if inherited.get(name) != texts}


def attributes_of(it: type) -> Iterator[tuple[str, list[str]]]:
    """Describe what a class annotates in its body; the fields of a dataclass stand in its constructor already."""
    fields = vars(it).get("__dataclass_fields__", {})
    for name, written in inspect.get_annotations(it).items():
        if name in fields and fields[name].init:
            continue
        has_value = name in vars(it) and not inspect.isdatadescriptor(vars(it)[name])
        yield name, [f"attribute {annotation(written)}" + (f" = {value(vars(it)[name])}" if has_value else "")]


def defined_in(it: type) -> Iterator[tuple[str, list[str]]]:
    """Describe methods, properties, and attributes that have a value and no annotation."""
    for name, member in vars(it).items():
        match member:
            case _ if name == "__init__" and getattr(it, "_is_protocol", False):
                continue
            case staticmethod():
                yield name, [f"staticmethod {text}" for text in signatures_of(member.__func__)]
            case classmethod():
                yield name, [f"classmethod {text}" for text in signatures_of(member.__func__, is_method=True)]
            case property() | functools.cached_property():
                getter = member.fget if isinstance(member, property) else member.func
                (text,) = signatures_of(typing.cast("Callable[..., object]", getter), is_method=True)
                can_be_set = isinstance(member, property) and member.fset is not None
                yield name, [re.sub(r"\(\)( ->)?", "property", text) + (", can be set" if can_be_set else "")]
            case types.FunctionType():
                yield name, signatures_of(member, is_method=True)
            case _ if not name.startswith("_") and not inspect.isdatadescriptor(member):
                yield name, [f"attribute = {value(member)}"]
            case _:
                pass


def set_in_constructor(it: type) -> Iterator[tuple[str, list[str]]]:
    """Describe attributes that `__init__` sets on `self`, with their type where it is written."""
    constructor = vars(it).get("__init__")
    if not inspect.isfunction(constructor) or constructor.__code__.co_filename.startswith("<"):  # a dataclass's
        return
    (function,) = ast.parse(textwrap.dedent(inspect.getsource(constructor))).body
    assert isinstance(function, ast.FunctionDef)
    parameters = {each.arg: each.annotation for each in (*function.args.args, *function.args.kwonlyargs)}
    for node in ast.walk(function):
        if not isinstance(node, (ast.Assign, ast.AnnAssign)):
            continue
        given = node.value.id if isinstance(node.value, ast.Name) else ""
        written = node.annotation if isinstance(node, ast.AnnAssign) else parameters.get(given)
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in itertools.chain.from_iterable(map(ast.walk, targets)):
            match target:
                case ast.Attribute(value=ast.Name("self"), attr=name, ctx=ast.Store()):
                    yield name, ["attribute" + (f" {annotation(ast.unparse(written))}" if written else "")]
                case _:
                    pass


def signatures_of(function: Callable[..., object], *, is_method: bool = False) -> list[str]:
    """Return the signature, or each of those that `@overload` declares, without `self`."""
    overloads = typing.get_overloads(function)
    kind = "overload " if overloads else "abstract " if getattr(function, "__isabstractmethod__", False) else ""
    return [kind + signature(each, is_method=is_method) for each in overloads or [function]]


def signature(function: Callable[..., object], *, is_method: bool) -> str:
    found = inspect.signature(function)
    parameters = [
        each.replace(
            annotation=Text(annotation(each.annotation)) if each.annotation is not each.empty else each.empty,
            default=Text(value(each.default)) if each.default is not each.empty else each.empty,
        )
        for each in list(found.parameters.values())[is_method:]
    ]
    is_typed = found.return_annotation is not found.empty and function.__name__ != "__init__"
    returned = Text(annotation(found.return_annotation)) if is_typed else found.empty
    text = str(found.replace(parameters=parameters, return_annotation=returned))
    if inspect.iscoroutinefunction(function):
        return f"async {text}"
    is_context_manager = getattr(function, "__globals__", {}).get("__name__") == "contextlib"
    return f"contextmanager {text}" if is_context_manager else text


class Text(str):
    """A text that `inspect` prints as it stands."""

    __slots__ = ()
    __repr__ = str.__str__


def annotation(written: object) -> str:
    """Return an annotation as it is read in the source, names without the modules they come from."""
    if written is typing.Protocol:  # as a base without parameters; `inspect` would write its repr
        return "Protocol"
    text = written if isinstance(written, str) else inspect.formatannotation(written)
    return ast.unparse(AsWritten().visit(ast.parse(text, mode="eval")))


class AsWritten(ast.NodeTransformer):
    """Takes away what differs between an annotation in the source and the object Python makes of it."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:  # typing.Any, but not P.args
        return node if ast.unparse(node.value).istitle() else ast.Name(node.attr)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:  # ~T, +T_co, -T_contra
        return node.operand

    def visit_Call(self, node: ast.Call) -> ast.expr:  # ForwardRef('Session')
        if ast.unparse(node.func).endswith("ForwardRef"):
            return typing.cast("ast.expr", self.visit(node.args[0]))
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        name = ast.unparse(self.visit(node.value))
        inside: ast.expr = node.slice if name == "Literal" else self.visit(node.slice)  # a Literal's texts are no names
        if name in ("Optional", "Union"):  # what Python makes of Literal["a"] | None
            kinds = inside.elts if isinstance(inside, ast.Tuple) else [inside]
            none = [ast.Constant(None)] if name == "Optional" else []
            return functools.reduce(lambda one, other: ast.BinOp(one, ast.BitOr(), other), (*kinds, *none))
        return ast.Subscript(ast.Name(name), inside)

    def visit_Constant(self, node: ast.Constant) -> ast.expr:  # "Session"
        if not isinstance(node.value, str):
            return node
        return typing.cast("ast.expr", self.visit(ast.parse(node.value, mode="eval").body))


def value(it: object) -> str:
    """Return a default or a constant as text, without an address in memory."""
    if it is ...:
        return "..."
    if isinstance(it, enum.Enum):
        return f"{type(it).__name__}.{it.name}"
    if inspect.isclass(it) or inspect.isroutine(it):
        return it.__name__
    return re.sub(r" at 0x[0-9a-f]+", "", repr(it))


if __name__ == "__main__":
    sys.stdout.write(describe(public_modules()))
