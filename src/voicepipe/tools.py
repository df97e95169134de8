"""Functions that a language model may call.

Rule 1: the signature is the schema and the docstring is the description; nothing is written twice.
Rule 2: arguments validate strictly or the function does not run: nothing is repaired, guessed or ignored.
Rule 3: nothing here runs a turn or speaks; the `ToolRouter` decides when a call runs and what becomes of it.
Rule 4: pydantic is imported with the first tool, not with the library: it is a third of the time that takes.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, ParamSpec, TypeAlias, TypeVar, cast, get_args, overload

import anyio

from voicepipe._threads import run_in_daemon_thread
from voicepipe.errors import ConfigurationError, ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pydantic_core import ErrorDetails

    from voicepipe.session import Session

__all__ = ["Tool", "ToolContext", "tool"]

MAX_ARGUMENT_BYTES: Final = 16 * 1024
MAX_RESULT_BYTES: Final = 8 * 1024
DEFAULT_TIMEOUT_S: Final = 10.0

Effect: TypeAlias = Literal["read", "write"]
P = ParamSpec("P")
R = TypeVar("R")
Deps_co = TypeVar("Deps_co", covariant=True)

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CUT: Final = f"\n[cut here: the result is longer than {MAX_RESULT_BYTES} bytes]"

_MAX_COMPLAINTS: Final = 8
_MAX_PATH: Final = 80


@dataclass(frozen=True, kw_only=True)
class ToolContext(Generic[Deps_co]):
    """What a tool may know about the call it serves; the model neither sees nor sets it.

    A tool asks for it with a parameter of this class, anywhere in its signature: `call: ToolContext[Shop]`.

    Attributes:
        deps: What the application gave to the session, e.g. a database and the caller's identity.
        session: The conversation.
        turn_id: The turn in which the model asked for the call.
        call_id: The call, unique in the session.
    """

    deps: Deps_co = field(repr=False)  # the application's own, and perhaps secret
    session: Session
    turn_id: int
    call_id: str


class Tool(Generic[P, R]):
    """A function and what a model is told about it. Made by `@tool`; called like the function itself.

    Attributes:
        name: The name by which the model calls it.
        description: The docstring without its sections on arguments, results and errors.
        effect: "write" when a call changes something, "read" when it may be cancelled and repeated at will.
        timeout_s: Seconds after which the router gives up waiting.
        parameters: JSON schema of the arguments. Not to be changed.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        effect: Effect = "write",
        timeout_s: float = DEFAULT_TIMEOUT_S,
        name: str | None = None,
    ) -> None:
        from voicepipe._tool_schema import read_signature  # noqa: PLC0415 - Rule 4

        self._signature = read_signature(function, ToolContext)
        functools.update_wrapper(self, function, updated=())
        self._function = function
        self.name = function.__name__ if name is None else name
        self.description = self._signature.description
        self.effect: Effect = effect
        self.timeout_s = timeout_s
        self.parameters = self._signature.parameters
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"a tool cannot be called {self.name!r}: models accept 1 to 64 letters, digits, _ and -; "
                f'write @tool(name="...")'
            )
        if effect not in get_args(Effect):
            raise ConfigurationError(f'the effect of tool {self.name} must be "read" or "write", not {effect!r}')
        if not 0 < timeout_s < math.inf:
            raise ConfigurationError(
                f"timeout_s of tool {self.name} must be a positive number of seconds, not {timeout_s}"
            )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function, as if it had not been decorated."""
        return self._function(*args, **kwargs)

    @property
    def definition(self) -> dict[str, Any]:
        """The entry for the `tools` of a chat completion request."""
        described = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": described}

    def validate(self, arguments: str) -> dict[str, Any]:
        """Return the values for `call` from the model's JSON; a parameter that was left out is not among them.

        Types are strict in the way of JSON: a date or an enum comes as a string, a number never does. Empty text
        counts as `{}` only for a tool without parameters.

        Raises:
            ToolError: The arguments do not fit. Fields are named, values are not. What a validator of the application
                says stays inside, because it may quote a value; a ToolError that it raises is told as it stands.
        """
        from pydantic import ValidationError  # noqa: PLC0415 - Rule 4

        from voicepipe._tool_schema import NOT_GIVEN  # noqa: PLC0415 - Rule 4

        if not arguments and not self._signature.names:
            return {}
        _check_json(arguments)
        try:
            # Said here and in no configuration, so that it holds for the models inside too, whatever theirs is.
            found = self._signature.arguments.validate_json(arguments, strict=True, extra="forbid")
        except ValidationError as error:
            complaints = error.errors(include_url=False)
            said = [_complaint(one) for one in complaints[:_MAX_COMPLAINTS]]
            if len(complaints) > _MAX_COMPLAINTS:
                said.append(f"and {len(complaints) - _MAX_COMPLAINTS} more")
            # Not the cause: its text holds the values.
            raise ToolError("; ".join(said)) from None
        except ToolError:
            raise
        except Exception as error:  # e.g. a constraint that does not fit its type, which pydantic finds only now
            raise ToolError(f"the arguments cannot be checked: {type(error).__name__} in a validator") from error
        values = {name: getattr(found, name) for name in self._signature.names}
        return {name: value for name, value in values.items() if value is not NOT_GIVEN}

    async def call(self, values: Mapping[str, Any], context: ToolContext[Any]) -> Any:  # noqa: ANN401 - the tool's own
        """Run the function: an async one here, a plain one in a daemon thread.

        Args:
            values: What `validate` returned.
            context: Given to the function if it asks for it.

        Raises:
            ToolError: The function was cancelled from inside, so nobody knows how far it came.
            BaseException: Whatever the function raised.

        Cancelling cancels an async function and abandons the thread of a plain one, which runs on.
        """
        given = dict(values)
        if self._signature.context is not None:
            given[self._signature.context] = context
        run = functools.partial(cast("Callable[..., Any]", self._function), **given)
        try:
            if inspect.iscoroutinefunction(self._function):
                return await run()
            result = await run_in_daemon_thread(run, name=f"voicepipe tool {self.name}")
            # A plain function around an async one, as careless decorators make them.
            return await result if inspect.isawaitable(result) else result
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling() or anyio.current_effective_deadline() == -math.inf:
                raise
            # A future it waited for was cancelled elsewhere. Let through, it would end the call without a result.
            raise ToolError(f"{self.name} was cancelled from inside; its outcome is unknown") from error

    def render(self, result: Any) -> str:  # noqa: ANN401
        """Return what the model sees: text as it is, anything else as JSON by the return annotation.

        A result beyond 8 KiB is cut and says so.

        Raises:
            ToolError: The result cannot be written as JSON. The call was made all the same.
        """
        if isinstance(result, str) and not isinstance(result, Enum):
            return _cut(_encoded(result))
        refusal = f"{self.name} ran, but its result cannot be shown: a {type(result).__name__} is not JSON"
        if isinstance(result, Iterator):  # it may never end
            raise ToolError(refusal)
        try:
            # Without warnings: what is not of the annotated type, e.g. a dict for a model, is written by its own.
            return _cut(self._signature.returns.dump_json(result, warnings=False))
        except Exception as error:
            raise ToolError(refusal) from error

    def __repr__(self) -> str:
        """Show the name and the effect."""
        return f"<Tool {self.name} {self.effect}>"


@overload
def tool(
    function: Callable[P, R], /, *, effect: Effect = ..., timeout_s: float = ..., name: str | None = ...
) -> Tool[P, R]: ...


@overload
def tool(
    *, effect: Effect = ..., timeout_s: float = ..., name: str | None = ...
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    effect: Effect = "write",
    timeout_s: float = DEFAULT_TIMEOUT_S,
    name: str | None = None,
) -> Tool[P, R] | Callable[[Callable[P, R]], Tool[P, R]]:
    """Make a tool of a function, async or plain: `@tool`, `@tool(effect="read")` or `tool(shop.find_order)`.

    Args:
        function: Every parameter and the result have annotations, and the docstring says what it does. Parameters are
            described by `Annotated[..., Field(description=...)]` or in the docstring's section "Args".
        effect: "write" runs outside of the turn, so a barge-in does not touch it; "read" may run before the caller has
            finished, be cancelled, and be repeated.
        timeout_s: Seconds after which the model is told that the outcome is unknown.
        name: What the model calls it, if not by the function's name.

    Raises:
        ConfigurationError: A model could not call it; the message says what to write.
    """

    def decorate(function: Callable[P, R]) -> Tool[P, R]:
        return Tool(function, effect=effect, timeout_s=timeout_s, name=name)

    return decorate if function is None else decorate(function)


class Toolset(Mapping[str, Tool[..., Any]]):
    """The tools that one pipeline allows, by name.

    Raises:
        ConfigurationError: Something in it is no tool, or two have one name.
    """

    def __init__(self, tools: Iterable[Tool[..., Any]]) -> None:
        self._tools: dict[str, Tool[..., Any]] = {}
        for one in tools:
            if not isinstance(cast("object", one), Tool):
                raise ConfigurationError(_no_tool(one))
            if other := self._tools.get(one.name):
                raise ConfigurationError(
                    f"two tools are called {one.name}: {_origin(other)} and {_origin(one)}; "
                    f'give one of them another name with @tool(name="...")'
                )
            self._tools[one.name] = one
        self.definitions = tuple(one.definition for one in self._tools.values())
        """The `tools` of a chat completion request. Not to be changed."""

    def __getitem__(self, name: str) -> Tool[..., Any]:
        return self._tools[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tools)

    def __len__(self) -> int:
        return len(self._tools)

    def __repr__(self) -> str:
        """Show the names."""
        return f"<Toolset {' '.join(self._tools)}>"


def describe_failure(error: BaseException) -> str:
    """Return what the model is told about an error: the words of a `ToolError`, only the class of any other.

    A group with one error in it, as task groups raise them, counts as that error.
    """
    inside = _grouped(error)
    if len(inside) == 1:
        return describe_failure(inside[0])
    if isinstance(error, ToolError) and str(error):
        return _cut(_encoded(str(error)))
    return f"{type(error).__name__}: the tool failed"


def _grouped(error: BaseException) -> tuple[BaseException, ...]:
    return cast("BaseExceptionGroup[BaseException]", error).exceptions if isinstance(error, BaseExceptionGroup) else ()


def _no_tool(found: object) -> str:
    if callable(found):
        name = getattr(found, "__name__", type(found).__name__)
        return f"{name} is a function, but no tool; decorate it with @tool"
    return f"tools must be functions decorated with @tool, found {type(found).__name__}"


def _origin(one: Tool[..., Any]) -> str:
    return f"{one._function.__module__}.{one._function.__qualname__}"


def _check_json(text: str) -> None:
    """Refuse what pydantic's parser would let pass: doubled keys, numbers that are none, endless text."""
    if len(text) > MAX_ARGUMENT_BYTES or len(_encoded(text)) > MAX_ARGUMENT_BYTES:
        raise ToolError(f"the arguments are longer than {MAX_ARGUMENT_BYTES} bytes; send less")
    try:
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise ToolError(f"the arguments are not JSON: {error}") from None
    except RecursionError:
        raise ToolError("the arguments are nested too deeply") from None
    except ValueError:  # Python limits the digits of an integer
        raise ToolError("the arguments hold a number that is too long") from None
    if not isinstance(found, dict):
        raise ToolError("the arguments must be one JSON object, e.g. {}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ToolError(f"{key[:_MAX_PATH]}: given twice")
        found[key] = value
    return found


def _refuse_constant(constant: str) -> float:
    raise ToolError(f"{constant} is not JSON; leave the number out or give one")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ToolError("the arguments hold a number that is out of range")
    return number


def _complaint(error: ErrorDetails) -> str:
    """Return which field is wrong and how, without its value."""
    path = ".".join(str(part) for part in error["loc"])[:_MAX_PATH] or "arguments"
    match error["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            return f"{path}: there is no such field"
        case "union_tag_invalid":
            return f"{path}: the tag must be one of {error.get('ctx', {}).get('expected_tags', 'those in the schema')}"
        case kind if kind in _pydantic_says():
            return f"{path}: {error['msg']}"
        case _:
            return f"{path}: refused by its validator"


def _encoded(text: str) -> bytes:
    """Return text as UTF-8; half a surrogate pair, which UTF-8 does not have, becomes a question mark.

    Only the beginning of a long text, so that a huge result costs nothing.
    """
    return text[: max(MAX_ARGUMENT_BYTES, MAX_RESULT_BYTES) + 1].encode("utf-8", errors="replace")


def _cut(data: bytes) -> str:
    """Return at most `MAX_RESULT_BYTES`, whole characters only, with a mark where something is missing."""
    if len(data) <= MAX_RESULT_BYTES:
        return data.decode()
    return data[: MAX_RESULT_BYTES - len(_CUT)].decode("utf-8", errors="ignore") + _CUT


@functools.cache
def _pydantic_says() -> frozenset[str]:
    """Return the complaints whose words are pydantic's own; those of the last three kinds may hold a caller's value."""
    from pydantic_core import core_schema  # noqa: PLC0415 - Rule 4

    kinds = frozenset(get_args(core_schema.ErrorType))
    return kinds - {"value_error", "assertion_error", "union_tag_invalid"}
