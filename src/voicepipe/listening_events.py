"""Events of listening: audio that is late or missing, what is not the caller, devices and services that are lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from voicepipe.flow import Stamped

if TYPE_CHECKING:
    from voicepipe.errors import VoicepipeError

__all__ = [
    "AgentLost",
    "AgentRestored",
    "AudioDropped",
    "AudioResumed",
    "AudioStopped",
    "DetectorMissing",
    "EchoIgnored",
    "MicrophoneLost",
    "RecogniserBehind",
    "RecogniserLost",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLost(Stamped):
    """The connection to a hosted agent broke, and is being restored; what the caller says meanwhile is not heard.

    What the agent was saying fails its turn. If the connection cannot be restored, the session ends with an error.

    Attributes:
        error: Why.
    """

    error: VoicepipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRestored(Stamped):
    """A hosted agent is there again after an `AgentLost`.

    Attributes:
        was_resumed: Whether the service goes on with its session. Otherwise it begins a new one, and knows of the
            conversation what the history holds.
        after_s: For how many seconds it was lost.
    """

    was_resumed: bool
    after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioDropped(Stamped):
    """The recogniser lagged behind, so the oldest waiting audio was dropped.

    Attributes:
        seconds: How much since the previous event of this kind.
    """

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioStopped(Stamped):
    """No audio has come from the source for 2 s, not even silence. From here on the recogniser is given silence.

    A muted microphone does this, a line that is held, a network that is gone; a caller who is silent does not.

    Attributes:
        at_s: Where the audio ended; when the session began to listen, if none came at all.
    """

    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioResumed(Stamped):
    """Audio comes again after an `AudioStopped`. What arrives late now is still heard, up to 10 s of it.

    Attributes:
        after_s: For how many seconds none came.
    """

    after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorMissing(Stamped):
    """No speech detector is installed, so the start of speech is known only when the recogniser reports it.

    Emitted once, when a call with audio begins. A service reports speech 0.5 s late or more, and the agent talks over
    the caller for so long.

    Attributes:
        extra: The extra that installs one: `pip install 'voicepipe[detector]'`.
    """

    extra: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoIgnored(Stamped):
    """What the recogniser understood is taken for the agent's own voice, and is not answered.

    Reported in place of a `Transcript`, and only with `TurnRules(loudspeaker=True)` or while an echo canceller learns.

    Attributes:
        text: What the recogniser understood.
    """

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MicrophoneLost(Stamped):
    """The microphone disappeared, and is opened again when it comes back; what the caller says meanwhile is lost.

    If it does not come back, the session ends with an error.

    Attributes:
        error: What happened to it.
    """

    error: VoicepipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class RecogniserBehind(Stamped):
    """A recogniser of whole utterances needed more than a second for the final words after the end of a turn.

    Its model is busy with other calls, or its service is slow. The agent answers later by as much.

    Attributes:
        late_s: From the end of the turn to its words.
    """

    late_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecogniserLost(Stamped):
    """The recogniser's connection broke, and is being restored; what the caller says meanwhile is recognised then.

    If it cannot be restored, the session ends with an error.

    Attributes:
        error: Why.
    """

    error: VoicepipeError
