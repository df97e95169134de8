"""One TLS context per process: read once, in a thread, and only for connections that begin with a handshake."""

from __future__ import annotations

import ssl
import threading
from functools import partial

import anyio
import httpx
import pytest
from pydantic import SecretStr

from voicepipe.errors import VendorError
from voicepipe.http import tls
from voicepipe.http.client import TRUSTS_NOBODY, HTTPClient
from voicepipe.http.tls import tls_context
from voicepipe.testing import run_on_virtual_time
from voicepipe.vendors.assemblyai.socket import Socket

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # virtual time refuses threads


@pytest.fixture(autouse=True)
def _fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "_contexts", {})


class Store:
    """Makes contexts, and remembers in which threads."""

    def __init__(self, fails: int = 0) -> None:
        self.threads: list[threading.Thread] = []
        self._fails = fails

    def __call__(self) -> ssl.SSLContext:
        self.threads.append(threading.current_thread())
        if len(self.threads) <= self._fails:
            raise OSError("the store cannot be read")
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


async def test_the_store_is_read_once_and_off_the_loop() -> None:
    """Ten who need it at the same time get the same context, which one thread beside the loop has made."""
    store, got = Store(), set[ssl.SSLContext]()

    async def need() -> None:
        got.add(await tls_context(store))

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(need)
    assert len(got) == len(store.threads) == 1
    assert store.threads != [threading.current_thread()]


def test_what_was_read_needs_no_thread() -> None:
    """Later ones get it at once, even where threads are refused."""
    need = partial(tls_context, Store())
    context = anyio.run(need)
    assert run_on_virtual_time(need) is context


def test_without_a_thread_the_loop_reads() -> None:
    """Where none can be started, as on virtual time, the context is made all the same."""
    store = Store()
    assert isinstance(run_on_virtual_time(partial(tls_context, store)), ssl.SSLContext)
    assert store.threads == [threading.current_thread()]


async def test_a_store_that_cannot_be_read_is_tried_again() -> None:
    """The error reaches who asked, and the next one reads again."""
    store = Store(fails=1)
    with pytest.raises(OSError, match="the store cannot be read"):
        await tls_context(store)
    assert isinstance(await tls_context(store), ssl.SSLContext)


async def context_for(url: str) -> ssl.SSLContext:
    client = HTTPClient(url, {})
    async with client.open():
        context = client._new_client.keywords["verify"]  # type: ignore[attr-defined]
        assert isinstance(context, ssl.SSLContext)
        return context


async def test_all_services_share_one() -> None:
    """Two clients for https:// use the very same context, which knows the public authorities."""
    first, second = await context_for("https://api.example.com/v1"), await context_for("HTTPS://other.example.com/v1")
    assert first is second
    assert first.verify_mode is ssl.CERT_REQUIRED
    assert first.get_ca_certs()


async def test_http_reads_no_store() -> None:
    """A client for http:// reads none, and would trust nobody."""
    assert await context_for("http://127.0.0.1:1/v1") is TRUSTS_NOBODY
    assert await context_for("http://service.example.com/v1") is TRUSTS_NOBODY
    assert TRUSTS_NOBODY.verify_mode is ssl.CERT_REQUIRED
    assert TRUSTS_NOBODY.get_ca_certs() == []


async def test_a_proxy_that_is_spoken_to_by_https_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an environment's proxy needs a handshake, a client for http:// reads the store; not so on this machine."""
    monkeypatch.setenv("http_proxy", "https://proxy.example.com:3128")
    assert await context_for("http://127.0.0.1:1/v1") is TRUSTS_NOBODY
    assert (await context_for("http://service.example.com/v1")).get_ca_certs()


@pytest.mark.parametrize(("scheme", "read"), [("ws", set()), ("wss", {ssl.create_default_context})])
async def test_a_websocket_reads_it_off_the_loop_too(scheme: str, read: set[object]) -> None:
    """Connecting to wss:// makes a context by `tls_context`, once for all connections; ws:// makes none."""
    for _ in range(2):
        with pytest.raises(VendorError, match="cannot connect to 127"):
            await Socket.open(f"{scheme}://127.0.0.1:1/v3/ws", SecretStr(""))
        assert set(tls._contexts) == read
    assert httpx.create_ssl_context not in tls._contexts
