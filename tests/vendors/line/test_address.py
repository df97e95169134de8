"""Where a service's websocket is."""

from __future__ import annotations

from typing import Final

import pytest

import voicepipe as vp
from voicepipe.errors import ConfigurationError

CANARY: Final = "canary5d"


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{CANARY}@example.com",
        f"https://example.com?key={CANARY}",
        f"wss://example.com:{CANARY}",
        f"wss://user:{CANARY}@example.com",
        CANARY,
    ],
)
def test_a_refused_url_is_not_quoted_because_it_may_hold_a_key(url: str) -> None:
    """Neither a websocket's URL nor that of an HTTP service is in the error that refuses it."""
    with pytest.raises(ConfigurationError) as of_socket:
        vp.HostedVoiceAgent(url=url)
    with pytest.raises(ConfigurationError) as of_http:
        vp.OpenAITTS(base_url=url.replace("wss:", "https:").replace("https://example.com?", "ftp://example.com?"))

    assert CANARY not in f"{of_socket.value} {of_http.value}"
