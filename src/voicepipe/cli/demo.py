"""`voicepipe demo`: a spoken conversation through the real pipeline, by default without key, network or sound card.

caller (eSpeak) ─▶ PushSource ─▶ Tap ─▶ pocketsphinx ─▶ LLM over loopback HTTP + tools ─▶ sentences ─▶ eSpeak ─▶ Ear

The recogniser, model and voice come from `_demo_stack` or `_demo_offline`; with AssemblyAI's services, or with Whisper
and Piper, the rest is the same.

Rule 1: source, stages and output of the call use only public names, as an example of what can be built with them.
Rule 2: everything is fed and played in real time, so the measured times are what a caller would wait.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

import voicepipe as vp
from voicepipe.cli._aloud import Aloud
from voicepipe.cli._demo_callers import spoken_lines
from voicepipe.cli._demo_files import Call, as_text, drafts_in, save
from voicepipe.cli._demo_stack import LISTEN_RATE, SPEAK_RATE
from voicepipe.core.process import run
from voicepipe.watching.recording.directory import prepare

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from anyio.streams.memory import MemoryObjectReceiveStream

    from voicepipe.cli._demo_script import Line
    from voicepipe.cli._demo_stack import Conversation

__all__ = ["demo"]

FRAME_S: Final = 0.02
PAUSE_S: Final = 0.4
"""How long the caller pauses between the end of a reply and the next line."""

LONGEST_S: Final = 60.0
"""Twice what the conversation takes: a conversation that has left its script ends here."""


def demo(
    conversation: Conversation,
    out: Path,
    *,
    as_json: bool,
    plays: bool = False,
    device: int | str | None = None,
    record: Path | None = None,
) -> int:
    """Hold the conversation, show it, write it to files, and return 0 if it went as scripted, otherwise 1.

    Args:
        conversation: Which one.
        out: The directory for `conversation.wav` and `conversation.json`; created if it does not exist.
        as_json: Print the content of `conversation.json`, and nothing else.
        plays: Also play caller and agent through a loudspeaker.
        device: The loudspeaker; None for the default.
        record: Also record the call in this directory, as a `Recorder` does.

    Raises:
        ConfigurationError: The directory cannot be written, or an optional package is missing.
        VoicepipeError: The conversation failed.
    """
    if record is not None:
        prepare(record)  # now, and not once the callers' lines are there
    observers = [vp.Recorder(record)] if record is not None else []
    call = Call(notes=conversation.notes, plays=plays, device=device, observers=observers)
    with drafts_in(out) as drafts:
        if as_json:
            run(_hold, call, conversation, _ignore)
            save(call, drafts, out)
            print(as_text(call), flush=True)
            return 1 if call.problems else 0

        from voicepipe.cli._display import Display  # noqa: PLC0415 - the only part that needs rich

        display = Display()
        with display.open(conversation.title, conversation.notes):
            run(_hold, call, conversation, display.show)
        display.summarise(call.turns, call.problems, save(call, drafts, out))
        return 1 if call.problems else 0


def _ignore(at_s: float, event: vp.Event) -> None:
    """Show nothing."""


# --- the call ---------------------------------------------------------------------------------------------------------


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


async def _hold(call: Call, conversation: Conversation, show: Callable[[float, vp.Event], None]) -> None:
    """Hold the call from the first line to the agent's goodbye."""
    lines = list(zip(conversation.lines, await spoken_lines(conversation.lines, conversation.caller), strict=True))
    source = vp.PushSource(LISTEN_RATE)
    mouth = Mouth(source)
    send, receive = anyio.create_memory_object_stream[vp.Event](1_000)  # as many as a session keeps
    async with conversation.opened() as stack, send, receive:
        tools = vp.ToolRouter(conversation.tools)
        agent = vp.Pipeline(Tap(call), stack.stt, stack.llm, tools, vp.SentenceChunker(), stack.tts)
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


async def _lead(
    mouth: Mouth,
    lines: list[tuple[Line, bytes]],
    events: MemoryObjectReceiveStream[vp.Event],
    hangs_up: bool,
) -> None:
    """Play the caller: say each line, and listen to its reply for as long as the script says."""
    await anyio.sleep(PAUSE_S)
    for line, pcm in lines:
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
