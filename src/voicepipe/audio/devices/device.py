"""The microphones and loudspeakers of this machine, and the choice among them.

Rule 1: pure: a list and a choice go in; one device comes out, or an error that says which devices there are.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from voicepipe.errors import AudioDeviceError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AudioDevice", "Direction", "chosen"]

Direction = Literal["input", "output"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioDevice:
    """A device as the sound system lists it.

    Attributes:
        index: Its place in the list; may change when something is plugged in.
        name: Its name in the sound system.
        host_api: The sound system, e.g. "ALSA", "Core Audio".
        inputs: Channels it can record.
        outputs: Channels it can play.
        default_rate: Its default sample rate, in samples per second.
        is_default_input: Whether it is the default microphone.
        is_default_output: Whether it is the default loudspeaker.
    """

    index: int
    name: str
    host_api: str
    inputs: int
    outputs: int
    default_rate: int
    is_default_input: bool = False
    is_default_output: bool = False

    def channels(self, direction: Direction) -> int:
        """Return how many channels it has in one direction."""
        return self.inputs if direction == "input" else self.outputs

    def is_default(self, direction: Direction) -> bool:
        """Return whether it is the default in one direction."""
        return self.is_default_input if direction == "input" else self.is_default_output


def chosen(wanted: int | str | None, direction: Direction, listed: Sequence[AudioDevice]) -> AudioDevice:
    """Return the device that was asked for.

    Args:
        wanted: Its index; its name, or a part of the name that no other device has; None for the default.
        direction: "input" for a microphone, "output" for a loudspeaker.
        listed: The devices of this machine.

    Raises:
        AudioDeviceError: No device fits, or more than one.
    """
    role = "microphone" if direction == "input" else "loudspeaker"
    fitting = [device for device in listed if device.channels(direction)]
    if not fitting:
        raise AudioDeviceError(
            f"expected a {role}, found no {direction} device on this machine; plug one in, start the sound server, or "
            f"give the session another {'source' if direction == 'input' else 'output'}"
        )
    if wanted is None:
        return next((device for device in fitting if device.is_default(direction)), fitting[0])
    if isinstance(wanted, int):
        found = [device for device in fitting if device.index == wanted]
    else:
        low = wanted.casefold()
        found = [device for device in fitting if device.name == wanted]
        found = found or [device for device in fitting if low and low in device.name.casefold()]
    if len(found) == 1:
        return found[0]
    if found:
        raise AudioDeviceError(f"{role} {wanted!r}: several names contain this: {_names(found)}; give the index")
    raise AudioDeviceError(f"{role} {wanted!r}: no such device; {_suggestion(wanted, fitting)}")


def _suggestion(wanted: int | str, fitting: Sequence[AudioDevice]) -> str:
    by_name = {device.name: device for device in fitting}
    near = difflib.get_close_matches(str(wanted), by_name, n=3, cutoff=0.5)
    if near:
        return f"did you mean {_names([by_name[name] for name in near])}?"
    return f"there are {_names(fitting[:8])}{', ...' if len(fitting) > 8 else ''}"


def _names(listed: Sequence[AudioDevice]) -> str:
    return ", ".join(f"{device.index} {device.name!r}" for device in listed)
