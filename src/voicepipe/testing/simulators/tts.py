"""AssemblyAI's streaming text-to-speech on loopback: the real protocol, with a tone or a voice of yours.

    async with TTSSimulator(api_key="k").serve() as url: ...                      # "ws://127.0.0.1:40123"
    async with TTSSimulator(EspeakTTS()).serve() as url: ...                      # real speech, in real time

Rule 1: it is honest. It refuses what the service refuses, with its codes, and `sessions` keeps what a client sent.
Rule 2: its only clock is the event loop's and it needs no thread, so it also runs on virtual time.
"""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

import anyio

from voicepipe.testing.simulators._listening import websockets_served
from voicepipe.testing.simulators._simulated_voice import SimulatedVoice
from voicepipe.testing.simulators._tts_rules import Ended, TTSLimits
from voicepipe.testing.simulators._tts_session import (
    FRAME_S,
    RecordedSpeech,
    RecordedTTSSession,
    Session,
    TTSFault,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

    from voicepipe.speaking.tts_sink import TTSSink

__all__ = ["RecordedSpeech", "RecordedTTSSession", "TTSFault", "TTSLimits", "TTSSimulator"]

PATH: Final = "/v1/ws"
MAX_MESSAGE_BYTES: Final = 1 << 20


class TTSSimulator:
    """A server of AssemblyAI's text-to-speech websocket.

    Args:
        voice: Speaks; None is a tone as long as the words would take. It is opened, but attached to no session; its
            audio is resampled to the rate that a client asks for.
        api_key: The key that clients must send, bare; None accepts any.
        first_audio_s: From a text's arrival to its first audio.
        speed: How many times faster than real time the audio comes.
        character_s: Length of the tone for each character.
        late_frames: How many frames of a cancelled request come before `Cancelled`.
        cancel_s: From `Cancel` to `Cancelled`.
        boundaries_s: From `FlushDone` to the word boundaries.
        limits: What a session may do.
        faults: How the first, second, ... session goes wrong; sessions of a None, and later ones, do not.
        adds_unknown: Whether messages have a field, and sessions a message, that is in no reference.
        record: Whether to keep what clients do in `sessions`; switch it off in a server that runs for long.

    Attributes:
        sessions: What each client did, in the order of arrival.
    """

    def __init__(
        self,
        voice: TTSSink | None = None,
        *,
        api_key: str | None = None,
        first_audio_s: float = 0.3,
        speed: float = 10.0,
        character_s: float = 0.06,
        late_frames: int = 2,
        cancel_s: float = 0.02,
        boundaries_s: float = 0.05,
        limits: TTSLimits = TTSLimits(),  # noqa: B008 - frozen
        faults: Sequence[TTSFault | None] = (),
        adds_unknown: bool = False,
        record: bool = True,
    ) -> None:
        self.sessions: list[RecordedTTSSession] = []
        self.first_audio_s = first_audio_s
        self.frame_pace_s = FRAME_S / speed
        self.character_s = character_s
        self.late_frames = late_frames
        self.cancel_s = cancel_s
        self.boundaries_s = boundaries_s
        self.limits = limits
        self.adds_unknown = adds_unknown
        self._voice = SimulatedVoice(voice, character_s)
        self._api_key = api_key
        self._faults = tuple(faults)
        self._record = record
        self._came = 0
        self._admitted_s: list[float] = []
        self._open: set[ServerConnection] = set()
        self.failures: list[Exception] = []

    @asynccontextmanager
    async def serve(self, *, port: int = 0) -> AsyncGenerator[str]:
        """Listen on loopback while the block runs, and yield the URL, e.g. "ws://127.0.0.1:40123".

        Leaving the block closes every connection.

        Args:
            port: Where to listen; 0 takes a free one.

        Raises:
            VoicepipeError: The voice failed; raised when the block ends. The client received a server error.
        """
        async with self._voice.open():
            served = websockets_served(
                self._converse,
                port,
                connections=self._open,
                failures=self.failures,
                process_request=_only_path,
                max_size=MAX_MESSAGE_BYTES,
            )
            async with served as url:
                yield url

    async def _converse(self, connection: ServerConnection) -> None:
        request = connection.request
        query = request.path.partition("?")[2] if request else ""
        given = dict(parse_qsl(query, keep_blank_values=True))
        self._came += 1
        record = RecordedTTSSession(
            number=self._came,
            query=given | dict.fromkeys({"token"} & given.keys(), "***"),
            began_s=anyio.current_time(),
        )
        if self._record:
            self.sessions.append(record)
        fault = self._faults[record.number - 1] if record.number <= len(self._faults) else None
        session = Session(self, connection, record, fault)
        self._open.add(connection)
        try:
            await session.run(request.headers.get("authorization", "") if request else "", query)
        except Exception as error:  # noqa: BLE001 - raised by `serve`: the websocket library would only log it
            self.failures.append(error)
        finally:
            self._open.discard(connection)
            record.end(connection.close_code)

    def admit(self, key: str) -> None:
        """Check the key and the number of sessions before a session begins.

        Raises:
            Ended: The key is wrong, or there were too many sessions in the last minute.
        """
        if self._api_key is not None and not secrets.compare_digest(key.encode(), self._api_key.encode()):
            raise Ended(1008, "unauthorized", "the API key is missing or wrong; send it bare, as Authorization")
        most, now = self.limits.sessions_per_minute, anyio.current_time()
        lately = [began_s for began_s in self._admitted_s if began_s > now - 60]
        if most is not None and len(lately) >= most:
            wait_s = round(lately[-most] + 60 - now, 3) if most else 60
            raise Ended(3009, "rate_limited", f"more than {most} sessions in a minute", retry_after_s=wait_s)
        self._admitted_s = [*lately, now]

    async def synthesize(self, text: str, sample_rate: int) -> tuple[bytes, list[tuple[int, float]]]:
        """Return the audio of a text, and pairs of characters spoken and seconds passed."""
        return await self._voice.synthesize(text, sample_rate)

    def __repr__(self) -> str:
        """Show the voice and how many clients there were."""
        return f"<TTSSimulator {self._voice!r} {self._came} sessions>"


def _only_path(connection: ServerConnection, request: Request) -> Response | None:
    path = request.path.partition("?")[0]
    return None if path == PATH else connection.respond(HTTPStatus.NOT_FOUND, f"there is no {path}, only {PATH}\n")
