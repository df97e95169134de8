"""The key of a service: where it comes from, where it may go, and how it stays out of sight.

Rule 1: a key is a `SecretStr`, and is read from the environment when its part is opened, not before.
Rule 2: a service's usual variable is read for that service's own host; for any other the application names the key.
Rule 3: a key is sent encrypted, or to this machine, in one header. Redirects are not followed.
Rule 4: no message shows a key: neither our own, nor what a service repeats of it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from voicepipe.errors import AuthenticationError, ConfigurationError
from voicepipe.http.address import is_loopback, is_private

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["Credentials", "authorization", "keyless", "without_key"]

BLOT: Final = "***"
"""Stands where a service repeated the key."""


class Credentials:
    """Where the key of one service comes from.

    Args:
        part: The part that needs the key, for messages.
        url: Where the key is sent.
        host: The host of `url`, as the library that connects reads it.
        api_key: The key itself.
        api_key_env: The environment variable that holds it otherwise.
        usual_env: The variable to read when the application names neither; None where there is no such custom.
        own_header: The header that the application sets itself in place of a key; "" if it sets none.
        vendor: The service, for messages; the host by default.
        is_optional: Whether the service at this URL also works without the usual key.

    Raises:
        ConfigurationError: Both are given, the key is empty, or others could read it on its way.
    """

    def __init__(
        self,
        part: str,
        url: str,
        host: str,
        *,
        api_key: str | SecretStr | None,
        api_key_env: str | None,
        usual_env: str | None = None,
        own_header: str = "",
        vendor: str = "",
        is_optional: bool = False,
    ) -> None:
        from pydantic import SecretStr  # noqa: PLC0415 - imported with the first part that has a key

        if api_key is not None and api_key_env is not None:
            raise ConfigurationError(f"{part}: give api_key or api_key_env, not both")
        if own_header and (api_key is not None or api_key_env is not None):
            raise ConfigurationError(f"{part}: headers hold {own_header} already; give that or the key, not both")
        self._part = part
        self._vendor = vendor or host
        self._key = SecretStr(api_key) if isinstance(api_key, str) else api_key
        self._env = usual_env if api_key is None and api_key_env is None and not own_header else api_key_env
        self._is_optional = is_optional and api_key_env is None
        if self._key is not None and not self._key.get_secret_value().strip():
            raise ConfigurationError(f"{part}: api_key is empty; leave it out if the service needs no key")
        if (self._key or self._env) and not is_private(url, host):
            raise ConfigurationError(f"{part}: the key would be sent to {host} unencrypted; use https:// or wss://")

    @property
    def source(self) -> str:
        """Where the key is, e.g. "OPENAI_API_KEY" or "api_key of OpenAITTS"; "" if the service needs none."""
        return f"api_key of {self._part}" if self._key is not None else self._env or ""

    def read(self) -> SecretStr:
        """Return the key to send, without the white space around it; an empty one if none is needed.

        Raises:
            AuthenticationError: The environment variable is not set.
            ConfigurationError: The key holds a character that no header can carry.
        """
        from pydantic import SecretStr  # noqa: PLC0415 - see above

        key = (self._key.get_secret_value() if self._key else os.environ.get(self._env or "", "")).strip()
        if not key and self._env and not self._is_optional:
            raise AuthenticationError(
                f"{self._part}: the environment variable {self._env} is not set; put the key of {self._vendor} into "
                "it, or pass api_key",
                vendor=self._vendor,
            )
        if not (key.isascii() and key.isprintable()):  # checked here: the client library would quote the value
            raise ConfigurationError(
                f"{self._part}: the key holds a character that no header can carry, such as a line end or a "
                "typographic quote; copy the key again"
            )
        return SecretStr(key)


def keyless(part: str, url: str, host: str) -> Credentials:
    """Return the credentials of a service on this machine that needs no key: a simulator.

    Raises:
        ConfigurationError: The service is elsewhere, and the application has to say which key it gets.
    """
    if not is_loopback(host):
        raise ConfigurationError(
            f"{part}: expected the URL of a simulator on this machine, not of {host}; name a service in the program"
        )
    return Credentials(part, url, host, api_key=None, api_key_env=None)


def authorization(key: SecretStr, scheme: str = "Bearer ", header: str = "authorization") -> dict[str, str]:
    """Return the header that carries a key; none for an empty one."""
    secret = key.get_secret_value()
    return {header: f"{scheme}{secret}"} if secret else {}


def without_key(text: str, key: SecretStr) -> str:
    """Return what a service said, fit to be shown: it may quote the key."""
    secret = key.get_secret_value()
    return text.replace(secret, BLOT) if secret else text
