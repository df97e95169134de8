"""Recognition by any OpenAI-compatible `/audio/transcriptions`, in the cloud or on this machine.

Rule 1: one utterance, one request: a WAV file in a form. It is sent again if that may help and there is time.
Rule 2: an answer without text is an error, and an empty text is none.
"""

from __future__ import annotations

import io
import json
import wave
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import anyio

from voicepipe.errors import ConfigurationError
from voicepipe.hearing.plausible import Heard, plausible
from voicepipe.hearing.utterance_recogniser import UtteranceRecogniser
from voicepipe.http.address import host_of
from voicepipe.http.client import HTTPClient
from voicepipe.http.form import form
from voicepipe.http.network import Network
from voicepipe.http.refusals import excerpt, failure
from voicepipe.vendors.credentials import Credentials, authorization, without_key
from voicepipe.vendors.extras import Extras
from voicepipe.vendors.openai.retry import persist
from voicepipe.vendors.openai.services import known_service

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from pydantic import SecretStr

    from voicepipe.core.call_settings import CallSettings
    from voicepipe.errors import VendorError
    from voicepipe.hearing.detector import Detector
    from voicepipe.hearing.utterances import Utterance

__all__ = ["OpenAIRecogniser"]

OPENAI_URL: Final = "https://api.openai.com/v1"

PATH: Final = "/audio/transcriptions"

ANSWER_S: Final = 6.0
"""How long a service may take to answer."""

AGAIN_S: Final = 4.0
"""No further try begins later than this after the first one: the caller waits."""

REST_S: Final = 2.0
"""How long the rest of an answer may take after its head."""

ANSWER_BYTES: Final = 1 << 18
"""The longest answer: that of 28 s of speech with all its segments has some kilobytes."""


class OpenAIRecogniser(UtteranceRecogniser):
    """Recognition by OpenAI's transcription endpoint, or by one of the many servers that have the same.

    OpenAIRecogniser(language="en")                                                   # the key is in OPENAI_API_KEY
    OpenAIRecogniser(base_url="http://127.0.0.1:8000/v1", model="Systran/faster-whisper-small")

    A detector on this machine cuts what the caller says, and each utterance is sent as a WAV file when the caller
    pauses, and once more if the caller goes on. See `UtteranceRecogniser`. A request that fails is sent again up to two
    times, if the error says that this may help; a service may take 6 s to answer.

    Of models that are called Whisper it asks how probable it is that there is no speech, and leaves out what they make
    up from noise and music. Never tried live: checked against the openai client 3.57 and a simulator.

    Args:
        base_url: The service's URL, without `/audio/transcriptions`.
        model: The model's id, any string the service knows.
        language: An ISO 639 code such as "de"; None leaves it to the service, which is slower and less exact.
        key_terms: Words to expect, such as names; they become part of the prompt.
        prompt: Text in the style and with the words that are wanted.
        detector: What notices speech; `EarshotDetector()` by default.
        silence_s: From the last sound to the end of a turn.
        early_every_s: How much new speech is sent for early transcripts while the caller speaks. None sends nothing
            before the first pause, because each of these requests is paid for.
        api_key: The key. Over plain http it is sent only to this machine.
        api_key_env: Name of the environment variable that holds the key, read when the pipeline is opened. Without it
            and `api_key`, a known service's key is read from its usual variable, as OpenAI's from OPENAI_API_KEY; that
            key is sent to no other host.
        headers: Further headers of each request. See `LLMStreamStage`.
        params: Query parameters of each request.
        proxy: As for `OpenAITTS`.

    Raises:
        ConfigurationError: A value is invalid; raised here or when the pipeline is opened.
        AuthenticationError: The environment variable holds no key; raised when the pipeline is opened.
        MissingExtra: earshot is not installed (extra `detector`); raised when the pipeline is opened.

    Source: OpenAI's API reference, "Create transcription", read 2026-11-30.
    """

    def __init__(
        self,
        *,
        base_url: str = OPENAI_URL,
        model: str = "gpt-4o-mini-transcribe",
        language: str | None = None,
        key_terms: Sequence[str] = (),
        prompt: str = "",
        detector: Detector | None = None,
        silence_s: float | None = None,
        early_every_s: float | None = None,
        api_key: str | SecretStr | None = None,
        api_key_env: str | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        proxy: str | SecretStr | None = None,
    ) -> None:
        super().__init__(detector=detector, silence_s=silence_s, early_every_s=early_every_s)
        if not model.strip():
            raise ConfigurationError(f"{self.name}: model must name a model of the service, not be {model!r}")
        if isinstance(cast("object", key_terms), str):
            raise ConfigurationError(f'{self.name}: key_terms must be a list of words, e.g. ["Müller"], not a text')
        host = host_of(base_url, PATH)
        self._service = known_service(host)
        self._extras = Extras(self.name, base_url, host, headers, params)
        self._network = Network(self.name, base_url, proxy)
        self._credentials = Credentials(
            self.name,
            base_url,
            host,
            api_key=api_key,
            api_key_env=api_key_env,
            usual_env=self._service.key_env,
            own_header=self._service.header if self._extras.carries(self._service.header) else "",
        )
        self.base_url = base_url
        self.model = model
        self.language = language
        self.key_terms = tuple(key_terms)
        self.prompt = prompt
        self._http: HTTPClient

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Keep one pool of warm connections for all sessions."""
        key = self._credentials.read()
        service, extras = self._service, self._extras
        self._http = HTTPClient(
            self.base_url,
            {**authorization(key, service.scheme, service.header), **extras.headers},
            hide=lambda text: extras.hidden(without_key(text, key)),
            params=extras.params,
            network=self._network,
        )
        async with self._http.open(warms=True):
            yield

    def adapt(self, settings: CallSettings) -> None:
        """Recognise the language of the call, and expect its key terms in place of the pipeline's."""
        if settings.language is not None:
            self.language = settings.language_code
        if settings.key_terms is not None:
            self.key_terms = tuple(settings.key_terms)

    async def transcribe(self, utterance: Utterance) -> str:
        """Return the words. See `UtteranceRecogniser.transcribe`. Cancelling closes the request.

        Raises:
            VendorError: The service refused, is silent, or sent something that is not a transcription.
        """
        ask = partial(self._answer, *self._form(utterance))
        answer = await (ask() if utterance.is_early else persist(ask, AGAIN_S, _sent_again))
        return self._words(answer, utterance.speech_s)

    def _form(self, utterance: Utterance) -> tuple[bytes, str]:
        file = io.BytesIO()
        with wave.open(file, "wb") as wav:
            wav.setnchannels(1)
            wav.setsampwidth(2)
            wav.setframerate(utterance.sample_rate)
            wav.writeframes(utterance.pcm)
        prompt = " ".join(filter(None, (self.prompt, ", ".join(self.key_terms))))
        fields = {
            "model": self.model,
            "response_format": "verbose_json" if "whisper" in self.model.lower() else "json",
            "temperature": "0",
            **({"language": self.language} if self.language else {}),
            **({"prompt": prompt} if prompt else {}),
        }
        files = {"file": ("speech.wav", file.getvalue(), "audio/wav")}
        return form(fields, files)

    async def _answer(self, body: bytes, content_type: str) -> dict[str, Any]:
        vendor = self._http.vendor
        async with self._http.post(PATH, body, limit_s=ANSWER_S, content_type=content_type) as response:
            if response.status != 200:
                raise await response.refusal()
            words = await response.words(ANSWER_BYTES, until=anyio.current_time() + REST_S)
            if not response.is_whole:
                raise failure(vendor, f"did not end its answer within {REST_S:g} s", retryable=True)
        try:
            answer: object = json.loads(words)
        except (ValueError, RecursionError):
            answer = None
        if isinstance(answer, dict) and isinstance(answer.get("text"), str):
            return cast("dict[str, Any]", answer)
        found = f"{response.content_type or 'something'} without a text ({excerpt(words) or 'empty'})"
        raise failure(vendor, f"answered {found}; does base_url lead to a transcription service?")

    def _words(self, answer: dict[str, Any], speech_s: float) -> str:
        """Return the words that were said; a model that says nothing about noise is believed."""
        heard = Heard(" ".join(answer["text"].split()), 0.0)
        match answer.get("segments"):
            case [{"no_speech_prob": float(no_speech) | int(no_speech)} as segment, *_]:
                # Of several segments all have that of their window, which is one for 30 s.
                sure = segment.get("avg_logprob")
                heard = replace(heard, no_speech=no_speech, log_probability=sure if isinstance(sure, float) else 0.0)
            case _:
                pass
        return plausible(heard, speech_s)

    def __repr__(self) -> str:
        """Show the model and where it is; never the key."""
        return f"<{self.name} {self.model} at {self.base_url}>"


def _sent_again(error: VendorError) -> None:
    """Do nothing: the caller waits, which `RecogniserBehind` reports."""
