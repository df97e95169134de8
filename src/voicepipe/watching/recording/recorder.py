"""The observer that records a call.

Rule 1: the loop collects, and a thread writes, every half second. A thread that falls behind ends the recording.
Rule 2: what may change later is turned into JSON at once; everything else when it is written.
"""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio

from voicepipe.core.clock import loop_time
from voicepipe.core.log import Personal
from voicepipe.core.observer import Observer
from voicepipe.errors import RecordingError
from voicepipe.events import ToolStarted, TurnEnded
from voicepipe.observed import VoiceGave
from voicepipe.watching.recording import manifest as names
from voicepipe.watching.recording.directory import made, prepare, today
from voicepipe.watching.recording.disk import Disk, disk
from voicepipe.watching.recording.manifest import Agent, Ended, Manifest, Sides, Sound, rules_as_json
from voicepipe.watching.recording.records import named, to_json
from voicepipe.watching.recording.writer import Batch, Heard, Writer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from voicepipe.core.context import AnySession
    from voicepipe.core.part import Part
    from voicepipe.events import Event
    from voicepipe.flow import AudioFrame
    from voicepipe.observed import Exchange, PlayedAudio, WireMessage
    from voicepipe.session.session import Session

__all__ = ["Recorder"]

FLUSH_S: Final = 0.5
"""How often is written: half of what a crash may cost."""

MOST_WAITING: Final = 8_000_000
"""Bytes that may wait for the disk: more than half a minute of a call."""

BASE64: Final = re.compile(r'"[A-Za-z0-9+/=_-]{400,}"')
"""Audio within JSON."""


class Recorder(Observer):
    """Records calls, each into a directory `NAME.vprec` of its own.

    Args:
        directory: Where the recordings go; it is made if it is not there.
        sides: Whose words and sound are recorded.
    """

    def __init__(self, directory: str | Path, *, sides: Sides = "both") -> None:
        self._directory = Path(directory)
        self._sides: Sides = sides
        self._disk: Disk

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Make the directory, and try to write there.

        Raises:
            ConfigurationError: It cannot be written.
        """
        async with disk("voicepipe recorder") as self._disk:
            await self._disk.run(prepare, self._directory)
            yield

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Record until the session has ended.

        Raises:
            RecordingError: The recording cannot be written.
        """
        self._began_s = loop_time()
        self._session: Session = session
        self._batch = Batch()
        self._news = anyio.Event()
        self._ended: Ended | None = None
        self._tools: dict[int, list[str]] = {}
        self._halves: dict[int, bytes] = {}
        self._voice_frames = 0
        self._writer = await self._disk.run(self._begun, self._manifest())
        self.path = self._writer.path
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write_down)
                yield
                tasks.cancel_scope.cancel()
        except* OSError as errors:
            await self._disk.run(self._writer.close)
            raise _stopped(self.path, errors.exceptions[0]) from errors.exceptions[0]
        try:
            await self._disk.run(self._writer.end, self._taken(), self._ended)
        except OSError as error:
            raise _stopped(self.path, error) from error

    # --- what happens -------------------------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """Take an event."""
        t_s = self._now_s()
        self._put(names.EVENTS, {"t_s": t_s, "event": named(type(event)), **to_json(event, self._began_s)})
        if isinstance(event, ToolStarted):
            self._tools.setdefault(event.turn_id, []).append(event.name)
        if isinstance(event, TurnEnded):
            self._batch.turns.append(self._row(event, t_s))
            self._batch.history = self._session.history.to_json()

    def on_end(self, reason: str) -> None:
        """Take the end."""
        self._ended = Ended(t_s=self._now_s(), reason=reason)

    def on_heard(self, frame: AudioFrame) -> None:
        """Take the caller's audio."""
        self._sound("caller", frame.start_s, frame.pcm, frame.sample_rate)

    def on_played(self, audio: PlayedAudio) -> None:
        """Take the agent's audio."""
        self._sound("agent", audio.at_s, audio.pcm, audio.sample_rate)

    def on_exchange(self, exchange: Exchange) -> None:
        """Take an exchange."""
        fields = to_json(exchange, self._began_s)
        t_s = fields.pop("at_s")
        if isinstance(exchange, VoiceGave) and isinstance(exchange.piece, bytes):
            fields |= self._voice(exchange.sentence_id, exchange.piece)
            del fields["piece"]
        self._put(names.EXCHANGES, {"t_s": t_s, "kind": named(type(exchange)), **fields})

    def on_wire(self, message: WireMessage) -> None:
        """Take a message of a service."""
        data = message.data
        content = {"text": BASE64.sub(_length, data)} if isinstance(data, str) else {"bytes": len(data)}
        line = {
            "t_s": round(message.at_s - self._began_s, 6),
            "peer": message.peer,
            "connection": message.connection,
            "direction": message.direction,
            "head": message.head,
            **content,
        }
        self._put(names.WIRE, line)

    def _now_s(self) -> float:
        return round(loop_time() - self._began_s, 6)

    def _sound(self, channel: str, at_s: float, pcm: bytes, rate: int) -> None:
        self._batch.audio.append(Heard(channel, at_s - self._began_s, pcm, rate))
        self._grown(len(pcm))

    def _voice(self, sentence_id: int, piece: bytes) -> dict[str, int]:
        """Return where a piece is in the file; half a sample waits for its other half."""
        piece = self._halves.pop(sentence_id, b"") + piece
        if len(piece) % 2:
            self._halves[sentence_id] = piece[-1:]
            piece = piece[:-1]
        at, self._voice_frames = self._voice_frames, self._voice_frames + len(piece) // 2
        self._batch.voice.append(piece)
        self._grown(len(piece))
        return {"from": at, "samples": len(piece) // 2}

    def _put(self, file: str, line: dict[str, Any]) -> None:
        self._batch.lines.setdefault(file, []).append(line)
        self._grown(200)

    def _grown(self, size: int) -> None:
        self._batch.size += size
        if self._batch.size > MOST_WAITING:
            raise RecordingError(f"{self.path}: the recording has stopped, the disk is too slow; the call goes on")
        if not self._news.is_set():
            self._news.set()

    def _row(self, turn: TurnEnded, t_s: float) -> dict[str, Any]:
        spent, waited_us = turn.timeline.contributions_us, turn.timeline.waited_us
        error = getattr(turn, "error", None)
        return {
            "turn_id": turn.turn_id,
            "t_s": t_s,
            "outcome": type(turn).__name__.removeprefix("Turn").lower(),
            "user_text": turn.user_text,
            "heard": turn.heard,
            "heard_s": turn.heard_s,
            "waited_s": "" if waited_us is None else waited_us / 1e6,
            "contributions": " ".join(f"{name}={us / 1e6:g}" for name, us in spent.items()),
            "tools": " ".join(self._tools.pop(turn.turn_id, ())),
            "error": "" if error is None else type(error).__name__,
        }

    # --- writing ------------------------------------------------------------------------------------------------------

    async def _write_down(self) -> None:
        while True:
            await self._news.wait()
            await anyio.sleep(FLUSH_S)
            await self._disk.run(self._writer.write, self._taken())

    def _taken(self) -> Batch:
        batch, self._batch, self._news = self._batch, Batch(), anyio.Event()
        batch.until_s = self._now_s() if self._ended is None else self._ended.t_s
        return batch

    def _begun(self, manifest: Manifest) -> Writer:
        writer = Writer(made(self._directory, manifest), manifest)
        writer.begin()
        return writer

    def _manifest(self) -> Manifest:
        session = self._session
        row, output = session._row, session._output
        hears = session._source is not None or row.hears_by_itself
        agent = Agent(
            parts=tuple(_names(row.parts(hears=hears))),
            detector=row.detector.name if row.detector is not None else None,
            output=output.name,
            has_echo=output.has_echo,
            hears=hears,
            turns=rules_as_json(row.turns),
            fallback=row.fallback,
            voice_rate=row.sink.sample_rate,
            hearing_rate=row.hearing_rate,
            output_rate=output.sample_rate,
        )
        rate = max(output.sample_rate, row.hearing_rate if hears else 0)
        channels = ("caller", "agent") if self._sides == "both" else (self._sides,)
        return Manifest(
            voicepipe=version("voicepipe"),
            id=session.id,
            facts={name: "***" if isinstance(fact, Personal) else fact for name, fact in session.facts.items()},
            began=today(),
            agent=agent,
            audio=Sound(file="audio.wav", rate=rate, channels=channels),
            voice=Sound(file="voice.wav", rate=agent.voice_rate, channels=("agent",)),
            sides=self._sides,
        )

    def __repr__(self) -> str:
        """Show the directory."""
        return f"<Recorder {self._directory}>"


def _names(parts: Iterator[Part]) -> Iterator[str]:
    for part in parts:
        yield part.name
        yield from _names(iter(part._held()))


def _length(found: re.Match[str]) -> str:
    return f'"<{len(found[0]) - 2} characters of base64>"'


def _stopped(path: Path, error: BaseException) -> RecordingError:
    why = getattr(error, "strerror", None) or str(error)
    return RecordingError(f"{path}: the recording has stopped ({why}), the call goes on; what was written is readable")
