"""How a flat row of parts becomes the two halves of a session: one that listens, and one that replies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Never, cast

from voicepipe.audio.echo_path import EchoPath
from voicepipe.audio.output import Output
from voicepipe.audio.source import Source
from voicepipe.core.stage import SessionStage, Stage, can_follow, flow_of, kind_name
from voicepipe.errors import ConfigurationError, StageError, VoicepipeError
from voicepipe.flow import AudioFrame, Hearing, TextDelta, Transcript
from voicepipe.hearing.detector import Detector
from voicepipe.hearing.recogniser import Recogniser
from voicepipe.hearing.stt import STTStage
from voicepipe.hosted.agent import SpeechToSpeech
from voicepipe.model.model import Model
from voicepipe.model.tool_router import ToolRouter
from voicepipe.session.agent_row import AGENT_TURN_S, agent_of, check_agent_row
from voicepipe.speaking.tts_sink import TTSSink
from voicepipe.speaking.voice_pace import checked_start_buffer
from voicepipe.tools.tool import Tool
from voicepipe.turntaking.echo import EchoGuard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from voicepipe.audio.echo_canceller import EchoCanceller
    from voicepipe.core.call_settings import CallSettings
    from voicepipe.core.part import Part
    from voicepipe.hosted.faces import AgentVoice
    from voicepipe.turntaking.rules import TurnRules

__all__ = ["Row", "check", "compiled", "expect", "hearing_rate", "hearing_stages", "voice_of"]

ORDER: Final = "[Source] [SessionStage ...] [Stage ...] Model [ToolRouter] [Stage ...] TTSSink"

DEFAULT_HEARING_RATE: Final = 16_000


@dataclass(frozen=True, kw_only=True)
class Row:
    """A pipeline's parts by what they do: the parts of a host, or the copies of one session.

    Attributes:
        source: Where audio comes from, if the row begins with a source.
        hearing_stages: From audio to transcripts.
        detector: Looks at the source's audio to report when somebody speaks; None for no detector.
        reply_stages: From a transcript to sound; the model and its tools are one of these stages.
        speech_stages: The last reply stages: from text to sound.
        turns: How turns are taken.
        fallback: Spoken when there is no whole reply; "" for nothing.
        echo_canceller: Takes the agent's echo out of what the source records; None for nothing.
        agent: The hosted agent whose ear, mind and voice stand in this row; None in a row of recogniser, model and
            voice.
    """

    source: Source | None
    hearing_stages: tuple[SessionStage[Any, Any], ...]
    detector: Detector | None
    reply_stages: tuple[Stage[Any, Any], ...]
    turns: TurnRules
    fallback: str
    echo_canceller: EchoCanceller | None = None
    agent: SpeechToSpeech | None = None

    @property
    def router(self) -> ToolRouter:
        """The model and its tools."""
        return next(stage for stage in self.reply_stages if isinstance(stage, ToolRouter))

    @property
    def model_stages(self) -> tuple[Stage[Any, Any], ...]:
        """The model and what follows it: for a reply to nobody's words."""
        return self.reply_stages[self.reply_stages.index(self.router) :]

    @property
    def speech_stages(self) -> tuple[Stage[Any, Any], ...]:
        """The stages that turn text into sound."""
        return self.reply_stages[self.reply_stages.index(self.router) + 1 :]

    def fallback_stages(self, failure: VoicepipeError | None) -> tuple[Stage[Any, Any], ...]:
        """Return the stages that the fallback goes through: all that turn text into sound, but not the one that failed.

        A stage that sends another type than it reads cannot be left out.
        """

        def is_left_out(stage: Stage[Any, Any]) -> bool:
            read, sent = flow_of(stage)
            return isinstance(failure, StageError) and failure.part == stage.name and read == sent

        return tuple(stage for stage in self.speech_stages if not is_left_out(stage))

    @property
    def sink(self) -> TTSSink | AgentVoice:
        """The voice."""
        return cast("TTSSink | AgentVoice", self.reply_stages[-1])

    @property
    def hears_by_itself(self) -> bool:
        """Whether the first stage needs no source, as a scripted caller does not."""
        return bool(self.hearing_stages) and flow_of(self.hearing_stages[0])[0] is Never

    @property
    def hearing_rate(self) -> int:
        """Samples per second that the hearing stages take."""
        return hearing_rate(self.hearing_stages)

    def echo_path(self, output: Output) -> EchoPath | None:
        """Return the way from this output to the echo canceller; None without one."""
        return None if self.echo_canceller is None else EchoPath(self.echo_canceller, output)

    def echo_guard(self, output: Output, path: EchoPath | None, audible_until: Callable[[], float]) -> EchoGuard | None:
        """Return what tells the agent's echo from the caller; None if the microphone does not pick the agent up."""
        has_echo = self.turns.loudspeaker
        if path is not None and has_echo is None:
            return EchoGuard(audible_until, lambda: path.has_learned)
        return EchoGuard(audible_until) if (output.has_echo if has_echo is None else has_echo) else None

    def parts(self, *, hears: bool) -> Iterator[Part]:
        """Return the parts to open or attach; the hearing stages only if `hears`."""
        if self.agent is not None:
            yield self.agent
        if hears and self.echo_canceller is not None:
            yield self.echo_canceller
        yield from self.hearing_stages if hears else ()
        if hears and self.detector is not None and not self.hears_by_itself:
            yield self.detector
        yield from self.reply_stages

    def copied(self) -> Row:
        """Return a row with copies of all parts."""
        row = replace(
            self,
            hearing_stages=tuple(stage._copied() for stage in self.hearing_stages),
            detector=self.detector._copied() if self.detector is not None else None,
            reply_stages=tuple(stage._copied() for stage in self.reply_stages),
            echo_canceller=self.echo_canceller and self.echo_canceller._copied(),
        )
        return row if self.agent is None else row.with_agent(self.agent._copied())

    def with_agent(self, agent: SpeechToSpeech) -> Row:
        """Return this row with the ear, mind and voice of this copy of its agent."""
        hearing = (*self.hearing_stages[:-1], STTStage(agent._ear()))
        return replace(
            self,
            agent=agent,
            hearing_stages=hearing,
            reply_stages=(self.router.with_model(agent._mind()), agent._voice()),
        )

    def adapt(self, settings: CallSettings) -> None:
        """Adapt the copies of one session to its call.

        Raises:
            ConfigurationError: A part cannot honour a setting; the message names it.
        """
        if settings.key_terms and not self.hearing_stages:
            raise ConfigurationError(
                "this pipeline has no recogniser for key_terms; add STTStage(...) before the model, or leave them out "
                "of CallSettings"
            )
        for part in self.parts(hears=True):
            _adapt(part, settings)


def _adapt(part: Part, settings: CallSettings) -> None:
    for held in part._held():
        _adapt(held, settings)
    part.adapt(settings)


def compiled(
    parts: Sequence[Part],
    turns: TurnRules,
    fallback: str,
    detector: Detector | None = None,
    echo_canceller: EchoCanceller | None = None,
) -> Row:
    """Return the parts that `check` accepted, by what they do; the tool router takes in the model."""
    replies: list[Stage[Any, Any]] = []
    agent = agent_of(parts)
    if agent is not None:
        router = parts[-1] if isinstance(parts[-1], ToolRouter) else ToolRouter([], turn_s=AGENT_TURN_S)
        replies = [router.with_model(agent._mind()), agent._voice()]
    for part, after in zip(parts, [*parts[1:], None], strict=True):
        if isinstance(part, Model):
            router = after if isinstance(after, ToolRouter) else ToolRouter([])
            replies.append(router.with_model(part))
        elif isinstance(part, Stage) and not isinstance(part, ToolRouter):
            stage: Stage[Any, Any] = part
            replies.append(stage)
    hearing = hearing_stages(parts)
    first = parts[0]
    needs_source = not (hearing and flow_of(hearing[0])[0] is Never)
    return Row(
        source=first if isinstance(first, Source) and needs_source else None,
        hearing_stages=hearing,
        detector=detector,
        reply_stages=tuple(replies),
        turns=turns,
        fallback=fallback,
        echo_canceller=echo_canceller,
        agent=agent,
    )


def hearing_stages(parts: Sequence[Part]) -> tuple[SessionStage[Any, Any], ...]:
    """Return the parts that live as long as a session: from audio to transcripts."""
    stages = (STTStage(part._ear()) if isinstance(part, SpeechToSpeech) else part for part in parts)
    return tuple(stage for stage in stages if isinstance(stage, SessionStage))


def hearing_rate(stages: Sequence[SessionStage[Any, Any]]) -> int:
    """Return how many samples per second the hearing stages take: the recogniser's rate."""
    for stage in stages:
        if isinstance(stage, STTStage):
            return stage.recogniser.sample_rate
    return DEFAULT_HEARING_RATE


def voice_of(parts: Sequence[Part]) -> TTSSink | SpeechToSpeech:
    """Return the part with which a row that fits together speaks."""
    return agent_of(parts) or cast("TTSSink", parts[-1])


def check(parts: Sequence[Part]) -> None:
    """Refuse a row that does not fit together.

    Raises:
        ConfigurationError: The message names the two neighbours that do not fit, and what to do.
    """
    for part in parts:
        _check_kind(part)
    if (agent := agent_of(parts)) is not None:
        check_agent_row(parts, agent)
        return
    if sum(isinstance(part, Model) for part in parts) != 1:
        raise ConfigurationError(f"a pipeline needs exactly one model, e.g. LLMStreamStage(...); the order is {ORDER}")
    if not isinstance(parts[-1], TTSSink):
        raise ConfigurationError(
            f"a pipeline ends with a TTSSink, but the last part is {parts[-1].name}; the order is {ORDER}"
        )
    for before, after in pairwise(parts):
        _check_pair(before, after)
    first_read = AudioFrame if isinstance(parts[0], Source) else _flow(parts[0])[0]
    if first_read not in (AudioFrame, Transcript, Never):
        raise ConfigurationError(
            f"{parts[0].name} reads {kind_name(first_read)}, but no part before it sends that; the order is {ORDER}"
        )


def expect(name: str, value: object, kind: type) -> None:
    """Refuse an argument that is neither None nor of its type."""
    if isinstance(value, type):
        raise ConfigurationError(f"{name}: {value.__name__} is a class; write {value.__name__}(...)")
    if value is not None and not isinstance(value, kind):
        raise ConfigurationError(f"{name} must be of the type {kind.__name__}, not {type(value).__name__}")


def _check_kind(part: Any) -> None:  # noqa: ANN401 - an application may have passed anything
    if isinstance(part, type):
        raise ConfigurationError(f"{part.__name__} is a class; write {part.__name__}(...)")
    if isinstance(part, Output):
        raise ConfigurationError(f"{part.name} is an output; give it as Pipeline(..., output={part.name}(...))")
    if isinstance(part, Tool):
        raise ConfigurationError(f"{part.name} is a tool; put ToolRouter([{part.name}]) directly after the model")
    if isinstance(part, Detector):
        raise ConfigurationError(f"{part.name} is a detector; give it as Pipeline(..., detector={part.name}(...))")
    if isinstance(part, Recogniser):
        raise ConfigurationError(f"{part.name} is a recogniser; write STTStage({part.name}(...))")
    if isinstance(part, TTSSink):
        checked_start_buffer(part.name, part.start_buffer_s)
    if not isinstance(part, (Source, SessionStage, Stage, Model, SpeechToSpeech)):
        hint = "; decorate it with @stage" if callable(part) else f"; the order is {ORDER}"
        raise ConfigurationError(f"{getattr(part, '__name__', repr(part))} is not a part of a pipeline{hint}")


def _check_pair(before: Part, after: Part) -> None:
    if isinstance(before, TTSSink):
        raise ConfigurationError(
            f"a TTSSink is the last part, but {after.name} follows {before.name}; wrap the output instead"
        )
    if isinstance(after, Source):
        raise ConfigurationError(f"a source comes first, but {after.name} follows {before.name}")
    if isinstance(after, ToolRouter) and not isinstance(before, Model):
        raise ConfigurationError(f"ToolRouter must directly follow a model, but it follows {before.name}")
    if isinstance(after, SessionStage) and not isinstance(before, (Source, SessionStage)):
        raise ConfigurationError(
            f"{after.name} lives for the whole session, so it cannot follow {before.name}, which lives for one turn; "
            f"the order is {ORDER}"
        )
    sent, read = _flow(before)[1], _flow(after)[0]
    # Of all that the session's stages send, a turn's stages get the final transcript.
    if sent == Hearing and not isinstance(after, SessionStage):
        sent = Transcript
    if read is not Never and not can_follow(sent, read):
        raise ConfigurationError(
            f"{after.name} cannot follow {before.name}: {before.name} sends {kind_name(sent)}, "
            f"{after.name} reads {kind_name(read)}; the order is {ORDER}"
        )


def _flow(part: Part) -> tuple[Any, Any]:
    if isinstance(part, Source):
        return Never, AudioFrame
    if isinstance(part, Model):
        return Transcript, TextDelta
    if isinstance(part, ToolRouter):
        return TextDelta, TextDelta  # it takes in the model before it
    return flow_of(part)
