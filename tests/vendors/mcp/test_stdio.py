"""MCP servers that are processes: in real time, so there are few tests, and none waits for a time."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.mcp_server import needs_mcp, old_program, program, until
from tests.helpers.tool_rows import DONE, Row, calls_of, scripted
from voicepipe.testing import Calls

pytestmark = [pytest.mark.anyio, pytest.mark.slow, needs_mcp]

PATIENCE_S = 50.0
"""For a machine that is busy; nothing is measured."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def changes(row: Row, count: int) -> list[str]:
    """Wait until the session's tools have changed so often, and return how and why."""
    await until(lambda: len(row.reported(vp.ToolsChanged)) >= count)
    found = row.reported(vp.ToolsChanged, vp.ToolServerLost)
    return [event.changes if isinstance(event, vp.ToolsChanged) else str(event.error) for event in found]


async def test_a_server_of_the_sdk_answers_over_its_pipes() -> None:
    """Words of any script reach the SDK's server and come back; one that hangs is cancelled alone."""
    threads, before = threading.active_count(), asyncio.all_tasks()
    words = "h\u00e9 \u4f60\u597d \U0001f389 line\u2028feed"
    replies = [(Calls("echo", {"text": words}), Calls("hang", {})), Calls("echo", {"text": "again"}), DONE]
    row, _ = scripted(replies, vp.mcp_tools(command=program(), timeout_s=PATIENCE_S, ready_s=PATIENCE_S))
    with anyio.fail_after(PATIENCE_S):
        async with row.session() as session, anyio.create_task_group() as tasks:
            tasks.start_soon(session.user_says, "Hi")
            await until(lambda: row.reported(vp.ToolFinished))
            session.interrupt()
            await session.user_says("Hi")
            results = [(call.status, call.result) for call in calls_of(session)]
    assert results == [("done", words), ("failed", '{"error": "the call was cancelled"}'), ("done", "again")]
    assert threading.active_count() <= threads + 1  # asyncio's own, which waits for processes and ends with them
    assert asyncio.all_tasks() == before


async def test_what_a_server_says_is_bounded_and_a_dead_one_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    """Noise is logged in part and without secrets, a huge answer fails alone, and a dead server is started again."""
    caplog.set_level(logging.DEBUG)
    replies = [
        (Calls("noise", {}), Calls("huge", {}), Calls("more", {})),
        DONE,
        Calls("die", {}),
        DONE,
        Calls("echo", {"text": "back"}),
        DONE,
    ]
    tools = vp.mcp_tools(command=old_program(), env={"TOKEN": "canary-1"}, name="old", ready_s=PATIENCE_S)
    row, _ = scripted(replies, tools)
    with anyio.fail_after(PATIENCE_S):
        async with row.session() as session:
            await session.user_says("Hi")
            noise, huge, more = calls_of(session)
            assert [call.status for call in (noise, huge, more)] == ["done", "failed", "done"]
            assert "the answer has more than 4194304 bytes" in huge.result
            assert await changes(row, 1) == ["+fresh"]
            await session.user_says("And now?")
            _, lost, gone, back = await changes(row, 3)
            assert lost.startswith("old: the server ended with status 7; its last words: ")
            assert lost.endswith(" / out of tables")
            assert gone == "-echo -noise -huge -die -more -fresh"
            assert back == "+echo +noise +huge +die +more"
            await session.user_says("Again")
            died, echo = calls_of(session)[3:]
    assert "the outcome is unknown" in died.result
    first, second = noise.result.split()[0], echo.result.split()[0]
    assert first != second
    assert not lives(int(first))
    assert not lives(int(second))
    logged = [record.getMessage() for record in caplog.records]
    assert sum("old says: line" in line for line in logged) < 500  # of 1,000; 20 at once
    assert any("old writes to its stdout what is no message: a banner" in line for line in logged)
    assert "canary-1" not in "".join(logged) + lost


async def test_a_process_that_does_not_go_is_killed_with_what_it_started(caplog: pytest.LogCaptureFixture) -> None:
    """A server that ignores the end of its stdin and SIGTERM is dead when its host has closed, and its child too."""
    caplog.set_level(logging.INFO)
    row, _ = scripted([Calls("echo", {}), DONE], vp.mcp_tools(command=old_program("deaf"), ready_s=PATIENCE_S))
    with anyio.fail_after(PATIENCE_S):
        async with row.session() as session:
            await session.user_says("Hi")
            pid = int(calls_of(session)[0].result)
    (said,) = (record.getMessage() for record in caplog.records if "says: child" in record.getMessage())
    child = int(said.split()[-1])
    assert not lives(pid)
    with anyio.fail_after(PATIENCE_S):
        await until(lambda: not lives(child))  # the process that inherits orphans has to notice


async def test_what_cannot_be_started_says_what_to_do() -> None:
    """A missing program, a file that is no program, and one that ends at once: a sentence each, without a secret."""

    async def opened(command: list[str], **settings: Any) -> str:
        row, _ = scripted([DONE], vp.mcp_tools(command=command, name="shop", **settings))
        with anyio.fail_after(PATIENCE_S), pytest.raises(vp.VoicepipeError) as refused:
            async with row.pipeline().open():
                pass
        return f"{type(refused.value).__name__}: {refused.value}"

    assert await opened(["no-such-program"]) == (
        "ConfigurationError: shop: there is no program 'no-such-program' on the PATH; install it, or give its path"
    )
    assert await opened([os.devnull]) == (
        f"ConfigurationError: shop: {os.devnull!r} cannot be started (Permission denied); is it a program?"
    )
    assert await opened(old_program(), cwd="/no/such/place") == (
        "ConfigurationError: shop: there is no directory '/no/such/place'; correct cwd"
    )
    assert await opened(old_program("exits"), env={"PART": "canary", "TOKEN": "canary-1"}) == (
        "VendorError: shop: the server ended with status 1; its last words: no licence for ***"
    )
