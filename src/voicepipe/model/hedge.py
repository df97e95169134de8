"""When a second request is sent for a reply that is late; `race` sends it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

from voicepipe.errors import ConfigurationError

__all__ = ["Hedge", "check_after"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedge:
    """A second request for a reply that is late: whichever says something first gives the reply, the other is closed.

    Both requests are billed. A good time is what 19 of 20 replies take to their first token.

    Attributes:
        after_s: How many seconds after the first request the second one is sent, if nothing of the reply has come and
            the caller has ended their turn. A request that fails before that is followed by the second one at once.
        model: The id of another model of the same service; "" for the same model.

    Raises:
        ConfigurationError: The time is not positive, or the model is not a text.
    """

    after_s: float
    model: str = ""

    def __post_init__(self) -> None:
        """Refuse what no request could be sent with."""
        check_after(self.after_s, "Hedge")
        if not isinstance(cast("object", self.model), str):
            raise ConfigurationError(
                f"Hedge: model must be the id of a model of the same service, not {self.model!r}; for another service "
                "write FirstOf(one, other, after_s=...)"
            )


def check_after(after_s: object, name: str) -> None:
    """Refuse what is not a time after which a request is late.

    Raises:
        ConfigurationError: It is not a positive number of seconds.
    """
    if isinstance(after_s, bool) or not isinstance(after_s, (int, float)) or not 0 < after_s < math.inf:
        raise ConfigurationError(f"{name}: after_s must be positive seconds, e.g. 0.8, not {after_s!r}")
