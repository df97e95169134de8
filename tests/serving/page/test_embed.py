"""The page in a frame of another page: which pages may show it, and the script that they load."""

from __future__ import annotations

import pytest

from tests.helpers.page_client import ask, page_server
from tests.serving.page.test_page import agent

pytestmark = pytest.mark.anyio


async def test_pages_that_may_call_may_show_the_page() -> None:
    """The policy names the origins of the server, and no other page can show this one in a frame."""
    origins = ["https://shop.example", "https://agent.example"]
    async with page_server(agent(), origins=origins) as (_, port):
        index = await ask(port, "/")
    async with page_server(agent()) as (_, port):
        alone = await ask(port, "/")
    said = [answer.headers["content-security-policy"].split("; ")[-1] for answer in (index, alone)]
    assert said == ["frame-ancestors 'self' https://agent.example https://shop.example", "frame-ancestors 'self'"]


async def test_only_the_script_is_for_other_pages() -> None:
    """A browser gives the script to any page, and the page's own files to none."""
    paths = ("embed.js", "page.js", "style.css", "")
    async with page_server(agent()) as (_, port):
        reach = {name: (await ask(port, f"/{name}")).headers["cross-origin-resource-policy"] for name in paths}
    assert reach == {
        "embed.js": "cross-origin",
        "page.js": "same-origin",
        "style.css": "same-origin",
        "": "same-origin",
    }
