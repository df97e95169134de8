"""Both recognisers pass the kit that every vendor runs."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import pytest

import voicepipe as vp
from tests.helpers.vendor_table import check_row
from voicepipe.testing.conformance import KEY, Behaviour, Speech, check_recogniser
from voicepipe.testing.simulators.deepgram import DeepgramSimulator
from voicepipe.testing.simulators.stt import Rejects, Spoken

SPEECH = Speech(text="My order number is four two")


FAULTS = {Behaviour.RATE_LIMITED: Rejects(429), Behaviour.FAILING: Rejects(503), Behaviour.INVALID: Rejects(400)}


def ears(behaviour: Behaviour) -> AbstractAsyncContextManager[str] | None:
    if behaviour not in (Behaviour.NORMAL, Behaviour.UNAUTHORISED, *FAULTS):
        return None
    turn = Spoken(f"{SPEECH.text}.", SPEECH.start_s, SPEECH.end_s)
    key = "another" if behaviour is Behaviour.UNAUTHORISED else KEY
    return DeepgramSimulator([turn], api_key=key, faults=FAULTS.get(behaviour)).serve()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [vp.DeepgramRecogniser, vp.DeepgramFluxRecogniser])
def test_deepgram(kind: type[vp.DeepgramRecogniser | vp.DeepgramFluxRecogniser]) -> None:
    """Deepgram's recogniser conforms."""
    report = check_recogniser(
        lambda url: kind(url=url, api_key=KEY), server=ears, speech=SPEECH, refuses=[lambda: kind(model=" ")]
    )
    assert report.not_applicable == ()
    check_row(report)
