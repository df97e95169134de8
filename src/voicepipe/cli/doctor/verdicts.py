"""What the answers of services mean for calls. Pure."""

from __future__ import annotations

import difflib
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from voicepipe.cli.doctor.asking import Key
from voicepipe.cli.doctor.findings import Finding, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.cli.doctor.asking import Answer
    from voicepipe.errors import VoicepipeError

__all__ = ["clock", "is_model", "keys", "reach"]

SLOW_S: Final = 0.4
"""Each turn waits for several round trips, so from here on callers notice how far away a service is."""

CLOCK_S: Final = 5.0
"""How wrong the clock may be before tokens with a time are refused, ..."""

BROKEN_CLOCK_S: Final = 60.0
"""... and before certificates and signatures are, too."""


def reach(answer: Answer) -> Finding:
    """Return whether a service can be reached, how soon it answers, and whether it has the model."""
    service = answer.service
    if answer.error is not None:
        return _unreached(answer, answer.error)
    found = f"{service.host} answers in {answer.again_s * 1e3:.0f} ms"
    if answer.again_s != answer.first_s:
        found += f" ({answer.first_s * 1e3:.0f} ms with connecting)"
    if answer.again_s > SLOW_S:
        remedy = "choose a region or a service that is nearer; a proxy or a VPN may be slow, too"
        return Finding(service.part, Status.WARNING, f"{found}, which callers will notice", remedy)
    if answer.models is None:
        return Finding(service.part, Status.OK, found)
    if any(is_model(service.model, one) for one in answer.models):
        return Finding(service.part, Status.OK, f"{found} and has {service.model}")
    near = difflib.get_close_matches(service.model, answer.models, n=3, cutoff=0.3) or answer.models[:3]
    found += f", but {service.model} is not among its {len(answer.models)} models"
    return Finding(service.part, Status.WARNING, found, f"set model, e.g. to {' or '.join(near)}")


def _unreached(answer: Answer, error: VoicepipeError) -> Finding:
    """Return what is wrong: a failure, unless the service refuses this one question and may answer others."""
    service = answer.service
    finding = Finding.of_error(service.part, error, Status.WARNING if 400 <= answer.status < 500 else Status.FAILED)
    if not answer.status and (not finding.remedy or "base_url" in finding.remedy):
        return replace(finding, remedy=f"check the network, and whether a firewall lets {service.host} through")
    return finding


def is_model(wanted: str, listed: str) -> bool:
    """Return whether a service means one model by two names, as in `llama3.2:latest` or `models/gemini-2.5-flash`."""
    return wanted in (listed, listed.partition(":")[0], listed.rpartition("/")[2])


def keys(answers: Sequence[Answer]) -> list[Finding]:
    """Return a finding for each key that services need, however many of them share it."""
    sources = dict.fromkeys(one.service.credentials.source for one in answers if one.key is not Key.UNNEEDED)
    return [_key(source, [one for one in answers if one.service.credentials.source == source]) for source in sources]


def _key(source: str, answers: Sequence[Answer]) -> Finding:
    by = {answer.key: answer for answer in reversed(answers)}
    parts = ", ".join(dict.fromkeys(answer.service.part for answer in answers))
    if Key.MISSING in by:
        remedy = f"export {source}=..., or write {source}=... into a file .env in this folder"
        return Finding(source, Status.FAILED, f"is not set; needed by {parts}", remedy)
    for kind in (Key.UNUSABLE, Key.REFUSED):
        if kind in by and (error := by[kind].key_error):
            return Finding.of_error(source, error)
    if Key.ACCEPTED in by:
        return Finding(source, Status.OK, f"is set, and {by[Key.ACCEPTED].service.host} accepts it")
    if all(answer.error for answer in answers):
        return Finding(source, Status.WARNING, "is set, but no service could be asked about it")
    return Finding(source, Status.OK, "is set; only a call shows whether it is accepted")


def clock(answers: Sequence[Answer], now: datetime) -> Finding:
    """Compare the clock of this machine with that of the service that answered soonest.

    Args:
        answers: The answers, which have just come.
        now: The time of this machine.
    """
    dated = [(answer.again_s, answer.service.host, date) for answer in answers if (date := _date(answer.date))]
    if not dated:
        return Finding("clock", Status.WARNING, "not compared: no service said what time it is")
    _, host, date = min(dated, key=itemgetter(0))
    behind_s = (date - now).total_seconds() + 0.5  # a date is cut to whole seconds
    if abs(behind_s) <= CLOCK_S:
        return Finding("clock", Status.OK, f"agrees with {host}")
    found = f"is {abs(behind_s):.0f} s {'behind' if behind_s > 0 else 'ahead of'} {host}"
    status = Status.FAILED if abs(behind_s) > BROKEN_CLOCK_S else Status.WARNING
    remedy = "set the time of this machine, e.g. timedatectl set-ntp true; otherwise tokens and signatures are refused"
    return Finding("clock", status, found, remedy)


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
