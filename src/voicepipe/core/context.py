"""What the parts of a pipeline may use of the session and of the turn they work for.

`Session` and `Turn` are far above: they know the parts. The parts know these protocols, so that imports go down only.
A test of types holds the two classes against them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from contextlib import AbstractAsyncContextManager

    import anyio
    from typing_extensions import TypeVar as TypeVarWithDefault

    from voicepipe.events import Event
    from voicepipe.flow import Transcript
    from voicepipe.history import History
    from voicepipe.timeline import Timeline

__all__ = [
    "AnySession",
    "AnyTurn",
    "Deps",
    "Deps_co",
    "OutputLease",
    "Resampling",
    "SessionContext",
    "SessionRecogniser",
    "SessionTools",
    "TurnContext",
]

if TYPE_CHECKING:  # Python knows defaults of type variables from 3.13 on; until then only type checkers do
    Deps = TypeVarWithDefault("Deps", default=Any)
    Deps_co = TypeVarWithDefault("Deps_co", covariant=True, default=Any)
else:
    Deps = TypeVar("Deps")
    Deps_co = TypeVar("Deps_co", covariant=True)

AnySession: TypeAlias = Any
"""The session, in the signature of a method that applications override. They write `Session`, which is above this
module, or `SessionContext`; a narrower parameter would be an error of types if this were anything but `Any`."""

AnyTurn: TypeAlias = Any
"""The turn, likewise: applications write `Turn`."""


class Resampling(Protocol):
    """Audio of another rate, piece by piece; see `voicepipe.audio.resample`."""

    def feed(self, pcm: bytes) -> bytes: ...  # noqa: D102 - the class says it

    def flush(self) -> bytes: ...  # noqa: D102


class SessionRecogniser(Protocol):
    """What a tool or a hook may ask of the recogniser of its call; see `Recogniser`."""

    def update(self, **changes: Any) -> None: ...  # noqa: ANN401, D102

    def updated(self, **changes: Any) -> AbstractAsyncContextManager[None]: ...  # noqa: ANN401, D102

    def force_endpoint(self) -> None: ...  # noqa: D102


class SessionTools(Protocol):
    """The tools of one call; see `Toolset`."""

    def add(self, *tools: Any) -> None: ...  # noqa: ANN401, D102

    def remove(self, *names: str) -> None: ...  # noqa: D102

    def __iter__(self) -> Iterator[str]: ...

    def __len__(self) -> int: ...

    def __contains__(self, name: object, /) -> bool: ...


class OutputLease(Protocol):
    """The right of one turn to write to the output; see `Lease`."""

    @property
    def played_s(self) -> float:
        """Seconds of this turn's audio that were played."""
        ...

    async def write(self, pcm: bytes) -> None: ...  # noqa: D102

    async def wait_played(self) -> None: ...  # noqa: D102

    def check(self) -> None: ...  # noqa: D102


class SessionContext(Protocol[Deps_co]):
    """A session, as parts, tools and turns see it; see `Session`."""

    @property
    def deps(self) -> Deps_co:
        """What the application gave to this call."""
        ...

    @property
    def history(self) -> History:
        """The conversation so far."""
        ...

    @property
    def ended(self) -> anyio.Event:
        """Set when the session has ended."""
        ...

    @property
    def is_busy(self) -> bool:
        """Whether a reply is being prepared or spoken, or something waits to be said."""
        ...

    @property
    def recogniser(self) -> SessionRecogniser:
        """The recogniser of this call."""
        ...

    @property
    def tools(self) -> SessionTools:
        """The tools that the model may call in this session."""
        ...

    @property
    def output_rate(self) -> int:
        """Samples per second that the output takes."""
        ...

    def emit(self, event: Event) -> None: ...  # noqa: D102

    def say(self, text: str) -> None: ...  # noqa: D102

    def interrupt(self) -> None: ...  # noqa: D102

    def end(self, *, after_reply: bool = False, result: object = None) -> None: ...  # noqa: D102

    def lease(self, turn: Any) -> OutputLease: ...  # noqa: ANN401, D102 - a `Turn`, which is above this module

    def resampler_to_output(self, sample_rate: int) -> Resampling | None: ...  # noqa: D102

    def start_call(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None: ...  # noqa: D102

    def drop_draft(self, turn: Any) -> None: ...  # noqa: ANN401, D102


class TurnContext(Protocol):
    """A turn, as the stages below it see it; see `Turn`."""

    @property
    def turn_id(self) -> int:
        """Counts the turns of a session, from 1."""
        ...

    @property
    def session(self) -> SessionContext[Any]:
        """The call."""
        ...

    @property
    def transcript(self) -> Transcript | None:
        """What the caller said; None when the agent speaks on its own."""
        ...

    @property
    def timeline(self) -> Timeline:
        """Where the time goes."""
        ...

    @property
    def committed(self) -> anyio.Event:
        """Set when the turn is no draft any more."""
        ...

    @property
    def first_segment(self) -> int:
        """The segment that the speech now being prepared begins with."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether the turn has ended."""
        ...

    def emit(self, event: Event) -> None: ...  # noqa: D102
