"""The lifetimes of what a pipeline is made of.

Rule 1: the objects an application made are never touched. A host copies them, and each session copies the copies.
Rule 2: what `open` sets on `self` is shared by all calls of a process (connection pools, models); what `attach` sets
        belongs to one call (sockets, decoders); what belongs to one turn is local to `run`.
"""

from __future__ import annotations

import copy
from abc import ABC
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import Self

    from voicepipe.core.context import AnySession

__all__ = ["Part"]


class Part(ABC):  # noqa: B024 - its subclasses have abstract methods, and Python refuses to make one without them
    """Base of stages, recognisers, models, sources and outputs.

    A part may hold other parts as attributes (`STTStage` holds a recogniser): they are copied and opened with it,
    before it.
    """

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Live as long as the host: what is set on `self` here is shared by all sessions.

        Entered in a task of its own, so that handshakes of several parts run in parallel. An error raised here, or by
        a task started here, ends the host under this part's name. Cancelled when the host ends before it is ready, and
        an error after 60 s.
        """
        yield

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Live as long as one session: what is set on `self` here belongs to this call.

        Entered in a task of its own, after `open`. An error raised here, or by a task started here, ends the session
        under this part's name. Cancelled when the session ends before it is ready,
        and an error after 10 s.
        """
        del session
        yield

    @property
    def name(self) -> str:
        """How errors and events call this part."""
        return type(self).__name__

    def _copied(self) -> Self:
        """Return a shallow copy of this part and of the parts it holds."""
        twin = copy.copy(self)
        for attribute, value in vars(twin).items():
            if isinstance(value, Part):
                setattr(twin, attribute, value._copied())
        return twin

    def _held(self) -> list[Part]:
        """Return the parts that this one holds as attributes."""
        return [value for value in vars(self).values() if isinstance(value, Part)]

    def __repr__(self) -> str:
        """Show the name; parts with settings show those too."""
        return f"<{self.name}>"
