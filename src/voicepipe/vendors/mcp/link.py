"""The connection to one server, kept while a host is open and shared by its calls.

Rule 1: a connection is opened and closed in one task, because the SDK's cancel scopes belong to the task that enters.
Rule 2: a connection that breaks takes its tools away until there is another one, and each session reports both.
Rule 3: a call is sent once. When the connection breaks before the answer, the model sees that the outcome is unknown.
Rule 4: every wait for the server has a deadline, named here.
"""

from __future__ import annotations

import json
import math
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import anyio
from mcp import Client, MCPError
from mcp.client.subscriptions import SubscriptionLost
from mcp_types import (
    CONNECTION_CLOSED,
    REQUEST_TIMEOUT,
    Implementation,
    ToolListChangedNotification,
)
from pydantic import ValidationError

from voicepipe.core.failures import first_error, is_fault
from voicepipe.core.log import log
from voicepipe.core.waits import wait_any
from voicepipe.errors import StageError, ToolError, VendorError, VoicepipeError
from voicepipe.vendors.line.backoff import Backoff
from voicepipe.vendors.mcp.ending import EndingStream
from voicepipe.vendors.mcp.result import quoted
from voicepipe.vendors.mcp.tool import MCPTool, offered

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager

    from anyio.abc import TaskStatus
    from mcp.client import Transport
    from mcp.client._transport import TransportStreams
    from mcp_types import CallToolResult
    from mcp_types import Tool as ListedTool

    from voicepipe.vendors.mcp.rules import Rules

__all__ = ["Following", "Link", "Place"]

ANSWER_S: Final = 10.0
"""How long a server may take for anything but a call: to list its tools, to confirm a subscription."""

CALL_S: Final = 600.0
"""How long the true result of a call is waited for, long after the model has gone on without it."""

LEAVE_S: Final = 0.8
"""How long saying goodbye may take; a part has one second for it."""

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
"""Pauses before a connection is opened again; each is twice as long as the one before."""

STEADY_S: Final = 60.0
"""A connection that has lasted so long was a good one: the pauses begin with the first again."""

RELISTEN_S: Final = 1.0
"""Pause before change notices are asked for again; a proxy may end such a stream as often as it likes."""

RELIST_S: Final = 0.5
"""Pause between two listings, however often the server says that its tools have changed."""

MAX_PAGES: Final = 32
"""Pages of a listing that are read."""


class Place(Protocol):
    """Where a server is: a command, a URL, or an object of this process."""

    async def prepare(self) -> None:
        """Read what connections need, once, when the host opens."""
        ...

    def connection(self, lost: Callable[[], None]) -> Any:  # noqa: ANN401 - a server object or a transport of the SDK
        """Return what the SDK's client takes, for one connection; call `lost` when that is of no use any more."""
        ...

    def failure(self, error: BaseException) -> VoicepipeError | None:
        """Return what an error of a connection means; None if it is not known here."""
        ...


class Following(Protocol):
    """A session that follows what the server offers; see `Follower`."""

    def lost(self, error: VoicepipeError) -> None:
        """Report that the server is gone."""
        ...

    def follow(self) -> None:
        """Take over what the server offers now."""
        ...


class Link:
    """Keeps a connection to a server.

    Args:
        name: What errors and events call the server.
        place: Where it is.
        rules: The application's word about its tools.
        ready_s: Seconds until a new connection must have listed the tools.

    Attributes:
        name: What errors and events call the server.
        tools: What the server offers at present, by the names that the model sees; nothing while it is lost.
        left_out: Tools that the model cannot be offered, each with the reason.
        followers: The sessions that follow what the server offers.
    """

    def __init__(self, name: str, place: Place, rules: Rules, ready_s: float) -> None:
        self.name = name
        self.tools: dict[str, MCPTool] = {}
        self.left_out: dict[str, str] = {}
        self.followers: list[Following] = []
        self._place = place
        self._rules = rules
        self._ready_s = ready_s
        self._known: dict[str, MCPTool] = {}
        self._client: Client | None = None
        self._changed = anyio.Event()
        self._ended = anyio.Event()
        self._leave = anyio.Event()
        self._backoff = Backoff()

    async def keep(self, *, task_status: TaskStatus[None]) -> None:
        """Connect, and connect again whenever the connection breaks, until `leave` is called.

        Raises:
            VoicepipeError: The first connection could not be opened.
        """
        pause_s, was_ready = FIRST_PAUSE_S, False

        def ready() -> None:
            nonlocal was_ready
            if not was_ready:
                was_ready = True
                task_status.started()

        await self._place.prepare()
        while not self._leave.is_set():
            began_s = anyio.current_time()
            error = await self._connected(ready, is_first=not was_ready)
            if self._leave.is_set():
                return
            if not was_ready:
                raise error from error.__cause__
            self._lost(error)
            pause_s = FIRST_PAUSE_S if anyio.current_time() - began_s >= STEADY_S else pause_s
            with anyio.move_on_after(self._backoff.spread(pause_s)):
                await self._leave.wait()
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def leave(self) -> None:
        """Close the connection, and open no other."""
        self._leave.set()

    async def call(self, listed: str, arguments: dict[str, Any]) -> CallToolResult:
        """Send one call (Rule 3), and return the server's answer.

        Raises:
            ToolError: The server is not there, refuses the call, or does not answer.
        """
        if (client := self._client) is None:
            raise ToolError(f"the tool server {self.name} is not connected, so the call was not sent")
        try:
            return await client.call_tool(listed, arguments, read_timeout_seconds=CALL_S)
        except MCPError as error:
            if error.code == CONNECTION_CLOSED:
                broke = f"the connection to the tool server {self.name} broke before it answered"
                raise ToolError(f"{broke}; the outcome is unknown, it may have happened") from error
            if error.code == REQUEST_TIMEOUT:
                waited = f"the tool server {self.name} gave no answer within {CALL_S:g} s"
                raise ToolError(f"{waited}; the outcome is unknown, it may have happened") from error
            said = f"the tool server {self.name} refuses the call, in words of its own that are data"
            raise ToolError(f"{said}: {quoted(error.message)}") from error
        except (ValidationError, RuntimeError) as error:
            wrong = f"the tool server {self.name} answered, but not as it describes its results"
            raise ToolError(f"{wrong}; the call may have happened") from error

    # --- one connection -----------------------------------------------------------------------------------------------

    async def _connected(self, ready: Callable[[], None], *, is_first: bool) -> VoicepipeError:
        """Hold one connection for as long as it lasts, and return why it ended."""
        self._ended, self._changed = anyio.Event(), anyio.Event()
        try:
            with anyio.move_on_after(self._ready_s) as limit:
                async with self._client_of_connection() as client:
                    await self._list(client, is_first=is_first)
                    self._client, limit.deadline = client, math.inf
                    ready()
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(self._follow, client)
                        await wait_any(self._ended.wait, self._leave.wait)
                        self._client = None
                        tasks.cancel_scope.cancel()
                    limit.deadline = anyio.current_time() + LEAVE_S
        except BaseException as raised:
            self._client = None
            error = first_error(raised) if isinstance(raised, BaseExceptionGroup) else raised
            if not is_fault(error):
                raise
            return self._failure(error)
        self._client = None
        if limit.cancelled_caught and not self._ended.is_set():
            return VendorError(
                f"{self.name} has not listed its tools after {self._ready_s:g} s; is it an MCP server? A server that "
                "has to be downloaded first needs a longer ready_s",
                vendor=self.name,
                retryable=True,
            )
        return self._place.failure(EOFError()) or VendorError(
            f"{self.name} closed the connection", vendor=self.name, retryable=True
        )

    @asynccontextmanager
    async def _client_of_connection(self) -> AsyncGenerator[Client]:
        connection = self._place.connection(self._ended.set)
        if hasattr(connection, "__aenter__"):
            connection = _Noting(connection, self._ended)
        client = Client(
            connection,
            read_timeout_seconds=ANSWER_S,
            message_handler=self._heard,
            client_info=Implementation(name="voicepipe", version=version("voicepipe")),
            cache=None,  # a listing is read when the server says that it has changed
        )
        async with client:
            yield client

    async def _heard(self, message: object) -> None:
        """Take what the server sends unasked: older protocols announce changes so."""
        if isinstance(message, ToolListChangedNotification):
            self._changed.set()

    async def _follow(self, client: Client) -> None:
        """List the tools again whenever the server says that they have changed."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._subscribe, client)
            while True:
                await self._changed.wait()
                self._changed = anyio.Event()
                try:
                    await self._list(client)
                except MCPError as error:
                    if error.code != CONNECTION_CLOSED:
                        log.warning("%s does not list its tools: %s", self.name, quoted(error.message))
                await anyio.sleep(RELIST_S)

    async def _subscribe(self, client: Client) -> None:
        """Ask for notices of changes, where the protocol has them on request, and ask again when they stop."""
        has_stopped = False
        while True:
            try:
                async with client.listen(tools_list_changed=True) as notices:
                    if has_stopped:
                        self._changed.set()  # what was announced meanwhile was not heard
                    async for _ in notices:
                        self._changed.set()
            except SubscriptionLost:
                pass
            except (MCPError, RuntimeError, TimeoutError):
                return  # a protocol or a server without them
            has_stopped = True
            await anyio.sleep(RELISTEN_S)

    async def _list(self, client: Client, *, is_first: bool = False) -> None:
        """Read all tools, and let the sessions follow."""
        listing: list[ListedTool] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await client.list_tools(cursor=cursor)
            listing += page.tools
            if (cursor := page.next_cursor) is None:
                break
        if is_first:
            self._rules.check_known(one.name for one in listing)
        tools, self.left_out = offered(listing, self._rules, self, self._known)
        self._known = tools
        if is_first:
            for name, reason in self.left_out.items():
                log.warning("the tool %s of %s is left out: %s", json.dumps(name), self.name, reason)
        self._offer(tools)

    # --- what sessions hear of it -------------------------------------------------------------------------------------

    def _lost(self, error: VoicepipeError) -> None:
        """Report that the server is gone, unless it is known, and take its tools away."""
        if self.tools and not self.followers:
            log.warning("the tool server %s was lost: %s", self.name, error)
        for follower in tuple(self.followers):
            follower.lost(error)
        self._offer({})

    def _offer(self, tools: dict[str, MCPTool]) -> None:
        self.tools = tools
        for follower in tuple(self.followers):
            follower.follow()

    def _failure(self, error: BaseException) -> VoicepipeError:
        if isinstance(error, VoicepipeError):
            return error
        if (known := self._place.failure(error)) is not None:
            known.__cause__ = error
            return known
        if isinstance(error, MCPError):
            said = f"{self.name} refuses the connection: {quoted(error.message)}; is it an MCP server?"
            failure: VoicepipeError = VendorError(said, vendor=self.name, retryable=True)
        else:
            failure = StageError(f"{self.name} raised {type(error).__name__}", part=self.name)
        failure.__cause__ = error
        return failure


class _Noting:
    """A transport that notes when the server has closed it, which the SDK's client does not report."""

    def __init__(self, transport: Transport, ended: anyio.Event) -> None:
        self._transport: AbstractAsyncContextManager[TransportStreams] = transport
        self._ended = ended

    async def __aenter__(self) -> TransportStreams:
        read, write = await self._transport.__aenter__()
        return cast("Any", EndingStream(read, self._ended)), write

    async def __aexit__(self, *raised: Any) -> bool | None:  # noqa: ANN401, PYI036 - as the transport takes it
        return await self._transport.__aexit__(*raised)
