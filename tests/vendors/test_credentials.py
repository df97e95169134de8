"""Where a key comes from, where it may go, and what is shown of it."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from pydantic import SecretStr

from voicepipe.errors import AuthenticationError, ConfigurationError
from voicepipe.vendors.credentials import Credentials, authorization, without_key

KEY = "sk-canary-7f3a"
HOST = "api.example.com"


def credentials(scheme: str = "https", host: str = HOST, **options: Any) -> Credentials:
    return Credentials("OurModel", f"{scheme}://{host}/v1", host, **{"api_key": None, "api_key_env": None, **options})


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({}, ""),
        ({"api_key": f" {KEY}\n"}, KEY),
        ({"api_key": SecretStr(KEY)}, KEY),
        ({"api_key": KEY, "usual_env": "USUAL_KEY"}, KEY),
        ({"api_key_env": "OWN_KEY"}, "own"),
        ({"api_key_env": "OWN_KEY", "usual_env": "USUAL_KEY"}, "own"),
        ({"usual_env": "USUAL_KEY"}, "usual"),
        ({"usual_env": "NO_KEY", "is_optional": True}, ""),
    ],
    ids=str,
)
def test_a_key_is_found(options: dict[str, Any], key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application's own key or variable goes before the usual variable; without any, there is no key."""
    found = credentials(**options)
    monkeypatch.setenv("OWN_KEY", " own\n")  # read when the part is opened, which is now
    monkeypatch.setenv("USUAL_KEY", "usual")
    monkeypatch.delenv("NO_KEY", raising=False)
    assert found.read().get_secret_value() == key


@pytest.mark.parametrize("options", [{"usual_env": "NO_KEY"}, {"api_key_env": "NO_KEY", "is_optional": True}], ids=str)
def test_a_missing_key_says_where_to_put_it(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names part, variable and service; a variable that the application named is never optional."""
    monkeypatch.setenv("NO_KEY", " ")
    with pytest.raises(AuthenticationError, match=r"OurModel: .* NO_KEY is not set; put the key of api\.example\.com"):
        credentials(**options).read()
    with pytest.raises(AuthenticationError, match="put the key of Acme into it") as raised:
        credentials(**options, vendor="Acme").read()
    assert raised.value.vendor == "Acme"


@pytest.mark.parametrize(
    ("options", "said"),
    [({"api_key": KEY, "api_key_env": "OWN_KEY"}, "not both"), ({"api_key": " \n"}, "api_key is empty")],
)
def test_half_a_choice_is_refused(options: dict[str, Any], said: str) -> None:
    """Two keys are one too many, and a blank key was meant to be one."""
    with pytest.raises(ConfigurationError, match=f"^OurModel: .*{said}"):
        credentials(**options)


@pytest.mark.parametrize("options", [{"api_key": KEY}, {"api_key_env": "OWN_KEY"}, {"usual_env": "USUAL_KEY"}], ids=str)
@pytest.mark.parametrize("scheme", ["http", "HTTP", "ws"])
def test_a_key_does_not_travel_in_the_clear(scheme: str, options: dict[str, Any]) -> None:
    """Wherever the key comes from, it is sent encrypted or to this machine."""
    with pytest.raises(
        ConfigurationError, match=r"sent to api\.example\.com unencrypted; use https:// or wss://"
    ) as raised:
        credentials(scheme, **options)
    assert KEY not in str(raised.value)
    credentials(scheme, "127.0.0.1", **options)
    credentials(scheme)  # there is no key to read


@pytest.mark.parametrize("key", [f"{KEY}\nx-evil: 1", f"\u201c{KEY}\u201d", f"{KEY}\x00"])
def test_a_key_that_no_header_can_carry_is_refused_unseen(key: str) -> None:
    """A line end or a typographic quote comes from copying: the error says so, and does not quote the key."""
    with pytest.raises(ConfigurationError, match=r"OurModel: the key holds .*; copy the key") as raised:
        credentials(api_key=key).read()
    assert KEY not in "".join(traceback.format_exception(raised.value))


def test_a_key_is_shown_nowhere() -> None:
    """It is in no repr, and what a service repeats of it is blotted out."""
    found = credentials(api_key=KEY)
    assert KEY not in f"{found!r} {vars(found)}"
    assert without_key(f"bad key {KEY}, {KEY}", found.read()) == "bad key ***, ***"
    assert without_key("as it is", credentials().read()) == "as it is"


def test_a_key_goes_into_one_header() -> None:
    """The header has the scheme of the service; without a key there is none."""
    assert authorization(SecretStr(KEY)) == {"authorization": f"Bearer {KEY}"}
    assert authorization(SecretStr(KEY), "") == {"authorization": KEY}
    assert authorization(SecretStr("")) == {}
