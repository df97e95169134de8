"""Which microphone or loudspeaker is chosen, and what the error says when there is none."""

from __future__ import annotations

import subprocess
import sys

import pytest

from voicepipe import AudioDevice, AudioDeviceError
from voicepipe.audio.devices.device import Direction, chosen
from voicepipe.audio.devices.portaudio import explained


def device(index: int, name: str, inputs: int, outputs: int, default: str = "") -> AudioDevice:
    return AudioDevice(
        index=index,
        name=name,
        host_api="ALSA",
        inputs=inputs,
        outputs=outputs,
        default_rate=48_000,
        is_default_input="i" in default,
        is_default_output="o" in default,
    )


LISTED = [
    device(0, "HDA Intel: ALC (hw:0,0)", 2, 2),
    device(1, "HDA Intel: HDMI (hw:0,3)", 0, 8),
    device(2, "USB Headset", 1, 2, "i"),
    device(3, "USB Headset Pro", 1, 2),
    device(4, "default", 32, 32, "o"),
]


@pytest.mark.parametrize(
    ("wanted", "direction", "index"),
    [
        (None, "input", 2),
        (None, "output", 4),
        (3, "input", 3),
        ("USB Headset", "input", 2),  # the whole name goes before a part of another
        ("headset pro", "input", 3),
        ("hdmi", "output", 1),
        ("alc", "input", 0),
    ],
)
def test_a_device_is_chosen_by_index_name_or_part_of_a_name(
    wanted: int | str | None, direction: Direction, index: int
) -> None:
    """A device is chosen by default, index, whole name, or a unique part of its name in any case."""
    assert chosen(wanted, direction, LISTED).index == index


@pytest.mark.parametrize(
    ("wanted", "direction", "listed", "told"),
    [
        (None, "input", [], "expected a microphone, found no input device on this machine; plug one in"),
        (None, "output", [], "expected a loudspeaker, found no output device"),
        (None, "input", [LISTED[1]], "found no input device"),
        (9, "input", LISTED, "microphone 9: no such device; there are 0 'HDA Intel: ALC"),
        (1, "input", LISTED, "microphone 1: no such device"),
        ("USB Hedset", "input", LISTED, r"microphone 'USB Hedset': no such device; did you mean 2 'USB Headset', 3"),
        (
            "usb",
            "output",
            LISTED,
            r"several names contain this: 2 'USB Headset', 3 'USB Headset Pro'; give the in",
        ),
        ("", "input", LISTED, "microphone '': no such device"),
    ],
)
def test_a_wish_that_cannot_be_met_is_told_with_what_there_is(
    wanted: int | str | None, direction: Direction, listed: list[AudioDevice], told: str
) -> None:
    """No device, an unknown index or name, the wrong kind, an ambiguous name: the error says what to choose."""
    with pytest.raises(AudioDeviceError, match=told.replace("(", r"\(")):
        chosen(wanted, direction, listed)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("Error opening RawInputStream: Device unavailable", -9985), "it is in use, or has just been unplugged"),
        (("Error opening RawInputStream: Invalid sample rate", -9997), "it does not run at 16000 Hz"),
        (("Error opening RawInputStream: Invalid number of channels", -9998), "it cannot record a single channel"),
        (
            ("Error opening RawInputStream: Unanticipated host error", -9999, (0, -13, "Permission denied")),
            "permission denied",
        ),
        (
            ("Error opening RawInputStream: Unanticipated host error", -9999, (0, -5, "Input/output error")),
            "it cannot be opened .*Input/output error.*; plug it in again",
        ),
        (("Error querying device -1",), "it cannot be opened .Error querying device -1"),
    ],
)
def test_the_sound_system_s_refusals_say_what_to_do(arguments: tuple[object, ...], told: str) -> None:
    """Busy, rate, channels, permission, and any other refusal: the error names the device and what to do."""
    error = explained(Exception(*arguments), LISTED[2], "input", 16_000)
    with pytest.raises(AudioDeviceError, match=f"^microphone 2 'USB Headset': {told}"):
        raise error


def test_a_machine_without_portaudio_is_told_what_to_install() -> None:
    """Without the library, importing voicepipe works, and listing devices names the package for each system."""
    program = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == "sounddevice":
            raise OSError("PortAudio library not found")
sys.meta_path.insert(0, Absent())
import anyio, voicepipe as vp
try:
    anyio.run(vp.devices)
except vp.AudioDeviceError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert "apt-get install libportaudio2 (Debian, Ubuntu)" in told.stdout
