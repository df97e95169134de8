"""A streaming recogniser that hears what is coded in the audio, and a caller who speaks that code.

async with EarServer(closing(1011, at_s=2.0), good).serve() as url: ...

An utterance is three words of 0.4 s; the height of its samples says which. So what a client sends twice, leaves out or
shifts is heard as such, on whichever connection, at whichever time.
"""

from __future__ import annotations

import json
import logging
import math
import ssl
from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import anyio
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

import voicepipe as vp
from voicepipe.listening_events import RecogniserLost
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedVoice
from voicepipe.vendors.assemblyai.stt import AssemblyAIRecogniser

KEY = "canary-7f3a"
RATE = 16_000


def text_of(utterance: int) -> str:
    return " ".join(f"{utterance}{letter}" for letter in "abc")


class Caller(vp.Source):
    """Says utterances at given times, and hangs up.

    Args:
        starts_s: When each begins, in tenths of a second, in order; they are numbered from 0.
        hangs_up_s: When the caller hangs up.
        pauses: At these times nothing comes for so long: the line is dead, then it goes on.
        frame_s: Length of a frame.
    """

    def __init__(
        self,
        *starts_s: float,
        hangs_up_s: float,
        pauses: dict[float, float] | None = None,
        frame_s: float = 0.02,
    ) -> None:
        self.starts_s = starts_s
        self.hangs_up_s = hangs_up_s
        self.pauses = pauses or {}
        self.frame_s = frame_s

    def sample_at(self, at_s: float) -> int:
        number = bisect_right(self.starts_s, at_s) - 1
        if number < 0 or (since_ms := round((at_s - self.starts_s[number]) * 1000)) >= 1200:
            return 0
        return 2000 + 100 * (number % 250) + 10 * (since_ms // 400)

    async def frames(self) -> AsyncIterator[bytes]:
        due = anyio.current_time()
        for number in range(round(self.hangs_up_s / self.frame_s)):
            at_s = round(number * self.frame_s, 6)
            due += self.frame_s + self.pauses.get(at_s, 0.0)
            await anyio.sleep_until(due)
            height = self.sample_at(at_s)
            yield (height.to_bytes(2, "little") + (-height).to_bytes(2, "little", signed=True)) * round(
                self.frame_s * RATE / 2
            )


@dataclass
class Word:
    text: str
    start_ms: int
    end_ms: int

    def json(self, *, is_final: bool) -> dict[str, Any]:
        times = {"start": self.start_ms, "end": self.end_ms}
        return {"text": self.text, **times, "confidence": 0.9, "word_is_final": is_final}


@dataclass
class Peer:
    """The service's end of one connection, and what came over it.

    Attributes:
        at_s: When it was made.
        query: What the client asked for.
        pieces: How many pieces of audio came of each length in bytes.
        arrivals_s: When each came.
        audio_ms: How much audio came.
        controls: The client's messages, with the time.
    """

    connection: ServerConnection
    at_s: float
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    pieces: dict[int, int] = field(default_factory=dict)
    arrivals_s: list[float] = field(default_factory=list)
    audio_ms: int = 0
    controls: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    order: int = 0
    quiet_ms: int = 0

    async def send(self, kind: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"type": kind, **fields}))

    async def begin(self) -> None:
        await self.send("Begin", id="t", expires_at=1)

    async def listen(self, *, until_s: float = math.inf) -> None:
        """Hear until so much audio has come, or the client terminates the session."""
        while self.audio_ms < until_s * 1000:
            message = await self.connection.recv()
            if isinstance(message, bytes):
                await self.hear(message)
                continue
            self.controls.append((anyio.current_time(), json.loads(message)))
            if self.kinds[-1] == "ForceEndpoint":
                await self.end_turn()
            elif self.kinds[-1] == "Terminate":
                await self.end_turn()
                await self.send("Termination", audio_duration_seconds=1, session_duration_seconds=1)
                return

    @property
    def kinds(self) -> list[str]:
        return [message["type"] for _, message in self.controls]

    async def hear(self, pcm: bytes) -> None:
        self.arrivals_s.append(anyio.current_time())
        self.pieces[len(pcm)] = self.pieces.get(len(pcm), 0) + 1
        start_ms, self.audio_ms = self.audio_ms, self.audio_ms + len(pcm) * 1000 // 2 // RATE
        height = int.from_bytes(pcm[:2], "little")
        if not height:
            self.quiet_ms += self.audio_ms - start_ms
            if self.quiet_ms == 400:
                await self.end_turn()
            if self.quiet_ms % 1000 == 0:
                await self.send("Silence", start_ms=self.audio_ms - 1000, end_ms=self.audio_ms)
            return
        self.quiet_ms = 0
        text = f"{(height - 2000) // 100}{'abc'[height % 100 // 10]}"
        if self.words and self.words[-1].text == text:
            self.words[-1].end_ms = self.audio_ms
            return
        if not self.words:
            await self.send("SpeechStarted", timestamp=start_ms)
        self.words.append(Word(text, start_ms, self.audio_ms))
        await self.say(is_final=False)

    async def end_turn(self) -> None:
        if self.words:
            await self.say(is_final=True)
            self.words = []
            self.order += 1

    async def say(self, *, is_final: bool) -> None:
        await self.send(
            "Turn",
            turn_order=self.order,
            turn_is_formatted=True,
            end_of_turn=is_final,
            end_of_turn_confidence=float(is_final),
            transcript=" ".join(word.text for word in self.words),
            words=[word.json(is_final=is_final) for word in self.words],
        )


Act: TypeAlias = Callable[[Peer], Awaitable[None]]


async def good(peer: Peer) -> None:
    """Serve to the end."""
    await peer.begin()
    await peer.listen()


def closing(code: int, *, at_s: float, error: bool = False) -> Act:
    """Close with a code when so much audio has come."""

    async def act(peer: Peer) -> None:
        await peer.begin()
        await peer.listen(until_s=at_s)
        if error:
            await peer.send("Error", error_code=code, error=f"it does not like {KEY}")
        await peer.connection.close(code, "so it is")

    return act


class EarServer:
    """A server whose connections do one act after the other; the last act is done again and again."""

    def __init__(self, *acts: Act | int) -> None:
        self.acts = acts
        self.peers: list[Peer] = []
        self._count = 0

    @asynccontextmanager
    async def serve(self, tls: ssl.SSLContext | None = None) -> AsyncGenerator[str]:
        silent = logging.Logger("ears", logging.CRITICAL + 1)  # noqa: LOG001 - of no hierarchy
        async with serve(
            self._serve_one,
            "127.0.0.1",
            0,
            ssl=tls,
            process_request=self._answer,
            ping_interval=None,
            compression=None,
            close_timeout=0.2,
            logger=silent,
        ) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            yield f"{'wss' if tls else 'ws'}://127.0.0.1:{port}"

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        del connection, request
        act = self.acts[min(self._count, len(self.acts) - 1)]
        if callable(act):
            return None
        self._count += 1
        headers = {"Content-Length": "0", "Connection": "close", "Location": "ws://127.0.0.1:1/elsewhere"}
        return Response(act, HTTPStatus(act).phrase, Headers(headers))

    async def _serve_one(self, connection: ServerConnection) -> None:
        act = self.acts[min(self._count, len(self.acts) - 1)]
        self._count += 1
        assert callable(act)
        assert connection.request is not None
        peer = Peer(connection, anyio.current_time())
        peer.query = dict(parse_qsl(urlsplit(connection.request.path).query))
        peer.headers = {name.lower(): value for name, value in connection.request.headers.raw_items()}
        self.peers.append(peer)
        with suppress(ConnectionClosed):
            await act(peer)


@dataclass
class Told:
    """What an application was told in a call."""

    events: list[tuple[float, vp.Event]] = field(default_factory=list)
    error: vp.VoicepipeError | None = None
    ended_s: float = 0.0

    def of(self, kind: type) -> list[tuple[float, Any]]:
        return [(at_s, event) for at_s, event in self.events if isinstance(event, kind)]

    @property
    def transcripts(self) -> list[str]:
        return [event.text for _, event in self.of(vp.Transcript)]

    @property
    def lost(self) -> list[tuple[float, str]]:
        return [(round(at_s, 3), str(event.error)) for at_s, event in self.of(RecogniserLost)]


def agent(url: str, caller: vp.Source, **settings: Any) -> vp.Pipeline:
    """An agent that listens at this URL and says yes to everything."""
    return vp.Pipeline(
        caller,
        vp.STTStage(AssemblyAIRecogniser(url=url, api_key=KEY, **settings)),
        ScriptedModel(lambda _request: Says("Yes.")),
        vp.SentenceChunker(),
        ScriptedVoice(character_s=0.01),
        output=RecordingOutput(),
    )


async def call(
    url: str, caller: vp.Source, during: Callable[[vp.Session], Awaitable[None]] | None = None, **settings: Any
) -> Told:
    """Hold a call to its end, and return what was told."""
    told = Told()
    try:
        async with agent(url, caller, **settings).session() as session, anyio.create_task_group() as tasks:
            if during is not None:
                tasks.start_soon(during, session)
            async for event in session:
                told.events.append((anyio.current_time(), event))
            tasks.cancel_scope.cancel()
    except vp.VoicepipeError as error:
        told.error = error
    told.ended_s = anyio.current_time()
    return told
