"""The options of the commands that serve, and of the one that looks after several workers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from voicepipe.cli._arguments import add_local, add_record, delay, port_number

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TOKEN_VARIABLE", "add_scale", "add_serve", "serve_options"]

TOKEN_VARIABLE: Final = "VOICEPIPE_GATEWAY_TOKEN"  # noqa: S105 - a name
"""The environment variable with the gateway's token."""

GATEWAY: Final = "http://127.0.0.1:8000"

MOST_WORKERS: Final = 1_000


def add_serve(commands: Any) -> None:  # noqa: ANN401 - as above
    """Add `voicepipe serve` and `voicepipe dev`."""
    serve = commands.add_parser(
        "serve",
        help="let others call your agent",
        description="Run a server for the agent of a Python file: its Serve under the name `serve`, or a Pipeline, "
        "which callers then reach by a page. The first signal (Ctrl-C, SIGTERM) lets nobody new in and waits for the "
        "calls; a second one ends them. Other machines can call if the Serve says how it knows who calls.",
    )
    _add_app(serve)
    add_local(serve, "serve your agent without any key", has_url=False)
    add_record(serve, "each call")
    serve.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (%(default)s)")
    serve.add_argument(
        "--drain", type=delay, default=600.0, metavar="S", help="how long calls may go on after a signal (%(default)g)"
    )
    serve.add_argument("--certificate", type=Path, metavar="FILE", help="serve https with this certificate (PEM)")
    serve.add_argument("--key", type=Path, metavar="FILE", help="the key of the certificate, if it is in another file")
    serve.add_argument(
        "--trust-proxy",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="a proxy whose X-Forwarded-For and -Proto count; may be repeated",
    )
    serve.add_argument(
        "--store",
        metavar="URL",
        help="keep calls in Redis, so that they go on in another process: redis://host:6379/0. A password is better in "
        "the environment variable VOICEPIPE_STORE, in place of this option",
    )
    _add_fleet(serve)
    dev = commands.add_parser(
        "dev",
        help="talk to your agent in the browser, while you write it",
        description="Run a server for the agent of a Python file on this machine, open its page in the browser, and "
        "start again whenever a Python file in its folder is saved, until Ctrl-C.",
    )
    _add_app(dev)
    add_local(dev, "serve your agent without any key", has_url=False)
    add_record(dev, "each call")
    dev.add_argument("--no-browser", action="store_true", help="print the address, and open no browser")


def _add_fleet(serve: argparse.ArgumentParser) -> None:
    fleet = serve.add_argument_group(
        "several workers",
        "With --workers or --engine, this process is a gateway: it hands pages, tokens and webhooks to the worker with "
        "the fewest calls, and callers reach the workers themselves.",
    )
    fleet.add_argument(
        "--engine",
        choices=("local", "ray"),
        help="what runs the workers: processes of this machine (local), or the cluster of Ray that RAY_ADDRESS names; "
        "without RAY_ADDRESS, one that is started on this machine",
    )
    fleet.add_argument("--workers", type=_count, metavar="N", help="how many; one for each processor by default")
    fleet.add_argument(
        "--worker-url",
        metavar="URL",
        help="where callers reach a worker, e.g. wss://w{index}.example.com, wss://example.com:{port} or, on several "
        "machines, wss://{host}.example.com:{port}; where it listens by default",
    )
    fleet.add_argument(
        "--worker-port", type=port_number, metavar="N", help="the port of the first worker, the next one has N + 1"
    )
    fleet.add_argument(
        "--token",
        metavar="TOKEN",
        help="who shows it may use /metrics and voicepipe scale; otherwise this machine may. Better in the environment "
        "variable VOICEPIPE_GATEWAY_TOKEN",
    )


def add_scale(commands: Any) -> None:  # noqa: ANN401 - argparse does not export what it returns
    """Add `voicepipe scale`."""
    scale = commands.add_parser(
        "scale",
        help="look after the workers of voicepipe serve --workers",
        description="status: print the workers and their calls. drain: take one worker away, whose calls go on to "
        "their end or elsewhere. restart: replace all workers, one after the other, e.g. for a new version of the "
        "application; no call is cut. Both return when it is done.",
    )
    scale.add_argument("what", choices=("status", "drain", "restart"), metavar="WHAT", help="status, drain or restart")
    scale.add_argument("worker", nargs="?", metavar="WORKER", help="for drain: which one, as status names it")
    scale.add_argument("--gateway", default=GATEWAY, metavar="URL", help="where the gateway is (%(default)s)")
    scale.add_argument(
        "--token", metavar="TOKEN", help="its token; or the environment variable VOICEPIPE_GATEWAY_TOKEN"
    )
    scale.add_argument(
        "--within", type=delay, metavar="S", help="how long calls may go on; as long as the gateway says by default"
    )
    scale.add_argument("--json", action="store_true", help="print the status as JSON, and nothing else")


def serve_options(path: str, arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options of `voicepipe serve` for an application, with these further arguments."""
    parser = argparse.ArgumentParser()
    add_serve(parser.add_subparsers(dest="command"))
    return parser.parse_args(["serve", path, *arguments])


def _add_app(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "app", metavar="APP", help="app.py, app.py:serve or package.module:agent; or a function that makes it"
    )
    parser.add_argument(
        "--port", type=port_number, default=8000, metavar="N", help="the port (%(default)s); 0 for a free one"
    )
    parser.add_argument("--greeting", default="", metavar="TEXT", help="what the agent says first, for a Pipeline")


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"expected a number of workers from 1 to {MOST_WORKERS}, not {text!r}")
    return int(text)
