"""What a fleet runs: an application by its import path, and what each of its workers has to know.

Rule 1: plain data, so that it can travel to another process or another machine.
Rule 2: secrets show in no `repr`, and are handed over where no list of processes shows them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import Final

from voicepipe.errors import ConfigurationError

__all__ = ["Application", "Listening", "check_token"]

PROGRAM: Final = "voicepipe.cli.serve:made"

MEDIA_URL: Final = re.compile(r"wss?://[^/?#\s{}]+(/[^?#\s{}]*)?")

HOST_FIRST: Final = re.compile(r"wss?://\{host\}\.[^{}]")

ANYWHERE: Final = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not listened on
"""All addresses of a machine at once, to which nobody can connect."""

MOST_LISTED: Final = 64
"""Addresses of workers that a page's policy names; with more workers the header would grow beyond what proxies take."""


@dataclass(frozen=True, slots=True)
class Application:
    """An application, and how its workers serve it.

    Attributes:
        path: As on the command line: "app.py", "app.py:serve" or "package.module:agent".
        arguments: Further options of `voicepipe serve`, e.g. ("--greeting", "Hello!").
        host: The address on which workers listen.
        first_port: The port of the worker with the index 0; that with the index 1 has the next one. 0 takes free ports.
        worker_url: Where callers reach a worker, e.g. "wss://w{index}.example.com" or "wss://example.com:{port}"; "" if
            they reach it at the address on which it listens. Of workers on several machines, {host} is the address on
            which a worker listens, written as a name, e.g. 10-0-0-7: "wss://{host}.example.com:{port}".
        gateway_url: Where callers reach the gateway, e.g. "http://127.0.0.1:8000".
        certificate: A file with the certificate of the workers; "" for none.
        key: A file with its key; "" if the certificate's file has it.
        trusted_proxies: Proxies in front of the workers, whose `X-Forwarded-For` and `-Proto` count. The gateway is not
            one of them: workers know it by the token.
        drain_s: How long a worker's calls may go on after the worker itself was asked to end, e.g. by SIGTERM.
        store: The URL of the store of calls, with its password; "" for none.
        workers: How many workers will run, so that pages know their addresses in advance.
        program: The function that makes the `Serve` of an application, by import path. It is called in the worker with
            `path`, `arguments` and `store`, and returns an async context manager.
        token: The bearer token by which a worker knows its engine.

    Raises:
        ConfigurationError: `worker_url` is no address of websockets, or is missing where callers cannot know it.
    """

    path: str
    arguments: tuple[str, ...] = ()
    host: str = field(default="127.0.0.1", kw_only=True)
    first_port: int = field(default=0, kw_only=True)
    worker_url: str = field(default="", kw_only=True)
    gateway_url: str = field(default="", kw_only=True)
    certificate: str = field(default="", kw_only=True)
    key: str = field(default="", kw_only=True)
    trusted_proxies: tuple[str, ...] = field(default=(), kw_only=True)
    drain_s: float = field(default=600.0, kw_only=True)
    store: str = field(default="", kw_only=True, repr=False)
    workers: int = field(default=1, kw_only=True)
    program: str = field(default=PROGRAM, kw_only=True, repr=False)
    token: str = field(default_factory=token_urlsafe, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        """Refuse an address that cannot be one."""
        if self.worker_url and not MEDIA_URL.fullmatch(self._filled(0, 80)):
            raise ConfigurationError(
                "the workers' URL must be that of a websocket, e.g. 'wss://w{index}.example.com' or "
                f"'wss://example.com:{{port}}', not {self.worker_url!r}"
            )
        if "{host}" in self.worker_url and not HOST_FIRST.match(self.worker_url):
            raise ConfigurationError(
                "in the workers' URL, {host} must be the first name of several, e.g. 'wss://{host}.example.com:{port}',"
                f" because the policy of a page can name no others; it is {self.worker_url!r}"
            )
        if not self.worker_url and self.host in ANYWHERE:
            raise ConfigurationError(
                f"workers that listen on {self.host} have to know where callers reach them; give the workers' URL, "
                "e.g. --worker-url 'wss://w{index}.example.com'"
            )

    def port(self, index: int) -> int:
        """Return the port on which a worker listens; 0 for a free one."""
        return self.first_port + index if self.first_port else 0

    def media_url(self, index: int, port: int) -> str:
        """Return where callers reach a worker: the beginning of the addresses of its websockets, without a slash.

        Args:
            index: The worker's index.
            port: The port on which it listens.
        """
        if self.worker_url:
            return self._filled(index, port).rstrip("/")
        scheme = "wss" if self.certificate else "ws"
        return f"{scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{port}"

    def media_sources(self) -> tuple[str, ...]:
        """Return where a page may connect to reach any worker, as its Content-Security-Policy names it."""
        scheme = "wss" if self.certificate else "ws"
        if not self.worker_url:
            if not self.first_port:
                return (f"{scheme}://{self.host}:*",)  # which ports will be free is not known in advance
            indexes = range(min(self.workers + 1, MOST_LISTED))
            return tuple(self.media_url(index, self.port(index)) for index in indexes)
        port = "*" if "{port}" in self.worker_url and not self.first_port else None
        found: dict[str, None] = {}
        for index in range(min(self.workers + 1, MOST_LISTED)):  # one more, which a rolling restart starts first
            filled = self._filled(index, port or self.port(index), "*")
            found["/".join(filled.split("/")[:3])] = None
        return tuple(found)

    def _filled(self, index: int, port: int | str, host: str = "") -> str:
        values = {"{index}": str(index), "{port}": str(port), "{host}": host or re.sub(r"[.:]", "-", self.host)}
        return re.sub(r"\{(?:index|port|host)\}", lambda found: values[found[0]], self.worker_url)


@dataclass(frozen=True, slots=True)
class Listening:
    """What a worker reports once it listens.

    Attributes:
        url: Where the engine and the gateway reach it, e.g. "http://127.0.0.1:4711".
        media_url: Where callers reach it, e.g. "wss://w0.example.com".
        paths: The paths of its pages, tokens and webhooks, as starlette writes them: "/", "/token", "/files/{name}".
    """

    url: str
    media_url: str
    paths: tuple[str, ...] = ()


def check_token(token: str) -> None:
    """Refuse what cannot be the token of a gateway, because no request could show it.

    Raises:
        ConfigurationError: It is blank, or has other characters than printable ones of ASCII.
    """
    if not token.strip():
        raise ConfigurationError("the gateway's token must not be blank; leave it out to let this machine in")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ConfigurationError(
            "the gateway's token must be of printable ASCII without spaces, as a header can hold it; e.g. what "
            "openssl rand -hex 24 prints"
        )
