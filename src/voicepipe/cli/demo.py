"""`voicepipe demo`: a spoken conversation through the real pipeline, by default without key, network or sound card.

caller (eSpeak) ─▶ PushSource ─▶ Tap ─▶ pocketsphinx ─▶ LLM over loopback HTTP + tools ─▶ sentences ─▶ eSpeak ─▶ Ear

The recogniser, model and voice come from `_demo_stack`; with AssemblyAI's services the rest is the same.

Rule 1: source, stages and output of the call use only public names, as an example of what can be built with them.
Rule 2: everything is fed and played in real time, so the measured times are what a caller would wait.
Rule 3: the two files are written completely, or not at all.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import anyio

import voicepipe as vp
from voicepipe.audio.resample import Resampler
from voicepipe.cli._aloud import Aloud
from voicepipe.cli._demo_script import CALLER, LINES, TOOLS
from voicepipe.cli._demo_stack import SPEAK_RATE, Stack, assemblyai, local
from voicepipe.core.process import run
from voicepipe.watching.recording.directory import prepare

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from anyio.streams.memory import MemoryObjectReceiveStream

__all__ = ["demo"]

LISTEN_RATE: Final = 16_000
FRAME_S: Final = 0.02
PAUSE_S: Final = 0.4
"""How long the caller pauses between the end of a reply and the next line."""

LONGEST_S: Final = 60.0
"""Twice what the conversation takes: a conversation that has left its script ends here."""

ON_THE_CLOCK: Final = {"at_s", "speech_ended_s", "endpoint_s", "start_s", "end_s"}
"""Fields of events and words that are times; in the file they are relative to the beginning of the session."""


def demo(
    out: Path,
    *,
    as_json: bool,
    live: Mapping[str, str] | None = None,
    plays: bool = False,
    device: int | str | None = None,
    record: Path | None = None,
) -> int:
    """Hold the conversation, show it, write it to files, and return 0 if it went as scripted, otherwise 1.

    Args:
        out: The directory for `conversation.wav` and `conversation.json`; created if it does not exist.
        as_json: Print the content of `conversation.json`, and nothing else.
        plays: Also play caller and agent through a loudspeaker.
        device: The loudspeaker; None for the default.
        live: Use AssemblyAI's services, at these URLs where given; see `_demo_stack.assemblyai`. None for local parts.
        record: Also record the call in this directory, as a `Recorder` does.

    Raises:
        ConfigurationError: The directory cannot be written, or an optional package or the key is missing.
        VoicepipeError: The conversation failed.
    """
    title, notes, opened = local() if live is None else assemblyai(live)
    if record is not None:
        prepare(record)  # now, and not once the callers' lines are there
    observers = [vp.Recorder(record)] if record is not None else []
    call = Call(notes=notes, plays=plays, device=device, observers=observers)
    with _drafts(out) as drafts:
        if as_json:
            run(_hold, call, opened, _ignore)
            _save(call, drafts, out)
            print(_as_text(call), flush=True)
            return 1 if call.problems else 0

        from voicepipe.cli._display import Display  # noqa: PLC0415 - the only part that needs rich

        display = Display()
        with display.open(title, notes):
            run(_hold, call, opened, display.show)
        display.summarise(call.turns, call.problems, _save(call, drafts, out))
        return 1 if call.problems else 0


def _ignore(at_s: float, event: vp.Event) -> None:
    """Show nothing."""


# --- the call ---------------------------------------------------------------------------------------------------------


@dataclass
class Call:
    """The record of the call.

    Attributes:
        notes: What a reader of the record has to know.
        plays: Whether the call is also played through a loudspeaker.
        device: Which loudspeaker.
        observers: Watch the call.
        began_s: When the recording began, on the loop's clock.
        caller: The caller's audio, as the recogniser got it.
        played: The agent's audio from `began_s` on, without gaps.
        events: What the session emitted, with the time.
        history: The conversation at its end.
        requests: The messages of each request to the model.
        problems: How the call differs from the script.
    """

    notes: Sequence[str] = ()
    plays: bool = False
    device: int | str | None = None
    observers: Sequence[vp.Observer] = ()
    began_s: float = 0.0
    caller: list[vp.AudioFrame] = field(default_factory=list)
    played: bytearray = field(default_factory=bytearray)
    events: list[tuple[float, vp.Event]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def turns(self) -> list[vp.TurnEnded]:
        """The turns, as they ended."""
        return [event for _, event in self.events if isinstance(event, vp.TurnEnded)]

    @property
    def played_in(self) -> dict[int, bytes]:
        """The agent's audio of each turn, by the turn's number."""
        return {
            turn.turn_id: bytes(self.played[self._at(turn.timeline.first_frame) : self._at(turn.timeline.ended)])
            for turn in self.turns
            if "first_frame" in turn.timeline
        }

    def _at(self, time_s: float) -> int:
        return 2 * max(0, round((time_s - self.began_s) * SPEAK_RATE))


class Tap(vp.SessionStage[vp.AudioFrame, vp.AudioFrame]):
    """Passes the caller's audio on, and keeps a copy of each frame."""

    def __init__(self, call: Call) -> None:
        self.call = call
        # A part that a part holds is opened with it.
        self.aloud = Aloud(call.device, LISTEN_RATE) if call.plays else None

    async def run(self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.AudioFrame], session: vp.Session) -> None:
        """See `SessionStage.run`."""
        del session
        async for frame in inbox:
            self.call.caller.append(frame)
            await outbox.send(frame)
            if self.aloud is not None:
                await self.aloud.play(frame.pcm)


class Ear(vp.ClockedOutput):
    """An output without a device: plays in real time, and keeps what was played."""

    def __init__(self, call: Call) -> None:
        super().__init__(SPEAK_RATE)
        self.call = call

    @asynccontextmanager
    async def attach(self, session: vp.Session) -> AsyncGenerator[None]:
        """Begin the recording together with the playback."""
        self.call.began_s = anyio.current_time()
        async with super().attach(session):
            yield

    def record(self, pcm: bytes) -> None:
        """See `ClockedOutput.record`."""
        self.call.played += pcm


class PlayedEar(Ear):
    """An `Ear` that also plays through a loudspeaker; what counts as played is what the `Ear` has played."""

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self.aloud = Aloud(call.device, SPEAK_RATE)

    async def write(self, pcm: bytes) -> None:
        """See `Output.write`."""
        await self.aloud.play(pcm)
        await super().write(pcm)

    def flush(self) -> None:
        """See `Output.flush`."""
        self.aloud.flush()
        super().flush()


class Mouth:
    """The caller's end of the line: sends audio in real time, and silence while the caller says nothing."""

    def __init__(self, source: vp.PushSource) -> None:
        self._source = source
        self._unsaid = b""
        self._has_hung_up = False

    def say(self, pcm: bytes) -> None:
        """Say this audio next; returns immediately."""
        self._unsaid += pcm

    def hang_up(self) -> None:
        """End the call."""
        self._has_hung_up = True
        self._source.end()

    async def run(self) -> None:
        """Feed the source until cancelled, or until the caller hangs up."""
        size = 2 * round(FRAME_S * self._source.sample_rate)
        due = anyio.current_time()
        while not self._has_hung_up:
            frame, self._unsaid = self._unsaid[:size], self._unsaid[size:]
            due += FRAME_S
            await anyio.sleep_until(due)  # a frame exists once its last sample has been spoken
            if not self._has_hung_up:
                self._source.push(frame.ljust(size, b"\0"))


async def _hold(
    call: Call,
    opened: Callable[[], AbstractAsyncContextManager[Stack]],
    show: Callable[[float, vp.Event], None],
) -> None:
    """Hold the call from the first line to the agent's goodbye."""
    lines = await _synthesised([line.text for line in LINES])
    source = vp.PushSource(LISTEN_RATE)
    mouth = Mouth(source)
    send, receive = anyio.create_memory_object_stream[vp.Event](1_000)  # as many as a session keeps
    async with opened() as stack, send, receive:
        agent = vp.Pipeline(Tap(call), stack.stt, stack.llm, vp.ToolRouter(TOOLS), vp.SentenceChunker(), stack.tts)
        ear = PlayedEar(call) if call.plays else Ear(call)
        async with (
            agent.session(source=source, output=ear, observers=call.observers) as session,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(mouth.run)
            tasks.start_soon(_lead, mouth, lines, receive, not stack.is_scripted)
            with anyio.move_on_after(LONGEST_S):
                async for event in session:
                    at_s = anyio.current_time() - call.began_s
                    call.events.append((at_s, event))
                    show(at_s, event)
                    send.send_nowait(event)
            tasks.cancel_scope.cancel()
        call.requests = stack.requests()
    call.history = session.history.to_json()
    call.problems = stack.problems([event for _, event in call.events], call.played_in)
    if stack.is_scripted and session.result != "goodbye":
        call.problems.append(f"the agent did not end the call within {LONGEST_S:g} s")


async def _synthesised(texts: list[str]) -> list[bytes]:
    """Return the caller's audio for each text."""
    voice = vp.EspeakTTS(CALLER)
    lines: list[bytes] = []
    async with voice.open():
        for text in texts:
            pieces = [piece async for piece in voice.synthesize(vp.Sentence(text)) if isinstance(piece, bytes)]
            lines.append(_resampled(b"".join(pieces), voice.sample_rate, LISTEN_RATE))
    return lines


async def _lead(mouth: Mouth, lines: list[bytes], events: MemoryObjectReceiveStream[vp.Event], hangs_up: bool) -> None:
    """Play the caller: say each line, and listen to its reply for as long as the script says."""
    await anyio.sleep(PAUSE_S)
    for line, pcm in zip(LINES, lines, strict=True):
        mouth.say(pcm)
        if line.cut_after_s is not None:
            await _until(events, vp.SentenceStarted)
            await anyio.sleep(line.cut_after_s)
        else:
            # A reply that this line interrupted ends first; the caller waits for the one after it.
            while isinstance(await _until(events, vp.TurnEnded), vp.TurnInterrupted):
                pass
            await anyio.sleep(PAUSE_S)
    if hangs_up:
        mouth.hang_up()


async def _until(events: MemoryObjectReceiveStream[vp.Event], kind: type[vp.Event]) -> vp.Event:
    while not isinstance(event := await events.receive(), kind):
        pass
    return event


# --- the files --------------------------------------------------------------------------------------------------------


@contextmanager
def _drafts(out: Path) -> Generator[Path]:
    """Provide a temporary directory on the same disk as `out`; it is always removed afterwards."""
    is_new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        drafts = Path(tempfile.mkdtemp(prefix=".conversation-", dir=out))
    except OSError as error:
        raise vp.ConfigurationError(
            f"--out {out}: cannot be written: {error.strerror}; name a writable directory"
        ) from error
    try:
        yield drafts
    finally:
        shutil.rmtree(drafts, ignore_errors=True)
        if is_new:
            with suppress(OSError):  # it is not empty if all went well
                out.rmdir()


def _save(call: Call, drafts: Path, out: Path) -> list[Path]:
    """Write both files, then move both to their place."""
    names = ["conversation.wav", "conversation.json"]
    vp.write_wav(drafts / names[0], _stereo(call), SPEAK_RATE, channels=2)
    try:
        (drafts / names[1]).write_text(_as_text(call) + "\n", encoding="utf-8")
        return [(drafts / name).replace(out / name) for name in names]
    except OSError as error:
        raise vp.AudioError(f"{out}: the conversation cannot be written: {error.strerror}") from error


def _stereo(call: Call) -> bytes:
    """Return both tracks on one clock: the caller left, the agent right."""
    left = bytearray()
    for frame in call.caller:
        at = 2 * max(0, round((frame.start_s - call.began_s) * frame.sample_rate))
        left[len(left) :] = bytes(max(0, at - len(left)))
        left[at : at + len(frame.pcm)] = frame.pcm
    tracks = (_resampled(bytes(left), LISTEN_RATE, SPEAK_RATE), bytes(call.played))
    size = max(map(len, tracks))
    both = bytearray(2 * size)
    for channel, track in enumerate(tracks):
        for byte in (0, 1):
            both[2 * channel + byte :: 4] = track.ljust(size, b"\0")[byte::2]
    return bytes(both)


def _resampled(pcm: bytes, from_rate: int, to_rate: int) -> bytes:
    resampler = Resampler(from_rate, to_rate)
    return resampler.feed(pcm) + resampler.flush()


def _as_text(call: Call) -> str:
    waits = [turn.timeline.waited_us for turn in call.turns if turn.timeline.waited_us is not None]
    document = {
        "notes": call.notes,
        "went_as_scripted": not call.problems,
        "problems": call.problems,
        "median_wait_us": median(waits) if waits else None,
        "recording": {"file": "conversation.wav", "sample_rate": SPEAK_RATE, "left": "caller", "right": "agent"},
        "turns": [_fields(turn, call.began_s) for turn in call.turns],
        "events": [{"emitted_s": round(at_s, 6), **_fields(event, call.began_s)} for at_s, event in call.events],
        "history": call.history,
        "requests": call.requests,
    }
    return json.dumps(document, indent=2)


def _fields(event: vp.Event | vp.Word, began_s: float) -> dict[str, Any]:
    """Return an event as plain data, with times relative to the beginning of the session."""
    plain: dict[str, Any] = {} if isinstance(event, vp.Word) else {"event": type(event).__name__}
    for entry in dataclasses.fields(event):
        value = getattr(event, entry.name)
        if entry.name == "session_id":  # the same for all of them
            continue
        if isinstance(value, vp.Timeline):
            marks = {name: round(at_s - began_s, 6) for name, at_s in value.marks.items()}
            plain |= {"waited_us": value.waited_us, "contributions_us": value.contributions_us, "marks_s": marks}
        elif isinstance(value, vp.VoicepipeError):
            plain[entry.name] = f"{type(value).__name__}: {value}"
        elif entry.name == "words":
            plain[entry.name] = [_fields(word, began_s) for word in value]
        else:
            plain[entry.name] = round(value - began_s, 6) if entry.name in ON_THE_CLOCK else value
    return plain
