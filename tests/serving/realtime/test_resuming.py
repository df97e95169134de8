"""A Realtime client that goes on with its call over another connection, on virtual time."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from openai import AsyncOpenAI

import voicepipe as vp
from tests.helpers.realtime_client import Client, connected, ears, scripted, serving, typed
from voicepipe.serving import Realtime
from voicepipe.testing import Says

pytestmark = pytest.mark.anyio

STORY = "One two three. Four five six. Seven eight nine."


def agent() -> vp.Pipeline:
    row, _ = scripted(ears(), lambda _: Says("Fine."), character_s=0.05)
    return row


def settings(client: Client) -> dict[str, Any]:
    """Return what the last `session.updated` says about coming back."""
    found: dict[str, Any] = client.of("session.updated")[-1]["session"]["voicepipe"]
    return found


def sentences(client: Client) -> str:
    return "".join(event["delta"] for event in client.of("response.output_audio_transcript.delta"))


@pytest.mark.parametrize("by", ["query", "header"])
async def test_a_client_comes_back_with_its_key(by: str) -> None:
    """The key goes in the query or in a header; the reply that was cut goes on as a new response."""
    async with serving(agent(), greeting=STORY, store=vp.MemoryStore()) as port:
        async with connected(port) as client:
            await anyio.sleep(0.5 + 1.0)  # after the wait for its settings; in the second sentence
            key = settings(client)["resume"]
            client._socket.transport.abort()
        shown = {"resume": key} if by == "query" else {}
        headers = {} if by == "query" else {"additional_headers": {"Voicepipe-Resume": key}}
        async with connected(port, **shown, **headers) as again:
            await anyio.sleep(0.5 + 2)
            await again.send("conversation.item.create", item=typed("And then?"))
            await again.send("response.create")
            await anyio.sleep(1)
    assert settings(client) == {"resume": key, "resumed": False, "why": None}
    assert settings(again) == {"resume": key, "resumed": True, "why": None}
    assert (sentences(client), sentences(again)) == (
        "One two three. Four five six.",
        "Four five six. Seven eight nine.Fine.",
    )
    assert [event["response"]["status"] for event in again.of("response.done")] == ["completed", "completed"]


async def test_a_clients_instructions_go_on_with_the_call() -> None:
    """They hold on the next connection, until the client sends others."""
    mine = Realtime(allow={"instructions"})
    async with serving(agent(), mine, greeting=STORY, store=vp.MemoryStore()) as port:
        async with connected(port) as client:
            await client.send("session.update", session={"type": "realtime", "instructions": "Be brief."})
            await anyio.sleep(1)
            key = settings(client)["resume"]
            client._socket.transport.abort()
        async with connected(port, resume=key) as again:
            await anyio.sleep(1)
            held = again.of("session.updated")[-1]["session"]["instructions"]
            await again.send("session.update", session={"type": "realtime", "instructions": "Be kind."})
            await anyio.sleep(0.1)
    assert (held, again.of("session.updated")[-1]["session"]["instructions"]) == ("Be brief.", "Be kind.")


async def test_a_server_without_a_store_says_nothing_of_it() -> None:
    """Its settings are those of the protocol alone, unless the client shows a key."""
    async with serving(agent()) as port:
        async with connected(port) as client, connected(port, resume="made-up.key") as other:
            await anyio.sleep(1)
    assert "voicepipe" not in client.of("session.created")[0]["session"]
    assert client.of("session.updated") == []
    assert settings(other) == {"resume": None, "resumed": False, "why": "off"}


async def test_the_openai_package_comes_back() -> None:
    """Its own way to reconnect takes the key along; its types accept the field."""
    words: list[str] = []
    keys: list[str] = []
    deltas = 0  # of the second sentence
    async with (
        serving(agent(), Realtime(key="sk-right"), greeting=STORY, store=vp.MemoryStore()) as port,
        AsyncOpenAI(api_key="sk-right", base_url=f"http://127.0.0.1:{port}/v1") as client,
        client.realtime.connect(
            model="voicepipe", on_reconnecting=lambda _: {"extra_headers": {"Voicepipe-Resume": keys[-1]}}
        ) as connection,
    ):
        await connection.session.update(session={"type": "realtime"})
        async for event in connection:
            if event.type == "session.updated" and (ours := event.session.model_extra.get("voicepipe")):
                keys.append(ours["resume"])
            elif event.type == "response.output_audio_transcript.delta":
                words.append(event.delta)
            elif event.type == "response.output_audio.delta" and len(words) == 2:
                deltas += 1
                if deltas == 10:  # 0.6 s, of which 0.3 s are the lead, were sent
                    connection._connection.transport.abort()
            elif event.type == "response.done":
                break
    assert "".join(words[2:]) == "Four five six. Seven eight nine."
    assert len(keys) == 2
