"""The settings of WebRTC, and what a server without its extra says."""

from __future__ import annotations

import sys

import pytest

import voicepipe as vp
from tests.helpers.webrtc import agent
from voicepipe.serving import Serve
from voicepipe.serving.webrtc import IceServer, WebRTC


@pytest.mark.anyio
async def test_the_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without aiortc a server can be built and does not open: the error says what to install."""
    serve = Serve(agent(), [WebRTC()])
    monkeypatch.setitem(sys.modules, "aiortc", None)
    for name in ("peer", "voice_track"):
        monkeypatch.delitem(sys.modules, f"voicepipe.serving.webrtc.{name}", raising=False)
    with pytest.raises(vp.MissingExtra, match=r"pip install 'voicepipe\[webrtc\]'"):
        async with serve.lifespan():
            pass


@pytest.mark.parametrize("path", ["webrtc", "/webrtc/", "/{x}", "/a?b"])
def test_a_path_is_checked(path: str) -> None:
    """A path that no request can have is refused when the transport is made."""
    with pytest.raises(vp.ConfigurationError, match="path must begin"):
        WebRTC(path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "https://turn.example"}, "must be such as"),
        ({"url": "stun:"}, "must be such as"),
        ({"url": "turn:turn.example"}, "needs a username and a password"),
    ],
)
def test_a_server_for_ice_is_checked(settings: dict[str, str], said: str) -> None:
    """An address that no browser takes is refused when it is given."""
    with pytest.raises(vp.ConfigurationError, match=said):
        IceServer(**settings)


def test_ice_servers_are_objects() -> None:
    """A bare address is refused, with the way to write it."""
    with pytest.raises(vp.ConfigurationError, match=r"IceServer\(url=\.\.\.\)"):
        WebRTC(ice_servers=["stun:stun.example"])  # type: ignore[list-item]
