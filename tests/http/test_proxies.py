"""Which proxy the application or the environment names for a URL."""

from __future__ import annotations

import os
import re
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.proxy import parse_proxy

from voicepipe.errors import ConfigurationError
from voicepipe.http.proxies import Proxy, is_excepted, port_of, proxy_of_environment

PASSWORD = "canary-51c7"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without proxies."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name == "REQUEST_METHOD":
            monkeypatch.delenv(name)
    return monkeypatch


# --- exceptions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("no_proxy", "url", "is_held"),
    [
        ("", "https://api.example.com", False),
        (" , ,", "https://api.example.com", False),
        ("*", "https://api.example.com", True),
        ("other.org, *", "wss://stt.example.com/v3/ws", True),
        ("api.example.com", "https://api.example.com/v1", True),
        ("API.Example.COM", "https://api.example.com/v1", True),
        ("api.example.com", "https://API.EXAMPLE.com/v1", True),
        ("api.example.com.", "https://api.example.com", True),
        ("api.example.com", "https://api.example.com.", True),
        ("example.com", "wss://stt.example.com", True),
        (".example.com", "wss://stt.example.com", True),
        (".example.com", "https://example.com", True),
        ("*.example.com", "https://api.example.com", True),
        (".example.com", "https://notexample.com", False),
        ("example.com", "https://example.com.evil.org", False),
        ("ample.com", "https://example.com", False),
        ("api.example.com:443", "https://api.example.com", True),
        ("api.example.com:443", "wss://api.example.com", True),
        ("api.example.com:80", "http://api.example.com", True),
        ("api.example.com:8080", "https://api.example.com", False),
        (".example.com:8080", "https://api.example.com:8080", True),
        ("https://api.example.com", "https://api.example.com", True),
        ("a.org b.org\tapi.example.com", "https://api.example.com", True),
        ("10.0.0.1", "http://10.0.0.1", True),
        ("10.0.0.1", "http://10.0.0.10", False),
        ("10.0.0.1:8080", "http://10.0.0.1:8080", True),
        ("10.0.0.1:8080", "http://10.0.0.1", False),
        ("10.0.0.0/8", "http://10.200.3.4:11434", True),
        ("10.0.0.0/8", "http://11.0.0.1", False),
        ("10.1.2.3/8", "http://10.200.3.4", True),
        ("10.*", "http://10.200.3.4", True),
        ("192.168.*", "http://10.200.3.4", False),
        ("10.0.0.0/8", "https://10.example.com", False),
        ("fd00::/8", "http://[fd12:3456::1]:8000", True),
        ("fd00::/8", "http://[fe80::1]", False),
        ("fd00::/8", "http://10.0.0.1", False),
        ("[fd00::]/8", "http://[fd12::1]", True),
        ("fd00::1", "http://[fd00::1]", True),
        ("FD00:0:0::1", "http://[fd00::1]", True),
        ("[fd00::1]", "http://[fd00::1]:8080", True),
        ("[::1]:8080", "http://[::1]:8080", True),
        ("[::1]:8080", "http://[::1]:8081", False),
        ("[fd00::1]:8080", "http://[fd00::1]", False),
    ],
)
def test_exceptions_are_hosts_addresses_and_networks(no_proxy: str, url: str, is_held: bool) -> None:
    """A host stands for its subdomains, a network for its addresses, "*" for all; a port narrows each of them."""
    parsed = httpx.URL(url)
    assert is_excepted(no_proxy, parsed.host, port_of(parsed)) is is_held


@pytest.mark.parametrize("entry", ["10.0.0.0/99", "fd00::/200", "[::1", "::1]:80", "host:port", "a/b", "[]", ":80"])
def test_an_exception_that_cannot_be_read_is_named(entry: str) -> None:
    """An invalid entry is an error, also behind one that matches: else a key could take a way that nobody meant."""
    with pytest.raises(ConfigurationError, match=rf"NO_PROXY holds '{re.escape(entry)}', which is neither .*fd00::/8"):
        is_excepted(f"*,{entry}", "api.example.com", 443)


# --- variables --------------------------------------------------------------------------------------------------------

SECURE, PLAIN, ALL = "http://secure:1", "http://plain:2", "socks5://all:3"


@pytest.mark.parametrize(
    ("variables", "url", "found"),
    [
        ({}, "https://api.example.com", None),
        ({"HTTPS_PROXY": SECURE}, "https://api.example.com", "http://secure:1 of HTTPS_PROXY"),
        ({"https_proxy": SECURE}, "wss://stt.example.com", "http://secure:1 of https_proxy"),
        ({"HTTPS_PROXY": PLAIN, "https_proxy": SECURE}, "https://api.example.com", "http://secure:1 of https_proxy"),
        ({"HTTPS_PROXY": SECURE}, "http://api.example.com", None),
        ({"HTTP_PROXY": PLAIN}, "http://api.example.com", "http://plain:2 of HTTP_PROXY"),
        ({"http_proxy": PLAIN}, "ws://stt.example.com", "http://plain:2 of http_proxy"),
        ({"HTTP_PROXY": PLAIN}, "https://api.example.com", None),
        ({"HTTP_PROXY": PLAIN, "REQUEST_METHOD": "GET"}, "http://api.example.com", None),
        ({"ALL_PROXY": ALL}, "https://api.example.com", "socks5://all:3 of ALL_PROXY"),
        ({"all_proxy": ALL}, "wss://stt.example.com", "socks5://all:3 of all_proxy"),
        ({"ALL_PROXY": ALL, "HTTPS_PROXY": SECURE}, "wss://stt.example.com", "http://secure:1 of HTTPS_PROXY"),
        ({"HTTPS_PROXY": "", "ALL_PROXY": ALL}, "https://api.example.com", "socks5://all:3 of ALL_PROXY"),
        ({"HTTPS_PROXY": SECURE, "NO_PROXY": ".example.com"}, "https://api.example.com", None),
        ({"HTTPS_PROXY": SECURE, "no_proxy": "10.0.0.0/8,fd00::/8"}, "wss://[fd00::7]:8443", None),
        ({"HTTPS_PROXY": SECURE, "NO_PROXY": "a.org"}, "wss://b.org", "http://secure:1 of HTTPS_PROXY"),
        ({"ALL_PROXY": ALL}, "https://localhost:8000/v1", None),
        ({"ALL_PROXY": ALL}, "ws://127.0.0.1:8098", None),
        ({"ALL_PROXY": ALL}, "http://127.8.8.8", None),
        ({"ALL_PROXY": ALL}, "wss://[::1]:8098", None),
    ],
)
def test_the_scheme_chooses_the_variable(
    variables: dict[str, str], url: str, found: str | None, environment: pytest.MonkeyPatch
) -> None:
    """HTTPS_PROXY serves what is encrypted, HTTP_PROXY the rest, ALL_PROXY both, and none of them this machine."""
    for name, value in variables.items():
        environment.setenv(name, value)
    proxy = proxy_of_environment(httpx.URL(url))
    assert (proxy and str(proxy)) == found


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"HTTPS_PROXY": "socks://127.0.0.1:1080/"},
            r"^HTTPS_PROXY must be .*, not 'socks://127\.0\.0\.1:1080/'; it beg",
        ),
        ({"all_proxy": "socks4://relay:1080"}, "^all_proxy must be .*, not 'socks4://relay:1080'"),
        ({"ALL_PROXY": "relay:1080", "NO_PROXY": "10.0.0.0/99"}, "^NO_PROXY holds '10.0.0.0/99'"),
        ({"ALL_PROXY": "relay:1080", "no_proxy": "a.org,["}, r"^no_proxy holds '\['"),
    ],
)
def test_an_error_names_the_variable(variables: dict[str, str], message: str, environment: pytest.MonkeyPatch) -> None:
    """What cannot be used is named as it is spelled in the environment."""
    for name, value in variables.items():
        environment.setenv(name, value)
    with pytest.raises(ConfigurationError, match=message):
        proxy_of_environment(httpx.URL("https://api.example.com/v1"))


def test_what_does_not_matter_for_a_host_is_not_read(environment: pytest.MonkeyPatch) -> None:
    """A proxy that cannot be used is no error for a host that needs none."""
    environment.setenv("ALL_PROXY", "socks://relay")
    environment.setenv("NO_PROXY", "api.example.com")
    for url in ("https://api.example.com/v1", "http://127.0.0.1:11434/v1"):
        assert proxy_of_environment(httpx.URL(url)) is None


@pytest.mark.parametrize(("host", "found"), [("api.example.com", True), ("intranet", False)])
def test_without_variables_the_system_is_asked(host: str, found: bool, environment: pytest.MonkeyPatch) -> None:
    """Windows and macOS name proxies and exceptions in their settings, which the standard library reads."""
    environment.setattr("voicepipe.http.proxies.getproxies", lambda: {"https": "http://relay:3128"})
    environment.setattr("voicepipe.http.proxies.proxy_bypass", lambda place: place == "intranet:443")
    proxy = proxy_of_environment(httpx.URL(f"https://{host}/v1"))
    assert (proxy and str(proxy)) == ("http://relay:3128 of the system's proxy settings" if found else None)


# --- the URL of a proxy -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("relay", "http://relay:80"),
        (" relay.example.com:3128/ ", "http://relay.example.com:3128"),
        ("HTTP://Relay.Example.com:3128", "http://relay.example.com:3128"),
        ("https://relay.example.com", "https://relay.example.com:443"),
        ("socks5://relay", "socks5://relay:1080"),
        ("socks5h://127.0.0.1:9050", "socks5h://127.0.0.1:9050"),
        ("http://[fd00::1]:3128", "http://[fd00::1]:3128"),
        ("http://ada@relay:3128", "http://ada:@relay:3128"),
        ("http://ada:@relay:3128", "http://ada:@relay:3128"),
        ("ada:p%40ss@relay:3128", "http://ada:p%40ss@relay:3128"),
        ("http://ada:p@ss@relay:3128", "http://ada:p%40ss@relay:3128"),
        ("http://CORP%5Cada:100%@relay:3128", "http://CORP%5Cada:100%25@relay:3128"),
    ],
)
def test_a_url_is_completed(value: str, url: str) -> None:
    """A missing scheme is http, a missing port the usual one, and both libraries that connect read the same from it."""
    proxy = Proxy.of(value, "proxy=")
    assert proxy.url == url
    assert httpx.URL(proxy.url).host == parse_proxy(proxy.url).host == proxy.host


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
    st.text(st.characters(exclude_categories=["Cs", "Cc"])),
)
def test_both_libraries_read_the_same_login(user: str, password: str) -> None:
    """Whatever stands in user and password, percent-encoded, reaches both libraries, and is shown nowhere."""
    proxy = Proxy.of(f"http://{quote(user, safe='')}:{quote(password, safe='')}@relay:3128", "HTTPS_PROXY")
    assert httpx.Proxy(proxy.url).auth == (user, password)
    assert parse_proxy(proxy.url).user_info == (user, password)
    assert str(proxy) == "http://relay:3128 of HTTPS_PROXY"
    assert repr(proxy) == "Proxy(scheme='http', host='relay', named_by='HTTPS_PROXY')"


@pytest.mark.parametrize(
    "value",
    [
        f"ftp://ada:{PASSWORD}@relay:3128",
        f"socks://ada:{PASSWORD}@relay:1080",
        f"http://ada:{PASSWORD}@relay:3128/path",
        f"http://ada:{PASSWORD}/1@relay:3128",
        f"http://ada:{PASSWORD}#1@relay:3128",
        f"http://ada:{PASSWORD}",
        f"http://ada:{PASSWORD}@relay:port",
        f"http://ada:{PASSWORD}@relay:99999",
        f"http://ada:{PASSWORD}@",
        f"http://ada:{PASSWORD}@[relay",
    ],
)
def test_an_error_never_shows_the_password(value: str) -> None:
    """A URL that cannot be used is refused by an error that names the variable, and holds no part of a password."""
    with pytest.raises(ConfigurationError, match=r"^HTTPS_PROXY must be the URL of a proxy, e\.g\. http") as raised:
        Proxy.of(value, "HTTPS_PROXY")
    assert "canary" not in str(raised.value)
    assert raised.value.__cause__ is None
