"""Where the key of a websocket comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from voicepipe.vendors.credentials import Credentials

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["socket_credentials"]


def socket_credentials(
    part: str, url: str, api_key: str | SecretStr | None, api_key_env: str, *, usual_env: str, vendor: str
) -> Credentials:
    """Return where the key of a part comes from. A service on this machine without TLS, a simulator, may need none.

    Args:
        part: The part that needs the key, for messages.
        url: Where the key is sent.
        api_key: The key itself.
        api_key_env: The environment variable that holds it otherwise.
        usual_env: The variable that the vendor's own tools read.
        vendor: The service, for messages.

    Raises:
        ConfigurationError: The key is empty.
    """
    parts = urlsplit(url)
    return Credentials(
        part,
        url,
        parts.hostname or "",
        api_key=api_key,
        api_key_env=None if api_key is not None or api_key_env == usual_env else api_key_env,
        usual_env=usual_env,
        vendor=vendor,
        is_optional=parts.scheme == "ws",
    )
