"""Base of the voices whose service is reached over one warm websocket for each call.

Rule 1: a sentence is one request (a very long one is a few); its audio is passed on as it comes, and a word's mark as
        soon as the word's audio has come.
Rule 2: closing a generator early withdraws its request synchronously; the socket stays open for the next turn.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio

from voicepipe.http.network import Network
from voicepipe.speaking.tts_sink import TTSSink
from voicepipe.vendors.credentials import Credentials, keyless
from voicepipe.vendors.line.speech_line import SpeechLine

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from typing import Self

    from pydantic import SecretStr

    from voicepipe.core.context import AnySession
    from voicepipe.flow import Sentence, WordMark
    from voicepipe.http.network import Route
    from voicepipe.vendors.line.socket import Endpoint
    from voicepipe.vendors.line.speech_protocol import SpeechProtocol, SpeechRequest
    from voicepipe.vendors.line.speech_text import SpokenPart, TimedWord

__all__ = ["LineVoice"]

MARKS_S: Final = 0.5
"""How long to wait for word times, at most: with some services they come after the audio, or not at all."""

BEFORE_SILENCE_S: Final = 0.1
"""The wait for word times ends this long before the output could run dry."""


class LineVoice(TTSSink):
    """Speaks over a websocket that is opened before the first turn and kept for all turns of a call.

    When the connection is lost, another replaces it, and a sentence that had no audio yet is requested again.

    Attributes:
        url: Where the service is, without the query.
    """

    url: str
    _network: Network
    _credentials: Credentials
    _key: SecretStr
    _route: Route
    _line: SpeechLine

    @abstractmethod
    def _endpoint(self) -> Endpoint:
        """Return where the websocket is, with this call's settings."""

    @abstractmethod
    def _begun(self, now: float, endpoint: Endpoint) -> SpeechProtocol:
        """Return the protocol of a session whose connection to `endpoint` began at this time."""

    @abstractmethod
    def _parts(self, text: str) -> Sequence[SpokenPart]:
        """Return a sentence as texts that the service accepts."""

    @property
    def _wants_words(self) -> bool:
        """Whether the service was asked for word times."""
        return True

    def _reach(self, part: str, proxy: str | SecretStr | None, credentials: Credentials) -> None:
        """Set how `url` is reached."""
        self._network = Network(part, self.url, proxy)
        self._credentials = credentials

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Read the key and the certificates, so that a missing one is an error before the first call."""
        self._key = self._credentials.read()
        self._route = await self._network.route()
        yield

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Hold a session with the service while the call lasts."""
        del session
        endpoint = self._endpoint()
        self._line = SpeechLine(endpoint, lambda now: self._begun(now, endpoint))
        async with self._line.open():
            yield

    def _at_simulator(self, url: str) -> Self:
        """Return a copy that uses a simulator on this machine, without a key.

        Raises:
            ConfigurationError: The URL cannot be used.
        """
        twin = self._copied()
        twin.url = self._url_at(url)
        twin._credentials = keyless(self.name, twin.url, urlsplit(twin.url).hostname or "")
        return twin

    @abstractmethod
    def _url_at(self, url: str) -> str:
        """Return where the service is when it is at another URL."""

    async def synthesize(self, sentence: Sentence) -> AsyncGenerator[bytes | WordMark]:
        """Yield the audio as it comes, and the word times when they come. See `TTSSink.synthesize`.

        Raises:
            VendorError: The service refused the sentence, is silent, or was lost after the first audio.
        """
        before_s = 0.0
        for part in self._parts(sentence.text):
            request = self._line.ask(part.text)
            first_s = last_s = math.inf  # when its first piece was passed on, and when the wait for word times ends
            known = marked = 0  # words whose audio has come, and marks that were given
            now = anyio.current_time()
            try:
                while True:
                    news = self._line.news
                    audio_s = request.came_bytes / 2 / self.sample_rate
                    words = _known(request, audio_s)
                    if len(words) > known:
                        known = len(words)
                        marks = part.marks(words, audio_s=audio_s, start_s=before_s)[marked:]
                        marked += len(marks)
                        for mark in marks:
                            yield mark
                    if request.audio:
                        first_s = min(first_s, anyio.current_time())
                        yield request.audio.popleft()
                    elif request.error is not None:
                        raise request.error
                    elif request.is_done and (self._has_words(request) or not audio_s or now >= last_s):
                        break
                    elif news is self._line.news:
                        if request.is_done:
                            heard_s = first_s + audio_s - BEFORE_SILENCE_S
                            last_s = min(last_s, anyio.current_time() + MARKS_S, heard_s)
                        now = await self._line.changed(news, last_s)
            finally:
                self._line.drop(request)
            before_s += audio_s

    def _has_words(self, request: SpeechRequest) -> bool:
        return request.has_all_words or not self._wants_words


def _known(request: SpeechRequest, audio_s: float) -> list[TimedWord]:
    """Return the words whose audio has come."""
    return request.words if request.is_done else [word for word in request.words if word.end_s <= audio_s]
