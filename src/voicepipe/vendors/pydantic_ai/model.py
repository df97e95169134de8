"""An agent of pydantic-ai as the language model of a pipeline.

Rule 1: the history of a run is what the caller heard, not what earlier runs wrote.
Rule 2: our tools run in the `ToolRouter`, under its rules. The agent's own tools run inside the agent, under its own.
Rule 3: a run is repeated only while nothing of it was used and no tool of the agent's has run.
"""

from __future__ import annotations

import json
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakKeyDictionary

import anyio

from voicepipe.core.failures import named
from voicepipe.core.part import at_once
from voicepipe.errors import ConfigurationError, IncompleteReply, MissingExtra, VendorError
from voicepipe.history import AssistantMessage
from voicepipe.model.model import Completion, Model, Usage
from voicepipe.model.summary import Summaries
from voicepipe.model.window import Window
from voicepipe.model_events import RequestRetried
from voicepipe.vendors.openai.deadlines import Deadlines
from voicepipe.vendors.openai.retry import persist

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from pydantic_ai.agent import AbstractAgent, AgentRunResult
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.settings import ModelSettings
    from pydantic_ai.usage import UsageLimits

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.channel import Outbox
    from voicepipe.core.context import AnySession
    from voicepipe.history import Message, UserMessage
    from voicepipe.model.model import ReplyPart, Request

__all__ = ["PydanticAIModel"]

RETRY_WITHIN: Final = 1.5
"""No try begins later than this many first-token deadlines after the first one."""

MAX_REQUESTS: Final = 6
"""Requests of one run: five rounds of the agent's own tools, and the answer."""

WHOLE_S: Final = 10.0
"""How long a whole answer may take."""

OWN_TOOLS_S: Final = 10.0
"""How long the agent's own tools may say nothing."""


class PydanticAIModel(Model):
    """Lets an agent of pydantic-ai reply.

        agent = pydantic_ai.Agent("openai:gpt-5.2", instructions="Keep replies short.")
        vp.Pipeline(vp.MicSource(), vp.STTStage(), vp.PydanticAIModel(agent), vp.ToolRouter([book]), ...)

    Each request of the pipeline is one run of the agent. Its text is spoken as it comes; the tools of a `ToolRouter`
    run there, under its rules. The agent's own tools run inside the agent: a barge-in cancels the run, and with it a
    tool that is running, even if it writes, and nothing keeps a tool from running twice. Tools whose calls must not be
    cut, or need the caller's agreement, belong into the `ToolRouter`. A later run sees that the outcome of a call that
    was cut is unknown.

    Args:
        agent: The agent; its output is text. Its instructions, tools, toolsets and capabilities are used as they are.
        deps: Returns the agent's `deps` for a session; by default `Session.deps`.
        window: How much of the conversation a run is given; None for all of it.
        deadlines: How long to wait for the model; see `Deadlines`. Of them `first_token_s` and `gap_s` are used, for
            each of the agent's requests.
        own_tools_s: Seconds that the agent's own tools may take without any event.
        usage_limits: Limits of one run; by default six requests.
        model_settings: Settings of each request, e.g. {"temperature": 0.2}.

    Raises:
        ConfigurationError: This is no agent, or its output is not text; raised here. Also when a run is refused: two
            tools have one name, or an agent with output validators is given the tools of a `ToolRouter`.
            `MissingExtra` without pydantic-ai.

    As `llm=` of `structured` and `Structured` the agent answers without its tools.

    Source: pydantic-ai's documentation and its source, version 2.68, read 2026-11-30. Never tried with a live service;
    checked with its `FunctionModel`.
    """

    def __init__(
        self,
        agent: AbstractAgent[Any, str],
        *,
        deps: Callable[[AnySession], object] | None = None,
        window: Window | None = Window(),  # noqa: B008 - frozen
        deadlines: Deadlines | None = None,
        own_tools_s: float = OWN_TOOLS_S,
        usage_limits: UsageLimits | None = None,
        model_settings: ModelSettings | None = None,
    ) -> None:
        _check_agent(self.name, agent)
        if deps is not None and not callable(deps):
            raise ConfigurationError(
                f"{self.name}: deps must be a function of the session, not {type(deps).__name__}; "
                "write deps=lambda session: ..."
            )
        if window is not None and not isinstance(cast("object", window), Window):
            raise ConfigurationError(f"{self.name}: window must be a Window(...) or None, not {window!r}")
        if not 0 < own_tools_s < math.inf:
            raise ConfigurationError(f"{self.name}: own_tools_s must be positive seconds, not {own_tools_s}")
        self.agent = agent
        self.window = window
        self.deadlines = deadlines or Deadlines()
        self.own_tools_s = own_tools_s
        self._deps = deps
        self._usage_limits = usage_limits
        self._model_settings = model_settings
        self._summaries = Summaries(window, window.summarise) if window and window.summarise else None
        self._since = 0
        self._runs: WeakKeyDictionary[Turn, tuple[int, list[ModelMessage], list[str]]]

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Keep the agent's toolsets open, e.g. their servers."""
        async with self.agent:
            yield

    @at_once
    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Remember how the runs of this session's turns ended."""
        del session
        self._runs = WeakKeyDictionary()
        yield

    def state(self) -> object | None:
        """Return where the last run's conversation began, if its window has moved."""
        return {"since": self._since} if self._since else None

    def restore(self, state: Any) -> None:  # noqa: ANN401 - JSON values
        """Begin the next run's conversation where the last one's of another worker began."""
        self._since = int(state["since"])

    @property
    def label(self) -> str:
        """The model's name, and that an agent asks it."""
        model = getattr(self.agent, "model", None)
        name = model if isinstance(model, str) else getattr(model, "model_name", "")
        return f"{name or self.agent.name or 'a model'} by pydantic-ai"

    async def reply(self, request: Request, outbox: Outbox[ReplyPart], turn: Turn) -> None:
        """Run the agent, and run it again while nothing was used and that may help. See `Model.reply`."""
        if self._summaries is not None:
            self._summaries.follow(turn)

        def retried(error: VendorError) -> None:
            turn.emit(RequestRetried(turn_id=turn.turn_id, error=error))

        async def ask() -> None:
            await self._run(request, outbox, turn)

        await persist(ask, RETRY_WITHIN * self.deadlines.first_token_s, retried)

    async def _run(self, request: Request, outbox: Outbox[ReplyPart], turn: Turn) -> None:
        from pydantic_ai import DeferredToolRequests  # noqa: PLC0415 - an agent has imported it
        from pydantic_ai.usage import UsageLimits  # noqa: PLC0415

        from voicepipe.vendors.pydantic_ai.failures import translated  # noqa: PLC0415
        from voicepipe.vendors.pydantic_ai.run import OurTools, Run  # noqa: PLC0415

        run = Run(request, outbox, turn, vendor=self.label, deadlines=self.deadlines, own_tools_s=self.own_tools_s)
        turn.before_end(run.report)
        turn.timeline.mark_again("llm_request")
        tools = {"toolsets": [OurTools(request)], "output_type": [str, DeferredToolRequests]} if request.tools else {}
        try:
            async with self.agent.run_stream_events(
                None,
                message_history=self._history(request, turn),
                instructions=request.system,
                deps=self._deps_of(turn.session),
                usage_limits=self._usage_limits or UsageLimits(request_limit=MAX_REQUESTS),
                model_settings=self._model_settings,
                infer_name=False,
                **cast("Any", tools),
            ) as events:
                result = await run.read(events)
        except Exception as error:
            failure = error if isinstance(error, VendorError) else translated(error, self.label)
            if failure is None:
                raise
            if run.is_used and isinstance(failure, VendorError):
                raise IncompleteReply(f"the reply was cut: {failure}", vendor=self.label) from error
            raise failure from (error.__cause__ if failure is error else error)
        called = await run.finish(result)
        if called:
            self._runs[turn] = (request.step, result.all_messages(), called)

    async def complete(self, request: Request) -> Completion:
        """Return the whole answer to one request. See `Model.complete`.

        The agent's tools and toolsets take no part. There is no session here, so `deps` is None. A run may take 10 s.
        """
        return await persist(
            lambda: self._answer(request), RETRY_WITHIN * self.deadlines.first_token_s, lambda _error: None
        )

    async def _answer(self, request: Request) -> Completion:
        from pydantic_ai.usage import UsageLimits  # noqa: PLC0415 - an agent has imported it

        from voicepipe.vendors.pydantic_ai.failures import translated  # noqa: PLC0415
        from voicepipe.vendors.pydantic_ai.messages import messages_of  # noqa: PLC0415

        own = {"instructions": request.system} if request.system is not None else {}
        with anyio.move_on_after(WHOLE_S):
            try:
                with self.agent.override(tools=[], toolsets=[], **cast("Any", own)):
                    result = await self.agent.run(
                        None,
                        message_history=messages_of(request.messages),
                        output_type=_wanted(request),
                        usage_limits=self._usage_limits or UsageLimits(request_limit=MAX_REQUESTS),
                        model_settings=self._model_settings,
                        infer_name=False,
                    )
            except Exception as error:
                if (failure := translated(error, self.label)) is None:
                    raise
                raise failure from error
            return _completion(request, result)
        raise VendorError(f"{self.label}: no answer within {WHOLE_S:g} s", vendor=self.label, retryable=True)

    def _history(self, request: Request, turn: Turn) -> list[ModelMessage]:
        """Return what the run begins with: after calls of our tools, the run that made them and their results."""
        from voicepipe.vendors.pydantic_ai.messages import messages_of, results_of  # noqa: PLC0415

        last = request.messages[-1]
        step, run, ids = self._runs.get(turn, (-1, [], []))
        if run and step == request.step - 1 and isinstance(last, AssistantMessage):
            return [*run, results_of(last.calls, ids)]
        summary: UserMessage | None = None
        messages: Sequence[Message] = request.messages
        if self._summaries is not None:
            summary, messages = self._summaries.split(messages)
        if self.window is not None:
            covered = len(request.messages) - len(messages)
            since = max(0, min(self._since - covered, len(messages) - 1))
            since = self.window.start(messages, since)
            self._since, messages = covered + since, messages[since:]
        return messages_of([summary, *messages] if summary is not None else messages)

    def _deps_of(self, session: AnySession) -> object:
        if self._deps is None:
            return session.deps
        with named(f"the deps function of {self.name}"):
            return self._deps(session)

    def __repr__(self) -> str:
        """Show the model."""
        return f"<PydanticAIModel {self.label}>"


def _wanted(request: Request) -> Any:  # noqa: ANN401 - a type of output
    """Return the type of output that a request asks for: an object by its JSON schema, or text.

    Raises:
        ConfigurationError: The schema cannot be used.
    """
    from pydantic_ai import StructuredDict  # noqa: PLC0415 - an agent has imported it
    from pydantic_ai.exceptions import UserError  # noqa: PLC0415

    if request.response_format is not None:
        described = request.response_format["json_schema"]
        name, schema = described["name"], described["schema"]
    elif request.must_call:
        described = next(one["function"] for one in request.tools if one["function"]["name"] == request.must_call)
        name, schema = described["name"], {"description": described["description"], **described["parameters"]}
    else:
        return str
    try:
        return StructuredDict(dict(schema), name=name)
    except UserError as error:
        raise ConfigurationError(f"pydantic-ai cannot ask for {name}: {error}") from error


def _completion(request: Request, result: AgentRunResult[Any]) -> Completion:
    """Return what a run has answered."""
    output: object = result.output
    written = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
    usage = Usage(
        model=result.response.model_name or "",
        input_tokens=result.usage.input_tokens,
        output_tokens=result.usage.output_tokens,
    )
    reason = result.response.finish_reason or ""
    if request.must_call:
        return Completion(arguments=written, finish_reason=reason, usage=usage)
    return Completion(text=written, finish_reason=reason, usage=usage)


def _check_agent(part: str, agent: object) -> None:
    """Refuse what is no agent, or gives something else than text.

    Raises:
        ConfigurationError: The message says what to write.
    """
    try:
        from pydantic_ai import DeferredToolRequests  # noqa: PLC0415 - an agent has imported it
        from pydantic_ai.agent import AbstractAgent  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra(part, "pydantic_ai", "pydantic-ai") from error
    if not isinstance(agent, AbstractAgent):
        raise ConfigurationError(f"{part} needs an agent: PydanticAIModel(pydantic_ai.Agent(...)), not {agent!r}")
    given: object = agent.output_type
    kinds = list(cast("list[object]", given)) if isinstance(given, (list, tuple)) else [given]
    if str not in kinds or any(kind not in (str, DeferredToolRequests) for kind in kinds):
        raise ConfigurationError(
            f"{part}: the agent's output is {given!r}, but what is spoken is text; leave output_type out, and take "
            "data from the conversation with Structured(...)"
        )
