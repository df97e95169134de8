"""The demo's open conversation: any words, by Whisper; a natural voice, by Piper; callers who are people.

Rule 1: as in `_demo_script` the model is scripted and all else is real; a model of this machine may take its place.
Rule 2: of what a caller says one word in five may be taken for another, as happens with any words; the answer must fit.
"""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final

import voicepipe as vp
from voicepipe.cli._demo_callers import PEOPLE, recording_of
from voicepipe.cli._demo_script import Line, end_call
from voicepipe.cli._demo_stack import TOKEN_S, Conversation, Stack, live_problems
from voicepipe.cli._model_server import model_at
from voicepipe.testing.gateway import ScriptedGateway
from voicepipe.testing.script import Calls, ChatRequest, Reply, Says

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

__all__ = ["LINES", "answer", "offline", "problems"]

SYSTEM: Final = (
    "You answer the telephone of a workshop that repairs telephone systems. Speak one or two short, plain sentences. "
    "An engineer can come on any day: book one with the tool. A repair takes two hours, which you explain in three "
    "sentences. When the caller says goodbye, say goodbye in one short sentence, and call no tool for that."
)

CALLER: Final = "en-us"
"""Of eight eSpeak voices Whisper tiny.en understands this one best. It was trained on people."""

LINES: Final = (
    Line(text="Hello.", recording="hello", reply="Hello, this is the telephone workshop. What has happened?"),
    Line(
        text="Weasels have eaten our phone system.",
        recording="tt-weasels",
        reply="Weasels, again. We have seen that before, and we can repair it. Where are you?",
    ),
    Line(
        text="Could you send somebody to Bristol on Thursday?",
        reply="Let me see who is free. An engineer comes to Bristol on Thursday, between nine and twelve.",
        tool="book_engineer",
    ),
    Line(
        text="How long does it take to repair?",
        reply="It takes two hours, if nothing else was eaten. First our engineer looks for the animals, and takes them "
        "to a quiet place in the country. Then the cables are laid again, in steel pipes this time.",
        cut_after_s=1.8,
    ),
    Line(
        text="Something is terribly wrong.",
        recording="something-terribly-wrong",
        reply="Then please leave the room, and close the door behind you. We come today.",
    ),
    Line(text="Goodbye.", recording="goodbye", reply="We are on our way. Goodbye.", tool="end_call"),
)

KEYWORDS: Final = (
    ("phone system", LINES[1]),  # not the weasels, whose name it may spell as it likes
    ("how long", LINES[3]),
    ("wrong", LINES[4]),
    ("hello", LINES[0]),
)
"""What the scripted model listens for, in this order."""

_PLACE_AND_DAY: Final = re.compile(r"\bto (\w+)\W+on (\w+day)\b", re.IGNORECASE)


@vp.tool(effect="write")
async def book_engineer(place: str, day: str) -> str:
    """Send an engineer to a place on a day of the week."""
    return f"An engineer comes to {place} on {day}, between nine and twelve."


TOOLS: Final = (book_engineer, end_call)


def offline(llm_url: str | None, llm_model: str | None) -> Conversation:
    """Return the conversation with Whisper and Piper.

    Args:
        llm_url: A server with OpenAI's endpoints, e.g. Ollama's; None for the scripted model.
        llm_model: Its model; None for the only one that it has.
    """

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Stack]:
        stt = vp.STTStage(vp.WhisperRecogniser())
        tts = vp.PiperTTS()
        if llm_url is not None:
            model = await model_at(llm_url, llm_model)
            yield Stack(
                stt=stt,
                llm=vp.LLMStreamStage(SYSTEM, base_url=llm_url, model=model),
                tts=tts,
                problems=lambda events, played: live_problems(events, played, LINES),
                requests=list,
                is_scripted=False,
            )
            return
        gateway = ScriptedGateway(answer, token_s=TOKEN_S)
        async with gateway.serve() as base_url:
            yield Stack(
                stt=stt,
                llm=vp.LLMStreamStage(SYSTEM, base_url=base_url, model="scripted"),
                tts=tts,
                problems=lambda events, _played: problems(events),
                requests=lambda: [request.body for request in gateway.requests if request.chat is not None],
                is_scripted=True,
            )

    return Conversation(
        title="A conversation in any words, without key or network.",
        notes=_notes(llm_url),
        opened=opened,
        lines=LINES,
        tools=TOOLS,
        caller=CALLER,
    )


def _notes(llm_url: str | None) -> Sequence[str]:
    recorded = [line for line in LINES if recording_of(line) is not None]
    people = (
        f"caller: {len(recorded)} of {len(LINES)} lines are recordings of a person (CC-BY-SA 3.0), the rest eSpeak NG"
        if recorded
        else f"caller: eSpeak NG (GPL-3); with Debian's package {PEOPLE} a person speaks: apt-get install {PEOPLE}"
    )
    model = "scripted, on a real HTTP server of this machine, 10 ms a token, no first-token delay"
    return (
        "recogniser: Whisper, on this machine; any words, in English",
        "voice: Piper, on this machine; piper-tts is GPL-3",
        people,
        f"model: {llm_url if llm_url is not None else model}",
        "figures: end of speech to first audio, measured" + ("" if llm_url else "; they exclude a real model"),
    )


def answer(request: ChatRequest) -> Reply:
    """Answer as a model would that listens for a few words."""
    said = request.last_user_text.rpartition("\n")[2]
    if "bye" in said.lower():
        return Says("Goodbye.") if request.tool_results else Calls("end_call", {}, say="We are on our way. ")
    if (found := _PLACE_AND_DAY.search(said)) is not None:
        if request.tool_results:
            return Says(next(iter(request.tool_results.values())).strip('"'))
        return Calls("book_engineer", {"place": found[1], "day": found[2]}, say="Let me see who is free. ")
    reply = next((line.reply for word, line in KEYWORDS if word in said.lower()), None)
    return Says(reply or "Sorry, I did not understand that.")


def problems(events: Sequence[vp.Event]) -> list[str]:
    """Return how a conversation differs from the script, a sentence each."""
    ended = [event for event in events if isinstance(event, vp.TurnEnded)]
    turns = [turn for turn in ended if not (isinstance(turn, vp.TurnInterrupted) and turn.joined)]
    done = {event.name for event in events if isinstance(event, vp.ToolFinished) and event.status == "done"}
    found = [
        f"turn {turn.turn_id}: {problem}"
        for line, turn in zip(LINES, turns, strict=False)
        if (problem := _problem(line, turn))
    ]
    found += [f"the tool {line.tool} did not succeed" for line in LINES if line.tool and line.tool not in done]
    if len(turns) != len(LINES):
        found.append(f"there were {len(turns)} turns instead of {len(LINES)}")
    return found


def _problem(line: Line, turn: vp.TurnEnded) -> str:
    kind = vp.TurnCompleted if line.cut_after_s is None else vp.TurnInterrupted
    if 5 * _missed(line.text, turn.user_text) > len(_words(line.text)):
        return f"the caller said {line.text!r}, but {turn.user_text!r} was recognised"
    if not isinstance(turn, kind):
        return f"it should end as {kind.__name__}, but it ended as {type(turn).__name__}"
    if line.cut_after_s is None and turn.heard != line.reply:
        return f"{turn.heard!r} was heard instead of {line.reply!r}"
    if line.cut_after_s is not None and not (turn.heard and line.reply.startswith(turn.heard)):
        return f"{turn.heard!r} was heard, which is not the beginning of {line.reply!r}"
    return ""


def _missed(text: str, recognised: str) -> int:
    """Return how many words of a text were not recognised."""
    expected = _words(text)
    same = SequenceMatcher(None, expected, _words(recognised), autojunk=False).get_matching_blocks()
    return len(expected) - sum(block.size for block in same)


def _words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())
