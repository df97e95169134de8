"""`voicepipe doctor`: what it says about keys, services, the network and the clock, on virtual time."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.get_server import GetServer
from tests.helpers.loopback_tls import AUTHORITY, server_tls
from tests.helpers.proxy_server import ProxyServer
from tests.helpers.raw_server import answer
from voicepipe.cli.doctor import _ask_all
from voicepipe.cli.doctor.findings import Finding, Status
from voicepipe.cli.doctor.services import default_parts, services_of
from voicepipe.http import tls
from voicepipe.testing.simulators.cartesia import CartesiaSimulator
from voicepipe.testing.simulators.deepgram import DeepgramSimulator
from voicepipe.testing.simulators.elevenlabs import ElevenLabsSimulator
from voicepipe.testing.simulators.gateway import GatewaySimulator
from voicepipe.testing.simulators.stt import STTSimulator
from voicepipe.testing.simulators.tts import TTSSimulator

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.anyio

KEY = "canary-93f1"
NAME = "ASSEMBLYAI_API_KEY"
OK = answer("200 OK", b'{"data": [{"id": "m"}, {"id": "other"}]}')
UNLIKE = OK.replace(b'"m"', b'"n"')

Seen = tuple[str, str, str]
"""What was checked, the status, and the beginning of what was found."""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with a key and without proxies."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv(NAME, KEY)
    monkeypatch.setattr(tls, "_contexts", {})
    return monkeypatch


async def examined(*parts: vp.Part) -> list[Finding]:
    """Return what is found about the services of parts. No finding shows the key."""
    findings = await _ask_all([service for part in parts for service in services_of(part)])
    assert KEY not in repr(findings)
    return findings


def seen(findings: Sequence[Finding]) -> list[tuple[str, str, str]]:
    return [(finding.what, str(finding.status), finding.found) for finding in findings]


def model(url: str, **settings: Any) -> vp.LLMStreamStage:
    return vp.LLMStreamStage(**{"base_url": url, "model": "m", "api_key_env": NAME, **settings})


async def test_a_first_stack_that_works() -> None:
    """With an accepted key every line is ok: the key once, and a line for each service with its round trip."""
    async with (
        STTSimulator(api_key=KEY).serve() as stt,
        GatewaySimulator([], api_key=KEY).serve() as llm,
        TTSSimulator(api_key=KEY).serve() as tts,
    ):
        findings = await examined(
            vp.AssemblyAIRecogniser(url=stt), model(llm, model="gpt-5.2"), vp.AssemblyAITTS(url=tts)
        )
    hosts = [url.split("/")[2] for url in (stt, llm, tts)]
    assert seen(findings) == [
        (NAME, "ok", f"is set, and {hosts[0]} accepts it"),
        ("AssemblyAIRecogniser", "ok", f"{hosts[0]} answers in 0 ms"),
        ("LLMStreamStage", "ok", f"{hosts[1]} answers in 0 ms and has gpt-5.2"),
        ("AssemblyAITTS", "ok", f"{hosts[2]} answers in 0 ms"),
        ("clock", "ok", f"agrees with {hosts[0]}"),
    ]


async def test_voices_of_other_vendors() -> None:
    """Each is asked whether it answers, and its own key is looked for."""
    async with ElevenLabsSimulator().serve() as one, CartesiaSimulator().serve() as two:
        findings = await examined(vp.ElevenLabsTTS(url=one, api_key=KEY), vp.CartesiaTTS(url=two, api_key=KEY))
    assert [(part, status) for part, status, _ in seen(findings)] == [
        ("api_key of ElevenLabsTTS", "ok"),
        ("api_key of CartesiaTTS", "ok"),
        ("ElevenLabsTTS", "ok"),
        ("CartesiaTTS", "ok"),
        ("clock", "ok"),
    ]


DEEPGRAM = vp.DeepgramRecogniser, vp.DeepgramFluxRecogniser


async def test_recognisers_of_other_vendors() -> None:
    """Deepgram says whether it accepts the key, the same for both of its recognisers."""
    async with DeepgramSimulator(api_key=KEY).serve() as url:
        findings = await examined(*(kind(url=url, api_key=KEY) for kind in DEEPGRAM))
    assert [(part, status) for part, status, _ in seen(findings)] == [
        ("api_key of DeepgramRecogniser", "ok"),
        ("api_key of DeepgramFluxRecogniser", "ok"),
        ("DeepgramRecogniser", "ok"),
        ("DeepgramFluxRecogniser", "ok"),
        ("clock", "ok"),
    ]


async def test_a_key_that_is_refused() -> None:
    """The service says so before a call has to; it is reachable all the same."""
    async with STTSimulator(api_key="another").serve() as one, DeepgramSimulator(api_key="another").serve() as two:
        for part in (vp.AssemblyAIRecogniser(url=one), vp.DeepgramFluxRecogniser(url=two, api_key=KEY)):
            key, service, _ = await examined(part)
            assert (key.status, "answered HTTP 401" in key.found, key.remedy) == (Status.FAILED, True, "check the key")
            assert service.status is Status.OK


async def test_a_key_is_never_shown() -> None:
    """A service that quotes the key in its refusal is shown without it."""
    refusal = answer("403 Forbidden", b"wrong key: canary-93f1, from {key}")
    async with GetServer(refusal.replace(b"{key}", b"")).serve() as url:
        key, _, _ = await examined(vp.AssemblyAIRecogniser(url=url.replace("http", "ws")))
    assert key.found == "127.0.0.1 answered HTTP 403: wrong key: ***, from"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, "is not set; needed by AssemblyAIRecogniser, LLMStreamStage, AssemblyAITTS"),
        ("canary-93f1\u201d", "AssemblyAIRecogniser: the key holds a character that no header can carry"),
    ],
)
async def test_a_key_that_cannot_be_sent(value: str | None, found: str, environment: pytest.MonkeyPatch) -> None:
    """A missing key is one failure, with all who need it; so is one that was copied with a quotation mark."""
    if value is None:
        environment.delenv(NAME)
    else:
        environment.setenv(NAME, value)
    environment.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # so that nothing leaves this machine
    key, *services, clock = await examined(*default_parts())
    assert (key.what, key.status, key.found.startswith(found)) == (NAME, Status.FAILED, True)
    assert [service.status for service in services] == [Status.FAILED] * 3
    assert (clock.status, clock.found) == (Status.WARNING, "not compared: no service said what time it is")


ANSWERS: list[tuple[bytes, float, str, str, str]] = [
    # sent, after how many seconds, then: status, the beginning of what is found, and of the remedy
    (OK, 0.25, "ok", "HOST answers in 250 ms and has m", ""),
    (OK, 0.8, "warning", "HOST answers in 800 ms, which callers will notice", "choose a region"),
    (OK, 6.0, "failed", "127.0.0.1 did not answer within 5 s", "check the network, and whether a firewall"),
    (UNLIKE, 0.0, "warning", "HOST answers in 0 ms, but m is not among its 2 models", "set model, e.g. to "),
    (answer("200 OK", b"<html>"), 0.0, "ok", "HOST answers in 0 ms", ""),
    (answer("200 OK", b"[]"), 0.0, "ok", "HOST answers in 0 ms", ""),
    (answer("302 Found", b"", "location: /"), 0.0, "failed", "HOST answered HTTP 302, which leads", "a login page"),
    (answer("404 Not Found", b""), 0.0, "warning", "127.0.0.1 answered HTTP 404 for the path /models", "is base_url"),
    (answer("429 Slow down", b""), 0.0, "warning", "127.0.0.1 answered HTTP 429", ""),
    (answer("503 Down", b"later"), 0.0, "failed", "127.0.0.1 answered HTTP 503: later", ""),
    (b"SSH-2.0-OpenSSH\r\n\r\n", 0.0, "failed", "the connection to 127.0.0.1 broke", "check the network"),
]


@pytest.mark.parametrize(("sent", "after_s", "status", "found", "remedy"), ANSWERS, ids=range(len(ANSWERS)))
async def test_what_a_service_may_answer(sent: bytes, after_s: float, status: str, found: str, remedy: str) -> None:
    """Each answer has its status and its remedy, and a round trip is measured over a connection that is there."""
    async with GetServer(sent, after_s=after_s).serve() as url:
        _, service, _ = await examined(model(url))
    assert (service.what, str(service.status)) == ("LLMStreamStage", status)
    assert service.found.startswith(found.replace("HOST", url.split("/")[2]))
    assert service.remedy.startswith(remedy)
    assert bool(service.remedy) == bool(remedy)


async def test_a_host_that_is_down() -> None:
    """A refused connection says where it was to lead, and takes no time."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (key, service, _), began_s = await examined(model(f"http://127.0.0.1:{port}/v1")), anyio.current_time()
    assert (service.status, key.status) == (Status.FAILED, Status.WARNING)
    assert service.found.startswith(f"cannot connect to http://127.0.0.1:{port}/v1/models")
    assert service.remedy == f"check the network, and whether a firewall lets 127.0.0.1:{port} through"
    assert anyio.current_time() == began_s


async def test_services_are_asked_at_the_same_time() -> None:
    """Three silent services take as long as one: each wait has its limit, and they are in parallel."""
    began_s = anyio.current_time()
    async with GetServer(OK, after_s=60.0).serve() as url:
        socket_url = url.replace("http", "ws")
        parts = vp.AssemblyAIRecogniser(url=socket_url), model(url), vp.AssemblyAITTS(url=socket_url)
        _, *services, _ = await examined(*parts)
    assert [str(service.status) for service in services] == ["failed"] * 3
    assert anyio.current_time() - began_s == 5.0


async def test_a_certificate_that_nobody_trusts(environment: pytest.MonkeyPatch) -> None:
    """The remedy names the variable that trusts another authority; with it, the check passes."""
    async with GetServer(OK, tls=server_tls()).serve() as url:
        _, service, _ = await examined(model(url))
        environment.setenv("SSL_CERT_FILE", str(AUTHORITY))
        _, trusted, _ = await examined(model(url))
    assert "CERTIFICATE_VERIFY_FAILED" in service.found
    assert (service.status, "name the file in SSL_CERT_FILE" in service.remedy) == (Status.FAILED, True)
    assert trusted.status is Status.OK


async def test_proxies_are_obeyed(environment: pytest.MonkeyPatch) -> None:
    """What the environment says about proxies counts, for the hosts of websockets too; a refusal names the variable."""
    environment.setenv("SSL_CERT_FILE", str(AUTHORITY))
    async with GetServer(OK, tls=server_tls()).serve() as url:
        proxy = ProxyServer({"llm.example.com:443": int(url.rpartition(":")[2])})
        async with proxy.serve() as proxy_url:
            environment.setenv("HTTPS_PROXY", proxy_url)
            parts = model("https://llm.example.com"), vp.AssemblyAITTS(url="wss://tts.example.com")
            _, llm, tts, _ = await examined(*parts)
    assert (llm.status, tts.status) == (Status.OK, Status.FAILED)
    assert "through the proxy" in tts.found
    assert "is HTTPS_PROXY right" in tts.remedy
    assert sorted(proxy.asked) == ["CONNECT llm.example.com:443", "CONNECT tts.example.com:443"]
