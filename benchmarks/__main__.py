"""`python -m benchmarks [names...]` measures the figures that the project promises, and prints a table."""

from __future__ import annotations

import argparse
import platform
import sys
from pathlib import Path

import anyio

from benchmarks._figures import Figure, table
from benchmarks.added import BLOCKS, added
from benchmarks.browser_paths import browser_paths
from benchmarks.detectors import detectors
from benchmarks.echo import echo
from benchmarks.fleet import ROWS, fleet
from benchmarks.framework import framework
from benchmarks.imports import imports
from benchmarks.interrupt import interrupt
from benchmarks.latency import TURNS, latency
from benchmarks.listening import idle, memory, opening
from benchmarks.package import installed, size
from benchmarks.people import people
from benchmarks.recording import recording
from benchmarks.replay import replay
from benchmarks.report import report
from benchmarks.scale import scale
from benchmarks.sentences import sentences
from benchmarks.serve import serve
from benchmarks.sockets import sockets
from benchmarks.speakable import speakable
from benchmarks.telemetry import telemetry
from benchmarks.tools import tools
from benchmarks.turn_profile import profile
from benchmarks.whisper import whisper

BENCHMARKS = {
    run.__name__: run
    for run in (
        framework,
        latency,
        tools,
        added,
        profile,
        interrupt,
        detectors,
        echo,
        people,
        whisper,
        replay,
        idle,
        memory,
        opening,
        recording,
        scale,
        sockets,
        serve,
        fleet,
        telemetry,
        browser_paths,
        report,
        sentences,
        speakable,
        imports,
        installed,
        size,
    )
}


def main() -> None:
    """Run the requested benchmarks one after another, each on its own event loop."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHMARKS)}; all if none is given")
    parser.add_argument("--kit", type=Path, metavar="DIR", help="further sets of replies for `sentences`")
    parser.add_argument("--turns", type=int, default=None, metavar="N", help="of each row of `latency`")
    parser.add_argument("--blocks", type=int, default=None, metavar="N", help="pairs of blocks of each row of `added`")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="where `latency` draws what it measured, as SVG")
    parser.add_argument("--uvloop", action="store_true", help="on uvloop; `sockets` measures both loops by itself")
    parser.add_argument("--quick", action="store_true", help="smaller numbers of calls and kills in `fleet`")
    parser.add_argument("--rows", metavar="ROW", nargs="+", choices=ROWS, default=(), help="only these rows of `fleet`")
    options = parser.parse_args()
    names = options.names or list(BENCHMARKS)
    if unknown := set(names) - set(BENCHMARKS):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    turns = options.turns or (TURNS if options.names else TURNS // 10)
    blocks = options.blocks or (BLOCKS if options.names else 2)
    arguments = {
        "added": (blocks,),
        "sentences": (options.kit,),
        "latency": (turns, options.picture),
        "fleet": (options.quick, options.rows),
    }
    figures: list[Figure] = []
    for name in names:
        loop = {"use_uvloop": options.uvloop}
        measured = anyio.run(BENCHMARKS[name], *arguments.get(name, ()), backend_options=loop)
        for figure in measured:
            print("  ".join(figure.cells()), file=sys.stderr, flush=True)
        figures += measured
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}\n\n{table(figures)}")
    if any(figure.is_promise and not figure.is_met for figure in figures):
        sys.exit(1)


if __name__ == "__main__":
    main()
