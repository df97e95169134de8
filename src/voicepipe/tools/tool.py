"""Functions that a language model may call.

Rule 1: the signature is the schema and the docstring is the description; nothing is written twice.
Rule 2: arguments validate strictly or the function does not run: nothing is repaired, guessed or ignored.
Rule 3: nothing here runs a turn or speaks; the `ToolRouter` decides when a call runs and what becomes of it.
Rule 4: pydantic is imported with the first tool, not with the library: it is a third of the time that takes.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import json
import math
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    Literal,
    ParamSpec,
    TypeAlias,
    TypeVar,
    cast,
    get_args,
    overload,
)

from voicepipe.core.cancellation import is_cancelled
from voicepipe.core.context import Deps_co
from voicepipe.core.threads import run_in_daemon_thread
from voicepipe.errors import ConfigurationError, ToolError
from voicepipe.tools.strict_json import read_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

    from voicepipe.core.context import SessionContext

__all__ = ["Tool", "ToolContext", "tool"]

MAX_ARGUMENT_BYTES: Final = 16 * 1024
MAX_RESULT_BYTES: Final = 8 * 1024
DEFAULT_TIMEOUT_S: Final = 10.0

Effect: TypeAlias = Literal["read", "write"]
P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
I = TypeVar("I")  # noqa: E741 - an instance

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CUT: Final = f"\n[cut here: the result is longer than {MAX_RESULT_BYTES} bytes]"


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
    session: SessionContext[Deps_co]
    turn_id: int
    call_id: str


class Tool(Generic[P, R]):
    """A function and what a model is told about it. Made by `@tool`; called like the function itself.

    Attributes:
        name: The name by which the model calls it.
        description: The docstring without its sections on arguments, results and errors.
        effect: "write" when a call changes something, "read" when it may be cancelled and repeated at will.
        timeout_s: Seconds after which the router gives up waiting.
        say: Said to the caller while the tool takes its time; "" for nothing.
        confirm: Whether the caller has to agree before it runs.
        is_unbound: Whether it is a method that lacks its object.
        parameters: JSON schema of the arguments. Not to be changed.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        effect: Effect = "write",
        timeout_s: float = DEFAULT_TIMEOUT_S,
        name: str | None = None,
        say: str = "",
        confirm: bool = False,
    ) -> None:
        from voicepipe.tools.signature import read_signature  # noqa: PLC0415 - Rule 4

        self.is_unbound = _is_method(function)
        self._signature = read_signature(function, ToolContext, is_method=self.is_unbound)
        functools.update_wrapper(self, function, updated=())
        self._function = function
        self.name = function.__name__ if name is None else name
        self.description = self._signature.description
        self.effect: Effect = effect
        self.timeout_s = timeout_s
        self.say = say
        self.confirm = confirm
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
    def origin(self) -> str:
        """Where the function stands, e.g. "shop.orders.find_order"."""
        return f"{self._function.__module__}.{self._function.__qualname__}"

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self: Tool[Concatenate[I, Q], R], instance: I, owner: type | None = None) -> Tool[Q, R]: ...

    def __get__(self, instance: object, owner: type | None = None) -> Tool[..., R]:
        """Return the tool of this very object, where the function is a method of a `Toolbox`."""
        if instance is None or not self.is_unbound:
            return self
        bound: Tool[..., R] = copy.copy(self)
        bound._function = types.MethodType(self._function, instance)
        bound.is_unbound = False
        return bound

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
        from voicepipe.tools.signature import NOT_GIVEN  # noqa: PLC0415 - Rule 4

        if not arguments and not self._signature.names:
            return {}
        validate = self._signature.arguments.validate_json
        try:
            found = read_json(
                arguments, "the arguments", limit=MAX_ARGUMENT_BYTES, schema=self.parameters, validate=validate
            )
        except ToolError:
            raise
        except Exception as error:  # e.g. a constraint that does not fit its type, which pydantic finds only now
            raise ToolError(f"the arguments cannot be checked: {type(error).__name__} in a validator") from error
        values = {name: getattr(found, name) for name in self._signature.names}
        return {name: value for name, value in values.items() if value is not NOT_GIVEN}

    def with_defaults(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all parameters that a model knows, so that two ways to write one call are equal."""
        parameters = inspect.signature(self._function).parameters
        return {name: values.get(name, parameters[name].default) for name in self._signature.names}

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
            if is_cancelled():
                raise
            # A future it waited for was cancelled elsewhere. Let through, it would end the call without a result.
            raise ToolError(f"{self.name} was cancelled from inside; its outcome is unknown") from error

    def render(self, result: Any) -> str:  # noqa: ANN401
        """Return what the model sees: text as it is, anything else as JSON by the return annotation.

        A result beyond 8 KiB, counted as it is written in JSON, is cut and says so.

        Raises:
            ToolError: The result cannot be written as JSON. The call was made all the same.
        """
        if isinstance(result, str) and not isinstance(result, Enum):
            return _cut(result)
        refusal = f"{self.name} ran, but its result cannot be shown: a {type(result).__name__} is not JSON"
        if isinstance(result, Iterator):  # it may never end
            raise ToolError(refusal)
        try:
            # Without warnings: what is not of the annotated type, e.g. a dict for a model, is written by its own.
            data = self._signature.returns.dump_json(result, warnings=False)
            return data.decode() if len(data) <= MAX_RESULT_BYTES else _cut(data.decode())
        except Exception as error:
            raise ToolError(refusal) from error

    def __repr__(self) -> str:
        """Show the name and the effect."""
        return f"<Tool {self.name} {self.effect}>"


@overload
def tool(
    function: Callable[P, R],
    /,
    *,
    effect: Effect = ...,
    timeout_s: float = ...,
    name: str | None = ...,
    say: str = ...,
    confirm: bool = ...,
) -> Tool[P, R]: ...


@overload
def tool(
    *, effect: Effect = ..., timeout_s: float = ..., name: str | None = ..., say: str = ..., confirm: bool = ...
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    effect: Effect = "write",
    timeout_s: float = DEFAULT_TIMEOUT_S,
    name: str | None = None,
    say: str = "",
    confirm: bool = False,
) -> Tool[P, R] | Callable[[Callable[P, R]], Tool[P, R]]:
    """Make a tool of a function, async or plain: `@tool`, `@tool(effect="read")` or `tool(shop.find_order)`.

    Methods of a `Toolbox` are decorated like functions.

    Args:
        function: Every parameter and the result have annotations, and the docstring says what it does. Parameters are
            described by `Annotated[..., Field(description=...)]` or in the docstring's section "Args".
        effect: "write" runs outside of the turn, so a barge-in does not touch it; "read" may run before the caller has
            finished, be cancelled, and be repeated.
        timeout_s: Seconds after which the model is told that the outcome is unknown.
        name: What the model calls it, if not by the function's name.
        say: Said when the tool takes its time and nothing else is being said, e.g. "One moment, I am looking it up."
        confirm: Whether the caller has to agree. The first call does not run: the model is told to ask. The identical
            call in a later turn of the caller runs, unless their words begin with a refusal.

    Raises:
        ConfigurationError: A model could not call it; the message says what to write.
    """

    def decorate(function: Callable[P, R]) -> Tool[P, R]:
        return Tool(function, effect=effect, timeout_s=timeout_s, name=name, say=say, confirm=confirm)

    return decorate if function is None else decorate(function)


def describe_failure(error: BaseException) -> str:
    """Return what the model is told about an error: the words of a `ToolError`, only the class of any other.

    A group with one error in it, as task groups raise them, counts as that error.
    """
    inside = _grouped(error)
    if len(inside) == 1:
        return describe_failure(inside[0])
    if isinstance(error, ToolError) and str(error):
        return _cut(str(error))
    return f"{type(error).__name__}: the tool failed"


def _is_method(function: object) -> bool:
    """Return whether a function stands in the body of a class, so that its first parameter is the object itself."""
    if not inspect.isfunction(function):
        return False
    first = next(iter(inspect.signature(function).parameters.values()), None)
    in_class = "." in function.__qualname__.rpartition("<locals>.")[2]
    return in_class and first is not None and first.name == "self"


def _grouped(error: BaseException) -> tuple[BaseException, ...]:
    return cast("BaseExceptionGroup[BaseException]", error).exceptions if isinstance(error, BaseExceptionGroup) else ()


def _cut(text: str) -> str:
    """Return at most `MAX_RESULT_BYTES` as JSON writes them, with a mark where something is missing.

    Half a surrogate pair, which UTF-8 does not have, becomes a question mark.
    """
    beginning = text[: MAX_RESULT_BYTES + 1].encode("utf-8", errors="replace").decode()  # a huge result costs nothing
    quoted = json.dumps(beginning, ensure_ascii=False).encode()
    if len(quoted) <= MAX_RESULT_BYTES:
        return beginning
    kept = quoted[: MAX_RESULT_BYTES - len(json.dumps(_CUT))].decode("utf-8", errors="ignore")
    kept = re.sub(r"(?<!\\)((?:\\\\)*)\\(u[0-9a-f]{0,3})?$", r"\1", kept)  # half of an escape
    return str(json.loads(kept + '"')) + _CUT
