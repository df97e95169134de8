"""Headers and query parameters of an application."""

from __future__ import annotations

from typing import Any

import pytest

from voicepipe.errors import ConfigurationError
from voicepipe.vendors.extras import Extras

KEY = "sk-canary-7f3a"
URL, HOST = "https://llm.example/v1", "llm.example"


def test_they_are_kept_by_name() -> None:
    """Header names do not differ by case, parameters do."""
    extras = Extras("Stage", URL, HOST, {"X-Tenant": "ada"}, {"api-version": "2024-10-21"})

    assert (extras.headers, extras.params) == ({"x-tenant": "ada"}, {"api-version": "2024-10-21"})
    assert extras.carries("X-TENANT")
    assert not extras.carries("authorization")


@pytest.mark.parametrize(
    ("headers", "params", "said"),
    [
        (["x"], None, "headers must be a dict"),
        ({"x": 3}, None, "headers must hold text"),
        ({"": "x"}, None, "headers must hold text"),
        (None, {"api-version": 3}, "params must hold text"),
        (None, "api-version=3", "params must be a dict"),
        ({"x y": "z"}, None, "no header can carry"),
        ({"x": "a\nb"}, None, "no header can carry"),
        ({"x": "\u2019"}, None, "no header can carry"),
        ({"Content-Length": "3"}, None, "may not set content-length"),
    ],
)
def test_what_cannot_be_sent_is_refused(headers: Any, params: Any, said: str) -> None:
    """A wrong header or parameter is refused when the part is made, and the error names the part."""
    with pytest.raises(ConfigurationError, match=f"Stage: .*{said}"):
        Extras("Stage", URL, HOST, headers, params)


@pytest.mark.parametrize(
    ("headers", "params"),
    [({"Authorization": KEY}, None), ({"api-key": KEY}, None), ({"x-auth-token": KEY}, None), (None, {"key": KEY})],
)
def test_what_may_be_a_key_is_sent_in_private_and_never_shown(headers: Any, params: Any) -> None:
    """Over plain http it goes to this machine alone; what a service repeats of it is taken out."""
    with pytest.raises(ConfigurationError, match=r"would be sent to llm\.example unencrypted") as raised:
        Extras("Stage", "http://llm.example/v1", HOST, headers, params)
    assert KEY not in str(raised.value)

    for extras in (
        Extras("Stage", URL, HOST, headers, params),
        Extras("Stage", "http://127.0.0.1/v1", "127.0.0.1", headers, params),
    ):
        assert extras.hidden(f"bad key {KEY}") == "bad key ***"
        assert KEY not in repr(extras)


def test_a_bearer_token_is_hidden_without_its_scheme() -> None:
    """A service repeats the token and not the word in front of it."""
    extras = Extras("Stage", URL, HOST, {"authorization": f"Bearer {KEY}"}, None)
    assert extras.hidden(f"token {KEY} has expired") == "token *** has expired"


def test_what_is_no_key_may_go_anywhere() -> None:
    """A tenant's name is sent over plain http, and is not taken out of errors."""
    extras = Extras("Stage", "http://llm.example/v1", HOST, {"x-tenant": "acme"}, {"api-version": "2024"})
    assert extras.hidden("no acme in 2024") == "no acme in 2024"
