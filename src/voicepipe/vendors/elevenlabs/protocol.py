"""The rules of ElevenLabs' multi-context websocket (`multi-stream-input`): one context for each sentence. Pure.

Rule 1: a context is opened, given its text with `flush`, and closed at once. Only a closed context reports its end
        (`isFinal`), and closing one that was flushed lets it finish.
Rule 2: a barge-in cannot stop a context that was flushed. The request is dropped here at once, its late audio is thrown
        away, and its context counts until the service ends it: the audio of a sentence is made in a fraction of the
        time that it takes to play.
Rule 3: messages only name contexts that were opened, because any other name would open one.

Source, read 2026-11-30: the service's reference and guide of the multi-context websocket, its Python SDK 2.78.0, and
the plugins of LiveKit and Pipecat. Never tried live.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from voicepipe.vendors.elevenlabs.alignment import Alignment
from voicepipe.vendors.elevenlabs.refusals import VENDOR, refusal
from voicepipe.vendors.line.context_protocol import Context, ContextProtocol, Message
from voicepipe.vendors.line.json_values import number
from voicepipe.vendors.loose_json import as_object

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from voicepipe.errors import VoicepipeError

__all__ = ["INACTIVITY_S", "ElevenLabsProtocol"]

INACTIVITY_S: Final = 180
"""How long the service is asked to keep a socket without a message: as long as it may be."""


class ElevenLabsProtocol(ContextProtocol):
    """One session with the service.

    Args:
        now: When the connection was made.
        sample_rate: Samples per second that were requested.
        clean: Makes what the service said fit to be shown.
        voice_settings: Sent as each context is opened.
    """

    most_contexts: ClassVar[int] = 4  # the service allows five, and closes the socket for the sixth
    idle_s: ClassVar[float] = 0.75 * INACTIVITY_S

    def __init__(
        self, now: float, *, sample_rate: int, clean: Callable[[str], str], voice_settings: Mapping[str, float | bool]
    ) -> None:
        super().__init__(now, vendor=VENDOR, sample_rate=sample_rate, clean=clean)
        self._voice_settings = dict(voice_settings)
        self._alignments: dict[str, Alignment] = {}
        self._refused: VoicepipeError | None = None  # of a context; it says more than the close after it

    def _beginning(self, context: Context) -> list[Message]:
        self._alignments[context.id] = Alignment()
        opening: Message = {"text": " ", "context_id": context.id}
        if self._voice_settings:
            opening["voice_settings"] = self._voice_settings
        return [
            opening,
            {"text": f"{context.request.text} ", "context_id": context.id, "flush": True},
            {"context_id": context.id, "close_context": True},
        ]

    def _forget(self, context: Context, now: float) -> None:
        super()._forget(context, now)
        self._alignments.pop(context.id, None)

    def _dropped(self, context: Context, now: float) -> None:
        """Do nothing; see Rule 2."""

    def _take(self, message: Message, now: float) -> bool:
        context = self._context(message.get("contextId") or message.get("context_id"), now)
        if message.get("error") or "code" in message:
            self._take_refusal(message, context, now)
            return True
        if context is None:
            return False
        before_s = context.request.came_bytes / 2 / self._sample_rate
        if audio := message.get("audio"):
            self._add_audio(context, audio, now)
        aligned = self._alignments[context.id]
        if alignment := as_object(message.get("alignment") or message.get("normalizedAlignment")):
            context.request.words += aligned.feed(alignment, before_s)
        if message.get("isFinal") or message.get("is_final"):
            context.request.words += aligned.finish()
            self._refused = None
            self._finish(context, now)
            return True
        return False

    def _take_refusal(self, message: Message, context: Context | None, now: float) -> None:
        said = self._clean(str(message.get("message") or ""))
        self._refused = refusal(
            said, kind=self._clean(str(message.get("error") or "")), code=int(number(message.get("code")) or 1008)
        )
        if context is None:
            self.error = self._refused
        else:
            self._fail(context, self._refused, now)

    def closed(self, code: int, reason: str) -> VoicepipeError:
        """Return the error of a closed connection; an error that the service sent before says more."""
        return self.error or self._refused or refusal(self._clean(reason), code=code)
