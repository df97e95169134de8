"""A recorded call, held again: with recorded parts, with those of the application, or with both.

Rule 1: what is recorded is replayed in voicepipe's own words, so that any vendor's part can be, and no wire is needed.
Rule 2: nothing of the recording decides: turn-taking, the tool loop and playback are the library's own, at work again.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast, get_args

import anyio

from voicepipe.audio.source import Source
from voicepipe.call_events import CallResumed
from voicepipe.core.stage import SessionStage
from voicepipe.errors import ReplayError
from voicepipe.events import TurnEnded
from voicepipe.hearing.stt import STTStage
from voicepipe.hosted.agent import SpeechToSpeech
from voicepipe.model.model import Model
from voicepipe.model.tool_router import ToolRouter
from voicepipe.observed import ApplicationAsked
from voicepipe.session.pipeline import Pipeline
from voicepipe.speaking.tts_sink import TTSSink
from voicepipe.tools.toolbox import Toolset
from voicepipe.watching.replay.application import Application
from voicepipe.watching.replay.caller import RecordedCaller
from voicepipe.watching.replay.difference import Difference, Times
from voicepipe.watching.replay.heard_audio import HeardAudio, type_and_press
from voicepipe.watching.replay.model import RecordedModel
from voicepipe.watching.replay.notes import CallNotes
from voicepipe.watching.replay.output import ReplayOutput
from voicepipe.watching.replay.playhead import LONGER_S, Playhead
from voicepipe.watching.replay.side_by_side import side_by_side
from voicepipe.watching.replay.stages import PastStages, past_chunker
from voicepipe.watching.replay.tools import PastTool
from voicepipe.watching.replay.turns import CallTurn, turns_of
from voicepipe.watching.replay.voice import RecordedVoice

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from voicepipe.core.observer import Observer
    from voicepipe.core.part import Part
    from voicepipe.events import Event
    from voicepipe.session.session import Session
    from voicepipe.watching.replay.recorded_call import RecordedCall

__all__ = ["LIVE", "LivePart", "Replay", "Replayed"]

LivePart: TypeAlias = Literal["recogniser", "model", "tools", "voice"]
"""A part of a replay that is the application's own, at work, instead of recorded."""

LIVE: Final[tuple[LivePart, ...]] = get_args(LivePart)

CUT: Final = "the recording was cut off here"
TOO_LONG: Final = f"the replay had not ended {LONGER_S:g} s after the recorded call"


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What became of a call when it was held again.

    Attributes:
        recording: The recorded call.
        replay: The replay of it.
        unknown_sentences: What the recorded voice was given and had not said: a tone stands for it.
        live: Which parts were at work.
    """

    recording: RecordedCall
    replay: RecordedCall
    unknown_sentences: tuple[str, ...] = ()
    live: frozenset[LivePart] = frozenset()

    @cached_property
    def turns(self) -> list[CallTurn]:
        """The turns of the replay."""
        return turns_of(self.replay.events, self.replay.exchanges)

    @property
    def events(self) -> tuple[tuple[float, Event], ...]:
        """The events of the replay, with their times in seconds since the session began."""
        return self.replay.events

    @cached_property
    def difference(self) -> Difference:
        """How the replay differs from the recording; what it took, and without live parts also when that was."""
        times: Times = "spent" if self.live else "marks"
        return Difference(self.recording, self.replay, names=("recording", "replay"), times=times)

    def assert_same(self) -> None:
        """Check that the replay has the words, outcomes, tools, decisions and times of the recording.

        Raises:
            AssertionError: Something differs; the message shows both side by side.
        """
        if self.difference:
            raise AssertionError(f"the replay differs from the recording\n\n{side_by_side(self.difference)}")


class Replay:
    """A recorded call that can be held again, as often as is wanted.

    On virtual time (`voicepipe.testing.run_on_virtual_time`) that takes milliseconds, and each replay equals the others
    to the microsecond. With a live part it has to run in real time.

    Args:
        call: The recording.
        agent: The application, whose stages, tools, settings and live parts take part; None for recorded parts alone.
        live: Which of its parts are at work: "recogniser", "model", "tools", "voice". The others are recorded.
        deps: What the application's tools and stages get as their deps.
        observers: Watch the replay, a `Recorder` for example.

    Raises:
        ReplayError: The application does not fit the recording, or the recording lacks what a live part needs.
    """

    def __init__(
        self,
        call: RecordedCall,
        agent: Pipeline[Any] | None = None,
        *,
        live: Iterable[LivePart] = (),
        deps: object = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._call = call
        self._agent = agent
        self._live = _checked(live)
        self._deps = deps
        self._observers = observers
        _check_fit(call, agent, self._live)

    async def run(self) -> Replayed:
        """Hold the call again, and return what became of it.

        Raises:
            VoicepipeError: A live part failed.
        """
        call = self._call
        playhead = Playhead(call.began.at_s, is_recorded=not self._live)
        notes = _Notes(playhead)
        voice = RecordedVoice(call, playhead, strips_markup=self._strips_markup)
        pipeline = self._pipeline(playhead, voice)
        sink = cast("TTSSink", pipeline.parts[-1])
        output = ReplayOutput(call, playhead, sink.sample_rate)
        source = HeardAudio(call, playhead) if "recogniser" in self._live else None
        async with pipeline.session(
            source=source,
            output=output,
            deps=self._deps,
            facts=call.facts,
            history=call.began.history,
            observers=[notes, *self._observers],
        ) as session:
            application = Application(session, call, playhead, by_turns=self._agent is None)
            application.begin()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(application.go_on)
                if source is not None:
                    tasks.start_soon(type_and_press, session, call, playhead)
                tasks.start_soon(self._end, session, playhead)
                await session.ended.wait()
                tasks.cancel_scope.cancel()
        return Replayed(recording=call, replay=notes.call(), unknown_sentences=tuple(voice.unknown), live=self._live)

    @property
    def _strips_markup(self) -> bool | None:
        return cast("TTSSink", self._agent.parts[-1]).strips_markup if self._agent is not None else None

    async def _end(self, session: Session[Any], playhead: Playhead) -> None:
        """End the session where something ended the recorded one that is not part of the replay."""
        call = self._call
        was_asked = any(one.method == "end" for one in call.of(ApplicationAsked))
        if call.hung_up or (was_asked and not call.is_cut):
            await playhead.until(call.ended_s + LONGER_S)
            session._ending.end(TOO_LONG)
            return
        await playhead.until(call.ended_s)
        await playhead.after(call.turns_before(call.ended_s))
        if self._live:
            with anyio.move_on_after(LONGER_S):
                while (turn := session._floor.turn) is not None:
                    await turn.settled.wait()
        session._ending.end(CUT if call.reason is None else call.reason)

    def _pipeline(self, playhead: Playhead, voice: RecordedVoice) -> Pipeline[Any]:
        call, agent = self._call, self._agent
        caller, model = RecordedCaller(call, playhead), RecordedModel(call, playhead)
        if agent is None:
            offered = list(call.offered.values())
            tools = [PastTool(one, call, playhead) for one in offered]
            settings = {"say_after_s": offered[0].say_after_s, "follows_up": offered[0].follows_up} if offered else {}
            router = ToolRouter(tools, **cast("Any", settings))
            stages = [PastStages(call, playhead)] if PastStages.are_in(call) else []
            row: list[Part] = [caller, *stages, model, router, past_chunker(call), voice]
            return Pipeline(*row, detector=None, turns=call.rules, fallback=call.fallback)
        hears = "recogniser" in self._live
        row = [] if hears else [caller]
        for part in agent.parts:
            if isinstance(part, (Source, SessionStage)) and not isinstance(part, (Model, TTSSink)):
                row += [part] if hears and not isinstance(part, Source) else []
            elif isinstance(part, Model):
                row.append(part if "model" in self._live else model)
            elif isinstance(part, ToolRouter):
                row.append(part if "tools" in self._live else _with_past_tools(part, call, playhead))
            elif isinstance(part, TTSSink):
                row.append(part if "voice" in self._live else voice)
            else:
                row.append(part)
        detector = agent._detector_choice if hears else None
        return Pipeline(*row, detector=detector, turns=agent._turns, fallback=agent._fallback)


class _Notes(CallNotes):
    """Notes of a replay, from which the playhead learns when turns end.

    Args:
        playhead: Where the replay stands.
    """

    def __init__(self, playhead: Playhead) -> None:
        super().__init__()
        self._playhead = playhead

    def on_event(self, event: Event) -> None:
        """Keep an event."""
        super().on_event(event)
        if isinstance(event, TurnEnded):
            self._playhead.turn_ended(event.turn_id)


def _with_past_tools(router: ToolRouter, call: RecordedCall, playhead: Playhead) -> ToolRouter:
    """Return a router like this one, of which each tool returns what it returned.

    Tools that it would learn from a server are those that the model was offered in the recording.
    """
    twin = copy.copy(router)
    learned = [one for name, one in call.offered.items() if router._learns_tools and name not in router.tools]
    own = tuple(PastTool(tool, call, playhead) for tool in router.tools.values())
    twin._given = (*own, *(PastTool(tool, call, playhead) for tool in learned))
    twin.tools = Toolset(twin._given)
    return twin


def _checked(live: Iterable[LivePart]) -> frozenset[LivePart]:
    if isinstance(live, str):
        live = (cast("LivePart", live),)
    found = frozenset(live)
    if unknown := found - {*LIVE}:
        raise ReplayError(
            f"no part of a replay is called {', '.join(sorted(unknown))}; live are some of {', '.join(LIVE)}"
        )
    return found


def _check_fit(call: RecordedCall, agent: Pipeline[Any] | None, live: frozenset[LivePart]) -> None:
    """Refuse an application, or live parts, that do not fit the recording, and a call that no replay can begin."""
    if any(isinstance(event, CallResumed) for _, event in call.events):
        raise ReplayError(
            "the recorded call was resumed from a snapshot, which the recording does not hold; replay the recording of "
            "the worker that began it"
        )
    if call.sides == "agent":
        raise ReplayError("the recording holds the agent's side alone, so nobody would speak to it; record both sides")
    if call.sides == "caller" and not {"model", "tools", "voice"} <= live:
        raise ReplayError(
            "the recording holds the caller's side alone; let the application answer, with model, tools and voice live"
        )
    if agent is None:
        if live:
            raise ReplayError(f"a live {min(live)} is one of an application; name it: its pipeline, or app.py")
        return
    if any(isinstance(part, SpeechToSpeech) for part in agent.parts):
        raise ReplayError("a hosted agent hears and answers by itself, so nothing of the application can be replayed")
    routers = [part for part in agent.parts if isinstance(part, ToolRouter)]
    if "tools" in live and not routers and call.offered:
        raise ReplayError("the application has no tools that could be live; leave out tools, or add a ToolRouter")
    known = {name for router in routers for name in router.tools}
    if any(router._learns_tools for router in routers):
        known |= call.offered.keys()
    called = dict.fromkeys(run.asked.name for run in call.runs.values())
    if "model" not in live and (missing := [name for name in called if name not in known]):
        raise ReplayError(
            f"the application does not fit the recording, in which the model calls {', '.join(missing)}; its own tools "
            f"are {', '.join(sorted(known)) or 'none'}"
        )
    if "recogniser" in live:
        if not any(isinstance(part, STTStage) for part in agent.parts):
            raise ReplayError("the application has no recogniser that could be live; leave it out, or add an STTStage")
        if call.caller_audio is None:
            raise ReplayError(
                "the recording does not have the caller's audio, which a live recogniser needs; record both sides"
            )
