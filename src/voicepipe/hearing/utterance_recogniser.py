"""The base class of recognisers that read whole utterances, which a detector on this machine cuts out.

Rule 1: what cuts never waits for what reads: speech is reported as soon as it is noticed, whatever is being read.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, cast

import anyio

from voicepipe.core.defaults import Default
from voicepipe.core.part import at_once
from voicepipe.errors import AudioError, ConfigurationError
from voicepipe.hearing.detecting import Detecting
from voicepipe.hearing.detector import Detector, check_detector
from voicepipe.hearing.endpointing import EndpointRequests
from voicepipe.hearing.readings import Readings
from voicepipe.hearing.recogniser import Recogniser
from voicepipe.hearing.utterances import Endpoint, UtteranceCutter, check_silence
from voicepipe.turntaking.patience import FACTORS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.core.context import AnySession
    from voicepipe.flow import AudioFrame, Hearing, SpeechEnded, SpeechStarted
    from voicepipe.hearing.utterances import Utterance
    from voicepipe.turntaking.rules import Eagerness

__all__ = ["UtteranceRecogniser", "default_detector"]

SILENCE_S: Final = 0.5
"""The silence that ends a turn: of the pauses within a sentence, most are shorter."""

EXPECTING_S: Final = 1.2
"""The same while something is expected that is said in several breaths, such as a number."""

SLOWER: Final = 0.1
"""Early words come the less often, the longer the utterance is, because all of it is read each time."""


class UtteranceRecogniser(Recogniser):
    """Base class of recognisers of whole utterances; a vendor implements `transcribe`.

    A detector on this machine notices speech, and cuts the audio where the caller is silent for `silence_s`. What was
    said is read as soon as the caller pauses, for 0.2 s: if nothing follows, these are the final words, and the silence
    hides the time that reading takes. If something follows, they are an early transcript, and all is read again at the
    next pause. A turn of more than 20 s ends at the next pause, and one of 28 s in any case.

    Final words that come more than a second after the end of a turn are reported (`RecogniserBehind`).

    Args:
        detector: What notices speech; `EarshotDetector()` by default. It needs the extra `detector`.
        silence_s: From the last sound to the end of a turn, at least 0.2. By default 0.5, or 1.2 while `Session.expect`
            expects something, and times 1.5 or 0.6 where `TurnRules(eagerness=...)` is "low" or "high".
        early_every_s: While the caller speaks, so much new audio is read for early transcripts; None reads none before
            the first pause.

    Raises:
        ConfigurationError: A value is out of range.
    """

    reports_speech = True

    _requests: EndpointRequests | None = None
    _cutter: UtteranceCutter | None = None

    def __init__(
        self, *, detector: Detector | None = None, silence_s: float | None = None, early_every_s: float | None = None
    ) -> None:
        self.detector: Detector = default_detector() if detector is None else detector
        if not isinstance(cast("object", self.detector), Detector):
            raise ConfigurationError(
                f"{self.name}: detector must be a Detector such as EarshotDetector(), not {detector!r}"
            )
        check_detector(self.detector)
        if silence_s is not None:
            check_silence(silence_s)
        if early_every_s is not None and not early_every_s >= 0.1:
            raise ConfigurationError(
                f"{self.name}: early_every_s must be at least 0.1, or None for no early words while the caller speaks, "
                f"not {early_every_s:g}"
            )
        self.silence_s = silence_s
        self.early_every_s = early_every_s
        self._usual_silence_s = SILENCE_S if silence_s is None else silence_s

    @abstractmethod
    async def transcribe(self, utterance: Utterance) -> str:
        """Return the words of an utterance as one line; "" if there are none.

        Called for one utterance of a call at a time. Cancelled when nobody needs the words any more, because the
        caller has said more or has hung up.

        Raises:
            VendorError: They cannot be had. That ends the session if the utterance ends a turn.
        """

    @at_once
    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Begin with nothing said."""
        del session
        self._requests = EndpointRequests()
        self._cutter = UtteranceCutter(self.sample_rate, self._usual_silence_s)
        yield

    async def recognise(self, inbox: Inbox[AudioFrame], outbox: Outbox[Hearing], session: AnySession) -> None:
        """Turn audio into what was heard. See `Recogniser.recognise`."""
        readings = Readings(self.transcribe, outbox, session)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(readings.run, name=f"voicepipe {self.name} readings")
            await self._listen(inbox, outbox, readings)
            readings.close()

    async def _listen(self, inbox: Inbox[AudioFrame], outbox: Outbox[Hearing], readings: Readings) -> None:
        requests, cutter = self._requests, self._cutter
        assert requests is not None and cutter is not None  # noqa: S101, PT018 - `attach` comes first
        detecting = Detecting(self.detector, self.sample_rate)

        async def happened(cuts: Iterable[SpeechStarted | SpeechEnded | Endpoint]) -> None:
            for cut in cuts:
                if isinstance(cut, Endpoint):
                    await readings.end(cut)
                else:
                    await outbox.send(cut)

        read_s = 0.0  # of the present utterance
        while True:
            try:
                frame = await requests.next(inbox)
            except anyio.EndOfStream:
                break
            if frame is None:
                detecting.hang_up()
                await happened(cutter.hang_up(detecting.take()))
                continue
            self._check(frame)
            detecting.feed(frame)
            detecting.check()
            was_speaking = cutter.is_speaking
            await happened(cutter.feed(frame, detecting.take()))
            if not cutter.in_utterance:
                read_s = 0.0
            elif was_speaking and not cutter.is_speaking:
                readings.look(cutter.utterance())
                read_s = cutter.length_s
            elif cutter.is_speaking:
                if not was_speaking:
                    readings.goes_on()
                if self._is_due(cutter.length_s, read_s) and not readings.is_busy:
                    readings.look(cutter.utterance())
                    read_s = cutter.length_s
        detecting.hang_up()
        await happened(cutter.hang_up(detecting.take()))

    def _is_due(self, length_s: float, read_s: float) -> bool:
        """Return whether enough was said since the last reading to read it for early words."""
        return self.early_every_s is not None and length_s >= read_s * (1 + SLOWER) + self.early_every_s

    def _check(self, frame: AudioFrame) -> None:
        if frame.sample_rate != self.sample_rate or len(frame.pcm) % 2:
            raise AudioError(
                f"expected 16-bit audio at {self.sample_rate} Hz, found {len(frame.pcm)} bytes at {frame.sample_rate} "
                "Hz; resample before the recogniser"
            )

    def force_endpoint(self) -> None:
        """End the caller's turn with the audio so far, if there is speech in it. Never waits."""
        if self._requests is not None:
            self._requests.ask()

    def set_pace(self, eagerness: Eagerness, *, is_expecting: bool) -> None:
        """Wait longer while something is expected, and by `TurnRules.eagerness`; a silence of the application's stays.

        See `Recogniser.set_pace`.
        """
        if self.silence_s is None:
            self._usual_silence_s = (EXPECTING_S if is_expecting else SILENCE_S) * FACTORS[eagerness]
            if self._cutter is not None:
                self._cutter.silence_s = self._usual_silence_s


default_detector = Default[Detector]("detector")
"""Creates the detector of a recogniser of whole utterances that the application gave none."""
