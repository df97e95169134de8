"""What workers have to know, and where callers reach them."""

from __future__ import annotations

import pytest

import voicepipe as vp
from voicepipe.fleet import Application


@pytest.mark.parametrize(
    ("settings", "second", "sources"),
    [
        ({}, "ws://127.0.0.1:4711", ("ws://127.0.0.1:*",)),
        ({"certificate": "c.pem"}, "wss://127.0.0.1:4711", ("wss://127.0.0.1:*",)),
        ({"first_port": 9000}, "ws://127.0.0.1:4711", tuple(f"ws://127.0.0.1:{port}" for port in (9000, 9001, 9002))),
        (
            {"worker_url": "wss://w{index}.example.com/voice/"},
            "wss://w1.example.com/voice",
            ("wss://w0.example.com", "wss://w1.example.com", "wss://w2.example.com"),
        ),
        ({"worker_url": "wss://example.com/w{index}"}, "wss://example.com/w1", ("wss://example.com",)),
        ({"worker_url": "wss://example.com:{port}"}, "wss://example.com:4711", ("wss://example.com:*",)),
        (
            {"worker_url": "wss://{host}.example.com:{port}", "host": "10.0.0.7"},
            "wss://10-0-0-7.example.com:4711",
            ("wss://*.example.com:*",),
        ),
    ],
)
def test_where_callers_reach_a_worker(settings: dict[str, str], second: str, sources: tuple[str, ...]) -> None:
    """The address comes from the template, or from where the worker listens; a page may connect to these alone."""
    application = Application("app.py", workers=2, **settings)
    assert application.media_url(1, 4711) == second
    assert application.media_sources() == sources


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"worker_url": "https://w{index}.example.com"}, "must be that of a websocket"),
        ({"worker_url": "wss://w{number}.example.com"}, "must be that of a websocket"),
        ({"worker_url": "wss://w-{host}.example.com"}, "must be the first name of several"),
        ({"worker_url": "wss://{host}:{port}"}, "must be the first name of several"),
        ({"host": "0.0.0.0"}, "have to know where callers reach them"),
    ],
)
def test_an_address_that_cannot_be(settings: dict[str, str], said: str) -> None:
    """An address that no caller could use is refused before any worker starts."""
    with pytest.raises(vp.ConfigurationError, match=said):
        Application("app.py", **settings)


def test_no_repr_shows_a_secret() -> None:
    """The store's password and the token of the workers show nowhere."""
    application = Application("app.py", store="redis://:hunter2@db/0")
    assert "hunter2" not in repr(application)
    assert application.token not in repr(application)
