"""`voicepipe serve`: run a server for the agent of a Python file."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import anyio

import voicepipe as vp
from voicepipe.cli._app import load_served
from voicepipe.cli._local import notes_on, on_this_machine
from voicepipe.cli._recorded import notice, recorded
from voicepipe.serving import Page, Serve

if TYPE_CHECKING:
    import argparse

    from voicepipe.cli._app import Loaded

__all__ = ["serve"]


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
    async with loaded.made() as made:
        served = _served(loaded.where, made, options)
        served.desk.agent = await on_this_machine(served.desk.agent, options)
        for note in notes_on(served.desk.agent, options):
            print(f"voicepipe: {note}", flush=True)
        if options.record is not None:
            served.desk.agent = recorded(served.desk.agent, options.record)
            print(f"voicepipe: {notice(options.record)}", flush=True)
        await served._run(
            options.host,
            options.port,
            drain_s=options.drain,
            certificate=str(options.certificate) if options.certificate else None,
            key=str(options.key) if options.key else None,
            trusted_proxies=options.trust_proxy,
        )


def _served(where: str, made: object, options: argparse.Namespace) -> Serve:
    if isinstance(made, Serve):
        if options.greeting:
            raise vp.ConfigurationError(f"--greeting has no effect: {where} is a Serve; write Serve(..., greeting=...)")
        return made
    pipeline = made._pipeline if isinstance(made, vp.Host) else made
    if not isinstance(pipeline, vp.Pipeline):
        raise vp.ConfigurationError(f"{where}() must return a Pipeline or a Serve, not a {type(made).__name__}")
    return Serve(pipeline, [Page()], greeting=options.greeting)
