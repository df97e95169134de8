"""Where the audio of openers is kept: a few texts, within a limit of memory. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, TypeAlias

from voicepipe.flow import WordMark

__all__ = ["Key", "OpenerStore"]

KEPT_BYTES: Final = 16 << 20
"""The audio that a process keeps: 5 minutes at 24 kHz, so a dozen short texts of twenty voices."""

Key: TypeAlias = tuple[str | None, str | None, str]
"""Voice and language of the call, None for the pipeline's own, and the text."""

Pieces: TypeAlias = tuple[bytes | WordMark, ...]


class OpenerStore:
    """The audio of texts; what was not used for longest makes room.

    Args:
        room_bytes: How much audio it keeps.
    """

    def __init__(self, room_bytes: int = KEPT_BYTES) -> None:
        self._room_bytes = room_bytes
        self._bytes = 0
        self._kept: OrderedDict[Key, Pieces] = OrderedDict()

    def get(self, key: Key) -> Pieces:
        """Return what is kept; nothing if that is nothing."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key, ())

    def put(self, key: Key, pieces: Pieces) -> None:
        """Keep the audio of a text, in place of what is kept of it."""
        self._bytes += _bytes_of(pieces) - _bytes_of(self._kept.pop(key, ()))
        self._kept[key] = pieces
        while self._bytes > self._room_bytes:
            self._bytes -= _bytes_of(self._kept.popitem(last=False)[1])

    def __contains__(self, key: Key) -> bool:
        return key in self._kept


def _bytes_of(pieces: Pieces) -> int:
    return sum(len(piece) for piece in pieces if isinstance(piece, bytes))
