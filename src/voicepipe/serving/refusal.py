"""Why a peer is not let in, or is sent away, and that it has left by itself."""

from __future__ import annotations

__all__ = ["PeerLeft", "Refused"]


class Refused(Exception):  # noqa: N818 - names what happened to the peer
    """A peer is not let in, or is sent away.

    Args:
        reason: One word for metrics and logs, from a fixed set, e.g. "origin", "signature", "token", "full".
        message: What the peer may read.
        status: The HTTP status before a connection is accepted.
        code: The close code of a websocket that was accepted already.
        retry_s: When the peer may try again; None if that is of no use.
    """

    def __init__(
        self, reason: str, message: str, *, status: int = 403, code: int = 1008, retry_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.status = status
        self.code = code
        self.retry_s = retry_s


class PeerLeft(Exception):  # noqa: N818 - names what happened
    """The peer has closed the connection, or it broke.

    Args:
        is_orderly: Whether the peer closed it on purpose. Where it broke, the caller may come back.
    """

    def __init__(self, *, is_orderly: bool = False) -> None:
        super().__init__("the peer has left" if is_orderly else "the connection broke")
        self.is_orderly = is_orderly
