"""An engine whose workers do what a script says, on virtual time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from voicepipe.fleet import Application, Engine, Handle, Listening, Load
from voicepipe.fleet.engine import DRAIN_S

APPLICATION = Application("app.py")


@dataclass(kw_only=True)
class Script:
    """What one worker does. All times are in seconds from its start.

    Attributes:
        starts_s: How long it takes until it listens.
        fails: What is raised in place of that.
        ready_s: When it takes calls, from when it listens.
        dies_s: When it ends unasked; None for never.
        silent_s: When it stops to answer; None for never.
        calls: Its calls.
        drains_s: How long its calls go on when it is drained; None for longer than anybody waits.
        url: Where it says that it is; "" for nowhere.
    """

    starts_s: float = 1.0
    fails: Exception | None = None
    ready_s: float = 0.0
    dies_s: float | None = None
    silent_s: float | None = None
    calls: int = 0
    drains_s: float | None = 5.0
    url: str = ""


class ScriptedHandle(Handle):
    """A worker of a script."""

    def __init__(self, script: Script, index: int, began_s: float) -> None:
        self.script = script
        self.listening = Listening(script.url or "http://127.0.0.1:1", f"ws://127.0.0.1:{9000 + index}", ("/hook",))
        self.how = ""
        self.drains: list[tuple[float, bool]] = []
        self._listens_s = anyio.current_time()
        self._began_s = began_s
        self._until_s = float("inf")
        self._change = anyio.Event()
        if script.dies_s is not None:
            self._ends(script.dies_s + began_s, "it has ended with the status 1")

    def _ends(self, at_s: float, how: str) -> None:
        if at_s < self._until_s:
            self._until_s, self.how = at_s, how
            self._change.set()
            self._change = anyio.Event()

    async def wait_ended(self) -> str:
        while (now := anyio.current_time()) < self._until_s:
            with anyio.move_on_after(self._until_s - now):
                await self._change.wait()
        return self.how

    async def load(self) -> Load:
        now = anyio.current_time()
        if self.script.silent_s is not None and now >= self._began_s + self.script.silent_s:
            await anyio.sleep_forever()
        refuses = "" if now >= self._listens_s + self.script.ready_s else "lag"
        return Load(self.script.calls, 10, refuses=refuses)

    async def drain(self, within_s: float, *, hands_over: bool) -> None:
        self.drains.append((within_s, hands_over))
        if self.script.drains_s is not None:
            self._ends(anyio.current_time() + min(within_s, self.script.drains_s), "it has ended with the status 0")

    async def kill(self) -> None:
        self._ends(anyio.current_time(), "it was killed")


class ScriptedEngine(Engine):
    """Takes the scripts in their order, and after the last one workers that have no fault.

    Attributes:
        happened: What was done, in order: (time, what, index).
    """

    def __init__(self, scripts: Sequence[Script] = ()) -> None:
        super().__init__()
        self.happened: list[tuple[float, str, int]] = []
        self.handles: list[ScriptedHandle] = []
        self._scripts = list(scripts)

    @asynccontextmanager
    async def hosting(self, application: Application) -> AsyncGenerator[None]:
        del application
        yield
        assert all(handle.how for handle in self.handles), "a worker was left"

    async def launch(self, index: int) -> Handle:
        began_s = anyio.current_time()
        script = self._scripts.pop(0) if self._scripts else Script()
        self.happened.append((began_s, "starts", index))
        await anyio.sleep(script.starts_s)
        if script.fails is not None:
            raise script.fails
        self.handles.append(ScriptedHandle(script, index, began_s))
        return self.handles[-1]

    def state(self) -> list[tuple[str, int, bool]]:
        """Return the workers: id, index, and whether they take calls."""
        return [(worker.id, worker.index, worker.load.is_ready) for worker in self.workers()]


__all__ = ["APPLICATION", "DRAIN_S", "Script", "ScriptedEngine", "ScriptedHandle"]
