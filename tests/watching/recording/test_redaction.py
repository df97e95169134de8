"""What a recording leaves out: the application's hook, and secrets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import voicepipe as vp
from tests.watching.recording.calls import Line, Reports, agent, everything, only_in, recorded, spans
from voicepipe import observed
from voicepipe.testing import Calls, RecordingOutput, Says, ScriptedModel, ScriptedVoice
from voicepipe.testing.simulators.gateway import GatewaySimulator
from voicepipe.testing.simulators.stt import Spoken, STTSimulator
from voicepipe.testing.simulators.tts import TTSSimulator
from voicepipe.watching.recording.batch import Line as Written
from voicepipe.watching.recording.records import from_json, to_json
from voicepipe.watching.recording.redaction import Screen
from voicepipe.watching.recording.screen import Hidden
from voicepipe.watching.recording.sound import Channels, Covered, cover_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

pytestmark = pytest.mark.anyio

NUMBER = re.compile(r"\d{4}(?: ?\d{4})*")


def without_numbers(text: str, kind: str) -> str:
    return NUMBER.sub("#", text)


@vp.tool(effect="read")
async def pay(card: str) -> str:
    """Pay."""
    await anyio.sleep(0.01)
    return f"{card} accepted"


def answer(request: Any) -> Any:
    if "4242" not in request.last_user_text:
        return Says("Yes.")
    return Says("I took 42425555 for that.") if request.tool_results else Calls("pay", {"card": "42425555"})


async def paid(directory: Path, **options: Any) -> Any:
    recogniser = (
        Reports()
        .guesses("my card is 4242", at_s=2.2, stable=False)
        .words(
            ("my", 1.0, 1.2), ("card", 1.3, 1.6), ("4242", 2.0, 2.5), ("5555", 2.5, 3.0), ("bye", 3.5, 3.7), at_s=4.0
        )
        .says("hello again", at_s=12.0, speech_s=0.7, silence_s=0.3)
    )
    recorder = vp.Recorder(directory, redact=without_numbers, **options)
    turns = vp.TurnRules(drafts=False)
    pipeline = agent(recogniser, answer, [pay], observers=[recorder], turns=turns)
    return await recorded(directory, pipeline, source=Line((1.0, 3.7), (11.0, 11.7), seconds=15.0))


async def test_what_the_hook_changes_is_in_no_file(tmp_path: Path) -> None:
    """Texts are changed as a whole: early words, the pieces of a reply and of a call included."""
    recording = await paid(tmp_path)
    content = everything(recording.path)
    assert [text for text in (b"4242", b"5555") if text in content] == []
    events = [one.event for one in recording.events]
    transcripts = [event for event in events if isinstance(event, vp.Transcript)]
    assert [event.text for event in transcripts] == ["my card is 4242".replace("is 4242", "# bye"), "hello again"]
    assert [event.text for event in events if isinstance(event, vp.EarlyTranscript)] == ["[left out]"]
    exchanges = list(recording.exchanges)
    assert [one.arguments for one in exchanges if isinstance(one, observed.ToolAsked)] == ['{"card": "#"}']
    assert [one.result for one in exchanges if isinstance(one, observed.ToolGave)] == ["# accepted"]
    said = [
        one.part.text for one in exchanges if isinstance(one, observed.ModelGave) and isinstance(one.part, vp.TextDelta)
    ]
    assert [text for text in said if text] == ["I took # for that.", "Yes", "."]
    assert [message.text for message in recording.history][:1] == ["my card # bye"]
    assert (recording.manifest.redacted, recording.is_cut) == (True, False)


@pytest.mark.parametrize("cover", ["silence", "beep"])
async def test_where_words_are_changed_their_sound_is_covered(cover: Any, tmp_path: Path) -> None:
    """The caller's by the times of the words, the agent's from the sentence to the end of its turn."""
    recording = await paid(tmp_path, cover=cover)
    caller = recording.audio("caller")
    within = caller[2 * 16_000 * 19 // 10 : 2 * 16_000 * 31 // 10]
    (asked,) = (one for one in recording.exchanges if isinstance(one, observed.VoiceAsked) and "#" in one.text)
    ended = next(one.event.timeline.ended for one in recording.events if isinstance(one.event, vp.TurnEnded))
    agents = recording.audio("agent", asked.at_s, ended)
    given = b"".join(
        one.piece
        for one in recording.exchanges
        if isinstance(one, observed.VoiceGave) and one.sentence_id == asked.sentence_id and isinstance(one.piece, bytes)
    )
    if cover == "silence":
        assert not any(within + agents + given)
        assert spans(caller, 16_000) == [(1.0, 1.85), (3.15, 3.7), (11.0, 11.7)]
    else:
        assert within == cover_of("beep", 19 * 1600, len(within) // 2, 16_000)
        assert max(memoryview(agents).cast("h")) == max(memoryview(given).cast("h")) == 3000
    assert spans(recording.audio("agent", ended), 16_000)


async def test_speech_without_times_of_words_is_covered_as_a_whole(tmp_path: Path) -> None:
    """From the beginning of the speech to its end."""
    recogniser = Reports().says("it is 4242", at_s=4.0, speech_s=1.5, silence_s=0.5)
    recorder = vp.Recorder(tmp_path, redact=without_numbers)
    pipeline = agent(recogniser, [Says("Thanks.")], observers=[recorder])
    recording = await recorded(tmp_path, pipeline, source=Line((0.5, 1.0), (2.0, 3.5), seconds=6.0))
    assert spans(recording.audio("caller"), 16_000) == [(0.5, 1.0)]


def test_a_span_that_is_covered_stays_covered() -> None:
    """Also for audio that comes late, on its own channel alone."""
    channels = Channels(2, 8_000)
    channels.put(0, 0, b"\x01\x00" * 8_000)
    channels.put(1, 0, b"\x02\x00" * 8_000)
    channels.cover(Covered(0, 100, 200, "silence"))
    _, pcm = channels.take()
    left, right = memoryview(pcm).cast("h")[::2].tolist(), memoryview(pcm).cast("h")[1::2].tolist()
    assert left == [1] * 100 + [0] * 100 + [1] * 7_800
    assert right == [2] * 8_000
    channels.put(0, 50, b"\x03\x00" * 100)
    at, pcm = channels.take()
    assert (at, memoryview(pcm).cast("h")[::2].tolist()[:100]) == (50, [3] * 50 + [0] * 50)


KEYS = "canary-stt-8c1f", "canary-llm-2b7e", "canary-tts-5d90"


async def test_keys_and_personal_facts_are_in_no_file(tmp_path: Path) -> None:
    """With services on the wire: their messages are there, and neither a key nor what is personal is."""
    stt = STTSimulator([Spoken("Is it open today?", 1.0, 2.0)], api_key=KEYS[0])
    gateway = GatewaySimulator([Says("It is open, Mrs Kowalczyk.")], api_key=KEYS[1])
    tts = TTSSimulator(api_key=KEYS[2])
    async with stt.serve() as stt_url, gateway.serve() as llm_url, tts.serve() as tts_url:
        pipeline = vp.Pipeline(
            vp.STTStage(vp.AssemblyAIRecogniser(url=stt_url, api_key=KEYS[0])),
            vp.LLMStreamStage("The caller is Kowalczyk.", base_url=llm_url, api_key=KEYS[1]),
            vp.SentenceChunker(),
            vp.AssemblyAITTS(url=tts_url, api_key=KEYS[2]),
            output=RecordingOutput(24_000),
            detector=None,
            observers=[vp.Recorder(tmp_path)],
        )
        facts = {"caller": vp.Personal("Kowalczyk"), "line": "shop"}
        async with pipeline.session(source=Line((1.0, 2.0), seconds=8.0), facts=facts) as session:
            await session.ended.wait()
    recording = only_in(tmp_path)
    content = everything(recording.path)
    assert [text for text in (*KEYS, "Kowalczyk") if text.encode() in content] == []
    assert recording.manifest.facts == {"caller": "***", "line": "shop"}
    wire = list(recording.wire)
    assert {message.connection for message in wire} == {1, 2, 3}
    assert "The caller is ***." in "".join(message.data for message in wire if isinstance(message.data, str))
    assert "characters of base64" in content.decode(errors="replace")
    heard_s = sum(len(message.data) for message in wire if isinstance(message.data, bytes)) / 2 / 16_000
    assert heard_s == pytest.approx(8.0, abs=0.5)
    assert [one.at_s for one in wire] == sorted(one.at_s for one in wire)


@pytest.mark.parametrize("by", ["hook", "fact"])
async def test_what_is_spelled_out_for_the_voice_is_in_no_file_either(by: str, tmp_path: Path) -> None:
    """Digits that a `Speakable` writes out as words go with those that were written, also from the wire."""
    pytest.importorskip("num2words")
    reply = "Gut, die Nummer ist +49 170 1234567. Danke."
    stt, tts = STTSimulator([Spoken("Is it open today?", 1.0, 2.0)]), TTSSimulator()
    async with stt.serve() as stt_url, tts.serve() as tts_url:
        pipeline = vp.Pipeline(
            vp.STTStage(vp.AssemblyAIRecogniser(url=stt_url)),
            ScriptedModel([Says(reply)]),
            vp.SentenceChunker(),
            vp.Speakable("de"),
            vp.AssemblyAITTS(url=tts_url),
            output=RecordingOutput(24_000),
            detector=None,
            observers=[vp.Recorder(tmp_path, redact=(lambda text, _: NUMBER.sub("#", text)) if by == "hook" else None)],
        )
        facts = {"phone": vp.Personal("+49 170 1234567")} if by == "fact" else {}
        await recorded(tmp_path, pipeline, source=Line((1.0, 2.0), seconds=9.0), facts=facts)
    assert "sechs sieben" in repr([session.messages for session in tts.sessions])
    content = everything(only_in(tmp_path).path).decode("utf-8", "replace")
    assert [words for words in ("1234567", "sechs sieben", "f\\u00fcnf sechs", "fünf sechs") if words in content] == []
    assert "Danke" in content


async def test_what_is_personal_is_in_no_pieces_either(tmp_path: Path) -> None:
    """A fact of two words is hidden where a model, its stream and a recogniser give it word by word; the rest stays."""

    @vp.tool(effect="read")
    async def find(name: str) -> str:
        """Find somebody."""
        return f"{name} is a customer"

    def reply(request: Any) -> Any:
        if not request.tool_results:
            return Calls("find", {"name": "Ann Kowalczyk"})
        return Says("You are Ann Kowalczyk, and not Kowalczyk Ann")

    words = ("i", 1.0, 1.1), ("am", 1.1, 1.2), ("Ann", 1.2, 1.5), ("Kowalczyk", 1.5, 2.0)
    recogniser = Reports().words(*words, at_s=2.3)
    gateway = GatewaySimulator(reply)
    async with gateway.serve() as url:
        pipeline = vp.Pipeline(
            vp.STTStage(recogniser),
            vp.LLMStreamStage("Help.", base_url=url, api_key="none"),
            vp.ToolRouter([find]),
            vp.SentenceChunker(),
            ScriptedVoice(sample_rate=16_000),
            output=RecordingOutput(16_000),
            detector=None,
            observers=[vp.Recorder(tmp_path)],
        )
        facts = {"caller": vp.Personal("Ann Kowalczyk"), "again": vp.Personal("Kowalczyk")}
        recording = await recorded(tmp_path, pipeline, source=Line((1.0, 2.0), seconds=8.0), facts=facts)
    assert not recording.is_cut
    assert b"Kowalczyk" not in everything(recording.path)
    given = [one.part for one in recording.exchanges if isinstance(one, observed.ModelGave)]
    assert len(given) > 8
    assert "".join(one.arguments for one in given if isinstance(one, vp.ToolCallDelta)) == '{"name": "***"}'
    assert "".join(one.text for one in given if isinstance(one, vp.TextDelta)) == "You are ***, and not *** Ann"
    assert [one.at_s for one in recording.exchanges] == sorted(one.at_s for one in recording.exchanges)
    said = [one.data for one in recording.wire if one.direction == "received" and one.data]
    assert set(said) == {"[left out]"}
    (heard,) = (one.event for one in recording.events if isinstance(one.event, vp.Transcript))
    assert (heard.text, [word.text for word in heard.words]) == ("i am ***", ["[left out]"] * 4)


def test_what_is_hidden_is_found_in_urls() -> None:
    """A text is hidden as JSON, as a path and as a query have it."""
    hidden = Hidden()
    hidden.add("Zo\u00eb & Ann", "***", is_secret=True)
    for form in ("Zo\u00eb & Ann", "Zo\\u00eb & Ann", "Zo%C3%AB%20%26%20Ann", "Zo%C3%AB+%26+Ann"):
        assert hidden(f"prompt={form}.", "wire") == "prompt=***."


class Breaking(Line):
    """A line that breaks, with the caller's name in the error."""

    async def frames(self) -> AsyncGenerator[bytes]:
        async for frame in super().frames():
            yield frame
        raise vp.VendorError("Ann Kowalczyk is unknown", vendor="shop", retryable=False)


async def test_what_is_personal_is_not_in_the_reason_either(tmp_path: Path) -> None:
    """Why a call ended may quote an error, and that the caller."""
    pipeline = agent(Reports(), [], observers=[vp.Recorder(tmp_path)])
    with pytest.raises(vp.VendorError):
        await recorded(tmp_path, pipeline, source=Breaking(seconds=1.0), facts={"caller": vp.Personal("Kowalczyk")})
    assert only_in(tmp_path).manifest.ended is not None
    assert b"Kowalczyk" not in everything(only_in(tmp_path).path)


def test_the_rest_of_a_piece_says_nothing_twice() -> None:
    """A text that ends like a hidden one begins is whole at the end of its reply; a tool is named once."""
    screen = Screen("both")
    screen.hidden.add("Kowalczyk", "***", is_secret=True)
    call = vp.ToolCallDelta(index=0, call_id="c1", name="find", arguments='{"name": "Ko')
    whole, end = vp.TextDelta("Ask Ko", ends_segment=True), vp.ReplyEnd(finish_reason="stop")
    parts = [whole, vp.TextDelta("for Kow"), call, end]
    given = [observed.ModelGave(at_s=1.0, request_id=1, part=part) for part in parts]
    lines = [Written("exchanges.jsonl", "ModelGave", {"t_s": 1.0, **to_json(one, 0.0)}) for one in given]
    passed = [from_json("ModelGave", one.fields).part for line in lines for one in screen.passed(line)]
    assert passed == [
        whole,
        vp.TextDelta("for "),
        vp.ToolCallDelta(index=0, call_id="c1", name="find", arguments='{"name": "'),
        vp.TextDelta("Kow"),
        vp.ToolCallDelta(index=0, arguments="Ko"),
        end,
    ]
