"""Where the time of a turn goes: up to the first sample that the ear hears, by the names of what took it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from pydantic import BaseModel

import voicepipe as vp
from voicepipe.testing import Calls, RecordingOutput, Says, ScriptedModel, ScriptedUser, ScriptedVoice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

RATE = 16_000


class LateVoice(ScriptedVoice):
    """A voice that begins each sentence with near silence, and ends it at -6 dB."""

    def __init__(self, lead_in_s: float, **options: Any) -> None:
        super().__init__(sample_rate=RATE, **options)
        self.lead_in_s = lead_in_s

    async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes | vp.WordMark]:
        await anyio.sleep(self._first_audio_s)
        yield b"\x40\x00" * round(self.lead_in_s * RATE)  # 64 of 32768: the breath before the first word
        yield b"\x00\x40" * round(0.5 * RATE)


async def answered(*row: Any, user: ScriptedUser | None = None, **options: Any) -> tuple[vp.TurnEnded, RecordingOutput]:
    output = RecordingOutput(RATE)
    user = user or ScriptedUser().says("What is it?", at_s=1.0, silence_s=0.2).hangs_up(at_s=9.0)
    async with vp.Pipeline(user, *row, output=output, **options).session() as session:
        ended = [event async for event in session if isinstance(event, vp.TurnEnded)]
    timeline = ended[0].timeline
    assert sum(timeline.contributions_us.values()) == (timeline.waited_us or 0)
    assert sum(timeline.answer_contributions_us.values()) == (timeline.answered_us or 0)
    return ended[0], output


def spent(us: dict[str, int]) -> dict[str, float]:
    return {name: value / 1e6 for name, value in us.items() if value}


async def test_the_silence_that_a_voice_begins_with_is_waited_for() -> None:
    """The wait ends with the first audible sample, which is found to the sample in whatever frame it is."""
    turn, output = await answered(
        ScriptedModel([Says("It is two.", after_s=0.3)]), vp.SentenceChunker(), LateVoice(0.1234375, first_audio_s=0.1)
    )
    assert spent(turn.timeline.contributions_us) == {"silence": 0.2, "llm": 0.3, "tts": 0.1, "lead_in": 0.123438}
    loud = next(at for at in range(0, len(output.played), 2) if output.played[at : at + 2] == b"\x00\x40")
    heard_s = turn.timeline.first_audible - turn.timeline.first_sample
    first = next(at for at in range(0, len(output.played), 2) if output.played[at : at + 2] == b"\x40\x00")
    assert (loud - first) / 2 / RATE == pytest.approx(heard_s, abs=1e-6)
    assert turn.timeline.answer == turn.timeline.first_audible


async def test_a_turn_without_a_sound_waits_until_its_first_frame() -> None:
    """Where nothing is audible, the wait ends with the first frame, as it does at an output that shows text."""
    turn, _ = await answered(ScriptedModel([Says("Psst.")]), vp.SentenceChunker(), SilentVoice())
    assert "first_audible" not in turn.timeline
    assert turn.timeline.waited_us == turn.timeline.answered_us == 200_000


class SilentVoice(ScriptedVoice):
    async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes | vp.WordMark]:
        yield bytes(4800)


@vp.tool(effect="read", say="One moment.")
async def price() -> str:
    """Return a price."""
    await anyio.sleep(2.5)
    return "2 euros"


def priced(request: Any) -> Any:
    return Says("Two euros.", after_s=0.3) if request.tool_results else Calls("price", {}, after_s=0.4)


async def test_filler_ends_the_silence_but_answers_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """What a tool says while it works is heard first; the answer's own wait goes on, and both add up."""
    caplog.set_level("INFO", logger="voicepipe")
    voice = LateVoice(0.04, first_audio_s=0.1)
    turn, _ = await answered(ScriptedModel(priced), vp.ToolRouter([price]), vp.SentenceChunker(), voice)
    assert spent(turn.timeline.contributions_us) == {
        "silence": 0.2, "llm": 0.4, "tools": 0.7, "tts": 0.1, "lead_in": 0.04,
    }  # fmt: skip
    assert spent(turn.timeline.answer_contributions_us) == {
        "silence": 0.2, "llm": 0.7, "tools": 2.36, "tts": 0.2, "lead_in": 0.08,
    }  # fmt: skip
    assert (turn.timeline.waited_us, turn.timeline.answered_us) == (1_440_000, 3_540_000)
    assert "(answered after 3540 ms, first sound after 1440 ms, " in caplog.text


async def test_an_opener_is_filler_if_more_follows() -> None:
    """A text of `CachedOpeners` ends the silence; it is the answer only of a turn that says nothing else."""
    both: list[vp.TurnEnded] = []
    for reply in ("Sure. It is two.", "Sure."):
        voice = vp.CachedOpeners(LateVoice(0.04, first_audio_s=0.1), ["Sure."])
        model = ScriptedModel([Says(reply, after_s=0.3)])
        both.append((await answered(model, vp.SentenceChunker(), voice))[0])
    more, alone = (turn.timeline for turn in both)
    assert (more.waited_us, alone.waited_us, alone.answered_us) == (640_000, 640_000, 640_000)
    assert spent(more.answer_contributions_us) == {
        "silence": 0.2, "llm": 0.3, "tts": 0.1, "filler": 0.46, "output": 0.04, "lead_in": 0.08,
    }  # fmt: skip
    assert round(more.answer - more.first_audible, 6) == 0.54


class Slow(vp.Stage[Any, Any]):
    """Hands on everything after a while."""

    def __init__(self, after_s: float) -> None:
        self.after_s = after_s

    async def run(self, inbox: vp.Inbox[Any], outbox: vp.Outbox[Any], turn: vp.Turn) -> None:
        async for item in inbox:
            await anyio.sleep(self.after_s)
            await outbox.send(replace(item))


class Correct(Slow, vp.Stage[vp.Transcript, vp.Transcript]): ...


class Redact(Slow, vp.Stage[vp.TextDelta, vp.TextDelta]): ...


class Pronounce(Slow, vp.Stage[vp.Sentence, vp.Sentence]): ...


class Intent(BaseModel):
    name: str


async def test_time_in_a_stage_has_the_name_of_the_stage() -> None:
    """A gate, a stage in front of the model, and stages behind it: each has its own share of the wait."""
    gate = vp.Structured(
        Intent, gate=lambda intent, turn: True, llm=ScriptedModel([Says('{"name": "ask"}', after_s=0.25)])
    )
    row = Correct(0.05), gate, ScriptedModel([Says("It is two.", after_s=0.3)])
    turn, _ = await answered(*row, Redact(0.02), vp.SentenceChunker(), Pronounce(0.07), Pronounce(0.01), LateVoice(0))
    assert spent(turn.timeline.contributions_us) == {
        "silence": 0.2,
        "stage:Correct": 0.05,
        "stage:Structured(Intent)": 0.25,
        "llm": 0.3,
        "stage:Redact": 0.02,
        "sentence": 0.06,
        "stage:Pronounce": 0.08,
    }  # fmt: skip - three more tokens came through Redact until the sentence was whole


async def test_what_was_flushed_before_it_was_heard_is_no_sound() -> None:
    """A reply that is cut in its lead-in was not heard: the marks of samples that were never played are taken back."""
    output, model = RecordingOutput(RATE), ScriptedModel([Says("It is two.")])
    async with vp.Pipeline(
        ScriptedUser().says("What is it?", at_s=1.0), model, vp.SentenceChunker(), LateVoice(0.2), output=output
    ).session() as session:
        await anyio.sleep(1.19)  # the output has been given samples that it plays up to 10 ms later
        session.interrupt()
        ended = [event async for event in _first(session)]
    timeline = ended[0].timeline
    assert isinstance(ended[0], vp.TurnInterrupted)
    assert ("first_sample" in timeline, "first_audible" in timeline, "answer" in timeline) == (True, False, False)
    assert (timeline.waited_us, timeline.answered_us) == (0, None)


async def _first(session: vp.Session) -> AsyncIterator[vp.TurnEnded]:
    async for event in session:
        if isinstance(event, vp.TurnEnded):
            yield event
            return


async def test_a_pause_in_the_lead_in_is_withheld_time() -> None:
    """A sound of the caller's before anything was heard holds the reply up, and its time is booked as withheld."""
    user = ScriptedUser().says("What is it?", at_s=1.0, silence_s=0.2).coughs(at_s=1.25, for_s=0.5).hangs_up(at_s=9.0)
    voice = LateVoice(0.7)
    turn, _ = await answered(ScriptedModel([Says("It is two.")]), vp.SentenceChunker(), voice, user=user)
    shares = spent(turn.timeline.contributions_us)
    assert set(shares) == {"silence", "withheld", "lead_in"}
    assert "first_audible" in turn.timeline
