"""Each record of the logger "voicepipe" says which session it is about."""

from __future__ import annotations

import asyncio
import logging
import pickle

import anyio
import anyio.lowlevel
import pytest

from voicepipe.core.home import Home
from voicepipe.core.log import Personal, SessionLabel, log
from voicepipe.core.threads import run_in_daemon_thread

pytestmark = pytest.mark.anyio

LABEL = SessionLabel("call-7", {"tenant": "acme", "line": 2})


@pytest.fixture
def anyio_backend() -> str:
    """Real time, because threads do not exist on virtual time."""
    return "asyncio"


def test_a_record_has_the_id_and_the_facts(caplog: pytest.LogCaptureFixture) -> None:
    """Its message begins with the id, and a formatter or a filter of the application gets both as attributes."""
    with LABEL.on_records():
        log.warning("%d unreadable messages", 3)
    (record,) = caplog.records
    assert record.getMessage() == "session call-7: 3 unreadable messages"
    assert (vars(record)["session_id"], vars(record)["facts"]) == ("call-7", {"tenant": "acme", "line": 2})


def test_what_is_personal_is_in_no_record(caplog: pytest.LogCaptureFixture) -> None:
    """A personal fact is a text like any other, but neither a record nor a `repr` has it."""
    label = SessionLabel("call-7", {"tenant": "acme", "caller": Personal("+15550100")})
    assert (f"{label.facts['caller']}", label.facts["caller"] == "+15550100") == ("+15550100", True)
    with label.on_records():
        log.warning("began")
    assert vars(caplog.records[0])["facts"] == {"tenant": "acme"}
    assert "15550100" not in repr(label)


def test_a_record_outside_of_sessions_has_neither(caplog: pytest.LogCaptureFixture) -> None:
    """Its message stays as it is, and the attributes are there, so that a formatter can rely on them."""
    with LABEL.on_records():
        pass
    log.warning("hello")
    (record,) = caplog.records
    assert (record.getMessage(), vars(record)["session_id"], vars(record)["facts"]) == ("hello", "", {})


async def test_tasks_and_threads_inherit_the_session(caplog: pytest.LogCaptureFixture) -> None:
    """What is started for a session belongs to it, also after the block and while another one is open."""
    go = anyio.Event()

    async def work() -> None:
        await go.wait()
        log.warning("task")
        await run_in_daemon_thread(log.warning, "daemon thread", name="work")
        await anyio.to_thread.run_sync(log.warning, "thread")
        asyncio.get_running_loop().call_soon(log.warning, "callback")
        await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        with LABEL.on_records():
            tasks.start_soon(work)
        await anyio.lowlevel.checkpoint()
        with SessionLabel("other").on_records():
            go.set()
            await anyio.lowlevel.checkpoint()
    assert caplog.messages == [f"session call-7: {where}" for where in ("task", "daemon thread", "thread", "callback")]


async def test_a_call_from_elsewhere_belongs_to_the_home(caplog: pytest.LogCaptureFixture) -> None:
    """What is called through a `Home` belongs to the session that made it, whoever calls."""
    with LABEL.on_records():
        home = Home()
    with SessionLabel("other").on_records():
        home.call(log.warning, "call")
        home.call_and_wait(lambda: log.warning("wait"))
        await anyio.to_thread.run_sync(home.call, log.warning, "from a thread")
        await anyio.lowlevel.checkpoint()
    assert caplog.messages == [f"session call-7: {how}" for how in ("call", "wait", "from a thread")]


@pytest.mark.parametrize("args", [(), (1,)])
def test_an_id_may_hold_a_percent_sign(args: tuple[int, ...], caplog: pytest.LogCaptureFixture) -> None:
    """An id is text, and no part of the message's format."""
    with SessionLabel("a%d%s").on_records():
        log.warning("%d done" if args else "100% done", *args)
    assert caplog.messages == [f"session a%d%s: {args[0] if args else '100%'} done"]


def test_a_record_that_was_sent_on_is_labelled_once(caplog: pytest.LogCaptureFixture) -> None:
    """A record can be pickled for another process, and handled there by the logger of the same name."""
    with LABEL.on_records():
        log.warning("hello")
    (record,) = caplog.records
    logging.getLogger(record.name).handle(pickle.loads(pickle.dumps(record)))
    assert caplog.messages == ["session call-7: hello"] * 2
