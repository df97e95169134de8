"""What AssemblyAI's streaming text-to-speech accepts and refuses. Pure: no socket, and no clock but its arguments.

Source: the service's reference, its Python SDK 1.8.2 (`tts/v1`) and the limits that its `Begin` announces, read
2026-11-22. Where the sources give no close code for a limit, the nearest documented one is used.
"""

from __future__ import annotations

import json
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, cast
from urllib.parse import parse_qsl
from uuid import UUID

from voicepipe.testing.simulators._simulated_voice import Timing

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "Ended",
    "Intake",
    "Settings",
    "TTSLimits",
    "TTSService",
    "TimedWord",
    "parse_message",
    "parse_query",
    "timed_words",
]

VOICES: Final = {
    f"aai-{name}"
    for name in ("alba", "anna", "charles", "eve", "george", "jane", "jean", "mary", "michael", "paul", "vera")
}
LANGUAGES: Final = {"english", "spanish", "german", "french", "italian", "portuguese"}
SAMPLE_RATES: Final = {8_000, 16_000, 22_050, 24_000, 44_100, 48_000}
KNOWN: Final = {
    "voice_id", "model_id", "language", "sample_rate", "encoding", "word_boundaries", "inactivity_timeout", "token",
    "extend_biometric_consent",
}  # fmt: skip
KINDS: Final = ("Generate", "Flush", "Cancel", "KeepAlive", "Terminate")
RETRYABLE: Final = {1006, 1011, 1012, 3005, 3008, 3009}
EARLY_END: Final = re.compile(r"[.!?][\"')\]]*\s")
"""Where the service may begin to speak before `Flush`: after a complete sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TTSLimits:
    """What a session may do; the defaults are the service's.

    Attributes:
        generate_characters: Code points of one `Generate`.
        buffer_characters: Characters that may wait to be spoken.
        grace_characters: Characters that may come at once, ...
        characters_per_s: ... in addition to this many a second.
        run_characters: Characters without white space.
        controls_per_s: Messages other than `Generate`.
        session_s: Age of a session.
        session_grace_s: Added to it before the session is ended.
        write_stall_s: How long a client may leave audio unread.
        sessions_per_minute: New sessions; None for no limit.
    """

    generate_characters: int = 2_000
    buffer_characters: int = 8_000
    grace_characters: int = 1_500
    characters_per_s: float = 100.0
    run_characters: int = 60
    controls_per_s: int = 20
    session_s: float = 3_600.0
    session_grace_s: float = 60.0
    write_stall_s: float = 30.0
    sessions_per_minute: int | None = None


class TTSService(Protocol):
    """The simulator, as one of its sessions sees it; the attributes are those of `TTSSimulator`."""

    limits: TTSLimits
    first_audio_s: float
    frame_pace_s: float
    late_frames: int
    cancel_s: float
    boundaries_s: float
    adds_unknown: bool
    failures: list[Exception]

    def admit(self, key: str) -> None: ...

    async def synthesize(self, text: str, sample_rate: int) -> tuple[bytes, list[tuple[int, float]]]: ...


class Ended(Exception):  # noqa: N818 - names what became of the session
    """The service ends a session: an `Error` frame, then a close with the same code."""

    def __init__(
        self, code: int, kind: str, message: str, *, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self._kind = kind
        self._param = param
        self._retry_after_s = retry_after_s

    def frame(self) -> dict[str, Any]:
        """Return the fields of the `Error` frame."""
        return {
            "error_code": self.code,
            "error": str(self),
            "error_type": self._kind,
            "param": self._param,
            "retryable": self.code in RETRYABLE,
            "retry_after_seconds": self._retry_after_s,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a session was opened with."""

    voice_id: str = "aai-jane"
    language: str = "english"
    sample_rate: int = 24_000
    model: str = "assemblyai-tts-1"
    word_boundaries: bool = True
    inactivity_s: int = 120
    unknown: tuple[str, ...] = ()

    def configuration(self, limits: TTSLimits) -> dict[str, Any]:
        """Return the session's configuration as `Begin` has it."""
        return {
            "voice_id": self.voice_id,
            "language": self.language,
            "sample_rate": self.sample_rate,
            "encoding": "pcm_s16le",
            "inactivity_timeout": self.inactivity_s,
            "word_boundaries": self.word_boundaries,
            "model": self.model,
            "session_ttl_sec": round(limits.session_s),
            "limits": {
                "max_generate_text_length": limits.generate_characters,
                "text_max_buffer_chars": limits.buffer_characters,
                "max_egress_audio_buffer_ms": 300_000,
            },
            "unknown_params": list(self.unknown),
        }


def parse_query(query: str) -> Settings:
    """Read the parameters of a connection.

    Raises:
        Ended: The service refuses one of them.
    """
    given = dict(parse_qsl(query, keep_blank_values=True))
    default = Settings()
    voice = given.get("voice_id", default.voice_id)
    if voice not in VOICES and not _is_uuid(voice):
        raise Ended(3006, "voice_not_found", f"there is no voice {voice!r}", param="voice_id")
    language = given.get("language", default.language).lower()
    if language not in LANGUAGES:
        raise _invalid("language", f"must be one of {', '.join(sorted(LANGUAGES))}, not {language!r}")
    if (encoding := given.get("encoding", "pcm_s16le")) != "pcm_s16le":
        raise _invalid("encoding", f"is pcm_s16le alone in this simulator, not {encoding!r}")
    if (model := given.get("model_id", default.model)) != default.model:
        raise _invalid("model_id", f"must be {default.model}, not {model!r}")
    rate = _integer(given, "sample_rate", default.sample_rate)
    if rate not in SAMPLE_RATES:
        raise _invalid("sample_rate", f"must be one of {', '.join(map(str, sorted(SAMPLE_RATES)))}, not {rate}")
    inactivity_s = _integer(given, "inactivity_timeout", default.inactivity_s)
    if not 5 <= inactivity_s <= 120:
        raise _invalid("inactivity_timeout", f"must be 5 to 120 seconds, not {inactivity_s}")
    boundaries = given.get("word_boundaries", "true").lower()
    if boundaries not in ("true", "false"):
        raise _invalid("word_boundaries", f"must be true or false, not {boundaries!r}")
    return Settings(
        voice_id=voice,
        language=language,
        sample_rate=rate,
        word_boundaries=boundaries == "true",
        inactivity_s=inactivity_s,
        unknown=tuple(sorted(given.keys() - KNOWN)),
    )


def _integer(given: dict[str, str], name: str, default: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit()):
        raise _invalid(name, f"must be a whole number, not {text!r}")
    return int(text)


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def _invalid(param: str, problem: str) -> Ended:
    return Ended(3006, "invalid_parameter", f"{param} {problem}", param=param)


def parse_message(message: str | bytes) -> dict[str, Any]:
    """Read a client's message.

    Raises:
        Ended: The service refuses it.
    """
    if isinstance(message, bytes):
        raise _malformed("messages are JSON text, not binary")
    try:
        parsed = json.loads(message)
    except (ValueError, RecursionError):
        raise _malformed("the message is not JSON") from None
    if not isinstance(parsed, dict) or parsed.get("type") not in KINDS:
        raise _malformed(f"a message is an object whose type is one of {', '.join(KINDS)}")
    if parsed["type"] == "Generate" and not isinstance(parsed.get("text"), str):
        raise _malformed("Generate needs a text")
    return cast("dict[str, Any]", parsed)


def _malformed(problem: str) -> Ended:
    return Ended(3006, "invalid_message", problem)


class Intake:
    """The text of the request that is being written, and the limits on it.

    Attributes:
        total_characters: Characters of all `Generate` messages, which the service bills.
    """

    def __init__(self, limits: TTSLimits) -> None:
        self.total_characters = 0
        self._limits = limits
        self._text = ""
        self._run = 0
        self._waiting = 0
        self._level = 0.0
        self._level_s = 0.0
        self._controls_s: deque[float] = deque()

    def control(self, now: float) -> None:
        """Count a message other than `Generate`.

        Raises:
            Ended: There are too many of them.
        """
        while self._controls_s and self._controls_s[0] <= now - 1:
            self._controls_s.popleft()
        self._controls_s.append(now)
        if len(self._controls_s) > self._limits.controls_per_s:
            raise Ended(3010, "rate_limited", f"more than {self._limits.controls_per_s} control messages in a second")

    def generate(self, text: str, now: float) -> str:
        """Add text, and return the part of the request that may be spoken at once.

        Raises:
            Ended: It is too long, comes too fast, or has too long a run without white space.
        """
        limits = self._limits
        if len(text) > limits.generate_characters:
            raise Ended(
                3006,
                "invalid_request",
                f"text has {len(text)} characters, of {limits.generate_characters}",
                param="text",
            )
        self._check_run(text)
        self._level = max(0.0, self._level - (now - self._level_s) * limits.characters_per_s) + len(text)
        self._level_s = now
        if self._level > limits.grace_characters:
            raise Ended(3010, "input_rate_exceeded", f"more than {limits.characters_per_s:g} characters a second")
        self._waiting += len(text)
        if self._waiting > limits.buffer_characters:
            raise Ended(3010, "input_rate_exceeded", f"more than {limits.buffer_characters} characters wait")
        self.total_characters += len(text)
        self._text += text
        end = max((match.end() for match in EARLY_END.finditer(self._text)), default=0)
        early, self._text = self._text[:end], self._text[end:]
        return early

    def _check_run(self, text: str) -> None:
        for character in text:
            self._run = 0 if character.isspace() else self._run + 1
            if self._run > self._limits.run_characters:
                raise Ended(
                    3006,
                    "invalid_request",
                    f"more than {self._limits.run_characters} characters without a space",
                    param="text",
                )

    def flush(self) -> str:
        """End the request, and return the rest of it."""
        text, self._text, self._run = self._text, "", 0
        return text

    def spoken(self, text: str) -> None:
        """Record that a text no longer waits."""
        self._waiting -= len(text)

    def cancel(self) -> None:
        """Forget all text that waits."""
        self._text, self._run, self._waiting = "", 0, 0


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word and when it is spoken, in seconds from its request's first sample."""

    word: str
    start_s: float
    end_s: float

    def wire(self, request_start_s: float) -> dict[str, Any]:
        """Return it on the session's timeline."""
        start, end = (round(1000 * (request_start_s + at)) for at in (self.start_s, self.end_s))
        return {"word": self.word, "start": start, "end": end, "confidence": 0.98}


def timed_words(text: str, marks: Iterable[tuple[int, float]], *, start_s: float, length_s: float) -> list[TimedWord]:
    """Return when each word of a text is spoken.

    Args:
        text: The text.
        marks: Pairs of characters spoken and seconds passed, in order; words between them are spread evenly.
        start_s: When the text begins.
        length_s: How long it takes.
    """
    timing = Timing(text, marks, length_s)
    return [
        TimedWord(found[0], start_s + timing.at(found.start()), start_s + timing.at(found.end()))
        for found in re.finditer(r"\S+", text)
    ]
