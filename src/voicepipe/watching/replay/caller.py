"""The recorded caller: turn-taking is given what it was given, at the same times."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Never

import anyio

from voicepipe.core.stage import SessionStage
from voicepipe.flow import EarlyTranscript, Hearing, SpeechEnded, SpeechStarted, Transcript
from voicepipe.hearing.recogniser import NoRecogniser
from voicepipe.listening_events import (
    AudioDropped,
    AudioResumed,
    AudioStopped,
    DetectorMissing,
    MicrophoneLost,
    RecogniserBehind,
    RecogniserLost,
)
from voicepipe.watching.replay.heard_audio import type_in

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voicepipe.core.call_settings import CallSettings
    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.core.context import AnySession
    from voicepipe.session.session import Session
    from voicepipe.watching.replay.playhead import Playhead
    from voicepipe.watching.replay.recorded_call import RecordedCall

__all__ = ["RecordedCaller"]

OF_LISTENING = (
    *(AudioDropped, AudioResumed, AudioStopped, DetectorMissing),
    *(MicrophoneLost, RecogniserBehind, RecogniserLost),
)
"""Events about the caller's audio."""


class RecordedCaller(SessionStage[Never, Hearing]):
    """Stands in for source, recogniser and detector: what they gave, when they gave it.

    Args:
        call: The recording.
        playhead: Where its replay stands.

    Attributes:
        recogniser: Has the properties of the recorded one on which turn-taking depends.
    """

    def __init__(self, call: RecordedCall, playhead: Playhead) -> None:
        self.recogniser = _RecordedRecogniser(is_closed=call.began.is_closed)
        self._call = call
        self._playhead = playhead

    def adapt(self, settings: CallSettings) -> None:
        """Take every setting: the caller has spoken."""

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Take as long as the recorded session took until it listened."""
        del session
        await anyio.sleep(self._call.began.at_s)
        yield

    async def run(self, inbox: Inbox[Never], outbox: Outbox[Hearing], session: Session) -> None:
        """Say again what was said, and hang up as it was hung up."""
        del inbox
        events = [(at_s, event) for at_s, event in self._call.events if isinstance(event, OF_LISTENING)]
        async with anyio.create_task_group() as tasks:
            for heard in self._call.heard:
                while events and events[0][0] <= heard.at_s:
                    await self._playhead.until(events[0][0])
                    session.emit(replace(events.pop(0)[1]))
                await self._playhead.until(heard.at_s, steps=True)  # turn-taking takes one report after the other
                await self._playhead.after(self._call.turns_before(heard.at_s, heard.hearing))
                if heard.is_typed and isinstance(heard.hearing, Transcript):
                    tasks.start_soon(type_in, session, heard.hearing.text)
                else:
                    await outbox.send(_on_clock(heard.hearing, self._playhead))
            for at_s, event in events:
                await self._playhead.until(at_s)
                session.emit(replace(event))
            if not self._call.hung_up:
                await anyio.sleep_forever()
            await self._playhead.until(self._call.ended_s)
            await self._playhead.after(self._call.turns_before(self._call.ended_s))
            tasks.cancel_scope.cancel()


class _RecordedRecogniser(NoRecogniser):
    """What a session asks of its recogniser has been answered in the recording.

    Args:
        is_closed: As in `Recogniser`.
    """

    def __init__(self, *, is_closed: bool) -> None:
        self.is_closed = is_closed

    def update(self, **changes: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Take every hint."""

    def adapt(self, settings: CallSettings) -> None:
        """Take every setting."""


def _on_clock(hearing: Hearing, playhead: Playhead) -> Hearing:
    """Return what was heard with its times on the loop's clock."""
    at = playhead.on_clock
    match hearing:
        case SpeechStarted(at_s=at_s, until_s=until_s):
            return SpeechStarted(at_s=at(at_s), until_s=None if until_s is None else at(until_s))
        case SpeechEnded(at_s=at_s):
            return SpeechEnded(at_s=at(at_s))
        case Transcript(speech_ended_s=ended_s, endpoint_s=endpoint_s, words=words):
            placed = tuple(replace(word, start_s=at(word.start_s), end_s=at(word.end_s)) for word in words)
            return Transcript(hearing.text, at(ended_s), at(endpoint_s), placed)
        case EarlyTranscript(text=text, stable=stable):
            return EarlyTranscript(text, stable)
        case _:
            return replace(hearing)
