"""Where AssemblyAI's key comes from. The key travels in one header of a handshake, raw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voicepipe.vendors.line.key import socket_credentials

if TYPE_CHECKING:
    from pydantic import SecretStr

    from voicepipe.vendors.credentials import Credentials

__all__ = ["KEY_ENV", "VENDOR", "credentials"]

VENDOR: Final = "AssemblyAI"

KEY_ENV: Final = "ASSEMBLYAI_API_KEY"


def credentials(part: str, url: str, api_key: str | SecretStr | None, api_key_env: str) -> Credentials:
    """Return where the key of a part comes from; see `socket_credentials`."""
    return socket_credentials(part, url, api_key, api_key_env, usual_env=KEY_ENV, vendor=VENDOR)
