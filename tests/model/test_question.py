"""One question, one validated object, on virtual time."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import date
from enum import Enum
from typing import Any, Generic, Literal, TypeVar

import anyio
import pytest
from pydantic import BaseModel, Field, RootModel, field_validator

from voicepipe.conversation.turn import Turn
from voicepipe.core.channel import Outbox
from voicepipe.errors import (
    AuthenticationError,
    ConfigurationError,
    StageError,
    StructuredOutputError,
    VendorError,
    VoicepipeError,
)
from voicepipe.history import AssistantMessage, UserMessage
from voicepipe.model.model import Completion, Model, ReplyPart, Request
from voicepipe.model.question import structured
from voicepipe.testing import Calls, ChatRequest, Reply, Says, ScriptedGateway
from voicepipe.testing.request import parse_request
from voicepipe.vendors.openai.chat import LLMStreamStage
from voicepipe.vendors.openai.conversation_json import messages_json

pytestmark = pytest.mark.anyio

Content = TypeVar("Content")


class Ticket(BaseModel):
    """What a caller wants."""

    intent: Literal["billing", "cancel", "other"]
    urgency: Literal["low", "high"] = "low"
    escalate: bool
    summary: str = Field(description="One sentence.")


CANCEL = {"intent": "cancel", "urgency": "high", "escalate": True, "summary": "Cancels."}
GOOD = json.dumps(CANCEL)
TICKET = Ticket(intent="cancel", urgency="high", escalate=True, summary="Cancels.")


class Answers(Model):
    """Gives its answers one after the other, each after some seconds, or raises the error among them."""

    def __init__(self, *answers: str | Exception, after_s: float = 0.0) -> None:
        self.requests: list[Request] = []
        self.open_s: list[float] = []
        self._answers = list(answers)
        self._after_s = after_s

    async def reply(self, request: Request, outbox: Outbox[ReplyPart], turn: Turn) -> None:
        raise NotImplementedError

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        await anyio.sleep(self._after_s)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Completion(arguments=answer) if request.must_call else Completion(text=answer)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        self.open_s.append(anyio.current_time())
        yield
        self.open_s.append(anyio.current_time())


async def failure(kind: type[VoicepipeError], *given: Any, **options: Any) -> Any:
    with pytest.raises(kind) as raised:
        await structured(*given, **options)
    return raised.value


# --- the request ------------------------------------------------------------------------------------------------------


async def test_a_text_becomes_a_model() -> None:
    """One answer that validates is returned as an object of the class, and the model is asked once."""
    llm = Answers(GOOD)
    assert await structured(Ticket, "I want to cancel!", llm=llm, instructions="Classify.") == TICKET

    (request,) = llm.requests
    assert (request.system, request.messages) == ("Classify.", (UserMessage("I want to cancel!"),))
    assert (request.tools, request.must_call) == ((), "")


@pytest.mark.parametrize("form", ["response_format", "tool"])
async def test_what_is_asked_is_what_a_strict_service_takes(form: Any) -> None:
    """Both forms contain the fields, their descriptions and their choices, and a strict service accepts them."""
    llm = Answers(GOOD)
    assert await structured(Ticket, "Cancel", llm=llm, form=form) == TICKET

    (request,) = llm.requests
    body: dict[str, Any] = {"model": "m", "messages": messages_json("", request.messages)}
    if form == "tool":
        body |= {
            "tools": [*request.tools],
            "tool_choice": {"type": "function", "function": {"name": request.must_call}},
        }
        function = request.tools[0]["function"]
        assert parse_request(body).must_call == function["name"] == "Ticket"
        assert (function["description"], request.response_format) == ("What a caller wants.", None)
        schema = function["parameters"]
    else:
        assert request.response_format is not None
        parse_request(body | {"response_format": dict(request.response_format)})
        described = request.response_format["json_schema"]
        assert (request.response_format["type"], described["name"], described["strict"]) == (
            "json_schema",
            "Ticket",
            True,
        )
        schema = described["schema"]
    assert schema["required"] == ["intent", "urgency", "escalate", "summary"]
    assert schema["properties"]["intent"]["enum"] == ["billing", "cancel", "other"]
    assert schema["properties"]["summary"]["description"] == "One sentence."


async def test_a_conversation_can_be_asked_about() -> None:
    """Messages are sent unchanged, oldest first; without instructions the model keeps its own."""
    llm = Answers(GOOD)
    said = [UserMessage("Internet is down."), AssistantMessage.said("Sorry!"), UserMessage("Cancel it.")]
    await structured(Ticket, iter(said), llm=llm)
    assert (llm.requests[0].messages, llm.requests[0].system) == (tuple(said), None)


async def test_the_model_is_open_for_this_call_alone() -> None:
    """A copy of the model is opened before it is asked and closed before the result is returned."""

    class Connected(Answers):
        @asynccontextmanager
        async def open(self) -> AsyncGenerator[None]:
            self.connection = "this call's own"
            async with super().open():
                yield

    llm = Connected(GOOD, after_s=2.0)
    await structured(Ticket, "Cancel", llm=llm)
    assert llm.open_s == [0.0, 2.0]
    assert not hasattr(llm, "connection")


@pytest.mark.parametrize("form", ["response_format", "tool"])
async def test_it_works_over_http(form: Any) -> None:
    """A service that checks requests accepts both forms, including the second try, and its answer is returned."""

    def answer(request: ChatRequest) -> Reply:
        data = CANCEL if len(request.messages) > 2 else {}
        return Calls(request.must_call, data) if request.must_call else Says(json.dumps(data))

    gateway = ScriptedGateway(answer)
    async with gateway.serve() as base_url:
        llm = LLMStreamStage("Classify.", base_url=base_url, model="m")
        assert await structured(Ticket, "Cancel", llm=llm, form=form) == TICKET
    first, second = [request.chat for request in gateway.requests if request.chat]  # without the one that warms up
    assert [message.role for message in first.messages] == ["system", "user"]
    assert [message.role for message in second.messages] == ["system", "user", "assistant", "user"]


async def test_the_default_is_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a model AssemblyAI's gateway is asked, and a missing key is its usual error."""
    monkeypatch.delenv("ASSEMBLYAI_API_KEY", raising=False)
    assert "ASSEMBLYAI_API_KEY" in str(await failure(AuthenticationError, Ticket, "Cancel"))


async def test_a_generic_class_gets_a_name_that_services_accept() -> None:
    """Characters that are not allowed in a name are replaced."""

    class Box(BaseModel, Generic[Content]):
        content: Content

    llm = Answers('{"content": 1}')
    assert (await structured(Box[int], "One", llm=llm)).content == 1
    assert llm.requests[0].response_format is not None
    assert llm.requests[0].response_format["json_schema"]["name"] == "Box_int_"


# --- refused answers --------------------------------------------------------------------------------------------------


class Colour(Enum):
    RED = "red"


class Inner(BaseModel, extra="allow"):
    n: int


class Many(BaseModel):
    n: int = 0
    x: float = 0.0
    day: date | None = None
    colour: Colour = Colour.RED
    inner: Inner | None = None
    names: list[str] = []
    level: Literal[1, 2] = 1


GOOD_JSON = [
    ("{}", Many()),
    (' \n{"n": 3}\n', Many(n=3)),
    ('{"x": 1}', Many(x=1.0)),
    ('{"day": "2026-05-09", "colour": "red"}', Many(day=date(2026, 5, 9))),
    ('{"inner": {"n": 1}, "names": ["é"]}', Many(inner=Inner(n=1), names=["é"])),
    ('```json\n{"n": 3}\n```', Many(n=3)),
    ('\n ```JSON {"n": 3} ``` \n', Many(n=3)),
    ('```\n{\n  "n": 3,\n  "names": ["```", "}"]\n}\n```\n', Many(n=3, names=["```", "}"])),
]

BAD_JSON = {
    "two fences": ("```json\n{}\n```\n```json\n{}\n```", "not JSON"),
    "a fence in a fence": ("```\n```json\n{}\n```\n```", "not JSON"),
    "two objects in a fence": ("```json\n{}\n{}\n```", "not JSON"),
    "chatter before a fence": ("Here it is:\n```json\n{}\n```", "not JSON"),
    "chatter after a fence": ("```json\n{}\n```\nI hope this helps!", "not JSON"),
    "chatter in a fence": ("```json\nHere: {}\n```", "not JSON"),
    "a fence of another language": ("```python\n{}\n```", "not JSON"),
    "an open fence": ("```json\n{}", "not JSON"),
    "a list in a fence": ("```json\n[1]\n```", "not JSON"),
    "an object that does not fit, in a fence": ('```json\n{"n": "1"}\n```', "n: Input should be a valid integer"),
    "chatter before": ("Here it is: {}", "not JSON"),
    "chatter after": ('{"n": 1} I hope this helps!', "not JSON"),
    "two objects": ("{} {}", "not JSON"),
    "empty": ("", "not JSON"),
    "cut": ('{"n": 1', "not JSON"),
    "single quotes": ("{'n': 1}", "not JSON"),
    "trailing comma": ('{"n": 1,}', "not JSON"),
    "no object": ("[1]", "must be one JSON object"),
    "a text with JSON in it": ('"{}"', "must be one JSON object"),
    "text for a number": ('{"n": "1"}', "n: Input should be a valid integer"),
    "float for an integer": ('{"n": 1.0}', "n: Input should be a valid integer"),
    "true for an integer": ('{"n": true}', "n: Input should be a valid integer"),
    "no number": ('{"x": NaN}', "NaN is not JSON"),
    "null": ('{"n": null}', "n: Input should be a valid integer"),
    "no choice": ('{"colour": "RED"}', "colour: Input should be 'red'"),
    "no date": ('{"day": 12}', "day: Input should be a valid date"),
    "unknown field": ('{"hue": "red"}', "hue: there is no such field"),
    "true for a choice": ('{"level": true}', "level: not exactly of the type in the schema"),
    "digits for a date": ('{"day": "0"}', "day: not exactly of the type in the schema"),
    "unknown field inside": ('{"inner": {"n": 1, "m": 2}}', "inner.m: there is no such field"),
    "field given twice": ('{"n": 1, "n": 2}', "n: given twice"),
    "too long": (json.dumps({"names": ["x" * 20_000]}), "longer than 16384 bytes"),
}


@pytest.mark.parametrize(("answer", "expected"), GOOD_JSON, ids=range(len(GOOD_JSON)))
@pytest.mark.parametrize("form", ["response_format", "tool"])
async def test_one_whole_json_object_is_taken(answer: str, expected: Many, form: Any) -> None:
    """JSON that fits is accepted with the types that JSON has; space around it does not matter."""
    llm = Answers(answer)
    assert await structured(Many, "Many", llm=llm, form=form) == expected


@pytest.mark.parametrize(("answer", "said"), BAD_JSON.values(), ids=BAD_JSON)
@pytest.mark.parametrize("form", ["response_format", "tool"])
async def test_nothing_is_repaired(answer: str, said: str, form: Any) -> None:
    """Anything but one object that fits is refused, asked for once more, and then an error with the answer."""
    llm = Answers("{'first'}", answer)
    error = await failure(StructuredOutputError, Many, "Many", llm=llm, form=form)
    assert said in str(error)
    assert error.raw == answer
    assert len(llm.requests) == 2


async def test_the_second_try_shows_what_was_wrong() -> None:
    """The model sees its own answer and which fields do not fit, and can then give an answer that does."""
    wrong = json.dumps(CANCEL | {"intent": "rage", "escalate": "yes"})
    llm = Answers(wrong, GOOD)
    assert await structured(Ticket, "Cancel", llm=llm, instructions="Classify.") == TICKET

    first, second = llm.requests
    assert second.messages[:2] == (*first.messages, AssistantMessage.said(wrong))
    assert second.messages[2:] == (
        UserMessage(
            "That is no valid Ticket: intent: Input should be 'billing', 'cancel' or 'other'; escalate: Input should "
            "be a valid boolean. Give all of it again, as one JSON object with nothing around it."
        ),
    )
    assert (second.response_format, second.system) == (first.response_format, first.system)


async def test_a_huge_answer_is_shown_in_part() -> None:
    """The second request holds no more of the first answer than the longest valid answer has."""
    llm = Answers("x" * 100_000, GOOD)
    await structured(Ticket, "Cancel", llm=llm)
    assert len(llm.requests[1].messages[1].text) == 16_384


async def test_the_error_holds_no_value() -> None:
    """Message, cause and context of the error name fields and no values; only `raw` holds what the caller said."""
    secret = json.dumps(CANCEL | {"intent": "canary-1", "canary-field": 1})
    error = await failure(StructuredOutputError, Ticket, "Cancel", llm=Answers(secret, secret))
    assert error.raw == secret
    shown = [error, error.__cause__, error.__context__, getattr(error.__context__, "__context__", None)]
    assert "canary-1" not in " ".join(map(str, shown))
    assert str(error).startswith("Answers was asked twice; its answer is no valid Ticket: intent: Input should be")


async def test_a_validator_may_refuse() -> None:
    """A ValueError of the application's validator is a refusal like any other, without its message."""

    class Even(BaseModel):
        n: int

        @field_validator("n")
        @classmethod
        def check(cls, n: int) -> int:
            if n % 2:
                raise ValueError(f"{n} is odd")
            return n

    llm = Answers('{"n": 3}', '{"n": 4}')
    assert (await structured(Even, "An even one", llm=llm)).n == 4
    assert "no valid Even: n: refused by its validator. Give" in llm.requests[1].messages[2].text


async def test_a_validator_that_breaks_is_no_refusal() -> None:
    """Another exception of a validator is the application's bug: a StageError says so, and nothing is asked again."""

    class Broken(BaseModel):
        n: int

        @field_validator("n")
        @classmethod
        def check(cls, n: int) -> int:
            raise KeyError("canary")

    llm = Answers('{"n": 3}')
    error = await failure(StageError, Broken, "Any", llm=llm)
    assert (str(error), error.part, type(error.__cause__)) == (
        "a validator of Broken raised KeyError",
        "Broken",
        KeyError,
    )


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [VendorError("down", vendor="acme", retryable=True), AuthenticationError("no key", vendor="acme")],
)
async def test_an_error_of_the_service_passes_unchanged(error: VoicepipeError) -> None:
    """An error of the model passes unchanged; retries are the model's own business."""
    llm = Answers(error)
    assert await failure(type(error), Ticket, "Cancel", llm=llm) is error
    assert len(llm.requests) == 1


async def test_a_foreign_error_carries_the_model_s_name() -> None:
    """Any other exception is wrapped in a StageError that names the model."""
    error = await failure(StageError, Ticket, "Cancel", llm=Answers(KeyError("x")))
    assert (error.part, type(error.__cause__)) == ("Answers", KeyError)


@pytest.mark.parametrize(("answers", "after_s"), [((GOOD,), 10.0), (("no", GOOD), 5.0)], ids=["one", "two together"])
async def test_the_deadline_is_over_all(answers: Sequence[str], after_s: float) -> None:
    """Both tries together have ten seconds; the error names them and is retryable."""
    error = await failure(VendorError, Ticket, "Cancel", llm=Answers(*answers, after_s=after_s))
    assert anyio.current_time() == 10.0
    assert (str(error), error.retryable, error.vendor) == ("Answers gave no Ticket within 10 s", True, "Answers")


async def test_a_model_that_does_not_open_has_the_same_deadline() -> None:
    """Opening the model counts towards the deadline."""

    class Slow(Answers):
        @asynccontextmanager
        async def open(self) -> AsyncGenerator[None]:
            await anyio.sleep(3)
            yield

    assert "within 2.5 s" in str(await failure(VendorError, Ticket, "Cancel", llm=Slow(GOOD), deadline_s=2.5))
    assert anyio.current_time() == 2.5


async def test_a_slow_close_costs_no_result() -> None:
    """An answer in time is returned, even if the model closes only after the deadline."""

    class Slow(Answers):
        @asynccontextmanager
        async def open(self) -> AsyncGenerator[None]:
            yield
            await anyio.sleep(0.8)

    assert await structured(Ticket, "Cancel", llm=Slow(GOOD, after_s=0.9), deadline_s=1.0) == TICKET
    assert anyio.current_time() == 1.7


async def test_cancelling_ends_it_at_once() -> None:
    """A cancelled call leaves the model closed and nothing running."""
    llm = Answers(GOOD, after_s=5.0)
    with anyio.move_on_after(1.0) as scope:
        await structured(Ticket, "Cancel", llm=llm)
    assert scope.cancelled_caught
    assert llm.open_s == [0.0, 1.0]


class Callback(BaseModel):
    call: Callable[[], int]


class Free(BaseModel):
    fields: dict[str, int]


class Lazy(BaseModel):
    names: Iterable[str]


class Unfinished(BaseModel):
    other: Missing  # type: ignore[name-defined]  # noqa: F821 - that is what is tested


class NoComplete(Model):
    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        raise NotImplementedError
        yield

    async def reply(self, request: Request, outbox: Outbox[ReplyPart], turn: Turn) -> None:
        raise NotImplementedError


REFUSED: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "no class": ({"type": "object"}, "x", {}, "needs a pydantic model class, not"),
    "another class": (dict, "x", {}, "needs a pydantic model class, not <class 'dict'>"),
    "an instance": (TICKET, "x", {}, "needs a pydantic model class, not Ticket"),
    "no JSON": (Callback, "x", {}, "Callback cannot be asked for: Cannot generate a JsonSchema"),
    "items read later": (Lazy, "x", {}, "Lazy cannot be asked for: an Iterable is validated too late"),
    "any field": (Free, "x", {}, "Free cannot be asked for: fields is an object whose fields may have any name"),
    "a list": (RootModel[list[int]], "x", {}, "a strict schema describes an object"),
    "not defined": (Unfinished, "x", {}, "Unfinished cannot be asked for: `Unfinished` is not fully defined"),
    "no words": (Ticket, " ", {}, "the prompt is empty"),
    "no messages": (Ticket, [], {}, "the prompt is empty"),
    "no message": (Ticket, [{"role": "user"}], {}, "not dict"),
    "no form": (Ticket, "x", {"form": "json"}, "form must be 'response_format' or 'tool', not 'json'"),
    "no time": (Ticket, "x", {"deadline_s": 0}, "deadline_s must be a positive number of seconds, not 0"),
    "endless": (Ticket, "x", {"deadline_s": float("inf")}, "deadline_s must be a positive number of seconds"),
    "no model": (Ticket, "x", {"llm": "gpt-5.2"}, "llm must be a model such as LLMStreamStage"),
    "no complete": (Ticket, "x", {"llm": NoComplete()}, "NoComplete gives no structured output; write its method"),
}


@pytest.mark.parametrize(("output", "prompt", "options", "said"), REFUSED.values(), ids=REFUSED)
async def test_what_cannot_be_asked_for_is_refused_first(
    output: Any, prompt: Any, options: dict[str, Any], said: str
) -> None:
    """An invalid class, prompt or option is an error before the model is opened."""
    llm = Answers(GOOD)
    error = await failure(ConfigurationError, output, prompt, **({"llm": llm} | options))
    assert said in str(error)
    assert (llm.open_s, llm.requests) == ([], [])


async def test_a_recursive_class_can_be_asked_for() -> None:
    """A class that contains itself is described by references, and its JSON is read back."""

    class Node(BaseModel):
        name: str
        children: list[Node]

    llm = Answers('{"name": "a", "children": [{"name": "b", "children": []}]}')
    found = await structured(Node, "A tree", llm=llm)
    assert [child.name for child in found.children] == ["b"]
