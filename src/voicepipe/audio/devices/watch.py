"""A sound device that is held open: opened, watched, and opened again when it comes back.

Rule 1: a device that is gone says so in two ways: its stream ends (unplugged), or nothing comes any more (suspended).
Rule 2: a process that was stopped itself does not blame the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import anyio

from voicepipe.errors import AudioDeviceError, AudioDeviceLost

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskStatus

__all__ = ["DeviceWatch", "held"]

FIRST_SIGN_S: Final = 3.0
"""How long a device may take to begin: a sound server that had put one to sleep took up to 1.84 s to wake it."""

STALLED_S: Final = 0.9
"""How long a device that runs may be silent; blocks come every 20 ms, and under load one was 0.12 s late."""

REOPEN_S: Final = 10.0
"""How long to try to open a device again that was lost."""

RETRY_S: Final = 0.25
"""Between two tries."""

OVERSLEPT_S: Final = 0.2
"""When the watch itself wakes later than this, the whole process stood still."""


class Stream(Protocol):
    """What `held` needs of a stream."""

    async def close(self) -> None:
        """End it."""


@dataclass
class DeviceWatch:
    """What is known of a device's life; written on the sound system's thread, read on the loop's.

    Attributes:
        what: How errors call the device.
        has_begun: Whether it runs.
    """

    what: str
    loop: asyncio.AbstractEventLoop
    _generation: int = 0

    def __post_init__(self) -> None:
        """Begin to wait for the first sign."""
        self._news = anyio.Event()
        self.restart()

    def restart(self) -> None:
        """The device is about to be opened."""
        self.has_begun = False
        self._last_sign_s = self.loop.time()
        self._is_ended = False
        self._generation += 1

    def opened(self) -> None:
        """It was opened just now: from here on it has its time to begin."""
        self._last_sign_s = self.loop.time()

    def sign(self) -> None:
        """It lives. On any thread."""
        self._last_sign_s = self.loop.time()
        if not self.has_begun:
            self.has_begun = True
            self._call(self._tell)

    def ended(self) -> Callable[[], None]:
        """Return what to call, on any thread, when the stream that is opened now ends."""
        generation = self._generation

        def end() -> None:
            self._call(self._end, generation)

        return end

    async def wait_begun(self) -> None:
        """Wait until it runs. `held` raises when it never does."""
        while not self.has_begun:
            await self._news.wait()

    async def wait_lost(self) -> AudioDeviceLost:
        """Wait until it is lost, and return how."""
        while not self._is_ended:
            limit_s = STALLED_S if self.has_begun else FIRST_SIGN_S
            due = self._last_sign_s + limit_s
            now = anyio.current_time()
            if now > due + OVERSLEPT_S:
                self._last_sign_s = now  # we were not there to see it
            elif now >= due:
                return AudioDeviceLost(
                    f"{self.what} gave no sign for {limit_s:g} s: it is suspended, or its sound server hangs"
                )
            else:
                with anyio.move_on_after(due - now):
                    await self._news.wait()
        return AudioDeviceLost(f"{self.what} is gone: it was unplugged, or its sound server ended")

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self.loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            return  # the loop is closed: nobody watches any more

    def _tell(self) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()

    def _end(self, generation: int) -> None:
        if generation == self._generation:
            self._is_ended = True
            self._tell()


async def held(
    opening: Callable[[], Awaitable[Stream]],
    watch: DeviceWatch,
    lost: Callable[[AudioDeviceLost], None] | None,
    *,
    task_status: TaskStatus[None],
) -> None:
    """Hold a device open until cancelled.

    Args:
        opening: Opens it.
        watch: Restarted before each opening.
        lost: Called when it is lost and will be opened again; None when it must not be.
        task_status: Started once it is open.

    Raises:
        AudioDeviceError: It cannot be opened.
        AudioDeviceLost: It was lost, for good.
    """
    watch.restart()
    stream = await opening()
    task_status.started()
    while True:
        watch.opened()
        try:
            error = await watch.wait_lost()
        finally:
            await stream.close()
        if lost is None:
            raise error
        lost(error)
        stream = await _opened_again(opening, watch, error)


async def _opened_again(opening: Callable[[], Awaitable[Stream]], watch: DeviceWatch, lost: AudioDeviceLost) -> Stream:
    tried_until = anyio.current_time() + REOPEN_S
    while True:
        watch.restart()
        try:
            return await opening()
        except AudioDeviceError as error:
            if anyio.current_time() >= tried_until:
                raise AudioDeviceLost(f"{lost}; it did not come back within {REOPEN_S:g} s ({error})") from error
            await anyio.sleep(RETRY_S)
