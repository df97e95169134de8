"""Tools as functions and as tool calls, their results and their failures."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import Enum
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, cast

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.helpers.orders import Address, Shop, ping
from voicepipe.errors import ConfigurationError, ToolError
from voicepipe.tools.tool import MAX_RESULT_BYTES, Tool, ToolContext, describe_failure, tool

if TYPE_CHECKING:
    from voicepipe.session.session import Session

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Plain functions run in threads, which do not exist on virtual time."""
    return "asyncio"


@tool
async def get_order(order_id: str, notes: str = "") -> str:
    """Look up an order."""
    return f"{order_id} {notes}"


def context(deps: object = None) -> ToolContext[Any]:
    return ToolContext(deps=deps, session=cast("Session", None), turn_id=3, call_id="call_1")


# --- what the decorated function still is -----------------------------------------------------------------------------


async def test_a_tool_is_called_like_its_function() -> None:
    """Decorating changes neither how a function is called nor what it returns."""
    shop = Shop("the shop")

    assert await get_order("ORD-12345", notes="x") == "ORD-12345 x"
    assert tool(shop.count)(article="tea") == 3


def test_options_are_kept() -> None:
    """A tool has the decorator's options and defaults as attributes, and shows name and effect in its repr."""
    find = tool(effect="read", timeout_s=2.5, name="find-it")(Shop("").find)

    assert (find.name, find.effect, find.timeout_s, repr(find)) == ("find-it", "read", 2.5, "<Tool find-it read>")
    assert (ping.name, ping.effect, ping.timeout_s, repr(ping)) == ("ping", "write", 10.0, "<Tool ping write>")


@pytest.mark.parametrize(("method", "result"), [("find", "tea in the shop"), ("count", 3)])
async def test_methods_of_an_instance_are_tools(method: str, result: object) -> None:
    """A bound method becomes a tool that acts on its instance."""
    bound = tool(getattr(Shop("the shop"), method))

    assert list(bound.parameters["properties"]) == ["article"]
    assert await bound.call(bound.validate('{"article": "tea"}'), context()) == result


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "get order"}, "'get order'"),
        ({"name": ""}, "''"),
        ({"name": "x" * 65}, "1 to 64"),
        ({"name": "bestellung_prüfen"}, "letters"),
        ({"name": "order\n"}, "letters"),
        ({"effect": "none"}, "'none'"),
        ({"timeout_s": 0.0}, "positive"),
        ({"timeout_s": math.inf}, "positive"),
        ({"timeout_s": math.nan}, "positive"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], words: str) -> None:
    """A name that models do not accept, an unknown effect and an infinite timeout are refused."""
    with pytest.raises(ConfigurationError, match=words):
        tool(Shop("").find, **options)


def test_unknown_options_are_refused() -> None:
    """A misspelt option is a TypeError, as with any function."""
    with pytest.raises(TypeError, match="timeout"):
        tool(timeout=3)  # type: ignore[call-overload]


# --- calls ------------------------------------------------------------------------------------------------------------


async def test_an_async_function_runs_in_the_callers_task() -> None:
    """An async tool runs in the task that calls it, so cancelling that task cancels it."""

    @tool
    async def where() -> Any:
        """Return where this runs."""
        return asyncio.current_task()

    assert await where.call({}, context()) is asyncio.current_task()


async def test_a_plain_function_runs_in_a_thread_of_its_name() -> None:
    """A plain tool runs in a daemon thread that carries the tool's name."""

    @tool(name="get-order")
    def where() -> Any:
        """Return where this runs."""
        return threading.current_thread()

    thread = await where.call({}, context())

    assert (thread.name, thread.daemon) == ("voicepipe tool get-order", True)


async def test_a_wrapped_async_function_is_awaited() -> None:
    """A plain wrapper around an async function gives the result and not a coroutine."""

    def traced(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    @tool
    @traced
    async def find(article: str) -> str:
        """Find."""
        return f"{article}!"

    assert await find.call(find.validate('{"article": "tea"}'), context()) == "tea!"


@pytest.mark.parametrize("first", [True, False])
async def test_the_context_is_handed_in_unseen(first: bool) -> None:
    """A tool receives its context in the parameter of that class, which the model does not see."""

    async def begin(call: ToolContext[Shop], article: str) -> str:
        """Find."""
        return f"{article} {call.deps.key} {call.turn_id} {call.call_id}"

    async def end(article: str, *, call: Annotated[ToolContext[Shop], "whatever"]) -> str:
        """Find."""
        return f"{article} {call.deps.key} {call.turn_id} {call.call_id}"

    find = tool(begin if first else end)

    assert list(find.parameters["properties"]) == find.parameters["required"] == ["article"]
    assert await find.call({"article": "tea"}, context(Shop("shop"))) == "tea shop 3 call_1"


def test_the_model_cannot_set_the_context() -> None:
    """An argument with the name of the context's parameter is refused like any unknown field."""

    @tool
    def find(article: str, call: ToolContext[Shop]) -> str:
        """Find."""
        return article

    with pytest.raises(ToolError, match="call: there is no such field"):
        find.validate('{"article": "tea", "call": {"deps": 1}}')


def test_a_context_does_not_show_what_it_carries() -> None:
    """The repr of a context leaves out the application's dependencies."""
    assert "canary" not in repr(context(Shop("canary")))


@pytest.mark.parametrize("error", [ValueError("no"), ToolError("sold out"), KeyError("x")])
@pytest.mark.parametrize("plain", [True, False])
async def test_errors_of_the_function_come_through(error: Exception, plain: bool) -> None:
    """An exception of the function passes unchanged."""

    def fail() -> None:
        """Fail."""
        raise error

    async def fail_async() -> None:
        """Fail."""
        raise error

    with pytest.raises(type(error)) as caught:
        await tool(fail if plain else fail_async).call({}, context())

    assert caught.value is error


async def test_cancelling_the_caller_cancels_the_function() -> None:
    """A cancelled tool call ends as cancelled and not with an error."""
    ended: list[str] = []

    @tool
    async def wait() -> None:
        """Wait for ever."""
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("cleaned up")

    with anyio.CancelScope() as scope:
        scope.cancel()
        await wait.call({}, context())

    assert scope.cancelled_caught
    assert ended == ["cleaned up"]


@pytest.mark.parametrize("plain", [True, False])
async def test_a_cancellation_from_inside_is_an_error(plain: bool) -> None:
    """A tool that is cancelled from inside raises a ToolError, so that its tool call has a result."""

    def give_up() -> None:
        """Give up."""
        raise asyncio.CancelledError

    async def wait() -> None:
        """Wait for something that was cancelled elsewhere."""
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    with pytest.raises(ToolError, match="outcome is unknown"):
        await tool(give_up if plain else wait).call({}, context())


# --- results ----------------------------------------------------------------------------------------------------------


class Colour(str, Enum):  # noqa: UP042 - the older kind, whose str() is not its value
    RED = "red"


@dataclass
class Secretive:
    name: str = "tea"
    price: float = math.inf


def returning(annotation: Any) -> Tool[[], Any]:
    def look() -> Any:
        """Look."""

    look.__annotations__["return"] = annotation
    return tool(look)


@pytest.mark.parametrize(
    ("annotation", "result", "text"),
    [
        (str, 'as "it" is', 'as "it" is'),
        (Any, "text", "text"),
        (str, "a\ud800b", "a?b"),
        (None, None, "null"),
        (bool, True, "true"),
        (Address, Address(street="Elm Straße"), '{"street":"Elm Straße","number":1}'),
        (Secretive, Secretive(), '{"name":"tea","price":null}'),
        (list[date], [date(2024, 2, 29)], '["2024-02-29"]'),
        (Colour, Colour.RED, '"red"'),
        (set[int], {1}, "[1]"),
        (Any, {"day": date(2024, 2, 29), "of": Secretive()}, '{"day":"2024-02-29","of":{"name":"tea","price":null}}'),
        (str, None, "null"),
        (Address, {"street": "Elm"}, '{"street":"Elm"}'),
    ],
)
def test_results_are_shown_as_text_or_json(annotation: Any, result: object, text: str) -> None:
    """Text is shown unchanged and anything else as JSON, even if it is not of the annotated type."""
    assert returning(annotation).render(result) == text


def test_the_annotation_decides_what_is_shown() -> None:
    """An object of a subclass is shown with the fields of the annotated class only."""

    class Customer(Address):
        password: str

    assert returning(Address).render(Customer(street="Elm", password="canary")) == '{"street":"Elm","number":1}'


def circle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize("result", [b"\xff\xfe", object(), threading.Lock(), iter([1]), circle(), {"of": print}])
def test_what_is_not_json_is_an_error_after_the_fact(result: object) -> None:
    """A result that cannot be shown is a ToolError that says that the tool ran, without the result."""
    with pytest.raises(ToolError) as caught:
        returning(Any).render(result)

    assert str(caught.value) == f"look ran, but its result cannot be shown: a {type(result).__name__} is not JSON"


@given(st.text("aé\u2028😀", min_size=1, max_size=4), st.integers(min_value=1, max_value=20_000))
@example("a", 8191)
@example("a", 8192)
@example("a", 8193)
def test_long_results_are_cut(piece: str, count: int) -> None:
    """A result has at most 8 KiB in whole characters, and says so if it was cut."""
    text = (piece * count)[:20_000]
    shown = returning(Any).render(text)
    size = len(text.encode())

    assert len(shown.encode()) <= MAX_RESULT_BYTES
    if size <= MAX_RESULT_BYTES:
        assert shown == text
    else:
        kept, _, mark = shown.rpartition("\n")
        assert text.startswith(kept)
        assert len(kept.encode()) > MAX_RESULT_BYTES - 80
        assert mark == "[cut here: the result is longer than 8192 bytes]"


def test_long_json_is_cut_too() -> None:
    """The limit applies to JSON as it does to text."""
    shown = returning(list[str]).render(["é" * 10_000])

    assert shown.startswith('["éé')
    assert shown.endswith("\n[cut here: the result is longer than 8192 bytes]")
    assert MAX_RESULT_BYTES - 1 <= len(json.dumps(shown, ensure_ascii=False).encode()) <= MAX_RESULT_BYTES


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ToolError("sold out until Monday"), "sold out until Monday"),
        (ToolError(), "ToolError: the tool failed"),
        (ValueError("canary"), "ValueError: the tool failed"),
        (KeyboardInterrupt(), "KeyboardInterrupt: the tool failed"),
        (ExceptionGroup("canary", [ExceptionGroup("canary", [ToolError("sold out")])]), "sold out"),
        (ExceptionGroup("canary", [ToolError("a"), ToolError("b")]), "ExceptionGroup: the tool failed"),
    ],
)
def test_only_a_tool_error_is_shown_in_its_own_words(error: BaseException, words: str) -> None:
    """The model sees the message of a ToolError, and only the class of any other error."""
    assert describe_failure(error) == words


def test_a_long_tool_error_is_cut() -> None:
    """The limit of results applies to the message of a ToolError."""
    assert len(describe_failure(ToolError("é" * 20_000)).encode()) <= MAX_RESULT_BYTES
