"""Checks a language model: what the tool loop and the turn rely on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import anyio

from voicepipe.core.channel import Channel
from voicepipe.errors import ConfigurationError, VendorError, VoicepipeError
from voicepipe.flow import ReplyEnd, ReplyState, TextDelta, ToolCallDelta
from voicepipe.history import UserMessage
from voicepipe.model.model import Model, ReplyPart, Request
from voicepipe.testing.conformance.behaviour import KEY, Behaviour
from voicepipe.testing.conformance.calls import calling, hosting
from voicepipe.testing.conformance.cutting import Counted, cut_at
from voicepipe.testing.conformance.examination import Examination, examining
from voicepipe.testing.conformance.lifetimes import (
    breaks,
    check_lifetimes,
    check_network,
    check_obeyed,
    check_refusals,
    cuts,
    mutes,
)
from voicepipe.testing.conformance.trial import Bench, Fails, Skips

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voicepipe.conversation.turn import Turn
    from voicepipe.testing.conformance.behaviour import Server
    from voicepipe.testing.conformance.blocking import Spent
    from voicepipe.testing.conformance.calls import Call
    from voicepipe.testing.conformance.cutting import Cut
    from voicepipe.testing.conformance.report import Report

__all__ = ["check_model"]

KINDS: Final = (TextDelta, ToolCallDelta, ReplyState, ReplyEnd)

TOOL: Final[dict[str, Any]] = {
    "type": "function",
    "function": {
        "name": "find_order",
        "description": "Find an order of the customer.",
        "parameters": {
            "type": "object",
            "properties": {"order_id": {"type": "string"}},
            "required": ["order_id"],
            "additionalProperties": False,
        },
    },
}

OBEYS_S: Final = 0.5
"""How long a reply may take to end once its turn was interrupted: the limit of a clean-up."""

SILENT_S: Final = 12.0
"""How long a model may wait in all for a service that is silent: three requests of 4 s."""


def check_model(
    make: Callable[..., Model],
    *,
    server: Server | None = None,
    refuses: Sequence[Callable[[], object]] = (),
    secrets: Sequence[str] = (KEY,),
    only: Sequence[str] = (),
    real_time: bool = False,
) -> Report:
    """Check that a model does what the library relies on, and return what was found.

        def test_my_model() -> None:
            check_model(lambda url: MyModel(url=url, api_key=KEY), server=my_server)

    Args:
        make: Makes the model. It is called with the URL of the service if there is a `server`, otherwise without
            arguments.
        server: Starts a simulated service, which replies to every request with the same text; see `Server`. None for a
            model without a service.
        refuses: Each creates a model with a bad option, and has to raise `ConfigurationError`.
        secrets: What must appear in no log record, repr, error or wire message: the keys that `make` uses.
        only: The names of the checks to make, while you mend one of them; all checks if there is none.
        real_time: Whether the model uses threads, which have no place in virtual time.

    Raises:
        Nonconformance: A check failed. The message says what was expected, what was found, and what to do.
        ConfigurationError: `only` names a check that there is not.
    """
    with examining("model", make, server, secrets, only=only, real_time=real_time) as exam:
        model = _Model(exam)
        exam.first("replies", model.replies)
        exam.check("two replies at once", model.two_replies)
        exam.check("replying is cancelled at each await", model.cancelled)
        exam.check("calls a tool", model.calls_tool, behaviour=Behaviour.TOOL_CALL, needs_server=True)
        exam.check("the answer is empty", model.empty, behaviour=Behaviour.EMPTY, needs_server=True)
        exam.check("answers in one piece", model.completes)
        check_lifetimes(exam, model.work)
        check_network(exam, model.work)
        model.check_failing_network()
        check_refusals(exam, model.work)
        exam.refuses(refuses)
        report = exam.report()
    report.raise_for_failures()
    return report


@dataclass
class Replied:
    """What came for one request.

    Attributes:
        parts: The pieces, in order.
    """

    parts: list[ReplyPart] = field(default_factory=list[ReplyPart])

    @property
    def text(self) -> str:
        """The text."""
        return "".join(part.text for part in self.parts if isinstance(part, TextDelta))

    @property
    def calls(self) -> list[tuple[str, str]]:
        """Name and arguments of each tool call."""
        calls: dict[int, tuple[str, str]] = {}
        for part in self.parts:
            if isinstance(part, ToolCallDelta):
                name, arguments = calls.get(part.index, ("", ""))
                calls[part.index] = name + part.name, arguments + part.arguments
        return list(calls.values())


class _Model:
    """The checks, and what the first one has found out."""

    def __init__(self, exam: Examination[Model]) -> None:
        self._exam = exam
        self._text = ""
        self._received_bytes = 0

    async def work(self, call: Call[Model]) -> None:
        """Reply, and compare the text with what is usual."""
        self._compare(await _reply(call))

    def _compare(self, replied: Replied) -> None:
        _check_parts(replied)
        if replied.text != self._text:
            raise Fails(f"expected {self._text!r} as when it replies undisturbed, found {replied.text!r}")

    async def replies(self, bench: Bench[Model]) -> str:
        if not isinstance(cast("object", bench.part), Model):
            raise Fails(f"expected a Model, found {type(bench.part).__name__}; derive it from voicepipe.Model")
        async with hosting(bench.part) as host, calling(host) as call:
            replied = await _reply(call, spent=bench.spent)
            self._received_bytes = max(bench.relay.received_bytes, default=0) if bench.relay is not None else 0
        _check_parts(replied)
        self._text = replied.text
        if not self._text.strip():
            raise Fails("expected text, found none; the server has to reply with some words")
        return f"{self._text!r} in {len(replied.parts) - 1} pieces"

    async def two_replies(self, bench: Bench[Model]) -> str:
        raised: list[Exception] = []
        replied: list[Replied] = []
        async with hosting(bench.part) as host, calling(host) as call:

            async def work(turn: Turn) -> None:
                async def one() -> None:
                    try:
                        replied.append(await _collected(call.part, turn, REQUEST))
                    except Exception as error:  # noqa: BLE001 - raised below, without a group around it
                        raised.append(error)

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(one)
                    tasks.start_soon(one)

            await call.in_turn(work)
        if raised:
            raise raised[0]
        for one in replied:
            self._compare(one)
        return "in one call, as a hedge asks"

    async def cancelled(self, bench: Bench[Model]) -> str:
        async with hosting(bench.part) as host, calling(host) as call:
            whole = await _cut(call, 0)
            numbers = cuts(whole.count)
            for at in numbers:
                check_obeyed(await _cut(call, at), f"when it was cancelled in await no. {at}", OBEYS_S)
                try:
                    await self.work(call)
                except (Fails, VoicepipeError) as error:
                    after = f"for the reply after one that was cancelled in await no. {at}"
                    raise Fails(f"{after}: {error}") from error
        return f"{len(numbers)} of {whole.count} awaits"

    async def calls_tool(self, bench: Bench[Model]) -> str:
        async with hosting(bench.part) as host, calling(host) as call:
            replied = await _reply(call, REQUEST_WITH_TOOL)
        _check_parts(replied)
        if len(replied.calls) != 1:
            raise Fails(f"expected one call of find_order, found {replied.calls}; send each call as ToolCallDelta")
        name, arguments = replied.calls[0]
        if name != TOOL["function"]["name"]:
            raise Fails(f"expected a call of find_order, found {name!r}; send the name once, in the call's first piece")
        try:
            given = json.loads(arguments or "{}")
        except ValueError as error:
            raise Fails(f"expected arguments as JSON, found {arguments!r}; pass them on as they come") from error
        if not isinstance(given, dict):
            raise Fails(f"expected a JSON object of arguments, found {arguments!r}")
        return f"{name}({arguments})"

    async def empty(self, bench: Bench[Model]) -> str:
        try:
            async with hosting(bench.part) as host, calling(host) as call:
                replied = await _reply(call)
        except VendorError as error:
            return type(error).__name__
        _check_parts(replied)
        if replied.text.strip() or replied.calls:
            raise Fails(f"expected nothing to say or a VendorError, found {replied.text!r}")
        return "a reply without text, which the session reports as TurnEmpty"

    async def completes(self, bench: Bench[Model]) -> str:
        async with hosting(bench.part) as host, calling(host) as call:
            try:
                completion = await call.part.complete(REQUEST)
            except ConfigurationError as error:
                raise Skips("it does not write complete, which only structured output needs") from error
        if completion.text != self._text:
            raise Fails(f"expected {self._text!r} as when it is streamed, found {completion.text!r}")
        return "the same text"

    def check_failing_network(self) -> None:
        """Check that a service that falls silent is given up in time, and that a connection may break anywhere."""
        exam, total = self._exam, self._received_bytes
        exam.check("the service falls silent", self.failing, harms=mutes(total), needs_server=True)
        exam.check("the connection breaks", self.failing, harms=breaks(total), needs_server=True)

    async def failing(self, bench: Bench[Model]) -> str:
        async with hosting(bench.part) as host, calling(host) as call:
            began_s = anyio.current_time()
            try:
                with anyio.fail_after(SILENT_S):
                    replied = await _reply(call)
            except TimeoutError as error:
                raise Fails(
                    f"expected an error within {SILENT_S:g} s, found none; give each wait a deadline"
                ) from error
            except VendorError as error:
                bench.notes.saw(error, bench.name)
                return f"{type(error).__name__} after {anyio.current_time() - began_s:.1f} s"
            except Exception as error:
                raise Fails(f"expected a VendorError, found {type(error).__name__}: {error}; translate it") from error
        self._compare(replied)
        return "the reply is whole"


REQUEST: Final = Request(messages=(UserMessage("Hello?"),))
REQUEST_WITH_TOOL: Final = Request(messages=(UserMessage("Where is my order 12345?"),), tools=(TOOL,))


async def _reply(
    call: Call[Model], request: Request = REQUEST, *, spent: Callable[[Spent], None] | None = None
) -> Replied:
    """Ask the model in a turn of its own, and return what came."""
    replied: list[Replied] = []

    async def work(turn: Turn) -> None:
        replied.append(await _collected(call.part, turn, request, spent=spent))

    await call.in_turn(work)
    return replied[0]


async def _collected(
    model: Model, turn: Turn, request: Request, *, spent: Callable[[Spent], None] | None = None
) -> Replied:
    collected, parts = Replied(), Channel[ReplyPart](PARTS)

    async def collect() -> None:
        async for part in parts:
            collected.parts.append(part)

    raised: list[Exception] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(collect)
        try:
            await Counted(model.reply(request, parts, turn), spent=spent)
        except Exception as error:  # noqa: BLE001 - raised below, without a group around it
            raised.append(error)
        parts.close()
    if raised:
        raise raised[0]
    return collected


async def _cut(call: Call[Model], at: int) -> Cut:
    """Ask the model in a turn of its own, and interrupt it at an await."""
    done: list[Cut] = []

    async def work(turn: Turn) -> None:
        parts = Channel[ReplyPart](PARTS)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_discard, parts)
            done.append(await cut_at(at, lambda _: call.part.reply(REQUEST, parts, turn)))
            parts.close()

    await call.in_turn(work)
    return done[0]


async def _discard(parts: Channel[ReplyPart]) -> None:
    async for _ in parts:
        pass


PARTS: Final = 8


def _check_parts(replied: Replied) -> None:
    """Check that only pieces of a reply came, and that one end is the last of them."""
    for part in replied.parts:
        if not isinstance(cast("object", part), KINDS):
            raise Fails(f"expected pieces of a reply, found {type(part).__name__}; see voicepipe.ReplyPart")
    ends = [at for at, part in enumerate(replied.parts) if isinstance(part, ReplyEnd)]
    if not ends:
        raise Fails("expected a ReplyEnd, found none; without it the reply counts as cut off")
    if len(ends) > 1 or ends[0] != len(replied.parts) - 1:
        raise Fails(f"expected one ReplyEnd as the last piece, found {len(ends)} among {len(replied.parts)} pieces")
