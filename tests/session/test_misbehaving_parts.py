"""A part that fails in an unusual way fails by its name: the caller hears the fallback, or the call ends in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest

import voicepipe as vp
from voicepipe.testing import Calls, RecordingOutput, Says, ScriptedModel, ScriptedVoice

pytestmark = pytest.mark.anyio

Fault = Callable[[], None]
"""Raises, the first time it is called in a test."""


class Panic(BaseException):
    """What a library in another language raises."""


async def cancelled_elsewhere() -> None:
    """Wait for something that is cancelled, as for the reader of an SDK whose socket drops."""
    reader: asyncio.Future[None] = asyncio.Future()
    reader.cancel()
    await reader


async def exits() -> None:
    """Do what argparse does when it is used as a library."""
    raise SystemExit(2)


async def panics() -> None:
    raise Panic("unwrap on None")


async def breaks() -> None:
    raise OSError("database down")


FAULTS = {
    "cancelled": (cancelled_elsewhere, "was cancelled from inside"),
    "exits": (exits, "raised SystemExit: 2"),
    "panics": (panics, "raised Panic: unwrap on None"),
    "breaks": (breaks, "raised OSError: database down"),
}


class Once:
    """A fault that happens once."""

    def __init__(self, fault: Callable[[], Any]) -> None:
        self._fault = fault
        self._is_due = True

    async def __call__(self) -> None:
        if self._is_due:
            self._is_due = False
            await self._fault()


class BrokenTexts(vp.Stage[vp.Transcript, vp.Transcript]):
    def __init__(self, fault: Once) -> None:
        self.fault = fault

    async def run(self, inbox: vp.Inbox[vp.Transcript], outbox: vp.Outbox[vp.Transcript], turn: vp.Turn) -> None:
        async for transcript in inbox:
            await self.fault()
            await outbox.send(transcript)


class BrokenDeltas(vp.Stage[vp.TextDelta, vp.TextDelta]):
    def __init__(self, fault: Once) -> None:
        self.fault = fault

    async def run(self, inbox: vp.Inbox[vp.TextDelta], outbox: vp.Outbox[vp.TextDelta], turn: vp.Turn) -> None:
        async for delta in inbox:
            await self.fault()
            await outbox.send(delta)


class BrokenVoice(ScriptedVoice):
    def __init__(self, fault: Once) -> None:
        super().__init__(character_s=0.01)
        self.fault = fault

    async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes | vp.WordMark]:
        await self.fault()
        async for piece in super().synthesize(sentence):
            yield piece


class BrokenModel(ScriptedModel):
    def __init__(self, fault: Once) -> None:
        super().__init__([Says("Hello.")])
        self.fault = fault

    async def reply(self, request: vp.Request, outbox: vp.Outbox[vp.ReplyPart], turn: vp.Turn) -> None:
        await self.fault()
        await super().reply(request, outbox, turn)


TURN_PARTS: dict[str, Callable[[Once], list[vp.Part]]] = {
    "BrokenTexts": lambda fault: [BrokenTexts(fault), ScriptedModel([Says("Hello.")]), vp.SentenceChunker(), voice()],
    "BrokenDeltas": lambda fault: [ScriptedModel([Says("Hello.")]), BrokenDeltas(fault), vp.SentenceChunker(), voice()],
    "BrokenModel": lambda fault: [BrokenModel(fault), vp.SentenceChunker(), voice()],
    "BrokenVoice": lambda fault: [ScriptedModel([Says("Hello.")]), vp.SentenceChunker(), BrokenVoice(fault)],
}


def voice() -> ScriptedVoice:
    return ScriptedVoice(character_s=0.01)


@pytest.mark.parametrize("part", TURN_PARTS)
@pytest.mark.parametrize("way", FAULTS)
async def test_a_part_of_the_reply_fails_by_its_name(part: str, way: str) -> None:
    """However a part of the reply fails, the turn fails by its name and the caller hears the fallback."""
    fault, words = FAULTS[way]
    pipeline = vp.Pipeline(*TURN_PARTS[part](Once(fault)), fallback="Sorry.")
    output = RecordingOutput()
    async with pipeline.session(output=output) as session:
        turn = await session.user_says("Hello?")
        assert isinstance(turn.failure, vp.StageError)
        assert (turn.state, turn.failure.part) == (vp.TurnState.FAILED, part)
        assert str(turn.failure).startswith(f"{part} {words}")
        assert session.history[-1].text == "Sorry."
        session.say("Still here.")
        session.end(after_reply=True)
        await session.ended.wait()
    assert output.spans() == [(0.0, 0.17)]
    assert [type(event) for event in await ended(session)] == [vp.TurnFailed, vp.TurnCompleted]


class BrokenSource(vp.Source):
    def __init__(self, fault: Once) -> None:
        self.fault = fault

    async def frames(self) -> AsyncIterator[bytes]:
        await anyio.sleep(0.5)
        await self.fault()
        yield b""


class BrokenRecogniser(vp.Recogniser):
    def __init__(self, fault: Once) -> None:
        self.fault = fault

    async def recognise(
        self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: vp.Session
    ) -> None:
        await anyio.sleep(0.5)
        await self.fault()


class BrokenFilter(vp.SessionStage[vp.AudioFrame, vp.AudioFrame]):
    def __init__(self, fault: Once) -> None:
        self.fault = fault

    async def run(self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.AudioFrame], session: vp.Session) -> None:
        await anyio.sleep(0.5)
        await self.fault()


class BrokenReader(RecordingOutput):
    """Has a task of its own that fails, in a task group of its own."""

    def __init__(self, fault: Once) -> None:
        super().__init__()
        self.fault = fault

    async def read(self) -> None:
        await anyio.sleep(0.5)
        await self.fault()

    @asynccontextmanager
    async def attach(self, session: vp.Session) -> AsyncGenerator[None]:
        async with super().attach(session), anyio.create_task_group() as tasks:
            tasks.start_soon(self.read)
            yield


def listening(*parts: vp.Part) -> vp.Pipeline:
    return vp.Pipeline(*parts, ScriptedModel([]), vp.SentenceChunker(), voice(), output=RecordingOutput())


SESSION_PARTS: dict[str, Callable[[Once], vp.Pipeline]] = {
    "BrokenSource": lambda fault: listening(BrokenSource(fault), vp.STTStage(vp.testing.ScriptedRecogniser())),
    "BrokenFilter": lambda fault: listening(BrokenFilter(fault), vp.STTStage(vp.testing.ScriptedRecogniser())),
    "BrokenRecogniser": lambda fault: listening(vp.STTStage(BrokenRecogniser(fault))),
    "BrokenReader": lambda fault: listening().replace({vp.Output: BrokenReader(fault)}),
}


# SystemExit in a task of a part's own ends the loop before anybody can catch it.
@pytest.mark.parametrize(
    ("part", "way"),
    [(part, way) for part in SESSION_PARTS for way in FAULTS if (part, way) != ("BrokenReader", "exits")],
)
async def test_a_part_of_the_call_fails_by_its_name(part: str, way: str) -> None:
    """However a part of the call fails, it is no hang-up: the call ends with an error by the part's name."""
    fault, _ = FAULTS[way]
    pipeline = SESSION_PARTS[part](Once(fault))
    source = vp.PushSource() if pipeline.parts[0].name in ("STTStage", "BrokenFilter") else None
    with pytest.raises(vp.StageError) as caught:
        async with pipeline.session(source=source) as session:
            await session.ended.wait()
            await anyio.sleep_forever()
    assert caught.value.part == part
    assert anyio.current_time() == 0.5


@pytest.mark.parametrize("way", ["exits", "panics", "cancelled"])
@pytest.mark.parametrize("effect", ["read", "write"])
async def test_a_tool_that_ends_itself_is_a_failed_call(way: str, effect: Any) -> None:
    """`sys.exit()` in a tool, or a cancellation of its own, is a failed call: the model is told, and goes on."""

    @vp.tool(effect=effect)
    async def broken() -> str:
        """Break."""
        await FAULTS[way][0]()
        return ""

    model = ScriptedModel([Calls("broken", {}), Says("Sorry.")])
    pipeline = vp.Pipeline(model, vp.ToolRouter([broken]), vp.SentenceChunker(), voice())
    async with pipeline.session(output=RecordingOutput()) as session:
        turn = await session.user_says("Go.")
    assert turn.state is vp.TurnState.DONE
    assert [result.status for message in session.history for result in getattr(message, "calls", [])] == ["failed"]


@pytest.mark.parametrize("ends", [SystemExit, KeyboardInterrupt, Panic])
def test_a_plain_tool_cannot_end_the_process(ends: type[BaseException]) -> None:
    """Whatever a plain tool raises on its thread is a failed call."""

    @vp.tool
    def report() -> str:
        """Report."""
        raise ends(2)

    async def main() -> list[str]:
        model = ScriptedModel([Calls("report", {}), Says("Sorry.")])
        row = (model, vp.ToolRouter([report]), vp.SentenceChunker(), ScriptedVoice(character_s=0.0))
        async with vp.Pipeline(*row).session(output=RecordingOutput()) as session:
            await session.user_says("Go.")
        return [call.status for message in session.history for call in getattr(message, "calls", [])]

    assert anyio.run(main) == ["failed"]


async def ended(session: vp.Session) -> list[vp.TurnEnded]:
    return [event async for event in session if isinstance(event, vp.TurnEnded)]


# --- speech without end -----------------------------------------------------------------------------------------------


class Voice(vp.TTSSink):
    """A voice that does something else for each sentence that is not the fallback."""

    def __init__(self, gives: Callable[[], AsyncIterator[Any]]) -> None:
        self.gives = gives

    async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes | vp.WordMark]:
        if sentence.text.startswith("Sorry"):
            yield bytes(480)
            return
        async for piece in self.gives():
            yield piece


async def drips() -> AsyncIterator[bytes]:
    while True:
        yield bytes(2)
        await anyio.sleep(1.0)


async def marks() -> AsyncIterator[vp.WordMark]:
    while True:
        yield vp.WordMark(char_end=1, end_s=1.0)
        await anyio.sleep(1.0)


async def hums() -> AsyncIterator[bytes]:
    while True:
        yield b"\x00\x10" * 4_800


async def slow() -> AsyncIterator[bytes]:
    while True:
        yield b"\x00\x10" * 2_400
        await anyio.sleep(0.25)


@pytest.mark.parametrize(
    ("gives", "words", "after_s"),
    [
        (drips, "is slower than speech by more than 5 s", 5.0005),  # six samples come, and are played
        (slow, "is slower than speech by more than 5 s", 8.4),
        (marks, "sent no audio for 5 s", 5.0),
        (hums, "gave more than 16 s of audio for one sentence", 16.0),
    ],
)
async def test_a_voice_without_end_fails_its_turn(
    gives: Callable[[], AsyncIterator[Any]], words: str, after_s: float
) -> None:
    """A voice that drips, or never ends, is stopped by a limit of its own, and the caller hears the fallback."""
    pipeline = vp.Pipeline(ScriptedModel([Says("Hello.")]), vp.SentenceChunker(), Voice(gives), fallback="Sorry.")
    async with pipeline.session(output=RecordingOutput()) as session:
        turn = await session.user_says("Hello?")
        assert isinstance(turn.failure, vp.VendorError)
        assert str(turn.failure) == f"Voice {words}"
        assert session.history[-1].text.endswith("Sorry.")
        assert round(anyio.current_time(), 6) == round(after_s + 0.01, 6)  # and the fallback


class Swallows(vp.Stage[vp.TextDelta, vp.TextDelta]):
    """Reads everything, and never ends."""

    async def run(self, inbox: vp.Inbox[vp.TextDelta], outbox: vp.Outbox[vp.TextDelta], turn: vp.Turn) -> None:
        async for _ in inbox:
            pass
        await anyio.sleep_forever()


class SpeaksAndStays(vp.Stage[vp.TextDelta, vp.TextDelta]):
    """Passes everything on, and never ends."""

    async def run(self, inbox: vp.Inbox[vp.TextDelta], outbox: vp.Outbox[vp.TextDelta], turn: vp.Turn) -> None:
        async for delta in inbox:
            await outbox.send(delta)
        await anyio.sleep_forever()


async def test_a_stage_behind_the_model_that_hands_on_nothing_fails_the_turn() -> None:
    """6 s after the text has ended the turn fails by the stage's name, and the fallback goes past that stage."""
    output = RecordingOutput()
    row = (ScriptedModel([Says("Hello.", after_s=1.0)]), Swallows(), vp.SentenceChunker(), voice())
    async with vp.Pipeline(*row, fallback="Sorry.").session(output=output) as session:
        turn = await session.user_says("Hello?")
    assert isinstance(turn.failure, vp.StageError)
    assert str(turn.failure) == "Swallows handed on nothing for 6 s after the text had ended"
    assert (turn.failure.part, turn.state) == ("Swallows", vp.TurnState.FAILED)
    assert output.spans() == [(7.0, 7.06)]


async def test_silence_is_counted_from_the_last_sound() -> None:
    """A stage that passes sentences on and then stays has 6 s from the end of what was heard."""
    output = RecordingOutput()
    row = (ScriptedModel([Says("Hello there.")]), SpeaksAndStays(), vp.SentenceChunker(), ScriptedVoice())
    async with vp.Pipeline(*row, fallback="").session(output=output) as session:
        turn = await session.user_says("Hello?")
    assert isinstance(turn.failure, vp.StageError)
    assert turn.failure.part == "SpeaksAndStays"
    assert (output.spans(), anyio.current_time()) == ([(0.0, 0.6)], 6.6)


async def test_a_stage_that_stays_after_the_reply_does_not_hold_the_turn() -> None:
    """A stage in front of the model that does not end is cancelled 6 s after the reply was heard, and reported."""

    class Stays(vp.Stage[vp.Transcript, vp.Transcript]):
        async def run(self, inbox: vp.Inbox[vp.Transcript], outbox: vp.Outbox[vp.Transcript], turn: vp.Turn) -> None:
            async for transcript in inbox:
                await outbox.send(transcript)
            await anyio.sleep_forever()

    row = (Stays(), ScriptedModel([Says("Hello there.")]), vp.SentenceChunker(), ScriptedVoice())
    async with vp.Pipeline(*row).session(output=RecordingOutput()) as session:
        turn = await session.user_says("Hello?")
        assert (turn.state, anyio.current_time()) == (vp.TurnState.DONE, 6.6)
    reports = [event for event in [event async for event in session] if isinstance(event, vp.CleanupOverran)]
    assert reports == [vp.CleanupOverran(part="Stays", after_s=6.0)]


# --- wrong things handed over -----------------------------------------------------------------------------------------


async def yields_none() -> AsyncIterator[Any]:
    yield b"\x00\x10" * 2_400
    yield None
    yield b"\x00\x10" * 2_400


async def yields_numbers() -> AsyncIterator[Any]:
    yield [0, 1, 2]


async def yields_wrong_marks() -> AsyncIterator[Any]:
    yield vp.WordMark(char_end=1, end_s=float("nan"))


@pytest.mark.parametrize(
    ("gives", "words"),
    [
        (yields_none, "Voice.synthesize must yield bytes of PCM or WordMark, not NoneType"),
        (yields_numbers, "Voice.synthesize must yield bytes of PCM or WordMark, not list"),
        (yields_wrong_marks, "Voice sent a WordMark whose end_s is not a number of seconds, but nan"),
    ],
)
async def test_what_a_voice_must_not_yield_is_refused(gives: Callable[[], AsyncIterator[Any]], words: str) -> None:
    """A piece that is neither audio nor a mark fails the turn: the sentence does not count as heard."""
    pipeline = vp.Pipeline(ScriptedModel([Says("Hello there.")]), vp.SentenceChunker(), Voice(gives), fallback="")
    async with pipeline.session(output=RecordingOutput()) as session:
        turn = await session.user_says("Hello?")
    assert (str(turn.failure), turn.state) == (words, vp.TurnState.FAILED)
    assert session.history[-1].text in ("Hello?", "")


class Sends(vp.Model):
    """A model that sends something else."""

    def __init__(self, item: Any) -> None:
        self.item = item

    async def reply(self, request: vp.Request, outbox: vp.Outbox[vp.ReplyPart], turn: vp.Turn) -> None:
        await outbox.send(self.item)
        await outbox.send(vp.ReplyEnd(finish_reason="stop"))


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("Hello.", "Sends must send TextDelta or ToolCallDelta or ReplyState or ReplyEnd, not str"),
        (vp.TextDelta(None), "Sends sent a TextDelta whose text is not str, but NoneType"),  # type: ignore[arg-type]
        (None, "Sends must send TextDelta or ToolCallDelta or ReplyState or ReplyEnd, not NoneType"),
    ],
)
async def test_what_a_model_must_not_send_is_refused(item: Any, words: str) -> None:
    """A model that sends anything but the parts of a reply fails its turn by its name; nothing is ignored."""
    pipeline = vp.Pipeline(Sends(item), vp.SentenceChunker(), voice(), fallback="")
    async with pipeline.session(output=RecordingOutput()) as session:
        turn = await session.user_says("Hello?")
    assert (str(turn.failure), turn.state) == (words, vp.TurnState.FAILED)


async def test_a_stage_that_sends_the_wrong_item_is_the_one_that_fails() -> None:
    """The stage that sends a wrong item is named, not the one that reads it."""

    class Wrong(vp.Stage[vp.Sentence, vp.Sentence]):
        async def run(self, inbox: vp.Inbox[vp.Sentence], outbox: vp.Outbox[vp.Sentence], turn: vp.Turn) -> None:
            async for sentence in inbox:
                await outbox.send(sentence.text)  # type: ignore[arg-type]

    pipeline = vp.Pipeline(ScriptedModel([Says("Hello.")]), vp.SentenceChunker(), Wrong(), voice(), fallback="Sorry.")
    async with pipeline.session(output=RecordingOutput()) as session:
        turn = await session.user_says("Hello?")
    assert str(turn.failure) == "Wrong must send Sentence, not str"
    assert session.history[-1].text == "Sorry."


# --- code that swallows cancellation ----------------------------------------------------------------------------------


class Stubborn:
    """Swallows its cancellations until the test releases it."""

    def __init__(self) -> None:
        self.is_released = False

    async def __call__(self) -> None:
        while not self.is_released:
            with suppress(asyncio.CancelledError):
                await anyio.sleep(1.0)


class StubbornDeltas(BrokenDeltas):
    pass


class StubbornVoice(BrokenVoice):
    pass


class StubbornModel(BrokenModel):
    pass


class StubbornTexts(BrokenTexts):
    pass


class StubbornSource(BrokenSource):
    pass


class StubbornOutput(RecordingOutput):
    def __init__(self, holds: Any) -> None:
        super().__init__()
        self.holds = holds

    @asynccontextmanager
    async def attach(self, session: vp.Session) -> AsyncGenerator[None]:
        async with super().attach(session):
            yield
            await self.holds()


class StubbornEars(vp.Recogniser):
    def __init__(self, holds: Any) -> None:
        self.holds = holds

    async def recognise(
        self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: vp.Session
    ) -> None:
        await self.holds()


def stubborn_tool(holds: Stubborn) -> list[vp.Part]:
    @vp.tool
    async def stubborn() -> str:
        """Hold on."""
        await holds()
        return ""

    return [ScriptedModel([Calls("stubborn", {})]), vp.ToolRouter([stubborn]), vp.SentenceChunker(), voice()]


def replying(*parts: vp.Part) -> list[vp.Part]:
    return [*parts, vp.SentenceChunker(), voice()]


SAYS_HELLO = [Says("Hello.")]

STUBBORN: dict[str, Callable[[Any], list[vp.Part]]] = {
    "StubbornTexts": lambda holds: replying(StubbornTexts(holds), ScriptedModel(SAYS_HELLO)),
    "StubbornModel": lambda holds: replying(StubbornModel(holds)),
    "StubbornDeltas": lambda holds: replying(ScriptedModel(SAYS_HELLO), StubbornDeltas(holds)),
    "StubbornVoice": lambda holds: [ScriptedModel(SAYS_HELLO), vp.SentenceChunker(), StubbornVoice(holds)],
    "stubborn": stubborn_tool,
    "StubbornSource": lambda holds: [StubbornSource(holds), STT(), ScriptedModel(SAYS_HELLO), *replying()],
    "StubbornEars": lambda holds: [Mic(), vp.STTStage(StubbornEars(holds)), ScriptedModel(SAYS_HELLO), *replying()],
    "StubbornOutput": lambda holds: replying(ScriptedModel(SAYS_HELLO)),
}


class Mic(vp.Source):
    async def frames(self) -> AsyncIterator[bytes]:
        await anyio.sleep_forever()
        yield b""


def STT() -> vp.STTStage:  # noqa: N802 - in place of a class
    return vp.STTStage(vp.testing.ScriptedRecogniser())


@pytest.mark.parametrize("part", STUBBORN)
async def test_a_part_that_swallows_its_cancellation_does_not_hold_the_end(
    part: str, caplog: pytest.LogCaptureFixture
) -> None:
    """3 s after the session's end such a part is left behind and reported by name; no other task is left."""
    holds, before = Stubborn(), asyncio.all_tasks()
    output = StubbornOutput(holds) if part == "StubbornOutput" else RecordingOutput()
    async with vp.Pipeline(*STUBBORN[part](holds), fallback="").session(output=output) as session:
        with anyio.move_on_after(1.0):
            await session.user_says("Hello?")
        await anyio.sleep_until(1.0)
    assert anyio.current_time() == 4.0
    assert asyncio.all_tasks() == before
    assert f"{part} ignored its cancellation for 3 s" in caplog.text
    reports = [event.part for event in [event async for event in session] if isinstance(event, vp.CleanupOverran)]
    assert reports == ([] if part == "StubbornOutput" else [part])  # it closes when the session has no events any more
    holds.is_released = True
    await anyio.sleep(2.0)


@pytest.mark.parametrize("part", ["StubbornTexts", "StubbornModel", "StubbornDeltas", "StubbornVoice"])
async def test_a_part_that_swallows_its_cancellation_does_not_hold_the_next_turn(part: str) -> None:
    """After an interruption such a part is reported twice, late and left behind; the next turn goes on meanwhile."""
    holds = Stubborn()
    row = STUBBORN[part](Once(holds))
    async with vp.Pipeline(*row, fallback="").session(output=RecordingOutput()) as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.user_says, "Hello?")
            await anyio.sleep(1.0)
            session.interrupt()
        session.say("Anything else?")
        await anyio.sleep(5.0)
        session.end()
    reports = [event for event in [event async for event in session] if isinstance(event, vp.CleanupOverran)]
    assert [(event.part, event.after_s) for event in reports if event.after_s == 0.5] == [(part, 0.5)]
    assert [(event.part, event.after_s) for event in reports if event.after_s == 3.0] == [(part, 3.0)]
    holds.is_released = True
    await anyio.sleep(2.0)


async def test_a_voice_that_swallows_its_limit_does_not_hold_the_turn() -> None:
    """A voice that hangs and swallows the cancellation of its limit is left behind, and the fallback is heard."""
    holds, output = Stubborn(), RecordingOutput()

    class Hangs(ScriptedVoice):
        async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes | vp.WordMark]:
            if not sentence.text.startswith("Sorry"):
                await holds()
            async for piece in super().synthesize(sentence):
                yield piece

    pipeline = vp.Pipeline(ScriptedModel(SAYS_HELLO), vp.SentenceChunker(), Hangs(), fallback="Sorry.")
    async with pipeline.session(output=output) as session:
        turn = await session.user_says("Hello?")
    assert str(turn.failure) == "Hangs sent no audio for 5 s"
    assert output.spans() == [(8.0, 8.3)]
    holds.is_released = True
    await anyio.sleep(2.0)


async def test_a_source_that_reads_on_a_thread_does_not_hold_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """`anyio.to_thread` shields the wait for its thread; a source that waits there is left behind, too."""

    class Reads(vp.Source):
        async def frames(self) -> AsyncIterator[bytes]:
            with anyio.CancelScope(shield=True):  # what `to_thread.run_sync` does
                await thread.wait()
            yield b""

    thread = anyio.Event()
    pipeline = vp.Pipeline(Reads(), STT(), ScriptedModel([]), *replying())
    async with pipeline.session(output=RecordingOutput()):
        await anyio.sleep(1.0)
    assert anyio.current_time() == 4.0
    assert "Reads ignored its cancellation for 3 s" in caplog.text
    thread.set()
    await anyio.sleep(1.0)


# --- what listens -----------------------------------------------------------------------------------------------------


class Sayer(vp.Recogniser):
    """Sends something else than it should, after a second."""

    def __init__(self, item: Any) -> None:
        self.item = item

    async def recognise(
        self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: vp.Session
    ) -> None:
        await anyio.sleep(1.0)
        await outbox.send(self.item)
        await anyio.sleep_forever()


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("Hello.", "must send SpeechStarted or SpeechEnded or EarlyTranscript or Transcript or Digit, not str"),
        (vp.SpeechStarted(at_s=float("nan")), "sent a SpeechStarted whose at_s is not a number of seconds, but nan"),
        (vp.Transcript("Hi.", 1.0, float("inf")), "sent a Transcript whose endpoint_s is not a number of seconds"),
    ],
)
async def test_what_a_recogniser_must_not_send_is_refused(item: Any, words: str) -> None:
    """A recogniser that sends anything but what was heard, at times that are numbers, ends the call by its name."""
    pipeline = listening(Mic(), vp.STTStage(Sayer(item)))
    with pytest.raises(vp.StageError, match=words):
        async with pipeline.session() as session:
            await session.ended.wait()
            await anyio.sleep_forever()


async def test_a_filter_that_sends_no_frames_is_the_one_that_fails() -> None:
    """A stage in front of the recogniser is named, not the recogniser that would stumble over its item."""

    class Wrong(vp.SessionStage[vp.AudioFrame, vp.AudioFrame]):
        async def run(
            self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.AudioFrame], session: vp.Session
        ) -> None:
            await outbox.send(b"\x00\x00")  # type: ignore[arg-type]

    with pytest.raises(vp.StageError, match=r"^Wrong must send AudioFrame, not bytes$"):
        async with listening(Mic(), Wrong(), STT()).session() as session:
            await session.ended.wait()
            await anyio.sleep_forever()


class HangsUp(vp.Source):
    """Speaks for a second, then hangs up; or gives something else."""

    def __init__(self, *pieces: Any) -> None:
        self.pieces = pieces

    async def frames(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece
        await anyio.sleep(1.0)


@pytest.mark.parametrize("piece", [None, "abc", [1, 2]])
async def test_what_a_source_must_not_yield_is_refused(piece: Any) -> None:
    """A source that yields anything but bytes ends the call by its name."""
    with pytest.raises(vp.StageError, match=rf"^HangsUp must give bytes of PCM, not {type(piece).__name__}$"):
        async with listening(HangsUp(piece), STT()).session() as session:
            await session.ended.wait()
            await anyio.sleep_forever()


async def test_a_recogniser_that_stops_reading_does_not_hide_the_hang_up() -> None:
    """5 s after the caller hung up the call ends, by the name of the part that has not."""

    class Stops(vp.Recogniser):
        async def recognise(
            self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: vp.Session
        ) -> None:
            await inbox.receive()
            await anyio.sleep_forever()

    with pytest.raises(vp.StageError, match=r"^Stops did not end within 5 s after the caller had hung up"):
        async with listening(HangsUp(bytes(640), bytes(640)), vp.STTStage(Stops())).session() as session:
            await session.ended.wait()
            await anyio.sleep_forever()
    assert anyio.current_time() == 6.0


async def test_last_words_are_waited_for_after_the_hang_up() -> None:
    """A recogniser that needs 4 s for the last words has them."""

    class Slow(vp.Recogniser):
        async def recognise(
            self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: vp.Session
        ) -> None:
            async for _ in inbox:
                pass
            await anyio.sleep(4.0)
            await outbox.send(vp.Transcript("Bye.", 1.0, 5.0))

    async with listening(HangsUp(bytes(640)), vp.STTStage(Slow())).session() as session:
        heard = [event.text async for event in session if isinstance(event, vp.Transcript)]
    assert (heard, anyio.current_time()) == (["Bye."], 5.0)


# --- what a deadline names --------------------------------------------------------------------------------------------


async def test_a_turn_that_its_tool_uses_up_names_the_tool() -> None:
    """When the turn's time is over while a tool runs, the error names the tool and not the model."""

    @vp.tool(effect="read", timeout_s=30.0)
    async def search() -> str:
        """Search."""
        await anyio.sleep_forever()
        return ""

    row = (ScriptedModel([Calls("search", {})]), vp.ToolRouter([search], turn_s=5.0), vp.SentenceChunker(), voice())
    async with vp.Pipeline(*row, fallback="").session(output=RecordingOutput()) as session:
        turn = await session.user_says("Hello?")
    assert str(turn.failure) == "the reply was not complete after 5 s; the tools search have not ended"


async def test_a_turn_that_its_model_uses_up_names_the_model() -> None:
    """When the turn's time is over while the model speaks, the error names the model."""
    row = (ScriptedModel([Says("Hello.", after_s=9.0)]), vp.ToolRouter([], turn_s=5.0), vp.SentenceChunker(), voice())
    async with vp.Pipeline(*row, fallback="").session(output=RecordingOutput()) as session:
        turn = await session.user_says("Hello?")
    assert str(turn.failure) == "the reply was not complete after 5 s; ScriptedModel has not ended it"
