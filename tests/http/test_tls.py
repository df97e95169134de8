"""One TLS context per process: read once, in a thread, and only for connections that begin with a handshake."""

from __future__ import annotations

import os
import shutil
import ssl
import threading
from functools import partial
from pathlib import Path

import anyio
import pytest

from tests.helpers.loopback_tls import AUTHORITY, HASHED_NAME
from voicepipe.errors import ConfigurationError
from voicepipe.http import tls
from voicepipe.http.client import TRUSTS_NOBODY, HTTPClient
from voicepipe.http.network import Network
from voicepipe.http.tls import Trust, tls_context
from voicepipe.testing import run_on_virtual_time

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
        context = client._new_transport.keywords["tls"]  # type: ignore[attr-defined]
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


@pytest.mark.parametrize(("scheme", "count"), [("ws", 0), ("wss", 1)])
async def test_websockets_share_it_with_http(scheme: str, count: int) -> None:
    """The route to wss:// has the very context that https:// gets, and the route to ws:// has none."""
    routes = [await Network("part", f"{scheme}://127.0.0.1:1/v3/ws").route() for _ in range(2)]
    assert len(tls._contexts) == count
    expected = await context_for("https://api.example.com/v1") if count else None
    assert [route.tls for route in routes] == [expected] * 2


# --- whose certificates -----------------------------------------------------------------------------------------------


OWN = ((("commonName", "voicepipe tests loopback authority"),),)


def subjects_of(context: ssl.SSLContext) -> list[object]:
    return [one["subject"] for one in context.get_ca_certs()]


def test_a_named_file_takes_the_place_of_every_other_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    """With SSL_CERT_FILE only the authorities in that file are trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY))
    assert subjects_of(Trust.of_environment()()) == [OWN]


@pytest.mark.parametrize("value", [None, ""])
def test_without_variables_the_public_authorities_are_trusted(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """Unset and empty variables name nothing: the authorities of certifi and of the system are trusted."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    trust = Trust.of_environment()
    assert len(subjects_of(trust())) > 50
    assert str(trust) == "the system and certifi"


def test_an_authority_that_was_added_to_the_system_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python finds in the system's store counts, too: the authority of a company needs no variable."""
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda store: store.load_verify_locations(AUTHORITY))
    assert OWN in subjects_of(Trust()())


def test_both_variables_are_obeyed(tmp_path: Path) -> None:
    """A directory adds to a file, also one that is still empty."""
    assert subjects_of(Trust(file=str(AUTHORITY), directory=str(tmp_path))()) == [OWN]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"file": "{tmp}/none.pem"}, r"SSL_CERT_FILE names .*/none\.pem, and there is no such file; correct"),
        ({"file": "{tmp}"}, "SSL_CERT_FILE names .*, and there is no such file"),
        ({"file": "{tmp}/empty.pem"}, r"SSL_CERT_FILE names .*/empty\.pem, which holds no certificate in PEM form"),
        ({"file": "{tmp}/text.pem"}, r"SSL_CERT_FILE names .*/text\.pem, which holds no certificate in PEM form"),
        ({"directory": "{tmp}/none"}, "SSL_CERT_DIR names .*/none, and there is no such directory; correct"),
        ({"directory": "{tmp}/text.pem"}, r"SSL_CERT_DIR names .*/text\.pem, and there is no such directory"),
        (
            {"directory": "{tmp}"},
            "SSL_CERT_DIR names .*, which holds no certificate under its hash; run openssl rehash",
        ),
        ({"file": str(AUTHORITY), "directory": "{tmp}/none"}, "SSL_CERT_DIR names .*/none"),
    ],
)
async def test_an_error_names_the_variable(names: dict[str, str], message: str, tmp_path: Path) -> None:
    """A missing or useless file or directory is an error that names its variable, what it holds, and what to do."""
    (tmp_path / "empty.pem").touch()
    (tmp_path / "text.pem").write_text("-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n")
    with pytest.raises(ConfigurationError, match=message):
        await tls_context(Trust(**{name: value.format(tmp=tmp_path) for name, value in names.items()}))


def test_one_directory_of_several_is_enough(tmp_path: Path) -> None:
    """SSL_CERT_DIR may list several directories, and some may be missing."""
    shutil.copy(AUTHORITY, tmp_path / HASHED_NAME)
    context = Trust(directory=f"{tmp_path}/none{os.pathsep}{tmp_path}")()
    assert context.verify_mode is ssl.CERT_REQUIRED
