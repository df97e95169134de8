"""However a session ends, it ends in order: one terminal event a turn, the same time for writing tools, one error."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

import voicepipe as vp
from voicepipe.testing import Calls, RecordingOutput, Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice

pytestmark = pytest.mark.anyio

LONG = "One two three four. Five six seven eight. Nine ten eleven twelve."


class Broken(RecordingOutput):
    """Fails in one of its methods, from a time on."""

    def __init__(self, method: str, from_s: float = 0.5) -> None:
        super().__init__()
        self.method = method
        self.from_s = from_s

    def fail(self, method: str) -> None:
        if method == self.method and anyio.current_time() >= self.from_s:
            raise OSError("no such device")

    async def write(self, pcm: bytes) -> None:
        self.fail("write")
        await super().write(pcm)

    def flush(self) -> None:
        self.fail("flush")
        super().flush()

    @property
    def played_s(self) -> float:
        self.fail("played_s")
        return math.nan if self.method == "nan" and anyio.current_time() >= self.from_s else super().played_s


def row(model: vp.Model, *parts: vp.Part, voice: vp.TTSSink | None = None) -> vp.Pipeline:
    return vp.Pipeline(model, *parts, vp.SentenceChunker(), voice or ScriptedVoice())


async def terminal_events(session: vp.Session) -> list[vp.TurnEnded]:
    return [event async for event in session if isinstance(event, vp.TurnEnded)]


@pytest.mark.parametrize(
    ("method", "kind"), [("write", vp.TurnFailed), ("flush", vp.TurnInterrupted), ("played_s", vp.TurnInterrupted)]
)
async def test_an_output_that_fails_ends_the_call_by_its_name(method: str, kind: type[vp.TurnEnded]) -> None:
    """Whichever method of an output raises, its turn has one terminal event and the call ends with one typed error."""
    events: list[vp.TurnEnded] = []
    with pytest.raises(vp.StageError, match=r"^Broken raised OSError: no such device$") as caught:
        async with row(ScriptedModel([Says(LONG)])).session(output=Broken(method)) as session:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(session.user_says, "Count.")
                tasks.start_soon(interrupted, session)
                events = await terminal_events(session)
            await anyio.sleep_forever()
    assert caught.value.part == "Broken"
    assert [type(event) for event in events] == [kind]
    if isinstance(events[0], vp.TurnFailed):
        assert events[0].error is caught.value


async def interrupted(session: vp.Session) -> None:
    """Interrupt, which raises nothing: it does what it says, and the call ends."""
    await anyio.sleep(0.6)
    session.interrupt()


async def test_an_output_that_fails_while_its_turn_fails_leaves_one_terminal_event() -> None:
    """When `flush` fails after the voice did, the turn keeps the voice's error and the call ends with the output's."""

    events: list[vp.TurnEnded] = []
    pipeline = vp.Pipeline(
        ScriptedModel([Says(LONG)]), Halting(), vp.SentenceChunker(), ScriptedVoice(speed=1.0), fallback=""
    )
    with pytest.raises(vp.StageError, match=r"^Broken raised OSError"):
        async with pipeline.session(output=Broken("flush", 0.0)) as session:
            turn = await session.user_says("Count.")
            events = await terminal_events(session)
            await anyio.sleep_forever()
    assert [type(event) for event in events] == [vp.TurnFailed]
    assert isinstance(turn.failure, vp.StageError)
    assert turn.failure.part == "Halting"


class Halting(vp.Stage[vp.TextDelta, vp.TextDelta]):
    """Fails in the middle of a reply, while it is being played."""

    async def run(self, inbox: vp.Inbox[vp.TextDelta], outbox: vp.Outbox[vp.TextDelta], turn: vp.Turn) -> None:
        async for delta in inbox:
            await outbox.send(delta)
        await anyio.sleep(0.5)
        raise ValueError("halt")


async def test_times_that_are_no_numbers_are_refused() -> None:
    """An output whose `played_s` is not a number ends the call by its name."""
    with pytest.raises(vp.AudioError, match=r"Broken\.played_s must be a number of seconds, not nan"):
        async with row(ScriptedModel([Says(LONG)])).session(output=Broken("nan")) as session:
            await session.user_says("Count.")


# --- writing tools ----------------------------------------------------------------------------------------------------


class Ends(RecordingOutput):
    """Its `attach` fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = anyio.Event()

    @asynccontextmanager
    async def attach(self, session: vp.Session) -> AsyncGenerator[None]:
        async with super().attach(session), anyio.create_task_group() as tasks:
            tasks.start_soon(self.fail)
            yield
            tasks.cancel_scope.cancel()

    async def fail(self) -> None:
        await self.fails.wait()
        raise OSError("unplugged")


async def by_end(session: vp.Session, output: Ends) -> None:
    session.end()
    await session.ended.wait()


async def by_leaving(session: vp.Session, output: Ends) -> None:
    return


async def by_exception(session: vp.Session, output: Ends) -> None:
    raise KeyError("the application's own")


async def by_task(session: vp.Session, output: Ends) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await anyio.sleep_forever()


async def by_task_twice(session: vp.Session, output: Ends) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_later(0.1, task.cancel)
    await by_task(session, output)


async def by_part(session: vp.Session, output: Ends) -> None:
    output.fails.set()
    await anyio.sleep_forever()


WAYS = [by_end, by_leaving, by_exception, by_task, by_task_twice, by_part]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("takes_s", "status", "ended_s"), [(0.8, "done", 0.8), (5.0, "unknown", 1.5)])
async def test_a_writing_tool_has_the_same_time_in_every_way_out(
    way: Callable[[vp.Session, Ends], Awaitable[None]], takes_s: float, status: str, ended_s: float
) -> None:
    """However the session ends, a writing tool has 1 s to finish; then it is cancelled and its outcome is unknown."""

    @vp.tool
    async def pay() -> str:
        """Pay."""
        await anyio.sleep(takes_s)
        return "paid"

    output = Ends()
    session: vp.Session | None = None

    async def call() -> None:
        nonlocal session
        pipeline = row(ScriptedModel([Calls("pay", {})]), vp.ToolRouter([pay]))
        async with pipeline.session(output=output) as session:
            with anyio.move_on_after(0.5):
                await session.user_says("Pay.")
            await way(session, output)

    task = asyncio.create_task(call())  # noqa: TID251 - the application's own task, which may be cancelled twice
    await asyncio.wait([task])
    if not task.cancelled():
        assert type(task.exception()) in (type(None), KeyError, vp.StageError)
    assert session is not None
    message = session.history[-1]
    assert isinstance(message, vp.AssistantMessage)
    assert [call.status for call in message.calls] == [status]
    assert anyio.current_time() == ended_s


async def test_a_surrounding_scope_that_is_cancelled_leaves_writing_tools_their_time() -> None:
    """A scope around the session that is cancelled is one of the ways out."""

    @vp.tool
    async def pay() -> str:
        """Pay."""
        await anyio.sleep(0.8)
        return "paid"

    pipeline = row(ScriptedModel([Calls("pay", {})]), vp.ToolRouter([pay]))
    with anyio.move_on_after(0.5):
        async with pipeline.session(output=RecordingOutput()) as session:
            await session.user_says("Pay.")
    message = session.history[-1]
    assert isinstance(message, vp.AssistantMessage)
    assert ([call.status for call in message.calls], anyio.current_time()) == (["done"], 0.8)


# --- the last events --------------------------------------------------------------------------------------------------


class Loses(vp.Recogniser):
    async def recognise(
        self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: vp.Session
    ) -> None:
        await anyio.sleep(0.5)
        raise OSError("no ears")


class Forgets(ScriptedRecogniser):
    def agent_said(self, text: str) -> None:
        raise OSError("no ears")


@pytest.mark.parametrize("where", ["recogniser", "output", "hook"])
async def test_the_block_reads_the_terminal_event_before_the_error(where: str) -> None:
    """When a part of the call fails, the block that iterates reads the turn's end, and then the error is raised."""
    recogniser: vp.Recogniser = {"recogniser": Loses, "output": ScriptedRecogniser, "hook": Forgets}[where]()
    output = Ends()
    pipeline = vp.Pipeline(vp.STTStage(recogniser), ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice())
    seen: list[vp.Event] = []
    with pytest.raises(vp.StageError, match=r"no ears|unplugged"):
        async with pipeline.session(source=vp.PushSource(), output=output, greeting=LONG) as session:
            async with anyio.create_task_group() as tasks:
                if where == "output":
                    tasks.start_soon(later, output.fails.set)
                if where == "hook":
                    tasks.start_soon(later, session.interrupt)
                async for event in session:
                    seen.append(event)
            await anyio.sleep_forever()
    assert [type(event) for event in seen if isinstance(event, vp.TurnEnded)] == [vp.TurnInterrupted]
    assert anyio.current_time() == 0.5


async def later(function: Callable[[], object]) -> None:
    await anyio.sleep(0.5)
    function()


async def test_a_block_that_reads_slowly_does_not_hold_the_end() -> None:
    """A block that does not come to the end of the events is cancelled after half a second."""
    pipeline = vp.Pipeline(vp.STTStage(Loses()), ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice())
    with pytest.raises(vp.StageError, match="no ears"):
        async with pipeline.session(source=vp.PushSource(), output=RecordingOutput(), greeting=LONG) as session:
            async for _ in session:
                await anyio.sleep(10)
    assert anyio.current_time() == 1.0


async def test_an_error_of_the_block_is_not_lost_when_a_part_fails_too() -> None:
    """The first error is raised, and the other one is a note on it."""
    output = Broken("flush", 0.0)
    with pytest.raises(KeyError) as caught:
        async with row(ScriptedModel([Says(LONG)])).session(output=output, greeting=LONG):
            await anyio.sleep(0.2)
            raise KeyError("mine")
    assert caught.value.__notes__ == ["and then StageError: Broken raised OSError: no such device"]
