"""Observers at work: attached before everything else of a session, detached after it, and never in the call's way."""

from __future__ import annotations

import functools
import inspect
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import anyio

from voicepipe.core.clock import loop_time
from voicepipe.core.lifetimes import attached
from voicepipe.core.observer import on_wire
from voicepipe.core.part import Part
from voicepipe.errors import ConfigurationError, VoicepipeError
from voicepipe.observed import ApplicationAsked, AskedBy
from voicepipe.session.saying import AT_WORK

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Sequence

    from anyio.abc import TaskStatus

    from voicepipe.core.context import SessionContext
    from voicepipe.core.home import Home
    from voicepipe.core.observer import Observer, Watch

__all__ = ["by_the_rules", "observing", "shown", "used_alone"]

Method = TypeVar("Method", bound="Callable[..., Any]")

READY_S: Final = 2.0
"""How long an observer may take to be attached: the caller waits for it. After that the call begins without it."""

_AT_WORK: Final = set[int]()

_BY_RULES: Final = ContextVar("voicepipe_by_rules", default=False)


@contextmanager
def used_alone(observers: Sequence[Observer]) -> Generator[None]:
    """Keep observers that are used as they are for one session at a time, as long as the block lasts.

    What `attach` sets belongs to one session: a recorder that two of them share would write the words of one caller
    into the recording of the other.

    Raises:
        ConfigurationError: One watches another session at present.
    """
    own = [one for one in observers if type(one).attach is not Part.attach]
    for one in own:
        if id(one) in _AT_WORK:
            raise ConfigurationError(
                f"observers: this {one.name} watches another session; make one for each session, or give it to the "
                "Pipeline, which makes a copy for each"
            )
    _AT_WORK.update(map(id, own))
    try:
        yield
    finally:
        _AT_WORK.difference_update(map(id, own))


@asynccontextmanager
async def observing(
    observers: Sequence[Observer], session: SessionContext[Any], watch: Watch | None
) -> AsyncGenerator[None]:
    """Attach observers as long as the block lasts. One that fails is dropped, whenever that is."""
    if watch is None:
        with on_wire(None):  # the block of another session may be around this one
            yield
        return
    leave = anyio.Event()
    async with anyio.create_task_group() as tasks:
        async with anyio.create_task_group() as starting:
            for observer in observers:
                starting.start_soon(tasks.start, _hold, observer, session, watch, leave)
        watch.attached()
        try:
            with on_wire(watch):
                yield
        finally:
            leave.set()


async def _hold(
    observer: Observer, session: SessionContext[Any], watch: Watch, leave: anyio.Event, *, task_status: TaskStatus[None]
) -> None:
    def drop(error: VoicepipeError) -> None:
        watch.drop(observer, error)

    is_attached = False
    try:
        async with attached([observer], session, drop, ready_s=READY_S):
            is_attached = True
            task_status.started()
            with anyio.CancelScope(shield=True):  # it sees how the session ends, whatever ends it
                await leave.wait()
    except VoicepipeError as error:
        drop(error)
        if not is_attached:
            task_status.started()


def shown(method: Method) -> Method:
    """Show observers that a method of the session was called, and by whom."""
    signature = inspect.signature(method)

    @functools.wraps(method)
    def called(self: Any, *args: object, **kwargs: object) -> object:  # noqa: ANN401 - a session, which is above this
        watch: Watch | None = self.watch
        if watch is not None:
            home: Home = self._home
            by: AskedBy = "rules" if _BY_RULES.get() else "application" if AT_WORK.get() is None else "turn"
            home.call(_show, watch, by, method.__name__, signature.bind(self, *args, **kwargs).arguments)
        return method(self, *args, **kwargs)

    return cast("Method", called)


def _show(watch: Watch, by: AskedBy, name: str, arguments: dict[str, object]) -> None:
    given = {key: value for key, value in arguments.items() if key != "self"}
    watch.exchange(ApplicationAsked(at_s=loop_time(), by=by, method=name, arguments=given))


@contextmanager
def by_the_rules() -> Generator[None]:
    """Say that the rules of turn-taking use the session in the block, and not the application."""
    token = _BY_RULES.set(True)
    try:
        yield
    finally:
        _BY_RULES.reset(token)
