"""The observer that records calls.

Rule 1: the loop collects, and a thread writes, every half second. A disk that falls behind ends the recording.
Rule 2: whatever happens to a recording, the call goes on, and what was written is readable.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

import anyio

from voicepipe.audio.resample import Resampler
from voicepipe.core.failures import single_error
from voicepipe.core.home import Home
from voicepipe.core.log import Personal
from voicepipe.core.observer import Observer
from voicepipe.errors import ConfigurationError, MissingExtra, RecordingError
from voicepipe.observed import ApplicationAsked
from voicepipe.watching.recording.collector import Collector
from voicepipe.watching.recording.directory import Limits, made, make_room, prepare, today
from voicepipe.watching.recording.disk import disk
from voicepipe.watching.recording.flac import imported
from voicepipe.watching.recording.manifest import Agent, Ended, Manifest, Sides, Sound, plain, rules_as_json
from voicepipe.watching.recording.sound import Cover
from voicepipe.watching.recording.writer import Writer
from voicepipe.watching_events import RecordingPaused, RecordingResumed, RecordingStarted, RecordingStopped

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from voicepipe.core.context import AnySession
    from voicepipe.core.part import Part
    from voicepipe.events import Event
    from voicepipe.flow import AudioFrame
    from voicepipe.observed import Exchange, PlayedAudio, WireMessage
    from voicepipe.session.session import Session
    from voicepipe.watching.recording.disk import Disk
    from voicepipe.watching.recording.redaction import Redact

__all__ = ["Recorder", "RecorderControl"]

FLUSH_S: Final = 0.5
"""How often is written: half of what a crash may cost."""

BEGIN_S: Final = 1.0
"""How long a call waits for its recording to begin. Without one it goes on."""

MOST_WAITING: Final = 8_000_000
"""Bytes that may wait for the disk: more than half a minute of a call."""


class Recorder(Observer):
    """Records calls, each into a directory `NAME.vprec` of its own: `Pipeline(..., observers=[Recorder("calls")])`.

    A call emits `RecordingStarted` first of all. The recording has both sides as one stereo file, what every part was
    given and gave, and the messages of services; `Recording.read` reads it. Its files are readable by their owner
    alone, and never hold a key of a service, nor a fact that is `Personal`.

    Args:
        directory: Where the recordings go; it is made if it is not there.
        sides: Whose words and sound are recorded. What may hold words of both, as messages of services do, is only
            recorded with "both".
        announces: What the agent says first, whole, before any greeting; "" for nothing.
        audio: How sound is written. "flac" takes half the room or less, and needs the extra `recording`.
        redact: Is given each text before it is written, and which kind of text it is, and returns what is written
            instead; called in a thread. Where words are changed, their sound is covered. Everything is written 30 s
            late then, because only a whole text can be judged; an error of it ends the recording.
        cover: What is heard where `redact` has changed the words.
        max_age_s: Recordings older than this are removed when a recorder is opened and when a call begins.
        max_bytes: So many bytes may all recordings in the directory have; the oldest are removed.
        max_call_bytes: So many bytes may one recording have; then it stops, and `RecordingStopped` says so.

    Raises:
        ConfigurationError: An argument is invalid.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        sides: Sides = "both",
        announces: str = "",
        audio: Literal["wav", "flac"] = "wav",
        redact: Redact | None = None,
        cover: Cover = "silence",
        max_age_s: float | None = None,
        max_bytes: int | None = None,
        max_call_bytes: int | None = None,
    ) -> None:
        _check_choice("sides", sides, get_args(Sides))
        _check_choice("audio", audio, ("wav", "flac"))
        _check_choice("cover", cover, get_args(Cover))
        if redact is not None and not callable(redact):
            raise ConfigurationError("Recorder: redact is a function of a text and its kind, which returns a text")
        for name, value in (("max_age_s", max_age_s), ("max_bytes", max_bytes), ("max_call_bytes", max_call_bytes)):
            if value is not None and not value > 0:
                raise ConfigurationError(f"Recorder: {name} must be more than 0, not {value!r}; None is no limit")
        self._directory = Path(directory)
        self._sides: Sides = sides
        self._audio = audio
        self._announces = announces
        self._redact = redact
        self._cover: Cover = cover
        self._limits = Limits(max_age_s, max_bytes)
        self._max_call_bytes = max_call_bytes
        self._disk: Disk
        self._collector: Collector | None = None

    @classmethod
    def of(cls, session: AnySession) -> RecorderControl:
        """Return what pauses the recordings of a session; with none of them, it does nothing.

        A tool writes `Recorder.of(call.session).pause()`, with its `ToolContext` as `call`.
        """
        live = cast("Session", session)
        return RecorderControl([one for one in live._reporting.observers if isinstance(one, cls)])

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Make the directory, try to write there, and remove what is older or more than the limits allow.

        Raises:
            ConfigurationError: It cannot be written.
            MissingExtra: What writes FLAC is not installed.
        """
        if self._audio == "flac":
            imported()
        async with disk("voicepipe recorder") as self._disk:
            await self._disk.run(prepare, self._directory)
            await self._disk.run(make_room, self._directory, self._limits, today())
            yield

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Record until the session has ended.

        Raises:
            RecordingError: The recording cannot be written.
            MissingExtra: The audio has to be resampled, and what does it is not installed.
        """
        self._session: Session = session
        self._home = Home()
        self._news = anyio.Event()
        self._ended: Ended | None = None
        self._is_announced = not self._announces.strip()
        self._collector = Collector(session.history, self._on_news)
        self._writer = writer = await self._begun()
        session.emit(RecordingStarted(path=str(writer.path), sides=self._sides))
        try:
            with single_error():
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._write_down)
                    yield
                    tasks.cancel_scope.cancel()
            await self._finish(ended=self._ended)
        except OSError as error:
            raise RecordingError(
                f"{writer.path}: the recording has stopped: {error.strerror or error}; what was written is readable"
            ) from error
        finally:
            self._collector = None
            await self._disk.run(writer.close)

    # --- what happens -------------------------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """Record an event."""
        if self._collector is not None:
            self._collector.event(event)

    def on_end(self, reason: str) -> None:
        """Note how the call ended."""
        if self._collector is not None:
            self._ended = Ended(t_s=self._collector.now_s(), reason=reason)
            self._collector.end()

    def on_heard(self, frame: AudioFrame) -> None:
        """Record audio of the caller's."""
        if self._collector is not None:
            self._collector.heard(frame)

    def on_played(self, audio: PlayedAudio) -> None:
        """Record audio of the agent's."""
        if self._collector is not None:
            self._collector.played(audio)

    def on_exchange(self, exchange: Exchange) -> None:
        """Record an exchange; before the first thing that the application asks for comes the announcement."""
        if not self._is_announced and isinstance(exchange, ApplicationAsked):
            self._is_announced = True
            self._session.say(self._announces, protected=True)
        if self._collector is not None:
            self._collector.exchange(exchange)

    def on_wire(self, message: WireMessage) -> None:
        """Record a message of a service."""
        if self._collector is not None:
            self._collector.wire(message)

    def _on_news(self, waiting: int) -> None:
        if waiting > MOST_WAITING:
            self._collector = None
            raise RecordingError(
                f"{self._writer.path}: the recording has stopped, because the disk is too slow; what was written is "
                "readable"
            )
        if not self._news.is_set():
            self._news.set()

    # --- pauses -------------------------------------------------------------------------------------------------------

    def _pause(self) -> None:
        if self._collector is not None and not self._collector.is_paused:
            self._collector.pause()
            self._session.emit(RecordingPaused())

    def _resume(self) -> None:
        if self._collector is not None and self._collector.is_paused:
            self._collector.resume()
            self._session.emit(RecordingResumed())

    # --- writing ------------------------------------------------------------------------------------------------------

    async def _write_down(self) -> None:
        # Not before the call: of thousands of recordings, each file is looked at.
        await self._disk.run(make_room, self._directory, self._limits, today(), self._writer.path)
        while True:
            await self._news.wait()
            await anyio.sleep(FLUSH_S)
            self._news = anyio.Event()
            if (collector := self._collector) is None:
                return
            size = await self._disk.run(self._writer.write, collector.take())
            if self._max_call_bytes is not None and size > self._max_call_bytes:
                reason = f"it has {size} bytes, more than max_call_bytes={self._max_call_bytes}"
                self._session.emit(RecordingStopped(path=str(self._writer.path), reason=reason))
                await self._finish(stopped=Ended(t_s=collector.now_s(), reason=reason))
                return

    async def _finish(self, *, ended: Ended | None = None, stopped: Ended | None = None) -> None:
        """Write the rest, unless the recording has ended already."""
        if (collector := self._collector) is not None:
            self._collector = None
            await self._disk.run(self._writer.end, collector.take(), ended=ended, stopped=stopped)

    async def _begun(self) -> Writer:
        manifest = self._manifest()
        for rate in {manifest.agent.output_rate, manifest.agent.hearing_rate} if manifest.agent.hears else ():
            _check_resampler(rate, manifest.audio.rate)
        personal = [fact for fact in self._session.facts.values() if isinstance(fact, Personal)]

        def begin() -> Writer:
            writer = Writer(made(self._directory, manifest), manifest, personal, self._redact, self._cover)
            writer.begin()
            return writer

        try:
            return await self._disk.run_within(BEGIN_S, begin)
        except OSError as error:
            raise RecordingError(
                f"{self._directory}: the call cannot be recorded: {error.strerror}; make room, or name another one"
            ) from error

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
            facts={name: "***" if isinstance(fact, Personal) else plain(fact) for name, fact in session.facts.items()},
            began=today(),
            agent=agent,
            audio=Sound(file=f"audio.{self._audio}", rate=rate, channels=channels),
            voice=Sound(file=f"voice.{self._audio}", rate=agent.voice_rate, channels=("agent",)),
            sides=self._sides,
            redacted=self._redact is not None or self._sides != "both",
        )

    def __repr__(self) -> str:
        """Show the directory."""
        return f"<Recorder {self._directory}>"


class RecorderControl:
    """All recordings of one session, as tools and other code of the application see them; made by `Recorder.of`.

    Attributes:
        paths: The directories of the recordings.
    """

    def __init__(self, recorders: list[Recorder]) -> None:
        self._recorders = [one for one in recorders if one._collector is not None]
        self.paths = tuple(one._writer.path for one in self._recorders)

    @property
    def is_paused(self) -> bool:
        """Whether nothing of what is said is recorded."""
        return all(one._collector is None or one._collector.is_paused for one in self._recorders)

    def pause(self) -> None:
        """Record nothing of what is said from now on: silence, and texts without words. From any thread.

        What was said meanwhile is left out for good: also where it comes up later, in the conversation that a model is
        sent, or in a transcript that comes late. The model and the recogniser get everything as before.
        """
        for one in self._recorders:
            one._home.call(one._pause)

    def resume(self) -> None:
        """Record again. From any thread."""
        for one in self._recorders:
            one._home.call(one._resume)

    def __repr__(self) -> str:
        """Show the recordings."""
        return f"<RecorderControl {', '.join(path.name for path in self.paths) or 'of no recording'}>"


def _names(parts: Iterator[Part]) -> Iterator[str]:
    for part in parts:
        yield part.name
        yield from _names(iter(part._held()))


def _check_choice(name: str, value: object, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise ConfigurationError(f"Recorder: {name} must be {' or '.join(map(repr, choices))}, not {value!r}")


def _check_resampler(rate: int, wanted: int) -> None:
    """Refuse now what the thread that writes could not do."""
    try:
        if rate != wanted:
            Resampler(rate, wanted)
    except MissingExtra as error:
        raise MissingExtra(f"A recording of {rate} Hz and {wanted} Hz in one file", "soxr", "recording") from error
