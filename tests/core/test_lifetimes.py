"""Parts are held open while something else runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from voicepipe import Pipeline, SentenceChunker
from voicepipe.core.lifetimes import CLOSE_S, opened
from voicepipe.core.part import Part, at_once
from voicepipe.errors import StageError, VendorError
from voicepipe.session.session import Session
from voicepipe.testing import RecordingOutput, ScriptedModel, ScriptedVoice

pytestmark = pytest.mark.anyio

Log = list[tuple[float, str]]


class Slow(Part):
    """Takes time to open and to close, and records when it did."""

    def __init__(self, log: Log, called: str, *, opens_s: float = 0.0, closes_s: float = 0.0) -> None:
        self.log = log
        self.called = called
        self.opens_s = opens_s
        self.closes_s = closes_s

    @property
    def name(self) -> str:
        return self.called

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        try:
            await anyio.sleep(self.opens_s)
            self.log.append((anyio.current_time(), f"{self.called} opened"))
            yield
            await anyio.sleep(self.closes_s)
        finally:
            self.log.append((anyio.current_time(), f"{self.called} closed"))


class Broken(Part):
    """Fails while it opens, while it is open, or while it closes."""

    def __init__(self, error: Exception, *, when: str, after_s: float = 0.0) -> None:
        self.error = error
        self.when = when
        self.after_s = after_s

    async def fail(self) -> None:
        await anyio.sleep(self.after_s)
        raise self.error

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        if self.when == "opening":
            await self.fail()
        async with anyio.create_task_group() as tasks:
            if self.when == "open":
                tasks.start_soon(self.fail)
            yield
            if self.when == "closing":
                await self.fail()


class Quick(Slow):
    """Is ready at once, and records how many tasks there are while it opens."""

    @at_once
    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        self.log.append((len(asyncio.all_tasks()), f"{self.called} opened"))
        yield
        self.log.append((len(asyncio.all_tasks()), f"{self.called} closed"))


class QuickThenSlow(Quick):
    """Overrides it with what takes time."""

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        await anyio.sleep(1.0)
        async with super().open():
            yield


class Around(Slow):
    """Holds another part, or several."""

    several: tuple[object, ...] = ()

    def __init__(self, log: Log, called: str, inner: Part) -> None:
        super().__init__(log, called, opens_s=1.0)
        self.inner = inner


async def test_parts_are_opened_side_by_side() -> None:
    """Two handshakes of one second each take one second together."""
    log: Log = []
    async with opened([Slow(log, "one", opens_s=1.0), Slow(log, "two", opens_s=1.0)]):
        log.append((anyio.current_time(), "ready"))
    assert log[:3] == [(1.0, "one opened"), (1.0, "two opened"), (1.0, "ready")]


async def test_nothing_begins_before_all_are_open() -> None:
    """The block begins when the slowest part is open."""
    log: Log = []
    async with opened([Slow(log, "one", opens_s=1.0), Slow(log, "two", opens_s=2.0)]):
        assert anyio.current_time() == 2.0


async def test_parts_are_closed_side_by_side() -> None:
    """Two goodbyes of one second each take one second together."""
    log: Log = []
    async with opened([Slow(log, "one", closes_s=1.0), Slow(log, "two", closes_s=1.0)]):
        await anyio.sleep(5.0)
    assert log[2:] == [(6.0, "one closed"), (6.0, "two closed")]


async def test_what_a_part_holds_is_opened_first() -> None:
    """A part is opened after the parts that it holds."""
    log: Log = []
    async with opened([Around(log, "stage", Slow(log, "recogniser", opens_s=1.0))]):
        assert log == [(1.0, "recogniser opened"), (2.0, "stage opened")]


async def test_what_is_ready_at_once_needs_no_task() -> None:
    """It is entered by the task that opens it, in the order of the parts, and left in the reverse order."""
    log: Log = []
    before = len(asyncio.all_tasks())
    async with opened([Quick(log, "one"), Quick(log, "two")]):
        assert log == [(before, "one opened"), (before, "two opened")]
    assert log[2:] == [(before, "two closed"), (before, "one closed")]


async def test_what_overrides_it_may_take_time() -> None:
    """The mark belongs to the method, so a subclass with a handshake of its own is opened like any other part."""
    log: Log = []
    async with opened([QuickThenSlow(log, "one"), QuickThenSlow(log, "two")]):
        assert anyio.current_time() == 1.0


async def test_what_is_at_once_inside_of_a_slow_part_is_opened_before_it() -> None:
    """The order of parts inside of parts stays."""
    log: Log = []
    async with opened([Around(log, "stage", Quick(log, "detector"))]):
        assert [what for _, what in log] == ["detector opened", "stage opened"]


async def test_what_fails_at_once_carries_the_parts_name() -> None:
    """An error at once is the error of its part, and what was opened before is closed."""

    class Fails(Part):
        @at_once
        @asynccontextmanager
        async def open(self) -> AsyncGenerator[None]:
            raise ValueError("no such model")
            yield

    log: Log = []
    with pytest.raises(StageError, match=r"^Fails raised ValueError: no such model$"):
        async with opened([Quick(log, "one"), Fails(), Slow(log, "never")]):
            pytest.fail("it is not open")
    assert [what for _, what in log] == ["one opened", "one closed"]


@pytest.mark.parametrize("when", ["opening", "open", "closing"])
async def test_a_failure_carries_the_parts_name(when: str) -> None:
    """Whenever a part fails, the error names the part, and its cause is what the part raised."""
    cause = ValueError("no such model")
    with pytest.raises(StageError, match=r"^Broken raised ValueError: no such model$") as caught:
        async with opened([Broken(cause, when=when)]):
            await anyio.sleep(0.5 if when == "closing" else 5.0)
    assert (caught.value.part, caught.value.__cause__) == ("Broken", cause)


async def test_our_own_errors_pass_with_a_note() -> None:
    """One of voicepipe's own errors is raised unchanged; a note names the part."""
    error = VendorError("down", vendor="acme", retryable=True)
    with pytest.raises(VendorError) as caught:
        async with opened([Broken(error, when="open")]):
            await anyio.sleep(5.0)
    assert (caught.value, error.__notes__) == (error, ["in Broken"])


async def test_a_failure_while_open_ends_the_block_at_once() -> None:
    """When a part fails, the block ends and the other parts are closed."""
    log: Log = []
    with pytest.raises(StageError):
        async with opened([Slow(log, "other"), Broken(ValueError("lost"), when="open", after_s=2.0)]):
            await anyio.sleep(60.0)
    assert log == [(0.0, "other opened"), (2.0, "other closed")]


async def test_a_failure_while_opening_closes_what_was_opened() -> None:
    """When one part cannot be opened, open parts are closed and parts that are still opening are cancelled."""
    log: Log = []
    parts = [
        Slow(log, "quick", closes_s=0.5),
        Slow(log, "slow", opens_s=10.0),
        Broken(ValueError("refused"), when="opening", after_s=1.0),
    ]
    with pytest.raises(StageError):
        async with opened(parts):
            log.append((anyio.current_time(), "never"))
    assert log == [(0.0, "quick opened"), (1.0, "slow closed"), (1.5, "quick closed")]


async def test_a_part_that_hangs_does_not_hold_the_exit() -> None:
    """A goodbye that never ends is cancelled after one second."""
    log: Log = []
    async with opened([Slow(log, "hangs", closes_s=1_000.0)]):
        pass
    assert (CLOSE_S, log) == (1.0, [(0.0, "hangs opened"), (1.0, "hangs closed")])


async def test_a_good_bye_is_said_also_when_cancelled() -> None:
    """A cancelled block still lets its parts close undisturbed within their time limit."""
    log: Log = []
    with anyio.move_on_after(1.0):
        async with opened([Slow(log, "polite", closes_s=0.5)]):
            await anyio.sleep(60.0)
    assert log == [(0.0, "polite opened"), (1.5, "polite closed")]


async def test_cancelling_while_parts_open_closes_them() -> None:
    """A host that is cancelled before it is ready cancels what is opening and closes what is open."""
    log: Log = []
    with anyio.move_on_after(1.0) as limit:
        async with opened([Slow(log, "quick", closes_s=0.5), Slow(log, "slow", opens_s=10.0)]):
            log.append((anyio.current_time(), "never"))
    assert limit.cancelled_caught
    assert log == [(0.0, "quick opened"), (1.0, "slow closed"), (1.5, "quick closed")]


@pytest.mark.parametrize("steps", range(12))
async def test_no_moment_of_opening_is_bad_for_cancelling(steps: int) -> None:
    """At whatever step of the loop it is cancelled, it ends, and every opened part is closed."""
    log: Log = []

    async def hold() -> None:
        async with opened([Slow(log, "one"), Around(log, "two", Slow(log, "inner"))]):
            await anyio.sleep(60.0)

    task = asyncio.get_running_loop().create_task(hold())
    for _ in range(steps):
        await anyio.lowlevel.checkpoint()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=CLOSE_S)
    assert done == {task}
    events = [what for _, what in log]
    assert all(what.replace("opened", "closed") in events for what in events)


class Counts(ScriptedVoice):
    """Records on itself that it was opened and attached."""

    opened = 0
    attached = 0

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        self.opened += 1
        yield

    @asynccontextmanager
    async def attach(self, session: Session) -> AsyncGenerator[None]:
        self.attached += 1
        seen.append((self.opened, self.attached))
        yield


seen: list[tuple[int, int]] = []


async def test_the_applications_objects_are_never_touched() -> None:
    """A host works on copies and each session on copies of those; each session sees what its host set."""
    seen.clear()
    voice = Counts()
    agent = Pipeline(ScriptedModel([]), SentenceChunker(), voice)
    async with agent.open() as host:
        for _ in range(2):
            async with host.session(output=RecordingOutput()):
                pass
    assert (seen, vars(voice).keys() & {"opened", "attached"}) == ([(1, 1), (1, 1)], set())


async def test_a_part_inside_a_part_is_copied_too() -> None:
    """The copy of a stage holds a copy of its recogniser."""
    inner = Slow([], "inner")
    outer = Around([], "outer", inner)
    twin = outer._copied()
    assert isinstance(twin.inner, Slow)
    assert (twin.inner is inner, twin.inner.called, outer.inner is inner) == (False, "inner", True)


async def test_parts_in_a_tuple_are_held_too() -> None:
    """Parts in a tuple are copied, opened and attached as a part alone is; what else the tuple holds stays as it is."""
    log: Log = []
    first, second = Slow(log, "first"), Slow(log, "second")
    outer = Around(log, "outer", Slow(log, "inner"))
    outer.several = (first, "a text", second)
    twin = outer._copied()
    assert [type(one) for one in twin.several] == [Slow, str, Slow]
    assert (twin.several[0] is first, twin.several[1] is outer.several[1], outer.several[2] is second) == (
        False,
        True,
        True,
    )
    async with opened([twin]):
        pass
    assert [what for _, what in log if what.endswith(" opened")] == [
        "inner opened",
        "first opened",
        "second opened",
        "outer opened",
    ]


async def test_what_is_given_to_a_session_is_used_as_it_is() -> None:
    """An output that an application creates for one session is opened, attached and never copied."""
    output = RecordingOutput()
    async with Pipeline(ScriptedModel([]), SentenceChunker(), ScriptedVoice()).session(output=output, greeting="Hi."):
        await anyio.sleep(0.5)
    assert output.spans() == [(0.0, 0.15)]


async def test_a_part_that_is_never_ready_is_an_error() -> None:
    """A handshake that hangs fails the opening with the part's name, and open parts are closed."""
    log: Log = []
    with pytest.raises(StageError, match="was not ready after 60 s"):
        async with opened([Slow(log, "quick"), Slow(log, "hangs", opens_s=1_000.0)]):
            pytest.fail("it is not open")
    assert sorted(log) == [(0.0, "quick opened"), (60.0, "hangs closed"), (60.0, "quick closed")]
