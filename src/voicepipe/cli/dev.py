"""`voicepipe dev`: an agent in the browser, started again whenever its files are saved.

Rule 1: the server runs in a process of its own, so that each start loads everything again.
Rule 2: a file that cannot be loaded is said, and waited for until it is saved again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import webbrowser
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from anyio.streams.text import TextReceiveStream
from watchfiles import PythonFilter, awatch

import voicepipe as vp
from voicepipe.core.process import run

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncGenerator, Sequence

    from anyio.abc import Process

__all__ = ["dev"]

SERVING_ON: Final = "voicepipe: serving on "
PROGRAM: Final = "import sys; from voicepipe.cli import main; sys.exit(main())"

WATCH_MS: Final = 100
"""How often the watcher looks up, whose thread cannot be cancelled in between."""

STOP_S: Final = 6.0
"""How long the server may take to cut its calls before it is killed."""


def dev(options: argparse.Namespace) -> int:
    """Serve, open the browser, and serve again after each change; returns only by Ctrl-C.

    Raises:
        ConfigurationError: There is no such file.
        KeyboardInterrupt: Ctrl-C or another signal that ends a program, once the server has ended.
    """
    folder = _folder(options.app)
    command = [sys.executable, "-u", "-c", PROGRAM, "serve", options.app, "--port", str(options.port), "--drain", "0"]
    if options.greeting:
        command += ["--greeting", options.greeting]
    if options.record:
        command += ["--record", str(options.record)]
    if options.local:
        command += ["--local"]
    for name, value in (("--llm-url", options.llm_url), ("--llm-model", options.llm_model)):
        command += [name, value] if value else []
    run(_serve_again_and_again, command, folder, not options.no_browser)
    return 0


def _folder(app: str) -> Path:
    """Return the folder whose files are watched."""
    place = app.rpartition(":")[0] or app
    path = Path(place if Path(place).exists() else app)
    if path.suffix == ".py" and not path.is_file():
        raise vp.ConfigurationError(f"{path} does not exist; name a Python file that creates a Pipeline")
    return path.parent.resolve() if path.suffix == ".py" else Path.cwd()


async def _serve_again_and_again(command: Sequence[str], folder: Path, opens_browser: bool) -> None:
    changes = awatch(folder, watch_filter=PythonFilter(), step=WATCH_MS, rust_timeout=WATCH_MS)
    while True:
        async with _running(command) as process, anyio.create_task_group() as tasks:
            tasks.start_soon(_show, process, opens_browser)
            changed = await anext(changes)
            opens_browser = False
            names = ", ".join(sorted({Path(path).name for _, path in changed}))
            print(f"voicepipe: {names} changed; starting again", flush=True)
            tasks.cancel_scope.cancel()


async def _show(process: Process, opens_browser: bool) -> None:
    """Print what the server prints, and open its page once it listens."""
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    said = ""
    async for text in TextReceiveStream(process.stdout, errors="replace"):
        print(text, end="", flush=True)
        said += text
        while "\n" in said:
            line, _, said = said.partition("\n")
            if opens_browser and line.startswith(SERVING_ON):
                opens_browser = False
                webbrowser.open(line.removeprefix(SERVING_ON))
    status = await process.wait()
    print(f"voicepipe: the server has ended with the status {status}; it starts again when a file is saved", flush=True)


@asynccontextmanager
async def _running(command: Sequence[str]) -> AsyncGenerator[Process]:
    """Run the server while the block lasts; its calls are cut at the end."""
    # Ctrl-C comes to this process alone, and ends the other one from here.
    process = await anyio.open_process(
        command, stderr=None, stdin=subprocess.DEVNULL, start_new_session=os.name == "posix"
    )
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            await _stop(process)


async def _stop(process: Process) -> None:
    for _ in range(2):  # the second signal does not wait for the calls
        if process.returncode is None:
            process.terminate()
            await anyio.sleep(0.05)
    with anyio.move_on_after(STOP_S):
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
    await process.aclose()
