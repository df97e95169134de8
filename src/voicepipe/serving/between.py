"""What is known of a telephone call between the end of its stream and the network's next request to any worker.

Rule 1: the worker whose agent has ended a call notes that, so that no other one goes on with it.
Rule 2: a store that fails costs what it knows, and never the answer to the network.
Rule 3: a result that is no JSON value is known to this worker only. So is everything where there is no store.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, cast

from voicepipe.core.clock import loop_time
from voicepipe.core.failures import for_log
from voicepipe.core.log import log
from voicepipe.core.transfer import Transfer
from voicepipe.errors import ConfigurationError, StoreError
from voicepipe.keeping.answering import answering

if TYPE_CHECKING:
    from voicepipe.keeping.store import Store

__all__ = ["RETURNS", "Between"]

RETURNS: Final = "voicepipe.returns"
"""The fact of a token for a further stream of a call that goes on."""

RESULT_S: Final = 60.0
"""How long the result of a call waits for the network's request, which comes within a second or never."""

MOST_RETURNS: Final = 3
RETURN_S: Final = 10.0
"""A call goes on after a stream that broke, but not if that happens a fourth time, each within 10 s of the one before:
then no stream to here holds, and the caller would hear nothing but silence."""


class Between:
    """What one transport knows of calls that no worker holds at the moment.

    Args:
        name: The transport's name, which keeps its calls apart from those of others in the store.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._results: OrderedDict[str, tuple[float, object]] = OrderedDict()  # with the time at which they expire

    async def note(self, call_id: str, result: object, store: Store | None) -> None:
        """Note that the agent has ended a call, with this result."""
        if result is None and store is None:
            return  # which is what `take` returns of a call that is not known
        now = loop_time()
        while self._results and next(iter(self._results.values()))[0] <= now:
            self._results.popitem(last=False)
        self._results[call_id] = now + RESULT_S, result
        if store is not None:
            try:
                with answering():
                    await store.keep(self._key("result", call_id), _written(result), expires_s=RESULT_S)
            except StoreError as error:
                self._complain(error)

    async def take(self, call_id: str, store: Store | None) -> tuple[bool, object]:
        """Return whether the agent has ended a call, and its result, which is forgotten."""
        shared = await self._taken(self._key("result", call_id), store)
        if call_id in self._results:
            return True, self._results.pop(call_id)[1]
        return shared is not None, None if shared is None else _read(shared)

    async def goes_on(self, call_id: str, store: Store | None) -> bool:
        """Return whether there is a record with which the agent can go on with a call."""
        if store is None:
            return False
        try:
            with answering():
                kept = await store.get(call_id)
        except StoreError as error:
            self._complain(error)
            return False
        return kept is not None and bool(kept.data)

    async def may_return(self, call_id: str, store: Store) -> bool:
        """Count that a call goes on over a new stream, and return whether it may, or has done so too often."""
        key = self._key("returns", call_id)
        before = await self._taken(key, store) or b""
        returns = (int(before) if before.isdigit() else 0) + 1  # another program may have written there
        try:
            with answering():
                await store.keep(key, b"%d" % returns, expires_s=RETURN_S)
        except StoreError as error:
            self._complain(error)
        return returns <= MOST_RETURNS

    async def _taken(self, key: str, store: Store | None) -> bytes | None:
        if store is None:
            return None
        try:
            with answering():
                return await store.take(key)
        except StoreError as error:
            self._complain(error)
            return None

    def _key(self, what: str, call_id: str) -> str:
        return f"{self._name}/{what}/{call_id}"

    def _complain(self, error: StoreError) -> None:
        log.warning("%s knows of a call only what this process knows: %s", self._name, for_log(error))


def _written(result: object) -> bytes:
    if isinstance(result, Transfer):
        return json.dumps({"transfer": result.to}).encode()
    try:
        return json.dumps({"value": result}).encode()
    except (TypeError, ValueError):
        log.warning("the result of a call is no JSON value, so that only this process can give it to `after`")
        return b"{}"


def _read(written: bytes) -> object:
    try:
        found: Any = json.loads(written)
        fields = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
        return Transfer(fields["transfer"]) if isinstance(fields.get("transfer"), str) else fields.get("value")
    except (ValueError, ConfigurationError):  # another program has written it
        return None
