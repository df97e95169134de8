"""Parts that follow a script in place of a vendor: real implementations, without any randomness.

They work on virtual time and in real time. Pass them to `Pipeline.replace` or build a pipeline of them.
"""

from __future__ import annotations

import math
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Never, cast

import anyio

from voicepipe.audio.output import ClockedOutput
from voicepipe.core.stage import SessionStage
from voicepipe.errors import IncompleteReply, RateLimited, VendorError
from voicepipe.flow import (
    AudioFrame,
    Digit,
    EarlyTranscript,
    Hearing,
    Sentence,
    SpeechEnded,
    SpeechStarted,
    Transcript,
    WordMark,
)
from voicepipe.hearing.endpointing import EndpointRequests
from voicepipe.hearing.stt import Recogniser
from voicepipe.model.model import Completion, Model, ReplyPart, Request
from voicepipe.speaking.tts_sink import TTSSink
from voicepipe.testing.script import Breaks, ChatRequest, Piece, Refuses, Reply, Script, parse_request, schedule
from voicepipe.vendors.openai.answer import Answer
from voicepipe.vendors.openai.conversation_json import messages_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from typing import Self

    from pydantic import JsonValue

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.call_settings import CallSettings
    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.session.session import Session

__all__ = ["RecordingOutput", "ScriptedModel", "ScriptedRecogniser", "ScriptedUser", "ScriptedVoice"]


FIRST_WORD_S: Final = 0.4
HEARD_AFTER_S: Final = 0.3
"""When a recogniser guesses the first word, and how long after the last one it is sure."""


class _CallerScript:
    """A script of what the recogniser reports about the caller, in seconds from the beginning."""

    def __init__(self) -> None:
        self._script: list[tuple[float, Callable[[float], Hearing] | None]] = []

    def says(self, text: str, *, at_s: float, speech_s: float = 0.0, silence_s: float = 0.0) -> Self:
        """Let the caller say something; its final transcript comes at `at_s`.

        Args:
            text: The words.
            at_s: When the transcript comes.
            speech_s: How long the words took; more than 0 also reports when speech began and ended.
            silence_s: The silence between the last word and the transcript.
        """
        ended_s = at_s - silence_s
        if speech_s:
            self._script.append((ended_s - speech_s, lambda now: SpeechStarted(at_s=now)))
            self._script.append((ended_s, lambda now: SpeechEnded(at_s=now)))
        self._script.append((at_s, lambda now: Transcript(text, now - silence_s, now)))
        return self

    def guesses(self, text: str, *, at_s: float, stable: bool = True) -> Self:
        """Report an early transcript at `at_s`."""
        self._script.append((at_s, lambda _now: EarlyTranscript(text, stable)))
        return self

    def coughs(self, *, at_s: float, for_s: float = 0.3) -> Self:
        """Let the caller make a sound at `at_s` in which there are no words."""
        self._script.append((at_s, lambda now: SpeechStarted(at_s=now)))
        self._script.append((at_s + for_s, lambda now: SpeechEnded(at_s=now)))
        return self

    def hums(self, text: str, *, at_s: float, for_s: float = 0.4) -> Self:
        """Let the caller hum "mhm" or another `text` while they listen; it is recognised 0.3 s after its end."""
        return self.says(text, at_s=at_s + for_s + HEARD_AFTER_S, speech_s=for_s, silence_s=HEARD_AFTER_S)

    def interrupts(self, text: str, *, at_s: float, for_s: float = 1.0) -> Self:
        """Let the caller begin to speak at `at_s`.

        The first word is guessed 0.4 s later, all of them at their end, and recognised 0.3 s after that.
        """
        self.guesses(text.split(maxsplit=1)[0], at_s=at_s + min(FIRST_WORD_S, for_s), stable=False)
        self.guesses(text, at_s=at_s + for_s, stable=False)
        return self.says(text, at_s=at_s + for_s + HEARD_AFTER_S, speech_s=for_s, silence_s=HEARD_AFTER_S)

    def presses(self, keys: str, *, at_s: float, every_s: float = 0.25) -> Self:
        """Let the caller press keys of their telephone, the first one at `at_s`."""
        for count, key in enumerate(keys):
            self._script.append((at_s + count * every_s, partial(_pressed, key)))
        return self

    def hangs_up(self, *, at_s: float) -> Self:
        """Let the caller hang up at `at_s`."""
        self._script.append((at_s, None))
        return self

    def _in_order(self) -> list[tuple[float, Callable[[float], Hearing] | None]]:
        return sorted(self._script, key=lambda line: line[0])

    def __repr__(self) -> str:
        """Show how long the script is."""
        return f"<{type(self).__name__} {len(self._script)} events>"


def _pressed(key: str, now: float) -> Digit:
    del now
    return Digit(key)


class ScriptedUser(_CallerScript, SessionStage[Never, Hearing]):
    """Stands in for source and recogniser: what the caller says, by the session's clock.

    user = ScriptedUser().says("Weather?", at_s=0.5).hums("mhm", at_s=2.0).hangs_up(at_s=5.0)
    """

    async def run(self, inbox: Inbox[Never], outbox: Outbox[Hearing], session: Session) -> None:
        """Follow the script; without `hangs_up` the caller stays on the line."""
        del inbox, session
        began_s = anyio.current_time()
        for at_s, made in self._in_order():
            await anyio.sleep_until(began_s + at_s)
            if made is None:
                return
            await outbox.send(made(anyio.current_time()))
        await anyio.sleep_forever()


class ScriptedRecogniser(_CallerScript, Recogniser):
    """Stands in for a recogniser: `at_s` counts the audio that it has been given, not the time.

    Args:
        sample_rate: Samples per second that it expects.
    """

    reports_speech = True  # what the script says

    def __init__(self, sample_rate: int = 16_000) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self._endpoints: EndpointRequests | None = None

    async def recognise(self, inbox: Inbox[AudioFrame], outbox: Outbox[Hearing], session: Session) -> None:
        """Report each event of the script once that much audio has arrived."""
        del session
        self._endpoints = EndpointRequests()
        script, received_s, end_s = deque(self._in_order()), 0.0, 0.0
        is_speech = False  # the caller's turn has begun, and its transcript is still to come
        is_over = False
        while not is_over:
            frame = None
            try:
                frame = await self._endpoints.next(inbox)
            except anyio.EndOfStream:
                is_over = True  # what was said before a hang-up is recognised all the same
            if frame is not None:
                received_s, end_s = received_s + frame.duration_s, frame.start_s + frame.duration_s
            while script and (script[0][0] <= received_s + 1e-9 or (frame is None and is_speech)):
                _, made = script.popleft()
                if made is None:
                    return
                event = made(end_s)
                is_speech = not isinstance(event, Transcript)
                await outbox.send(event)

    def adapt(self, settings: CallSettings) -> None:
        """Take every setting: a script stands for any recogniser."""

    def force_endpoint(self) -> None:
        """Bring the transcript of the turn that has begun forward. Never waits."""
        if self._endpoints is not None:
            self._endpoints.ask()


class ScriptedModel(Model):
    """Stands in for a language model, within the process.

    Args:
        script: The replies in order, a function of the request, or a `Script`.
        first_token_s: Seconds to the first token, for replies that do not set it.
        token_s: Seconds between tokens, for replies that do not set it.

    Attributes:
        script: The script; `script.unused` are the replies that were not asked for.
        requests: The requests so far.
    """

    def __init__(
        self,
        script: Script | Sequence[Reply] | Callable[[ChatRequest], Reply],
        *,
        first_token_s: float = 0.0,
        token_s: float = 0.0,
    ) -> None:
        self.script = script if isinstance(script, Script) else Script(script)
        self.requests: list[ChatRequest] = []
        self._first_token_s = first_token_s
        self._token_s = token_s

    async def reply(self, request: Request, outbox: Outbox[ReplyPart], turn: Turn) -> None:
        """Send the next reply of the script. See `Model.reply`."""
        turn.timeline.mark_again("llm_request")
        asked_s = anyio.current_time()
        for due_s, piece in await self._timetable(request):
            if asked_s + due_s > anyio.current_time():
                await anyio.sleep_until(asked_s + due_s)
            if isinstance(piece, Breaks):
                raise VendorError("the scripted reply breaks here", vendor="scripted", retryable=False)
            await outbox.send(piece)

    async def complete(self, request: Request) -> Completion:
        """Return the next whole reply of the script, when its last piece is due. See `Model.complete`."""
        asked_s = anyio.current_time()
        timetable = await self._timetable(request)
        end_s, end = timetable[-1]
        await anyio.sleep_until(asked_s + end_s)
        if isinstance(end, Breaks):
            raise IncompleteReply("the scripted reply breaks here", vendor="scripted")
        answer = Answer("scripted")
        for _, piece in timetable:
            await answer.send(cast("ReplyPart", piece))
        return answer.completion()

    async def _timetable(self, request: Request) -> list[tuple[float, Piece]]:
        body: dict[str, Any] = {
            "model": request.model or "scripted",
            "messages": messages_json(request.system or "", request.messages),
            "tools": [*request.tools],
        }
        if request.response_format is not None:
            body["response_format"] = dict(request.response_format)
        if request.must_call:
            body["tool_choice"] = {"type": "function", "function": {"name": request.must_call}}
        chat = parse_request(cast("JsonValue", body))
        self.requests.append(chat)
        reply = self.script.answer(chat)
        if isinstance(reply, Refuses):
            await anyio.sleep(reply.after_s)
            if reply.status == 429:
                raise RateLimited(reply.message, vendor="scripted", retry_after_s=reply.retry_after_s)
            raise VendorError(reply.message, vendor="scripted", retryable=reply.status >= 500)
        return schedule(reply, first_token_s=self._first_token_s, token_s=self._token_s)


class ScriptedVoice(TTSSink):
    """Stands in for TTS: a tone whose length follows from the text.

    Args:
        first_audio_s: Seconds to the first audio of a sentence.
        character_s: Seconds of audio for each character; 0 gives one sample per sentence.
        speed: How many times faster than real time the audio comes; infinite by default.
        marks: Whether it yields a `WordMark` for the end of each word.
        sample_rate: Samples per second of the audio.

    Attributes:
        sentences: The sentences that it was asked to say, each with the time of asking.
    """

    def __init__(
        self,
        *,
        first_audio_s: float = 0.0,
        character_s: float = 0.05,
        speed: float = math.inf,
        marks: bool = True,
        sample_rate: int = 24_000,
    ) -> None:
        self.sample_rate = sample_rate
        self.sentences: list[tuple[float, str]] = []
        self._first_audio_s = first_audio_s
        self._character_s = character_s
        self._speed = speed
        self._marks = marks

    def adapt(self, settings: CallSettings) -> None:
        """Take every setting: a tone stands for any voice."""

    async def synthesize(self, sentence: Sentence) -> AsyncIterator[bytes | WordMark]:
        """Yield 20 ms frames. See `TTSSink.synthesize`."""
        self.sentences.append((anyio.current_time(), sentence.text))
        await anyio.sleep(self._first_audio_s)
        text = sentence.text.rstrip()
        if self._marks:
            for end in [at for at in range(1, len(text) + 1) if text[at - 1 : at + 1].rstrip() == text[at - 1]]:
                yield WordMark(char_end=end, end_s=end * self._character_s)
        samples = max(1, round(len(text) * self._character_s * self.sample_rate))
        frame = self.sample_rate // 50
        tone = b"\x00\x10" * frame
        for at in range(0, samples, frame):
            yield tone[: 2 * min(frame, samples - at)]
            if self._speed != math.inf:
                await anyio.sleep(0.02 / self._speed)


class RecordingOutput(ClockedOutput):
    """A loudspeaker that plays by the clock and keeps what it played.

    Attributes:
        written: Each frame that was written, with the time, including frames that were flushed before they played.
        played: What was played, including silence, as one piece of PCM.
    """

    def __init__(self, sample_rate: int = 24_000) -> None:
        super().__init__(sample_rate)
        self.written: list[tuple[float, bytes]] = []
        self.played = bytearray()

    async def write(self, pcm: bytes) -> None:
        """Take a frame and keep it."""
        flushes = self._flushes
        await super().write(pcm)
        if self._flushes == flushes:
            self.written.append((anyio.current_time(), pcm))

    def record(self, pcm: bytes) -> None:
        """Keep what was played."""
        self.played += pcm

    def written_after(self, at_s: float) -> list[bytes]:
        """Return the frames that were written later than `at_s`."""
        return [pcm for when, pcm in self.written if when > at_s]

    def spans(self) -> list[tuple[float, float]]:
        """Return when sound was played: (start, end) in seconds from the session's beginning, for each stretch."""
        frame = self.sample_rate // 1000 * 2  # look at each millisecond
        spans: list[tuple[float, float]] = []
        for at in range(0, len(self.played), frame):
            if any(self.played[at : at + frame]):
                start_s, end_s = at / 2 / self.sample_rate, min(at + frame, len(self.played)) / 2 / self.sample_rate
                if spans and abs(spans[-1][1] - start_s) < 1e-9:
                    spans[-1] = (spans[-1][0], end_s)
                else:
                    spans.append((start_s, end_s))
        return spans
