"""A recogniser that listens on a `HearingLine`: its lifetimes, without anything of a vendor."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from voicepipe.hearing.recogniser import Recogniser
from voicepipe.vendors.credentials import keyless
from voicepipe.vendors.line.address import socket_url
from voicepipe.vendors.line.hearing_line import HearingLine
from voicepipe.vendors.line.socket import Endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import Self

    from pydantic import SecretStr

    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.core.context import AnySession
    from voicepipe.flow import AudioFrame, Hearing
    from voicepipe.http.network import Network, Route
    from voicepipe.vendors.credentials import Credentials
    from voicepipe.vendors.line.hearing_protocol import HearingProtocol

__all__ = ["StreamingRecogniser"]


class StreamingRecogniser(Recogniser):
    """Base of the recognisers that are services at a websocket.

    Args:
        url: Of the service, without the query.
        network: How to get there.
        credentials: Where the key comes from.

    Attributes:
        url: Of the service.
    """

    _vendor: str
    _path: str
    _scheme: str = ""
    _key: SecretStr
    _route: Route

    def __init__(self, url: str, network: Network, credentials: Credentials) -> None:
        self.url = url
        self._network = network
        self._credentials = credentials
        self._line: HearingLine[Any] | None = None

    @abstractmethod
    def _begun(self) -> HearingProtocol[Any]:
        """Return the protocol of a call that begins."""

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Read the key and the certificates."""
        self._key = self._credentials.read()
        self._route = await self._network.route()
        yield

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Hold a session with the service while the call lasts."""
        endpoint = Endpoint(vendor=self._vendor, url=self.url, key=self._key, route=self._route, scheme=self._scheme)
        line = HearingLine(endpoint, self._begun(), session)
        await line.open()
        self._line = line
        try:
            yield
        finally:
            await line.close()

    async def recognise(self, inbox: Inbox[AudioFrame], outbox: Outbox[Hearing], session: AnySession) -> None:
        """Turn audio into what was heard. See `Recogniser.recognise`."""
        del session
        assert self._line is not None  # noqa: S101 - `attach` comes first
        await self._line.run(inbox, outbox)

    def force_endpoint(self) -> None:
        """End the caller's turn with the audio so far, if there is speech in it. Never waits."""
        if self._line is not None:
            self._line.force_endpoint()

    def _at_simulator(self, url: str) -> Self:
        """Return a copy that uses a simulator on this machine, without a key.

        Raises:
            ConfigurationError: The URL cannot be used.
        """
        twin = self._copied()
        twin.url = socket_url(self.name, self._path, {None: ""}, region=None, host=None, url=url)
        twin._credentials = keyless(self.name, twin.url, urlsplit(twin.url).hostname or "")
        return twin

    def _refresh(self) -> None:
        """Let the service learn that settings have changed."""
        if self._line is not None:
            self._line.refresh()
