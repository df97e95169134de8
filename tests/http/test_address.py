"""Where a service is."""

from __future__ import annotations

import pytest

from voicepipe.errors import ConfigurationError
from voicepipe.http.address import host_of, is_loopback, is_private

KEY = "sk-canary-7f3a"


@pytest.mark.parametrize(
    ("url", "host", "is_local"),
    [
        ("https://api.example.com/v1", "api.example.com", False),
        ("HTTPS://API.example.com/v1", "api.example.com", False),
        ("https://10.0.0.1", "10.0.0.1", False),
        ("http://localhost:8080/v1", "localhost", True),
        ("http://127.0.0.1:8080", "127.0.0.1", True),
        ("http://127.8.9.1", "127.8.9.1", True),
        ("http://[::1]:8080", "::1", True),
        ("https://127.0.0.1", "127.0.0.1", True),
    ],
)
def test_an_address_is_private_when_encrypted_or_local(url: str, host: str, is_local: bool) -> None:
    """An address over TLS is private, and so is plain http to this machine."""
    assert host_of(url) == host
    assert (is_loopback(host), is_private(url, host)) == (is_local, True)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com/v1",
        "HTTP://api.example.com/v1",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "http://[::2]",
    ],
)
def test_any_other_address_is_not_private(url: str) -> None:
    """Plain http to any other machine is not private, however much its name looks like this one's."""
    assert not is_private(url, host_of(url))


def test_sockets_follow_the_same_rule() -> None:
    """A websocket over TLS or to this machine is private, and no other."""
    assert is_private("wss://a.com", "a.com")
    assert is_private("ws://127.0.0.1", "127.0.0.1")
    assert not is_private("ws://a.com", "a.com")


@pytest.mark.parametrize("url", ["", "api.example.com/v1", "ftp://example.com", "https://", "https://[::1", 5])
def test_what_is_no_url_of_a_service_is_refused(url: str) -> None:
    """A base URL names scheme and host."""
    with pytest.raises(ConfigurationError, match="base_url"):
        host_of(url)


def test_a_base_url_ends_before_the_path() -> None:
    """A URL that was copied with the path of its requests is refused, with what to leave out."""
    with pytest.raises(ConfigurationError, match="base_url ends before /chat/completions"):
        host_of("https://api.example.com/v1/chat/completions/", "/chat/completions")
    host_of("https://api.example.com/v1/chat/completions", "/audio/speech")


def test_a_password_in_the_url_is_refused_unseen() -> None:
    """Credentials have their own option, because URLs are logged."""
    with pytest.raises(ConfigurationError, match="pass the key as api_key") as raised:
        host_of(f"https://user:{KEY}@example.com")
    assert KEY not in str(raised.value)


def test_a_query_is_refused_where_it_would_be_lost() -> None:
    """What follows ? would stand in front of the path, so the error names the option for it, and quotes nothing."""
    for url in (f"https://a.com/v1?key={KEY}", f"https://a.com/v1#{KEY}", "https://a.com/v1?"):
        with pytest.raises(ConfigurationError, match="given as params=") as raised:
            host_of(url)
        assert KEY not in str(raised.value)
