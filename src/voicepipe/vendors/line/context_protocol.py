"""The rules of services that speak each text in a context of its own, several of them on one socket. Pure.

Rule 1: one request is one context. A turn's sentences do not share one: `TTSSink` asks for a sentence when the one
        before it begins to play, which is seconds after that one's audio has come, and a service ends a context that
        waits. One sentence can then be withdrawn, repeated and timed alone.
Rule 2: there are never more contexts than the service allows, and those that were withdrawn count until it ends them.
Rule 3: whatever the service owes has a deadline, after which the socket counts as lost.
"""

from __future__ import annotations

import base64
import json
import math
from abc import abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from voicepipe.errors import RateLimited, VendorError
from voicepipe.vendors.line.json_values import parsed
from voicepipe.vendors.line.speech_protocol import SpeechProtocol, sorted_out

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.errors import VoicepipeError
    from voicepipe.vendors.line.speech_protocol import SpeechRequest

__all__ = ["Context", "ContextProtocol", "Message"]

SILENT_S: Final = 2.5
"""How long the oldest context may get no message. Half of what `TTSSink` allows, so that a second socket is in time."""

PAUSE_S: Final = 0.5
"""How long a request waits when the service has too many at once. It counts what it speaks, and not what began in the
last minute, so there is soon room."""

MAX_AUDIO_S: Final = 300.0
"""The longest audio of one request."""

Message: TypeAlias = dict[str, Any]


@dataclass(eq=False, slots=True)
class Context:
    """A request that the service has.

    Attributes:
        id: What its messages are marked with.
        request: The request.
    """

    id: str
    request: SpeechRequest


class ContextProtocol(SpeechProtocol):
    """One session with such a service, which is ready as soon as the connection is.

    Args:
        now: When the connection was made.
        vendor: The service, for messages.
        sample_rate: Samples per second that were requested.
        clean: Makes what the service said fit to be shown.

    Attributes:
        most_contexts: How many contexts a session has at once.
        idle_s: After how long without a request another session takes over; the service would end this one.
    """

    most_contexts: ClassVar[int]
    idle_s: ClassVar[float]

    rate_limit_s = PAUSE_S

    def __init__(self, now: float, *, vendor: str, sample_rate: int, clean: Callable[[str], str]) -> None:
        self.has_begun = True
        self.renew_at = now + self.idle_s
        self._vendor = vendor
        self._sample_rate = sample_rate
        self._clean = clean
        self._waiting: deque[SpeechRequest] = deque()
        self._open: dict[str, Context] = {}  # the oldest first
        self._heard_s = now  # of the oldest context
        self._not_before = -math.inf
        self._out: list[Message] = []
        self._numbers = 0
        self._is_leaving = False

    # --- what a vendor writes -----------------------------------------------------------------------------------------

    @abstractmethod
    def _beginning(self, context: Context) -> list[Message]:
        """Return the messages that have the context's text spoken."""

    @abstractmethod
    def _dropped(self, context: Context, now: float) -> None:
        """Have the service stop a context whose request was withdrawn, as far as it can."""

    @abstractmethod
    def _take(self, message: Message, now: float) -> bool:
        """Process a message, and return whether there may be something to do for the session.

        Raises:
            KeyError, TypeError, ValueError: It is not as documented; it is then skipped.
        """

    # --- what the client sends ----------------------------------------------------------------------------------------

    def ask(self, request: SpeechRequest) -> None:
        """Add a request, after all earlier ones."""
        self._waiting.append(request)

    def drop(self, request: SpeechRequest, now: float) -> None:
        """Withdraw a request. Does nothing when it is done."""
        request.is_dropped = True
        request.audio.clear()
        if request in self._waiting:
            self._waiting.remove(request)
        for context in [one for one in self._open.values() if one.request is request]:
            self._dropped(context, now)

    def leave(self) -> None:
        """End the session once every request is done."""
        self._is_leaving = True

    def lose(self, error: VoicepipeError) -> list[SpeechRequest]:
        """Record that the connection is gone; return the requests to send again elsewhere, in order."""
        self.error = self.error or error
        again = [*sorted_out((one.request for one in self._open.values()), self.error), *self._waiting]
        self._open.clear()
        self._waiting.clear()
        return again

    def frames(self, now: float) -> list[str]:
        """Return what to send now. Call it when something has changed, and at `wake_at`."""
        out, self._out = self._out, []
        while self._ask_at() <= now:
            request = self._waiting.popleft()
            self._numbers += 1
            context = Context(f"{self._numbers}", request)
            if not self._open:
                self._heard_s = now
            self._open[context.id] = context
            request.asked += 1
            out += self._beginning(context)
            self.renew_at = now + self.idle_s
        is_idle = not self._waiting and all(one.request.is_dropped for one in self._open.values())
        self.has_ended = self.has_ended or (self._is_leaving and is_idle)
        return [json.dumps(message, ensure_ascii=False) for message in out]

    def wake_at(self, now: float) -> float:
        """Return when to look again if nothing changes."""
        return math.inf if self.error else min(max(now, self._ask_at()), self._due_at())

    def overdue(self, now: float) -> VendorError | None:
        """Return the error for what the service failed to do in time."""
        if self.error or now < self._due_at():
            return None
        what = f"sent nothing for {SILENT_S:g} s; the connection is given up"
        return VendorError(f"{self._vendor} text-to-speech {what}", vendor=self._vendor, retryable=True)

    def _due_at(self) -> float:
        return self._heard_s + SILENT_S if self._open else math.inf

    def _ask_at(self) -> float:
        """Return when the next request may be sent; infinite while something else must happen first."""
        if self.error or not self._waiting or len(self._open) >= self.most_contexts:
            return math.inf
        return self._not_before

    # --- what the service sends ---------------------------------------------------------------------------------------

    def receive(self, message: str | bytes, now: float) -> bool:
        """Process a message; skip one that is unreadable or unknown.

        Returns:
            Whether there may be something to do for the session: audio concerns only its request.
        """
        try:
            return self._take(parsed(message), now)
        except (KeyError, TypeError, ValueError):
            self.unreadable += 1
            return False

    def _context(self, context_id: object, now: float) -> Context | None:
        """Return the context of a message; None if it is over."""
        context = self._open.get(context_id) if isinstance(context_id, str) else None
        if context is not None and context is next(iter(self._open.values())):
            self._heard_s = now
        return context

    def _add_audio(self, context: Context, encoded: str, now: float) -> None:
        request = context.request
        pcm = base64.b64decode(encoded, validate=True)
        request.came_bytes += len(pcm)
        if request.is_dropped or not pcm:
            return
        if request.came_bytes > MAX_AUDIO_S * 2 * self._sample_rate:
            what = f"sent more than {MAX_AUDIO_S:g} s of audio for one sentence"
            request.error = VendorError(f"{self._vendor} text-to-speech {what}", vendor=self._vendor, retryable=False)
            self.drop(request, now)
            return
        request.audio.append(pcm)

    def _finish(self, context: Context, now: float) -> None:
        """Note that all of a context has come."""
        context.request.has_all_words = context.request.is_done = True
        self._forget(context, now)

    def _fail(self, context: Context, error: VoicepipeError, now: float) -> None:
        """Note that the service refused a context; it is tried once more if that may help."""
        self._forget(context, now)
        for request in sorted_out([context.request], error):
            self._waiting.appendleft(request)
            self._not_before = now + (PAUSE_S if isinstance(error, RateLimited) else 0.0)

    def _forget(self, context: Context, now: float) -> None:
        """Take a context off; the next oldest has all its time from now."""
        if context is next(iter(self._open.values()), None):
            self._heard_s = now
        self._open.pop(context.id, None)
