"""One TLS context per process: to read the CA store takes as long as a handshake, and would hold up every call.

Rule 1: the store is read once, in a thread. Who needs it meanwhile waits for the same one.
Rule 2: a connection without a handshake needs no store, and reads none.
Rule 3: HTTP and websockets trust the same authorities.
"""

from __future__ import annotations

import os
import re
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from voicepipe.core.threads import run_in_daemon_thread
from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Trust", "tls_context"]

HASHED: Final = re.compile(r"[0-9a-f]{8}\.\d+")
"""Names of the files that are looked for in a directory of certificates: a hash of who is certified, and a number."""

CORRECT: Final = "correct the variable, or unset it"

_contexts: dict[Callable[[], ssl.SSLContext], ssl.SSLContext] = {}
_reading = threading.Lock()


@dataclass(frozen=True, slots=True)
class Trust:
    """Which authorities are trusted: those of two variables, or else those of the system and of certifi.

    A context is made by calling it, which reads files.

    Attributes:
        file: Value of SSL_CERT_FILE, "" for none.
        directory: Value of SSL_CERT_DIR: a directory, or several as in PATH.
    """

    file: str = ""
    directory: str = ""

    @classmethod
    def of_environment(cls) -> Trust:
        """Return what the environment says at the moment."""
        return cls(os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", ""))

    def __call__(self) -> ssl.SSLContext:
        """Make a context.

        Raises:
            ConfigurationError: A variable names what does not exist, cannot be read, or holds no certificate.
        """
        if not self.file and not self.directory:
            context = httpx.create_ssl_context(trust_env=False)  # certifi's, which every system has
            context.load_default_certs()  # and the system's, where a company adds its own
        else:
            context = self._named()
        context.set_alpn_protocols(["http/1.1"])  # the HTTP client sets it, too, with each connection
        return context

    def _named(self) -> ssl.SSLContext:
        try:
            self._check()
            return ssl.create_default_context(cafile=self.file or None, capath=self.directory or None)
        except ssl.SSLError as error:
            why = f"SSL_CERT_FILE names {self.file}, which holds no certificate in PEM form ({error.reason})"
        except OSError as error:
            why = f"{self} cannot be read ({error.strerror})"
        raise ConfigurationError(f"{why}; {CORRECT}")

    def _check(self) -> None:
        if self.file and not Path(self.file).is_file():
            raise ConfigurationError(f"SSL_CERT_FILE names {self.file}, and there is no such file; {CORRECT}")
        if not self.directory:
            return
        found = [one for one in self.directory.split(os.pathsep) if one and Path(one).is_dir()]
        if not found:
            raise ConfigurationError(f"SSL_CERT_DIR names {self.directory}, and there is no such directory; {CORRECT}")
        if not self.file and not any(HASHED.fullmatch(one.name) for place in found for one in Path(place).iterdir()):
            raise ConfigurationError(
                f"SSL_CERT_DIR names {self.directory}, which holds no certificate under its hash; run "
                f"openssl rehash {found[0]}, or name a file in SSL_CERT_FILE"
            )

    def __str__(self) -> str:
        """Say where the certificates come from."""
        variables = {"SSL_CERT_FILE": self.file, "SSL_CERT_DIR": self.directory}
        return " and ".join(f"{name}={value}" for name, value in variables.items() if value) or "the system and certifi"


async def tls_context(make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """Return the context that `make` gives. It is called once per process, so a later change of the store is not seen.

    Raises:
        ConfigurationError: The store cannot be read. It is tried again for the next one who asks.

    Cancelling returns at once; the store is read to its end for the next one who asks.
    """
    if (context := _contexts.get(make)) is not None:
        return context
    try:
        return await run_in_daemon_thread(_made, make, name="voicepipe reads the CA store", warns=False)
    except RuntimeError:  # no thread can be started: there are too many, or time is virtual
        return _made(make)


def _made(make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    with _reading:
        if make not in _contexts:
            _contexts[make] = make()
        return _contexts[make]
