"""Tools that belong together, and the tools of one session.

Rule 1: a model can call what is in the session's `Toolset`, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from voicepipe.core.part import Part
from voicepipe.errors import ConfigurationError
from voicepipe.tools.tool import Tool

__all__ = ["Toolbox", "Toolset"]


class Toolbox(Part):
    """Base class of tools that share something: its methods are decorated with `@tool`.

        class Orders(vp.Toolbox):
            def __init__(self, shop: Shop) -> None:
                self.shop = shop

            @vp.tool(effect="read")
            async def find_order(self, order_id: str) -> Order:
                "Look up an order."
                return await self.shop.order(order_id)

        vp.ToolRouter([Orders(shop), other_tool])

    A tool's method cannot have a name that every part uses (`open`, `attach`, `name`, `tools`); write
    `@vp.tool(name="open")`.

    A toolbox is a part like any other: `open` can set up what all sessions share, `attach` what belongs to one session.
    """

    _finds_its_tools = False
    """Whether it learns only in `open` which tools it has, perhaps none, e.g. from a server."""

    def __init_subclass__(cls, **options: object) -> None:
        """Refuse tools that would replace a member that every toolbox has."""
        super().__init_subclass__(**options)
        for name, value in vars(cls).items():
            if isinstance(value, Tool) and hasattr(Toolbox, name):
                raise ConfigurationError(
                    f"{cls.__name__}.{name} has the name of something that every Toolbox has; write "
                    f'@tool(name="{name}") and give the method another name'
                )

    def tools(self) -> list[Tool[..., Any]]:
        """Return the tools of this object in the order of their definition, those of base classes first."""
        names = dict.fromkeys(
            name for cls in reversed(type(self).__mro__) for name, value in vars(cls).items() if isinstance(value, Tool)
        )
        found = (getattr(self, name) for name in names)  # a subclass may have replaced one by something else
        return [one for one in found if isinstance(one, Tool)]


Given: TypeAlias = Tool[..., Any] | Toolbox
"""What a `ToolRouter` accepts."""


class Toolset(Mapping[str, Tool[..., Any]]):
    """The tools of a pipeline, by name; `Session.tools` is the set of one session, which can add and remove tools.

    A request offers the tools in the set when it is sent. A call of a tool that has been removed since is refused.

    Raises:
        ConfigurationError: Something is not a tool, or two tools have the same name.
    """

    def __init__(self, tools: Iterable[Given] = ()) -> None:
        self._tools: dict[str, Tool[..., Any]] = {}
        self.definitions: tuple[dict[str, Any], ...] = ()
        """The `tools` of a chat completion request. Do not change them."""
        for one in tools:
            self.add(*(_tools_of(one) if isinstance(one, Toolbox) else [one]))

    def add(self, *tools: Tool[..., Any]) -> None:
        """Add tools, from the next request on. `add(*toolbox.tools())` adds those of a `Toolbox`.

        Raises:
            ConfigurationError: Something is not a tool, or its name is taken; then nothing is added.
        """
        allowed = dict(self._tools)
        for one in tools:
            _check_tool(one)
            if other := allowed.get(one.name):
                raise ConfigurationError(
                    f"two tools have the name {one.name}: {other.origin} and {one.origin}; "
                    f'give one of them another name with @tool(name="...")'
                )
            allowed[one.name] = one
        self._allow(allowed)

    def remove(self, *names: str) -> None:
        """Remove tools by name, from the next request on. A call that is running goes on.

        Raises:
            ConfigurationError: There is no tool of that name; then nothing is removed.
        """
        if unknown := [name for name in names if name not in self._tools]:
            raise ConfigurationError(
                f"there is no tool {', '.join(unknown)} to remove; there are: {', '.join(self._tools) or 'none'}"
            )
        self._allow({name: one for name, one in self._tools.items() if name not in names})

    def _allow(self, tools: dict[str, Tool[..., Any]]) -> None:
        self._tools = tools
        self.definitions = tuple(one.definition for one in tools.values())

    def __getitem__(self, name: str) -> Tool[..., Any]:
        return self._tools[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tools)

    def __len__(self) -> int:
        return len(self._tools)

    def __repr__(self) -> str:
        """Show the names."""
        return f"<Toolset {' '.join(self._tools)}>"


def _tools_of(box: Toolbox) -> list[Tool[..., Any]]:
    found = box.tools()
    if found or box._finds_its_tools:
        return found
    raise ConfigurationError(f"{box.name} has no tools; decorate its methods with @tool, and leave out @staticmethod")


def _check_tool(found: object) -> None:
    if isinstance(found, type) and issubclass(found, Toolbox):
        raise ConfigurationError(f"{found.__name__} is a class; write {found.__name__}(...) to make an object of it")
    if isinstance(found, Toolbox):
        raise ConfigurationError(f"{found.name} is a toolbox; write add(*toolbox.tools())")
    if isinstance(found, Tool):
        if found.is_unbound:
            raise ConfigurationError(
                f"{found.origin} is a method without its object; derive the class from Toolbox and pass an object of "
                f"it: ToolRouter([{found.origin.split('.')[-2]}(...)])"
            )
        return
    if callable(found):
        name = getattr(found, "__name__", type(found).__name__)
        raise ConfigurationError(f"{name} is a function and not a tool; decorate it with @tool")
    raise ConfigurationError(f"tools must be functions decorated with @tool, found {type(found).__name__}")
