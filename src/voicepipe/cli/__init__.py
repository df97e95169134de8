"""The command `voicepipe`.

Rule 1: an error is one line on stderr, never a traceback. The exit status is 0 for success, 1 for a failure, 2 for a
        wrong command line or configuration, 128 + signal for Ctrl-C (130) and the other signals that end a program.
Rule 2: a command's module is imported only when the command runs, so that help is quick and needs no extra.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from voicepipe.audio.devices.portaudio import hangs
from voicepipe.cli._arguments import (
    add_device_options,
    add_devices,
    add_diff,
    add_doctor,
    add_local,
    add_new,
    add_record,
    add_replay,
    add_simulate,
    add_talk,
    add_urls,
    check,
    port_number,
)
from voicepipe.cli._env_file import READERS, read_env_file
from voicepipe.cli._report_arguments import add_report, add_stats
from voicepipe.cli._serve_arguments import add_scale, add_serve
from voicepipe.cli._tables import printable
from voicepipe.core.process import Stopped
from voicepipe.errors import ConfigurationError, MissingExtra, RecordingError, VoicepipeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.cli._demo_stack import Conversation

__all__ = ["main"]

EXTRAS: Final = {"rich": "cli", "h11": "testing", "watchfiles": "server"}
"""The extra for each package that a command imports. Parts name their own extras when they are opened."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Args:
        argv: What follows the program's name; None takes it from the command line.
    """
    status = _status(_parser().parse_args(argv))
    if hangs():
        # At exit, sounddevice would wait for a hanging sound system, for a minute and longer.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _status(options: argparse.Namespace) -> int:
    try:
        return _run(options)
    except (ConfigurationError, RecordingError) as error:
        return _complain(error, 2)
    except VoicepipeError as error:
        return _complain(error, 1)
    except BrokenPipeError:
        # The reader of stdout is gone, as in `voicepipe demo | head`; Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt as error:
        return error.status if isinstance(error, Stopped) else 130


def _run(options: argparse.Namespace) -> int:
    check(options)
    if options.command in READERS:
        read_env_file()
    try:
        if options.command == "simulate":
            from voicepipe.cli.simulate import Asked, simulate  # noqa: PLC0415 - Rule 2

            asked = Asked(
                port=options.port,
                say=options.say,
                delay_s=options.delay,
                grammar=options.grammar,
                calls=options.calls or (),
            )
            return simulate(options.service, asked)
        if options.command == "talk":
            from voicepipe.cli.talk import talk  # noqa: PLC0415 - Rule 2

            return talk(options)
        if options.command == "serve" and (options.engine or options.workers):
            from voicepipe.cli._fleet import serve_fleet  # noqa: PLC0415 - Rule 2

            return serve_fleet(options)
        if options.command == "serve":
            from voicepipe.cli.serve import serve  # noqa: PLC0415 - Rule 2

            return serve(options)
        if options.command == "scale":
            from voicepipe.cli.scale import scale  # noqa: PLC0415 - Rule 2

            return scale(options)
        if options.command == "dev":
            from voicepipe.cli.dev import dev  # noqa: PLC0415 - Rule 2

            return dev(options)
        if options.command == "doctor":
            from voicepipe.cli.doctor import doctor  # noqa: PLC0415 - Rule 2

            return doctor(options)
        if options.command == "new":
            from voicepipe.cli.new import new  # noqa: PLC0415 - Rule 2

            return new(options)
        if options.command == "report":
            from voicepipe.cli.report import report  # noqa: PLC0415 - Rule 2

            return report(options)
        if options.command == "stats":
            from voicepipe.cli.stats import stats  # noqa: PLC0415 - Rule 2

            return stats(options)
        if options.command == "replay":
            from voicepipe.cli.replay import replay  # noqa: PLC0415 - Rule 2

            return replay(options)
        if options.command == "diff":
            from voicepipe.cli.replay import diff  # noqa: PLC0415 - Rule 2

            return diff(options)
        if options.command == "devices":
            from voicepipe.cli.devices import devices  # noqa: PLC0415 - Rule 2

            return devices(options)
        if options.page:
            from voicepipe.cli._demo_page import demo_page  # noqa: PLC0415 - Rule 2

            return demo_page(8000 if options.port is None else options.port)
        if options.mic:
            from voicepipe.cli._demo_mic import demo_by_microphone  # noqa: PLC0415 - Rule 2

            return demo_by_microphone(options)
        from voicepipe.cli.demo import demo  # noqa: PLC0415 - Rule 2

        return demo(
            _conversation(options),
            options.out,
            as_json=options.json,
            plays=options.play,
            device=options.output,
            record=options.record,
        )
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        raise MissingExtra(f"voicepipe {options.command}", package, EXTRAS[package]) from error


def _conversation(options: argparse.Namespace) -> Conversation:
    """Return the conversation that the demo holds; services whose URL is not given are AssemblyAI's own."""
    from voicepipe.cli._demo_stack import assemblyai, local  # noqa: PLC0415 - Rule 2

    if options.local:
        from voicepipe.cli._demo_offline import offline  # noqa: PLC0415 - Rule 2

        if options.stt_url or options.tts_url:
            raise ConfigurationError("--stt-url and --tts-url have no effect with --local; leave them out")
        return offline(options.llm_url, options.llm_model)
    urls = {name: url for name in ("stt", "llm", "tts") if (url := getattr(options, f"{name}_url")) is not None}
    if urls and not options.assemblyai:
        raise ConfigurationError("--stt-url, --llm-url and --tts-url have no effect alone; add --assemblyai or --local")
    return assemblyai(urls) if options.assemblyai else local()


def _complain(error: VoicepipeError, status: int) -> int:
    print(f"voicepipe: {' '.join(printable(str(error)).split())}", file=sys.stderr)
    return status


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


class _Version(argparse.Action):
    """Prints the version. It is looked up when asked for, because that imports much."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:  # noqa: A002 - argparse's name
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_given: object) -> NoReturn:
        from importlib.metadata import version  # noqa: PLC0415 - see above

        print(f"{parser.prog} {version('voicepipe')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="voicepipe",
        description="Voice agents as a pipeline of asyncio stages.",
        epilog="demo, dev, doctor, scale, serve and talk read the file .env of the current folder, e.g. a key; what "
        "the environment has already stays as it is.",
    )
    parser.add_argument("--version", action=_Version, help="print the version")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="hold a spoken conversation without key, network or sound card",
        description="Hold a spoken conversation of about half a minute through the real pipeline, without key, network "
        "or sound card, and show where the time went. Writes conversation.wav (caller left, agent right) and "
        "conversation.json. Exits with 0 if every turn was answered as scripted.",
    )
    demo.add_argument(
        "--out", type=Path, default=Path("conversation"), metavar="DIR", help="where to write (%(default)s)"
    )
    add_record(demo, "the conversation, as calls are recorded,")
    demo.add_argument("--json", action="store_true", help="print conversation.json, and nothing else")
    demo.add_argument("--play", action="store_true", help="also play both voices through the loudspeaker")
    demo.add_argument("--mic", action="store_true", help="be the caller yourself, by microphone; writes no files")
    demo.add_argument("--page", action="store_true", help="be the caller yourself, in a browser; writes no files")
    demo.add_argument("--port", type=port_number, metavar="N", help="with --page: the port; 8000 by default")
    add_device_options(demo)
    demo.add_argument(
        "--assemblyai", action="store_true", help="use AssemblyAI's services and the key in ASSEMBLYAI_API_KEY; billed"
    )
    add_local(demo, "hold a conversation in any words")
    add_urls(demo, "another URL for {}, e.g. of a simulator")
    add_talk(commands)
    add_serve(commands)
    add_scale(commands)
    add_replay(commands)
    add_diff(commands)
    add_devices(commands)
    add_doctor(commands)
    add_new(commands)
    add_simulate(commands)
    add_report(commands)
    add_stats(commands)
    return parser
