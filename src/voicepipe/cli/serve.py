"""`voicepipe serve`: run a server for the agent of a Python file, in this process or in several."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import anyio

import voicepipe as vp
from voicepipe.cli._app import load_served
from voicepipe.cli._local import notes_on, on_this_machine
from voicepipe.cli._recorded import notice, recorded
from voicepipe.cli._serve_arguments import serve_options
from voicepipe.serving import Page, Serve

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncGenerator, Sequence

    from voicepipe.cli._app import Loaded

__all__ = ["STORE_VARIABLE", "made", "serve"]

STORE_VARIABLE: Final = "VOICEPIPE_STORE"
"""The environment variable with the URL of the store, whose password no list of processes then shows."""


def serve(options: argparse.Namespace) -> int:
    """Serve until signals end it, and return 0.

    Raises:
        ConfigurationError: The application cannot be loaded or served, or the address cannot be used.
        VoicepipeError: A part could not be opened.
    """
    loaded = load_served(options.app, (vp.Pipeline, vp.Host, Serve))
    anyio.run(_run, loaded, options, backend_options={"use_uvloop": find_spec("uvloop") is not None})
    return 0


async def _run(loaded: Loaded, options: argparse.Namespace) -> None:
    async with _served(loaded, options, options.store or os.environ.get(STORE_VARIABLE, ""), says_so=True) as served:
        await served._run(
            options.host,
            options.port,
            drain_s=options.drain,
            certificate=str(options.certificate) if options.certificate else None,
            key=str(options.key) if options.key else None,
            trusted_proxies=options.trust_proxy,
        )


@asynccontextmanager
async def made(path: str, arguments: Sequence[str], store: str) -> AsyncGenerator[Serve[Any]]:
    """Provide the server of an application, as a worker of a fleet runs it. See `Application.program`.

    Args:
        path: What the command line names as APP.
        arguments: Options of `voicepipe serve` that are about the agent.
        store: The URL of the store; "" for none.

    Raises:
        ConfigurationError: The application cannot be loaded or served.
    """
    loaded = load_served(path, (vp.Pipeline, vp.Host, Serve))
    async with _served(loaded, serve_options(path, arguments), store, says_so=False) as served:
        yield served


@asynccontextmanager
async def _served(
    loaded: Loaded, options: argparse.Namespace, store: str, *, says_so: bool
) -> AsyncGenerator[Serve[Any]]:
    """Provide the server of what was loaded, with what the options change."""
    async with loaded.made() as made_by_application:
        served = _serve_of(loaded.where, made_by_application, options)
        served.desk.agent = await on_this_machine(served.desk.agent, options)
        notes = [*notes_on(served.desk.agent, options)]
        if options.record is not None:
            served.desk.agent = recorded(served.desk.agent, options.record)
            notes.append(notice(options.record))
        if store:
            served.desk.keep_in(vp.RedisStore(store))
        for note in notes if says_so else ():
            print(f"voicepipe: {note}", flush=True)
        yield served


def _serve_of(where: str, made_by_application: object, options: argparse.Namespace) -> Serve[Any]:
    if isinstance(made_by_application, Serve):
        if options.greeting:
            raise vp.ConfigurationError(f"--greeting has no effect: {where} is a Serve; write Serve(..., greeting=...)")
        return made_by_application
    pipeline = made_by_application._pipeline if isinstance(made_by_application, vp.Host) else made_by_application
    if not isinstance(pipeline, vp.Pipeline):
        what = type(made_by_application).__name__
        raise vp.ConfigurationError(f"{where}() must return a Pipeline or a Serve, not a {what}")
    return Serve(pipeline, [Page()], greeting=options.greeting)
