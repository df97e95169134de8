"""Tools that belong together, and the tools of one call.

Rule 1: a model can call what is in the call's `Toolset`, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from voicepipe.core.part import Part
from voicepipe.errors import ConfigurationError
from voicepipe.tools.tool import Tool

__all__ = ["Toolbox", "Toolset"]


class Toolbox(Part):
    """Base of tools that share something: a class whose methods are decorated with `@tool`.

        class Orders(vp.Toolbox):
            def __init__(self, shop: Shop) -> None:
                self.shop = shop

            @vp.tool(effect="read")
            async def find_order(self, order_id: str) -> Order:
                "Look up an order."
                return await self.shop.order(order_id)

        vp.ToolRouter([Orders(shop), other_tool])

    Names of a part (`open`, `attach`, `name`, `tools`) cannot be names of its methods; write `@vp.tool(name="open")`.

    It is a part like any other: `open` may set up what all calls share, `attach` what belongs to one call.
    """

    def __init_subclass__(cls, **options: object) -> None:
        """Refuse tools that would take the place of what every toolbox has."""
        super().__init_subclass__(**options)
        for name, value in vars(cls).items():
            if isinstance(value, Tool) and hasattr(Toolbox, name):
                raise ConfigurationError(
                    f"{cls.__name__}.{name} has the name of something that every Toolbox has; write "
                    f'@tool(name="{name}") and call the method otherwise'
                )

    def tools(self) -> list[Tool[..., Any]]:
        """Return the tools of this object, in the order in which they are written, those of base classes first."""
        names = dict.fromkeys(
            name for cls in reversed(type(self).__mro__) for name, value in vars(cls).items() if isinstance(value, Tool)
        )
        found = (getattr(self, name) for name in names)  # a subclass may have put something else there
        return [one for one in found if isinstance(one, Tool)]


Given: TypeAlias = Tool[..., Any] | Toolbox
"""What a `ToolRouter` is given."""


class Toolset(Mapping[str, Tool[..., Any]]):
    """The tools that one pipeline allows, by name; `Session.tools` is that of one call, which may add and remove some.

    A request offers the tools that are there when it is sent. A call of a tool that has been removed since is refused.

    Raises:
        ConfigurationError: Something in it is no tool, or two have one name.
    """

    def __init__(self, tools: Iterable[Given] = ()) -> None:
        self._tools: dict[str, Tool[..., Any]] = {}
        self.definitions: tuple[dict[str, Any], ...] = ()
        """The `tools` of a chat completion request. Not to be changed."""
        for one in tools:
            self.add(*(_tools_of(one) if isinstance(one, Toolbox) else [one]))

    def add(self, *tools: Tool[..., Any]) -> None:
        """Allow further tools, from the next request on. Those of a `Toolbox` are added by `add(*toolbox.tools())`.

        Raises:
            ConfigurationError: Something is no tool, or there is one of that name; then none is added.
        """
        allowed = dict(self._tools)
        for one in tools:
            _check_tool(one)
            if other := allowed.get(one.name):
                raise ConfigurationError(
                    f"two tools are called {one.name}: {other.origin} and {one.origin}; "
                    f'give one of them another name with @tool(name="...")'
                )
            allowed[one.name] = one
        self._allow(allowed)

    def remove(self, *names: str) -> None:
        """Allow these tools no more. A call that is running is not touched.

        Raises:
            ConfigurationError: There is no tool of that name; then none is removed.
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
    if found := box.tools():
        return found
    raise ConfigurationError(f"{box.name} has no tools; decorate methods with @tool, plain ones without @staticmethod")


def _check_tool(found: object) -> None:
    if isinstance(found, type) and issubclass(found, Toolbox):
        raise ConfigurationError(f"{found.__name__} is a class; write {found.__name__}(...) to make one")
    if isinstance(found, Toolbox):
        raise ConfigurationError(f"{found.name} is a toolbox; write add(*toolbox.tools())")
    if isinstance(found, Tool):
        if found.is_unbound:
            raise ConfigurationError(
                f"{found.origin} is a method without its object; derive the class from Toolbox and give an object of "
                f"it: ToolRouter([{found.origin.split('.')[-2]}(...)])"
            )
        return
    if callable(found):
        name = getattr(found, "__name__", type(found).__name__)
        raise ConfigurationError(f"{name} is a function, but no tool; decorate it with @tool")
    raise ConfigurationError(f"tools must be functions decorated with @tool, found {type(found).__name__}")
