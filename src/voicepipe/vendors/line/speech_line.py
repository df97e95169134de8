"""One warm session with a text-to-speech service for each call.

Rule 1: this module moves messages and keeps the socket; the vendor's `SpeechProtocol` knows what they mean.
Rule 2: an old session is replaced before it ends, a lost one at once. A request does not notice, unless some of its
        audio had come.
Rule 3: one task sends everything, so asking and cancelling are synchronous calls.
"""

from __future__ import annotations

import math
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.core.log import log
from voicepipe.errors import RateLimited, VendorError, VoicepipeError
from voicepipe.vendors.line.backoff import Backoff
from voicepipe.vendors.line.socket import Endpoint, Socket, SocketClosed
from voicepipe.vendors.line.speech_protocol import SpeechProtocol, SpeechRequest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from anyio.abc import TaskGroup, TaskStatus

__all__ = ["SpeechLine"]

CONNECT_S: Final = 4.0
"""How long the handshake may take, TLS included; a call has 10 s to be ready."""

LEAVE_S: Final = 0.6
"""How long `Terminate` may take: a part has 1 s to close, and the socket's own close comes after this."""

PAUSES_S: Final = (0.0, 0.5, 4.0, 15.0, 30.0)
"""Pauses before the n-th attempt to reconnect, spread a little. A free account may begin five sessions in a minute."""

TRIES: Final = 3
"""After this many failures, the loss included, requests that wait get the error; the line keeps trying."""

RATE_LIMIT_S: Final = 15.0
"""The pause when the service refuses a connection for too many and does not say for how long."""

PATIENCE_S: Final = 4.0
"""A request gets the error at once if the next attempt is further away: `TTSSink` waits 5 s."""

STEADY_S: Final = 5.0
"""A session that is lost before it was this old counts as a failed attempt."""


class SpeechLine:
    """Where a call requests speech.

    Args:
        endpoint: Where the service is.
        begun: Makes the protocol of a session whose connection began at the given time.

    Attributes:
        news: Set, and replaced, when anything changes for any request; audio is most of it.
    """

    def __init__(self, endpoint: Endpoint, begun: Callable[[float], SpeechProtocol]) -> None:
        self.news = anyio.Event()
        self._work = anyio.Event()  # the same, except for audio, which leaves nothing to be sent
        self._endpoint = endpoint
        self._vendor = endpoint.vendor
        self._begun = begun
        self._current: SpeechProtocol | None = None
        self._held: list[SpeechProtocol] = []
        self._waiting: deque[SpeechRequest] = deque()
        self._failures = 0
        self._error: VoicepipeError | None = None  # why there is no attempt before `_not_before`
        self._not_before = -math.inf
        self._is_leaving = False
        self._backoff = Backoff()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Hold a session with the service while the block runs.

        Raises:
            VoicepipeError: The first session could not be started. Attempts at later ones are repeated.
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
        """Request speech for a text, after all earlier requests. The request shows its progress."""
        request, now = SpeechRequest(text), anyio.current_time()
        if self._current is not None:
            self._current.ask(request)
        elif isinstance(self._error, RateLimited) and self._not_before > now + PATIENCE_S:
            request.error = self._error
        else:
            if self._error is not None and not isinstance(self._error, RateLimited):
                self._failures, self._not_before, self._error = 0, now, None  # given up before, but needed now
            self._waiting.append(request)
        self._announce()
        return request

    def drop(self, request: SpeechRequest) -> None:
        """Withdraw a request. Does nothing when it is done."""
        if request in self._waiting:
            self._waiting.remove(request)
        for protocol in self._held:
            protocol.drop(request, anyio.current_time())
        self._announce()

    async def changed(self, news: anyio.Event, wake_at: float) -> float:
        """Wait for news or until `wake_at`, and return the time, which rounding never puts before `wake_at`."""
        if wake_at == math.inf:
            await news.wait()
            return anyio.current_time()
        with anyio.CancelScope(deadline=wake_at) as limit:
            await news.wait()
        now = anyio.current_time()
        return max(now, wake_at) if limit.cancelled_caught else now

    def __repr__(self) -> str:
        """Show where it leads and whether there is a session."""
        return f"<SpeechLine to {self._endpoint.url.partition('?')[0]} {'open' if self._current else 'lost'}>"

    def _announce(self) -> None:
        self._announce_audio()
        self._work.set()
        self._work = anyio.Event()

    def _announce_audio(self) -> None:
        self.news.set()
        self.news = anyio.Event()

    # --- one session --------------------------------------------------------------------------------------------------

    async def _hold(self, *, task_status: TaskStatus[None]) -> None:
        """Hold a session until it ends. Raises only until it has begun."""
        began_s = anyio.current_time()
        protocol = self._begun(began_s)
        try:
            async with self._dialled() as socket:
                protocol.session_id = socket.session_id
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

    async def _receive(self, socket: Socket, protocol: SpeechProtocol) -> None:
        """Process the next message, or the end of the connection."""
        try:
            message = await socket.receive()
        except SocketClosed as closed:
            protocol.error = protocol.closed(closed.code, closed.reason)
            self._announce()
        else:
            if protocol.receive(message, anyio.current_time()):
                self._announce()
            else:
                self._announce_audio()

    async def _write(self, socket: Socket, protocol: SpeechProtocol, session: anyio.CancelScope) -> None:
        """Send what is due, and end the session when a message of the service is overdue."""
        now = anyio.current_time()
        while True:
            work = self._work
            error = protocol.overdue(now)
            for frame in protocol.frames(now):
                try:
                    # Never waits long: the text of three requests fits into the library's buffer.
                    await socket.send(frame)
                except SocketClosed:
                    return  # the reader sees why
            if error is not None:
                protocol.was_given_up = protocol.error is None
                protocol.error = protocol.error or error
            if error is not None or protocol.has_ended:
                session.cancel()
            now = await self.changed(work, protocol.wake_at(now))

    @asynccontextmanager
    async def _dialled(self) -> AsyncGenerator[Socket]:
        socket = None
        with anyio.move_on_after(CONNECT_S):
            socket = await Socket.open(self._endpoint)
        if socket is None:
            waited = (
                f"{self._vendor} text-to-speech did not answer the handshake within {CONNECT_S:g} s; is the network up?"
            )
            raise VendorError(waited, vendor=self._vendor, retryable=True)
        try:
            yield socket
        finally:
            await socket.aclose()

    # --- the current session ------------------------------------------------------------------------------------------

    def _take_over(self, protocol: SpeechProtocol) -> None:
        if self._current is not None:
            self._current.leave()
        self._backoff.began(protocol.session_id)
        self._current = protocol
        self._held.append(protocol)
        self._error = None
        while self._waiting:
            protocol.ask(self._waiting.popleft())
        log.info("%s text-to-speech is connected", self._vendor)
        if protocol.unknown:
            unknown = self._endpoint.clean(", ".join(protocol.unknown))
            log.warning("%s text-to-speech does not know %s; ignored", self._vendor, unknown)
        self._announce()

    def _release(self, protocol: SpeechProtocol, *, steady: bool) -> None:
        """Forget a session that is over, and take its unfinished requests back."""
        self._held.remove(protocol)
        error = protocol.error or VendorError(
            f"{self._vendor} text-to-speech is closed", vendor=self._vendor, retryable=True
        )
        again = protocol.lose(error)
        if protocol.unreadable:
            log.warning("%s text-to-speech sent %d unreadable messages", self._vendor, protocol.unreadable)
        if protocol is not self._current and self._current is not None:
            for request in again:
                self._current.ask(request)
        elif not self._is_leaving:
            log.warning("text-to-speech was lost: %s", error)
            self._waiting.extend(again)
            self._failures = 0 if steady else self._failures
            self._failed(error, is_alone=protocol.was_given_up, rate_limit_s=protocol.rate_limit_s)
        if protocol is self._current:
            self._current = None
        self._announce()

    def _loss(self, what: str) -> VendorError:
        return VendorError(f"{self._vendor} text-to-speech {what}", vendor=self._vendor, retryable=True)

    def _failed(self, error: VoicepipeError, *, is_alone: bool = False, rate_limit_s: float = RATE_LIMIT_S) -> None:
        """Decide when to try again, and fail the requests that would wait too long.

        Each call notices a silent service at a time of its own; any other failure may have hit many calls at once.
        """
        pause_s = math.inf
        if isinstance(error, RateLimited):
            pause_s = self._backoff.spread(rate_limit_s if error.retry_after_s is None else error.retry_after_s)
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
        """Start a session whenever there is none, and the next one before the old one ends."""
        now = anyio.current_time()
        while True:
            work = self._work
            due_s = max(self._not_before, self._current.renew_at if self._current else -math.inf)
            if now < due_s or self._is_leaving:
                now = await self.changed(work, due_s if due_s > now else math.inf)
                continue
            try:
                await tasks.start(self._hold)
            except VoicepipeError as error:
                log.warning("text-to-speech cannot be reached: %s", error)
                self._failed(error)
                self._announce()
            now = anyio.current_time()

    async def _leave(self) -> None:
        """Terminate all sessions: one that is left open is billed further."""
        self._is_leaving = True
        for protocol in self._held:
            protocol.leave()
        self._announce()
        with anyio.move_on_after(LEAVE_S, shield=True):
            while self._held:
                await self._work.wait()
