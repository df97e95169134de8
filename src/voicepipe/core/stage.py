"""The two kinds of stage, and how their item types are read.

Rule 1: a `SessionStage` lives as long as the session, a `Stage` as long as one turn; nothing outlives its `run`.
Rule 2: the item types are written once, in the type parameters: `Stage[Sentence, Sentence]`.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, get_args, get_origin

from voicepipe.core.part import Part
from voicepipe.errors import ConfigurationError
from voicepipe.flow import AudioFrame

if TYPE_CHECKING:
    from voicepipe.core.call_settings import CallSettings
    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.core.context import AnySession, AnyTurn

__all__ = ["SessionStage", "Stage", "stage"]

In = TypeVar("In")
Out = TypeVar("Out")


class SessionStage(Part, Generic[In, Out]):
    """A stage that lives for one session, reads items of one type and sends items of another."""

    @property
    def _fault_name(self) -> str:
        """How errors of `run` call this stage: by the part it runs, if it only runs another one."""
        return self.name

    def adapt(self, settings: CallSettings) -> None:
        """Refuse another language or key terms for one call, if this stage recognises speech. See `Part.adapt`."""
        read, sent = flow_of(self)
        if read is AudioFrame and sent is not AudioFrame:
            settings.refuse(self.name, "language", "key_terms")

    @abstractmethod
    async def run(self, inbox: Inbox[In], outbox: Outbox[Out], session: AnySession) -> None:
        """Read `inbox` until it ends, send to `outbox`, and return when done.

        Cancelled with the session, at any `await`. Must not start a task that outlives `run`. An error raised here ends
        the session and names this stage.
        """


class Stage(Part, Generic[In, Out]):
    """A stage that lives for one turn, reads items of one type and sends items of another."""

    _never_waits = False  # whether it hands on each item in the step in which it came, and so takes no time of the turn
    _obeys = False  # whether `run` ends when it is cancelled, so that it needs no task of its own to be left behind

    @abstractmethod
    async def run(self, inbox: Inbox[In], outbox: Outbox[Out], turn: AnyTurn) -> None:
        """Read `inbox` until it ends, send to `outbox`, and return when done.

        Cancelled with the turn, at any `await`. Must not start a task that outlives `run`. May close `outbox` before it
        returns. An error raised here fails the turn and names this stage; the session continues.
        """


class _FunctionStage(Stage[In, Out]):
    """A stage created by `@stage`."""

    def __init__(self, function: Callable[[In], AsyncIterator[Out]], flow: tuple[Any, Any]) -> None:
        self._function = function
        self._flow = flow

    @property
    def name(self) -> str:
        return getattr(self._function, "__name__", "stage")

    async def run(self, inbox: Inbox[In], outbox: Outbox[Out], turn: AnyTurn) -> None:
        del turn
        async for item in inbox:
            async with aclosing(cast("AsyncGenerator[Out]", self._function(item))) as results:
                async for result in results:
                    await outbox.send(result)


def stage(function: Callable[[In], AsyncIterator[Out]]) -> Stage[In, Out]:
    """Make a `Stage` from an async generator function that takes one item and yields any number of items.

    The function's annotations name the types: `async def redact(sentence: Sentence) -> AsyncIterator[Sentence]`.

    Raises:
        ConfigurationError: The function is not an async generator function, or it lacks annotations.
    """
    name = getattr(function, "__name__", repr(function))
    if not inspect.isasyncgenfunction(function):
        raise ConfigurationError(
            f"@stage needs an async generator function, but {name} is not one; write `yield` in it"
        )
    hints = typing.get_type_hints(function)
    returns = hints.pop("return", None)
    if len(hints) != 1 or get_origin(returns) is not AsyncIterator:
        raise ConfigurationError(
            f"@stage reads the item types from the annotations of {name}, which must take one item and return "
            f"AsyncIterator[...]; write: async def {name}(item: Sentence) -> AsyncIterator[Sentence]"
        )
    (taken,) = hints.values()
    return _FunctionStage(function, (taken, get_args(returns)[0]))


def flow_of(part: Part) -> tuple[Any, Any]:
    """Return the types that a stage reads and sends, e.g. `(TextDelta, Sentence)`.

    Raises:
        ConfigurationError: The class does not name its item types.
    """
    if isinstance(part, _FunctionStage):
        return part._flow
    bound = _class_flow(cast("Any", type(part)))
    if bound is None:
        raise ConfigurationError(
            f"{part.name} does not say which types it reads and sends; derive it from Stage[In, Out] or "
            f"SessionStage[In, Out] with both types, e.g. class {part.name}(Stage[Sentence, Sentence])"
        )
    return bound


@functools.cache
def _class_flow(cls: type) -> tuple[Any, Any] | None:
    """Return the types that a class reads and sends; None if it does not name both."""
    bound = _parameters(cls, {})
    return None if bound is None or any(isinstance(side, TypeVar) for side in bound) else bound


def _parameters(cls: type, bound: dict[Any, Any]) -> tuple[Any, Any] | None:
    """Find `Stage[...]` among the bases, with the type variables of subclasses filled in."""
    for base in cast("tuple[Any, ...]", cls.__dict__.get("__orig_bases__", cls.__bases__)):
        origin = get_origin(base) or base
        arguments = tuple(bound.get(a, a) for a in get_args(base))
        if origin in (Stage, SessionStage):
            return (arguments[0], arguments[1]) if len(arguments) == 2 else None
        if isinstance(origin, type) and issubclass(origin, (Stage, SessionStage)):
            variables = getattr(origin, "__parameters__", ())
            found = _parameters(cast("type", origin), dict(zip(variables, arguments, strict=False)))
            if found is not None:
                return found
    return None


def can_follow(sent: Any, read: Any) -> bool:  # noqa: ANN401 - types at run time have no better type
    """Return whether a stage that reads `read` may follow one that sends `sent`."""
    if read is Any or sent is Any or sent == read:
        return True
    kinds_sent, kinds_read = _alternatives(sent), _alternatives(read)
    return all(any(one is other or _is_subclass(one, other) for other in kinds_read) for one in kinds_sent)


def _alternatives(kind: Any) -> tuple[Any, ...]:  # noqa: ANN401
    return get_args(kind) if get_origin(kind) in (types.UnionType, typing.Union) else (kind,)


def _is_subclass(one: Any, other: Any) -> bool:  # noqa: ANN401
    return isinstance(one, type) and isinstance(other, type) and issubclass(one, other)


def kind_name(kind: Any) -> str:  # noqa: ANN401
    """Return a type as a user would write it."""
    return " | ".join(getattr(one, "__name__", repr(one)) for one in _alternatives(kind))
