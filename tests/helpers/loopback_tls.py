"""TLS on loopback: a server's context, and the authority that its clients have to trust."""

from __future__ import annotations

import ssl
from pathlib import Path

AUTHORITY = Path(__file__).with_name("loopback_authority.pem")
"""It signed for localhost, *.example.com, 127.0.0.1 and ::1."""

HASHED_NAME = "fb154c68.0"
"""The name under which OpenSSL looks for the authority in a directory."""


def server_tls() -> ssl.SSLContext:
    """A context for servers."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(Path(__file__).with_name("loopback_server.pem"))
    return context
