"""Short texts that a voice says once: played at once from then on, exactly as any sentence is."""

from __future__ import annotations

from array import array
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

import voicepipe as vp
from voicepipe.errors import ConfigurationError, StageError, VendorError
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedUser, ScriptedVoice

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable

pytestmark = pytest.mark.anyio

OPENERS = ["Sure.", "One moment."]
SLOW = 0.4  # seconds to the first audio of a sentence


def agent(voice: vp.TTSSink, *replies: str, user: ScriptedUser | None = None) -> vp.Pipeline:
    parts = [*([user] if user else []), ScriptedModel([Says(reply) for reply in replies]), vp.SentenceChunker()]
    return vp.Pipeline(*parts, voice, output=RecordingOutput(), fallback="")


def cached(voice: vp.TTSSink, texts: Iterable[str] = OPENERS) -> vp.CachedOpeners:
    return vp.CachedOpeners(voice, texts)


def asked_for(voice: ScriptedVoice) -> list[str]:
    """What the voice was asked to synthesise."""
    return [text.strip() for _, text in voice.sentences]


async def test_the_second_time_it_is_heard_at_once() -> None:
    """An opener takes the voice's time once; then its first frame comes with the text, and the voice is not asked."""
    voice, output = ScriptedVoice(first_audio_s=SLOW), RecordingOutput()
    async with agent(cached(voice)).session(output=output) as session:
        for _ in range(3):
            await session.say("One moment.")
    assert [(round(from_s, 3), round(to_s, 3)) for from_s, to_s in output.spans()] == [(0.4, 2.05)]
    assert asked_for(voice) == ["One moment."]


async def test_the_openers_of_a_reply_and_no_other_sentence() -> None:
    """A reply that begins with an opener is heard at once, and the rest of it is synthesised meanwhile."""
    voice, output = ScriptedVoice(first_audio_s=SLOW), RecordingOutput()
    async with agent(cached(voice), "Sure. It is ten.", "Sure. It is ten.").session(output=output) as session:
        await session.user_says("When?")
        at_s = anyio.current_time()
        await session.user_says("When?")
    assert asked_for(voice) == ["Sure.", "It is ten.", "It is ten."]
    assert next(when for when, _ in output.written if when >= at_s) == at_s


class Recorded(vp.TTSSink):
    """A voice whose samples all differ, in pieces that end within samples."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes | vp.WordMark]:
        return self._pieces(sentence)

    async def _pieces(self, sentence: vp.Sentence) -> AsyncIterator[bytes | vp.WordMark]:
        self.texts.append(sentence.text)
        buffer = bytearray()  # which the voice uses again
        for at in range(0, len(RECORDED), 1_001):
            buffer[:] = RECORDED[at : at + 1_001]
            yield buffer  # type: ignore[misc]  # any buffer is accepted
            await anyio.lowlevel.checkpoint()


RECORDED = array("h", range(1, 12_001)).tobytes()  # half a second


async def test_the_samples_are_those_of_the_voice() -> None:
    """What is heard the second time is sample by sample what the voice said."""
    output, voice = RecordingOutput(), Recorded()
    async with agent(cached(voice)).session(output=output) as session:
        await session.say("Sure.")
        await session.say("Sure.")
    assert (bytes(output.played).count(RECORDED), voice.texts) == (2, ["Sure."])


@pytest.mark.parametrize(("marks", "heard"), [(True, "One two"), (False, "One")])
async def test_history_goes_by_what_was_heard(marks: bool, heard: str) -> None:
    """Interrupted in the middle, kept audio counts as heard to the same word as the voice's own."""
    text, voice = "One two three four.", ScriptedVoice(marks=marks)
    async with agent(cached(voice, [text])).session() as session:
        for _ in range(2):
            said = session.say(text)
            await anyio.sleep(0.5)
            session.interrupt()
            assert (await said).heard == heard
            await session.say(text)
    assert asked_for(voice) == [text]


async def test_white_space_around_a_text_does_not_matter() -> None:
    """An opener in the middle of a reply is the same text, and its marks count from its own first letter."""
    voice = ScriptedVoice()
    marks: list[vp.WordMark] = []
    openers = cached(voice)
    for text in (" One moment. ", "\n\n One moment."):
        async for piece in openers.synthesize(vp.Sentence(text)):
            if isinstance(piece, vp.WordMark):
                marks.append(piece)
    assert asked_for(voice) == ["One moment."]
    assert [mark.char_end for mark in marks[-2:]] == [len("\n\n One"), len("\n\n One moment.")]


async def test_all_calls_of_a_process_share_it_and_the_application_keeps_nothing() -> None:
    """The second call hears what the first one had synthesised; another host begins with nothing."""
    voice = ScriptedVoice()
    row = agent(cached(voice))
    for _ in range(2):
        async with row.open() as host:
            for _ in range(2):
                async with host.session() as session:
                    await session.say("Sure.")
    assert asked_for(voice) == ["Sure."] * 2


@pytest.mark.parametrize("other", [{"voice": "bob"}, {"language": "de"}], ids=str)
async def test_another_voice_is_never_heard(other: dict[str, Any]) -> None:
    """A call with a voice or language of its own gets its own audio, also after it was said by the pipeline's voice."""

    class Choir(ScriptedVoice):
        speaks_as = "anna"

        def adapt(self, settings: vp.CallSettings) -> None:
            self.speaks_as = settings.voice or settings.language or self.speaks_as

        async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes | vp.WordMark]:
            said.append((self.speaks_as, sentence.text))
            async for piece in super().synthesize(sentence):
                yield piece

    said: list[tuple[str, str]] = []
    async with agent(cached(Choir())).open() as host:
        for settings in (None, vp.CallSettings(**other)) * 2:
            async with host.session(settings=settings) as session:
                await session.say("Sure.")
    assert said == [("anna", "Sure."), (*other.values(), "Sure.")]


async def test_a_voice_that_cannot_change_still_refuses() -> None:
    """The settings of a call reach the voice, which refuses what it cannot do by its own name."""

    class Monotone(ScriptedVoice):
        def adapt(self, settings: vp.CallSettings) -> None:
            settings.refuse(self.name, "voice")

    with pytest.raises(ConfigurationError, match="Monotone cannot change its voice"):
        async with agent(cached(Monotone())).session(settings=vp.CallSettings(voice="bob")):
            pytest.fail("it opened")


# --- what is not kept -------------------------------------------------------------------------------------------------


class Faulty(ScriptedVoice):
    """A voice whose first sentence fails in some way, and the others do not."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes | vp.WordMark]:
        is_first = not self.sentences
        async for piece in super().synthesize(sentence):
            if is_first and isinstance(piece, bytes):
                match self.fault:
                    case "no audio":
                        continue
                    case "broken off":
                        yield piece
                        raise VendorError("it broke", vendor="faulty", retryable=True)
                    case "no bytes":
                        yield 7  # type: ignore[misc]  # the fault
                    case _:
                        await anyio.sleep_forever()
            yield piece


@pytest.mark.parametrize("fault", ["no audio", "broken off", "no bytes", "silent"])
async def test_a_failure_is_not_kept(fault: str) -> None:
    """Audio that is not whole is synthesised again the next time; the error names the voice, not its wrapper."""
    voice = Faulty(fault)
    events: list[vp.Event] = []
    async with agent(cached(voice)).session() as session:
        await session.say("Sure.")
        said = await session.say("Sure.")
        await session.say("Sure.")
    events += [event async for event in session]
    failed = next(event for event in events if isinstance(event, vp.TurnFailed))
    named = (
        failed.error.part if isinstance(failed.error, StageError) else str(failed.error) + str(failed.error.__notes__)
    )
    assert "Faulty" in named
    assert "CachedOpeners" not in named
    assert said.is_whole
    assert asked_for(voice) == ["Sure.", "Sure."]  # the third time it was kept


async def test_an_interrupted_synthesis_is_not_kept() -> None:
    """An opener that was cut before the voice had given all of it is synthesised again."""
    voice = ScriptedVoice(speed=1.0)
    async with agent(cached(voice)).session() as session:
        cut = session.say("One moment.")
        await anyio.sleep(0.2)
        session.interrupt()
        assert not (await cut).is_whole
        assert (await session.say("One moment.")).is_whole
    assert asked_for(voice) == ["One moment."] * 2


async def test_a_cached_sentence_teaches_nothing_about_the_voice() -> None:
    """With a learned start buffer the voice's pace is learned from the voice alone."""
    voice = ScriptedVoice(speed=0.5, marks=False)
    voice.start_buffer_s = "learned"
    output = RecordingOutput()
    async with agent(cached(voice, ["Hm."])).session(output=output) as session:
        await session.say("This one is slow.")
        for _ in range(10):  # more than are remembered
            await session.say("Hm.")
        await session.say("This one is slow.")
    events = [event async for event in session]
    slow = [event for event in events if isinstance(event, vp.VoiceTooSlow) and event.text == "This one is slow."]
    assert [round(event.silent_s, 3) for event in slow] == [0.88, 0.02]  # the second time it was played late enough


async def test_a_fallback_that_was_said_once_is_heard_while_the_voice_is_away() -> None:
    """When the voice's service fails, the caller hears the kept fallback in that step instead of nothing."""

    class Away(ScriptedVoice):
        async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes | vp.WordMark]:
            if self.sentences:
                raise VendorError("the service is away", vendor="away", retryable=True)
            async for piece in super().synthesize(sentence):
                yield piece

    openers = cached(Away(), ["Sorry."])
    parts = [ScriptedModel([Says("We open at nine.")]), vp.SentenceChunker(), openers]
    async with vp.Pipeline(*parts, output=RecordingOutput(), fallback="Sorry.").session() as session:
        await session.say("Sorry.")
        turn = await session.user_says("When do you open?")
    assert (turn.heard, str(turn.failure)) == ("Sorry.", "the service is away")


# --- the part ---------------------------------------------------------------------------------------------------------


def test_it_has_what_a_pipeline_has_to_know_of_the_voice() -> None:
    """Rate, markup, start buffer and name are the voice's; the repr shows both."""
    voice = ScriptedVoice(sample_rate=16_000)
    voice.strips_markup, voice.start_buffer_s = False, 0.3
    openers = cached(voice)
    assert (openers.sample_rate, openers.strips_markup, openers.start_buffer_s) == (16_000, False, 0.3)
    assert openers.name == "ScriptedVoice"
    assert repr(openers) == "<CachedOpeners 2 texts, <ScriptedVoice>>"


async def test_it_follows_a_voice_that_knows_its_rate_only_once_it_is_open() -> None:
    """The rate that a voice finds out when it is opened is the one that its audio is played at."""

    class Local(ScriptedVoice):
        @asynccontextmanager
        async def open(self) -> AsyncGenerator[None]:
            self.sample_rate = 12_000
            yield

    output = RecordingOutput()
    async with agent(cached(Local())).session(output=output) as session:
        for _ in range(2):
            await session.say("One moment.")
    assert round(anyio.current_time(), 3) == 1.1  # 11 characters of 50 ms, twice


@pytest.mark.parametrize(
    ("voice", "texts", "said"),
    [
        ("marin", OPENERS, "takes a voice such as OpenAITTS"),
        (ScriptedVoice(), "Sure.", r"takes a list of texts; write \['Sure.'\]"),
        (ScriptedVoice(), ["  "], "each text has 1 to 200 characters"),
        (ScriptedVoice(), ["long " * 41], "each text has 1 to 200 characters"),
        (ScriptedVoice(), [7], "each text has 1 to 200 characters"),
    ],
)
def test_what_it_cannot_say_is_refused(voice: Any, texts: Any, said: str) -> None:
    """The error says what was expected and what to do."""
    with pytest.raises(ConfigurationError, match=said):
        vp.CachedOpeners(voice, texts)
