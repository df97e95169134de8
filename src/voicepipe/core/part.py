"""The lifetimes of the parts of a pipeline.

Rule 1: the objects that an application creates are never modified. A host copies them, and each session copies the
        copies.
Rule 2: what `open` sets on `self` is shared by all sessions of a process (connection pools, models); what `attach` sets
        belongs to one session (sockets, decoders); what belongs to one turn is local to `run`.
"""

from __future__ import annotations

import copy
from abc import ABC
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from typing import Self

    from voicepipe.core.call_settings import CallSettings
    from voicepipe.core.context import AnySession

__all__ = ["Part", "at_once", "is_at_once"]

Lifetime = TypeVar("Lifetime", bound="Callable[..., object]")


class Part(ABC):  # noqa: B024 - its subclasses have abstract methods, and Python refuses to create one without them
    """Base of stages, recognisers, models, sources and outputs.

    A part may hold other parts as attributes (`STTStage` holds a recogniser), alone or in a tuple. They are copied with
    it, and opened before it.
    """

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Set up what lives as long as the host: what is set on `self` here is shared by all sessions.

        Entered in its own task, so that the handshakes of several parts run in parallel. An error raised here, or by a
        task started here, ends the host and names this part. Cancelled when the host ends before this part is ready;
        a part that is not ready after 60 s is an error.
        """
        yield

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Set up what lives as long as one session: what is set on `self` here belongs to that session.

        Entered in its own task, after `open`. An error raised here, or by a task started here, ends the session and
        names this part. Cancelled when the session ends before this part is ready; a part that is not ready after 10 s
        is an error.
        """
        del session
        yield

    @property
    def _is_ours(self) -> bool:
        """Whether its code is this library's, which ends when it is cancelled and need not be left behind."""
        return type(self).__module__.startswith("voicepipe.")

    def adapt(self, settings: CallSettings) -> None:  # noqa: B027 - most parts are the same in every call
        """Take over what differs in one call, on the copy that belongs to that call's session.

        Called before `attach`, for the parts that this one holds first; only if the session was given settings. A voice
        and a recogniser refuse by default what is meant for them; `settings.refuse` does it.

        Raises:
            ConfigurationError: This part cannot honour a setting that is meant for it.
        """

    def state(self) -> object | None:
        """Return what another worker needs to know of this session, as JSON values; None for nothing.

        `Session.snapshot` asks for it, often and in the middle of turns, so it must be quick. What is returned may be
        written to a store, and be read by a later version of the application.
        """
        return None

    def restore(self, state: Any) -> None:  # noqa: ANN401, B027 - JSON values; most parts have no state
        """Take over what `state` returned in another worker, on the copy that belongs to the resumed session.

        Called before `attach`, and only if there is a state. If it raises, the exception is logged, `CallResumed` names
        this part, and the call goes on without the state.
        """

    @property
    def name(self) -> str:
        """The name of this part in errors and events."""
        return type(self).__name__

    def _copied(self) -> Self:
        """Return a shallow copy of this part and of the parts it holds."""
        return self._with_held(lambda held: held._copied())

    def _with_held(self, changed: Callable[[Part], Part]) -> Self:
        """Return a shallow copy of this part in which each part that it holds is replaced."""
        twin = copy.copy(self)
        for attribute, value in vars(twin).items():
            if isinstance(value, Part):
                setattr(twin, attribute, changed(value))
            elif isinstance(value, tuple) and _parts_in(value):
                several = cast("tuple[object, ...]", value)
                setattr(twin, attribute, tuple(changed(one) if isinstance(one, Part) else one for one in several))
        return twin

    def _held(self) -> list[Part]:
        """Return the parts that this one holds, in the order of its attributes."""
        return [held for value in vars(self).values() for held in _parts_in(value)]

    def __repr__(self) -> str:
        """Show the name; parts that have settings show those too."""
        return f"<{self.name}>"


def at_once(lifetime: Lifetime) -> Lifetime:
    """Mark an `open` or `attach` that never waits, starts nothing and has nothing to close.

    It is entered without a task of its own, which saves each call about 10 KiB and 0.15 ms of CPU. A method that
    overrides it is not marked.
    """
    cast("Any", lifetime).is_at_once = True
    return lifetime


def is_at_once(lifetime: Callable[..., object]) -> bool:
    """Return whether `at_once` marks it."""
    return getattr(lifetime, "is_at_once", False)


def _parts_in(value: object) -> list[Part]:
    several = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
    return [one for one in several if isinstance(one, Part)]
