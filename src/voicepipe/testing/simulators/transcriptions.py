"""OpenAI's `/v1/audio/transcriptions` on loopback, with a script in place of a model.

    async with TranscriptionSimulator(["Hello.", Transcribed("Thank you.", no_speech=0.9)]).serve() as base_url: ...
    async with TranscriptionSimulator(lambda pcm, rate: words_in(pcm)).serve() as base_url: ...

Rule 1: it refuses what the service refuses, and `forms` keeps what a client sent.

Source, read 2026-11-30: OpenAI's API reference ("Create transcription"), its Python client 3.57, and its error messages
as users report them: audio of less than 0.1 s, and models that write no `verbose_json`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from email import message_from_bytes
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import anyio

from voicepipe.audio.wav import parse_wav
from voicepipe.errors import AudioError
from voicepipe.testing import _completions as wire
from voicepipe.testing._completions import Refused
from voicepipe.testing.gateway import ScriptedGateway, _Connection
from voicepipe.testing.script import Refuses

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anyio.abc import SocketStream

    from voicepipe.testing._record import RecordedRequest

__all__ = ["Form", "Transcribed", "TranscriptionSimulator"]

PATH: Final = "/v1/audio/transcriptions"
SHORTEST_S: Final = 0.1
ENDINGS: Final = ("flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "ogg", "wav", "webm")
FORMATS: Final = {
    "whisper-1": ("json", "text", "verbose_json"),
    "gpt-4o-transcribe": ("json", "text"),
    "gpt-4o-mini-transcribe": ("json", "text"),
}
FIELDS: Final = {"file", "model", "language", "prompt", "response_format", "temperature"}


@dataclass(frozen=True, slots=True)
class Transcribed:
    """An answer of the service.

    Attributes:
        text: The words.
        after_s: Seconds from the request to the answer.
        no_speech: What Whisper says about how probable it is that there is no speech.
    """

    text: str
    after_s: float = 0.0
    no_speech: float = 0.02


Answer: TypeAlias = "str | Transcribed | Refuses"


@dataclass(frozen=True, slots=True)
class Form:
    """What a client sent.

    Attributes:
        fields: The fields of the form but the file.
        pcm: The samples of the file.
        sample_rate: Samples per second.
    """

    fields: dict[str, str]
    pcm: bytes
    sample_rate: int


class TranscriptionSimulator(ScriptedGateway):
    """A server of `/v1/audio/transcriptions` that answers from a script. It reads WAV files alone.

    Args:
        answers: In order; or a function of samples and sample rate.
        options: The other arguments of `ScriptedGateway`: the key, the address.

    Attributes:
        forms: What clients sent, in the order of arrival.
    """

    def __init__(
        self,
        answers: Sequence[Answer] | Callable[[bytes, int], Answer],
        **options: Any,  # noqa: ANN401 - `ScriptedGateway` declares them
    ) -> None:
        super().__init__([], **options)
        self._answers = answers
        self.forms: list[Form] = []

    def _heard(self, form: Form) -> Transcribed | Refuses:
        self.forms.append(form)
        if callable(self._answers):
            answer = self._answers(form.pcm, form.sample_rate)
        elif len(self.forms) <= len(self._answers):
            answer = self._answers[len(self.forms) - 1]
        else:
            self._failures.append(AssertionError(f"asked {len(self.forms)} times, scripted {len(self._answers)}"))
            raise Refused(500, "the script has no further answer")
        return Transcribed(answer) if isinstance(answer, str) else answer

    async def _converse(self, stream: SocketStream) -> None:
        self._connections += 1
        try:
            with suppress(anyio.BrokenResourceError):  # the client has disconnected
                await _TranscriptionConnection(self, stream, self._connections).run()
        finally:
            with anyio.CancelScope(shield=True):
                await stream.aclose()


class _TranscriptionConnection(_Connection):
    def __init__(self, simulator: TranscriptionSimulator, stream: SocketStream, number: int) -> None:
        super().__init__(simulator, stream, number)
        self._simulator = simulator

    async def _reply(self, request: RecordedRequest, body: bytes | None) -> None:
        if request.path.partition("?")[0] != PATH:
            await super()._reply(request, body)
            return
        try:
            form = self._form(request, body)
            answer = self._simulator._heard(form)
            await anyio.sleep_until(request.received_s + answer.after_s)
            if isinstance(answer, Refuses):
                raise wire.refusal(answer)
            await self._respond(request, *wire.response(200, _answer(form, answer)))
        except Refused as refused:
            await self._refuse(request, refused)

    def _form(self, request: RecordedRequest, body: bytes | None) -> Form:
        if request.method != "POST":
            raise Refused(405, f"{PATH} takes POST, not {request.method}", allow="POST")
        if not request._has_key:
            raise Refused(401, "Incorrect API key provided; send it as `Authorization: Bearer <key>`")
        if body is None:
            raise Refused(413, "Maximum content size limit exceeded")
        kind = request.headers.get("content-type", "")
        if not kind.startswith("multipart/form-data"):
            raise Refused(415, f"Unsupported content type: {kind!r}; send multipart/form-data")
        parts: dict[str, tuple[str, bytes]] = {}
        message = message_from_bytes(f"content-type: {kind}\r\n\r\n".encode() + body)
        for part in message.get_payload() if message.is_multipart() else ():
            name = part.get_param("name", header="content-disposition")  # type: ignore[union-attr]
            parts[str(name)] = part.get_filename() or "", part.get_payload(decode=True)  # type: ignore[union-attr, assignment]
        return _checked(parts)


def _checked(parts: dict[str, tuple[str, bytes]]) -> Form:
    """Return the form.

    Raises:
        Refused: The service would refuse it.
    """
    fields = {name: value.decode() for name, (_, value) in parts.items() if name != "file"}
    for name in ("file", "model"):
        if name not in parts:
            raise Refused(400, f"you must provide a {name} parameter", param=name)
    if unknown := sorted(parts.keys() - FIELDS):
        raise Refused(400, f"Unrecognized request argument supplied: {unknown[0]}", param=unknown[0])
    if (formats := FORMATS.get(model := fields["model"])) is None:
        raise Refused(404, f"The model `{model}` does not exist or you do not have access to it.", param="model")
    if (wanted := fields.get("response_format", "json")) not in formats:
        text = f"response_format '{wanted}' is not compatible with model '{model}'. Use {' or '.join(formats)} instead."
        raise Refused(400, text, param="response_format")
    if not 0 <= float(fields.get("temperature", "0")) <= 1:
        raise Refused(400, "temperature must be 0 to 1", param="temperature")
    if len(language := fields.get("language", "en")) not in (2, 3):
        raise Refused(400, f"Invalid language '{language}'. Language parameter must be specified in ISO-639-1 format.")
    name, file = parts["file"]
    if name.rpartition(".")[2] not in ENDINGS:
        raise Refused(400, f"Unrecognized file format. Supported formats: {list(ENDINGS)}", param="file")
    try:
        pcm, rate = parse_wav(file)
    except AudioError as error:
        raise Refused(400, "Audio file might be corrupted or unsupported", param="file") from error
    if len(pcm) / 2 / rate < SHORTEST_S:
        raise Refused(400, "Audio file is too short. Minimum audio length is 0.1 seconds.", param="file")
    return Form(fields, pcm, rate)


def _answer(form: Form, answer: Transcribed) -> dict[str, Any]:
    if form.fields.get("response_format", "json") != "verbose_json":
        return {"text": answer.text}
    seconds = round(len(form.pcm) / 2 / form.sample_rate, 2)
    segment = {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": seconds,
        "text": f" {answer.text}",
        "tokens": [50364],
        "temperature": 0.0,
        "avg_logprob": -0.3,
        "compression_ratio": 1.0,
        "no_speech_prob": answer.no_speech,
    }
    language = form.fields.get("language", "english")
    return {
        "task": "transcribe",
        "language": language,
        "duration": seconds,
        "text": answer.text,
        "segments": [segment] if answer.text else [],
    }
