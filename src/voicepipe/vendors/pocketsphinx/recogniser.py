"""The embedded recogniser: pocketsphinx with a grammar, without key or network.

Rule 1: decoding holds the interpreter's lock 0.7 ms for each 30 ms of speech, so it is done on a thread, in blocks.
Rule 2: detector and decoder both hear the audio with a little noise, because digital silence misleads both: without
        it the detector broke sentences in pieces, about one piece too many in each.
"""

from __future__ import annotations

import sys
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import anyio

from voicepipe.core.worker import WorkerThread
from voicepipe.errors import AudioError, ConfigurationError, MissingExtra
from voicepipe.flow import AudioFrame, EarlyTranscript, Hearing, Transcript
from voicepipe.hearing.endpointing import EndpointRequests
from voicepipe.hearing.stt import Recogniser
from voicepipe.vendors.pocketsphinx.utterances import BLOCK_S, START_BLOCKS, Endpoint, UtteranceDetector

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from voicepipe.core.call_settings import CallSettings
    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.core.context import AnySession
    from voicepipe.flow import SpeechEnded, SpeechStarted
    from voicepipe.vendors.pocketsphinx.grammar import Grammar

__all__ = ["PocketsphinxRecogniser"]

# Kept before the first block of speech, so that a soft first sound is not lost.
_PRE_ROLL_S: Final = 0.3
_STRICT: Final = 3  # the mode of the detector that is least sensitive; the others do not stop in noise


class PocketsphinxRecogniser(Recogniser):
    """Recognises the phrases of a grammar, in English, on this machine.

    It is for closed domains: speech outside the grammar is not rejected but forced into it, and only English is known.
    Of the digits that a person says it gets 13 % wrong where the grammar has their number, and 54 % where it allows any
    number (`python -m benchmarks people`); hums and coughs become phrases, too.

    `SpeechStarted` and `SpeechEnded` come as a pair for each stretch of speech, so also around a pause within a
    sentence. One `Transcript` follows the last pair of a turn, `silence_s` after the speech; none does when nothing was
    understood. A turn ends after 30 s in any case, and at a hang-up.

    Needs the extra `local`, which has pocketsphinx for Python 3.11 to 3.13.

    Args:
        grammar: The phrases, as JSGF text in lower case. Rules may recur only at their end.
        silence_s: From the last speech sample to the end of the turn, at least 0.12. Most of the latency of a local
            agent; shorter ones cut off people who pause.
        dither: Standard deviation of the noise added before detector and decoder, in units of a 16-bit sample. 30 is
            as quiet as a good room and halves the errors in audio without any noise; 0 adds none.

    Raises:
        ConfigurationError: A number is out of range; when opened: the grammar is wrong, or has words without a
            pronunciation.
        MissingExtra: When opened: pocketsphinx or numpy is not installed.
    """

    sample_rate = 16_000
    is_closed = True
    reports_speech = True

    _worker: WorkerThread
    _loaded: Grammar
    _ear: _Ear
    _endpoints: EndpointRequests | None = None

    def __init__(self, grammar: str, *, silence_s: float = 0.28, dither: float = 30.0) -> None:
        if not dither >= 0:
            raise ConfigurationError(f"dither must not be negative, but it is {dither:g}; 30 is usual, 0 adds no noise")
        UtteranceDetector(silence_s)  # raises when silence_s is too short
        self.grammar = grammar
        self.silence_s = silence_s
        self.dither = dither

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Load and check the grammar, and run the thread that decodes for all calls."""
        async with WorkerThread("voicepipe-pocketsphinx") as self._worker:
            self._loaded = await self._worker.run(_load, self.grammar)
            yield

    def adapt(self, settings: CallSettings) -> None:
        """Refuse key terms, as the grammar has all words, and another language than English."""
        settings.refuse(self.name, "key_terms")
        if settings.language_code not in ("", "en"):
            raise ConfigurationError(f"{self.name} knows English only, not {settings.language!r}")

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Make the call's own decoder and detector."""
        del session
        self._ear = await self._worker.run(_Ear, self._loaded, self.dither)
        self._endpoints = EndpointRequests()
        yield

    async def recognise(self, inbox: Inbox[AudioFrame], outbox: Outbox[Hearing], session: AnySession) -> None:
        """Turn audio into what was heard. See `Recogniser.recognise`."""
        del session
        assert self._endpoints is not None  # noqa: S101 - `attach` comes first
        ear, blocks = self._ear, _Blocks(self.sample_rate)
        detector = UtteranceDetector(self.silence_s)
        undecoded: deque[bytes] = deque()
        kept = round(_PRE_ROLL_S / BLOCK_S) + START_BLOCKS - 1  # with the speech that is not sure to be speech yet
        text = ""

        async def finish(endpoint: Endpoint) -> None:
            nonlocal text
            endpoint_s = anyio.current_time()
            said = await self._worker.run(ear.finish, undecoded)
            undecoded.clear()
            text = ""
            if said:
                await outbox.send(Transcript(said, endpoint.speech_ended_s, endpoint_s))

        async def happened(events: list[SpeechStarted | SpeechEnded | Endpoint]) -> None:
            for event in events:
                await (finish(event) if isinstance(event, Endpoint) else outbox.send(event))

        while True:
            try:
                frame = await self._endpoints.next(inbox)
            except anyio.EndOfStream:
                break
            if frame is None:
                await happened(detector.hang_up(blocks.end_s))
                continue
            for start_s, clean in blocks.feed(frame):
                block = ear.with_noise(clean)
                undecoded.append(block)
                await happened(detector.feed(start_s, is_speech=ear.is_speech(block)))
                if not detector.in_utterance:
                    while len(undecoded) > kept:
                        undecoded.popleft()
                    continue
                said = await self._worker.run(ear.decode, undecoded)
                undecoded.clear()
                if said and said != text:
                    text = said
                    await outbox.send(EarlyTranscript(text))
        await happened(detector.hang_up(blocks.end_s))

    def force_endpoint(self) -> None:
        """End the caller's turn with the audio so far, if there is speech in it. Never waits."""
        if self._endpoints is not None:
            self._endpoints.ask()

    def __repr__(self) -> str:
        """Show the settings; the grammar is long."""
        return f"<{self.name} silence_s={self.silence_s:g} dither={self.dither:g}>"


class _Blocks:
    """Frames of any length, cut into the detector's blocks."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._size_bytes = 2 * round(BLOCK_S * sample_rate)
        self._rest = b""
        self.end_s = 0.0

    def feed(self, frame: AudioFrame) -> Iterator[tuple[float, bytes]]:
        """Yield the blocks that are complete, with the time of their first sample."""
        if frame.sample_rate != self._rate or len(frame.pcm) % 2:
            raise AudioError(
                f"expected 16-bit audio at {self._rate} Hz, found {len(frame.pcm)} bytes at {frame.sample_rate} Hz; "
                "resample before the recogniser"
            )
        pcm = self._rest + frame.pcm
        # From the newest frame, not counted up: audio may have been dropped before it.
        self.end_s = frame.start_s + frame.duration_s
        start_s = self.end_s - len(pcm) / 2 / self._rate
        whole = len(pcm) - len(pcm) % self._size_bytes
        self._rest = pcm[whole:]
        for offset in range(0, whole, self._size_bytes):
            yield start_s + offset / 2 / self._rate, pcm[offset : offset + self._size_bytes]


class _Ear:
    """One call's detector and decoder."""

    def __init__(self, grammar: Grammar, dither: float) -> None:
        import numpy as np  # noqa: PLC0415 - optional packages, which `_load` has found
        import pocketsphinx  # noqa: PLC0415

        self._decoder: Any = grammar.decoder()
        self._is_decoding = False
        self.is_speech: Callable[[bytes], bool] = cast("Any", pocketsphinx).Vad(_STRICT, 16_000, BLOCK_S).is_speech
        self._numpy = np
        self._noise = np.random.default_rng(0)  # the same noise in each call, so that a recording repeats itself
        self._dither = dither

    def with_noise(self, block: bytes) -> bytes:
        """Return the block with the dither added: microseconds, so it may run on the event loop."""
        if not self._dither:
            return block
        samples = self._numpy.frombuffer(block, "<i2") + self._noise.normal(0.0, self._dither, len(block) // 2)
        return bytes(samples.clip(-32_768, 32_767).astype("<i2").tobytes())

    def decode(self, blocks: deque[bytes]) -> str:
        """Decode audio of the present utterance and return the words so far. Runs on the worker."""
        if not self._is_decoding:
            self._decoder.start_utt()
            self._is_decoding = True
        for block in blocks:
            self._decoder.process_raw(block, False, False)
        return self._said()

    def finish(self, blocks: deque[bytes]) -> str:
        """Decode the utterance's last audio and return its words. Runs on the worker."""
        self.decode(blocks)
        self._decoder.end_utt()
        self._is_decoding = False
        return self._said()

    def _said(self) -> str:
        hypothesis = self._decoder.hyp()
        return hypothesis.hypstr.strip() if hypothesis is not None else ""


def _load(jsgf: str) -> Grammar:
    """Import what the recogniser needs, and load its grammar."""
    try:
        import numpy as np  # noqa: PLC0415 - an optional package

        from voicepipe.vendors.pocketsphinx.grammar import load_grammar  # noqa: PLC0415 - imports pocketsphinx
    except ImportError as error:
        package = (error.name or "pocketsphinx").partition(".")[0]
        detail = "it exists for Python 3.11 to 3.13" if sys.version_info >= (3, 14) else ""
        raise MissingExtra("PocketsphinxRecogniser", package, "local", detail=detail) from error
    del np
    return load_grammar(jsgf)
