"""The shop's orders, and the tool with which the agent looks them up."""

from typing import Annotated

import voicepipe as vp
from pydantic import Field

ORDERS = {
    "ORD-12345": "shipped on Monday",
    "ORD-67890": "ready to be picked up",
}
"""Orders and their status; your database takes their place."""

OrderId = Annotated[str, Field(pattern=r"^ORD-\d{5}$", description="on the receipt: ORD-12345")]


@vp.tool(effect="read")
async def get_order_status(order_id: OrderId) -> str:
    """Look up the status of a customer's order."""
    if order_id not in ORDERS:
        raise vp.ToolError(f"There is no order {order_id}. Ask the caller to read it again.")
    return f"The order {order_id} is {ORDERS[order_id]}."
