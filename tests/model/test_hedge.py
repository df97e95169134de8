"""The settings of a hedge."""

from __future__ import annotations

from typing import Any

import pytest

import voicepipe as vp
from voicepipe.errors import ConfigurationError
from voicepipe.testing import ScriptedModel


@pytest.mark.parametrize("after_s", [0, -1.0, float("inf"), float("nan"), True, "soon", None])
def test_a_time_that_no_request_could_keep_is_refused(after_s: Any) -> None:
    """The time has to be positive seconds; the error names who has it."""
    with pytest.raises(ConfigurationError, match="Hedge: after_s must be positive seconds"):
        vp.Hedge(after_s=after_s)
    if after_s is not None:
        with pytest.raises(ConfigurationError, match="FirstOf: after_s must be positive seconds"):
            vp.FirstOf(ScriptedModel([]), ScriptedModel([]), after_s=after_s)


def test_another_service_is_not_named_by_a_hedge() -> None:
    """A model that is no id is refused, with the part that takes one."""
    other: Any = ScriptedModel([])
    with pytest.raises(ConfigurationError, match=r"write FirstOf\(one, other, after_s=...\)"):
        vp.Hedge(after_s=0.8, model=other)


def test_a_time_is_no_hedge() -> None:
    """`LLMStreamStage` takes a `Hedge`, not its time."""
    late: Any = 0.8
    with pytest.raises(ConfigurationError, match=r"hedge must be a Hedge\(after_s=...\) or None, not 0.8"):
        vp.LLMStreamStage(base_url="http://127.0.0.1:1/v1", model="m", hedge=late)
