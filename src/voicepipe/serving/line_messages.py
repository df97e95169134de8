"""What the messages of telephone networks are made of: JSON, base64, keys, stamps, and audio in several encodings.

Rule 1: everything here is pure: a message has a value, or is `Refused`.
Rule 2: a refusal says what was expected, and quotes at most the name of a format.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic_core import from_json

from voicepipe.audio.g711 import from_alaw, from_ulaw, to_alaw, to_ulaw
from voicepipe.flow import KEYS
from voicepipe.serving.transport import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "ALAW",
    "BIG_ENDIAN",
    "LITTLE_ENDIAN",
    "ULAW",
    "UNREADABLE",
    "UNSUPPORTED",
    "Encoding",
    "decoded",
    "encoding_of",
    "is_key",
    "number",
    "read_object",
    "seconds",
]

UNREADABLE: Final = 1007
"""The close code for data that is not what it says it is."""

UNSUPPORTED: Final = 1003
"""The close code for data of a kind that is not accepted."""

MOST_DIGITS: Final = 15
"""Of a stamp in milliseconds: what a float holds exactly."""


def read_object(message: str | bytes) -> Mapping[str, Any]:
    """Return an object of JSON.

    Raises:
        Refused: It is something else.
    """
    if isinstance(message, bytes):
        raise Refused("malformed", "expected messages of text, not binary ones", code=UNSUPPORTED)
    try:
        fields: object = from_json(message)
    except ValueError:
        raise Refused("malformed", "expected JSON", code=UNREADABLE) from None
    if not isinstance(fields, dict):
        raise Refused("malformed", "expected an object of JSON", code=UNREADABLE)
    return cast("dict[str, Any]", fields)


def is_key(key: str) -> bool:
    """Return whether this is one key of a telephone."""
    return len(key) == 1 and key in KEYS


def number(given: object) -> int | None:
    """Return a whole number, which networks also write as text; None for anything else."""
    text = str(given) if isinstance(given, int) and not isinstance(given, bool) else given
    if isinstance(text, str) and len(text) <= MOST_DIGITS and text.isascii() and text.isdigit():
        return int(text)
    return None


def seconds(stamp: object) -> float | None:
    """Return a stamp in milliseconds as seconds; None if it is not a number."""
    milliseconds = number(stamp)
    return None if milliseconds is None else milliseconds / 1_000


def _swapped(pcm: bytes) -> bytes:
    """Turn big-endian samples into little-endian ones, or the other way round."""
    if len(pcm) % 2:
        raise Refused("malformed", "expected whole 16-bit samples", code=UNREADABLE)
    swapped = bytearray(pcm)
    swapped[0::2], swapped[1::2] = pcm[1::2], pcm[0::2]
    return bytes(swapped)


def _whole(pcm: bytes) -> bytes:
    if len(pcm) % 2:
        raise Refused("malformed", "expected whole 16-bit samples", code=UNREADABLE)
    return pcm


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a network writes audio.

    Attributes:
        to_pcm: Returns little-endian signed 16-bit samples.
        from_pcm: Takes them.
    """

    to_pcm: Callable[[bytes], bytes]
    from_pcm: Callable[[bytes], bytes]


ULAW: Final = Encoding(from_ulaw, to_ulaw)
ALAW: Final = Encoding(from_alaw, to_alaw)
LITTLE_ENDIAN: Final = Encoding(_whole, _whole)
BIG_ENDIAN: Final = Encoding(_swapped, _swapped)


def encoding_of(known: Mapping[tuple[str, int], Encoding], name: object, rate: object) -> tuple[Encoding, int]:
    """Return the encoding and the rate that a network has announced.

    Raises:
        Refused: The call has another one.
    """
    if isinstance(name, str) and isinstance(rate, int) and (name, rate) in known:
        return known[name, rate], rate
    expected = ", ".join(f"{one} at {its} Hz" for one, its in known)
    found = f"{str(name)[:40]!r} at {str(rate)[:12]} Hz"  # bounded: a stranger may have written it
    raise Refused("media_format", f"expected {expected}; found {found}", code=UNSUPPORTED)


def decoded(payload: str, encoding: Encoding) -> bytes:
    """Return the samples of a payload in base64.

    Raises:
        Refused: It is not base64, or half a sample.
    """
    try:
        coded = base64.b64decode(payload, validate=True)
    except ValueError:
        raise Refused("malformed", "expected base64 as payload", code=UNREADABLE) from None
    return encoding.to_pcm(coded)
