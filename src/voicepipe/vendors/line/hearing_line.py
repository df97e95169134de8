"""How one call is recognised: its connection, the next one, and the audio that must not be lost between them.

Rule 1: `audio_backlog` keeps the audio, the vendor's `HearingProtocol` knows the messages and codes; this module moves
        data between them.
Rule 2: to give a connection up is to cut it and note the reason on it. The reader then reads what has already come, and
        only the reader moves to the next connection, so nothing that was heard is lost or reported twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

import anyio

from voicepipe.core.log import log
from voicepipe.errors import AudioError, VendorError
from voicepipe.hearing.endpointing import audio_on_its_way
from voicepipe.listening_events import AudioDropped, RecogniserLost
from voicepipe.vendors.line.attempts import LOST, Attempts
from voicepipe.vendors.line.audio_backlog import Backlog, Piece
from voicepipe.vendors.line.hearing_link import HearingLink, connect
from voicepipe.vendors.line.hearing_watch import Sign
from voicepipe.vendors.line.socket import SocketClosed

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.core.context import SessionContext
    from voicepipe.flow import AudioFrame, Hearing
    from voicepipe.vendors.line.hearing_protocol import HearingProtocol
    from voicepipe.vendors.line.socket import Endpoint

__all__ = ["HearingLine"]

M = TypeVar("M")

SEND_S: Final = 4.0
"""A service that takes no audio for this long is gone."""

TERMINATE_S: Final = 2.2
"""How long the last words may take after the closing message; 0.6 to 1.3 s were measured, on a good day."""

LAST_WORDS_S: Final = 2.5
"""How long they may take after the caller has hung up, whatever else fails then."""

RENEW_AGAIN_S: Final = 60.0
"""When the service refuses a new session, the old one continues, and this much later comes the next try."""

QUIET_S: Final = 1.0
"""Nobody is speaking when it has been quiet for this long."""

LATE_S: Final = 4.0
"""So much may wait for a service that catches up with late audio; less than is held, or it would be dropped."""

REPORT_DROPPED_S: Final = 0.5
"""Dropped audio is reported once it amounts to this much."""


class HearingLine(Generic[M]):
    """Recognises the audio of one call.

    Args:
        endpoint: Where the service is, without the query.
        protocol: The vendor's; call `refresh` after changing its settings.
        session: The call.
    """

    def __init__(self, endpoint: Endpoint, protocol: HearingProtocol[M], session: SessionContext) -> None:
        self._endpoint = endpoint
        self._protocol = protocol
        self._session = session
        self._rate = protocol.sample_rate
        self._backlog = Backlog(self._rate, protocol.piece_s)
        self._late_pieces = round(LATE_S / protocol.piece_s)
        self._attempts = Attempts()
        self._name = ""  # of the first session
        self._news = anyio.Event()
        self._is_forced = False
        self._force_at: int | None = None
        self._is_sending = False
        self._room = anyio.Event()
        self._reported_dropped_s = 0.0
        self._link: HearingLink[M]
        self._tasks: TaskGroup

    async def open(self) -> None:
        """Connect, and wait until the service is ready.

        Raises:
            VendorError: It cannot be reached, or refuses.
        """
        self._link = await self._connect()

    async def close(self) -> None:
        """End the session with the service, within a second."""
        successor = self._link.successor
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._link.end)
            if successor is not None:
                tasks.start_soon(successor.end)

    async def _connect(self) -> HearingLink[M]:
        link = await connect(self._protocol, self._endpoint)
        log.info("%s speech-to-text is connected, with the model %s", self._protocol.vendor, self._protocol.model)
        return link

    # --- requests -----------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Send the present settings."""
        self._link.session.refresh()
        self._news.set()

    def force_endpoint(self) -> None:
        """End the caller's turn with the audio that has come so far."""
        self._is_forced = True
        self._news.set()

    async def run(self, inbox: Inbox[AudioFrame], outbox: Outbox[Hearing]) -> None:
        """Listen until the caller hangs up, on as many connections as needed.

        Raises:
            VendorError: A connection broke, and another would not help or cannot be made.
        """
        async with anyio.create_task_group() as self._tasks:
            self._tasks.start_soon(self._take_in, inbox, self._tasks.cancel_scope)
            while True:
                link = self._link
                self._begin(link)
                loss = await self._converse(link, outbox)
                if loss is not None:
                    self._session.emit(RecogniserLost(error=loss))
                    self._backlog.rewind()  # audio that was sent in vain waits again, and is counted if it gets too old
                    self._tasks.start_soon(link.end)
                    # Each call notices a silent service at a time of its own, so it need not spread its return.
                    self._link = link.successor or await self._reconnected(loss, is_alone=link.loss is not None)
                elif link.successor is not None:
                    self._tasks.start_soon(link.end)
                    self._link = link.successor
                else:
                    break
            self._tasks.cancel_scope.cancel()
        self._report_dropped(self._backlog.dropped_s + self._backlog.waiting_s)
        for event in self._protocol.flush(anyio.current_time()):
            await outbox.send(event)

    async def _reconnected(self, loss: VendorError, *, is_alone: bool) -> HearingLink[M]:
        if not self._name:  # some services name a session only while it runs
            self._name = self._link.session.name
            self._attempts.backoff.began(self._name)
        while (delay_s := self._attempts.delay_s(loss, anyio.current_time(), is_alone=is_alone)) is not None:
            await anyio.sleep(delay_s)
            try:
                return await self._connect()
            except VendorError as error:
                loss, is_alone = error, False
        raise loss

    def _begin(self, link: HearingLink[M]) -> None:
        now = anyio.current_time()
        self._protocol.turns.connect(link.session.clock, oldest_s=self._backlog.oldest_s, newest_s=now)
        self._backlog.rewind()
        self._backlog.skip(self._protocol.turns.carried_until_s)
        self._protocol.watch.connected(now)

    # --- audio --------------------------------------------------------------------------------------------------------

    async def _take_in(self, inbox: Inbox[AudioFrame], listening: anyio.CancelScope) -> None:
        backlog = self._backlog
        async for frame in inbox:
            if frame.sample_rate != self._rate:
                raise AudioError(
                    f"expected audio at {self._rate} Hz, found {frame.sample_rate} Hz; resample before the recogniser"
                )
            if not backlog.push(frame):
                continue
            self._news.set()
            self._report_dropped(backlog.dropped_s)
            # Audio that came late waits in the session's queue, where it is not taken for lag.
            while self._is_sending and backlog.pushed - backlog.taken >= self._late_pieces:
                self._room = anyio.Event()
                await self._room.wait()
        backlog.end()
        self._news.set()
        listening.deadline = anyio.current_time() + LAST_WORDS_S

    def _report_dropped(self, dropped_s: float) -> None:
        if dropped_s >= self._reported_dropped_s + REPORT_DROPPED_S:
            self._session.emit(AudioDropped(seconds=dropped_s - self._reported_dropped_s))
            self._reported_dropped_s = dropped_s

    async def _send(self, link: HearingLink[M], outbox: Outbox[Hearing]) -> None:
        """Send audio and settings until the connection ends or the caller hangs up."""
        self._is_sending = True
        try:
            while link.successor is None:
                await self._send_control(link)
                now = anyio.current_time()
                piece = self._backlog.take(is_behind=link.has_to_catch_up(now))
                self._room.set()
                if piece is None and self._backlog.is_ended:
                    break
                if piece is None:
                    await self._wait_news(link)
                    continue
                if link.next_s > now:
                    await anyio.sleep_until(link.next_s)
                if not await self._send_piece(link, piece):
                    return
                now = anyio.current_time()
                self._renew_in_time(link, now)
                for event in self._protocol.due(now):
                    await outbox.send(event)
            await link.terminate(TERMINATE_S)
        except SocketClosed:
            return  # the reader sees why
        finally:
            self._is_sending = False
            self._room.set()

    async def _wait_news(self, link: HearingLink[M]) -> None:
        """Wait for audio or a request, and keep the connection alive if there is neither."""
        self._news = anyio.Event()
        with anyio.move_on_after(self._protocol.idle_s) as limit:
            await self._news.wait()
        if not limit.cancelled_caught:
            return
        if self._protocol.keep_alive:
            await link.socket.send(self._protocol.keep_alive)
        else:
            now, samples = anyio.current_time(), round(self._rate * self._protocol.piece_s)
            silence = Piece(bytes(2 * samples), now - samples / self._rate, now, is_loud=False)
            link.session.clock.add(silence)
            await link.socket.send(silence.pcm)

    async def _send_piece(self, link: HearingLink[M], piece: Piece) -> bool:
        """Send a piece of audio; return whether the service still responds."""
        link.session.clock.add(piece)
        if link.socket.has_room:  # as nearly always, and a timer would cost as much as the message
            await link.socket.send(piece.pcm)
        else:
            with anyio.move_on_after(SEND_S) as limit:
                await link.socket.send(piece.pcm)
            if limit.cancelled_caught:
                link.lose(self._silent("no longer takes audio"))
                return False
        now, duration_s = anyio.current_time(), piece.end_s - piece.start_s
        link.sent(duration_s, now)
        self._protocol.watch.sent(duration_s, now, is_loud=piece.is_loud)
        if not link.is_waiting and self._protocol.watch.is_gone(now):
            self._protocol.watch.lost()
            link.lose(self._silent("no longer responds"))
            return False
        return True

    async def _send_control(self, link: HearingLink[M]) -> None:
        if (changes := link.session.update(anyio.current_time())) is not None:
            await link.socket.send(changes)
        if self._is_forced:
            await audio_on_its_way()
            self._is_forced = False
            self._backlog.complete()
            self._force_at = self._backlog.pushed
        if self._force_at is not None and self._backlog.taken >= self._force_at:
            self._force_at = None
            await link.socket.send(self._protocol.force_endpoint(anyio.current_time()))

    def _silent(self, what: str) -> VendorError:
        vendor = self._protocol.vendor
        return VendorError(f"{vendor} {what}; {LOST}", vendor=vendor, retryable=True)

    # --- messages -----------------------------------------------------------------------------------------------------

    async def _converse(self, link: HearingLink[M], outbox: Outbox[Hearing]) -> VendorError | None:
        """Send and read until the connection is over; return the error if it was lost."""
        loss = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._send, link, outbox)
            loss = await self._read(link, outbox)
            tasks.cancel_scope.cancel()
        return loss

    async def _read(self, link: HearingLink[M], outbox: Outbox[Hearing]) -> VendorError | None:
        while True:
            try:
                reading = await link.receive()
            except SocketClosed as closed:
                return None if link.is_ending else link.closed(closed)
            if reading.sign is Sign.REFUSED:
                return None if link.is_ending else await link.refusal(reading)
            link.is_waiting = True
            for event in self._protocol.receive(reading.message, anyio.current_time()):
                await outbox.send(event)
            link.is_waiting = False
            self._protocol.watch.received(reading.sign, anyio.current_time())
            self._backlog.forget(self._protocol.turns.settled_s)
            if reading.sign is Sign.ENDED and link.is_ending:
                return None

    # --- renewal ------------------------------------------------------------------------------------------------------

    def _renew_in_time(self, link: HearingLink[M], now: float) -> None:
        is_quiet = self._backlog.quiet_s >= QUIET_S and not self._protocol.turns.is_open
        if now >= link.renew_s and (is_quiet or now >= link.began_s + self._protocol.renew_anyhow_s):
            link.renew_s = now + RENEW_AGAIN_S
            self._tasks.start_soon(self._renew, link)

    async def _renew(self, link: HearingLink[M]) -> None:
        """Make the next connection while the old one still serves, then let the old one finish."""
        try:
            successor = await self._connect()
        except VendorError:
            return  # there is another try; if they all fail, the end of the old session says why
        if self._link is not link or link.is_ending:
            await successor.end()
            return
        link.successor = successor
        self._news.set()
