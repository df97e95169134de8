"""Server-sent events from the pieces of a body. Pure: no network, no clock.

Rule 1: the same events come out however the body is cut.
Rule 2: an event goes out with the very byte that ends it, and costs the same whatever is pending. A library that reads
        through a response of its own passes each piece through three generators, which costs more than the event; and
        it needs a response made up for it, because not every server sends the head that announces events.

Source: the WHATWG HTML standard, "Server-sent events", "Interpreting an event stream", read 2026-11-30. Ids and times
to connect again mean nothing to a reply, which cannot be continued.
"""

from __future__ import annotations

__all__ = ["EventStream"]


class EventStream:
    """Reads one body, without its byte order mark. UTF-8 that is broken becomes U+FFFD."""

    def __init__(self) -> None:
        self._unread: list[bytes] = []  # the beginning of a line
        self._data: list[str] = []
        self._name = ""
        self._is_after_return = False  # whether "\r" came last, which "\n" may complete

    def feed(self, piece: bytes) -> list[tuple[str, str]]:
        """Return the events that the next piece of the body completes, those that have data.

        Returns:
            For each event its data and its name, which is "message" unless the server sends another one.
        """
        if self._is_after_return or b"\r" in piece:
            piece = self._with_newlines(piece)
        *lines, rest = piece.split(b"\n")
        if lines and self._unread:
            lines[0] = b"".join([*self._unread, lines[0]])
            self._unread.clear()
        if rest:
            self._unread.append(rest)
        events: list[tuple[str, str]] = []
        for line in lines:
            if line:
                self._take(line)
                continue
            if data := "\n".join(self._data):
                events.append((data, self._name or "message"))
            self._data.clear()
            self._name = ""
        return events

    def _take(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" ").decode("utf-8", "replace"))
        elif field == b"event":
            self._name = value.removeprefix(b" ").decode("utf-8", "replace")

    def _with_newlines(self, piece: bytes) -> bytes:
        """Return a piece in which newlines alone end the lines that carriage returns ended."""
        if self._is_after_return:
            piece, self._is_after_return = piece.removeprefix(b"\n"), not piece
        if piece.endswith(b"\r"):
            self._is_after_return = True
        return piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
