"""Runs `voicepipe talk` as a program, with words typed into a pipe."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = [
    sys.executable,
    "-u",
    "-W",
    "error",
    "-c",
    "from voicepipe.cli import main\nraise SystemExit(main())",
    "talk",
]


def talk(*arguments: str, typed: str = "", before: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command without a key, after a line of Python, and type into its standard input."""
    program = [*PROGRAM[:-2], f"import sys\n{before}\n{PROGRAM[-2]}", PROGRAM[-1], *arguments]
    return subprocess.run(
        program,
        env={name: value for name, value in os.environ.items() if name != "ASSEMBLYAI_API_KEY"},
        input=typed,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )


def said(shown: str) -> list[tuple[str, str]]:
    """Return who said what, without the times and the waterfall."""
    lines = [line.split(maxsplit=2) for line in shown.splitlines()]
    who = {"caller", "agent", "tool", "cut", "failed"}
    return [(line[1], line[2]) for line in lines if len(line) == 3 and line[0][0].isdigit() and line[1] in who]
