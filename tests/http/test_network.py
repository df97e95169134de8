"""Services behind real proxies and real certificates: one decision, which HTTP and both websockets obey."""

from __future__ import annotations

import base64
import gc
import logging
import os
import shutil
import socket
import ssl
import sys
import traceback
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from pydantic import SecretStr

import voicepipe as vp
from tests.helpers import stt_server, tts_server
from tests.helpers.loopback_tls import AUTHORITY, HASHED_NAME, server_tls
from tests.helpers.proxy_server import ProxyServer, SocksServer
from tests.helpers.raw_server import END, HEAD, RawServer, text
from tests.helpers.stt_server import Caller, EarServer
from tests.helpers.tts_server import SpeechServer
from voicepipe.errors import ConfigurationError, MissingExtra, VendorError
from voicepipe.http import tls
from voicepipe.http.client import HTTPClient
from voicepipe.http.network import Network
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedUser, ScriptedVoice

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

pytestmark = pytest.mark.anyio

LOGIN = "ada:canary-0d4e"
KEY = "canary-8a11"

PARTS = ["llm", "tts over http", "stt", "tts"]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without proxies, in which the authority of these tests is trusted."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY))
    monkeypatch.setattr(tls, "_contexts", {})
    return monkeypatch


@dataclass
class Services:
    """Servers on loopback that speak TLS, and their addresses.

    Attributes:
        urls: The URL of each part's service on loopback.
        hosts: The ports that a proxy finds under the names of the services.
    """

    urls: dict[str, str]
    hosts: dict[str, int]

    def part(self, kind: str, *, at: str = "name", **settings: Any) -> Any:
        """Make a part that goes to its service by name, which no network resolves, or by address."""
        url = self.urls[kind] if at == "address" else NAMES[kind]
        match kind:
            case "llm":
                return vp.LLMStreamStage(base_url=url, model="m", api_key=KEY, **settings)
            case "tts over http":
                return vp.OpenAITTS(base_url=url, api_key=KEY, **settings)
            case "stt":
                return vp.AssemblyAIRecogniser(url=url, api_key=KEY, **settings)
            case _:
                return vp.AssemblyAITTS(url=url, api_key=KEY, **settings)


NAMES = {
    "llm": "https://llm.example.com/v1",
    "tts over http": "https://speech.example.com/v1",
    "stt": "wss://stt.example.com",
    "tts": "wss://tts.example.com",
}


@asynccontextmanager
async def services() -> AsyncGenerator[Services]:
    """Serve all four at once."""
    pcm = b"HTTP/1.1 200 OK\r\ncontent-type: audio/pcm\r\ncontent-length: 9600\r\n\r\n" + b"\1\0" * 4800
    async with (
        RawServer([HEAD, text("Yes."), END], tls=server_tls()).serve() as llm,
        RawServer([pcm], tls=server_tls()).serve() as speech,
        EarServer(stt_server.good).serve(server_tls()) as stt,
        SpeechServer(tts_server.good).serve(server_tls()) as tts,
    ):
        urls = dict(zip(PARTS, (llm, speech, stt, tts), strict=True))
        hosts = {f"{NAMES[kind].split('/')[2]}:443": int(url.split(":")[2].split("/")[0]) for kind, url in urls.items()}
        yield Services(urls, hosts)


async def use(kind: str, part: Any) -> str:
    """Hold a call in which one part is real; return the agent's words, or for a recogniser the caller's.

    Raises:
        VendorError: The call could not begin, or its turn failed.
    """
    row = [
        Caller(0.5, hangs_up_s=3.0) if kind == "stt" else ScriptedUser(),
        *([vp.STTStage(part)] if kind == "stt" else []),
        part if kind == "llm" else ScriptedModel(lambda _: Says("Yes.")),
        vp.SentenceChunker(),
        part if kind.startswith("tts") else ScriptedVoice(character_s=0.01),
    ]
    async with vp.Pipeline(*row, output=RecordingOutput()).session() as session:
        if kind != "stt":
            await session.user_says("Is it open?")
            session.end()
        events = [event async for event in session]
    for event in events:
        if isinstance(event, vp.TurnFailed):
            raise event.error
    said = [event.text for event in events if isinstance(event, vp.Transcript)]
    return said[-1] if kind == "stt" else str(session.history[-1].text)


USED = {"stt": stt_server.text_of(0)}
"""What `use` returns where all is well; "Yes." for the other parts."""


# --- through a proxy --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["the environment", "the argument", "a proxy spoken to by https"])
@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.slow
async def test_everything_goes_through_the_proxy(kind: str, how: str, environment: pytest.MonkeyPatch) -> None:
    """HTTP and both websockets reach a service that only the proxy can reach, with the proxy's login."""
    async with services() as served:
        proxy = ProxyServer(served.hosts, login=LOGIN, tls=server_tls() if "https" in how else None)
        async with proxy.serve() as url:
            named = url.replace("://", f"://{LOGIN}@")
            if how == "the environment":
                environment.setenv("HTTPS_PROXY", named)
            part = served.part(kind, **({} if how == "the environment" else {"proxy": named}))
            assert await use(kind, part) == USED.get(kind, "Yes.")
    assert set(proxy.asked) == {f"CONNECT {NAMES[kind].split('/')[2]}:443"}
    assert set(proxy.logins) == {LOGIN}


@pytest.mark.parametrize("kind", PARTS)
async def test_one_store_serves_the_proxy_too(kind: str, environment: pytest.MonkeyPatch) -> None:
    """The certificates are read once, when the part opens: no library reads them again for the proxy."""
    read: list[object] = []
    make = ssl.create_default_context

    def counted(*args: Any, **options: Any) -> ssl.SSLContext:
        read.append(options)
        return make(*args, **options)

    async with services() as served, ProxyServer(served.hosts, tls=server_tls()).serve() as url:
        environment.setattr(ssl, "create_default_context", counted)
        assert await use(kind, served.part(kind, proxy=url)) == USED.get(kind, "Yes.")
    assert read == [{"cafile": str(AUTHORITY), "capath": None}]


async def test_a_plain_url_is_forwarded() -> None:
    """A request to an http:// URL, which holds no key, is forwarded by the proxy and not tunnelled."""
    server = RawServer([HEAD, text("Yes."), END])
    async with server.serve() as base_url:
        proxy = ProxyServer({"llm.example.com:80": int(base_url.split(":")[2].split("/")[0])})
        async with proxy.serve() as url:
            part = vp.LLMStreamStage(base_url="http://llm.example.com/v1", model="m", proxy=url)
            assert await use("llm", part) == "Yes."
    assert "POST http://llm.example.com/v1/chat/completions" in proxy.asked
    assert "proxy" not in server.requests[0].headers.lower()


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize(
    ("variables", "settings"),
    [({"ALL_PROXY": "{}"}, {}), ({}, {"proxy": "direct"}), ({"https_proxy": "{}", "NO_PROXY": "a.org"}, {})],
)
async def test_this_machine_is_reached_directly(
    kind: str, variables: dict[str, str], settings: dict[str, Any], environment: pytest.MonkeyPatch
) -> None:
    """A proxy of the environment sees nothing that goes to loopback, whatever NO_PROXY says."""
    async with services() as served, ProxyServer({}).serve() as url:
        for name, value in variables.items():
            environment.setenv(name, value.format(url))
        assert await use(kind, served.part(kind, at="address", **settings)) == USED.get(kind, "Yes.")


@pytest.mark.parametrize("kind", PARTS)
async def test_a_proxy_that_the_application_names_serves_this_machine_too(kind: str) -> None:
    """The argument counts for every host."""
    async with services() as served:
        place = served.urls[kind].split("/")[2]
        proxy = ProxyServer({place: int(place.rpartition(":")[2])})
        async with proxy.serve() as url:
            assert await use(kind, served.part(kind, at="address", proxy=url)) == USED.get(kind, "Yes.")
    assert set(proxy.asked) == {f"CONNECT {place}"}


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize("login", ["", "ada:canary-wrong"])
async def test_a_proxy_that_wants_another_login_is_named(kind: str, login: str) -> None:
    """A 407 is an error that names proxy and argument, is not tried again, and shows no password."""
    async with services() as served, ProxyServer(served.hosts, login=LOGIN).serve() as url:
        part = served.part(kind, proxy=url.replace("://", f"://{login}@") if login else url)
        with pytest.raises(VendorError, match=rf"through the proxy {url} of proxy= \(.*407.*check user") as raised:
            await use(kind, part)
    assert not raised.value.retryable
    assert "canary" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize("kind", PARTS)
async def test_a_proxy_that_does_not_let_a_host_through_is_named(kind: str, environment: pytest.MonkeyPatch) -> None:
    """A refusal is an error that names the proxy and its variable; a gateway's error may be tried again."""
    for status, retryable in ((403, False), (503, True)):
        async with services() as served, ProxyServer({}, status=status).serve() as url:
            environment.setenv("https_proxy", url)
            with pytest.raises(VendorError, match=rf"the proxy {url} of https_proxy \(.*{status}") as raised:
                await use(kind, served.part(kind))
        assert raised.value.retryable is retryable


@pytest.mark.parametrize("kind", PARTS)
async def test_a_proxy_that_cannot_be_reached_is_named(kind: str, environment: pytest.MonkeyPatch) -> None:
    """Where nobody listens, the error names the proxy and its variable, and not the service alone."""
    environment.setenv("ALL_PROXY", "127.0.0.1:1")
    async with services() as served:
        with pytest.raises(VendorError, match=r"the proxy http://127\.0\.0\.1:1 of ALL_PROXY .*; is ALL_PROXY right"):
            await use(kind, served.part(kind))


# --- SOCKS ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PARTS)
async def test_socks_without_its_package_says_what_to_install(kind: str, environment: pytest.MonkeyPatch) -> None:
    """The error comes when the part is opened, and names part, package, extra and variable."""
    environment.setattr(sys, "modules", {**sys.modules, "socksio": None, "python_socks": None})
    environment.setenv("all_proxy", f"socks5://{LOGIN}@127.0.0.1:1080")
    async with services() as served:
        with pytest.raises(MissingExtra, match=r"voicepipe\[socks\]") as raised:
            async with served.part(kind).open():
                pytest.fail("opened")
    package = "socksio" if "http" in NAMES[kind] else "python_socks"
    assert f"needs the package {package}, which is not installed (for the proxy socks5://127" in str(raised.value)
    assert "of all_proxy)" in str(raised.value)
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize("login", ["", LOGIN])
@pytest.mark.parametrize("kind", PARTS)
async def test_everything_goes_through_socks(kind: str, login: str, environment: pytest.MonkeyPatch) -> None:
    """With its packages a SOCKS proxy is used like any other, and looks up the names."""
    pytest.importorskip("socksio")
    pytest.importorskip("python_socks")
    async with services() as served:
        proxy = SocksServer(served.hosts, login=login)
        async with proxy.serve() as url:
            environment.setenv("ALL_PROXY", url.replace("://", f"://{login}@") if login else url)
            assert await use(kind, served.part(kind)) == USED.get(kind, "Yes.")
    assert set(proxy.asked) == {f"CONNECT {NAMES[kind].split('/')[2]}:443"}
    assert set(proxy.logins) == ({login} if login else set())


@pytest.mark.parametrize(("login", "why"), [("ada:canary-wrong", "authentica|assword"), (LOGIN, "nreachable")])
@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # see the end
@pytest.mark.slow
async def test_a_socks_proxy_that_refuses_says_why(kind: str, login: str, why: str) -> None:
    """The error names the proxy and has its reason: a wrong login, or a host that it cannot reach."""
    pytest.importorskip("socksio")
    pytest.importorskip("python_socks")
    async with services() as served, SocksServer({}, login=LOGIN).serve() as url:
        part = served.part(kind, proxy=url.replace("://", f"://{login}@"))
        with pytest.raises(VendorError, match=rf"through the proxy {url} of proxy= \(.*({why})") as raised:
            await use(kind, part)
    assert "canary" not in "".join(traceback.format_exception(raised.value))
    del raised, part
    gc.collect()  # httpcore does not close a connection that SOCKS refused; the collector does, and complains


# --- certificates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PARTS)
async def test_a_directory_of_certificates_counts_on_this_machine(
    kind: str, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """SSL_CERT_DIR is enough for a private authority on loopback; the other tests name theirs in SSL_CERT_FILE."""
    shutil.copy(AUTHORITY, tmp_path / HASHED_NAME)
    environment.delenv("SSL_CERT_FILE")
    environment.setenv("SSL_CERT_DIR", str(tmp_path))
    async with services() as served:
        assert await use(kind, served.part(kind, at="address")) == USED.get(kind, "Yes.")


@pytest.mark.parametrize("kind", PARTS)
async def test_an_authority_that_is_not_trusted_is_named(kind: str, environment: pytest.MonkeyPatch) -> None:
    """With the authorities of another file the handshake fails, and the error says whose are trusted."""
    other = AUTHORITY.with_name("authority.pem")
    environment.setenv("SSL_CERT_FILE", str(other))
    async with services() as served:
        with pytest.raises(VendorError, match=f"trusted are the authorities of SSL_CERT_FILE={other}; put") as raised:
            await use(kind, served.part(kind, at="address"))
    assert "CERTIFICATE_VERIFY_FAILED" in str(raised.value)
    assert not raised.value.retryable


async def test_a_certificate_for_another_host_is_no_matter_of_authorities() -> None:
    """A name that the certificate does not have is an error of its own, and nobody retries."""
    async with services() as served:
        port = served.hosts["llm.example.com:443"]
        async with ProxyServer({"llm.example.org:443": port}).serve() as url:
            part = vp.LLMStreamStage(base_url="https://llm.example.org/v1", model="m", proxy=url)
            with pytest.raises(VendorError, match=r"(?s)Hostname mismatch.*; is base_url right") as raised:
                await use("llm", part)
    assert not raised.value.retryable


@pytest.mark.parametrize("kind", PARTS)
async def test_a_missing_certificate_file_is_an_error_at_once(kind: str, environment: pytest.MonkeyPatch) -> None:
    """The part does not open, not even for a service on loopback, and the error names the variable and the file."""
    environment.setenv("SSL_CERT_FILE", "/nowhere/company.pem")
    async with services() as served:
        for at in ("address", "name"):
            with pytest.raises(
                ConfigurationError, match=r"^SSL_CERT_FILE names /nowhere/company\.pem, and there is no"
            ):
                async with served.part(kind, at=at).open():
                    pytest.fail("opened")


# --- the argument -----------------------------------------------------------------------------------------------------


def parts_of(proxy: Any) -> list[Callable[[], object]]:
    return [lambda kind=kind: Services({}, {}).part(kind, proxy=proxy) for kind in PARTS]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        ("", "proxy= must be the URL of a proxy, e.g. http://proxy.example.com:3128, or 'direct' for none, not ''"),
        (" ", "for none, not 'str'"),
        (3128, "not 'int'"),
        (True, "not 'bool'"),
        ("ftp://relay", "proxy= must be the URL of a proxy, e.g. http://proxy.example.com:3128, not 'ftp://relay'"),
        ("http://relay:port", "the host or the port of the one given is invalid"),
    ],
)
def test_a_wrong_argument_is_refused_where_it_is_given(proxy: Any, message: str) -> None:
    """The constructor of each part refuses what is no proxy, and the error names part and argument."""
    for make in parts_of(proxy):
        with pytest.raises(ConfigurationError) as raised:
            make()
        assert message in str(raised.value)
        assert str(raised.value).partition(":")[0] in {
            "LLMStreamStage",
            "OpenAITTS",
            "AssemblyAIRecogniser",
            "AssemblyAITTS",
        }


@pytest.mark.parametrize("make", [vp.AssemblyAITTS, vp.AssemblyAIRecogniser])
def test_a_host_that_cannot_be_one_is_refused(make: type) -> None:
    """A URL that is split without complaint may still be none; the part refuses it before anything connects."""
    with pytest.raises(ConfigurationError, match=r"'wss://☃\.example\.com/v[13]/ws' is no URL"):
        make(host="☃.example.com", api_key=KEY)


@pytest.mark.parametrize(
    ("url", "proxy", "is_refused"),
    [
        ("http://127.0.0.1:8080/v1", "http://relay.example.com:3128", True),
        ("ws://localhost:8098", "socks5h://relay.example.com", True),
        ("https://127.0.0.1:8080/v1", "http://relay.example.com:3128", False),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:3128", False),
        ("http://llm.example.com/v1", "http://relay.example.com:3128", False),
    ],
)
def test_what_is_for_this_machine_leaves_it_encrypted(url: str, proxy: str, is_refused: bool) -> None:
    """A plain URL on loopback may hold a key, so a proxy on another machine is refused for it."""
    if not is_refused:
        Network("part", url, proxy)
        return
    with pytest.raises(ConfigurationError, match=r"part: proxy= would carry what is for this machine .* unenc"):
        Network("part", url, proxy)


async def test_a_secret_is_taken(environment: pytest.MonkeyPatch) -> None:
    """A pydantic SecretStr is as good as text, and the argument comes before the environment."""
    environment.setenv("ALL_PROXY", "http://relay.example.com")
    network = Network("part", "wss://stt.example.com", SecretStr(f"http://{LOGIN}@127.0.0.1:3128"))
    route = await network.route()
    assert route.proxy is not None
    assert route.proxy.url == f"http://{LOGIN}@127.0.0.1:3128"
    assert repr(network) == "<Network to stt.example.com by http://127.0.0.1:3128 of proxy=>"
    assert "canary" not in f"{route!r}{vars(network)!r}"
    direct = Network("part", "wss://stt.example.com", "direct")
    assert (await direct.route()).proxy is None
    assert repr(direct) == "<Network to stt.example.com by direct>"


@pytest.mark.parametrize("kind", PARTS)
async def test_the_login_of_a_proxy_is_nowhere(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at DEBUG, neither logs nor representations hold the password of the proxy."""
    caplog.set_level(logging.DEBUG)
    for name in ("asyncio", "httpcore", "httpx", "websockets", "websockets.client", "voicepipe"):
        caplog.set_level(logging.DEBUG, logger=name)
    async with services() as served, ProxyServer(served.hosts, login=LOGIN).serve() as url:
        part = served.part(kind, proxy=url.replace("://", f"://{LOGIN}@"))
        assert await use(kind, part) == USED.get(kind, "Yes.")
    encoded = base64.b64encode(LOGIN.encode()).decode()
    seen = "".join([caplog.text, *(repr(vars(record)) for record in caplog.records), repr(part), repr(vars(part))])
    assert "canary" not in seen
    assert encoded not in seen


@pytest.mark.parametrize("limit_s", [1.5, 3.0])
async def test_a_request_through_a_silent_proxy_ends_at_its_limit(limit_s: float) -> None:
    """The limit for an answer covers the proxy, and nothing is left open."""
    silent = socket.create_server(("127.0.0.1", 0))
    with silent:
        proxy = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = HTTPClient(NAMES["llm"], {}, network=Network("part", NAMES["llm"], proxy))
        async with client.open():
            with pytest.raises(VendorError, match=f"did not answer within {limit_s:g} s"):
                async with client.post("/x", "{}", limit_s=limit_s):
                    pytest.fail("there is no response")
    assert round(anyio.current_time(), 6) == limit_s


@pytest.mark.parametrize(("kind", "limit_s"), [("stt", 4.5), ("tts", 4.0)])
async def test_a_silent_proxy_is_given_up_in_time(kind: str, limit_s: float) -> None:
    """The deadline for connecting covers the proxy, and nothing is left open."""
    silent = socket.create_server(("127.0.0.1", 0))
    with silent:
        part = Services({}, {}).part(kind, proxy=f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(VendorError):
            await use(kind, part)
    assert round(anyio.current_time(), 3) == limit_s
