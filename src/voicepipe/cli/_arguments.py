"""The options of the commands, and which of them go together."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any, Final, cast

from voicepipe.errors import ConfigurationError

__all__ = [
    "add_device_options",
    "add_devices",
    "add_diff",
    "add_doctor",
    "add_local",
    "add_new",
    "add_record",
    "add_replay",
    "add_simulate",
    "add_talk",
    "add_urls",
    "check",
    "delay",
    "port_number",
]

NEEDS: Final = {
    ("talk", "play"): ("text", "simulate"),
    ("talk", "calls"): ("simulate",),
    ("talk", "llm_model"): ("local",),
    ("serve", "llm_url"): ("local",),
    ("serve", "llm_model"): ("local",),
    ("dev", "llm_url"): ("local",),
    ("dev", "llm_model"): ("local",),
    ("demo", "llm_model"): ("local",),
    ("devices", "seconds"): ("level",),
    ("demo", "input"): ("mic",),
    ("demo", "headphones"): ("mic",),
    ("demo", "port"): ("page",),
    ("serve", "key"): ("certificate",),
    ("serve", "worker_url"): ("workers", "engine"),
    ("serve", "worker_port"): ("workers", "engine"),
    ("serve", "token"): ("workers", "engine"),
    ("report", "turn"): ("svg",),
}
"""Options that have no effect without one of others."""

EXCLUDES: Final = {
    ("talk", "input"): ("text", "simulate"),
    ("talk", "headphones"): ("text", "simulate"),
    ("talk", "stt_url"): ("text", "simulate", "local"),
    ("talk", "tts_url"): ("local",),
    ("talk", "local"): ("simulate",),
    ("devices", "json"): ("level",),
    ("demo", "json"): ("mic", "page"),
    ("demo", "play"): ("mic", "page"),
    ("demo", "assemblyai"): ("mic", "page"),
    ("demo", "record"): ("mic", "page"),
    ("demo", "mic"): ("page",),
    ("demo", "local"): ("mic", "page", "assemblyai"),
    ("report", "no_audio"): ("svg",),
}
"""Options that have no effect together with one of others."""

LOCAL_MODEL: Final = (
    "with --local: a server with OpenAI's endpoints, e.g. Ollama at http://127.0.0.1:11434/v1, llama.cpp or vLLM"
)

CALL_EXAMPLE: Final = """find_table={"guests": 4}"""


def add_talk(commands: Any) -> None:  # noqa: ANN401 - argparse does not export what it returns
    """Add `voicepipe talk`."""
    talk = commands.add_parser(
        "talk",
        help="hold a call with your agent in the terminal",
        description="Hold a call with the Pipeline of a Python file, by microphone and loudspeaker, and show it: "
        "what caller and agent say, tools, and where the time of each turn went. Through a loudspeaker the agent does "
        "not interrupt itself. A source or an output of the pipeline itself is used, unless an option names another.",
    )
    talk.add_argument(
        "app", metavar="APP", help="app.py, app.py:agent or package.module:agent; or a function that makes the agent"
    )
    talk.add_argument("--text", action="store_true", help="type instead of speaking; needs no sound card")
    talk.add_argument(
        "--simulate",
        action="store_true",
        help="type to simulators of AssemblyAI's services on this machine, which are started and need no key",
    )
    add_local(talk, "talk to your agent without any key")
    _add_calls(talk)
    add_urls(talk, "{} at a simulator that runs already, e.g. voicepipe simulate")
    talk.add_argument("--deps", metavar="DEPS", help="what tools get as their deps: module:object or module:function")
    talk.add_argument("--play", action="store_true", help="with --text or --simulate: play the replies aloud")
    talk.add_argument(
        "--json", action="store_true", help="print each event of the call as a line of JSON, and nothing else"
    )
    talk.add_argument("--greeting", default="", metavar="TEXT", help="what the agent says first")
    add_record(talk, "the call")
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
    devices.add_argument("--json", action="store_true", help="print the list, or the measured delay, as JSON")
    devices.add_argument("--seconds", type=_seconds, metavar="N", help="with --level: end after this long")
    add_device_options(devices, headphones=False)


def add_doctor(commands: Any) -> None:  # noqa: ANN401 - as above
    """Add `voicepipe doctor`."""
    doctor = commands.add_parser(
        "doctor",
        help="check this machine: Python, packages, sound, key, network, clock",
        description="Check what an agent needs: Python and the extras, sound devices, keys and whether their services "
        "accept them, the network, and the clock. With APP the parts of its Pipeline are opened as for a call, and "
        "their services are asked; without it, those of the README's first program. No call is held, and nothing is "
        "billed. What is wrong comes with its remedy. Exits with 0 if nothing has failed.",
    )
    doctor.add_argument(
        "app",
        nargs="?",
        metavar="APP",
        help="app.py, app.py:serve or package.module:agent; or a function that makes it",
    )
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON, and nothing else")


def add_new(commands: Any) -> None:  # noqa: ANN401 - as above
    """Add `voicepipe new`."""
    new = commands.add_parser(
        "new",
        help="make a project: an agent, a tool, and tests of calls with it",
        description="Make the folder NAME with a project that works: an agent with a tool, tests on virtual time, a "
        "workflow for GitHub that runs them, and a README that says what to do next. Overwrites nothing.",
    )
    new.add_argument("name", metavar="NAME", help="letters, digits, dashes and underscores, e.g. my-agent")


def add_simulate(commands: Any) -> None:  # noqa: ANN401 - as above
    """Add `voicepipe simulate`."""
    simulate = commands.add_parser(
        "simulate",
        help="run a simulated service of a vendor on this machine",
        description="Run a simulated service of a vendor on this machine, without key or network, until Ctrl-C. "
        "stt: streaming recognition; it reports the texts of --say, or recognises the audio with --grammar. "
        "deepgram: the same, by the protocols of this vendor. "
        "gateway: the LLM Gateway; it makes the calls of --calls, replies with the texts of --say, then echoes the "
        "user's text. "
        "tts: streaming speech; eSpeak speaks if the extra `local` is installed, otherwise there is a tone. "
        "elevenlabs and cartesia: the same, by the protocols of these vendors. "
        "Prints its URL, and the line of a program that uses it.",
    )
    simulate.add_argument("service", metavar="SERVICE", help="stt, gateway, tts, deepgram, elevenlabs or cartesia")
    simulate.add_argument(
        "--port", type=port_number, default=0, metavar="N", help="the port to listen on; 0 for a free one"
    )
    simulate.add_argument("--say", action="append", default=[], metavar="TEXT", help="a text; may be repeated")
    _add_calls(simulate)
    simulate.add_argument("--delay", type=delay, metavar="S", help="seconds to the final text, first token or audio")
    simulate.add_argument("--grammar", type=Path, metavar="FILE", help="JSGF that the embedded recogniser understands")


def add_replay(commands: Any) -> None:  # noqa: ANN401 - as above
    """Add `voicepipe replay`."""
    replay = commands.add_parser(
        "replay",
        help="hold a recorded call again, and show what differs",
        description="Hold a recorded call again: with recorded parts alone in milliseconds, or with parts of an "
        "application at work. Its stages, settings and tools take part as soon as it is named. Shows recording and "
        "replay side by side, and exits with 0 if they are the same, otherwise with 1.",
    )
    replay.add_argument("file", type=Path, metavar="FILE", help="the recording: NAME.vprec")
    replay.add_argument(
        "app",
        nargs="?",
        metavar="APP",
        help="app.py, app.py:agent or package.module:agent, or what makes it",
    )
    replay.add_argument(
        "--live",
        action="append",
        default=[],
        metavar="PART",
        help="a part of the application that is at work, in real time, instead of recorded: recogniser, model, tools "
        "or voice; may be repeated",
    )
    replay.add_argument("--real-time", action="store_true", help="take as long as the call did, whatever is recorded")
    replay.add_argument("--deps", metavar="DEPS", help="what tools get as their deps: module:object or module:function")
    replay.add_argument("--record", type=Path, metavar="DIR", help="record the replay into this directory")
    replay.add_argument("--json", action="store_true", help="print the differences as JSON, and nothing else")


def add_diff(commands: Any) -> None:  # noqa: ANN401 - as above
    """Add `voicepipe diff`."""
    diff = commands.add_parser(
        "diff",
        help="show how two recorded calls differ",
        description="Show two recorded calls side by side, turn by turn: words, outcomes, tools, and what the caller's "
        "wait was spent on. Exits with 0 if they are the same, otherwise with 1.",
    )
    diff.add_argument("a", type=Path, metavar="A", help="a recording: NAME.vprec")
    diff.add_argument("b", type=Path, metavar="B", help="another one, or the recording of a replay")
    diff.add_argument(
        "--tolerance", type=delay, default=0.02, metavar="S", help="times so far apart are the same (%(default)g s)"
    )
    diff.add_argument("--json", action="store_true", help="print the differences as JSON, and nothing else")


def add_local(parser: argparse.ArgumentParser, purpose: str, *, has_url: bool = True) -> None:
    """Add the options that put ears, voice and model on this machine.

    Args:
        parser: The command's.
        purpose: What that is good for.
        has_url: Whether the command has an option --llm-url of its own.
    """
    parser.add_argument(
        "--local",
        action="store_true",
        help=f"{purpose}: Whisper recognises and Piper speaks, on this machine; with --llm-url the model is there, too",
    )
    if not has_url:
        parser.add_argument("--llm-url", metavar="URL", help=LOCAL_MODEL)
    parser.add_argument(
        "--llm-model", metavar="NAME", help="with --llm-url: the model; not needed for a server that has only one"
    )


def add_record(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the option to record calls."""
    parser.add_argument(
        "--record",
        type=Path,
        metavar="DIR",
        help=f"record {what} in this directory: both sides, what was said and what services were sent. In many "
        "countries callers have to be asked first",
    )


def _add_calls(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--calls",
        type=_call,
        action="append",
        metavar="TOOL={...}",
        help=f"the simulated model calls this tool once, e.g. '{CALL_EXAMPLE}', and says its result; may be repeated, "
        "for later turns",
    )


def add_urls(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add the options for the URLs of services."""
    for name in ("stt", "llm", "tts"):
        also = f"; {LOCAL_MODEL}" if name == "llm" else ""
        parser.add_argument(f"--{name}-url", metavar="URL", help=purpose.format(name.upper()) + also)


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
    for (command, name), others in NEEDS.items():
        if command == options.command and name in given and not given & {*others}:
            needed = " or ".join(map(_flag, others))
            raise ConfigurationError(f"{_flag(name)} has no effect without {needed}; see voicepipe {command} --help")
    for (command, name), others in EXCLUDES.items():
        if command == options.command and name in given and (there := [other for other in others if other in given]):
            raise ConfigurationError(f"{_flag(name)} has no effect with --{there[0]}; see voicepipe {command} --help")
    if "llm_model" in given and "llm_url" not in given:
        raise ConfigurationError("--llm-model has no effect without --llm-url; name the server that has the model")
    if options.command == "demo" and "output" in given and not {"mic", "play"} & given:
        raise ConfigurationError("--output has no effect without --mic or --play; see voicepipe demo --help")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


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


def port_number(text: str) -> int:
    """Return the port that an option names."""
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, not {text!r}")
    return int(text)


def delay(text: str) -> float:
    """Return the seconds that an option names."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"expected a delay of 0 to 3600 seconds, not {text!r}")
    return seconds


def _call(text: str) -> tuple[str, dict[str, Any]]:
    """Return the tool and the arguments of e.g. `find_table={"guests": 4}`."""
    name, equals, written = text.partition("=")
    if not equals or not re.fullmatch(r"[\w-]+", name):
        raise argparse.ArgumentTypeError(f"expected a tool and its arguments, e.g. {CALL_EXAMPLE!r}, not {text!r}")
    try:
        arguments: object = json.loads(written)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(
            f"the arguments of {name} are not JSON: {error}; write e.g. {CALL_EXAMPLE!r}"
        ) from None
    if not isinstance(arguments, dict):
        raise argparse.ArgumentTypeError(
            f"the arguments of {name} must be a JSON object, not {written}; write e.g. {CALL_EXAMPLE!r}"
        )
    return name, cast("dict[str, Any]", arguments)
