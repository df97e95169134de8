"""Calls from simulated telephone networks to a whole server: the session behind each is kept for the test."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio

import voicepipe as vp
from voicepipe.serving import Serve
from voicepipe.testing import ScriptedModel, ScriptedRecogniser, ScriptedVoice
from voicepipe.testing.simulators.audiosocket import AudioSocketSimulator
from voicepipe.testing.simulators.twilio import TwilioSimulator

AUTH_TOKEN = "12345"
PUBLIC = "https://voice.example.com"
VOICE = f"{PUBLIC}/twilio"


class Office:
    """What an application notes of its calls: give `Serve(..., on_call=office.on_call)`.

    Attributes:
        sessions: The sessions so far.
        events: Their events: when each was read, and what it is.
    """

    def __init__(self) -> None:
        self.sessions: list[vp.Session[Any]] = []
        self.events: list[tuple[float, vp.Event]] = []

    async def on_call(self, session: vp.Session[Any]) -> None:
        self.sessions.append(session)
        async for event in session:
            self.events.append((anyio.current_time(), event))

    def of(self, kind: type[Any]) -> list[Any]:
        """Return the events of a kind."""
        return [event for _, event in self.events if isinstance(event, kind)]

    def at(self, kind: type[Any]) -> list[float]:
        """Return when events of a kind were read."""
        return [at_s for at_s, event in self.events if isinstance(event, kind)]


def agent(
    ears: ScriptedRecogniser | None = None, replies: Any = (), *, rate: int = 8_000, **options: Any
) -> vp.Pipeline:
    """Return an agent whose voice takes 0.04 s for each character."""
    model = replies if isinstance(replies, ScriptedModel) else ScriptedModel(replies)
    voice = ScriptedVoice(character_s=0.04, sample_rate=rate)
    ears = ears or ScriptedRecogniser(sample_rate=rate)
    return vp.Pipeline(vp.STTStage(ears), model, vp.SentenceChunker(), voice, **options)


@asynccontextmanager
async def twilio_calls(
    pipeline: vp.Pipeline, transport: Any, *, network: dict[str, Any] | None = None, **options: Any
) -> AsyncGenerator[tuple[TwilioSimulator, Office, Any]]:
    """Serve a pipeline, and yield a network that calls it, the application's notes, and the server."""
    office = Office()
    serve = Serve(pipeline, [transport], public_url=PUBLIC, **{"on_call": office.on_call, **options})
    async with serve.listening() as port:
        settings = {"public_url": PUBLIC, **(network or {})}
        token = settings.pop("auth_token", AUTH_TOKEN)
        yield TwilioSimulator(token, server=f"http://127.0.0.1:{port}", **settings), office, serve


@asynccontextmanager
async def audiosocket_calls(
    pipeline: vp.Pipeline, transport: Any, *, network: dict[str, Any] | None = None, **options: Any
) -> AsyncGenerator[tuple[AudioSocketSimulator, Office, Any]]:
    """Serve a pipeline, and yield an Asterisk that calls it, the application's notes, and the server."""
    office = Office()
    serve = Serve(pipeline, [transport], **{"on_call": office.on_call, **options})
    async with serve.listening():
        yield AudioSocketSimulator("127.0.0.1", transport.port, **(network or {})), office, serve
