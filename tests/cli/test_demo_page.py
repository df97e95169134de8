"""The demo in a browser: the page of the shop, with embedded ears and voice."""

from __future__ import annotations

import importlib.util
import os

import pytest

NEEDED = ("pocketsphinx", "espeakng_loader", "soxr", "starlette", "uvicorn", "prometheus_client")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(MISSING) and os.environ.get("VOICEPIPE_TEST_ALL") != "1", reason=f"not installed: {', '.join(MISSING)}"
    ),
]


SHIPPED = "Order one two three four five has been shipped."


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_the_shop_answers_a_caller_who_types() -> None:
    """The page says what can be asked; a typed question is answered as a spoken one is, with the shop's tool."""
    from tests.helpers.page_client import ask, calling  # these need the server's packages
    from voicepipe.cli._demo_page import shop_page

    serve = shop_page()
    async with serve.listening() as port:
        assert "when are you open" in (await ask(port, "/")).text
        async with calling(port) as page:
            await page.send("text", text="where is my order one two three four five")
            tool = await page.until("tool", 2)
            count = 1
            while (sentence := await page.until("sentence", count))["text"] != SHIPPED:
                count += 1
    assert (tool["name"], tool["state"]) == ("get_order_status", "done")
    assert sentence["turn"] == tool["turn"]
