"""How one call is recognised: its connection, the next one, and the audio that must not be lost between them.

Rule 1: `stt_audio` keeps the audio, `stt_protocol` reads the messages, `stt_refusals` knows the codes; this module
        moves data between them.
Rule 2: to give a connection up is to cut it and note the reason on it. The reader then reads what has already come, and
        only the reader moves to the next connection, so nothing that was heard is lost or reported twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.core.log import log
from voicepipe.errors import AudioError, VendorError
from voicepipe.hearing.endpointing import audio_on_its_way
from voicepipe.listening_events import AudioDropped, RecogniserLost
from voicepipe.vendors.assemblyai.key import VENDOR
from voicepipe.vendors.assemblyai.parameters import CHANGEABLE, is_word_by_word, sent_name
from voicepipe.vendors.assemblyai.stt_audio import PIECE_S, Backlog
from voicepipe.vendors.assemblyai.stt_link import connect
from voicepipe.vendors.assemblyai.stt_protocol import (
    FORCE_ENDPOINT,
    TurnReader,
    Watch,
    update_message,
)
from voicepipe.vendors.assemblyai.stt_refusals import LOST, Attempts
from voicepipe.vendors.line.socket import SocketClosed

if TYPE_CHECKING:
    from anyio.abc import TaskGroup
    from pydantic import JsonValue, SecretStr

    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.core.context import SessionContext
    from voicepipe.flow import AudioFrame, Hearing
    from voicepipe.http.network import Route
    from voicepipe.vendors.assemblyai.parameters import StreamingParameters
    from voicepipe.vendors.assemblyai.stt_audio import Piece
    from voicepipe.vendors.assemblyai.stt_link import Link

__all__ = ["Call"]

SEND_S: Final = 4.0
"""A service that takes no audio for this long is gone."""

TERMINATE_S: Final = 2.2
"""How long the last words may take after `Terminate`; 0.6 to 1.3 s were measured, on a good day."""

LAST_WORDS_S: Final = 2.5
"""How long they may take after the caller has hung up, whatever else fails then."""

RENEW_ANYHOW_S: Final = 3 * 3600.0 - 60.0
"""... and from this age on even while somebody speaks."""

RENEW_AGAIN_S: Final = 60.0
"""When the service refuses a new session, the old one continues, and this much later comes the next try."""

QUIET_S: Final = 1.0
"""Nobody is speaking when it has been quiet for this long."""

LATE_PIECES: Final = round(4.0 / PIECE_S)
"""So much may wait for a service that catches up with late audio; less than is held, or it would be dropped."""

REPORT_DROPPED_S: Final = 0.5
"""Dropped audio is reported once it amounts to this much."""


class Call:
    """Recognises the audio of one call.

    Args:
        url: Of the service, without its query.
        key: Of the service.
        route: How to get there.
        model: The model's name.
        parameters: The settings; call `refresh` after changing `parameters`.
        session: The call.
    """

    def __init__(
        self,
        url: str,
        key: SecretStr,
        route: Route,
        model: str,
        parameters: StreamingParameters,
        session: SessionContext,
    ) -> None:
        self.parameters = parameters
        self._url = url
        self._key = key
        self._route = route
        self._model = model
        self._session = session
        self._rate = parameters.sample_rate
        self._backlog = Backlog(self._rate)
        self._turns = TurnReader(waits_for_format=parameters.format_turns is True and is_word_by_word(model))
        asked = parameters.on_the_wire(model)
        self._watch = Watch(
            acknowledges=asked.get("acknowledge_silence") is True, sends_partials=parameters.sends_partials
        )
        self._attempts = Attempts()
        self._news = anyio.Event()
        self._is_forced = False
        self._force_at: int | None = None
        self._is_sending = False
        self._room = anyio.Event()
        self._reported_dropped_s = 0.0
        self._link: Link
        self._tasks: TaskGroup

    async def open(self) -> None:
        """Connect, and wait until the service is ready.

        Raises:
            VendorError: It cannot be reached, or refuses.
        """
        self._link = await self._connect()
        self._attempts.backoff.began(self._link.name)

    async def close(self) -> None:
        """End the session with the service, within a second."""
        successor = self._link.successor
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._link.end)
            if successor is not None:
                tasks.start_soon(successor.end)

    async def _connect(self) -> Link:
        asked = {"speech_model": self._model, **self._asked()}
        link = await connect(self._url, self._key, self._route, asked, self._rate)
        log.info("%s speech-to-text is connected, with the model %s", VENDOR, self._model)
        return link

    def _asked(self) -> dict[str, JsonValue]:
        return self.parameters.on_the_wire(self._model)

    # --- requests -----------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Send the present settings."""
        self._link.is_up_to_date = False
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
        for event in self._turns.flush():
            await outbox.send(event)

    async def _reconnected(self, loss: VendorError, *, is_alone: bool) -> Link:
        while (delay_s := self._attempts.delay_s(loss, anyio.current_time(), is_alone=is_alone)) is not None:
            await anyio.sleep(delay_s)
            try:
                return await self._connect()
            except VendorError as error:
                loss, is_alone = error, False
        raise loss

    def _begin(self, link: Link) -> None:
        now = anyio.current_time()
        self._turns.connect(link.clock, oldest_s=self._backlog.oldest_s, newest_s=now)
        self._backlog.rewind()
        self._watch.connected(now)

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
            while self._is_sending and backlog.pushed - backlog.taken >= LATE_PIECES:
                self._room = anyio.Event()
                await self._room.wait()
        backlog.end()
        self._news.set()
        listening.deadline = anyio.current_time() + LAST_WORDS_S

    def _report_dropped(self, dropped_s: float) -> None:
        if dropped_s >= self._reported_dropped_s + REPORT_DROPPED_S:
            self._session.emit(AudioDropped(seconds=dropped_s - self._reported_dropped_s))
            self._reported_dropped_s = dropped_s

    async def _send(self, link: Link) -> None:
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
                    self._news = anyio.Event()
                    await self._news.wait()
                    continue
                if link.next_s > now:
                    await anyio.sleep_until(link.next_s)
                if not await self._send_piece(link, piece):
                    return
                self._renew_in_time(link, anyio.current_time())
            await link.terminate(TERMINATE_S)
        except SocketClosed:
            return  # the reader sees why
        finally:
            self._is_sending = False
            self._room.set()

    async def _send_piece(self, link: Link, piece: Piece) -> bool:
        """Send a piece of audio; return whether the service still responds."""
        link.clock.add(piece)
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
        self._watch.sent(duration_s, now, is_loud=piece.is_loud)
        if not link.is_waiting and self._watch.is_gone(now):
            self._watch.lost()
            link.lose(self._silent("no longer responds"))
            return False
        return True

    async def _send_control(self, link: Link) -> None:
        if not link.is_up_to_date:
            link.is_up_to_date = True
            asked = self._asked()
            names = [name for name in map(sent_name, CHANGEABLE) if name in asked]
            changes = {name: asked[name] for name in names if link.known.get(name) != asked[name]}
            link.known |= changes
            if changes:
                await link.socket.send(update_message(changes))
        if self._is_forced:
            await audio_on_its_way()
            self._is_forced = False
            self._backlog.complete()
            self._force_at = self._backlog.pushed
        if self._force_at is not None and self._backlog.taken >= self._force_at:
            self._force_at = None
            await link.socket.send(FORCE_ENDPOINT)

    def _silent(self, what: str) -> VendorError:
        return VendorError(f"{VENDOR} {what}; {LOST}", vendor=VENDOR, retryable=True)

    # --- messages -----------------------------------------------------------------------------------------------------

    async def _converse(self, link: Link, outbox: Outbox[Hearing]) -> VendorError | None:
        """Send and read until the connection is over; return the error if it was lost."""
        loss = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._send, link)
            loss = await self._read(link, outbox)
            tasks.cancel_scope.cancel()
        return loss

    async def _read(self, link: Link, outbox: Outbox[Hearing]) -> VendorError | None:
        while True:
            try:
                message = await link.receive()
            except SocketClosed as closed:
                return None if link.is_ending else link.closed(closed)
            now, kind = anyio.current_time(), message.type if message is not None else ""
            if message is not None and message.type == "Error":
                return None if link.is_ending else await link.refusal(message)
            link.is_waiting = True
            for event in self._turns.receive(message, now):
                await outbox.send(event)
            link.is_waiting = False
            self._watch.received(kind, anyio.current_time())
            self._backlog.forget(self._turns.settled_s)
            if kind == "Termination" and link.is_ending:
                return None

    # --- renewal ------------------------------------------------------------------------------------------------------

    def _renew_in_time(self, link: Link, now: float) -> None:
        is_quiet = self._backlog.quiet_s >= QUIET_S and not self._turns.is_open
        if now >= link.renew_s and (is_quiet or now >= link.began_s + RENEW_ANYHOW_S):
            link.renew_s = now + RENEW_AGAIN_S
            self._tasks.start_soon(self._renew, link)

    async def _renew(self, link: Link) -> None:
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
