"""PortAudio's failures become errors that say what to do, and leave no device open."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from voicepipe import AudioDevice, AudioDeviceError, devices
from voicepipe.audio.devices import portaudio
from voicepipe.audio.devices.portaudio import PortAudio

pytestmark = pytest.mark.anyio

DEVICE = AudioDevice(index=0, name="card", host_api="ALSA", inputs=1, outputs=0, default_rate=48_000)


class PortAudioError(Exception):
    """Stands in for sounddevice's error."""


class Stream:
    """Opens at any rate, and starts only at 48 kHz."""

    made: list[Stream]

    def __init__(self, *, samplerate: int, **others: object) -> None:
        self.samplerate = samplerate
        self.is_open = True
        self.made.append(self)

    def start(self) -> None:
        if self.samplerate != 48_000:
            raise PortAudioError("Error starting stream", -9997)

    def abort(self) -> None:
        pass

    def close(self) -> None:
        self.is_open = False


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # threads do not exist on virtual time


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stand in for sounddevice."""
    Stream.made = []
    fake = SimpleNamespace(PortAudioError=PortAudioError, RawInputStream=Stream, query_hostapis=lambda: ())
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


def nothing(*arguments: Any) -> None:
    """Ignore the audio."""


async def test_a_stream_that_does_not_start_is_closed(library: SimpleNamespace) -> None:
    """A device that opens but cannot start is released, whether or not another rate is tried."""
    with pytest.raises(AudioDeviceError, match="it does not run at 16000 Hz"):
        await PortAudio().open_input(DEVICE, 16_000, nothing, nothing, may_differ=False)
    assert [stream.is_open for stream in Stream.made] == [False]
    stream = await PortAudio().open_input(DEVICE, 16_000, nothing, nothing)
    assert stream.sample_rate == 48_000
    assert [made.is_open for made in Stream.made] == [False, False, True]
    await stream.close()
    assert not Stream.made[-1].is_open
    assert portaudio._open_streams == 0


async def test_a_sound_system_that_cannot_list_is_told_in_words(library: SimpleNamespace) -> None:
    """PortAudio's error about the whole system becomes an `AudioDeviceError` with its message."""

    def fail() -> None:
        raise PortAudioError("Error initializing PortAudio: Unanticipated\nhost error", -9999)

    library.query_hostapis = fail
    with pytest.raises(AudioDeviceError, match=r"cannot be used \(.*Unanticipated.*\); start the sound server"):
        await devices()


async def test_a_sound_system_that_cannot_begin_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """PortAudio starts when sounddevice is imported; a failure then is not reported as a missing package."""

    class Broken:
        def find_spec(self, name: str, *others: object) -> None:
            if name == "sounddevice":
                raise PortAudioError("Error initializing PortAudio")

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(AudioDeviceError, match=r"cannot be used \(Error initializing PortAudio\)"):
        await devices()


async def test_a_question_that_nobody_waits_for_is_not_told(
    library: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    """When one device is refused, the opening of the other ends without a warning about its thread."""
    loop_free, asked = threading.Event(), threading.Event()

    def ask() -> tuple[()]:
        asked.set()
        loop_free.wait()
        return ()

    library.query_hostapis = ask
    library.default = SimpleNamespace(device=(-1, -1))
    library.query_devices = list
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(devices)
        await anyio.to_thread.run_sync(asked.wait)
        tasks.cancel_scope.cancel()
    loop_free.set()
    assert not portaudio.hangs()
    assert caplog.records == []
