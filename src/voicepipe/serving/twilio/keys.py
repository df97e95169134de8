"""The secrets that prove that Twilio asks: an auth token, one for each account, and keys that sign with SHA-256.

Rule 1: a secret is a `SecretStr`, and no message shows it.
Rule 2: a webhook that names an account must be signed with that account's token.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr

from voicepipe.errors import ConfigurationError
from voicepipe.serving.transport import Refused
from voicepipe.serving.twilio.signature import SETTINGS_HEADER, SIGNATURE_HEADER, is_signed, key_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Keys"]

USUAL_ENV: Final = "TWILIO_AUTH_TOKEN"


class Keys:
    """What Twilio may have signed with.

    Args:
        auth_token: The token of the account, or those of several by their AccountSid; None reads the environment.
        shared_keys: Secrets by the name of their key.

    Raises:
        ConfigurationError: There is no account, or a secret is empty.
    """

    def __init__(
        self,
        auth_token: str | SecretStr | Mapping[str, str | SecretStr] | None,
        shared_keys: Mapping[str, str | SecretStr],
    ) -> None:
        if isinstance(auth_token, Mapping):
            if not auth_token:
                raise ConfigurationError("Twilio: auth_token names no account; give {AccountSid: token}, or one token")
            self._tokens = {account: _secret(token) for account, token in auth_token.items()}
        else:
            self._tokens = {} if auth_token is None else {"": _secret(auth_token)}
        self._shared = {name: _secret(secret) for name, secret in shared_keys.items()}

    def read(self) -> None:
        """Read the token from the environment, if none was given.

        Raises:
            ConfigurationError: It is not there.
        """
        if not self._tokens:
            token = os.environ.get(USUAL_ENV, "").strip()
            if not token:
                raise ConfigurationError(
                    f"Twilio: the environment variable {USUAL_ENV} is not set; put the account's auth token into it, "
                    "or pass auth_token"
                )
            self._tokens = {"": SecretStr(token)}

    def check(
        self, headers: Mapping[str, str], url: str, form: Sequence[tuple[str, str]] = (), account: str | None = None
    ) -> None:
        """Check that Twilio has signed a request.

        Args:
            headers: Those of the request, by names in lower case.
            url: The URL at which the server is known.
            form: The fields of a webhook; a websocket has none.
            account: Whose request it claims to be; None if it does not say.

        Raises:
            Refused: It has not.
        """
        self.read()
        found = key_of(headers.get(SETTINGS_HEADER))
        if found is None:
            raise Refused("signature", "the algorithm of the signature is not known")
        key, digest = found
        if key:
            secrets = [self._shared[key]] if key in self._shared else []
        elif account is None or "" in self._tokens:
            secrets = list(self._tokens.values())
        else:
            secrets = [self._tokens[account]] if account in self._tokens else []
        known = [secret.get_secret_value() for secret in secrets]
        if not is_signed(headers.get(SIGNATURE_HEADER), known, url, form, digest=digest):
            raise Refused("signature", "the signature is not right")


def _secret(secret: str | SecretStr) -> SecretStr:
    kept = SecretStr(secret) if isinstance(secret, str) else secret
    if not kept.get_secret_value().strip():
        raise ConfigurationError("Twilio: a secret is empty; leave auth_token out to read TWILIO_AUTH_TOKEN")
    return kept
