"""What watches a session: it gets everything that happens, and the call waits for none of its work.

Rule 1: an observer is called in the step in which something happens, and never awaited. What it wants to write or to
        send it puts aside, for a task of its own that `attach` starts.
Rule 2: the call outlives its observers. One that raises is dropped for the rest of the call, and reported once.
Rule 3: what nobody observes costs nothing: only the methods that an observer overrides are called.
"""

from __future__ import annotations

import sys
from codecs import getincrementaldecoder
from collections import deque
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from inspect import iscoroutinefunction
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from voicepipe.core.clock import loop_time
from voicepipe.core.failures import named
from voicepipe.core.part import Part
from voicepipe.errors import ConfigurationError, VoicepipeError
from voicepipe.observed import WireMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from contextlib import AbstractContextManager

    from voicepipe.events import Event
    from voicepipe.flow import AudioFrame
    from voicepipe.observed import Exchange, PlayedAudio, ToolAsked

__all__ = ["Observer", "Watch", "Wire", "observers_of", "on_wire"]


class Observer(Part):
    """Base class of what watches sessions; subclasses override the methods that they need.

    `Pipeline(..., observers=[...])` has each session watched by a copy of its own, `Host.session(..., observers=[...])`
    one session by the object itself. `open` and `attach` are those of any `Part`: an observer is attached before the
    other parts and detached after them.

    The methods are called in the session's event loop, in the order in which things happen. They must not wait and
    should be quick: the call waits for them. An observer that raises, there or in `attach`, gets nothing more of that
    call, which goes on; the session emits `ObserverFailed`.
    """

    def on_event(self, event: Event) -> None:
        """Take an event of the session; also those that the application does not read."""

    def on_end(self, reason: str) -> None:
        """Take why the session has ended, in a few words for a log. No events follow; audio and wire messages may."""

    def on_heard(self, frame: AudioFrame) -> None:
        """Take a frame of the caller's audio, as the recogniser gets it: 20 ms, after echo cancellation."""

    def on_played(self, audio: PlayedAudio) -> None:
        """Take a piece of the agent's audio, at most 20 ms, once it has been played. What was flushed never comes."""

    def on_exchange(self, exchange: Exchange) -> None:
        """Take what a part was given, or gave."""

    def on_wire(self, message: WireMessage) -> None:
        """Take a message to or from a service that voicepipe speaks to itself: AssemblyAI, or one like OpenAI's."""

    def around_tool(self, call: ToolAsked) -> AbstractContextManager[object]:
        """Return what is entered before a tool's function is called, and left after it, in the context that it runs in.

        So a tracer can set its context variables; the function sees them, also one that runs in a thread. What the
        function raises can be seen, but not suppressed.

        Args:
            call: The call, which `on_exchange` has been given.
        """
        del call
        return nullcontext()


def observers_of(given: Sequence[Observer], where: str) -> tuple[Observer, ...]:
    """Return observers as they were given.

    Args:
        given: The observers.
        where: Who was given them, e.g. "Pipeline".

    Raises:
        ConfigurationError: This is no list of observers, or a method of one is async.
    """
    if not isinstance(cast("object", given), (list, tuple)):
        raise ConfigurationError(f"{where} takes a list of observers; write observers=[...]")
    for one in cast("Sequence[object]", given):
        if isinstance(one, type):
            raise ConfigurationError(f"observers: {one.__name__} is a class; write {one.__name__}(...)")
        if not isinstance(one, Observer):
            raise ConfigurationError(f"observers: {type(one).__name__} is not an Observer")
        for name in TAKES:
            if iscoroutinefunction(getattr(one, name)):
                raise ConfigurationError(
                    f"observers: {type(one).__name__}.{name} is never awaited; write def, and leave what takes time to "
                    "a task that attach starts"
                )
    return tuple(given)


TAKES: Final = ("on_event", "on_end", "on_heard", "on_played", "on_exchange", "on_wire", "around_tool")


class Watch:
    """The observers of one session.

    Args:
        observers: Who watches it.
        on_failure: Called with the name of one that failed, and why.

    Attributes:
        wants_heard: Whether anybody takes the caller's audio.
        wants_played: Whether anybody takes the agent's audio.
        wants_wire: Whether anybody takes the messages of services.
    """

    def __init__(self, observers: Sequence[Observer], on_failure: Callable[[str, VoicepipeError], None]) -> None:
        self._on_failure = on_failure
        self._dropped: list[Observer] = []
        self._events: deque[Event] = deque()  # those that observers emit while they are given one, or attached
        self._is_attached = False
        self._requests, self._sentences, self._connections = count(1), count(1), count(1)
        self._all = tuple(_overriding(observers, name) for name in TAKES)
        (
            self._of_events,
            self._of_end,
            self._of_heard,
            self._of_played,
            self._of_exchanges,
            self._of_wire,
            self._around_tools,
        ) = self._all
        self.wants_heard = bool(self._of_heard)
        self.wants_played = bool(self._of_played)
        self.wants_wire = bool(self._of_wire)

    def event(self, event: Event) -> None:
        """Pass on an event. One that an observer emits comes after the one that it was given, for all of them."""
        self._events.append(event)
        if self._is_attached and len(self._events) == 1:
            self._pass_on_events()

    def attached(self) -> None:
        """Begin to pass on events, and with those that observers emitted while they were attached: all are ready."""
        self._is_attached = True
        self._pass_on_events()

    def _pass_on_events(self) -> None:
        while self._events:
            try:
                self._pass_on(self._of_events, self._events[0])
            finally:
                self._events.popleft()

    def ended(self, reason: str) -> None:
        """Pass on why the session has ended."""
        self._pass_on(self._of_end, reason)

    def heard(self, frame: AudioFrame) -> None:
        """Pass on a frame of the caller's."""
        self._pass_on(self._of_heard, frame)

    def played(self, audio: PlayedAudio) -> None:
        """Pass on audio of the agent's."""
        self._pass_on(self._of_played, audio)

    def exchange(self, exchange: Exchange) -> None:
        """Pass on what a part was given, or gave."""
        self._pass_on(self._of_exchanges, exchange)

    def wire(self, message: WireMessage) -> None:
        """Pass on a message of a service."""
        self._pass_on(self._of_wire, message)

    def around_tool(self, call: ToolAsked) -> AbstractContextManager[object]:
        """Return what is entered around a tool's function."""
        return self._around(call) if self._around_tools else nullcontext()

    @contextmanager
    def _around(self, call: ToolAsked) -> Generator[None]:
        entered: list[tuple[Observer, AbstractContextManager[object]]] = []
        for observer, around in tuple(self._around_tools):
            with self._contained(observer):
                manager = around(call)
                manager.__enter__()
                entered.append((observer, manager))
        try:
            yield
        finally:
            for observer, manager in reversed(entered):
                with self._contained(observer):
                    manager.__exit__(*sys.exc_info())

    @contextmanager
    def _contained(self, observer: Observer) -> Generator[None]:
        try:
            with named(observer.name):
                yield
        except VoicepipeError as error:
            self.drop(observer, error)

    def next_request(self) -> int:
        """Return the number of the next request to a model."""
        return next(self._requests)

    def next_sentence(self) -> int:
        """Return the number of the next sentence that a voice is given."""
        return next(self._sentences)

    def next_connection(self) -> int:
        """Return the number of the next request or websocket to a service."""
        return next(self._connections)

    def drop(self, observer: Observer, error: VoicepipeError) -> None:
        """Pass nothing more on to an observer that has failed, and report it once."""
        if observer in self._dropped:
            return
        self._dropped.append(observer)
        for takers in self._all:
            takers[:] = [taker for taker in takers if taker[0] is not observer]
        self._on_failure(observer.name, error)

    def _pass_on(self, takers: list[_Taker], what: object) -> None:
        for observer, take in tuple(takers):
            try:
                take(what)
            except BaseException:  # a context manager around each call would cost more than the call
                with self._contained(observer):
                    raise


_Taker: TypeAlias = "tuple[Observer, Callable[[Any], Any]]"

_WATCH: Final[ContextVar[Watch | None]] = ContextVar("voicepipe_watch", default=None)


@contextmanager
def on_wire(watch: Watch | None) -> Generator[None]:
    """Let the connections that are used in the block, and by tasks that are started in it, report to observers."""
    token = _WATCH.set(watch if watch is not None and watch.wants_wire else None)
    try:
        yield
    finally:
        _WATCH.reset(token)


class Wire:
    """The messages of one request or websocket, on their way to the observers of the session that uses it.

    Args:
        watch: The observers.
        peer: The host of the service.
        hide: Takes keys out of a text.
    """

    def __init__(self, watch: Watch, peer: str, hide: Callable[[str], str]) -> None:
        self._watch = watch
        self._peer = peer
        self._hide = hide
        self._connection = watch.next_connection()
        self._decode = getincrementaldecoder("utf-8")("replace").decode

    @classmethod
    def begun(cls, peer: str, hide: Callable[[str], str]) -> Wire | None:
        """Return the wire of a connection; None if nobody wants to see it."""
        watch = _WATCH.get()
        return cls(watch, peer, hide) if watch is not None else None

    def sent(self, head: str = "", data: str | bytes = "") -> None:
        """Show what was sent."""
        self._show("sent", head, data)

    def received(self, head: str = "", data: str | bytes = "") -> None:
        """Show what has come."""
        self._show("received", head, data)

    def received_text(self, data: bytes) -> None:
        """Show a piece of a text that has come; it may end in the middle of a character."""
        if text := self._decode(data):
            self._show("received", "", text)

    def _show(self, direction: Literal["sent", "received"], head: str, data: str | bytes) -> None:
        shown = WireMessage(
            at_s=loop_time(),
            peer=self._peer,
            connection=self._connection,
            direction=direction,
            head=self._hide(head),
            data=self._hide(data) if isinstance(data, str) else data,
        )
        self._watch.wire(shown)


def _overriding(observers: Sequence[Observer], name: str) -> list[_Taker]:
    own = getattr(Observer, name)
    return [(one, getattr(one, name)) for one in observers if getattr(type(one), name) is not own]
