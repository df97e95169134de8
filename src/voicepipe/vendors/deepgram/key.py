"""Where Deepgram's key comes from, and where its sockets are. The key travels in one header: `Authorization: Token`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from voicepipe.vendors.credentials import Credentials

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["HOSTS", "KEY_ENV", "SCHEME", "VENDOR", "credentials"]

VENDOR: Final = "Deepgram"

KEY_ENV: Final = "DEEPGRAM_API_KEY"

SCHEME: Final = "Token "

HOSTS: Final = {
    None: "api.deepgram.com",
    "eu": "api.eu.deepgram.com",
    "au": "api.au.deepgram.com",
    "in": "api.in.deepgram.com",
}


def credentials(part: str, url: str, api_key: str | SecretStr | None, api_key_env: str) -> Credentials:
    """Return where the key of a part comes from. A service on this machine without TLS, a simulator, may need none.

    Raises:
        ConfigurationError: The key is empty.
    """
    parts = urlsplit(url)
    return Credentials(
        part,
        url,
        parts.hostname or "",
        api_key=api_key,
        api_key_env=None if api_key is not None or api_key_env == KEY_ENV else api_key_env,
        usual_env=KEY_ENV,
        vendor=VENDOR,
        is_optional=parts.scheme == "ws",
    )
