"""The limits of a server are checked when they are made."""

from __future__ import annotations

import math
from typing import Any

import pytest

import voicepipe as vp
from voicepipe.serving import Limits


def test_the_defaults_are_valid() -> None:
    """A server needs no settings."""
    limits = Limits()
    assert (limits.sessions, limits.opening_per_s, limits.start_s, limits.idle_s, limits.call_s) == (
        100,
        10,
        5,
        30,
        1800,
    )


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"sessions": 0}, "sessions must be a whole number from 1 to 100000, not 0"),
        ({"sessions": 1.5}, "sessions must be a whole number"),
        ({"sessions": True}, "sessions must be a whole number"),
        ({"opening_per_s": 0}, "opening_per_s must be a number of at least 0.01, not 0"),
        ({"opening_per_s": math.nan}, "opening_per_s must be a number"),
        ({"start_s": -1}, "start_s must be a number from 0.1 to 300, not -1"),
        ({"idle_s": "30"}, "idle_s must be a number of at least 1, not '30'"),
        ({"call_s": 0}, "call_s must be a number of at least 1"),
        ({"audio_rate": 0.5}, "audio_rate must be a number of at least 1"),
        ({"audio_ahead_s": 1000}, "audio_ahead_s must be a number from 0.1 to 60"),
        ({"per_subject": 0}, "per_subject must be a whole number from 1 to 100000"),
        ({"call_text": None}, "call_text must be a text"),
    ],
)
def test_an_impossible_limit_is_refused(setting: dict[str, Any], said: str) -> None:
    """The error names the limit, its range and what was found."""
    with pytest.raises(vp.ConfigurationError, match=said):
        Limits(**setting)


def test_an_unknown_limit_is_refused() -> None:
    """A misspelt limit is an error, not a limit that does not hold."""
    with pytest.raises(TypeError, match="session_count"):
        Limits(session_count=3)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["opening_per_s", "idle_s", "call_s", "audio_rate", "lag_s", "stall_s"])
def test_some_limits_can_be_turned_off(name: str) -> None:
    """Infinity turns off a limit that a server can do without."""
    assert getattr(Limits(**{name: math.inf}), name) == math.inf
