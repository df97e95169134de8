# ruff: noqa: RUF001 - dashes, quotes and signs as replies have them
"""What becomes of a sentence before a voice says it, and what stays in the record."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import voicepipe as vp
from voicepipe.flow import Sentence
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedVoice
from voicepipe.text.markup import spoken
from voicepipe.text.wording import written, written_until

MISSING = [name for name in ("babel", "num2words") if find_spec(name) is None]

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        bool(MISSING) and os.environ.get("VOICEPIPE_TEST_ALL") != "1", reason=f"not installed: {', '.join(MISSING)}"
    ),
]

LANGUAGES = ("de", "en", "es", "fr", "it")

WRONG_AT_FIRST = {"Is 03/04/2025 fine for you?", "Please call (555) 010-0142 after lunch."}
"""Of the hundred sentences, those that the first version read wrongly: 98 were right before anything was changed."""


def rows(name: str) -> dict[str, list[tuple[str, str, str]]]:
    """Return a table of sentences by language: kind, as written, as said."""
    tables = tomllib.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))
    return {language: [tuple(row) for row in table] for language, table in tables.items()}


def read_wrongly(name: str) -> list[tuple[str, str, str]]:
    """Return the sentences of a table that are not read as they should be: kind, as it should be, as it is."""
    return [
        (f"{language} {kind}", wanted, found)
        for language, table in rows(name).items()
        for kind, text, wanted in table
        if (found := vp.Speakable(language).read_out(text)) != wanted
    ]


def test_a_hundred_sentences_in_five_languages() -> None:
    """Each is read out as a person would; they were written before the first run, and nothing was tuned on them."""
    table = rows("spoken_sentences.toml")
    assert {language: len(sentences) for language, sentences in table.items()} == dict.fromkeys(LANGUAGES, 20)
    assert {text for sentences in table.values() for _, text, _ in sentences} >= WRONG_AT_FIRST
    assert read_wrongly("spoken_sentences.toml") == []


def test_sentences_that_the_rules_were_tuned_on() -> None:
    """They are read as they should be, and what is not sure stays as it is written."""
    assert read_wrongly("spoken_tuned.toml") == []


def test_what_was_read_out_is_plain() -> None:
    """Nothing is left to change in a sentence that was read out, nor in one without numbers."""
    for language, sentences in rows("spoken_sentences.toml").items():
        for _, _, said in sentences:
            assert vp.Speakable(language).read_out(said) == said


@pytest.mark.slow
def test_a_region_decides() -> None:
    """The order of a date, the signs of a number and the names of units follow the region, if it is known."""
    table = [
        ("en-US", "On 03/04/2025, 5 km away.", "On March fourth, twenty twenty-five, five kilometers away."),
        ("en-GB", "On 03/04/2025, 5 km away.", "On the third of April, twenty twenty-five, five kilometres away."),
        ("en", "On 03/04/2025.", "On 03/04/2025."),
        ("de-CH", "Es kostet 1'250.50 CHF.", "Es kostet eintausendzweihundertfünfzig Franken fünfzig."),
        ("fr-CA", "Le 03/04/2025.", "Le 03/04/2025."),
        ("es-MX", "Son $1,250.", "Son mil doscientos cincuenta pesos."),
        ("en-ZZ", "It costs $5.", "It costs five dollars."),
        ("EN_us", "On 03/04/2025.", "On March fourth, twenty twenty-five."),
    ]
    assert [(language, text, vp.Speakable(language).read_out(text)) for language, text, _ in table] == table


def test_kinds_can_be_left() -> None:
    """What a voice says well by itself stays as it is written, and no other rule reads a part of it."""
    text = "Call 555-0142 at 9:30, it costs $5."
    left = vp.Speakable("en", leaves=["phone", "time"])
    assert left.read_out(text) == "Call 555-0142 at 9:30, it costs five dollars."
    assert repr(left) == "<Speakable en leaves phone, time>"


def test_markup_is_taken_out_where_something_is_said_in_other_words() -> None:
    """Marks inside of a sum do not hide it, and a sentence that stays the same keeps its marks for the voice."""
    assert (
        vp.Speakable("en").read_out("It costs **$5**, see [us](https://example.com).")
        == "It costs five dollars, see us."
    )
    assert vp.Speakable("en").read_out("It is **free**.") == "It is **free**."


TEXTS = st.text(st.sampled_from("0123456789.,:/-–+ $€%°#@ºª()'ehmkx \u00a0St.Dr"), max_size=40) | st.text(max_size=30)


@given(TEXTS, st.sampled_from(LANGUAGES))
def test_any_text_is_read_out(text: str, language: str) -> None:
    """No text fails, no word of it is lost, and what is heard up to any cut is a beginning of what was written."""
    stage = vp.Speakable(language)
    stage.read_out("")
    sentence = stage._for_the_ear(Sentence(text))
    assert written(sentence) == (spoken(text) if sentence.wording else text)
    cuts = [written_until(sentence, at) for at in range(len(sentence.text) + 1)]
    assert cuts[-1] == written(sentence)
    assert all(cuts[-1].startswith(cut) for cut in cuts)
    assert sorted(map(len, cuts)) == list(map(len, cuts))


async def call(
    voice: ScriptedVoice, reply: str, *, cut_s: float = 60, stage: vp.Speakable | None = None, language: str = ""
) -> tuple[vp.AssistantMessage, list[str]]:
    """Return the agent's message of a call, which may be cut, and the texts of its `SentenceStarted` events."""
    row = vp.Pipeline(ScriptedModel([Says(reply)]), vp.SentenceChunker(), stage or vp.Speakable("en"), voice)
    settings = vp.CallSettings(language=language) if language else None
    async with row.session(output=RecordingOutput(), settings=settings) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.user_says, "How much?")
        await anyio.sleep(cut_s)
        session.interrupt()
    message = session.history[-1]
    assert isinstance(message, vp.AssistantMessage)
    return message, [event.text async for event in session if isinstance(event, vp.SentenceStarted)]


async def test_history_keeps_the_words_of_the_model() -> None:
    """The voice says "five dollars", and the history, the events and the record of what was heard say "$5"."""
    voice = ScriptedVoice()
    message, shown = await call(voice, "It costs $5 today. Pay at 9:30.")
    assert [text for _, text in voice.sentences] == ["It costs five dollars today.", " Pay at nine thirty."]
    assert message.text == message.generated == "It costs $5 today. Pay at 9:30."
    assert shown == ["It costs $5 today.", "Pay at 9:30."]
    assert message.synthesised == message.generated
    assert not message.was_interrupted


async def test_a_cut_reply_ends_with_a_word_of_the_model() -> None:
    """A character takes 0.05 s: "five dollars" is heard from 0.5 to 1.05 s, so "$5" counts from then on.

    Without marks, as long as audio still comes, a character counts as heard after 1/11 s.
    """
    heard: dict[bool, list[str]] = {True: [], False: []}
    for marks, texts in heard.items():
        for at_s in (0.12, 0.46, 0.7, 0.98, 1.08, 1.3):
            message, _ = await call(ScriptedVoice(marks=marks), "It costs $5 today.", cut_s=at_s)
            texts.append(message.heard)
    assert heard == {
        True: ["It", "It costs", "It costs", "It costs", "It costs $5", "It costs $5"],
        False: ["", "It", "It", "It costs", "It costs", "It costs"],
    }


async def test_a_voice_that_reads_numbers_is_given_what_was_written() -> None:
    """With `reads_numbers` a `Speakable` before the voice changes nothing."""
    voice = ScriptedVoice()
    voice.reads_numbers = True
    message, _ = await call(voice, "It costs **$5**.")
    assert ([text for _, text in voice.sentences], message.synthesised) == (["It costs $5."], "It costs $5.")


def test_which_voices_read_numbers() -> None:
    """A service whose reference says so does; one that decides for itself, or says nothing, is not relied on."""
    voices = [vp.CartesiaTTS(), vp.ElevenLabsTTS(text_normalization="on"), vp.ElevenLabsTTS(), vp.AssemblyAITTS()]
    assert [voice.reads_numbers for voice in voices] == [True, True, False, False]
    assert vp.CachedOpeners(voices[0], ["Sure."]).reads_numbers


async def test_a_call_may_have_its_own_language() -> None:
    """`CallSettings` decide, also for a row without a language; other languages are spoken as they are written."""
    said = {}
    for language in ("de", "pt-BR", "en-GB"):
        voice = ScriptedVoice()
        await call(voice, "5 €", stage=vp.Speakable(), language=language)
        said[language] = voice.sentences[0][1]
    voice = ScriptedVoice()
    await call(voice, "5 €", stage=vp.Speakable())
    assert (said, voice.sentences[0][1]) == ({"de": "fünf Euro", "pt-BR": "5 €", "en-GB": "five euros"}, "5 €")


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"language": "pt"}, "language must be one of 'de', 'en', 'es', 'fr', 'it', or with a region, not 'pt'"),
        ({"language": 5}, "not 5"),
        ({"leaves": "money"}, r"write leaves=\['money'\]"),
        ({"leaves": ["cash"]}, "leaves has 'cash'; there are: abbreviation, address, date"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, object], found: str) -> None:
    """An error names what is wrong and what there is."""
    with pytest.raises(vp.ConfigurationError, match=found):
        vp.Speakable(**options)


async def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline does not open without them, and the error says which extra to install."""
    monkeypatch.setitem(sys.modules, "num2words", None)
    row = vp.Pipeline(ScriptedModel([]), vp.SentenceChunker(), vp.Speakable("de-LI"), ScriptedVoice())
    with pytest.raises(
        vp.ConfigurationError, match=r"Speakable needs .* num2words.* pip install 'voicepipe\[speakable\]'"
    ):
        async with row.open():
            pass


def test_nothing_is_imported_before_it_is_used() -> None:
    """A pipeline with a `Speakable` costs neither babel nor num2words until it is opened."""
    program = "import sys, voicepipe as vp; vp.Speakable('en'); print({'babel', 'num2words'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
