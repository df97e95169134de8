"""Holds a sound device open: opens it, watches it, and reopens it when it comes back.

Rule 1: a lost device shows in two ways: its stream ends (unplugged), or its blocks stop coming (suspended).
Rule 2: if the process itself was stopped, the device is not blamed.
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
"""How long a device may take to start: a sound server took up to 1.84 s to wake one that it had suspended."""

STALLED_S: Final = 0.9
"""How long a running device may pause between blocks; they come every 20 ms, and under load one was 0.12 s late."""

REOPEN_S: Final = 10.0
"""How long to try to reopen a lost device."""

RETRY_S: Final = 0.25
"""The pause between two attempts."""

OVERSLEPT_S: Final = 0.2
"""If the watch itself wakes later than this, the whole process stood still."""


class Stream(Protocol):
    """What `held` needs of a stream."""

    async def close(self) -> None:
        """Close the stream."""


@dataclass
class DeviceWatch:
    """The state of a device; written on the sound system's thread, read on the event loop's.

    Attributes:
        what: The device's name in errors.
        has_begun: Whether the device is running.
    """

    what: str
    loop: asyncio.AbstractEventLoop
    _generation: int = 0

    def __post_init__(self) -> None:
        """Begin to wait for the first block."""
        self._news = anyio.Event()
        self.restart()

    def restart(self) -> None:
        """Reset, because the device is about to be opened."""
        self.has_begun = False
        self._last_sign_s = self.loop.time()
        self._is_ended = False
        self._generation += 1

    def opened(self) -> None:
        """Note that the device has just been opened; its time to start begins now."""
        self._last_sign_s = self.loop.time()

    def sign(self) -> None:
        """Note a sign of life. Works on any thread."""
        self._last_sign_s = self.loop.time()
        if not self.has_begun:
            self.has_begun = True
            self._on_loop(self._notify)

    def ended(self) -> Callable[[], None]:
        """Return a callback for the end of the stream that is being opened. Works on any thread."""
        generation = self._generation

        def end() -> None:
            self._on_loop(self._end, generation)

        return end

    async def wait_begun(self) -> None:
        """Wait until the device is running. `held` raises if it never does."""
        while not self.has_begun:
            await self._news.wait()

    async def wait_lost(self) -> AudioDeviceLost:
        """Wait until the device is lost, and return the error that says how."""
        while not self._is_ended:
            limit_s = STALLED_S if self.has_begun else FIRST_SIGN_S
            due = self._last_sign_s + limit_s
            now = anyio.current_time()
            if now > due + OVERSLEPT_S:
                self._last_sign_s = now  # the process stood still and may have missed blocks
            elif now >= due:
                return AudioDeviceLost(
                    f"{self.what} gave no sign of life for {limit_s:g} s: it is suspended, or its sound server hangs"
                )
            else:
                with anyio.move_on_after(due - now):
                    await self._news.wait()
        return AudioDeviceLost(f"{self.what} is gone: it was unplugged, or its sound server ended")

    def _on_loop(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self.loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            return  # the loop is closed, so nothing watches any more

    def _notify(self) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()

    def _end(self, generation: int) -> None:
        if generation == self._generation:
            self._is_ended = True
            self._notify()


async def held(
    opening: Callable[[], Awaitable[Stream]],
    watch: DeviceWatch,
    lost: Callable[[AudioDeviceLost], None] | None,
    *,
    task_status: TaskStatus[None],
) -> None:
    """Hold a device open until cancelled.

    Args:
        opening: Opens the device.
        watch: The device's watch, restarted before each opening.
        lost: Called when the device is lost and will be reopened; None if it must not be reopened.
        task_status: Reports `started` once the device is open.

    Raises:
        AudioDeviceError: The device cannot be opened.
        AudioDeviceLost: The device was lost and did not come back.
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
