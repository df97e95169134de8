"""The replies that a service owes, in the order in which it will give them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from voicepipe.hosted.spoken_reply import SpokenReply

if TYPE_CHECKING:
    from voicepipe.errors import VendorError

__all__ = ["Promises"]


class Promises:
    """The replies that were asked for, by the caller or by a request, and have not begun.

    Args:
        agent: The agent's name, for messages.
        rate: Samples per second of the agent's audio.
        repeats_tags: Whether the service says which request a reply belongs to.
    """

    def __init__(self, agent: str, rate: int, *, repeats_tags: bool) -> None:
        self._agent = agent
        self._rate = rate
        self._repeats_tags = repeats_tags
        self._tags = itertools.count(1)
        self._waiting: list[SpokenReply] = []

    def add(self, *, is_requested: bool = False) -> SpokenReply:
        """Return a reply that is to come, because a request asks for it or else the caller."""
        reply = SpokenReply(self._agent, self._rate, str(next(self._tags)), is_requested=is_requested)
        self._waiting.append(reply)
        return reply

    def begins(self, tag: str) -> SpokenReply:
        """Return the reply that begins now: one that was promised, or one that nobody has asked for.

        Args:
            tag: That of the request; "" if the service does not name one.
        """
        if (reply := self.take(tag)) is None:
            reply = SpokenReply(self._agent, self._rate)
            reply.is_unwanted = bool(tag)  # the turn that asked for it is over
        return reply

    def take(self, tag: str) -> SpokenReply | None:
        """Return the reply that was promised to this request; it is no longer promised. None for no such reply."""
        self._waiting = [one for one in self._waiting if not one.is_over]  # nobody waits for one that never came
        if tag:
            fitting = [one for one in self._waiting if one.tag == tag]
        elif self._repeats_tags:
            fitting = [one for one in self._waiting if not one.is_requested]
        else:
            fitting = self._waiting
        if not fitting:
            return None
        reply = fitting[0]
        self._waiting.remove(reply)
        return reply

    def forget_unwanted(self) -> None:
        """Wait no longer for replies that nobody wants any more: the service answers what came after them."""
        self._waiting = [one for one in self._waiting if not one.is_unwanted]

    def fail(self, error: VendorError) -> None:
        """Note that none of them will come."""
        waiting, self._waiting = self._waiting, []
        for reply in waiting:
            reply.fail(error)
