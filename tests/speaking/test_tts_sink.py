"""What a voice is given to say, and what counts as heard, in whole sessions on virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

import voicepipe as vp
from voicepipe.history import AssistantMessage
from voicepipe.testing import Calls, RecordingOutput, Reply, Says, ScriptedModel, ScriptedVoice

pytestmark = pytest.mark.anyio

MARKED = "**One** two `three`. Four [five](https://example.com) six <break time='9s'/>seven."
SAID = ["One two three.", " Four five six seven."]


class Directed(ScriptedVoice):
    """A voice that understands markup."""

    strips_markup = False


async def spoken_by(voice: ScriptedVoice, reply: str) -> list[str]:
    """Return the sentences of a reply that reach the voice."""
    pipeline = vp.Pipeline(ScriptedModel([Says(reply)]), vp.SentenceChunker(), voice, fallback="")
    async with pipeline.session(output=RecordingOutput()) as session:
        await session.user_says("Count.")
    return [text for _, text in voice.sentences]


async def cut_at(at_s: float, *replies: Reply, tools: Sequence[vp.Tool[[], Any]] = ()) -> list[AssistantMessage]:
    """Return the agent's messages in a call whose answer is interrupted at `at_s`; a character takes 0.05 s."""
    row = vp.Pipeline(ScriptedModel(list(replies)), vp.ToolRouter(tools), vp.SentenceChunker(), ScriptedVoice())
    async with row.session(output=RecordingOutput()) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.user_says, "Count.")
        await anyio.sleep(at_s)
        session.interrupt()
    return [message for message in session.history if isinstance(message, AssistantMessage)]


async def test_a_voice_is_given_words() -> None:
    """Neither Markdown nor tags, emoji or control characters reach `synthesize`."""
    assert await spoken_by(ScriptedVoice(), MARKED) == SAID
    assert await spoken_by(ScriptedVoice(), "Fi\u202ene\x07day 👍. Next") == ["Fine day.", " Next"]


class Screen(RecordingOutput):
    """Shows what the agent says."""

    shows_text = True


async def test_a_voice_is_not_asked_where_nobody_listens() -> None:
    """An output that shows text gets its sentences at the pace of the model; all of them count as heard."""
    voice, screen = ScriptedVoice(first_audio_s=1.0, sample_rate=16_000), Screen(sample_rate=16_000)
    pipeline = vp.Pipeline(ScriptedModel([Says("One. Two. Three.")]), vp.SentenceChunker(), voice)
    async with pipeline.session(output=screen) as session:
        turn = await session.user_says("Count.")
    assert (turn.heard, voice.sentences) == ("One. Two. Three.", [])
    assert len(screen.written) == 3
    assert anyio.current_time() < 0.1


async def test_what_has_nothing_to_pronounce_is_not_sent() -> None:
    """A rule, a fence or a tag alone is not a sentence; the white space around it stays."""
    reply = "One.\n\n---\n\n```python\nTwo.\n```\n<break/>\n👍"
    assert await spoken_by(ScriptedVoice(), reply) == ["One.", "\n\n\n\n\nTwo."]


async def test_a_voice_may_ask_for_markup() -> None:
    """With `strips_markup = False` the marks reach the voice, but control characters do not."""
    assert await spoken_by(Directed(), "**One** <break/>two\u202e \x07👍.") == ["**One** <break/>two  👍."]


async def test_history_and_events_hold_what_was_spoken() -> None:
    """A reply with markup that was played to its end was heard completely, without its marks, and not interrupted."""
    pipeline = vp.Pipeline(ScriptedModel([Says(MARKED)]), vp.SentenceChunker(), ScriptedVoice())
    async with pipeline.session(output=RecordingOutput()) as session:
        await session.user_says("Count.")
    events = [event async for event in session]
    answer = session.history[-1]

    assert isinstance(answer, AssistantMessage)
    assert (answer.generated, answer.synthesised, answer.heard) == (MARKED, "".join(SAID), "".join(SAID))
    assert not answer.was_interrupted
    assert [event.text for event in events if isinstance(event, vp.SentenceStarted)] == [one.strip() for one in SAID]
    assert [event.heard for event in events if isinstance(event, vp.TurnCompleted)] == ["".join(SAID)]


@pytest.mark.parametrize(
    ("at_s", "heard"),
    [(0.1, ""), (0.2, "One"), (0.5, "One two"), (0.8, "One two three."), (1.22, "One two three. Four five")],
)
async def test_an_interrupted_reply_is_heard_by_the_words_that_were_spoken(at_s: float, heard: str) -> None:
    """Word marks count the characters of the cleaned sentence, so markup in the reply does not shift them."""
    (answer,) = await cut_at(at_s, Says(MARKED))

    assert (answer.heard, answer.was_interrupted) == (heard, True)


async def test_markup_that_was_left_out_is_no_interruption() -> None:
    """In an interrupted turn, a message that was heard completely, apart from its markup, was not interrupted."""

    @vp.tool(effect="read")
    async def look() -> str:
        """Look it up."""
        return "found"

    before, after = await cut_at(1.0, Calls("look", {}, say="**One** moment 👍."), Says("Here it is."), tools=(look,))

    assert (before.heard, before.was_interrupted) == ("One moment.", False)
    assert (after.heard, after.was_interrupted) == ("Here it", True)


@pytest.mark.parametrize("reply", ["<break time='9s'/>", "![](picture.png)", "```python\n```"])
async def test_markup_alone_is_an_empty_reply(reply: str) -> None:
    """A reply that cannot be pronounced counts as empty, and the caller hears the fallback."""
    voice = ScriptedVoice()
    pipeline = vp.Pipeline(ScriptedModel([Says(reply)]), vp.SentenceChunker(), voice, fallback="Pardon?")
    async with pipeline.session(output=RecordingOutput()) as session:
        await session.user_says("Hello?")

    assert [type(event) async for event in session if isinstance(event, vp.TurnEnded)] == [vp.TurnEmpty]
    assert [text for _, text in voice.sentences] == ["Pardon?"]
