"""`voicepipe doctor`: is everything there that an agent needs, on this machine and on the way to its services?

Rule 1: it needs no extra, holds no call, and each wait in it has a limit.
Rule 2: what a check cannot find out is a finding too; only the remedy differs.
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, cast

import anyio

import voicepipe as vp
from voicepipe.cli._app import load_served
from voicepipe.cli._tables import printable
from voicepipe.cli.doctor import machine, verdicts
from voicepipe.cli.doctor.asking import Answer, ask
from voicepipe.cli.doctor.findings import Finding, Status
from voicepipe.cli.doctor.services import default_parts, services_of
from voicepipe.core.lifetimes import opened
from voicepipe.core.part import Part
from voicepipe.core.process import run
from voicepipe.errors import ConfigurationError, MissingExtra, VoicepipeError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable, Sequence

    from voicepipe.cli._app import Loaded
    from voicepipe.cli.doctor.services import Service
    from voicepipe.serving import Serve

    Check = Callable[[], Awaitable[list[Finding]]]

__all__ = ["doctor"]

OPEN_S: Final = 20.0
"""How long a part may take to open: it may load a model from a disk."""

STYLES: Final = {Status.OK: "green", Status.ABSENT: "dim", Status.WARNING: "yellow", Status.FAILED: "bold red"}

WIDTH: Final = 22
"""Characters for what was checked."""


def doctor(options: argparse.Namespace) -> int:
    """Check everything, show what was found, and return 0, or 1 if a check has failed.

    Raises:
        KeyboardInterrupt: Ctrl-C or another signal that ends a program.
    """
    findings: list[Finding] = []
    print_finding = _printer()

    def show(finding: Finding) -> None:
        findings.append(finding)
        if not options.json:
            print_finding(finding)

    for finding in (machine.python(), *machine.extras(), *machine.models()):
        show(finding)
    try:
        loaded = load_served(options.app, (vp.Pipeline, vp.Host, *_servers())) if options.app is not None else None
    except ConfigurationError as error:
        loaded = None
        show(Finding.of_error("application", error))
    has_app = loaded is not None or options.app is None
    run(_examine, loaded, show, has_app)
    failed = [finding for finding in findings if finding.status is Status.FAILED]
    if options.json:
        found = [asdict(finding) for finding in findings]
        print(json.dumps({"voicepipe": version("voicepipe"), "is_ok": not failed, "findings": found}, indent=2))
    else:
        print(f"\n{len(failed)} failed: {', '.join(one.what for one in failed)}" if failed else "\nnothing has failed")
    return 1 if failed else 0


async def _examine(loaded: Loaded | None, show: Callable[[Finding], None], has_parts: bool) -> None:
    """Check what can be waited for: devices, parts and services.

    Args:
        loaded: The application; None to check the first stack.
        show: Takes each finding.
        has_parts: Whether there are parts to check; not if the application could not be loaded.
    """
    async with AsyncExitStack() as stack:
        agent, parts = None, default_parts() if has_parts else ()
        if loaded is not None:
            try:
                agent = _pipeline(loaded.where, await stack.enter_async_context(loaded.made()))
                parts = agent.parts
                show(Finding("application", Status.OK, f"{loaded.where} has a pipeline of {len(parts)} parts"))
            except ConfigurationError as error:
                parts = ()
                show(Finding.of_error("application", error))
        await _in_order(_checks(agent, parts), show)


def _servers() -> tuple[type, ...]:
    """Return the class of servers, if it is installed."""
    try:
        from voicepipe.serving import Serve  # noqa: PLC0415 - Rule 1
    except MissingExtra:
        return ()
    return (Serve,)


def _pipeline(where: str, made: object) -> vp.Pipeline:
    """Return the pipeline that an application has, by itself or in what runs it."""
    if isinstance(made, vp.Host):
        made = made._pipeline
    elif isinstance(made, _servers()):
        made = cast("Serve", made).desk.agent
    if not isinstance(made, vp.Pipeline):
        raise ConfigurationError(f"{where}() must return a Pipeline or a Serve, not a {type(made).__name__}")
    return made


def _checks(agent: vp.Pipeline | None, parts: Sequence[Part]) -> list[Check]:
    services = [service for part in parts for service in services_of(part)]
    opening = [part for part in parts if _opens(part) and not any(services_of(part))]
    checks: list[Check] = [partial(machine.sound, agent), *(partial(_open, part) for part in opening)]
    return [*checks, partial(_ask_all, services)] if services else checks


async def _in_order(checks: Sequence[Check], show: Callable[[Finding], None]) -> None:
    """Run checks in parallel, and show what they find in their own order, as soon as it is known."""
    found: dict[int, list[Finding]] = {}
    done = [anyio.Event() for _ in checks]

    async def hold(number: int, check: Check) -> None:
        found[number] = await check()
        done[number].set()

    async with anyio.create_task_group() as tasks:
        for number, check in enumerate(checks):
            tasks.start_soon(hold, number, check)
        for number, event in enumerate(done):
            await event.wait()
            for finding in found[number]:
                show(finding)


def _opens(part: Part) -> bool:
    """Return whether a part, or one that it holds, sets something up that could fail."""
    return type(part).open is not Part.open or any(map(_opens, part._held()))


async def _open(part: Part) -> list[Finding]:
    """Open a part as a host would."""
    with anyio.move_on_after(OPEN_S):
        try:
            async with opened([part._copied()]):
                return [Finding(part.name, Status.OK, "opens")]
        except VoicepipeError as error:
            return [Finding.of_error(part.name, error)]
    return [
        Finding(part.name, Status.FAILED, f"was not open after {OPEN_S:g} s", f"see what {part.name}.open waits for")
    ]


async def _ask_all(services: Sequence[Service]) -> list[Finding]:
    answers: dict[int, Answer] = {}

    async def hold(number: int, service: Service) -> None:
        answers[number] = await ask(service)

    async with anyio.create_task_group() as tasks:
        for number, service in enumerate(services):
            tasks.start_soon(hold, number, service)
    came = [answers[number] for number in range(len(services))]
    now = datetime.now(UTC)  # noqa: TID251 - it is the machine's clock that is checked
    return [*verdicts.keys(came), *map(verdicts.reach, came), verdicts.clock(came, now)]


def _printer() -> Callable[[Finding], None]:
    """Return what prints a finding: in colours where the package for them is installed."""
    if find_spec("rich") is None:
        return lambda finding: print("\n".join(_lines(finding)), flush=True)
    from rich.console import Console  # noqa: PLC0415 - Rule 1
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False, markup=False, soft_wrap=True)

    def show(finding: Finding) -> None:
        first, *others = _lines(finding)
        mark = len(finding.status)
        console.print(Text(first[:mark], STYLES[finding.status]) + Text(first[mark:]))
        for line in others:
            console.print(Text(line, "dim"))

    return show


def _lines(finding: Finding) -> list[str]:
    """Return what to print; what a service or a device says may not control the terminal."""
    lines = [f"{finding.status:8} {finding.what:{WIDTH}} {finding.found}"]
    if finding.remedy:
        lines.append(f"{'':{9 + WIDTH}} -> {finding.remedy}")
    return [printable(line) for line in lines]
