"""The tools of an MCP server among those of a `ToolRouter`: what an application writes, checked when it is written.

Rule 1: the SDK is imported when a host opens, and not before.
Rule 2: one connection serves all calls of a host. What a server knows of a caller is what the model writes.
"""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import anyio

from voicepipe.core.failures import single_error
from voicepipe.errors import ConfigurationError, MissingExtra
from voicepipe.http.network import Network
from voicepipe.tools.tool import DEFAULT_TIMEOUT_S
from voicepipe.tools.toolbox import Toolbox
from voicepipe.vendors.extras import Extras
from voicepipe.vendors.mcp.rules import Rules, texts

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence

    from pydantic import SecretStr

    from voicepipe.core.context import AnySession
    from voicepipe.tools.tool import Effect, Tool
    from voicepipe.vendors.mcp.link import Link, Place

__all__ = ["mcp_tools"]

READY_S: Final = 30.0
"""How long a server may take to start and to list its tools: `uvx` and `npx` may have to download it first."""


def mcp_tools(
    *,
    command: Sequence[str] | None = None,
    url: str | None = None,
    server: object | None = None,
    name: str = "",
    allow: Iterable[str] | None = None,
    effects: Mapping[str, Effect] | None = None,
    confirm: Iterable[str] | None = None,
    prefix: str = "",
    say: str = "",
    timeout_s: float = DEFAULT_TIMEOUT_S,
    ready_s: float = READY_S,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    headers: Mapping[str, str] | None = None,
    auth: object | None = None,
    proxy: str | SecretStr | None = None,
) -> Toolbox:
    """Offer the model the tools of a server that speaks the Model Context Protocol.

        vp.ToolRouter([find_order, vp.mcp_tools(command=["uvx", "mcp-server-time"], allow=["get_current_time"])])
        vp.ToolRouter([vp.mcp_tools(url="https://mcp.example.com/mcp", headers={"authorization": f"Bearer {key}"})])

    The host connects when it opens, and lists the tools; all its calls share the connection. Give exactly one of
    `command`, `url` and `server`. Calls obey the rules of every tool: the arguments are checked against the server's
    schema and sent once, and a barge-in cancels what only reads. A tool writes unless the server's `readOnlyHint` or
    `effects` says that it reads. Without `allow`, the caller has to agree to each call that writes.

    A server that is lost is connected again, with pauses from 0.5 s to 30 s. Until then its tools are gone:
    `ToolServerLost` and `ToolsChanged` say so. Sessions follow a list of tools that changes.

    Args:
        command: A program and its arguments; it speaks on stdin and stdout, and ends with the host.
        url: Where a server speaks streamable HTTP. Its query is in no log.
        server: A server object of the SDK, in this process, as for tests; or a function that returns a transport of the
            SDK, called for each connection.
        name: What errors, events and the log call the server; by default the program's name or the host.
        allow: The tools that the model is offered, by the server's names; None for all.
        effects: "read" or "write" by the server's names; it counts more than what the server says.
        confirm: The tools to which the caller has to agree first. None asks for those that write, if neither `allow`
            nor `effects` names them, and for those that the server calls destructive; [] asks for none.
        prefix: Stands in front of each name that the model sees, so that two servers can have a tool of one name.
        say: What the agent says when a tool takes long, e.g. "One moment."
        timeout_s: Seconds after which the router stops waiting for a tool, as for `@tool(timeout_s=...)`.
        ready_s: Seconds within which a connection must have listed the tools.
        env: Variables for the program, in addition to PATH, HOME and the like. Their values are in no log.
        cwd: The program's working directory.
        headers: Headers of each request. Over plain http one that may hold a key is sent only to this machine.
        auth: An `httpx2.Auth`, e.g. the SDK's `OAuthClientProvider`.
        proxy: As for `LLMStreamStage`.

    Raises:
        ConfigurationError: A setting is invalid; raised here or when the host opens. There, too: the program is not
            installed, `allow` names a tool that the server does not have, or two tools have the same name.
            `MissingExtra` without the SDK.
        AuthenticationError: The server refuses the key; raised when the host opens.
        VendorError: It cannot be reached, ends at once, or is no MCP server; raised when the host opens.

    Source: the MCP specification, versions 2025-11-25 and 2026-07-28, and the SDK `mcp` 2.3; read 2026-11-30.
    """
    part = f"mcp_tools({name!r})" if name else "mcp_tools"
    ways = {"command": command, "url": url, "server": server}
    given = [way for way, value in ways.items() if value is not None]
    if len(given) != 1:
        found = " and ".join(given) or "nothing"
        raise ConfigurationError(f"{part} needs one of command=, url= and server=, and got {found}")
    for setting, value, way in (("env", env, "command"), ("cwd", cwd, "command"), ("headers", headers, "url")):
        if value is not None and given != [way]:
            raise ConfigurationError(f"{part}: {setting} belongs to a server with {way}=, not with {given[0]}=")
    for setting, other in (("auth", auth), ("proxy", proxy)):
        if other is not None and url is None:
            raise ConfigurationError(f"{part}: {setting} belongs to a server with url=, not with {given[0]}=")
    if not 0 < ready_s < math.inf:
        raise ConfigurationError(f"{part}: ready_s must be positive seconds, not {ready_s}")
    rules = Rules(
        part=part,
        allow=texts(part, "allow", allow),
        effects=dict(effects or {}),
        confirm=texts(part, "confirm", confirm),
        prefix=prefix,
        say=say,
        timeout_s=timeout_s,
    )
    if command is not None:
        label, place = _of_command(part, name, command, env, cwd)
    elif url is not None:
        label, place = _of_url(part, name, url, Wire(headers, auth, proxy))
    else:
        label, place = _of_server(name, server)
    return MCPTools(label, place, rules, ready_s)


class MCPTools(Toolbox):
    """The tools of one server. `mcp_tools` makes it.

    Args:
        label: What errors and events call the server.
        place: Makes where the server is, once the SDK is imported.
        rules: The application's word about its tools.
        ready_s: Seconds within which a connection must have listed the tools.
    """

    _finds_its_tools = True

    def __init__(self, label: str, place: Callable[[], Place], rules: Rules, ready_s: float) -> None:
        self._label = label
        self._place = place
        self._rules = rules
        self._ready_s = ready_s
        self._link: Link | None = None

    @property
    def name(self) -> str:
        """What errors and events call the server."""
        return self._label

    def tools(self) -> list[Tool[..., Any]]:
        """Return what the server offers at present: nothing before the host is open, and while the server is lost."""
        return list(self._link.tools.values()) if self._link is not None else []

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Connect, and stay connected. See `mcp_tools`."""
        _check_installed(self._rules.part)
        from voicepipe.vendors.mcp.link import Link  # noqa: PLC0415 - Rule 1

        self._link = link = Link(self._label, self._place(), self._rules, self._ready_s)
        with single_error():
            async with anyio.create_task_group() as tasks:
                await tasks.start(link.keep)
                try:
                    yield
                finally:
                    link.leave()

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Let the session follow what the server offers."""
        from voicepipe.vendors.mcp.follower import Follower  # noqa: PLC0415 - Rule 1

        link = cast("Link", self._link)
        follower = Follower(session, link)
        link.followers.append(follower)
        follower.follow()  # the list may have changed since the session was made
        try:
            yield
        finally:
            link.followers.remove(follower)

    def __repr__(self) -> str:
        """Show the server's name and how many tools it offers; no argument, header or variable."""
        return f"<mcp_tools {self._label}: {len(self.tools())} tools>"


class Wire:
    """What requests to a URL carry, and their way.

    Args:
        headers: The application's headers.
        auth: Its own authentication.
        proxy: The proxy that it names.
    """

    def __init__(self, headers: Mapping[str, str] | None, auth: object, proxy: str | SecretStr | None) -> None:
        self.headers = headers
        self.auth = auth
        self.proxy = proxy


def _of_command(
    part: str, name: str, command: object, env: Mapping[str, str] | None, cwd: str | Path | None
) -> tuple[str, Callable[[], Place]]:
    if isinstance(command, str):
        raise ConfigurationError(f"{part}: command must be a list of the program and its arguments, not one text")
    words = list(cast("Iterable[object]", command))
    if not words or not words[0] or not all(isinstance(word, str) and "\0" not in word for word in words):
        raise ConfigurationError(f'{part}: command must hold the program and its arguments, e.g. ["uvx", "my-server"]')
    for variable, value in (env or {}).items():
        if not isinstance(cast("object", value), str) or "\0" in value:
            raise ConfigurationError(f"{part}: the value of {variable} in env must be text")
    program = cast("list[str]", words)
    label = name or Path(program[0]).name

    def place() -> Place:
        from voicepipe.vendors.mcp.stdio import Command  # noqa: PLC0415 - Rule 1

        return Command(label, program, env or {}, cwd)

    return label, place


def _of_url(part: str, name: str, url: object, wire: Wire) -> tuple[str, Callable[[], Place]]:
    wrong = f"{part}: url must be where the server is, e.g. https://mcp.example.com/mcp"
    if not isinstance(url, str):
        raise ConfigurationError(f"{wrong}, not {type(url).__name__}")
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError as error:
        raise ConfigurationError(f"{wrong}; the host or the port of the one given is invalid") from error
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigurationError(f"{wrong}; the one given does not begin with http:// or https:// and a host")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(f"{wrong}, without user and password; put the key into headers=")
    bare = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    extras = Extras(part, bare, host, wire.headers, dict(parse_qsl(parts.query, keep_blank_values=True)))
    network = Network(part, bare, wire.proxy)
    label = name or host

    def place() -> Place:
        from voicepipe.vendors.mcp.http import Endpoint  # noqa: PLC0415 - Rule 1

        return Endpoint(label, bare, extras, network, wire.auth)

    return label, place


def _of_server(name: str, server: object) -> tuple[str, Callable[[], Place]]:
    label = name or str(getattr(server, "name", "")) or "server"
    return label, lambda: InProcess(server)


class InProcess:
    """A server of this process, or whatever a function of the application returns. See `Place`.

    Args:
        server: The server object, or the function.
    """

    def __init__(self, server: object) -> None:
        self._server = server

    async def prepare(self) -> None:
        """Do nothing."""

    def connection(self, lost: Callable[[], None]) -> Any:  # noqa: ANN401 - what the SDK's client takes
        """Return the server, or what the function returns."""
        del lost
        return self._server() if callable(self._server) else self._server

    def failure(self, error: BaseException) -> None:
        """Return None: nothing is known of its errors."""


def _check_installed(part: str) -> None:
    """Refuse to go on without the SDK.

    Raises:
        MissingExtra: A package is not installed, or is older than the SDK's second version.
    """
    try:
        import_module("mcp_types")  # which the first version does not have
        import_module("mcp")
        import_module("jsonschema")
    except ImportError as error:
        raise MissingExtra(part, "mcp", "mcp") from error
