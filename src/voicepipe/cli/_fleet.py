"""`voicepipe serve --workers N`: a gateway in this process, and workers in others."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

import anyio

from voicepipe.cli._serve_arguments import TOKEN_VARIABLE
from voicepipe.cli.serve import STORE_VARIABLE
from voicepipe.fleet import Application, LocalEngine, RayEngine
from voicepipe.fleet.gateway import Gateway
from voicepipe.serving.uvicorn_server import bound, run_on, url_of

if TYPE_CHECKING:
    import argparse

    from voicepipe.fleet import Engine

__all__ = ["serve_fleet"]


def serve_fleet(options: argparse.Namespace) -> int:
    """Serve until signals end it, and return 0.

    Raises:
        ConfigurationError: The application cannot be loaded or served, or the address cannot be used.
        VoicepipeError: A worker could not be started.
    """
    anyio.run(_run, options, backend_options={"use_uvloop": find_spec("uvloop") is not None})
    return 0


async def _run(options: argparse.Namespace) -> None:
    workers: int = options.workers or os.cpu_count() or 1
    certificate = str(options.certificate) if options.certificate else None
    with bound(options.host, options.port) as listener:
        gateway_url = url_of(listener, is_secure=certificate is not None)
        application = _application(options, workers, gateway_url)
        token = options.token or os.environ.get(TOKEN_VARIABLE) or None
        gateway = Gateway(_engine(options.engine or "local"), application, workers, token=token)
        print(f"voicepipe: starting {workers} workers", flush=True)
        await run_on(
            listener,
            gateway.app,
            gateway,
            drain_s=options.drain,
            certificate=certificate,
            key=str(options.key) if options.key else None,
            trusted_proxies=options.trust_proxy,
        )


def _application(options: argparse.Namespace, workers: int, gateway_url: str) -> Application:
    return Application(
        options.app,
        tuple(_arguments(options)),
        host=options.host,
        first_port=options.worker_port or 0,
        worker_url=options.worker_url or "",
        gateway_url=gateway_url,
        certificate=str(options.certificate or ""),
        key=str(options.key or ""),
        trusted_proxies=tuple(options.trust_proxy),
        drain_s=options.drain,
        store=options.store or os.environ.get(STORE_VARIABLE, ""),
        workers=workers,
    )


def _arguments(options: argparse.Namespace) -> list[str]:
    """Return the options that are about the agent, for each worker's own command line."""
    said: list[str] = ["--local"] if options.local else []
    for name, value in (
        ("--greeting", options.greeting),
        ("--record", options.record),
        ("--llm-url", options.llm_url),
        ("--llm-model", options.llm_model),
    ):
        said += [name, str(value)] if value else []
    return said


def _engine(name: str) -> Engine:
    """Return what runs the workers."""
    return RayEngine() if name == "ray" else LocalEngine()
