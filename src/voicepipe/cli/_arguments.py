"""The options of the commands that use a sound card."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from typing import Any

__all__ = ["add_device_options", "add_devices", "add_talk", "check"]

NEEDS: Final = {
    ("talk", "play"): "text",
    ("devices", "seconds"): "level",
    ("demo", "input"): "mic",
    ("demo", "headphones"): "mic",
}
EXCLUDES: Final = {
    ("talk", "input"): "text",
    ("talk", "headphones"): "text",
    ("demo", "json"): "mic",
    ("demo", "play"): "mic",
    ("demo", "assemblyai"): "mic",
}
"""Options that have no effect without another one, or together with it."""


def add_talk(commands: Any) -> None:  # noqa: ANN401 - argparse does not export what it returns
    """Add `voicepipe talk`."""
    talk = commands.add_parser(
        "talk",
        help="hold a call with your agent in the terminal",
        description="Hold a call with the Pipeline of a Python file, by microphone and loudspeaker, and show it: "
        "what caller and agent say, tools, and where the time of each turn went. Through a loudspeaker the agent does "
        "not interrupt itself. A source or an output of the pipeline itself is used, unless an option names another.",
    )
    talk.add_argument("app", metavar="APP", help="app.py, app.py:agent or package.module:agent")
    talk.add_argument("--text", action="store_true", help="type instead of speaking; needs no sound card")
    talk.add_argument("--play", action="store_true", help="with --text: play the replies through the loudspeaker")
    talk.add_argument("--greeting", default="", metavar="TEXT", help="what the agent says first")
    add_device_options(talk)


def add_devices(commands: Any) -> None:  # noqa: ANN401 - as above
    """Add `voicepipe devices`."""
    devices = commands.add_parser(
        "devices",
        help="list microphones and loudspeakers, and test them",
        description="List the sound devices of this machine. --level shows how loud the microphone is; --loopback "
        "plays a few chirps and measures how long they take from the loudspeaker to the microphone.",
    )
    what = devices.add_mutually_exclusive_group()
    what.add_argument("--level", action="store_true", help="show the level of the microphone, until Ctrl-C")
    what.add_argument("--loopback", action="store_true", help="measure the delay from loudspeaker to microphone")
    devices.add_argument("--seconds", type=_seconds, metavar="N", help="with --level: end after this long")
    add_device_options(devices, headphones=False)


def add_device_options(parser: argparse.ArgumentParser, *, headphones: bool = True) -> None:
    """Add the options that choose the devices of a call."""
    parser.add_argument(
        "--input", type=_device, metavar="DEVICE", help="the microphone: an index or a part of its name"
    )
    parser.add_argument("--output", type=_device, metavar="DEVICE", help="the loudspeaker, likewise")
    if headphones:
        parser.add_argument(
            "--headphones",
            action="store_true",
            help="full duplex: the microphone does not pick up the agent, so any sound may interrupt it",
        )


def check(options: argparse.Namespace) -> None:
    """Refuse options that would be ignored.

    Raises:
        ConfigurationError: An option would be ignored; the message says which and why.
    """
    given = {name for name, value in vars(options).items() if value is not None and value is not False}
    for (command, name), other in NEEDS.items():
        if command == options.command and name in given and other not in given:
            raise ConfigurationError(f"--{name} has no effect without --{other}; see voicepipe {command} --help")
    for (command, name), other in EXCLUDES.items():
        if command == options.command and {name, other} <= given:
            raise ConfigurationError(f"--{name} has no effect with --{other}; see voicepipe {command} --help")
    if options.command == "demo" and "output" in given and not {"mic", "play"} & given:
        raise ConfigurationError("--output has no effect without --mic or --play; see voicepipe demo --help")


def _device(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, not {text!r}")
    return seconds
