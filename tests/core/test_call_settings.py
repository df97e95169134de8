"""The settings of one call: checked at the door, and refused by the name of the part that cannot honour them."""

from __future__ import annotations

import pytest

from voicepipe.core.call_settings import CallSettings
from voicepipe.errors import ConfigurationError


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"voice": ""}, "voice must be the name of a voice, not ''"),
        ({"voice": " "}, "voice must be the name of a voice"),
        ({"voice": "al\nice"}, "voice must be the name of a voice"),
        ({"voice": 3}, "not 3"),
        ({"language": ""}, r'language must be a code such as "de" or "pt-BR", not \'\''),
        ({"language": "german"}, "not 'german'"),
        ({"language": "de_DE"}, "not 'de_DE'"),
        ({"language": "de-DE\n"}, "must be a code"),
        ({"language": 7}, "not 7"),
        ({"key_terms": "Flat white"}, "key_terms must be a list of words"),
        ({"key_terms": ["Flat white", " "]}, "key_terms must be a list of words"),
        ({"key_terms": ["Flat white", 2]}, "key_terms must be a list of words"),
        ({"key_terms": 5}, "key_terms must be a list of words"),
    ],
)
def test_what_no_part_could_honour_is_refused_when_it_is_made(given: dict[str, object], said: str) -> None:
    """A blank voice, a language that is not a code, and key terms that are not words are errors at once."""
    with pytest.raises(ConfigurationError, match=said):
        CallSettings(**given)  # type: ignore[arg-type]


def test_a_list_is_copied() -> None:
    """Settings are facts: the application's list may change later."""
    terms = ["Flat white"]
    settings = CallSettings(key_terms=terms)
    terms.clear()
    assert settings.key_terms == ("Flat white",)


@pytest.mark.parametrize(
    ("language", "code"),
    [(None, ""), ("de", "de"), ("pt-BR", "pt"), ("EN", "en"), ("zh-Hant-TW", "zh"), ("yue", "yue")],
)
def test_the_code_of_a_language_has_no_region(language: str | None, code: str) -> None:
    """Services that know no regions get the language alone."""
    assert CallSettings(language=language).language_code == code


def test_only_what_is_set_can_be_refused() -> None:
    """A part refuses by its name what it cannot honour; what is not set, or empty, asks nothing of it."""
    CallSettings().refuse("AcmeTTS", "voice", "language", "key_terms")
    CallSettings(key_terms=[]).refuse("AcmeTTS", "key_terms")
    CallSettings(key_terms=["Flat white"]).refuse("AcmeTTS", "voice", "language")
    with pytest.raises(
        ConfigurationError, match="AcmeTTS cannot change its key terms from call to call; leave key_terms"
    ):
        CallSettings(key_terms=["Flat white"]).refuse("AcmeTTS", "voice", "key_terms")
