"""Lets a recogniser hear something, as a session does, and notes what it reports."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

import anyio

from voicepipe.core.channel import Channel
from voicepipe.flow import AudioFrame, EarlyTranscript, Hearing, SpeechEnded, SpeechStarted, Transcript
from voicepipe.session.listening import LAST_WORDS_S
from voicepipe.testing.conformance.cutting import Counted
from voicepipe.testing.conformance.trial import Fails

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voicepipe.hearing.recogniser import Recogniser
    from voicepipe.testing.conformance.blocking import Spent
    from voicepipe.testing.conformance.calls import Call

__all__ = ["EVENTS", "FRAMES", "SPEECH", "Heard", "Speech", "began_s", "hear", "note", "speak"]

KINDS: Final = (SpeechStarted, SpeechEnded, EarlyTranscript, Transcript)
FRAME_S: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """One turn of a caller.

    Attributes:
        start_s: When the caller begins to speak.
        end_s: When the last word has ended.
        length_s: How long the audio is; it ends with enough silence to end the turn.
        pcm: 16-bit mono PCM at the recogniser's rate; a tone in place of speech if it is empty, for a service that
            hears what its script says.
        text: What is understood; "" if any words are right.
    """

    start_s: float = 0.5
    end_s: float = 1.5
    length_s: float = 3.5
    pcm: bytes = b""
    text: str = ""

    def at(self, sample_rate: int) -> bytes:
        """Return the audio."""
        if self.pcm:
            return self.pcm

        def samples(seconds: float) -> int:
            return round(seconds * sample_rate)

        before, during = samples(self.start_s), samples(self.end_s) - samples(self.start_s)
        wave = b"\x00\x10" * 20 + b"\x00\xf0" * 20
        tone = (wave * (during // 40 + 1))[: 2 * during]
        return bytes(2 * before) + tone + bytes(2 * (samples(self.length_s) - before - during))


SPEECH: Final = Speech()


@dataclass
class Heard:
    """What came for some audio.

    Attributes:
        began_s: When the first sample was spoken.
        events: What was reported, with the time.
        ended_s: When `recognise` returned.
    """

    began_s: float
    events: list[tuple[float, Hearing]] = field(default_factory=list[tuple[float, Hearing]])
    ended_s: float = 0.0

    @property
    def transcripts(self) -> list[Transcript]:
        """The final transcripts."""
        return [event for _, event in self.events if isinstance(event, Transcript)]


async def hear(
    call: Call[Recogniser],
    pcm: bytes,
    *,
    lengths_s: Sequence[float] = (FRAME_S,),
    force_at_s: float = math.inf,
    spent: Callable[[Spent], None] | None = None,
) -> Heard:
    """Let the recogniser hear audio as a session does, and return what it reports.

    Args:
        call: The call.
        pcm: The audio.
        lengths_s: How long the frames are, in turn.
        force_at_s: When it is asked to end the turn.
        spent: As `Counted` takes it.
    """
    part, heard = call.part, Heard(began_s(call.part, pcm))
    frames, events = Channel[AudioFrame](FRAMES), Channel[Hearing](EVENTS)
    raised: list[Exception] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(speak, heard, frames, part, pcm, lengths_s, force_at_s)
        tasks.start_soon(note, heard, events)
        try:
            with anyio.fail_after(len(pcm) / 2 / part.sample_rate + LAST_WORDS_S):
                await Counted(part.recognise(frames, events, call.session), spent=spent)
        except TimeoutError:
            raised.append(
                Fails(
                    f"expected recognise to return within {LAST_WORDS_S:g} s of the caller's hang-up, found that it "
                    "goes on; return when the inbox ends"
                )
            )
        except Exception as error:  # noqa: BLE001 - raised below, without a group around it
            raised.append(error)
        heard.ended_s = anyio.current_time()
        events.close()
        frames.close_receiver()
    if raised:
        raise raised[0]
    for _, event in heard.events:
        if not isinstance(cast("object", event), KINDS):
            raise Fails(f"expected what a recogniser reports, found {type(event).__name__}; see voicepipe.Hearing")
    return heard


def began_s(part: Recogniser, pcm: bytes) -> float:
    """Return when audio begins: now, or on a loop in real time so long ago that nobody has to wait for it."""
    is_virtual = getattr(asyncio.get_running_loop(), "is_virtual", False)
    return anyio.current_time() - (0.0 if is_virtual else len(pcm) / 2 / part.sample_rate)


async def speak(
    heard: Heard,
    frames: Channel[AudioFrame],
    part: Recogniser,
    pcm: bytes,
    lengths_s: Sequence[float] = (FRAME_S,),
    force_at_s: float = math.inf,
) -> None:
    """Send audio as it is spoken: a sample exists once it was spoken."""
    at, number, is_forced = 0, 0, False
    with suppress(anyio.BrokenResourceError):  # it has stopped listening
        while at < len(pcm):
            size = 2 * round(lengths_s[number % len(lengths_s)] * part.sample_rate)
            piece, start_s = pcm[at : at + size], heard.began_s + at / 2 / part.sample_rate
            at, number = at + len(piece), number + 1
            now = heard.began_s + at / 2 / part.sample_rate
            await anyio.sleep_until(now)
            await frames.send(AudioFrame(pcm=piece, sample_rate=part.sample_rate, start_s=start_s))
            if not is_forced and now - heard.began_s >= force_at_s:
                is_forced = True
                part.force_endpoint()
        frames.close()


async def note(heard: Heard, events: Channel[Hearing]) -> None:
    """Note what is reported, until `events` is closed."""
    async for event in events:
        heard.events.append((anyio.current_time(), event))


FRAMES: Final = 500
EVENTS: Final = 64
