"""What of a request reaches a worker, and what of its answer the caller.

Rule 1: headers that are about one connection end here, and so do those in which a proxy says from where a request came:
        anybody can write them. The gateway says that itself, with the token by which its workers know it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from voicepipe.fleet.worker import CLIENT, GATEWAY, SCHEME
from voicepipe.serving.origins import is_passed_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from voicepipe.fleet.client import Answer

__all__ = ["passed_back", "passed_on"]

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""RFC 9110, section 7.6.1, and those that `Connection` names."""

LENGTH: Final = b"content-length"

SAID_BY_PROXIES: Final = frozenset(
    {
        b"forwarded",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-real-ip",
        GATEWAY,
    }
)


def passed_on(request: Request, token: str) -> list[tuple[bytes, bytes]]:
    """Return the headers with which a request goes to a worker.

    Args:
        request: The request. Its client and its scheme are those that a trusted proxy has named, if there is one.
        token: That of the workers.
    """
    given = request.headers.raw
    dropped = _about_the_connection(given) | SAID_BY_PROXIES | {LENGTH, b"expect"}
    kept = [(name, value) for name, value in given if name not in dropped]
    said = [(GATEWAY, token.encode()), (SCHEME, request.scope["scheme"].encode())]
    if request.client is not None:
        said.append((CLIENT, request.client.host.encode()))
    if is_passed_on(request.headers):
        said.append((b"via", b"1.1 proxy"))  # so that nobody counts as this machine because its proxy is here
    return [*kept, *said]


def passed_back(answer: Answer, *, is_head: bool) -> Response:
    """Return a worker's answer for the caller.

    Args:
        answer: The answer.
        is_head: Whether the request was a HEAD, whose answer has a length and no body.
    """
    dropped = _about_the_connection(answer.headers) | {b"date", b"server"}
    response = Response(answer.body, answer.status)
    own = [(LENGTH, str(len(answer.body)).encode())] if answer.body else []
    keeps_length = is_head or not answer.body
    kept = [(name, value) for name, value in answer.headers if name not in dropped and (keeps_length or name != LENGTH)]
    response.raw_headers = [*kept, *own]
    return response


def _about_the_connection(headers: Sequence[tuple[bytes, bytes]]) -> frozenset[bytes]:
    named = (value.lower().split(b",") for name, value in headers if name == b"connection")
    return HOP_BY_HOP | {name.strip() for names in named for name in names}
