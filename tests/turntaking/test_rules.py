"""Settings of turn-taking that cannot be meant are refused where they are written."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import pytest

import voicepipe as vp
from voicepipe.errors import ConfigurationError

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"eagerness": "eager"}, """eagerness must be "low", "normal" or "high", not 'eager'"""),
    ({"eagerness": 1.0}, 'eagerness must be "low", "normal" or "high", not 1.0'),
    ({"language": "tlh"}, "language 'tlh' is unknown; known are cs, da, de, en"),
    ({"language": "english"}, "language 'english' is unknown"),
    ({"language": 1}, "language must be a language's code or None, not 1"),
    ({"min_speech_s": -0.1}, "min_speech_s must be 0 to 10 seconds, not -0.1"),
    ({"min_speech_s": 300}, "min_speech_s must be 0 to 10 seconds, not 300"),
    ({"min_speech_s": math.nan}, "min_speech_s must be 0 to 10 seconds, not nan"),
    ({"min_speech_s": "0.3"}, "min_speech_s must be a number of seconds, not '0.3'"),
    ({"min_speech_s": True}, "min_speech_s must be a number of seconds, not True"),
    ({"drafts": "no"}, "drafts must be True or False, not 'no'"),
    ({"local_end": "no"}, "local_end must be True or False, not 'no'"),
    ({"loudspeaker": "no"}, "loudspeaker must be True, False or None, not 'no'"),
    ({"idle": 10}, "idle must be a tuple of times, not 10"),
    ({"idle": ("10",)}, "idle must be a tuple of times, not ('10',)"),
    ({"idle": (0, 10)}, "idle must be rising times of more than 0 seconds, not (0, 10)"),
    ({"idle": (-10,)}, "idle must be rising times of more than 0 seconds, not (-10,)"),
    ({"idle": (20, 10)}, "idle must be rising times of more than 0 seconds, not (20, 10)"),
    ({"idle": (10, 10)}, "idle must be rising times of more than 0 seconds, not (10, 10)"),
    ({"idle": (math.nan,)}, "idle must be rising times of more than 0 seconds, not (nan,)"),
    ({"idle": (10, 20, 30, 40)}, "idle has 4 times and idle_texts 3 texts; give one text for each time"),
    ({"idle": (10,), "idle_texts": ()}, "idle has 1 times and idle_texts 0 texts"),
    ({"idle_texts": "Are you there?"}, "idle_texts must be a tuple of texts, not 'Are you there?'"),
    ({"idle_texts": (None,)}, "idle_texts must be a tuple of texts, not (None,)"),
    ({"max_call_s": 0}, "max_call_s must be more than 0 seconds, not 0"),
    ({"max_call_s": -60.0}, "max_call_s must be more than 0 seconds, not -60.0"),
    ({"max_call_s": math.nan}, "max_call_s must be more than 0 seconds, not nan"),
    ({"max_call_text": None}, "max_call_text must be a text, not None"),
    ({"monologue_s": 0}, "monologue_s must be more than 0 seconds, not 0"),
    ({"monologue_s": None}, "monologue_s must be a number of seconds, not None"),
    ({"monologue_s": 90}, "monologue_s must not be later than monologue_cut_s, but 90 is later than 60.0"),
    ({"monologue_cut_s": -1}, "monologue_cut_s must be more than 0 seconds, not -1"),
    ({"monologue_cut_s": 20}, "monologue_s must not be later than monologue_cut_s, but 30.0 is later than 20"),
    ({"dtmf_end": "##"}, "dtmf_end must be one key of"),
    ({"dtmf_end": "E"}, "dtmf_end must be one key of"),
    ({"dtmf_end": None}, "dtmf_end must be a text, not None"),
    ({"dtmf_s": 0}, "dtmf_s must be more than 0 seconds, not 0"),
    ({"dtmf_s": math.inf}, "dtmf_s must have an end: keys without dtmf_end would wait for ever"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED, ids=[str(settings) for settings, _ in REFUSED])
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], message: str) -> None:
    """The error names the setting, what was expected, and what was found."""
    with pytest.raises(ConfigurationError, match=f"^TurnRules: {re.escape(message)}"):
        vp.TurnRules(**settings)


def test_every_setting_has_a_refusal() -> None:
    """A new setting needs a line in the table above."""
    refused = {name for settings, _ in REFUSED for name in settings}
    assert refused >= {field.name for field in dataclasses.fields(vp.TurnRules)}


@pytest.mark.parametrize(
    "settings",
    [
        {"language": "de-AT"},
        {"language": "PT_br"},
        {"language": ""},
        {"min_speech_s": 0},
        {"idle": (10,), "idle_texts": ("Hello?", "Goodbye.")},
        {"monologue_s": math.inf, "monologue_cut_s": math.inf},
        {"dtmf_end": "", "dtmf_s": 1},
        {"loudspeaker": False, "drafts": False},
    ],
    ids=str,
)
def test_settings_at_their_limits_are_taken(settings: dict[str, Any]) -> None:
    """What is unusual and means something is not refused."""
    assert isinstance(vp.TurnRules(**settings), vp.TurnRules)
