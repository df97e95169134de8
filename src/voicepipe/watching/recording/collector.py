"""What happens in one call, put aside for the thread that writes.

Rule 1: nothing here waits or touches a file. What may change later is turned into JSON at once.
Rule 2: what happens in a pause is marked, and so is what only becomes known after it: a transcript of words that were
        said in it, messages that were added to the history in it.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from voicepipe.core.clock import loop_time
from voicepipe.events import ToolStarted, TurnEnded
from voicepipe.flow import EarlyTranscript, SpeechStarted, Transcript
from voicepipe.history import UserMessage
from voicepipe.observed import Heard, ModelAsked, VoiceGave
from voicepipe.watching.recording import manifest as names
from voicepipe.watching.recording.batch import Batch, Line, Pause, Piece, VoicePiece
from voicepipe.watching.recording.records import named, to_json
from voicepipe.watching.recording.screen import screened, without_words, words_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from voicepipe.events import Event
    from voicepipe.flow import AudioFrame
    from voicepipe.history import History, Message
    from voicepipe.observed import Exchange, PlayedAudio, WireMessage
    from voicepipe.watching.recording.records import Json

__all__ = ["Collector"]

LINE_BYTES: Final = 300
"""About what a line takes while it waits."""

BASE64: Final = re.compile(r'"[A-Za-z0-9+/=_-]{400,}"')
"""Audio within JSON."""


class Collector:
    """Collects what happens.

    Args:
        history: The conversation.
        on_news: Called whenever something waits to be written.

    Attributes:
        began_s: When the recording began, on the loop's clock.
        is_paused: Whether words and sound are left out.
    """

    def __init__(self, history: History, on_news: Callable[[int], None]) -> None:
        self.began_s = loop_time()
        self.is_paused = False
        self._history = history
        self._on_news = on_news
        self._batch = Batch()
        self._ended_s: float | None = None
        self._pauses: list[tuple[float, float]] = []
        self._known: dict[int, Message] = {}  # messages from before the present pause
        self._secret: dict[int, Message] = {}  # messages that were added in a pause
        self._is_pause_heard = False  # words were said in a pause, of which the transcript has not come
        self._is_caller_left_out = False  # their sound is left out until then, though the pause is over
        self._tools: dict[int, list[str]] = {}
        self._halves: dict[int, bytes] = {}
        self._voice_frames = 0
        self._audio_lines: dict[tuple[int, str], Json] = {}  # the last line of each connection, if it counts audio

    def now_s(self) -> float:
        """Return seconds since the recording began."""
        return round(loop_time() - self.began_s, 6)

    def take(self) -> Batch:
        """Return what has happened since the last time."""
        batch, self._batch = self._batch, Batch()
        self._audio_lines.clear()
        batch.until_s = self.now_s() if self._ended_s is None else max(self._ended_s, 0.0)
        return batch

    # --- what happens -------------------------------------------------------------------------------------------------

    def event(self, event: Event) -> None:
        """Collect an event."""
        t_s = self.now_s()
        kind = named(type(event))
        line = {"t_s": t_s, "event": kind, **to_json(event, self.began_s)}
        self._put(Line(names.EVENTS, kind, line, self._is_left_out(event)))
        if isinstance(event, Transcript):
            self._is_pause_heard = self.is_paused
            self._let_caller_in()
        elif isinstance(event, ToolStarted):
            self._tools.setdefault(event.turn_id, []).append(event.name)
        elif isinstance(event, TurnEnded):
            row = _row(event, t_s, self._tools.pop(event.turn_id, []))
            self._batch.turns.append(Line(names.TURNS, "TurnEnded", row, self.is_paused))
            self._batch.history = self._without_secrets(self._history, self._history.to_json())

    def end(self) -> None:
        """Note that the call has ended: the recording is no longer than that."""
        self._ended_s = self.now_s()

    def heard(self, frame: AudioFrame) -> None:
        """Collect audio of the caller's."""
        self._sound("caller", frame.start_s, frame.pcm, frame.sample_rate)

    def played(self, audio: PlayedAudio) -> None:
        """Collect audio of the agent's."""
        self._sound("agent", audio.at_s, audio.pcm, audio.sample_rate)

    def exchange(self, exchange: Exchange) -> None:
        """Collect what a part was given or gave."""
        kind = named(type(exchange))
        is_left_out = self._is_left_out(exchange.hearing if isinstance(exchange, Heard) else None)
        fields = to_json(exchange, self.began_s)
        line: Json = {"t_s": fields.pop("at_s"), "kind": kind, **fields}
        if isinstance(exchange, VoiceGave) and isinstance(exchange.piece, bytes):
            del line["piece"]
            line |= self._voice(line["t_s"], exchange.sentence_id, exchange.piece)
        elif isinstance(exchange, ModelAsked):
            if self.is_paused:  # also those of a draft, which is in no history
                self._keep_secret(exchange.messages)
            line["messages"] = self._without_secrets(exchange.messages, line["messages"])
            self._grown(LINE_BYTES * len(exchange.messages))
        self._put(Line(names.EXCHANGES, kind, line, is_left_out))

    def wire(self, message: WireMessage) -> None:
        """Collect a message of a service; audio that follows audio is counted with it."""
        data, key = message.data, (message.connection, message.direction)
        if isinstance(data, bytes) and not message.head and (last := self._audio_lines.get(key)) is not None:
            last["bytes"] += len(data)
            last["messages"] += 1
            return
        line: Json = {
            "t_s": round(message.at_s - self.began_s, 6),
            "peer": message.peer,
            "connection": message.connection,
            "direction": message.direction,
            "head": message.head,
        }
        if isinstance(data, bytes):
            line |= {"bytes": len(data), "messages": 1}
            self._audio_lines[key] = line
        else:
            line["text"] = BASE64.sub(_length, data)
            self._audio_lines.pop(key, None)
            self._grown(len(line["text"]))
        self._put(Line(names.WIRE, "WireMessage", line, self.is_paused))

    # --- pauses -------------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Leave out words and sound from now on."""
        now = self.now_s()
        self.is_paused = True
        self._pauses.append((now, math.inf))
        self._known = {id(message): message for message in self._history}
        begun = ("agent",) if self._is_caller_left_out else ("caller", "agent")
        self._batch.pauses += [Pause(channel, now, begins=True) for channel in begun]
        self._is_caller_left_out = True
        self._on_news(0)

    def resume(self) -> None:
        """Record again, but not what was said meanwhile."""
        now = self.now_s()
        self.is_paused = False
        from_s, _ = self._pauses.pop()
        self._pauses.append((from_s, now))
        self._keep_secret(self._history)
        self._batch.pauses.append(Pause("agent", now, begins=False))
        if not self._is_pause_heard:
            self._let_caller_in()
        self._on_news(0)

    def _let_caller_in(self) -> None:
        """Record the sound of the caller again, unless the recording is paused."""
        if self._is_caller_left_out and not self.is_paused:
            self._is_caller_left_out = False
            self._batch.pauses.append(Pause("caller", self.now_s(), begins=False))

    def _is_left_out(self, what: object) -> bool:
        """Return whether words are left out: now, or because they were said in a pause."""
        if isinstance(what, Transcript):
            said_s = what.speech_ended_s - self.began_s
            is_left_out = self._is_pause_heard or any(first <= said_s <= last for first, last in self._pauses)
        elif isinstance(what, SpeechStarted):
            self._is_pause_heard = self.is_paused
            self._let_caller_in()
            is_left_out = False
        elif isinstance(what, EarlyTranscript):
            self._is_pause_heard |= self.is_paused
            is_left_out = self._is_pause_heard
        else:
            is_left_out = False
        return self.is_paused or is_left_out

    def _keep_secret(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if id(message) not in self._known:
                self._secret[id(message)] = message
                self._batch.secrets += _texts(message)

    def _without_secrets(self, messages: Iterable[Message], written: list[Json]) -> list[Json]:
        if not self._secret:
            return written
        return [
            _paused(message, line) if id(message) in self._secret else line
            for message, line in zip(messages, written, strict=True)
        ]

    # --- what waits ---------------------------------------------------------------------------------------------------

    def _sound(self, channel: str, at_s: float, pcm: bytes, rate: int) -> None:
        self._batch.audio.append(Piece(channel, at_s - self.began_s, pcm, rate))
        self._grown(len(pcm))

    def _voice(self, t_s: float, sentence_id: int, piece: bytes) -> Json:
        """Return where a piece is in the file; half a sample waits for its other half."""
        piece = self._halves.pop(sentence_id, b"") + piece
        if len(piece) % 2:
            self._halves[sentence_id] = piece[-1:]
            piece = piece[:-1]
        first, self._voice_frames = self._voice_frames, self._voice_frames + len(piece) // 2
        self._batch.voice.append(VoicePiece(t_s, sentence_id, piece, self.is_paused))
        self._grown(len(piece))
        return {"from": first, "samples": len(piece) // 2}

    def _put(self, line: Line) -> None:
        self._batch.lines.append(line)
        self._grown(LINE_BYTES)

    def _grown(self, size: int) -> None:
        self._batch.size += size
        self._on_news(self._batch.size)


def _row(turn: TurnEnded, t_s: float, tools: list[str]) -> Json:
    """Return a row for the table of turns."""
    spent, waited_us = turn.timeline.contributions_us, turn.timeline.waited_us
    error = getattr(turn, "error", None)
    return {
        "turn_id": turn.turn_id,
        "t_s": t_s,
        "outcome": type(turn).__name__.removeprefix("Turn").lower(),
        "user_text": turn.user_text,
        "heard": turn.heard,
        "heard_s": round(turn.heard_s, 6),
        "waited_s": "" if waited_us is None else waited_us / 1e6,
        "contributions": " ".join(f"{name}={us / 1e6:g}" for name, us in spent.items()),
        "tools": " ".join(tools),
        "error": "" if error is None else type(error).__name__,
    }


def _texts(message: Message) -> Iterator[str]:
    """Return what must not be written of a message that was added in a pause."""
    if isinstance(message, UserMessage):
        yield message.text
        return
    for call in message.calls:
        yield from words_in(call.arguments)
        yield from words_in(call.result)


def _paused(message: Message, line: Json) -> Json:
    kind = "UserMessage" if isinstance(message, UserMessage) else "AssistantMessage"
    return screened(kind, line, without_words)


def _length(found: re.Match[str]) -> str:
    return f'"<{len(found[0]) - 2} characters of base64>"'
