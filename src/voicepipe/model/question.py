"""One question to a language model, answered by one validated object.

Rule 1: an answer that does not validate strictly is refused: nothing is repaired, guessed or ignored. One fence around
        the whole answer is not part of it.
Rule 2: the model is asked at most twice; the second request shows its answer and what is wrong with it.
Rule 3: pydantic is imported with the first question and not with the library: see `tools/tool.py`, Rule 4.
"""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias, TypeVar, cast, get_args

import anyio

from voicepipe.core.abandon import run_abandonably
from voicepipe.core.defaults import Default
from voicepipe.core.failures import named
from voicepipe.core.lifetimes import opened
from voicepipe.core.process import require_asyncio
from voicepipe.errors import ConfigurationError, StageError, StructuredOutputError, ToolError, VendorError
from voicepipe.history import AssistantMessage, History, UserMessage
from voicepipe.model.model import Model, Request
from voicepipe.tools.schema_dialects import strict
from voicepipe.tools.strict_json import read_json, unfenced
from voicepipe.tools.tool import MAX_ARGUMENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from pydantic import BaseModel

    from voicepipe.history import Message
    from voicepipe.model.model import Usage

__all__ = ["INSTRUCTIONS", "Form", "Question", "default_model", "model_to_ask", "structured"]

DEADLINE_S: Final = 10.0
"""From the call to the validated object: opening the model, asking, and asking again."""

INSTRUCTIONS: Final = (
    "Take the data that is asked for from the conversation; its last message counts most. "
    "Do not answer the message, and make nothing up."
)
"""System prompt of the default model."""

default_model = Default[Model]("model")
"""Makes the language model that is asked unless the application names one."""

Form: TypeAlias = Literal["response_format", "tool"]
"""How the request asks for data."""

T = TypeVar("T", bound="BaseModel")


async def structured(
    output: type[T],
    prompt: str | Iterable[Message],
    *,
    llm: Model | None = None,
    instructions: str = "",
    form: Form = "response_format",
    deadline_s: float = DEADLINE_S,
) -> T:
    """Ask a language model for data, and return it as a validated object.

    Args:
        output: A pydantic model class. Its docstring and the descriptions of its fields guide the language model.
        prompt: A text, or a conversation, oldest message first.
        llm: The language model; `LLMStreamStage()` by default. It is opened for this call alone and closed afterwards.
        instructions: The system prompt; "" for the language model's own.
        form: "response_format" asks for JSON by a schema; "tool" makes the language model call a tool whose arguments
            are the data, for services that take no schema for the answer. Neither form falls back to the other.
        deadline_s: Seconds for everything, including a second try.

    Raises:
        StructuredOutputError: Neither answer validates; `raw` is the second one.
        VendorError: The service failed, or was too slow: then `retryable` is true.
        ConfigurationError: The class, the prompt or an option is invalid. Raised before anything is sent.

    Cancelling closes the request.
    """
    require_asyncio("structured")
    question = Question(output, instructions=instructions, form=form, deadline_s=deadline_s)
    messages = History([UserMessage(prompt)] if isinstance(prompt, str) else prompt).snapshot()
    if not any(message.text.strip() for message in messages):
        raise ConfigurationError(f"structured: the prompt is empty; give a text that contains a {question.name}")
    model = model_to_ask(llm)._copied()
    with question.deadline(model) as limit:
        async with opened([model]):
            found = await question.ask(model, messages)
            limit.deadline = math.inf  # a model that closes slowly must not lose the answer
    return found


class Question(Generic[T]):
    """Asks for one pydantic model class and reads the answers. Made once, asked any number of times.

    Attributes:
        name: The name of the class in requests.
        deadline_s: Seconds for an answer.
    """

    def __init__(self, output: type[T], *, instructions: str, form: Form, deadline_s: float) -> None:
        schema, wanted = _schemas(output)
        self.name = re.sub(r"[^a-zA-Z0-9_-]", "_", output.__name__)[:64]
        if form not in get_args(Form):
            raise ConfigurationError(f"form must be {' or '.join(map(repr, get_args(Form)))}, not {form!r}")
        if not 0 < deadline_s < math.inf:
            raise ConfigurationError(f"deadline_s must be a positive number of seconds, not {deadline_s}")
        self._output = output
        self._schema = schema
        self._form = form
        self.deadline_s = deadline_s
        self._request = replace(self._asking(wanted), system=instructions or None)

    def _asking(self, schema: dict[str, Any]) -> Request:
        if self._form == "tool":
            description = schema.pop("description", "Takes the data that is asked for.")
            function = {"name": self.name, "description": description, "parameters": schema}
            return Request(messages=(), tools=({"type": "function", "function": function},), must_call=self.name)
        described = {"name": self.name, "strict": True, "schema": schema}
        return Request(messages=(), response_format={"type": "json_schema", "json_schema": described})

    @contextmanager
    def deadline(self, llm: Model) -> Generator[anyio.CancelScope]:
        """Limit the time that a language model may take.

        Raises:
            VendorError: The language model took longer.
        """
        with anyio.move_on_after(self.deadline_s) as limit:
            yield limit
        if limit.cancelled_caught:
            waited = f"{llm.name} gave no {self.name} within {self.deadline_s:g} s"
            raise VendorError(waited, vendor=llm.name, retryable=True)

    async def ask(self, llm: Model, messages: Iterable[Message], counted: Callable[[Usage], None] | None = None) -> T:
        """Ask an open language model, twice if necessary, and return the validated object. See `structured`.

        Args:
            llm: The language model.
            messages: The conversation, oldest first.
            counted: Called with the tokens of each request that the service counts.
        """
        asked = tuple(messages)
        try:
            return await self._ask_once(llm, asked, counted)
        except StructuredOutputError as error:
            answer = AssistantMessage.said(error.raw[:MAX_ARGUMENT_BYTES])
            wanted = f"That is {error}. Give all of it again, as one JSON object with nothing around it."
        try:
            return await self._ask_once(llm, (*asked, answer, UserMessage(wanted)), counted)
        except StructuredOutputError as error:
            said = (
                f"{llm.name} was asked twice; its answer is {error}; describe the fields better, or ask another model"
            )
            raise StructuredOutputError(said, raw=error.raw) from None

    async def _ask_once(self, llm: Model, messages: tuple[Message, ...], counted: Callable[[Usage], None] | None) -> T:
        with named(llm.name):
            request = replace(self._request, messages=messages)
            deadline = anyio.current_effective_deadline()
            answer = await run_abandonably(llm.complete, request, name=llm.name, deadline=deadline)
        if counted and answer.usage:
            counted(answer.usage)
        return self._read(answer.arguments if self._form == "tool" else answer.text)

    def _read(self, answer: str) -> T:
        """Return the object in an answer. Types are as strict as JSON allows: a date is a string."""
        validate = self._output.model_validate_json
        try:
            return read_json(
                unfenced(answer), "the answer", limit=MAX_ARGUMENT_BYTES, schema=self._schema, validate=validate
            )
        except ToolError as error:
            wrong = str(error)
        except Exception as error:
            raise StageError(f"a validator of {self.name} raised {type(error).__name__}", part=self.name) from error
        # Without a cause: its text holds the values.
        raise StructuredOutputError(f"no valid {self.name}: {wrong}", raw=answer)


def model_to_ask(llm: Model | None) -> Model:
    """Return the language model to ask: the given one, if it has structured output, or the default one."""
    if llm is None:
        return default_model()
    if not isinstance(cast("object", llm), Model):
        raise ConfigurationError(f"llm must be a model such as LLMStreamStage(...), not {llm!r}")
    if type(llm).complete is Model.complete:
        raise ConfigurationError(f"{llm.name} gives no structured output; write its method `complete`")
    return llm


def _schemas(output: type[BaseModel]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the JSON schema of a model class, as pydantic writes it and in the form that services enforce.

    Raises:
        ConfigurationError: The class has no such schema.
    """
    from pydantic import BaseModel  # noqa: PLC0415 - Rule 3

    from voicepipe.tools.signature import ExactSchema  # noqa: PLC0415 - Rule 3

    given = cast("object", output)
    if not (isinstance(given, type) and issubclass(given, BaseModel)):
        raise ConfigurationError(f"structured output needs a pydantic model class, not {output!r}")
    try:
        schema = output.model_json_schema(schema_generator=ExactSchema)
        return schema, strict(schema)
    except ConfigurationError as error:
        raise ConfigurationError(f"{output.__name__} cannot be asked for: {error}") from None
    except Exception as error:
        raise ConfigurationError(
            f"{output.__name__} cannot be asked for: {str(error).splitlines()[0]}; "
            f"use types that JSON can hold: str, int, Literal, an Enum, a pydantic model, a list of these"
        ) from error
