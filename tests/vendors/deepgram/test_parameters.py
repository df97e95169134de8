"""Settings: refused here what the service would refuse, and sent by its names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import voicepipe as vp

NOVA, FLUX = vp.NovaParameters, vp.FluxParameters


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: NOVA(sample_rate=4000), "sample_rate: expected a number from 8000 to 48000, found 4000"),
        (lambda: NOVA(endpointing_s="0.3"), "endpointing_s: expected a number from 0.01 to 10, found '0.3'"),  # type: ignore[arg-type]
        (lambda: NOVA(utterance_end_s=0.5), "utterance_end_s: expected a number from 1 to 5"),
        (lambda: NOVA(keyterms="Müller"), "keyterms: expected a list of texts, found str"),
        (lambda: NOVA(keyterms=["a", " "]), "keyterms: expected texts that are not blank"),
        (lambda: NOVA(keyterms=["x" * 50] * 41), "found 41 of 2050"),
        (lambda: FLUX(eager_eot_threshold=0.1), "eager_eot_threshold: expected a number from 0.3 to 0.9"),
        (lambda: FLUX(eager_eot_threshold=0.8), "eager_eot_threshold (0.8) must not exceed eot_threshold (0.7)"),
        (lambda: vp.DeepgramRecogniser(model="flux-general-en"), "those of DeepgramFluxRecogniser"),
        (lambda: vp.DeepgramFluxRecogniser(model="nova-3"), "those of DeepgramRecogniser"),
        (lambda: vp.DeepgramRecogniser(parameters=FLUX()), "parameters must be NovaParameters"),  # type: ignore[arg-type]
        (lambda: vp.DeepgramRecogniser(model="nova-2", parameters=NOVA(keyterms=["a"])), "nova-2 has no keyterms"),
        (lambda: vp.DeepgramFluxRecogniser(parameters=FLUX(language_hints=["de"])), "takes no language_hints"),
        (lambda: vp.DeepgramRecogniser(region="us"), "region must be"),  # type: ignore[arg-type]
        (lambda: vp.DeepgramRecogniser(url="ws://example.com", api_key="k"), "unencrypted"),
        (lambda: vp.DeepgramRecogniser(model="nova-2").update(keyterms=["a"]), "nova-2 has no keyterms"),
        (lambda: vp.DeepgramRecogniser().update(language="de"), "language is fixed for the call"),
        (lambda: vp.DeepgramFluxRecogniser().update(threshold=1), "threshold is unknown"),
        (lambda: vp.DeepgramFluxRecogniser().update(eot_threshold=None), "eot_threshold needs a value"),
    ],
)
def test_invalid_settings_are_refused(make: Callable[[], Any], said: str) -> None:
    """A value that the service would refuse, or that another recogniser takes, is refused before a call."""
    with pytest.raises(vp.ConfigurationError) as refused:
        make()
    assert said in str(refused.value)


def test_settings_are_sent_by_the_services_names() -> None:
    """Seconds become milliseconds, lists repeat a name, and `more` wins over what is sent without being asked."""
    nova = NOVA(keyterms=["a b", "c"], language="multi", redact=["pci"], tag="t", more={"punctuate": "false", "x": "y"})
    asked = nova.query("nova-3", endpointing_s=0.3)
    assert [pair for pair in asked if pair[0] in ("keyterm", "language", "redact", "tag", "punctuate", "x")] == [
        ("redact", "pci"), ("tag", "t"), ("language", "multi"), ("keyterm", "a b"), ("keyterm", "c"),
        ("punctuate", "false"), ("x", "y"),
    ]  # fmt: skip
    assert dict(asked).items() >= {"endpointing": "300", "utterance_end_ms": "1000", "encoding": "linear16"}.items()
    assert FLUX(eot_threshold=0.8, eot_timeout_s=6.5, numerals=True, language_hints=["de"]).query("flux") == [
        ("model", "flux"), ("encoding", "linear16"), ("sample_rate", "16000"), ("numerals", "true"),
        ("eager_eot_threshold", "0.5"), ("eot_threshold", "0.8"), ("eot_timeout_ms", "6500"), ("language_hint", "de"),
    ]  # fmt: skip


def test_a_recogniser_shows_its_model_and_place() -> None:
    """Never its key."""
    assert repr(vp.DeepgramFluxRecogniser(api_key="secret", region="eu")) == (
        "<DeepgramFluxRecogniser flux-general-en at wss://api.eu.deepgram.com/v2/listen>"
    )
