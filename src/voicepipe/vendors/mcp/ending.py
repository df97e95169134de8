"""A stream of messages that notes its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    import anyio
    from mcp.client._transport import ReadStream

__all__ = ["EndingStream"]

T = TypeVar("T")


class EndingStream:
    """Reads from another stream, and sets an event when that has ended.

    Args:
        stream: The other stream.
        ended: Set when nothing follows.
    """

    def __init__(self, stream: ReadStream[Any], ended: anyio.Event) -> None:
        self._stream = stream
        self._ended = ended

    @property
    def last_context(self) -> Any:  # noqa: ANN401 - the SDK looks for it, and streams that have none do without
        """The context variables with which the last message was sent."""
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> Any:  # noqa: ANN401 - the SDK's messages
        """Return the next message."""
        try:
            return await self._stream.receive()
        except Exception:
            self._ended.set()
            raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:  # noqa: ANN401
        try:
            return await self._stream.__anext__()
        except Exception:  # StopAsyncIteration among them
            self._ended.set()
            raise

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._stream.__aexit__(kind, error, traceback)
