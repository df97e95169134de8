"""The sound system, through PortAudio: the only module that imports sounddevice.

Rule 1: every function of PortAudio may block indefinitely, so it runs on a daemon thread, one at a time, and waiting
        for it has a named limit.
Rule 2: a stream is ended with `abort`, because `stop` waits for audio that a suspended device never takes or gives.
Rule 3: PortAudio's errors become voicepipe's errors here, and say what to do.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio

from voicepipe.audio.devices.device import AudioDevice
from voicepipe.core.threads import run_in_daemon_thread
from voicepipe.errors import AudioDeviceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.audio.devices.device import Direction

__all__ = ["DEVICE_BLOCKS", "INPUT_BLOCK_S", "OUTPUT_BLOCK_S", "OpenStream", "PortAudio", "devices", "hangs"]

T = TypeVar("T")

ANSWER_S: Final = 5.0
"""How long the sound system may take to list its devices or to open one."""

CLOSE_S: Final = 0.5
"""How long closing a device may take; after that the thread that closes it is abandoned."""

INPUT_BLOCK_S: Final = 0.02
"""A fixed size: with the size that the sound system chose, 1,300 bursts came in 6.5 s."""

OUTPUT_BLOCK_S: Final = 0.01
"""Short, so that the device holds little when a flush comes."""

DEVICE_BLOCKS: Final = 4
"""Blocks in the loudspeaker's buffer: 40 ms, which still play after a flush."""

OUTPUT_LATENCY_S: Final = OUTPUT_BLOCK_S * (DEVICE_BLOCKS - 1)
"""The latency to ask for to get a buffer of that size."""

BUSY: Final = -9985
BAD_RATE: Final = -9997
BAD_CHANNELS: Final = -9998
"""PortAudio's error codes, from portaudio.h: paDeviceUnavailable, paInvalidSampleRate, paInvalidChannelCount."""

_one_at_a_time = threading.Lock()  # PortAudio must not open and close streams on two threads at once
_open_streams = 0  # guarded by the lock


class OpenStream:
    """A running stream.

    Attributes:
        sample_rate: Its actual sample rate, in samples per second.
    """

    def __init__(self, stream: Any, sample_rate: int) -> None:  # noqa: ANN401 - sounddevice has no types
        self._stream = stream
        self.sample_rate = sample_rate

    async def close(self) -> None:
        """Close the stream, waiting 0.5 s at most."""
        with anyio.move_on_after(CLOSE_S, shield=True):
            await run_in_daemon_thread(_close, self._stream, name="voicepipe closing a sound device", warns=False)


class PortAudio:
    """The sound devices of this machine."""

    async def devices(self, *, rescans: bool = False) -> list[AudioDevice]:
        """Return all devices, from the list that PortAudio makes when it is first asked.

        Args:
            rescans: Make PortAudio list the devices again, unless a stream is open, which would be lost.

        Raises:
            AudioDeviceError: PortAudio is not installed, or does not answer.
        """
        return await _answered(_list, rescans)

    async def open_input(
        self,
        device: AudioDevice,
        sample_rate: int,
        deliver: Callable[[bytes], None],
        ended: Callable[[], None],
        *,
        may_differ: bool = True,
    ) -> OpenStream:
        """Record one channel.

        Args:
            device: The microphone.
            sample_rate: Samples per second.
            deliver: Called on a thread of the sound system with each block of 16-bit samples. Must not raise or wait.
            ended: Called on such a thread when the stream ends, also if the device is gone.
            may_differ: Whether the device may run at its own rate if it refuses this one.

        Raises:
            AudioDeviceError: The device cannot be opened.
        """

        def callback(data: Any, frames: int, time: Any, status: Any) -> None:  # noqa: ANN401
            del frames, time, status
            deliver(bytes(data))  # the one copy: the buffer is only valid here

        return await _answered(_open, "input", device, sample_rate, may_differ, callback, ended)

    async def open_output(
        self,
        device: AudioDevice,
        sample_rate: int,
        fill: Callable[[int, float], bytes],
        ended: Callable[[], None],
        *,
        may_differ: bool = True,
    ) -> OpenStream:
        """Play one channel.

        Args:
            device: The loudspeaker.
            sample_rate: Samples per second.
            fill: Called on a thread of the sound system for each block, with its size in bytes and the seconds until
                its first sample is audible; returns that many bytes. Must not raise or wait.
            ended: As in `open_input`.
            may_differ: As in `open_input`.

        Raises:
            AudioDeviceError: The device cannot be opened.
        """

        def callback(data: Any, frames: int, time: Any, status: Any) -> None:  # noqa: ANN401
            del frames, status
            latency_s = time.outputBufferDacTime - time.currentTime
            data[:] = fill(len(data), latency_s if 0 <= latency_s < 1 else OUTPUT_BLOCK_S * DEVICE_BLOCKS)

        return await _answered(_open, "output", device, sample_rate, may_differ, callback, ended)


async def devices() -> list[AudioDevice]:
    """Return the devices of this machine, in the sound system's order. The list may be empty.

    Raises:
        AudioDeviceError: PortAudio is not installed, or the sound system does not answer.
    """
    return await PortAudio().devices()


def hangs() -> bool:
    """Return whether a thread is stuck in the sound system; a thread that is still busy gets 0.5 s to finish."""
    if not _one_at_a_time.acquire(timeout=CLOSE_S):
        return True
    _one_at_a_time.release()
    return False


async def _answered(ask: Callable[..., T], *arguments: object) -> T:
    """Run a function on its own thread. A stream that is opened after the wait has ended is closed again."""
    gone = threading.Event()
    opened: list[OpenStream] = []  # the side that pops the stream closes it
    # The same holds for this copy. While PortAudio starts or hangs, sounddevice redirects descriptor 2 to /dev/null.
    stderr: list[int] = []

    def work() -> T:
        with _one_at_a_time:
            with suppress(OSError):  # the process has no stderr
                stderr.append(os.dup(2))
            try:
                result = ask(*arguments)
            finally:
                with suppress(IndexError):
                    os.close(stderr.pop())
        if isinstance(result, OpenStream):
            opened.append(result)
            if gone.is_set():
                with suppress(IndexError):
                    _close(opened.pop()._stream)
        return result

    try:
        with anyio.move_on_after(ANSWER_S):
            result = await run_in_daemon_thread(work, name="voicepipe asking the sound system", warns=False)
            opened.clear()
            return result
    finally:
        gone.set()
        with suppress(IndexError):
            await opened.pop().close()  # the wait was cancelled in the same step in which the stream was opened
    with suppress(IndexError):
        os.dup2(kept := stderr.pop(), 2)
        os.close(kept)
    raise AudioDeviceError(
        f"the sound system did not answer within {ANSWER_S:g} s; restart the sound server, or unplug the device"
    )


# --- on a thread, under the lock --------------------------------------------------------------------------------------


def _library() -> Any:  # noqa: ANN401
    try:
        import sounddevice  # noqa: PLC0415 - it raises when PortAudio is not there
    except ImportError as error:
        raise AudioDeviceError(
            "microphone and loudspeaker need the package sounddevice; run: pip install sounddevice"
        ) from error
    except OSError as error:
        raise AudioDeviceError(
            "microphone and loudspeaker need the library PortAudio, which is not installed; install it: "
            "apt-get install libportaudio2 (Debian, Ubuntu), dnf install portaudio (Fedora), brew install portaudio"
        ) from error
    except Exception as error:  # sounddevice's own class, which cannot be named because the import failed
        raise _unusable(error) from error
    return sounddevice


def _unusable(error: Exception) -> AudioDeviceError:
    said = " ".join(str(error).split())
    return AudioDeviceError(f"the sound system cannot be used ({said}); start the sound server, or restart it")


def _list(rescans: bool) -> list[AudioDevice]:
    library = _library()
    try:
        return _listed(library, rescans)
    except library.PortAudioError as error:
        raise _unusable(error) from error


def _listed(library: Any, rescans: bool) -> list[AudioDevice]:  # noqa: ANN401
    if rescans and not _open_streams:
        library._terminate()  # sounddevice has no public function for this; its documentation names this one
        library._initialize()
    apis = library.query_hostapis()
    default_input, default_output = library.default.device
    return [
        AudioDevice(
            index=index,
            name=device["name"],
            host_api=apis[device["hostapi"]]["name"],
            inputs=device["max_input_channels"],
            outputs=device["max_output_channels"],
            default_rate=round(device["default_samplerate"]),
            is_default_input=index == default_input,
            is_default_output=index == default_output,
        )
        for index, device in enumerate(library.query_devices())
    ]


def _open(
    direction: Direction,
    device: AudioDevice,
    sample_rate: int,
    may_differ: bool,
    callback: Callable[..., None],
    ended: Callable[[], None],
) -> OpenStream:
    global _open_streams  # noqa: PLW0603 - there is one PortAudio per process
    library = _library()
    make = library.RawInputStream if direction == "input" else library.RawOutputStream
    block_s, latency = (INPUT_BLOCK_S, "low") if direction == "input" else (OUTPUT_BLOCK_S, OUTPUT_LATENCY_S)
    rates = [sample_rate, *([device.default_rate] if may_differ and device.default_rate != sample_rate else [])]
    for rate in rates:
        stream = None
        try:
            stream = make(
                samplerate=rate,
                blocksize=round(block_s * rate),
                device=device.index,
                channels=1,
                dtype="int16",
                latency=latency,
                callback=callback,
                finished_callback=ended,
            )
            stream.start()
        except library.PortAudioError as error:
            if stream is not None:
                stream.close()  # it was opened but did not start; other programs may want the device
            if _code(error) == BAD_RATE and rate != rates[-1]:
                continue
            raise explained(error, device, direction, rate) from error
        _open_streams += 1
        return OpenStream(stream, rate)
    raise AssertionError("unreachable: each rate either works or raises")


def _close(stream: Any) -> None:  # noqa: ANN401
    global _open_streams  # noqa: PLW0603
    with _one_at_a_time:
        try:
            with suppress(_library().PortAudioError):  # the device may be gone
                stream.abort()
                stream.close()
        finally:
            _open_streams -= 1


def _code(error: Exception) -> int:
    return next((argument for argument in error.args[1:2] if isinstance(argument, int)), 0)


def explained(error: Exception, device: AudioDevice, direction: Direction, sample_rate: int) -> AudioDeviceError:
    """Return PortAudio's error as an `AudioDeviceError`.

    Args:
        error: `sounddevice.PortAudioError`: a text, PortAudio's code, and the sound system's own message, if any.
        device: The device that could not be opened.
        direction: "input" for a microphone, "output" for a loudspeaker.
        sample_rate: Samples per second that were asked for.
    """
    said = " ".join(str(part) for argument in error.args for part in (argument if _is_tuple(argument) else [argument]))
    what = f"{'microphone' if direction == 'input' else 'loudspeaker'} {device.index} {device.name!r}"
    if "ermission denied" in said:
        return AudioDeviceError(f"{what}: permission denied; on Linux add this user to the group audio")
    match _code(error):
        case code if code == BUSY:
            why = "it is in use, or has just been unplugged; close the other program, or choose another device"
        case code if code == BAD_RATE:
            why = f"it does not run at {sample_rate} Hz; leave sample_rate at its default, or choose another device"
        case code if code == BAD_CHANNELS:
            why = f"it cannot {'record' if direction == 'input' else 'play'} a single channel; choose another device"
        case _:
            why = f"it cannot be opened ({' '.join(said.split())}); plug it in again, or choose another device"
    return AudioDeviceError(f"{what}: {why}")


def _is_tuple(argument: object) -> bool:
    return isinstance(argument, tuple)
