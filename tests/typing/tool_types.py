"""What a type checker must see through `@tool`. Checked, never run."""

from __future__ import annotations

from typing import Any, assert_type

from voicepipe.tools.tool import Tool, ToolContext, tool
from voicepipe.tools.toolbox import Toolbox, Toolset


class Shop:
    async def stock(self, article: str) -> int:
        """Count what is left of an article."""
        return len(article)


@tool
async def get_order(order_id: str, *, detailed: bool = False) -> list[str]:
    """Look up an order."""
    return [order_id] * (1 + detailed)


@tool(effect="read", timeout_s=2.0, name="price")
def get_price(article: str) -> float:
    """Look up a price."""
    return float(len(article))


@tool()
async def human(reason: str, call: ToolContext[Shop]) -> None:
    """Hand the caller over."""
    assert_type(call.deps, Shop)
    assert_type(call.turn_id, int)
    await call.deps.stock(reason)


async def calls() -> None:
    assert_type(await get_order("ORD-12345", detailed=True), list[str])
    assert_type(get_price("tea"), float)
    await get_order(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await get_order("ORD-12345", True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    get_price()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def methods(shop: Shop) -> None:
    stock = tool(shop.stock, effect="read")
    assert_type(await stock("tea"), int)
    tool(shop.stock, effect="none")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    tool(shop.stock, confirms=True)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


class Orders(Toolbox):
    @tool(effect="read", say="One moment.", confirm=True)
    async def find(self, order_id: str) -> list[str]:
        """Look up an order."""
        return [order_id]

    @tool
    def count(self, *, call: ToolContext[Shop]) -> int:
        """Count the orders."""
        return call.turn_id


async def toolboxes(orders: Orders) -> None:
    assert_type(await orders.find("ORD-12345"), list[str])
    await orders.find(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(orders.tools(), list[Tool[..., Any]])
    Toolset([orders, get_order, orders.find])


def sets(shop: Shop) -> None:
    toolset = Toolset([get_order, get_price, human, tool(shop.stock)])
    assert_type(toolset.get("price"), Tool[..., Any] | None)
    assert_type(toolset.definitions, tuple[dict[str, Any], ...])
    assert_type(get_order.validate("{}"), dict[str, Any])
    Toolset([shop.stock])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


def contexts(of_a_subclass: ToolContext[bool]) -> ToolContext[int]:
    return of_a_subclass
