"""What the workers of a service know of a call between its stream and Twilio's next request, on virtual time."""

from __future__ import annotations

import logging

import anyio
import pytest

import voicepipe as vp
from voicepipe.errors import StoreError
from voicepipe.keeping.store import Kept
from voicepipe.serving.between import Between

pytestmark = pytest.mark.anyio

SID = "CA1"


class Away(vp.MemoryStore):
    """A store that cannot be reached."""

    async def keep(self, key: str, value: bytes, *, expires_s: float) -> None:
        raise StoreError("the store cannot be reached")

    async def take(self, key: str) -> bytes | None:
        raise StoreError("the store cannot be reached")

    async def get(self, call_id: str) -> Kept | None:
        raise StoreError("the store cannot be reached")


@pytest.mark.parametrize("result", [None, vp.Transfer("+15550111"), "queue", {"place": 3}])
async def test_any_worker_knows_how_a_call_ended(result: object) -> None:
    """The result of a call that ended at one worker is given out once, for 60 s, by whichever worker is asked."""
    store, here, there = vp.MemoryStore(), Between("twilio"), Between("twilio")
    await here.note(SID, result, store)
    assert await there.take(SID, store) == (True, result)
    assert await there.take(SID, store) == (False, None)
    await here.note(SID, result, store)
    await anyio.sleep(60)
    assert await there.take(SID, store) == (False, None)
    assert await Between("other").take(SID, store) == (False, None)


async def test_a_result_that_is_no_json_value_stays_at_its_worker(caplog: pytest.LogCaptureFixture) -> None:
    """Other workers know that the call has ended, and the log says what they do not know."""
    store, here, there, result = vp.MemoryStore(), Between("twilio"), Between("twilio"), object()
    await here.note(SID, result, store)
    assert await there.take(SID, store) == (True, None)
    assert await here.take(SID, store) == (True, result)
    assert "the result of a call is no JSON value" in caplog.text


async def test_a_store_that_is_away_costs_what_it_knows(caplog: pytest.LogCaptureFixture) -> None:
    """A worker answers what it knows by itself, and a call of another one counts as over."""
    caplog.set_level(logging.WARNING, "voicepipe")
    store, here = Away(), Between("twilio")
    await here.note(SID, "queue", store)
    assert await here.take(SID, store) == (True, "queue")
    assert not await here.goes_on(SID, store)
    assert await here.may_return(SID, store)
    assert "twilio knows of a call only what this process knows" in caplog.text


async def test_a_call_whose_streams_do_not_hold_is_given_up() -> None:
    """Three further streams are tried within 10 s of one another; one that held for longer begins the count again."""
    store, lines = vp.MemoryStore(), (Between("twilio"), Between("twilio"))
    may: list[bool] = []
    for pause_s in (0.0, 9.0, 9.0, 9.0, 10.0, 1.0):
        await anyio.sleep(pause_s)
        may.append(await lines[len(may) % 2].may_return(SID, store))
    assert may == [True, True, True, False, True, True]


async def test_a_call_with_a_record_goes_on() -> None:
    """A call goes on only where the workers have kept something of it, and have a store."""
    store, line = vp.MemoryStore(), Between("twilio")
    assert not await line.goes_on(SID, None)
    assert not await line.goes_on(SID, store)
    revision = await store.create(SID, "w1", 30)
    assert not await line.goes_on(SID, store)
    await store.put(SID, b"{}", revision=revision, lease_s=0, expires_s=30)
    assert await line.goes_on(SID, store)
    await store.forget(SID)
    assert not await line.goes_on(SID, store)


async def test_what_another_program_has_written() -> None:
    """It says nothing about a call, and keeps none from going on."""
    store, between = vp.MemoryStore(), Between("twilio")
    await store.keep(f"twilio/returns/{SID}", b"\xff", expires_s=10)
    assert await between.may_return(SID, store)
    await store.keep(f"twilio/result/{SID}", b"\xff", expires_s=10)
    assert await between.take(SID, store) == (True, None)
