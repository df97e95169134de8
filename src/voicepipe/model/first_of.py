"""A model made of several: they are asked in order, and the first that replies is heard.

Rule 1: the next model is asked only while nothing of the reply was used; see `race`.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, cast

import anyio

from voicepipe.core.abandon import run_abandonably
from voicepipe.errors import ConfigurationError, VendorError
from voicepipe.model.hedge import check_after
from voicepipe.model.model import Completion, Model, ReplyPart, Request
from voicepipe.model.race import Race, Runner

if TYPE_CHECKING:
    from voicepipe.conversation.turn import Turn
    from voicepipe.core.channel import Outbox

__all__ = ["FirstOf"]


class FirstOf(Model):
    """Asks another model when one fails, or is late: of the same service, or of any other.

    FirstOf(LLMStreamStage(model="gpt-5.2"), LLMStreamStage(base_url="http://127.0.0.1:11434/v1", model="llama3.2"))
    FirstOf(large, small, after_s=0.8)

    Each request begins with the first model. A model that fails for a reason that may pass (`VendorError.retryable`)
    before anything of its reply was used is followed by the next one at once; its own retries come before that. Any
    other failure ends the reply. The events `RequestRetried`, `HedgeStarted` and `ModelAnswered` say what happened.

    What a service wants back with a tool call is sent to that service alone, whichever model replies later.

    Args:
        models: The models, at least two. All are opened with the pipeline.
        after_s: How many seconds a model may say nothing until the next one is asked as well, if the caller has ended
            their turn. Whichever says something first gives the reply, and the others are closed; all that were asked
            are billed. None waits for a failure.

    Raises:
        ConfigurationError: There are fewer than two models, one is no model, or the time is not positive.
    """

    def __init__(self, *models: Model, after_s: float | None = None) -> None:
        for model in models:
            if not isinstance(cast("object", model), Model):
                raise ConfigurationError(f"FirstOf takes models such as LLMStreamStage(...), not {model!r}")
        if len(models) < 2:
            raise ConfigurationError(f"FirstOf takes at least two models, not {len(models)}; write FirstOf(one, other)")
        if after_s is not None:
            check_after(after_s, "FirstOf")
        self.models = models
        self.after_s = after_s

    @property
    def label(self) -> str:  # noqa: D102 - the base class says it
        return " or ".join(model.label for model in self.models)

    async def reply(self, request: Request, outbox: Outbox[ReplyPart], turn: Turn) -> None:
        """Ask the models until one replies. See `Model.reply`. Cancelling closes the requests of all of them.

        Raises:
            VendorError: All that were asked have failed; it is the first one's error.
        """

        async def ask(model: Model, lane: Outbox[ReplyPart]) -> None:
            until, report = anyio.current_effective_deadline(), turn.session.emit
            await run_abandonably(model.reply, request, lane, turn, name=model.name, deadline=until, report=report)

        race = Race(outbox, turn, math.inf if self.after_s is None else self.after_s)
        await race.run([Runner(model.name, model.label, partial(ask, model)) for model in self.models])

    async def complete(self, request: Request) -> Completion:
        """Return the whole answer of the first model that gives one, asked one after another. See `Model.complete`."""
        first_error: VendorError | None = None
        for model in self.models:
            try:
                return await model.complete(request)
            except VendorError as error:
                first_error = first_error or error
                if not error.retryable:
                    break
        raise cast("VendorError", first_error)

    def __repr__(self) -> str:
        """Show the models and the time."""
        late = f" after {self.after_s:g} s" if self.after_s is not None else ""
        return f"<FirstOf {', '.join(map(repr, self.models))}{late}>"
