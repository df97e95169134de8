"""A telephone network that speaks as Twilio does and calls a server of yours, with a caller whom you script.

    twilio = TwilioSimulator("the auth token", server="http://127.0.0.1:8000", public_url="https://voice.example.com")
    async with twilio.call("https://voice.example.com/twilio", speech="question.wav") as call:
        await call.wait_speaking()

Rule 1: it is honest. It signs as Twilio does, refuses what Twilio refuses, with its codes, and acknowledges neither
        audio nor a clear.
Rule 2: a mark is reported when everything before it has been played, or at once when it is cleared.
Rule 3: its only clock is the event loop's and it needs no thread, so it also runs on virtual time.

Source: Twilio's pages "Media Streams: WebSocket messages", "Webhooks security" and its list of errors, read in November
2026. No telephone network was called.
"""

from __future__ import annotations

import base64
import logging
import math
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

import anyio
from pydantic_core import to_json
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from voicepipe.audio.g711 import from_ulaw, to_ulaw
from voicepipe.testing.simulators._caller import CallEnded, PhoneCall, held
from voicepipe.testing.simulators._twilio_rules import Failed, Signer, accepted, ask, stream_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from pathlib import Path

__all__ = ["CallEnded", "TwilioCall", "TwilioSimulator"]

SAMPLE_RATE: Final = 8_000
HANDSHAKE_S: Final = 5.0
LINGER_S: Final = 2.0
"""How long a server may take to close the stream after `stop`, before this end does."""

MOST_REDIRECTS: Final = 10
# At DEBUG the library's own logger would print the headers, and with them the signature.
SILENT: Final = logging.Logger("voicepipe.testing.simulators.twilio", logging.CRITICAL + 1)  # noqa: LOG001 - of no hierarchy


class TwilioSimulator:
    """A telephone network that calls one server.

    Args:
        auth_token: What requests are signed with.
        server: Where the server really listens, e.g. "http://127.0.0.1:8000".
        public_url: What its proxy with TLS is called, e.g. "https://voice.example.com"; requests are signed for it, and
            sent to `server`. None if the server has no other name.
        account_sid: The account whose number is called.
        shared_key: Name and secret of a key that signs with SHA-256 in place of the token.
        loses_stop: Whether the stream closes without the message `stop` when the caller hangs up.
        connects_after_s: From the answer of the webhook to the connection of the stream.
        starts_after_s: From the connection to the message `start`.
    """

    def __init__(
        self,
        auth_token: str,
        *,
        server: str,
        public_url: str | None = None,
        account_sid: str = "AC" + "0" * 32,
        shared_key: tuple[str, str] | None = None,
        loses_stop: bool = False,
        connects_after_s: float = 0.0,
        starts_after_s: float = 0.0,
    ) -> None:
        self.account_sid = account_sid
        self.loses_stop = loses_stop
        self.connects_after_s = connects_after_s
        self.starts_after_s = starts_after_s
        self.signer = Signer(auth_token, server, public_url, shared_key)
        self._calls = count(1)

    @asynccontextmanager
    async def call(
        self,
        url: str,
        *,
        speech: bytes | str | Path = b"",
        caller: str = "+15550100",
        called: str = "+15550199",
        gaps: Sequence[tuple[float, float]] = (),
        fields: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[TwilioCall]:
        """Call the server while the block runs, and yield the call. Leaving the block hangs up.

        Args:
            url: The webhook of the number that is called, by its public name.
            speech: What the caller says first: 16-bit PCM with 8,000 samples per second, or a WAV file.
            caller: The caller's number.
            called: The number that is called.
            gaps: When the network holds the caller's audio back, and for how long, in seconds since the stream began.
                What was held back arrives at once.
            fields: Further fields of the webhook's form.

        Raises:
            AudioError: The WAV file cannot be used.
        """
        number = next(self._calls)
        call = TwilioCall(self, number, speech, gaps, {"From": caller, "To": called, **(fields or {})})
        async with held(call, call._run, url):
            yield call

    def __repr__(self) -> str:
        """Show which server is called."""
        return f"<TwilioSimulator {self.signer.public_url}>"


class TwilioCall(PhoneCall):
    """A call over the simulated network. See `PhoneCall` for what caller and test do with it.

    Attributes:
        sid: The call's id.
        status: "ringing", "in-progress", and then "completed", "busy" or "failed".
        twiml: Every answer of the server's webhooks.
        dialed: Numbers and addresses to which the call was transferred.
        received: What the stream got: when, on the loop's clock, and "media", "mark 1" or "clear".
        stopped_s: When the caller's hanging up was sent to the stream; None if it was not.
        closed_s: When the stream was closed; None while it is open.
        closed_by: Who closed it: "server", "caller" or "network"; "" while it is open.
        close_code: The code with which the server closed it; None if it did not.
    """

    def __init__(
        self,
        network: TwilioSimulator,
        number: int,
        speech: bytes | str | Path,
        gaps: Sequence[tuple[float, float]],
        form: Mapping[str, str],
    ) -> None:
        super().__init__(SAMPLE_RATE, speech, gaps)
        self.sid = f"CA{number:032x}"
        self.status = "ringing"
        self.twiml: list[str] = []
        self.dialed: list[str] = []
        self.received: list[tuple[float, str]] = []
        self.stopped_s: float | None = None
        self.closed_s: float | None = None
        self.closed_by = ""
        self.close_code: int | None = None
        self._network = network
        self._streams = count(1)
        self._stream = ""
        self._form = {"CallSid": self.sid, "AccountSid": network.account_sid, "Direction": "inbound", **form}
        self._socket: ClientConnection | None = None
        self._sequence = count(1)
        self._chunk = count(1)
        self._has_hung_up = False
        self._hanging_up = anyio.Event()
        self._scope = anyio.CancelScope()

    # --- what the caller does -----------------------------------------------------------------------------------------

    async def press(self, keys: str) -> None:
        """Press keys, one after another. See `PhoneCall.press`."""
        for key in keys:
            await self._send("dtmf", dtmf={"track": "inbound_track", "digit": key})

    async def hang_up(self) -> None:
        """End the call, and return when the stream has been closed. Does nothing once it has ended."""
        self._has_hung_up = True
        self._hanging_up.set()
        if self._socket is None:
            self._scope.cancel()  # a webhook is asked, or the stream is being connected
        await self.wait_ended()

    async def send(self, message: Mapping[str, object]) -> None:
        """Send a message to the stream that the network would not send, to see what the server does."""
        if self._socket is not None:
            await self._write(message)

    def break_off(self) -> None:
        """Cut the stream's connection without a word, as a network does; the call goes on with the next instruction."""
        if self._socket is not None:
            self.closed_by = self.closed_by or "network"
            self.errors.append((31903, "the connection of the stream broke"))
            self._socket.transport.abort()

    # --- the call -----------------------------------------------------------------------------------------------------

    async def _run(self, url: str) -> None:
        try:
            with self._scope:
                following: str | None = url
                while following is not None and not self._has_hung_up:
                    following = await self._follow(following)
            if self.status in ("ringing", "in-progress"):
                self.status = "completed"
        except Failed as failed:
            self.errors.append((failed.code, failed.what))
            self.status = "failed"
        finally:
            self._end()

    async def _follow(self, url: str) -> str | None:
        """Ask a webhook what to do, do it, and return where to ask next."""
        if len(self.twiml) > MOST_REDIRECTS:
            raise Failed(11215, f"more than {MOST_REDIRECTS} redirects")
        form = self._form | {"CallStatus": self.status, "ApiVersion": "2010-04-01"}
        self.twiml.append(await ask(self._network.signer, url, form))
        try:
            response = ET.fromstring(self.twiml[-1].encode())  # noqa: S314 - the server under test wrote it
        except ET.ParseError as error:
            raise Failed(12100, f"the TwiML is not XML: {error}") from None
        if response.tag != "Response":
            raise Failed(12100, f"expected <Response>, found <{response.tag}>")
        for verb in response:
            self.note(f"<{verb.tag}>")
            match verb.tag:
                case "Connect":
                    self.status = "in-progress"
                    await self._connect(verb)
                case "Redirect":
                    return (verb.text or "").strip()
                case "Dial":
                    self.dialed.append("".join(verb.itertext()).strip())
                case "Reject":
                    self.status = verb.get("reason", "busy")
                    return None
                case "Hangup":
                    return None
                case "Say" | "Play":
                    self.status = "in-progress"
                case "Pause":
                    self.status = "in-progress"
                    with anyio.move_on_after(float(verb.get("length", "1"))):
                        await self._hanging_up.wait()
                case _:
                    raise Failed(12200, f"<{verb.tag}> is not known here")
            if self._has_hung_up:
                return None
        return None

    # --- the stream ---------------------------------------------------------------------------------------------------

    async def _connect(self, verb: ET.Element) -> None:
        """Connect to the server and hold the stream; the call goes on with the next instruction if that fails."""
        try:
            url, address, parameters = stream_of(verb, self._network.signer)
            await anyio.sleep(self._network.connects_after_s)
            socket = await connect(
                address,
                additional_headers=self._network.signer.headers(url, {}),
                compression=None,
                open_timeout=HANDSHAKE_S,
                ping_interval=None,
                close_timeout=1.0,
                user_agent_header="TwilioSimulator",
                proxy=None,
                logger=SILENT,
            )
        except Failed as failed:
            self.errors.append((failed.code, failed.what))
        except InvalidStatus as error:
            self.errors.append((31920, f"status {error.response.status_code} in place of 101"))
        except (OSError, InvalidHandshake, TimeoutError) as error:
            self.errors.append((31901, f"no connection: {type(error).__name__}"))
        else:
            await self._converse(socket, parameters)

    async def _converse(self, socket: ClientConnection, parameters: dict[str, str]) -> None:
        """Hold the stream until either side closes it."""
        self._socket, self._stream = socket, f"MZ{next(self._streams):032x}"
        self._sequence, self._chunk = count(1), count(1)
        self.closed_s, self.closed_by, self.close_code = None, "", None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._receive, tasks.cancel_scope)
                await self._write({"event": "connected", "protocol": "Call", "version": "1.0.0"})
                await anyio.sleep(self._network.starts_after_s)
                self.began_s = anyio.current_time()
                await self._send("start", start=self._start(parameters))
                tasks.start_soon(self._talk)
                tasks.start_soon(self._report)
                await self._hanging_up.wait()
                await self._stop()
        finally:
            with anyio.CancelScope(shield=True):
                await socket.close()
            self.closed_s = anyio.current_time()
            self.closed_by = self.closed_by or "server"
            if self.closed_by == "server":
                self.close_code = socket.close_code
            if self.closed_by == "server" and self.stopped_s is None:
                self.errors.append((31921, "the server closed the stream"))
            self._earpiece.clear(self.closed_s)
            self._socket = None

    def _start(self, parameters: dict[str, str]) -> dict[str, object]:
        return {
            "streamSid": self._stream,
            "accountSid": self._network.account_sid,
            "callSid": self.sid,
            "tracks": ["inbound"],
            "customParameters": parameters,
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": SAMPLE_RATE, "channels": 1},
        }

    async def _stop(self) -> None:
        """Tell the server that the caller has hung up, and give it time to close the stream."""
        self.stopped_s = anyio.current_time()
        if not self._network.loses_stop:
            await self._send("stop", stop={"accountSid": self._network.account_sid, "callSid": self.sid})
            with anyio.move_on_after(LINGER_S):
                await anyio.sleep_forever()  # `_receive` ends all of this when the server closes
        self.closed_by = "caller"
        assert self._socket is not None  # noqa: S101 - it is open here
        await self._socket.close()

    async def _send(self, event: str, **fields: object) -> None:
        if self._socket is None:
            raise CallEnded(f"there is no stream to send {event} to")
        number = str(next(self._sequence))
        await self._write({"event": event, "sequenceNumber": number, "streamSid": self._stream, **fields})

    async def _write(self, message: Mapping[str, object]) -> None:
        assert self._socket is not None  # noqa: S101 - it is open here
        with suppress(ConnectionClosed):  # `_receive` notices, and ends the stream
            await self._socket.send(to_json(message).decode())

    async def _send_audio(self, pcm: bytes) -> None:
        chunk = next(self._chunk)
        media = {
            "track": "inbound",
            "chunk": str(chunk),
            "timestamp": str((chunk - 1) * 20),
            "payload": base64.b64encode(to_ulaw(pcm)).decode(),
        }
        await self._send("media", media=media)

    async def _report(self) -> None:
        """Report marks when they are due."""
        while True:
            due_s, news = self._earpiece.due_s(), self._news
            if due_s == math.inf:
                await news.wait()
                continue
            with anyio.move_on_at(due_s):
                await news.wait()
            await self._report_marks(self._earpiece.take_due(anyio.current_time()))

    async def _report_marks(self, names: Sequence[str]) -> None:
        for name in names:
            await self._send("mark", mark={"name": name})

    async def _receive(self, stream: anyio.CancelScope) -> None:
        assert self._socket is not None  # noqa: S101 - it is open here
        try:
            async for message in self._socket:
                now = anyio.current_time()
                match accepted(message, self._stream):
                    case {"event": "media", "media": {"payload": str(payload)}}:
                        self.received.append((now, "media"))
                        self._play(from_ulaw(base64.b64decode(payload)))
                    case {"event": "mark", "mark": {"name": str(name)}}:
                        self.received.append((now, f"mark {name}"))
                        self._earpiece.mark(name, now)
                        self._has_news()
                    case _:
                        self.received.append((now, "clear"))
                        await self._report_marks(self._earpiece.clear(now))
        except ConnectionClosed:
            pass
        except Failed as failed:
            self.errors.append((failed.code, failed.what))
            self.closed_by = "network"
        stream.cancel()

    def __repr__(self) -> str:
        """Show how the call stands."""
        return f"<TwilioCall {self.sid} {self.status}>"
