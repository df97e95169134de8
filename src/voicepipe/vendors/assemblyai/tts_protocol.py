"""The rules of AssemblyAI's text-to-speech socket: what is sent when, and which request incoming audio belongs to.

Rule 1: pure: messages and requests in, frames out, `now` as an argument. No socket, no clock, no await.
Rule 2: requests are answered in order, so a number higher than all before belongs to the oldest request without one,
        whether or not a `Cancel` takes a number too; an unknown lower number belongs to something cancelled.
Rule 3: after a `Cancel`, no request is sent until it is answered.
Rule 4: whatever the service owes (a beginning, audio, an answer) has a deadline, after which the socket counts as lost.

Source: the service's reference and its Python SDK 1.8.2 (`tts/v1`), read 2026-11-22.
"""

from __future__ import annotations

import base64
import json
import math
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from voicepipe.errors import ConfigurationError, VendorError
from voicepipe.http.refusals import excerpt
from voicepipe.vendors.assemblyai.key import VENDOR
from voicepipe.vendors.assemblyai.tts_allowance import Allowance
from voicepipe.vendors.assemblyai.tts_refusals import refusal
from voicepipe.vendors.credentials import without_key
from voicepipe.vendors.line.json_values import number, parsed, positive, required
from voicepipe.vendors.line.speech_protocol import SpeechProtocol, sorted_out
from voicepipe.vendors.line.speech_text import TimedWord
from voicepipe.vendors.loose_json import as_object

if TYPE_CHECKING:
    from pydantic import SecretStr

    from voicepipe.errors import VoicepipeError
    from voicepipe.vendors.line.speech_protocol import SpeechRequest

__all__ = ["TTSProtocol"]

BEGIN_S: Final = 5.0
"""How long the service may take to `Begin`; it checks credentials only then."""

SILENT_S: Final = 2.5
"""How long the oldest request may get no audio. Half of what `TTSSink` allows, so that a second socket is in time;
published medians of the first audio are 0.16 to 0.31 s."""

CANCEL_S: Final = 1.0
"""How long the answer to a `Cancel` may take. The next turn waits for it, but its model takes longer than a round trip,
and a new socket takes less."""

TERMINATE_S: Final = 1.0
"""How long the service may take to `Termination`; only the socket waits for it."""

RENEW_S: Final = 60.0
"""How long before the end of a session it is replaced."""

MAX_IN_FLIGHT: Final = 3
"""Requests that the service has at once: a barge-in would have to drop any more."""

MAX_AUDIO_S: Final = 300.0
"""The longest audio of one request; as much as the service keeps for a client that does not read."""

KEPT_DONE: Final = 4
"""Finished requests that are remembered, since their word times come late."""

# Used when `Begin` does not say.
SESSION_S: Final = 3600.0
INACTIVITY_S: Final = 120.0
GENERATE_CHARACTERS: Final = 2000

# Used when `Begin` says less: five sessions a minute are what a free account has.
LEAST_SESSION_S: Final = 12.0
LEAST_INACTIVITY_S: Final = 5.0

Message: TypeAlias = dict[str, Any]


class TTSProtocol(SpeechProtocol):
    """One session with the service.

    Args:
        now: When the connection was made.
        sample_rate: Samples per second that were requested.
        key: The key, which the service may repeat.
    """

    def __init__(self, now: float, *, sample_rate: int, key: SecretStr) -> None:
        self._sample_rate = sample_rate
        self._key = key
        self._opened_s = now
        self._sent_s = now  # anything, for the inactivity timeout
        self._heard_s = now  # of the oldest request
        self._inactivity_s = INACTIVITY_S
        self._generate_characters = GENERATE_CHARACTERS
        # The service allows 100 characters a second after the first 1500, and 20 messages without text a second.
        self._characters = Allowance(1500, 100)
        self._controls = Allowance(10, 10)
        self._waiting: deque[SpeechRequest] = deque()
        self._sent: deque[SpeechRequest] = deque()
        self._numbers: dict[int, SpeechRequest] = {}
        self._highest = -1
        self._cancelled_s: float | None = None  # when the unanswered `Cancel` was requested
        self._out: list[str] = []
        self._is_leaving = self._terminated = False

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
        self._cancel_dropped(now)

    def leave(self) -> None:
        """End the session once every request is done."""
        self._is_leaving = True

    def lose(self, error: VoicepipeError) -> list[SpeechRequest]:
        """Record that the connection is gone; return the requests to send again elsewhere, in order."""
        self.error = self.error or error
        again = [*sorted_out(self._sent, self.error), *self._waiting]
        self._sent.clear()
        self._waiting.clear()
        return again

    def frames(self, now: float) -> list[str]:
        """Return what to send now. Call it when something has changed, and at `wake_at`."""
        if self.error or self._terminated:
            return []
        out, self._out = self._out, []
        while self._ask_at(now) <= now:
            request = self._waiting.popleft()
            out += self._request_frames(request, now)
        if self._is_leaving and self.is_idle:
            self._terminated = True
            out.append(_frame("Terminate"))
        elif not out and now >= self._sent_s + self._inactivity_s / 2:
            self._controls.take(1, now)
            out.append(_frame("KeepAlive"))
        if out:
            self._sent_s = now
        return out

    @property
    def is_idle(self) -> bool:
        """Whether no request and no `Cancel` is open."""
        return not self._waiting and not self._sent and self._cancelled_s is None

    def wake_at(self, now: float) -> float:
        """Return when to look again if nothing changes."""
        if self.error:
            return math.inf
        keep_alive_s = self._sent_s + self._inactivity_s / 2 if self.has_begun else math.inf
        return min(self._ask_at(now), self._owed()[0], keep_alive_s)

    def overdue(self, now: float) -> VendorError | None:
        """Return the error for what the service failed to do in time."""
        due_s, what = self._owed()
        if self.error or now < due_s:
            return None
        return VendorError(f"{VENDOR} text-to-speech {what}; the connection is given up", vendor=VENDOR, retryable=True)

    def _owed(self) -> tuple[float, str]:
        if not self.has_begun:
            return self._opened_s + BEGIN_S, f"did not begin within {BEGIN_S:g} s"
        if self._terminated:
            return self._sent_s + TERMINATE_S, f"did not end within {TERMINATE_S:g} s"
        if self._cancelled_s is not None:
            return self._cancelled_s + CANCEL_S, f"did not answer a Cancel within {CANCEL_S:g} s"
        if self._sent:
            return self._heard_s + SILENT_S, f"sent nothing for {SILENT_S:g} s"
        return math.inf, ""

    def _ask_at(self, now: float) -> float:
        """Return when the next request may be sent; infinite while something else must happen first."""
        if not self._waiting or not self.has_begun or self._cancelled_s is not None:
            return math.inf
        if len(self._sent) >= MAX_IN_FLIGHT:
            return math.inf
        text = self._waiting[0].text
        return max(self._characters.ready_at(len(text), now), self._controls.ready_at(1, now))

    def _request_frames(self, request: SpeechRequest, now: float) -> list[str]:
        text, size = request.text, self._generate_characters
        self._characters.take(len(text), now)
        self._controls.take(1, now)
        if not self._sent:
            self._heard_s = now
        request.asked += 1
        self._sent.append(request)
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        return [*(_frame("Generate", text=piece) for piece in pieces), _frame("Flush")]

    def _cancel_dropped(self, now: float) -> None:
        """Send `Cancel` if the service is working on a request that was withdrawn.

        `Cancel` drops every request, so the others wait to be sent again; only the first can have had audio.
        """
        if not self._sent or not self._sent[0].is_dropped:
            return
        self._highest += sum(request not in self._numbers.values() for request in self._sent)
        wanted = [request for request in self._sent if not request.is_dropped]
        for request in reversed(wanted):
            request.asked -= 1
            self._waiting.appendleft(request)
        self._sent.clear()
        self._cancelled_s = now
        self._controls.take(1, now)
        self._out.append(_frame("Cancel"))

    # --- what the service sends ---------------------------------------------------------------------------------------

    def receive(self, message: str | bytes, now: float) -> bool:
        """Process a message; skip one that is unreadable or unknown.

        Returns:
            Whether there may be something to do for the session: audio concerns only its request.
        """
        found = parsed(message)
        if not found:
            self.unreadable += 1
            return False
        handle = {
            "Begin": self._begin,
            "Audio": self._audio,
            "FlushDone": self._flush_done,
            "WordBoundaries": self._word_boundaries,
            "Cancelled": self._cancelled,
            "Termination": self._termination,
            "Error": self._refused,
        }.get(str(found.get("type")))
        try:
            if handle is not None:
                handle(found, now)
        except (KeyError, TypeError, ValueError):
            self.unreadable += 1
        return found.get("type") != "Audio" or bool(self._out)

    def closed(self, code: int, reason: str) -> VoicepipeError:
        """Return the error of a closed connection; an error that the service sent before says more."""
        return self.error or refusal(code, self._clean(reason))

    def _clean(self, text: str) -> str:
        return excerpt(without_key(text, self._key))

    def _begin(self, message: Message, now: float) -> None:
        self.has_begun, self._sent_s = True, now
        self.session_id = message.get("id")
        configuration = as_object(message.get("configuration"))
        limits = as_object(configuration.get("limits"))
        self._inactivity_s = max(LEAST_INACTIVITY_S, positive(configuration.get("inactivity_timeout"), INACTIVITY_S))
        self._generate_characters = int(positive(limits.get("max_generate_text_length"), GENERATE_CHARACTERS)) or 1
        lasts_s = positive(configuration.get("session_ttl_sec"), SESSION_S)
        # A session shorter than twice the margin is replaced half way through, but the service is not stormed.
        self.renew_at = now + max(lasts_s - RENEW_S, lasts_s / 2, LEAST_SESSION_S)
        unknown = configuration.get("unknown_params")
        self.unknown = tuple(map(str, unknown)) if isinstance(unknown, list) else ()
        rate = positive(configuration.get("sample_rate"), self._sample_rate)
        if rate != self._sample_rate:
            self.error = ConfigurationError(
                f"{VENDOR} text-to-speech was asked for {self._sample_rate} Hz and speaks at {rate:g} Hz; set "
                "sample_rate to what it offers"
            )

    def _audio(self, message: Message, now: float) -> None:
        request = self._request(message["flush_id"])
        if request is None or request.is_done:
            return
        pcm = base64.b64decode(message["audio"], validate=True)
        self._heard_s = now
        request.came_bytes += len(pcm)
        if request.is_dropped or not pcm:
            return
        if request.came_bytes > MAX_AUDIO_S * 2 * self._sample_rate:
            request.error = VendorError(
                f"{VENDOR} text-to-speech sent more than {MAX_AUDIO_S:g} s of audio for one sentence",
                vendor=VENDOR,
                retryable=False,
            )
            self.drop(request, now)
            return
        request.audio.append(pcm)

    def _flush_done(self, message: Message, now: float) -> None:
        request = self._request(message["flush_id"])
        if request is None or request not in self._sent:
            return
        # Requests are answered in order, so the earlier ones are done too.
        while not request.is_done:
            self._sent.popleft().is_done = True
        self._heard_s = now
        self._cancel_dropped(now)

    def _word_boundaries(self, message: Message, now: float) -> None:
        del now
        request = self._numbers.get(message["flush_id"])
        if request is None or request.is_dropped:
            return
        start_ms = required(message["audio_start_ms"])
        request.words = [
            TimedWord(str(one["word"]), (required(one["end"]) - start_ms) / 1000) for one in message["words"]
        ]
        request.has_all_words = True

    def _cancelled(self, message: Message, now: float) -> None:
        del message, now
        self._cancelled_s = None

    def _termination(self, message: Message, now: float) -> None:
        del message, now
        self.has_ended = True

    def _refused(self, message: Message, now: float) -> None:
        del now
        code = number(message.get("error_code"))
        retryable = message.get("retryable")
        self.error = refusal(
            1011 if code is None else int(code),
            self._clean(str(message.get("error") or "")),
            kind=str(message.get("error_type") or ""),
            retryable=retryable if isinstance(retryable, bool) else None,
            retry_after_s=number(message.get("retry_after_seconds")),
        )

    def _request(self, number: object) -> SpeechRequest | None:
        """Return the request that a message is about; None for a cancelled one."""
        if not isinstance(number, int):
            return None
        if number > self._highest:
            fresh = next((request for request in self._sent if request not in self._numbers.values()), None)
            if fresh is None:
                return None
            self._highest = number
            self._numbers[number] = fresh
            while len(self._numbers) > KEPT_DONE + MAX_IN_FLIGHT:
                del self._numbers[next(iter(self._numbers))]
        return self._numbers.get(number)


def _frame(kind: str, **fields: str) -> str:
    return json.dumps({"type": kind, **fields}, ensure_ascii=False)
