"""How much a server takes on, in one place: calls, their pace, and what each peer may send.

Rule 1: each limit has a name, a default and a range; an impossible value is refused when the server is built.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final

from voicepipe.errors import ConfigurationError

__all__ = ["Limits"]

CALL_TEXT: Final = "We have reached the end of the time for this call. Goodbye."


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one process of a server takes on. All times are in seconds; `math.inf` turns a limit off where it may.

    The size and the number of messages depend on the protocol: see `Transport.most_message_bytes` and
    `Transport.most_messages_per_s`.

    Attributes:
        sessions: Calls at a time.
        opening_per_s: Calls that may begin per second, because opening one delays the audio of the others.
        per_subject: Calls at a time of one subject, which is the fact "subject" of the authenticator.
        start_s: How long a peer may take to be let in, and again for its first messages.
        idle_s: How long a peer may send nothing.
        call_s: How long a call may last; then the agent says `call_text`, and the call ends.
        call_text: What the agent says then; "" ends the call after its present reply.
        audio_ahead_s: How much audio a peer may send at once: a line that stalled delivers what it has kept.
        audio_rate: How fast a peer may send audio in the long run; 1 is the pace of speech.
        token_s: How long a token is valid.
        tokens: Tokens of each transport that may be valid at a time.
        lag_s: New calls are refused while one in a hundred ticks of 20 ms of the last 10 s was later than this.
        stall_s: And for 2 s after the event loop has stood still for longer than this.
        resume_s: For how long callers whose connection broke can come back, if the server has a store; 0 for never.
    """

    sessions: int = 100
    opening_per_s: float = 10.0
    per_subject: int | None = None
    start_s: float = 5.0
    idle_s: float = 30.0
    call_s: float = 1800.0
    call_text: str = CALL_TEXT
    audio_ahead_s: float = 10.0
    audio_rate: float = 1.5
    token_s: float = 30.0
    tokens: int = 10_000
    lag_s: float = 0.02
    stall_s: float = 0.25
    resume_s: float = 30.0

    def __post_init__(self) -> None:
        """Refuse invalid limits."""
        for field in fields(self):
            value: object = getattr(self, field.name)
            if field.name in RANGES:
                if value is not None or field.name != "per_subject":
                    self._check(field.name, *RANGES[field.name])
            elif not isinstance(value, str):
                raise ConfigurationError(f"Limits: {field.name} must be a text, not {value!r}")

    def _check(self, name: str, least: float, most: float) -> None:
        value: object = getattr(self, name)
        is_count = name in COUNTS
        kinds = (int,) if is_count else (int, float)
        if not isinstance(value, kinds) or isinstance(value, bool) or not least <= value <= most:
            kind = "a whole number" if is_count else "a number"
            bounds = f"from {least:g} to {most:g}" if most < math.inf else f"of at least {least:g}"
            raise ConfigurationError(f"Limits: {name} must be {kind} {bounds}, not {value!r}")


COUNTS: Final = ("sessions", "per_subject", "tokens")

RANGES: Final[dict[str, tuple[float, float]]] = {
    "sessions": (1, 100_000),
    "opening_per_s": (0.01, math.inf),
    "per_subject": (1, 100_000),
    "start_s": (0.1, 300),
    "idle_s": (1, math.inf),
    "call_s": (1, math.inf),
    "audio_ahead_s": (0.1, 60),
    "audio_rate": (1, math.inf),
    "token_s": (1, 3600),
    "tokens": (1, 1_000_000),
    "lag_s": (0.001, math.inf),
    "stall_s": (0.02, math.inf),
    "resume_s": (0, 3600),
}
