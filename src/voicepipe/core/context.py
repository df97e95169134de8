"""What the parts of a pipeline may use of their session and turn.

`Session` and `Turn` sit far above the parts and know them. The parts know only these protocols, so that imports go
down. A typing test checks that the two classes satisfy the protocols.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    import anyio
    from typing_extensions import TypeVar as TypeVarWithDefault

    from voicepipe.events import Event
    from voicepipe.flow import AudioFrame, Transcript
    from voicepipe.history import History, ToolCall
    from voicepipe.observed import Exchange, PlayedAudio, ToolAsked
    from voicepipe.timeline import Timeline

__all__ = [
    "AnySession",
    "AnyTurn",
    "CallRecord",
    "Deps",
    "Deps_co",
    "Fact",
    "OutputLease",
    "Resampling",
    "SessionContext",
    "SessionRecogniser",
    "SessionTools",
    "TurnContext",
    "Watching",
]

if TYPE_CHECKING:  # Python supports defaults of type variables from 3.13 on; before that only type checkers do
    Deps = TypeVarWithDefault("Deps", default=Any)
    Deps_co = TypeVarWithDefault("Deps_co", covariant=True, default=Any)
else:
    Deps = TypeVar("Deps")
    Deps_co = TypeVar("Deps_co", covariant=True)

AnySession: TypeAlias = Any
"""The session, in the signature of a method that applications override. They write `Session`, which is above this
module, or `SessionContext`; type checkers accept such a narrower parameter only where the base says `Any`."""

AnyTurn: TypeAlias = Any
"""The turn, for the same reason: applications write `Turn`."""


Fact: TypeAlias = str | int | float | bool
"""A value of `Session.facts`: one that cannot change, and that every log format can write."""


class CallRecord(Protocol):
    """Where it is written what a call does, so that no other worker does it again; see `Host.session`."""

    async def begins(self, call_id: str) -> bool:
        """Note that a writing tool begins, and return whether it may run; False if another worker has the call.

        The tool runs when this returns, so it may wait a moment for the note to be safe. `Session.snapshot`, taken
        inside, already counts the tool as begun. An exception is logged, and the tool runs.
        """
        ...


class Resampling(Protocol):
    """Converts audio to another sample rate, piece by piece; see `voicepipe.audio.resample`."""

    @property
    def holds_back_s(self) -> float:
        """At most so much of what it was fed has not come out."""
        ...

    def feed(self, pcm: bytes) -> bytes: ...  # noqa: D102 - the class says it

    def flush(self) -> bytes: ...  # noqa: D102


class SessionRecogniser(Protocol):
    """What a tool or a hook may ask of the recogniser of its session; see `Recogniser`."""

    def update(self, **changes: Any) -> None: ...  # noqa: ANN401, D102

    def updated(self, **changes: Any) -> AbstractAsyncContextManager[None]: ...  # noqa: ANN401, D102

    def force_endpoint(self) -> None: ...  # noqa: D102


class SessionTools(Protocol):
    """The tools of one session; see `Toolset`."""

    def add(self, *tools: Any) -> None: ...  # noqa: ANN401, D102

    def remove(self, *names: str) -> None: ...  # noqa: D102

    def __iter__(self) -> Iterator[str]: ...

    def __len__(self) -> int: ...

    def __contains__(self, name: object, /) -> bool: ...


class OutputLease(Protocol):
    """The right of one turn to write to the output; see `Lease`."""

    @property
    def played_s(self) -> float:
        """Seconds of this turn's audio that have been played."""
        ...

    @property
    def silent_s(self) -> float:
        """For how many seconds the output has had nothing left to play."""
        ...

    @property
    def next_audible_s(self) -> float:
        """When the frame that is written next will be audible, on the loop's clock."""
        ...

    @property
    def is_held(self) -> bool:
        """Whether nothing may be written at present, because the caller may be speaking."""
        ...

    async def wait_released(self) -> None: ...  # noqa: D102

    async def write(self, pcm: bytes) -> None: ...  # noqa: D102

    def finish(self) -> None: ...  # noqa: D102

    def correct(self, heard_s: float) -> None: ...  # noqa: D102

    async def wait_played(self) -> None: ...  # noqa: D102

    def check(self) -> None: ...  # noqa: D102


class Watching(Protocol):
    """The observers of a session; see `Watch`."""

    @property
    def wants_heard(self) -> bool:
        """Whether anybody takes the caller's audio."""
        ...

    @property
    def wants_played(self) -> bool:
        """Whether anybody takes the agent's audio."""
        ...

    def heard(self, frame: AudioFrame) -> None: ...  # noqa: D102

    def played(self, audio: PlayedAudio) -> None: ...  # noqa: D102

    def exchange(self, exchange: Exchange) -> None: ...  # noqa: D102

    def around_tool(self, call: ToolAsked) -> AbstractContextManager[object]: ...  # noqa: D102

    def next_request(self) -> int: ...  # noqa: D102

    def next_sentence(self) -> int: ...  # noqa: D102


class SessionContext(Protocol[Deps_co]):
    """A session as parts, tools and turns see it; see `Session`."""

    @property
    def id(self) -> str:
        """What log lines and events call this session."""
        ...

    @property
    def facts(self) -> Mapping[str, Fact]:
        """What the application said about this session: caller, line, tenant."""
        ...

    @property
    def deps(self) -> Deps_co:
        """What the application passed to this session as `deps`."""
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
        """Whether a reply is being prepared or played, or a text is waiting to be said."""
        ...

    @property
    def recogniser(self) -> SessionRecogniser:
        """The recogniser of this session."""
        ...

    @property
    def tools(self) -> SessionTools:
        """The tools that the model can call in this session."""
        ...

    @property
    def watch(self) -> Watching | None:
        """The observers; None without any."""
        ...

    @property
    def record(self) -> CallRecord | None:
        """Where it is written what this call does; None for nowhere."""
        ...

    @property
    def output_rate(self) -> int:
        """Samples per second that the output expects."""
        ...

    @property
    def shows_text(self) -> bool:
        """Whether the output shows what the agent says, and plays nothing."""
        ...

    def emit(self, event: Event) -> None: ...  # noqa: D102

    def say(  # noqa: D102
        self,
        text: str,
        *,
        audio: Any = None,  # noqa: ANN401
        protected: bool = False,
    ) -> Awaitable[Any]: ...

    def reply(self, instructions: str | None = None) -> Awaitable[Any]: ...  # noqa: D102

    def expect(self, expectation: Any) -> None: ...  # noqa: ANN401, D102 - an `Expectation`, which is above this module

    def interrupt(self) -> None: ...  # noqa: D102

    def end(self, *, after_reply: bool = False, result: object = None) -> None: ...  # noqa: D102

    def lease(self, turn: Any) -> OutputLease: ...  # noqa: ANN401, D102 - a `Turn`, which is above this module

    def resampler_to_output(self, sample_rate: int) -> Resampling | None: ...  # noqa: D102

    def start_call(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None: ...  # noqa: D102

    def late_result(self, call: ToolCall) -> None: ...  # noqa: D102

    def drop_draft(self, turn: Any) -> None: ...  # noqa: ANN401, D102


class TurnContext(Protocol):
    """A turn as the stages below it see it; see `Turn`."""

    @property
    def turn_id(self) -> int:
        """Counts the turns of a session, from 1."""
        ...

    @property
    def session(self) -> SessionContext[Any]:
        """The session that the turn belongs to."""
        ...

    @property
    def transcript(self) -> Transcript | None:
        """What the caller said; None when the agent speaks unprompted."""
        ...

    @property
    def timeline(self) -> Timeline:
        """Where the time went."""
        ...

    @property
    def committed(self) -> anyio.Event:
        """Set when the turn is no longer a draft."""
        ...

    @property
    def first_segment(self) -> int:
        """The number of the segment with which the speech now being prepared begins."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether the turn has ended."""
        ...

    def emit(self, event: Event) -> None: ...  # noqa: D102
