"""Functions that a language model may call.

Rule 1: the signature is the schema and the docstring is the description; nothing is written twice.
Rule 2: the function runs only if the arguments validate strictly: nothing is repaired, guessed or ignored.
Rule 3: this module runs no turn and says nothing; the `ToolRouter` decides when a call runs and where its result goes.
Rule 4: pydantic is imported with the first tool and not with the library: it would be a third of the import time.
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
    """What a tool knows about the call that it serves; the model neither sees nor sets it.

    A tool receives it in a parameter of this class, anywhere in its signature: `call: ToolContext[Shop]`.

    Attributes:
        deps: What the application gave to the session, e.g. a database and the caller's identity.
        session: The conversation.
        turn_id: The turn in which the model made the call.
        call_id: Identifies the call within the session.
    """

    deps: Deps_co = field(repr=False)  # belongs to the application, and may be secret
    session: SessionContext[Deps_co]
    turn_id: int
    call_id: str


class Tool(Generic[P, R]):
    """A function with its description for a language model. `@tool` makes it; it is called like the function itself.

    Attributes:
        name: The name by which the model calls it.
        description: The docstring without its sections on arguments, results and errors.
        effect: "write" when a call changes something, "read" when a call can be cancelled and repeated at will.
        timeout_s: Seconds after which the router stops waiting.
        say: What the agent says to the caller when the tool takes long; "" for nothing.
        confirm: Whether the caller has to agree before the function runs.
        reply: Whether the model is asked for a reply once the function has returned.
        is_unbound: Whether the function is a method without its object.
        parameters: JSON schema of the arguments. Do not change it.
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
        reply: bool = True,
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
        self.reply = reply
        self.parameters = self._signature.parameters
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"a tool cannot have the name {self.name!r}: models accept 1 to 64 letters, digits, _ and -; "
                f'write @tool(name="...")'
            )
        if effect not in get_args(Effect):
            raise ConfigurationError(f'the effect of tool {self.name} must be "read" or "write", not {effect!r}')
        if not 0 < timeout_s < math.inf:
            raise ConfigurationError(
                f"timeout_s of tool {self.name} must be a positive number of seconds, not {timeout_s}"
            )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function as if it were not decorated."""
        return self._function(*args, **kwargs)

    @property
    def origin(self) -> str:
        """Module and qualified name of the function, e.g. "shop.orders.find_order"."""
        return f"{self._function.__module__}.{self._function.__qualname__}"

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self: Tool[Concatenate[I, Q], R], instance: I, owner: type | None = None) -> Tool[Q, R]: ...

    def __get__(self, instance: object, owner: type | None = None) -> Tool[..., R]:
        """Return the tool bound to an object, if the function is a method of a `Toolbox`."""
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
        """Return the values for `call` from the model's JSON, without those of parameters that the model left out.

        Types are as strict as JSON allows: a date or an enum is a string, a number never is. Empty text counts as `{}`
        only for a tool without parameters. A null for a parameter that has a default and is never null counts as left
        out, in inner models too.

        Raises:
            ToolError: The arguments do not fit. The message names fields and no values. The message of an application's
                validator is left out, because it may quote a value; a ToolError that it raises passes unchanged.
        """
        from voicepipe.tools.signature import NOT_GIVEN  # noqa: PLC0415 - Rule 4

        if not arguments and not self._signature.names:
            return {}
        validate = self._signature.arguments.validate_json
        try:
            found = read_json(
                arguments,
                "the arguments",
                limit=MAX_ARGUMENT_BYTES,
                schema=self.parameters,
                validate=validate,
                idle_nulls=True,
            )
        except ToolError:
            raise
        except Exception as error:  # e.g. a constraint that does not fit its type, which pydantic finds only now
            raise ToolError(f"the arguments cannot be checked: {type(error).__name__} in a validator") from error
        values = {name: getattr(found, name) for name in self._signature.names}
        return {name: value for name, value in values.items() if value is not NOT_GIVEN}

    def with_defaults(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all parameters that the model sees, so that two ways to write one call are equal."""
        parameters = inspect.signature(self._function).parameters
        return {name: values.get(name, parameters[name].default) for name in self._signature.names}

    async def call(self, values: Mapping[str, Any], context: ToolContext[Any]) -> Any:  # noqa: ANN401 - the tool's own
        """Run the function: an async one in this task, a plain one in a daemon thread.

        Args:
            values: What `validate` returned.
            context: Passed to the function if it has a parameter for it.

        Raises:
            ToolError: The function was cancelled from inside, so its outcome is unknown; or a plain one raised
                `KeyboardInterrupt`, which in a thread is no Ctrl-C.
            BaseException: Any exception that the function raised.

        Cancelling cancels an async function. The thread of a plain function cannot be stopped: it runs on, abandoned.
        """
        given = dict(values)
        if self._signature.context is not None:
            given[self._signature.context] = context
        run = functools.partial(cast("Callable[..., Any]", self._function), **given)
        try:
            if inspect.iscoroutinefunction(self._function):
                return await run()
            result = await run_in_daemon_thread(run, name=f"voicepipe tool {self.name}")
            # Some decorators wrap an async function in a plain one.
            return await result if inspect.isawaitable(result) else result
        except asyncio.CancelledError as error:
            if is_cancelled():
                raise
            # Something that it awaited was cancelled elsewhere. Passed on, that would end the call without a result.
            raise ToolError(f"{self.name} was cancelled from inside; its outcome is unknown") from error
        except KeyboardInterrupt as error:
            if inspect.iscoroutinefunction(self._function):
                raise
            raise ToolError(f"{self.name} raised KeyboardInterrupt") from error

    def render(self, result: Any) -> str:  # noqa: ANN401
        """Return what the model sees of a result: text as it is, anything else as JSON by the return annotation.

        A result of more than 8 KiB, counted as it is written in JSON, is cut and ends with a note that says so.

        Raises:
            ToolError: The result cannot be written as JSON. The function has run.
        """
        if isinstance(result, str) and not isinstance(result, Enum):
            return _cut(result)
        refusal = f"{self.name} ran, but its result cannot be shown: a {type(result).__name__} is not JSON"
        if isinstance(result, Iterator):  # it may never end
            raise ToolError(refusal)
        try:
            # Without warnings: a value of a type other than annotated, e.g. a dict, is written by its own type.
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
    reply: bool = ...,
) -> Tool[P, R]: ...


@overload
def tool(
    *,
    effect: Effect = ...,
    timeout_s: float = ...,
    name: str | None = ...,
    say: str = ...,
    confirm: bool = ...,
    reply: bool = ...,
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
    reply: bool = True,
) -> Tool[P, R] | Callable[[Callable[P, R]], Tool[P, R]]:
    """Make a tool from a function, async or plain: `@tool`, `@tool(effect="read")` or `tool(shop.find_order)`.

    Methods of a `Toolbox` are decorated like functions.

    Args:
        function: Its parameters and its result have annotations, and its docstring says what it does. A parameter is
            described by `Annotated[..., Field(description=...)]` or in the docstring's section "Args".
        effect: "write" runs outside of the turn, so a barge-in does not touch it; "read" can run before the caller has
            finished, be cancelled, and be repeated.
        timeout_s: Seconds after which the result for the model is that the outcome is unknown.
        name: The name for the model, if it is not the function's name.
        say: What the agent says when the tool takes long and nothing else is being said, e.g. "One moment, I am looking
            it up."
        confirm: Whether the caller has to agree. The first call does not run: its result asks the model to ask the
            caller. The identical call in a later turn runs, unless the caller's words begin with a refusal.
        reply: Whether the model is asked for a reply once the function has returned. False is for what needs no words,
            e.g. a note or a transfer: if all calls of the model's reply are of such tools and succeed, the turn is
            complete with what was said before them. If one fails, the model is asked.

    Raises:
        ConfigurationError: A model could not call the function; the message says what to write.
    """

    def decorate(function: Callable[P, R]) -> Tool[P, R]:
        return Tool(function, effect=effect, timeout_s=timeout_s, name=name, say=say, confirm=confirm, reply=reply)

    return decorate if function is None else decorate(function)


def describe_failure(error: BaseException) -> str:
    """Return what the model sees of an error: the message of a `ToolError`, only the class of any other.

    An exception group with one error in it, as a task group raises it, counts as that error.
    """
    inside = _grouped(error)
    if len(inside) == 1:
        return describe_failure(inside[0])
    if isinstance(error, ToolError) and str(error):
        return _cut(str(error))
    return f"{type(error).__name__}: the tool failed"


def _is_method(function: object) -> bool:
    """Return whether a function is defined in the body of a class and takes the object as its first parameter."""
    if not inspect.isfunction(function):
        return False
    first = next(iter(inspect.signature(function).parameters.values()), None)
    in_class = "." in function.__qualname__.rpartition("<locals>.")[2]
    return in_class and first is not None and first.name == "self"


def _grouped(error: BaseException) -> tuple[BaseException, ...]:
    return cast("BaseExceptionGroup[BaseException]", error).exceptions if isinstance(error, BaseExceptionGroup) else ()


def _cut(text: str) -> str:
    """Return a text of at most `MAX_RESULT_BYTES` as JSON writes it, with a note at the end if something was cut.

    Half of a surrogate pair has no form in UTF-8 and becomes a question mark.
    """
    beginning = text[: MAX_RESULT_BYTES + 1].encode("utf-8", errors="replace").decode()  # a huge result costs little
    quoted = json.dumps(beginning, ensure_ascii=False).encode()
    if len(quoted) - 2 <= MAX_RESULT_BYTES:  # without the quotes
        return beginning
    kept = quoted[: MAX_RESULT_BYTES - len(json.dumps(_CUT))].decode("utf-8", errors="ignore")
    kept = re.sub(r"(?<!\\)((?:\\\\)*)\\(u[0-9a-f]{0,3})?$", r"\1", kept)  # half of an escape
    return str(json.loads(kept + '"')) + _CUT
