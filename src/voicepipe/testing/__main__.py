"""The scripted gateway in a separate process: `python -m voicepipe.testing --token-s 0.01` prints its base URL."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TYPE_CHECKING

import anyio

from voicepipe.testing.gateway import ScriptedGateway
from voicepipe.testing.script import Says

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "serve_forever"]


async def serve_forever(gateway: ScriptedGateway) -> None:
    """Print the gateway's base URL on its own line, and serve until SIGINT or SIGTERM."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with gateway.serve() as base_url:
            sys.stdout.write(f"{base_url}\n")
            sys.stdout.flush()
            async for _ in signals:
                return


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a gateway that answers every request with the same three sentences."""
    parser = argparse.ArgumentParser(
        prog="python -m voicepipe.testing",
        description="A scripted chat completions server on loopback: it answers every request with the same three "
        "sentences. Prints its base URL and serves until it is interrupted.",
    )
    parser.add_argument("--port", type=int, default=0, help="the port to listen on; 0, the default, for a free one")
    parser.add_argument("--first-token-s", type=float, default=0.0, help="seconds from a request to the first token")
    parser.add_argument("--token-s", type=float, default=0.0, help="seconds between two tokens")
    options = parser.parse_args(arguments)
    gateway = ScriptedGateway(
        lambda _: Says("This reply is scripted. It has three sentences of ordinary length. Here the last one ends."),
        port=options.port,
        first_token_s=options.first_token_s,
        token_s=options.token_s,
        record=False,
    )
    anyio.run(serve_forever, gateway)


if __name__ == "__main__":
    main()
