"""What the kit has found: one line for each check."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Check", "Nonconformance", "Report"]

Outcome: TypeAlias = Literal["passed", "failed", "not applicable"]

WIDTH = 118


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: What was checked, in a few words.
        outcome: How it went.
        detail: What was seen. For a failure: what was expected, what was found, and what to do. For one that is not
            applicable: why.
    """

    name: str
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All checks of one part; `print` shows them as a table.

    Attributes:
        part: The part's name.
        checks: The checks, in order.
    """

    part: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> tuple[str, ...]:
        """The names of the checks that passed."""
        return self._names("passed")

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the checks that failed."""
        return self._names("failed")

    @property
    def not_applicable(self) -> tuple[str, ...]:
        """The names of the checks that could not be made with this part or this server."""
        return self._names("not applicable")

    def __getitem__(self, name: str) -> Check:
        """Return the check of this name.

        Raises:
            KeyError: There is none.
        """
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(f"there is no check {name!r}, only {', '.join(check.name for check in self.checks)}")

    def raise_for_failures(self) -> None:
        """Raise if a check failed.

        Raises:
            Nonconformance: The message names every check that failed, and why.
        """
        if self.failed:
            raise Nonconformance(self)

    def _names(self, outcome: Outcome) -> tuple[str, ...]:
        return tuple(check.name for check in self.checks if check.outcome == outcome)

    def __str__(self) -> str:
        """Show a table of all checks."""
        name_width = max(len(check.name) for check in self.checks) if self.checks else 0
        outcome_width = len("not applicable")
        failed, skipped = len(self.failed), len(self.not_applicable)
        lines = [f"{self.part}: {len(self.passed)} checks passed, {failed} failed, {skipped} not applicable"]
        indent = name_width + outcome_width + 6
        for check in self.checks:
            head = f"  {check.name:<{name_width}}  {check.outcome:<{outcome_width}}"
            detail = textwrap.wrap(check.detail, max(40, WIDTH - indent)) or [""]
            lines.append(f"{head}  {detail[0]}".rstrip())
            lines += [" " * indent + line for line in detail[1:]]
        return "\n".join(lines)


class Nonconformance(AssertionError):  # noqa: N818 - names what was found
    """A part does not do what the library relies on.

    Attributes:
        report: All checks, including those that passed.
    """

    def __init__(self, report: Report) -> None:
        lines = [f"{report.part} fails {len(report.failed)} of {len(report.checks)} checks:"]
        for check in report.checks:
            if check.outcome == "failed":
                lines += [f"  {check.name}:", textwrap.indent(textwrap.fill(check.detail, WIDTH - 4), "    ")]
        super().__init__("\n".join(lines))
        self.report = report
