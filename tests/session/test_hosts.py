"""Where a pipeline may be opened, and who may call a session: other loops, other libraries, other threads."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

import voicepipe as vp
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice

if TYPE_CHECKING:
    from collections.abc import Callable

LONG = "One two three four. Five six seven eight. Nine ten eleven twelve."


@pytest.fixture
def anyio_backend() -> str:
    """Real time, because threads do not exist on virtual time."""
    return "asyncio"


def row(*parts: vp.Part, character_s: float = 0.001) -> vp.Pipeline:
    return vp.Pipeline(*parts, ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice(character_s=character_s))


# --- refused at the door ----------------------------------------------------------------------------------------------


def test_a_pipeline_needs_asyncio() -> None:
    """Outside of asyncio, opening says what is missing and what to write, before any part is touched."""

    async def main() -> None:
        async with row().session(output=RecordingOutput()):
            pytest.fail("it is open")

    call = main()
    with pytest.raises(vp.ConfigurationError, match=r"Pipeline\.open needs asyncio, but no event loop runs"):
        call.send(None)


def test_trio_is_refused() -> None:
    """Under trio, opening says so; there are no obscure errors inside of turns."""
    trio = pytest.importorskip("trio")

    async def main() -> None:
        async with row().session(output=RecordingOutput()):
            pytest.fail("it is open")

    with pytest.raises(vp.ConfigurationError, match=r"Pipeline\.open needs asyncio, but trio runs here; write anyio"):
        trio.run(main)


def test_a_program_in_trio_is_refused() -> None:
    """`vp.run` begins no loop inside of trio's."""
    trio = pytest.importorskip("trio")

    async def main() -> None:
        vp.run(row(), output=RecordingOutput())

    with pytest.raises(vp.ConfigurationError, match="an event loop runs here already"):
        trio.run(main)


@pytest.mark.anyio
async def test_a_program_in_a_running_loop_is_refused() -> None:
    """In a notebook or a web server, `vp.run` says what to write instead."""
    with pytest.raises(vp.ConfigurationError, match=r"write `async with agent\.session"):
        vp.run(row(), output=RecordingOutput())


@pytest.mark.anyio
async def test_a_session_of_a_closed_host_is_refused() -> None:
    """A session that is opened after its host was closed says so, and where to open it."""
    async with row().open() as host:
        pass
    with pytest.raises(vp.ConfigurationError, match="this host is closed; open sessions inside of its block"):
        async with host.session(output=RecordingOutput()):
            pytest.fail("it is open")


@pytest.mark.anyio
async def test_a_session_in_another_loop_is_refused() -> None:
    """What a host opened belongs to its event loop, and so do its sessions."""

    async def call(host: vp.Host[Any]) -> None:
        async with host.session(output=RecordingOutput()):
            pytest.fail("it is open")

    def elsewhere(host: vp.Host[Any]) -> None:
        with pytest.raises(vp.ConfigurationError, match="this host was opened in another event loop; open"):
            asyncio.run(call(host))

    async with row().open() as host:
        await anyio.to_thread.run_sync(elsewhere, host)


# --- calls from other threads -----------------------------------------------------------------------------------------


class Threads(RecordingOutput):
    """Notes which threads touch it."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()
        self.flushes = 0

    async def write(self, pcm: bytes) -> None:
        self.threads.add(threading.get_ident())
        await super().write(pcm)

    def flush(self) -> None:
        self.threads.add(threading.get_ident())
        self.flushes += 1
        super().flush()


@pytest.mark.anyio
async def test_say_and_end_from_a_thread() -> None:
    """Any thread may let the agent speak and end the call; it happens in the loop's thread, in order."""
    output = Threads()

    def work(session: vp.Session) -> None:
        session.say("One.")
        session.say("Two.")
        session.end(after_reply=True, result="done")

    async with row().session(output=output) as session:
        await anyio.to_thread.run_sync(work, session)
        await session.ended.wait()
    assert [message.text for message in session.history] == ["One.", "Two."]
    assert session.result == "done"
    assert output.threads == {threading.get_ident()}


@pytest.mark.anyio
@pytest.mark.parametrize("ask", [lambda session: session.say("One."), lambda session: session.reply()])
async def test_another_thread_cannot_await_what_is_said(ask: Callable[[vp.Session], vp.Saying]) -> None:
    """A thread may call `say` and `reply`; awaiting in its own loop is refused, with what to write instead."""

    async def elsewhere(session: vp.Session) -> None:
        await ask(session)

    async with row().session(output=RecordingOutput()) as session:
        with pytest.raises(vp.ConfigurationError, match=r"only in the session's event loop.*run_coroutine_threadsafe"):
            await anyio.to_thread.run_sync(lambda: asyncio.run(elsewhere(session)))


@pytest.mark.anyio
async def test_a_thread_waits_through_the_loop() -> None:
    """What the error advises works: a coroutine in the session's loop awaits it for the thread."""
    heard: list[str] = []

    def work(session: vp.Session, loop: asyncio.AbstractEventLoop) -> None:
        async def say() -> vp.Said:
            return await session.say("One.")

        heard.append(asyncio.run_coroutine_threadsafe(say(), loop).result(10).heard)

    async with row().session(output=RecordingOutput()) as session:
        await anyio.to_thread.run_sync(work, session, asyncio.get_running_loop())
    assert heard == ["One."]


@pytest.mark.anyio
async def test_interrupt_from_a_thread_has_happened_when_it_returns() -> None:
    """Once `interrupt` returns in another thread, the output is silent."""
    output, flushes = Threads(), list[int]()

    def work(session: vp.Session) -> None:
        session.interrupt()
        flushes.append(output.flushes)

    async with row(character_s=0.05).session(output=output, greeting=LONG) as session:
        async for event in session:
            if isinstance(event, vp.SentenceStarted):
                break
        await anyio.to_thread.run_sync(work, session)
        assert not session.is_busy
        written = len(output.written)
        await anyio.sleep(0.1)
        assert len(output.written) == written
    assert flushes == [1]
    assert output.threads == {threading.get_ident()}


def test_calls_from_threads_and_callbacks_in_a_server() -> None:
    """In a loop that anyio has not begun, as a server's, calls from a thread or from a callback work, too."""
    heard: list[bytes] = []

    class Ear(vp.Recogniser):
        async def recognise(
            self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: vp.Session
        ) -> None:
            async for frame in inbox:
                heard.append(frame.pcm)

    async def main() -> list[str]:
        source = vp.PushSource()
        async with row(vp.STTStage(Ear())).session(source=source, output=RecordingOutput()) as session:
            await anyio.sleep(0.01)
            asyncio.get_running_loop().call_soon(source.push, bytes(640))
            asyncio.get_running_loop().call_soon(session.say, "One.")
            await asyncio.to_thread(session.say, "Two.")
            await asyncio.to_thread(source.push, bytes(640))
            await asyncio.to_thread(lambda: session.end(after_reply=True))
            await session.ended.wait()
        return [message.text for message in session.history]

    assert asyncio.run(main()) == ["One.", "Two."]
    assert heard == [bytes(640)] * 2


@pytest.mark.anyio
async def test_a_reply_from_a_thread() -> None:
    """Any thread may let the model speak."""
    agent = vp.Pipeline(ScriptedModel([Says("Hello.")]), vp.SentenceChunker(), ScriptedVoice(character_s=0.001))
    async with agent.session(output=RecordingOutput()) as session:
        await anyio.to_thread.run_sync(session.reply, "Greet the caller.")
        await anyio.to_thread.run_sync(lambda: session.end(after_reply=True))
        await session.ended.wait()
    assert [message.text for message in session.history] == ["Hello."]


@pytest.mark.anyio
async def test_audio_from_a_thread() -> None:
    """A thread that reads a device or a socket pushes audio, in order, and hangs up; nothing of it is lost."""
    heard: list[bytes] = []
    threads: set[int] = set()

    class Ear(vp.Recogniser):
        async def recognise(
            self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: vp.Session
        ) -> None:
            async for frame in inbox:
                threads.add(threading.get_ident())
                heard.append(frame.pcm)

    source, audio = vp.PushSource(), bytes(range(256)) * 25

    def work() -> None:
        for at in range(0, len(audio), 640):
            source.push(audio[at : at + 640])
        source.end()
        with pytest.raises(vp.AudioError, match="after end"):
            source.push(bytes(2))

    async with row(vp.STTStage(Ear())).session(source=source, output=RecordingOutput()) as session:
        await anyio.to_thread.run_sync(work)
        await session.ended.wait()
    assert (b"".join(heard), threads) == (audio, {threading.get_ident()})


@pytest.mark.parametrize(
    "call",
    [
        lambda session, source: session.say("Hello?"),
        lambda session, source: session.interrupt(),
        lambda session, source: session.end(),
        lambda session, source: source.push(bytes(2)),
    ],
    ids=["say", "interrupt", "end", "push"],
)
def test_a_thread_that_is_late_calls_in_vain(call: Callable[[vp.Session, vp.PushSource], None]) -> None:
    """After the loop was closed, a call from another thread does nothing, and does not wait."""
    found: list[tuple[vp.Session, vp.PushSource]] = []

    async def main() -> None:
        source = vp.PushSource()
        pipeline = row(vp.STTStage(ScriptedRecogniser()))
        async with pipeline.session(source=source, output=RecordingOutput()) as session:
            await anyio.sleep(0.01)
            found.append((session, source))

    anyio.run(main)
    thread = threading.Thread(target=call, args=found[0])
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
