"""`voicepipe replay` holds a recorded call again; `voicepipe diff` shows how two calls differ.

Rule 1: recorded parts alone need no time, so the replay runs on virtual time; a live part needs real time.
"""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from voicepipe.cli._app import load_agent, load_deps
from voicepipe.core.process import run
from voicepipe.errors import ConfigurationError
from voicepipe.testing.clock import run_on_virtual_time
from voicepipe.text.markup import printable
from voicepipe.watching.recording import Recorder
from voicepipe.watching.replay import Difference, Replay, load_call, side_by_side

if TYPE_CHECKING:
    import argparse

    from voicepipe.watching.replay import RecordedCall, Replayed

__all__ = ["diff", "replay"]


def replay(options: argparse.Namespace) -> int:
    """Hold a recorded call again, show how it differs, and return 0 if it does not, otherwise 1.

    Raises:
        RecordingError: There is no such recording, it is damaged, or a newer voicepipe wrote it.
        ConfigurationError: The application cannot be loaded, or does not fit the recording.
        VoicepipeError: A live part failed.
    """
    if options.deps is not None and options.app is None:
        raise ConfigurationError("--deps has no effect without APP; see voicepipe replay --help")
    call = load_call(options.file)
    if options.live or options.real_time:
        replayed = run(_hold, call, options)
    else:
        replayed = run_on_virtual_time(lambda: _hold(call, options))
    found = replayed.difference
    if options.real_time:  # in which each step takes some time
        found = Difference(call, replayed.replay, names=found.names)
    if options.json:
        print(json.dumps({**found.to_json(), "cut": call.is_cut}, indent=2))
        return int(bool(found))
    count = len(replayed.turns)
    _say(f"{options.file}: {count} turn{'s' if count != 1 else ''}, {call.ended_s:.1f} s, replayed")
    if call.is_cut:
        _say("the recording was cut off; it is replayed up to there")
    if call.is_redacted:
        _say("words were left out of the recording, so the replay may differ where they were")
    for sentence in replayed.unknown_sentences:
        _say(f"the recorded voice has not said this, a tone stands for it: {printable(sentence.strip())}")
    _show(found)
    return int(bool(found))


def diff(options: argparse.Namespace) -> int:
    """Show how two recorded calls differ, and return 0 if they do not, otherwise 1.

    Raises:
        RecordingError: There is no such recording, it is damaged, or a newer voicepipe wrote it.
    """
    names = (str(options.a), str(options.b))
    found = Difference(load_call(options.a), load_call(options.b), names=names, tolerance_s=options.tolerance)
    if options.json:
        print(json.dumps(found.to_json(), indent=2))
    else:
        _show(found)
    return int(bool(found))


async def _hold(call: RecordedCall, options: argparse.Namespace) -> Replayed:
    async with AsyncExitStack() as stack:
        deps: Any = None
        if options.deps is not None:
            deps = await stack.enter_async_context(load_deps(options.deps).made())
        agent = None
        if options.app is not None:
            agent = await stack.enter_async_context(load_agent(options.app).pipeline())
        observers = [Recorder(options.record)] if options.record is not None else []
        return await Replay(call, agent, live=options.live, deps=deps, observers=observers).run()


def _say(line: str) -> None:
    print(line)


def _show(difference: Difference) -> None:
    """Print both calls side by side; what differs stands out where the terminal can show it."""
    width = shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 100
    text = side_by_side(difference, width=width)
    if sys.stdout.isatty():
        try:
            from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
            from rich.text import Text  # noqa: PLC0415
        except ImportError:
            pass
        else:
            console = Console(highlight=False)
            for line in text.splitlines():
                style = "yellow" if line.startswith("!") else "bold" if line.startswith(("turn", "the call")) else ""
                console.print(Text(line, style), soft_wrap=True)
            return
    print(text)
