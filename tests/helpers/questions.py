"""Calls of one question to the model over HTTP, held by a whole session on virtual time."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import httpcore
import httpx

import voicepipe as vp
from tests.helpers.raw_server import Act, RawServer
from voicepipe.http.transport import Transport
from voicepipe.testing import RecordingOutput, ScriptedVoice

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    import pytest


@dataclass
class Asked:
    """What became of one question."""

    said: str = ""
    took_s: float = 0.0
    events: list[vp.Event] = field(default_factory=list)

    @property
    def end(self) -> Any:
        return next(event for event in self.events if isinstance(event, vp.TurnEnded))

    @property
    def retries(self) -> int:
        return sum(isinstance(event, vp.RequestRetried) for event in self.events)


def agent(
    stage: vp.LLMStreamStage, voice: ScriptedVoice | None = None, router: vp.ToolRouter | None = None
) -> vp.Pipeline:
    return vp.Pipeline(
        stage,
        router or vp.ToolRouter([]),
        vp.SentenceChunker(),
        voice or ScriptedVoice(character_s=0.0),
        output=RecordingOutput(),
        fallback="",
    )


@asynccontextmanager
async def calling(
    base_url: str, *, router: vp.ToolRouter | None = None, history: Sequence[vp.Message] = (), **options: Any
) -> AsyncGenerator[vp.Session]:
    stage = vp.LLMStreamStage(base_url=base_url, model="m", **options)
    async with agent(stage, router=router).session(history=history) as session:
        yield session


async def ask(base_url: str, *, turn_s: float = 60.0, **options: Any) -> Asked:
    """Hold a call of one question."""
    asked, voice = Asked(), ScriptedVoice(character_s=0.0)
    stage = vp.LLMStreamStage(base_url=base_url, model="m", **options)
    async with agent(stage, voice, vp.ToolRouter([], turn_s=turn_s)).session() as session:
        began_s = anyio.current_time()
        await session.user_says("How are you?")
        asked.took_s = round(anyio.current_time() - began_s, 3)  # a sentence is one sample of audio
    asked.events = [event async for event in session]
    asked.said = "".join(sentence for _, sentence in voice.sentences)
    return asked


async def ask_raw(*replies: Sequence[Act], **options: Any) -> tuple[Asked, RawServer]:
    server = RawServer(*replies)
    async with server.serve() as base_url:
        return await ask(base_url, **options), server


def redirect_all(monkeypatch: pytest.MonkeyPatch, base_url: str) -> list[httpx.URL]:
    """Let every request arrive at a server of this machine, and list where it was meant to go."""
    send, port, meant = Transport.send, httpx.URL(base_url).port, []

    async def elsewhere(transport: Transport, method: str, url: httpx.URL, *rest: Any) -> httpcore.Response:
        meant.append(url)
        return await send(transport, method, url.copy_with(scheme="http", host="127.0.0.1", port=port), *rest)

    monkeypatch.setattr(Transport, "send", elsewhere)
    monkeypatch.setenv("NO_PROXY", "*")
    return meant
