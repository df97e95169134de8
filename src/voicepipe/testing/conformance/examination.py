"""The checks of one part, one after another, as a report."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

from voicepipe.core.garbage import frozen
from voicepipe.errors import ConfigurationError
from voicepipe.testing.conformance.behaviour import Behaviour
from voicepipe.testing.conformance.notes import everything_logged
from voicepipe.testing.conformance.relay import Harm
from voicepipe.testing.conformance.report import Check, Report
from voicepipe.testing.conformance.trial import Bench, Fails, Skips, Trials

if TYPE_CHECKING:
    from voicepipe.testing.conformance.behaviour import Server
    from voicepipe.testing.conformance.report import Outcome

__all__ = ["Body", "Examination", "examining"]

P = TypeVar("P")

Body: TypeAlias = Callable[[Bench[P]], Awaitable[str]]
"""A check: returns what was seen, or raises `Fails` or `Skips`."""

SHOWN: Final = 3
"""How many of the same faults a message names."""


class Examination(Generic[P]):
    """Checks one part.

    Args:
        kind: What the part is, e.g. "voice".
        make: Makes the part; it gets the URL of the service, if there is one.
        server: Starts the service.
        secrets: What must not be shown.
        only: The checks to make; all of them if there is none.
        real_time: Whether the part has threads, and so no place in virtual time.
    """

    def __init__(
        self,
        kind: str,
        make: Callable[..., P],
        server: Server | None,
        secrets: Sequence[str],
        *,
        only: Sequence[str],
        real_time: bool,
    ) -> None:
        self.trials = Trials(make, server, secrets, real_time=real_time)
        self._kind = kind
        self._checks: list[Check] = []
        self._part_name = ""
        self._only = frozenset(only)
        self._names: set[str] = set()
        self._blocker = ""  # the check without which the others say nothing

    @property
    def has_server(self) -> bool:
        """Whether the part has a service."""
        return self.trials.has_server

    def first(self, name: str, body: Body[P]) -> None:
        """Make a check that must pass before any other says something."""
        self._names.add(name)
        self._check(name, body)
        if self.trials.notes.blocked:  # a busy machine may hold up a step once, but hardly twice
            self._checks.pop()
            self.trials.notes.blocked.clear()
            self._check(name, body)
        if self._checks[-1].outcome != "passed":
            self._blocker = name

    def check(
        self,
        name: str,
        body: Body[P],
        *,
        behaviour: Behaviour = Behaviour.NORMAL,
        harms: Sequence[Harm] = (Harm(),),
        needs_server: bool = False,
    ) -> None:
        """Make a check: one trial for each of `harms`."""
        self._names.add(name)
        if not self._only or name in self._only:
            self._check(name, body, behaviour=behaviour, harms=harms, needs_server=needs_server)

    def _check(
        self,
        name: str,
        body: Body[P],
        *,
        behaviour: Behaviour = Behaviour.NORMAL,
        harms: Sequence[Harm] = (Harm(),),
        needs_server: bool = False,
    ) -> None:
        if self._blocker:
            self.add(name, "not applicable", f"the check {self._blocker!r} failed, so this one would say nothing")
            return
        if needs_server and not self.has_server:
            self.add(name, "not applicable", "no server was given")
            return
        seen: list[str] = []

        async def run(bench: Bench[P]) -> None:
            self._part_name = getattr(bench.part, "name", type(bench.part).__name__)  # it may be no part at all
            seen.append(await body(bench))

        try:
            for harm in harms:
                self.trials.run(name, run, behaviour=behaviour, harm=harm)
        except Fails as failure:
            self.add(name, "failed", str(failure))
        except Skips as reason:
            self.add(name, "not applicable", str(reason))
        else:
            counts = Counter(seen)
            self.add(name, "passed", "; ".join(f"{n} x {one}" if n > 1 else one for one, n in counts.items()))

    def add(self, name: str, outcome: Outcome, detail: str) -> None:
        """Note the outcome of a check."""
        self._checks.append(Check(name, outcome, detail))

    def refuses(self, bad: Sequence[Callable[[], object]]) -> None:
        """Check that each of these raises `ConfigurationError`, which says what is wrong."""
        name = "bad options are refused"
        self._names.add(name)
        if self._only and name not in self._only:
            return
        if not bad:
            self.add(name, "not applicable", "no bad options were given; pass refuses=[lambda: ..., ...]")
            return
        for number, make in enumerate(bad, start=1):
            try:
                made = make()
            except ConfigurationError as error:
                if len(str(error)) < len("expected, found"):
                    found = f"found only {str(error)!r}"
                    self.add(name, "failed", f"expected that no. {number} says what is wrong, {found}; say what to do")
                    return
            except Exception as error:  # noqa: BLE001 - that is what is checked
                found = f"found {type(error).__name__}: {error}"
                self.add(name, "failed", f"expected ConfigurationError for no. {number} of refuses=, {found}")
                return
            else:
                found = f"found {made!r}"
                remedy = "check the options in __init__"
                self.add(name, "failed", f"expected ConfigurationError for no. {number} of refuses=, {found}; {remedy}")
                return
        self.add(name, "passed", f"{len(bad)} of {len(bad)}")

    def report(self) -> Report:
        """Add what all trials together have shown, and return the report.

        Raises:
            ConfigurationError: `only` names a check that there is not.
        """
        gc.collect()  # which reports errors that nobody saw; it is quick, because what was there before is `frozen`
        notes = self.trials.notes
        everywhere = (
            ("no task is left", notes.tasks, "end in open, attach or the work whatever was started there"),
            ("no connection is left", notes.connections, "close in the same function what was opened there"),
            ("no thread is left", notes.threads, "end in open or attach the threads that were started there"),
            ("no error is lost", notes.lost, "await each task, so that its error is raised where it belongs"),
            ("no key is shown", notes.shown, "keep the key in a SecretStr, and take it out of what a service says"),
            ("the loop is not blocked", notes.blocked, "wait with await, and compute in a thread"),
        )
        self._names |= {name for name, _, _ in everywhere}
        if unknown := self._only - self._names:
            known = ", ".join(sorted(self._names))
            raise ConfigurationError(f"only: there is no check {', '.join(sorted(unknown))}; the checks are {known}")
        for name, found, remedy in everywhere:
            if found is notes.shown and not found and not notes.was_sent:
                self.add(name, "not applicable", "no key was sent; make the part with KEY, or name its keys in secrets")
            elif found:
                distinct = list(dict.fromkeys(found))
                more = f" and {len(distinct) - SHOWN} more" if len(distinct) > SHOWN else ""
                self.add(name, "failed", f"expected none, found {'; '.join(distinct[:SHOWN])}{more}; {remedy}")
            else:
                self.add(name, "passed", "in all of the above")
        return Report(self._part_name or self._kind, tuple(self._checks))


@contextmanager
def examining(
    kind: str,
    make: Callable[..., P],
    server: Server | None,
    secrets: Sequence[str],
    *,
    only: Sequence[str],
    real_time: bool,
) -> Generator[Examination[P]]:
    """Check a part in the block, in which log records are searched for keys and shown to nobody. See `Examination`."""
    exam = Examination(kind, make, server, secrets, only=only, real_time=real_time)
    with frozen(), everything_logged(exam.trials.notes):
        yield exam
