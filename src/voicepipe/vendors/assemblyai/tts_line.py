"""One warm session with AssemblyAI's text-to-speech for each call.

Rule 1: this module moves messages and keeps the socket; what they mean is in `tts_protocol`.
Rule 2: a session that is too old is replaced before it ends, one that was lost at once; requests never notice, unless
        some of their audio had come.
Rule 3: everything that is sent goes through one task, so a wish, be it to cancel, is a synchronous call.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.errors import RateLimited, VendorError, VoicepipeError
from voicepipe.vendors.assemblyai.backoff import Backoff
from voicepipe.vendors.assemblyai.key import VENDOR
from voicepipe.vendors.assemblyai.socket import Socket, SocketClosed
from voicepipe.vendors.assemblyai.tts_protocol import SpeechRequest, TTSProtocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from anyio.abc import TaskGroup, TaskStatus
    from pydantic import SecretStr

__all__ = ["SpeechLine"]

CONNECT_S: Final = 4.0
"""How long the handshake may take, TLS included; a call has 10 s to be ready."""

LEAVE_S: Final = 0.6
"""How long the good-bye may take: a part has 1 s to leave, and the socket's own close comes after this."""

PAUSES_S: Final = (0.0, 0.5, 4.0, 15.0, 30.0)
"""Before the n-th try to get a session back, and a little more. A free account may begin five in a minute."""

TRIES: Final = 3
"""After so many failures, the loss included, those who wait to speak are told; the line goes on trying."""

RATE_LIMIT_S: Final = 15.0
"""Before another try when the service has had enough of new sessions and does not say for how long."""

PATIENCE_S: Final = 4.0
"""Whoever wants to speak is told at once if the next try is further away: `TTSSink` waits 5 s."""

STEADY_S: Final = 5.0
"""A session that lasted this long was a good one; one that is lost earlier counts as a failed try."""

log = logging.getLogger("voicepipe")


class SpeechLine:
    """Where a call asks for speech.

    Args:
        url: Of the websocket, with its parameters and without the key.
        key: Sent in the handshake.
        sample_rate: Samples per second that the URL asks for.

    Attributes:
        news: Set, and replaced by another, when anything has changed for any request.
    """

    def __init__(self, url: str, key: SecretStr, *, sample_rate: int) -> None:
        self.news = anyio.Event()
        self._url = url
        self._key = key
        self._sample_rate = sample_rate
        self._current: TTSProtocol | None = None
        self._held: list[TTSProtocol] = []
        self._waiting: deque[SpeechRequest] = deque()
        self._failures = 0
        self._error: VoicepipeError | None = None  # why nobody is tried until `_not_before`
        self._not_before = -math.inf
        self._is_leaving = False
        self._backoff = Backoff()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Hold a session with the service while the block runs.

        Raises:
            VoicepipeError: The first session could not be had. Later ones are tried for again.
        """
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._hold)
            tasks.start_soon(self._keep, tasks)
            try:
                yield
            finally:
                await self._leave()
                tasks.cancel_scope.cancel()

    def ask(self, text: str) -> SpeechRequest:
        """Have a text spoken, after all that was asked for before. What becomes of it is seen on the request."""
        request, now = SpeechRequest(text), anyio.current_time()
        if self._current is not None:
            self._current.ask(request)
        elif isinstance(self._error, RateLimited) and self._not_before > now + PATIENCE_S:
            request.error = self._error
        else:
            if self._error is not None and not isinstance(self._error, RateLimited):
                self._failures, self._not_before, self._error = 0, now, None  # given up, but somebody wants it now
            self._waiting.append(request)
        self._tell()
        return request

    def drop(self, request: SpeechRequest) -> None:
        """Nobody wants this any more. Does nothing when it is done."""
        if request in self._waiting:
            self._waiting.remove(request)
        for protocol in self._held:
            protocol.drop(request, anyio.current_time())
        self._tell()

    async def changed(self, news: anyio.Event, wake_at: float) -> float:
        """Wait for news or a moment, and return the time: not before that moment, however a clock is rounded."""
        with anyio.CancelScope(deadline=wake_at) as limit:
            await news.wait()
        now = anyio.current_time()
        return max(now, wake_at) if limit.cancelled_caught else now

    def __repr__(self) -> str:
        """Show where it leads and whether there is a session."""
        return f"<SpeechLine to {self._url.partition('?')[0]} {'open' if self._current else 'lost'}>"

    def _tell(self) -> None:
        self.news.set()
        self.news = anyio.Event()

    # --- one session --------------------------------------------------------------------------------------------------

    async def _hold(self, *, task_status: TaskStatus[None]) -> None:
        """Hold a session to its end. Raises only until it has begun."""
        began_s = anyio.current_time()
        protocol = TTSProtocol(began_s, sample_rate=self._sample_rate, secret=self._key.get_secret_value())
        try:
            async with self._dialled() as socket:
                while protocol.error or not protocol.has_begun:
                    if protocol.error:
                        raise protocol.error
                    with anyio.CancelScope(deadline=protocol.wake_at(began_s)) as limit:
                        await self._receive(socket, protocol)
                    if limit.cancelled_caught:
                        protocol.error = protocol.overdue(limit.deadline)
                self._take_over(protocol)
                task_status.started()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._write, socket, protocol, tasks.cancel_scope)
                    while not (protocol.error or protocol.has_ended):
                        await self._receive(socket, protocol)
                    tasks.cancel_scope.cancel()
        finally:
            if protocol in self._held:
                self._release(protocol, steady=anyio.current_time() - began_s >= STEADY_S)

    async def _receive(self, socket: Socket, protocol: TTSProtocol) -> None:
        """Take the next message in, or the end."""
        try:
            message = await socket.receive()
        except SocketClosed as closed:
            protocol.error = protocol.closed(closed.code, closed.reason)
        else:
            protocol.receive(message, anyio.current_time())
        self._tell()

    async def _write(self, socket: Socket, protocol: TTSProtocol, session: anyio.CancelScope) -> None:
        """Send what is to be sent, and end the session when the service owes something for too long."""
        now = anyio.current_time()
        while True:
            news = self.news
            error = protocol.overdue(now)
            for frame in protocol.frames(now):
                try:
                    # Never waits long: what three requests may hold fits into the library's buffer.
                    await socket.send(frame)
                except SocketClosed:
                    return  # whoever reads knows why
            if error is not None:
                protocol.was_given_up = protocol.error is None
                protocol.error = protocol.error or error
                session.cancel()
            now = await self.changed(news, protocol.wake_at(now))

    @asynccontextmanager
    async def _dialled(self) -> AsyncGenerator[Socket]:
        socket = None
        with anyio.move_on_after(CONNECT_S):
            socket = await Socket.open(self._url, self._key)
        if socket is None:
            waited = f"{VENDOR} text-to-speech did not answer the handshake within {CONNECT_S:g} s; is the network up?"
            raise VendorError(waited, vendor=VENDOR, retryable=True)
        try:
            yield socket
        finally:
            await socket.aclose()

    # --- which session is spoken on -----------------------------------------------------------------------------------

    def _take_over(self, protocol: TTSProtocol) -> None:
        if self._current is not None:
            self._current.leave()
        self._backoff.began(protocol.session_id)
        self._current = protocol
        self._held.append(protocol)
        self._error = None
        while self._waiting:
            protocol.ask(self._waiting.popleft())
        if protocol.unknown:
            log.warning("%s text-to-speech does not know %s; ignored", VENDOR, ", ".join(protocol.unknown))
        self._tell()

    def _release(self, protocol: TTSProtocol, *, steady: bool) -> None:
        """The session is over: take its requests back."""
        self._held.remove(protocol)
        error = protocol.error or VendorError(f"{VENDOR} text-to-speech is closed", vendor=VENDOR, retryable=True)
        again = protocol.lose(error)
        if protocol.unreadable:
            log.warning("%s text-to-speech sent %d unreadable messages", VENDOR, protocol.unreadable)
        if protocol is not self._current and self._current is not None:
            for request in again:
                self._current.ask(request)
        elif not self._is_leaving:
            log.warning("text-to-speech was lost: %s", error)
            self._waiting.extend(again)
            self._failures = 0 if steady else self._failures
            self._failed(error, is_alone=protocol.was_given_up)
        if protocol is self._current:
            self._current = None
        self._tell()

    def _failed(self, error: VoicepipeError, *, is_alone: bool = False) -> None:
        """Decide when to try again, and tell those who would wait too long.

        What is silent is noticed by each call at a time of its own; all else may have happened to many at once.
        """
        pause_s = math.inf
        if isinstance(error, RateLimited):
            pause_s = self._backoff.spread(RATE_LIMIT_S if error.retry_after_s is None else error.retry_after_s)
        elif isinstance(error, VendorError) and error.retryable:
            pause_s = PAUSES_S[min(self._failures, len(PAUSES_S) - 1)]
            pause_s = pause_s if is_alone else self._backoff.spread(pause_s)
        self._failures += 1
        self._not_before = anyio.current_time() + pause_s
        if self._failures >= TRIES or pause_s > PATIENCE_S:
            self._error = error
            for request in self._waiting:
                request.error = error
            self._waiting.clear()

    async def _keep(self, tasks: TaskGroup) -> None:
        """Get another session whenever there is none, or a new one before the old one ends."""
        now = anyio.current_time()
        while True:
            news = self.news
            due_s = max(self._not_before, self._current.renew_at if self._current else -math.inf)
            if now < due_s or self._is_leaving:
                now = await self.changed(news, due_s if due_s > now else math.inf)
                continue
            try:
                await tasks.start(self._hold)
            except VoicepipeError as error:
                log.warning("text-to-speech cannot be reached: %s", error)
                self._failed(error)
                self._tell()
            now = anyio.current_time()

    async def _leave(self) -> None:
        """Say good-bye: a session that just hangs is billed on."""
        self._is_leaving = True
        for protocol in self._held:
            protocol.leave()
        self._tell()
        with anyio.move_on_after(LEAVE_S, shield=True):
            while self._held:
                await self.news.wait()
