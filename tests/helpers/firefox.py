"""A second browser: headless Firefox, driven by Marionette, its own protocol, with a sound server of the test's own.

Without a sound server its audio contexts never run. Marionette sends JSON messages behind their length and a colon: a
command is [0, number, name, parameters], and its answer [1, number, error, result].
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

if TYPE_CHECKING:
    from anyio.abc import SocketStream

    from tests.helpers.pulse import PulseDaemon

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox") or ""

MISSING = [name for name in ("pulseaudio", "pactl") if shutil.which(name) is None]
MISSING += [] if FIREFOX else ["firefox-esr"]

with_firefox = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.anyio,
    pytest.mark.skipif(
        bool(MISSING) and os.environ.get("VOICEPIPE_TEST_ALL") != "1", reason=f"not installed: {', '.join(MISSING)}"
    ),
]

PREFERENCES = {
    "media.navigator.streams.fake": True,  # a tone
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    "media.autoplay.blocking_policy": 0,
    "app.update.auto": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}

STARTS_S = 30.0
ANSWERS_S = 15.0


class Firefox:
    """A running browser with one page."""

    def __init__(self, wire: SocketStream) -> None:
        self._wire = wire
        self._received = BufferedByteReceiveStream(wire)
        self._commands = 0

    async def answer(self) -> Any:
        """Return the next message of the browser."""
        length = await self._received.receive_until(b":", 20)
        return json.loads(await self._received.receive_exactly(int(length)))

    async def command(self, name: str, **parameters: Any) -> Any:
        """Send a command, and return its result."""
        self._commands += 1
        message = json.dumps([0, self._commands, name, parameters]).encode()
        with anyio.fail_after(ANSWERS_S):
            await self._wire.send(b"%d:%s" % (len(message), message))
            _, number, error, result = await self.answer()
        assert number == self._commands
        assert error is None, error
        return result

    async def open(self, url: str) -> None:
        """Open a page."""
        await self.command("WebDriver:Navigate", url=url)

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression of the page's script."""
        result = await self.command("WebDriver:ExecuteScript", script=f"return ({expression})", args=[], sandbox=None)
        return result["value"]

    async def until(self, condition: str, within_s: float = 20.0) -> None:
        """Wait for a condition, which is an expression of the page's script."""
        until_s = anyio.current_time() + within_s  # no scope: a command that is cancelled would lose its answer
        while not await self.evaluate(f"Boolean({condition})"):
            if anyio.current_time() > until_s:
                shown = await self.evaluate("document.body.innerText")
                raise AssertionError(f"{condition} did not become true; the page shows {shown}")
            await anyio.sleep(0.02)


@asynccontextmanager
async def firefox(folder: Path, sound: PulseDaemon) -> AsyncGenerator[Firefox]:
    """Start Firefox with a new profile in a folder."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    profile = folder / "profile"
    profile.mkdir()
    preferences = {**PREFERENCES, "marionette.port": port}
    lines = [f'user_pref("{name}", {json.dumps(value)});\n' for name, value in preferences.items()]
    (profile / "user.js").write_text("".join(lines))
    command = [FIREFOX, "--headless", "--marionette", "--no-remote", "--profile", str(profile)]
    environment = {**sound.env, "HOME": str(folder)}
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    async with await anyio.open_process(command, env=environment, **quiet) as browser:
        try:
            async with await _reached(port) as wire:
                started = Firefox(wire)
                assert (await started.answer())["marionetteProtocol"] == 3
                await started.command("WebDriver:NewSession", capabilities={})
                yield started
        finally:
            browser.kill()


async def _reached(port: int) -> SocketStream:
    with anyio.fail_after(STARTS_S):
        while True:
            try:
                return await anyio.connect_tcp("127.0.0.1", port)
            except OSError:
                await anyio.sleep(0.1)
