"""A tool turn is cancelled at every step of the loop, in every possible way: nothing of it is left."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import voicepipe as vp
from voicepipe.history import AssistantMessage
from voicepipe.testing import (
    Calls,
    ChatRequest,
    RecordingOutput,
    Reply,
    Says,
    ScriptedGateway,
    ScriptedModel,
    ScriptedVoice,
    VirtualTimeLoop,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

WAYS = ("interrupt", "scope", "task", "task twice")
NEVER = 1 << 30


class SteppedLoop(VirtualTimeLoop):
    """Counts the rounds in which something runs, from `begin` on, and wakes the tasks that wait for one of them.

    Attributes:
        rounds: How many there have been.
    """

    def __init__(self, at: int) -> None:
        super().__init__()
        self.rounds = NEVER
        self._at = at
        self._reached: asyncio.Future[None] | None = None

    def begin(self) -> asyncio.Future[None]:
        """Start to count."""
        self.rounds, self._reached = 0, self.create_future()
        return self._reached

    def _run_once(self) -> None:
        ready: Any = self._ready  # type: ignore[attr-defined]  # typeshed does not know it
        if self._reached is not None and ready:
            if self.rounds == self._at and not self._reached.done():
                self._reached.set_result(None)
            self.rounds += 1
        super()._run_once()  # type: ignore[misc]  # typeshed does not know it


@dataclass
class Trial:
    """One call that is cancelled.

    Attributes:
        ran: Ids of the calls that were run, by tool.
        rounds: How many rounds of the loop it takes when nothing is cancelled.
        late_s: Seconds from the cancellation until everything cancelled has ended.
    """

    way: str
    over_http: bool
    at: int
    ran: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    rounds: int = 0
    late_s: float = 0.0
    first: vp.Session | None = None
    second: vp.Turn | None = None
    refused: list[Any] = field(default_factory=list[Any])

    def tools(self) -> list[vp.Tool[..., Any]]:
        @vp.tool(effect="read")
        async def look(call: vp.ToolContext[None]) -> str:
            """Look it up."""
            self.ran.append(("look", call.call_id))
            await anyio.sleep(0.01)
            return "free"

        @vp.tool
        async def book(call: vp.ToolContext[None]) -> str:
            """Book it."""
            self.ran.append(("book", call.call_id))
            await anyio.sleep(0.015)
            return "booked"

        return [look, book]

    @asynccontextmanager
    async def model(self) -> AsyncGenerator[vp.Model]:
        if not self.over_http:
            yield ScriptedModel(reply)
            return
        gateway = ScriptedGateway(reply)
        async with gateway.serve() as url:
            yield vp.LLMStreamStage(base_url=url, model="scripted")
        self.refused = [one.body for one in gateway.requests if one.method == "POST" and one.chat is None]

    async def main(self) -> None:
        """Run a turn, cancel it, and run another one on the same host."""
        tasks, files = asyncio.all_tasks(), open_files()
        async with self.model() as model:
            row = (model, vp.ToolRouter(self.tools()), vp.SentenceChunker(), ScriptedVoice(character_s=0.001))
            async with vp.Pipeline(*row, fallback="").open() as host:
                if self.way == "interrupt":
                    await self._interrupted(host)
                else:
                    await self._cancelled(host)
                    async with host.session(output=RecordingOutput()) as session:
                        self.second = await session.user_says("Are you there?")
        assert asyncio.all_tasks() == tasks
        assert open_files() == files

    async def _interrupted(self, host: vp.Host) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SteppedLoop)
        async with host.session(output=RecordingOutput()) as session:
            self.first = session

            async def interrupt(reached: asyncio.Future[None]) -> None:
                await reached
                session.interrupt()
                self.late_s = -anyio.current_time()

            async with anyio.create_task_group() as group:
                group.start_soon(interrupt, loop.begin())
                await session.user_says("Book a table")
                self.rounds = loop.rounds
                self.late_s += anyio.current_time()
                group.cancel_scope.cancel()
            self.second = await session.user_says("Are you there?")

    async def _cancelled(self, host: vp.Host) -> None:
        """Cancel the block around a session, in one of the ways."""
        loop, scope = asyncio.get_running_loop(), anyio.CancelScope()
        assert isinstance(loop, SteppedLoop)

        async def call() -> None:
            with scope:
                async with host.session(output=RecordingOutput()) as self.first:
                    await self.first.user_says("Book a table")
                self.rounds = loop.rounds

        reached = loop.begin()
        task = asyncio.create_task(call())  # noqa: TID251 - the application's own task, which may be cancelled twice
        await asyncio.wait([task, reached], return_when=asyncio.FIRST_COMPLETED)
        began_s = anyio.current_time()
        if self.way == "scope":
            scope.cancel()
        else:
            task.cancel()
        if self.way == "task twice":
            await asyncio.sleep(0)  # noqa: TID251 - one step of the loop, in which nothing else is cancelled
            task.cancel()
        await asyncio.wait([task])
        self.late_s = anyio.current_time() - began_s
        if not task.cancelled():
            task.result()


def reply(chat: ChatRequest) -> Reply:
    if "Are you there?" in chat.last_user_text:
        return Says("Yes.")
    if chat.tool_results:
        return Says("It is booked.", token_s=0.002)
    return (Calls("look", {}, say="One moment.", token_s=0.002), Calls("book", {}, token_s=0.002))


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def hold(way: str, over_http: bool, at: int) -> Trial:
    trial = Trial(way, over_http, at)

    async def main() -> None:
        with anyio.fail_after(100):  # of virtual time; otherwise a session that hangs would hang the test
            await trial.main()

    anyio.run(main, backend_options={"loop_factory": partial(SteppedLoop, at)})
    return trial


def check(trial: Trial) -> None:
    """Check that each call has one result and ran at most once, the end came in time, and the next turn is whole."""
    assert trial.late_s <= 3.0
    messages = [] if trial.first is None else [*trial.first.history]
    calls = [call for one in messages if isinstance(one, AssistantMessage) for call in one.calls]
    assert [call for call in calls if call.status == "pending"] == []
    assert len({call.call_id for call in calls}) == len(calls)
    assert len(set(trial.ran)) == len(trial.ran)
    assert {call_id for _, call_id in trial.ran} <= {call.call_id for call in calls}
    assert trial.refused == []
    assert trial.second is not None
    assert trial.second.state is vp.TurnState.DONE
    assert trial.second.session.history[-1] == AssistantMessage.said("Yes.")


@pytest.mark.parametrize(
    "over_http", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["in process", "over HTTP"]
)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.slow
def test_a_tool_turn_can_be_cancelled_at_every_step(way: str, over_http: bool) -> None:
    """A tool turn can be cancelled in any way at any step: no task or socket is left, each call has one result, and
    the next turn on the same host is whole."""
    whole = hold(way, over_http, NEVER)
    check(whole)
    trials = [hold(way, over_http, at) for at in range(0, whole.rounds, 2 if over_http else 1)]
    for trial in trials:
        check(trial)
    # The cancellation met every stage of the turn: before its calls, while they ran, and after.
    assert {len(trial.ran) for trial in trials} == {0, 1, 2}
