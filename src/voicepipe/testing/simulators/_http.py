"""One POST over a connection of its own, as a network's webhook sends it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import anyio
import h11

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["post"]

MOST_BYTES = 65_536
"""The longest body of an answer."""


async def post(url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, str, bytes]:
    """Send a form, and return status, content type and body of the answer.

    Raises:
        OSError: There is no server, or it closed the connection.
        ValueError: What it answered is not HTTP, or is too long.
    """
    parts = urlsplit(url)
    body = urlencode(form).encode()
    request = h11.Request(
        method="POST",
        target=parts.path + (f"?{parts.query}" if parts.query else ""),
        headers=[
            ("host", parts.netloc),
            ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
            ("content-length", str(len(body))),
            ("connection", "close"),
            *headers.items(),
        ],
    )
    connection = h11.Connection(h11.CLIENT)
    status, kind, received = 0, "", bytearray()
    async with await anyio.connect_tcp(parts.hostname or "", parts.port or 80) as stream:
        sent = (request, h11.Data(body), h11.EndOfMessage())
        try:
            await stream.send(b"".join(connection.send(event) or b"" for event in sent))
            while True:
                match connection.next_event():
                    case h11.NEED_DATA:
                        try:
                            connection.receive_data(await stream.receive())
                        except anyio.EndOfStream:
                            connection.receive_data(b"")
                    case h11.Response() as response:
                        status = response.status_code
                        kind = dict(response.headers).get(b"content-type", b"").decode("latin-1")
                    case h11.Data() as data:
                        received += data.data
                        if len(received) > MOST_BYTES:
                            raise ValueError(f"the answer is longer than {MOST_BYTES} bytes")
                    case h11.EndOfMessage():
                        return status, kind, bytes(received)
                    case h11.ConnectionClosed() | h11.PAUSED:
                        raise OSError("the server closed the connection")
                    case _:
                        pass
        except h11.RemoteProtocolError as error:
            raise ValueError(str(error)) from None
        except anyio.BrokenResourceError:
            raise OSError("the connection broke") from None
