"""What `mcp_tools` refuses when it is written."""

from __future__ import annotations

from typing import Any

import pytest

import voicepipe as vp

HERE = "http://127.0.0.1:1/mcp"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "mcp_tools needs one of command=, url= and server=, and got nothing"),
        ({"command": ["x"], "url": HERE}, "mcp_tools needs one of command=, url= and server=, and got command and url"),
        ({"command": "uvx my-server"}, "command must be a list of the program and its arguments, not one text"),
        ({"command": []}, 'command must hold the program and its arguments, e.g. ["uvx", "my-server"]'),
        ({"command": ["x"], "env": {"KEY": 1}}, "the value of KEY in env must be text"),
        ({"command": ["x"], "headers": {}}, "headers belongs to a server with url=, not with command="),
        ({"url": HERE, "env": {}}, "env belongs to a server with command=, not with url="),
        ({"server": object(), "auth": 1}, "auth belongs to a server with url=, not with server="),
        (
            {"url": "example.com/mcp"},
            "url must be where the server is, e.g. https://mcp.example.com/mcp; the one given",
        ),
        ({"url": "https://me:secret-1@example.com"}, "without user and password; put the key into headers="),
        ({"url": "http://example.com/mcp?apiKey=secret-1"}, "apiKey would be sent to example.com unencrypted"),
        ({"url": "http://example.com", "headers": {"authorization": "secret-1"}}, "unencrypted; use https://"),
        ({"command": ["x"], "allow": "look"}, "allow must be a list of names; write allow=['look']"),
        (
            {"command": ["x"], "effects": {"look": "reads"}},
            'the effect of look must be "read" or "write", not \'reads\'',
        ),
        ({"command": ["x"], "prefix": "my shop"}, "prefix must be at most 32 letters, digits, _ and -, not 'my shop'"),
        ({"command": ["x"], "timeout_s": 0}, "timeout_s must be positive seconds, not 0"),
        ({"command": ["x"], "ready_s": -1}, "ready_s must be positive seconds, not -1"),
    ],
)
def test_a_wrong_setting_is_one_sentence(settings: dict[str, Any], said: str) -> None:
    """The error says what was expected and what to do, and shows no key."""
    with pytest.raises(vp.ConfigurationError) as refused:
        vp.mcp_tools(**settings)
    assert said in str(refused.value)
    assert "secret-1" not in str(refused.value)


def test_what_is_shown_of_it_holds_no_secret() -> None:
    """The repr names the server; arguments, variables, headers and the query stay out."""
    shown = [
        repr(vp.mcp_tools(command=["/opt/shop-server", "--key=secret-1"], env={"KEY": "secret-1"})),
        repr(vp.mcp_tools(url="https://example.com/mcp?key=secret-1", headers={"authorization": "secret-1"})),
    ]
    assert shown == ["<mcp_tools shop-server: 0 tools>", "<mcp_tools example.com: 0 tools>"]
