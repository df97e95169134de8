"""What the answers of services mean: pure functions of answers that are made up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

import voicepipe as vp
from voicepipe.cli.doctor.asking import Answer, Key
from voicepipe.cli.doctor.services import services_of
from voicepipe.cli.doctor.verdicts import clock, keys

NOW = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)


def answer(part: vp.Part, **values: object) -> Answer:
    (service,) = services_of(part)
    return Answer(**{"service": service, "key": Key.UNKNOWN, "status": 200, **values})


@pytest.mark.parametrize(
    ("ahead_s", "status", "found"),
    [
        (0.0, "ok", "agrees with tts.us.assemblyai.com"),
        (-5.0, "ok", "agrees with tts.us.assemblyai.com"),
        (20.0, "warning", "is 20 s ahead of tts.us.assemblyai.com"),
        (-3600.0, "failed", "is 3600 s behind tts.us.assemblyai.com"),
    ],
)
def test_the_clock_is_compared(ahead_s: float, status: str, found: str) -> None:
    """A difference of seconds is a warning, one of minutes a failure; the service that answers soonest counts."""
    near, far = vp.AssemblyAITTS(), vp.AssemblyAIRecogniser()
    date, other = format_datetime(NOW), format_datetime(NOW + timedelta(days=1))
    answers = [answer(far, again_s=0.4, date=other), answer(near, again_s=0.1, date=date), answer(near, date="soon")]
    finding = clock(answers, NOW + timedelta(seconds=ahead_s + 0.5))
    assert (str(finding.status), finding.found) == (status, found)
    assert bool(finding.remedy) == (status != "ok")


def test_keys_are_named_by_where_they_are() -> None:
    """Parts that share a variable share a line; a key of the application has its own, and says nothing of itself."""
    shared = [answer(part, key=Key.UNKNOWN) for part in (vp.LLMStreamStage(), vp.AssemblyAITTS())]
    given = answer(vp.OpenAITTS(api_key="canary-93f1"), key=Key.ACCEPTED)
    local = answer(vp.LLMStreamStage(base_url="http://127.0.0.1:1/v1", model="m"), key=Key.UNNEEDED)
    assert [(finding.what, finding.found) for finding in keys([*shared, given, local])] == [
        ("ASSEMBLYAI_API_KEY", "is set; only a call shows whether it is accepted"),
        ("api_key of OpenAITTS", "is set, and api.openai.com accepts it"),
    ]
