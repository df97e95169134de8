"""The rules of Cartesia's text-to-speech websocket: one context for each sentence. Pure.

Rule 1: a sentence is one message that says that no more follows, so the service neither waits for more nor keeps the
        context; `done` is its end.
Rule 2: a cancelled context is forgotten at once. The service may still send its audio, and count it, until it is
        complete, so a sentence that is refused for too many at once is asked for again.
Rule 3: no message keeps a socket open, so an idle one is replaced before the service's five minutes are over.

Source, read 2026-11-30: the service's reference of version 2026-03-01, its pages on contexts, errors and limits, its
Python SDK 4.2.0, and the plugins of LiveKit and Pipecat. Never tried live.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from voicepipe.errors import VendorError
from voicepipe.vendors.cartesia.refusals import VENDOR, refusal
from voicepipe.vendors.line.context_protocol import Context, ContextProtocol, Message
from voicepipe.vendors.line.json_values import number, required
from voicepipe.vendors.line.speech_text import TimedWord
from voicepipe.vendors.loose_json import as_object

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from voicepipe.errors import VoicepipeError

__all__ = ["CartesiaProtocol"]


class CartesiaProtocol(ContextProtocol):
    """One session with the service.

    Args:
        now: When the connection was made.
        sample_rate: Samples per second that are requested.
        clean: Makes what the service said fit to be shown.
        settings: What each message holds besides the text: model, voice, format.
    """

    most_contexts: ClassVar[int] = 2  # as many as the smallest plan allows
    idle_s: ClassVar[float] = 240.0

    def __init__(
        self, now: float, *, sample_rate: int, clean: Callable[[str], str], settings: Mapping[str, object]
    ) -> None:
        super().__init__(now, vendor=VENDOR, sample_rate=sample_rate, clean=clean)
        self._settings = dict(settings)

    def _beginning(self, context: Context) -> list[Message]:
        return [
            {**self._settings, "context_id": context.id, "transcript": context.request.text, "continue": False},
        ]

    def _dropped(self, context: Context, now: float) -> None:
        self._out.append({"context_id": context.id, "cancel": True})
        self._forget(context, now)

    def _take(self, message: Message, now: float) -> bool:
        context = self._context(message.get("context_id"), now)
        kind = message.get("type")
        if kind == "error":
            self._take_refusal(message, context, now)
            return True
        if context is None:
            return False
        if kind == "chunk":
            self._add_audio(context, message["data"], now)
        elif kind == "timestamps":
            timed = as_object(message.get("word_timestamps"))
            ends = [required(end_s) for end_s in timed["end"]]
            context.request.words += [
                TimedWord(str(word), end_s) for word, end_s in zip(timed["words"], ends, strict=True)
            ]
        elif kind == "done":
            self._finish(context, now)
            return True
        return False

    def _take_refusal(self, message: Message, context: Context | None, now: float) -> None:
        said = ": ".join(str(message[name]) for name in ("title", "message") if message.get(name))
        kind = self._clean(str(message.get("error_code") or ""))
        error = refusal(int(number(message.get("status_code")) or 500), self._clean(said), kind=kind)
        if context is not None:
            self._fail(context, error, now)
        elif message.get("context_id") is None:
            self.error = error

    def closed(self, code: int, reason: str) -> VoicepipeError:
        """Return the error of a closed connection; an error that the service sent before says more."""
        said = self._clean(reason) or "no reason given"
        return self.error or VendorError(
            f"{VENDOR} text-to-speech closed the connection with code {code}: {said}; it may work again immediately",
            vendor=VENDOR,
            retryable=True,
        )
