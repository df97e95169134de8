"""Twilio's signature on its requests: that of a webhook over URL and form, that of a websocket over the URL alone.

Rule 1: the URL is that of the server's configuration, never what a request says about itself.
Rule 2: an unknown algorithm is refused, and so is an unknown key.
Rule 3: comparing takes as long for a wrong signature as for a right one.

A signature does not expire. What must not be repeated needs a token of its own.
Source: Twilio's "Webhooks security", and the `twilio` package 9.13 for port and algorithm, read in November 2026.
"""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["SETTINGS_HEADER", "SIGNATURE_HEADER", "is_signed", "key_of", "sign"]

SIGNATURE_HEADER: Final = "x-twilio-signature"

SETTINGS_HEADER: Final = "x-twilio-webhooks-signature-settings"
"""Names the key and the algorithm; without it, the account's token and SHA-1 have signed."""

ALGORITHMS: Final = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}

PORTS: Final = {"https": 443, "wss": 443, "http": 80, "ws": 80}


def key_of(settings: str | None) -> tuple[str, str] | None:
    """Return the shared key that has signed, "" for the account's token, and the digest; None if it is unknown.

    Args:
        settings: The value of `SETTINGS_HEADER`, e.g. "key=webhooks_key_1,algorithm=HMAC_SHA256".
    """
    pairs = [part.partition("=") for part in (settings or "").split(",")]
    named = {name.strip(): value.strip() for name, _, value in pairs}
    digest = ALGORITHMS.get((named.get("algorithm") or "HMAC_SHA1").upper())
    return (named.get("key", ""), digest) if digest is not None else None


def sign(secret: str, url: str, form: Iterable[tuple[str, str]] = (), *, digest: str = "sha1") -> str:
    """Return the signature of a request, in base64.

    Args:
        secret: The account's token, or the secret of a shared key.
        url: The whole URL, with the query.
        form: Names and values of the form, in any order; a pair that comes twice counts once.
        digest: "sha1" or "sha256".
    """
    text = url + "".join(name + value for name, value in sorted(set(form)))
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(errors="replace"), digest)).decode()


def is_signed(
    signature: str | None,
    secrets: Iterable[str],
    url: str,
    form: Iterable[tuple[str, str]] = (),
    *,
    digest: str = "sha1",
) -> bool:
    """Return whether one of the secrets has signed this URL and form, with the URL's port or without it."""
    given, pairs, matches = (signature or "").encode(errors="replace"), list(form), False
    for secret in secrets:
        for spelling in _spellings(url):
            matches |= hmac.compare_digest(sign(secret, spelling, pairs, digest=digest).encode(), given)
    return matches


def _spellings(url: str) -> Mapping[str, None]:
    """Return a URL with its port and without it: what signs is not consistent about that."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition(":")[0] if parts.port is not None else parts.netloc
    port = parts.port or PORTS[parts.scheme]
    bare, full = (urlunsplit(parts._replace(netloc=netloc)) for netloc in (host, f"{host}:{port}"))
    return dict.fromkeys((bare, full))
