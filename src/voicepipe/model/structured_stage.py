"""Turns what the caller said into an object of the application, alongside the spoken reply or before it.

Rule 1: a result alongside the reply never delays it, and its failure ends neither the turn nor the session.
Rule 2: if a result before the reply fails, the caller still hears a reply.
Rule 3: a draft emits no event and runs no function of the application before its turn is committed.
"""

from __future__ import annotations

import asyncio
import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio

from voicepipe.conversation.turn_state import TurnState
from voicepipe.core.abandon import run_abandonably
from voicepipe.core.failures import is_fault
from voicepipe.core.log import log
from voicepipe.core.stage import Stage
from voicepipe.errors import ConfigurationError, StageError, VoicepipeError
from voicepipe.events import StructuredDone, StructuredFailed
from voicepipe.flow import Transcript
from voicepipe.history import UserMessage
from voicepipe.model.question import Form, Question, model_to_ask
from voicepipe.model_events import ModelUsage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pydantic import BaseModel

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.history import Message
    from voicepipe.model.model import Model, Usage

__all__ = ["Structured"]

DEADLINE_S: Final = 8.0
"""From the transcript to the validated object; with a gate, this is the longest silence before the reply begins."""

T = TypeVar("T", bound="BaseModel")


class Structured(Stage[Transcript, Transcript]):
    """Asks a language model of its own for data about the conversation, each time the caller has said something.

    With `on_result` this happens alongside the reply: the transcript is passed on immediately. With `gate` it happens
    before the reply: the transcript is passed on if the gate allows it. A gate that returns False answers by itself,
    e.g. with `turn.session.say(...)` and `turn.session.end(after_reply=True)`; the turn then ends as `TurnEmpty`,
    without a fallback.

    Both are functions of the result and the turn, plain or async, and are called once the caller's words are final. A
    plain one must not block. The session emits `StructuredDone` before the call. It emits `StructuredFailed` if there
    is no result, or if the function raises.

    Args:
        output: A pydantic model class, see `structured`.
        on_result: Called with the result. Once it has begun, only the session's end cancels it, after 1 s.
        gate: Called with the result; returns whether the model may reply. Cancelled with the turn. Without a result,
            the model replies.
        llm: The language model, open as long as the pipeline is; `LLMStreamStage()` by default.
        instructions: The system prompt; "" for the language model's own.
        form: See `structured`.
        deadline_s: Seconds for the result, including a second try; a gate then has as long again to decide.
        survives_interruption: With `on_result`: whether to go on when the caller interrupts before there is a result.

    Raises:
        ConfigurationError: The class or an option is invalid, or not exactly one of `on_result` and `gate` is given.
    """

    def __init__(
        self,
        output: type[T],
        *,
        on_result: Callable[[T, Turn], Awaitable[object] | object] | None = None,
        gate: Callable[[T, Turn], Awaitable[bool] | bool] | None = None,
        llm: Model | None = None,
        instructions: str = "",
        form: Form = "response_format",
        deadline_s: float = DEADLINE_S,
        survives_interruption: bool = False,
    ) -> None:
        if (on_result is None) == (gate is None):
            raise ConfigurationError(
                "Structured: give either on_result, to classify alongside the reply, or gate, to classify before it"
            )
        if gate is not None and survives_interruption:
            raise ConfigurationError("Structured: a gate ends with its turn; use survives_interruption with on_result")
        for role, function in (("on_result", on_result), ("gate", gate)):
            if function is not None and not callable(function):
                raise ConfigurationError(f"Structured: {role} must be a function, not {function!r}")
        self._question = Question(output, instructions=instructions, form=form, deadline_s=deadline_s)
        self._on_result: Callable[[Any, Turn], object] | None = on_result
        self._gate: Callable[[Any, Turn], object] | None = gate
        self._survives_interruption = survives_interruption
        self._never_waits = gate is None
        self.llm = model_to_ask(llm)

    @property
    def name(self) -> str:  # noqa: D102 - the base class says it
        return f"Structured({self._question.name})"

    async def run(self, inbox: Inbox[Transcript], outbox: Outbox[Transcript], turn: Turn) -> None:
        """Pass the transcript on: immediately, or if the gate allows it."""
        async for transcript in inbox:
            # An earlier stage may have changed the words.
            messages = (*turn.messages[:-1], UserMessage(transcript.text))
            if self._gate is not None:
                verdict = await self._verdict(self._gate, messages, turn)
                if verdict is not False:
                    await outbox.send(transcript)
                if isinstance(verdict, VoicepipeError):
                    await turn.committed.wait()
                    self._fail(turn, verdict)
            elif self._on_result is not None:
                await outbox.send(transcript)
                turn.session.start_call(partial(self._alongside, self._on_result, messages, turn))

    # --- before the reply ---------------------------------------------------------------------------------------------

    async def _verdict(
        self, gate: Callable[[Any, Turn], object], messages: tuple[Message, ...], turn: Turn
    ) -> bool | VoicepipeError:
        """Return what the gate returned, or the error that replaces it."""
        result = await self._result(messages, turn)
        if isinstance(result, VoicepipeError):
            return result
        await turn.committed.wait()
        turn.emit(StructuredDone(turn_id=turn.turn_id, result=result))
        answer: object = None
        with anyio.move_on_after(self._question.deadline_s) as limit:
            answer = await self._called("gate", gate, result, turn)
        if isinstance(answer, (bool, StageError)):
            return answer
        if limit.cancelled_caught:
            return self._error(f"gate did not return within {self._question.deadline_s:g} s")
        return self._error(f"gate returned {type(answer).__name__}; return True to let the model reply, or False")

    # --- alongside the reply ------------------------------------------------------------------------------------------

    async def _alongside(
        self, on_result: Callable[[Any, Turn], object], messages: tuple[Message, ...], turn: Turn
    ) -> None:
        """Run in the session's task group, independently of the turns."""
        try:
            result = await self._result_of_kept(messages, turn)
            if isinstance(result, VoicepipeError):
                self._fail(turn, result)
            elif result is not None:
                turn.emit(StructuredDone(turn_id=turn.turn_id, result=result))
                answer = await self._called("on_result", on_result, result, turn)
                if isinstance(answer, StageError):
                    self._fail(turn, answer)
        except anyio.get_cancelled_exc_class():
            log.warning("turn %d: the session ended before %s was done", turn.turn_id, self.name)
            raise

    async def _result_of_kept(self, messages: tuple[Message, ...], turn: Turn) -> BaseModel | VoicepipeError | None:
        """Return the result, or its error, once the turn is committed; None if the turn was dropped."""
        kept = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._stop_with, turn, tasks.cancel_scope)
            result = await self._result(messages, turn)
            await turn.committed.wait()  # never returns if the turn was dropped in the same step
            if not self._is_dropped(turn):
                kept = result
            tasks.cancel_scope.cancel()
        return kept

    async def _stop_with(self, turn: Turn, scope: anyio.CancelScope) -> None:
        await turn.settled.wait()
        if self._is_dropped(turn):
            scope.cancel()

    def _is_dropped(self, turn: Turn) -> bool:
        """Return whether the turn was rolled back, or interrupted by the caller."""
        # The end of the session is not an interruption: what runs then has as long to finish as a writing tool.
        was_interrupted = turn.scope.cancel_called and not turn.session.ended.is_set()
        return turn.state is TurnState.ROLLED_BACK or (was_interrupted and not self._survives_interruption)

    # --- both ---------------------------------------------------------------------------------------------------------

    async def _result(self, messages: tuple[Message, ...], turn: Turn) -> BaseModel | VoicepipeError:
        """Return the result, or the error that replaces it."""

        def counted(usage: Usage) -> None:
            event = ModelUsage(
                turn_id=turn.turn_id,
                model=usage.model or self.llm.name,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
            )
            turn.emit(event)

        try:
            with self._question.deadline(self.llm):
                return await self._question.ask(self.llm, messages, counted)
        except VoicepipeError as error:
            return error

    async def _called(
        self, role: str, function: Callable[[Any, Turn], object], result: BaseModel, turn: Turn
    ) -> object:
        """Return the result of a function of the application, or a `StageError` if it raises."""
        try:
            return await run_abandonably(_awaited, function, result, turn, name=self.name, report=turn.session.emit)
        except BaseException as error:
            if not is_fault(error):
                raise
            was_cancelled = isinstance(error, asyncio.CancelledError)
            what = "was cancelled from inside" if was_cancelled else f"raised {type(error).__name__}"
            return self._error(f"{role} {what}", error)

    def _error(self, problem: str, cause: BaseException | None = None) -> StageError:
        error = StageError(f"{self.name}: {problem}", part=self.name)
        error.__cause__ = cause
        return error

    def _fail(self, turn: Turn, error: VoicepipeError) -> None:
        """Emit a failure; its message does not contain what was said."""
        turn.emit(StructuredFailed(turn_id=turn.turn_id, error=error))

    def __repr__(self) -> str:
        """Show the class, the time and the language model."""
        return f"<{self.name} {'before' if self._gate else 'alongside'} the reply, from {self.llm!r}>"


async def _awaited(function: Callable[[Any, Turn], object], result: BaseModel, turn: Turn) -> object:
    answer = function(result, turn)
    return await answer if inspect.isawaitable(answer) else answer
