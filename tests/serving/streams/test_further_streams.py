"""Calls over Telnyx, Plivo and Vonage that outlive their streams, on virtual time."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.telephone_calls import Office, agent
from tests.serving.streams.test_streams import NETWORKS, one_of_each, rate_of
from voicepipe.serving import Refused, Serve
from voicepipe.testing import Says, ScriptedModel

pytestmark = pytest.mark.anyio

STORY = "One two three. Four five six. Seven eight nine."


@one_of_each
async def test_a_call_goes_on_over_a_further_stream(transport: Any, simulator: Any, settings: dict[str, Any]) -> None:
    """The application asks for its token when a stream has ended; once the agent has ended the call there is none.

    The transport hangs nobody up in between: `after` is called once, at the end.
    """
    office, ended, answers = Office(), list[str](), list[bool]()
    line = transport(after=lambda session: ended.append(session.facts["shop"]))
    row = agent(replies=ScriptedModel(lambda _: Says("Fine.")), rate=rate_of(simulator, settings))
    serve = Serve(row, [line], greeting=STORY, on_call=office.on_call, store=vp.MemoryStore())

    async def after(call_id: str) -> str | None:
        token = await line.admit_again(serve.desk, call_id)
        answers.append(token is not None)
        return token

    async with serve.listening() as port:
        network = simulator(f"ws://127.0.0.1:{port}/{line.name}", **settings)
        token = await line.admit(serve.desk, {"shop": "Lyon"})
        async with network.call(token, after=after) as call:
            await call.wait_speaking()
            await anyio.sleep(0.9)
            call.break_off()
            await call.wait_speaking()
            await call.wait_silent()
            first, second = office.sessions
            assert [said.text for said in second.history] == ["One two three. Four", "Four five six. Seven eight nine."]
            assert (first.id, second.id, second.facts["shop"]) == (call.id, call.id, "Lyon")
            assert ended == []
            second.end()
            await call.wait_ended()
        assert (call.streams, answers, ended) == (2, [True, False], ["Lyon"])


async def test_the_token_of_a_further_stream_is_that_of_one_call() -> None:
    """A further stream of another call is refused, and so is every call while the server takes none."""
    transport, simulator, settings = NETWORKS["vonage"]
    line, office = transport(), Office()
    serve = Serve(
        agent(rate=rate_of(simulator, settings)), [line], greeting=STORY, on_call=office.on_call, store=vp.MemoryStore()
    )
    async with serve.listening() as port:
        network = simulator(f"ws://127.0.0.1:{port}/vonage", **settings)
        async with network.call(await line.admit(serve.desk, {})) as call:
            await call.wait_speaking()
            call.break_off()
            await call.wait_ended()
        token = await line.admit_again(serve.desk, call.id)
        assert token is not None
        async with network.call(token) as other:
            await other.wait_ended()
        assert (other.closed_by, other.close_code) == ("server", 4401)
        serve.desk._door.is_draining = True
        with pytest.raises(Refused):
            await line.admit_again(serve.desk, call.id)
        assert await line.admit_again(serve.desk, "another call") is None
    assert len(office.sessions) == 1
