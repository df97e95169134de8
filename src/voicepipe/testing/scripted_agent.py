"""An agent that follows a script in place of a hosted one, within the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from voicepipe.errors import VendorError
from voicepipe.hosted.agent import SpeechToSpeech
from voicepipe.hosted.line import AgentConnection
from voicepipe.hosted.messages import (
    CallerAudio,
    CallerTyped,
    SetInterruptible,
    ShowResults,
    Speak,
    StopReply,
    Suggest,
)
from voicepipe.testing.hosted_service import Asked, HostedService, ServiceHabits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voicepipe.core.call_settings import CallSettings
    from voicepipe.hosted.messages import AgentEvent, AgentRequest, AgentSetup
    from voicepipe.testing.hosted_service import AgentReply

__all__ = ["ScriptedAgent"]


class ScriptedAgent(SpeechToSpeech):
    """Stands in for a hosted agent. It hears the caller's sound, and takes the words and its replies from a script.

    ScriptedAgent(["Where is my order?"], [Calls("get_order", {"id": 42}), Says("It has shipped.")])

    Args:
        hears: What the caller says, one text for each stretch of sound; "" is a noise.
        replies: What the agent does, in order, or a function of what it is asked. A text that it is to say it says
            without a script.
        greeting: What it says first.
        habits: How the service behaves.

    Attributes:
        is_interruptible: Whether the caller's voice stops a reply.
        ignores_stops: Whether a reply goes on although it is to stop, as with a service that knows no such request.
        failures: Why the next attempts to connect fail, once there was a connection.
        setups: What each connection began with.
        services: The service's side of each connection.
        sent: What the service was sent, audio left out, with the time.
    """

    def __init__(
        self,
        hears: Sequence[str] = (),
        replies: Sequence[AgentReply] | Callable[[Asked], AgentReply] = (),
        *,
        greeting: str = "",
        habits: ServiceHabits = ServiceHabits(),  # noqa: B008 - frozen
        sample_rate: int = 24_000,
    ) -> None:
        self.sample_rate = sample_rate
        self.repeats_tags = habits.repeats_tags
        self.has_greeting = bool(greeting)
        self.fills_silence = True
        self.setups: list[AgentSetup] = []
        self.services: list[HostedService] = []
        self.sent: list[tuple[float, AgentRequest]] = []
        self.failures: list[VendorError] = []
        self.is_interruptible = True
        self.ignores_stops = False
        self._script = hears, replies, habits
        self._greeting = greeting

    def adapt(self, settings: CallSettings) -> None:
        """Take every setting: a script stands for any service."""

    async def connect(self, setup: AgentSetup) -> AgentConnection:
        """Begin a session of the scripted service, or raise the next of `failures`."""
        if self.services and self.failures:
            raise self.failures.pop(0)
        hears, replies, habits = self._script
        service = HostedService(hears, replies, habits, sample_rate=self.sample_rate)
        service.is_interruptible = self.is_interruptible
        service.greeting = self._greeting if setup.greets else ""
        self.setups.append(setup)
        self.services.append(service)
        return _Connection(service, self.sent, ignores_stops=self.ignores_stops)

    def hang_up(self) -> None:
        """Let the service cut the newest connection."""
        self.services[-1].hang_up()


class _Connection(AgentConnection):
    def __init__(self, service: HostedService, sent: list[tuple[float, AgentRequest]], *, ignores_stops: bool) -> None:
        self._ignores_stops = ignores_stops
        self._service = service
        self._sent = sent

    async def keep(self) -> None:
        await self._service.run()

    async def send(self, request: AgentRequest) -> None:
        service = self._service
        if not isinstance(request, CallerAudio):
            self._sent.append((anyio.current_time(), request))
        match request:
            case CallerAudio(pcm=pcm):
                service.hear(pcm)
            case CallerTyped(text=text, tag=tag):
                service.ask(Asked("typed", text, tag=tag))
            case Suggest(note=note, tag=tag):
                service.ask(Asked("note", note, tag=tag))
            case Speak(text=text, tag=tag):
                service.ask(Asked("say", text, tag=tag))
            case ShowResults(results=results, tag=tag, are_late=are_late):
                service.show(results, tag, are_late=are_late)
            case StopReply(is_over=False) if not self._ignores_stops:
                service.stop()
            case SetInterruptible(is_interruptible=is_interruptible):
                service.is_interruptible = is_interruptible
            case _:
                pass

    async def receive(self) -> list[AgentEvent]:
        try:
            return [await self._service.event()]
        except anyio.EndOfStream:
            raise VendorError("the scripted service has hung up", vendor="scripted", retryable=True) from None

    def abort(self) -> None:
        self._service.hang_up()

    async def aclose(self) -> None:
        self._service.hang_up()
