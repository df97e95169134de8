"""One TLS context per process: to read the CA store takes as long as a handshake, and would hold up every call.

Rule 1: the store is read once, in a thread. Who needs it meanwhile waits for the same one.
Rule 2: a connection without a handshake needs no store, and reads none.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from voicepipe.core.threads import run_in_daemon_thread

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

__all__ = ["tls_context"]

_contexts: dict[Callable[[], ssl.SSLContext], ssl.SSLContext] = {}
_reading = threading.Lock()


async def tls_context(make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """Return the context that `make` gives. It is called once per process, so a later change of the store is not seen.

    Raises:
        OSError: The store cannot be read.

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
