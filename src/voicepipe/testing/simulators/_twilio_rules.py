"""What the simulated network of Twilio signs, asks and refuses, with the codes of Twilio's errors."""

from __future__ import annotations

import base64
import hmac
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
from pydantic_core import from_json

from voicepipe.testing.simulators._http import post

if TYPE_CHECKING:
    from collections.abc import Mapping
    from xml.etree import ElementTree as ET

__all__ = ["Failed", "Signer", "accepted", "ask", "stream_of"]

WEBHOOK_S: Final = 15.0
"""How long a webhook may take to answer."""

WORKER: Final = "ws://127.0.0.1:"
"""How the URL of a stream to one of several servers on this machine begins, whose webhooks a gateway passes on."""

MOST_PARAMETER: Final = 500
"""Characters that name and value of a parameter may have together."""


class Failed(Exception):  # noqa: N818 - names what happened
    """The server did what the network refuses; `code` is that of Twilio's error."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(what)
        self.code = code
        self.what = what


class Signer:
    """Signs requests for a server's public URL, and knows where the server really is. See `TwilioSimulator`."""

    def __init__(self, token: str, server: str, public_url: str | None, shared_key: tuple[str, str] | None) -> None:
        self.server = server.rstrip("/")
        self.public_url = (public_url or server).rstrip("/")
        self._token = token
        self._shared_key = shared_key

    def headers(self, url: str, form: Mapping[str, str]) -> dict[str, str]:
        """Return the headers with which Twilio signs a request: over URL and form, or the URL of a websocket."""
        text = (url + "".join(name + value for name, value in sorted(form.items()))).encode()
        key, secret = self._shared_key or ("", self._token)
        digest = hmac.digest(secret.encode(), text, "sha256" if key else "sha1")
        signed = {"X-Twilio-Signature": base64.b64encode(digest).decode()}
        settings = {"X-Twilio-Webhooks-Signature-Settings": f"key={key},algorithm=HMAC_SHA256"}
        return signed | settings if key else signed

    def address_of(self, url: str) -> str | None:
        """Return where a URL is really found; None if it is neither the server's nor on this machine."""
        for public, real in (
            (self.public_url, self.server),
            (self.public_url.replace("http", "ws", 1), self.server.replace("http", "ws", 1)),
        ):
            if url == public or url.startswith((f"{public}/", f"{public}?")):
                return real + url.removeprefix(public)
        return url if url.startswith(WORKER) else None


async def ask(signer: Signer, url: str, form: Mapping[str, str]) -> str:
    """Ask a webhook what to do, and return its TwiML.

    Raises:
        Failed: There is no answer that can be used.
    """
    address = signer.address_of(url)
    if address is None:
        raise Failed(11205, f"there is no server at {url}")
    try:
        with anyio.fail_after(WEBHOOK_S):
            status, kind, body = await post(address, form, signer.headers(url, form))
    except TimeoutError:
        raise Failed(11200, f"no answer within {WEBHOOK_S:g} s") from None
    except OSError as error:
        raise Failed(11205, f"no connection: {error}") from None
    except ValueError as error:
        raise Failed(11200, f"the answer cannot be used: {error}") from None
    if status != 200 or "xml" not in kind:
        raise Failed(11200, f"status {status}, {kind or 'no type'}")
    return body.decode()


def stream_of(connect: ET.Element, signer: Signer) -> tuple[str, str, dict[str, str]]:
    """Return the URL of the stream that `<Connect>` names, where it really is, and its parameters.

    Raises:
        Failed: Twilio would not connect to it.
    """
    stream = connect.find("Stream")
    url = stream.get("url", "") if stream is not None else ""
    if "?" in url or not url.startswith(("wss://", "ws://")):
        raise Failed(31920, f"a stream's URL is wss:// without a query, not {url}")
    address = signer.address_of(url)
    if address is None:
        raise Failed(31901, f"there is no server at {url}")
    given = stream.findall("Parameter") if stream is not None else []
    parameters = {one.get("name", ""): one.get("value", "") for one in given}
    if any(len(name + value) > MOST_PARAMETER for name, value in parameters.items()):
        raise Failed(12200, f"a parameter has more than {MOST_PARAMETER} characters")
    return url, address, parameters


def accepted(message: str | bytes, stream: str) -> Mapping[str, Any]:
    """Return a message that a stream got from the server.

    Raises:
        Failed: The stream does not take it.
    """
    fields: object = None
    with suppress(ValueError):
        fields = from_json(message) if isinstance(message, str) else None
    match fields:
        case {"event": "media", "streamSid": sid, "media": {"payload": str(payload)}} if sid == stream:
            with suppress(ValueError):
                base64.b64decode(payload, validate=True)
                return cast("Mapping[str, Any]", fields)
        case {"event": "mark", "streamSid": sid, "mark": {"name": str()}} if sid == stream:
            return cast("Mapping[str, Any]", fields)
        case {"event": "clear", "streamSid": sid} if sid == stream:
            return cast("Mapping[str, Any]", fields)
        case _:
            pass
    raise Failed(31924, "the stream got a message that is not in the protocol")
