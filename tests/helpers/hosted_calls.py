"""Whole calls with a hosted agent, on virtual time: a caller who makes sound at given times, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

import voicepipe as vp
from voicepipe.testing import RecordingOutput
from voicepipe.testing.hosted_service import tone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from voicepipe.core.part import Part

RATE = 24_000


@dataclass
class HostedCall:
    """A call that is over.

    Attributes:
        events: What the session reported, with the times.
        history: What was said.
        output: What was played.
    """

    events: list[tuple[float, vp.Event]] = field(default_factory=list[tuple[float, vp.Event]])
    history: tuple[vp.Message, ...] = ()
    output: RecordingOutput = field(default_factory=RecordingOutput)

    def of(self, *kinds: type[Any]) -> list[Any]:
        """Return the events of these kinds."""
        return [event for _, event in self.events if isinstance(event, kinds)]

    def at(self, *kinds: type[Any]) -> list[tuple[float, str]]:
        """Return when the events of these kinds came, and their names."""
        return [(round(at_s, 3), type(event).__name__) for at_s, event in self.events if isinstance(event, kinds)]

    @property
    def ends(self) -> list[tuple[str, str, str]]:
        """How each turn ended: its kind, the caller's words, and what was heard."""
        return [(type(end).__name__, end.user_text, end.heard) for end in self.of(vp.TurnEnded)]

    @property
    def said(self) -> list[str]:
        """The history in lines; of the agent what was heard, and its calls."""
        return [
            f"caller: {message.text}"
            if isinstance(message, vp.UserMessage)
            else "agent: " + message.heard + "".join(f" [{call.name} {call.status}]" for call in message.calls)
            for message in self.history
        ]


async def hold(
    agent: vp.SpeechToSpeech,
    *parts: Part,
    speaks: Sequence[tuple[float, float]] = (),
    for_s: float = 10.0,
    acts: Sequence[tuple[float, Callable[[vp.Session], Awaitable[object] | object]]] = (),
    rate: int = RATE,
    pipeline: dict[str, Any] | None = None,
    **arguments: Any,
) -> HostedCall:
    """Hold a call, and return what came of it. All times count from its beginning.

    Args:
        agent: The agent.
        parts: What follows it in the row.
        speaks: When the caller makes a sound: from, to.
        for_s: When the caller hangs up.
        acts: What the application does with the session, and when.
        rate: Samples per second of the caller's line.
        pipeline: Further arguments of the pipeline.
        arguments: Those of the session.
    """
    call, source, began_s = HostedCall(), vp.PushSource(rate), anyio.current_time()

    async def talk() -> None:
        for frame in range(round(for_s * 50)):
            await anyio.sleep_until(began_s + (frame + 1) / 50)
            is_loud = any(start_s <= frame / 50 < end_s for start_s, end_s in speaks)
            source.push(tone(0.02, rate) if is_loud else bytes(2 * rate // 50))
        source.end()

    async def act(session: vp.Session) -> None:
        for at_s, do in acts:
            await anyio.sleep_until(began_s + at_s)
            done = do(session)
            if hasattr(done, "__await__"):
                tasks.start_soon(_wait, done)

    async def _wait(done: Any) -> None:
        await done

    row = vp.Pipeline(agent, *parts, **(pipeline or {}))
    async with (
        row.session(source=source, output=call.output, **arguments) as session,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(talk)
        tasks.start_soon(act, session)
        async for event in session:
            call.events.append((anyio.current_time() - began_s, event))
        tasks.cancel_scope.cancel()
    call.history = tuple(session.history)
    return call
