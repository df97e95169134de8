"""The application that `fleet` serves: voicepipe serve benchmarks/fleet_app.py.

Everything is real but the vendors, which follow a script with the delays of services. Each spoken word has a number of
its own, and the voice says it by samples of this value, for as long as a word takes. So a client knows which words it
was played, and which of them twice. In the same way the caller's audio carries what is asked.

The model is a function of the conversation that it is shown and of nothing else, as a model is: what the caller has
heard of a reply it does not say again, a tool whose outcome it knows it does not call again.

Rule 1: nothing here knows that there is more than one process, except that it says which one writes to the log.
"""

from __future__ import annotations

import json
import os
import re
import struct
from pathlib import Path
from typing import Any

import anyio

import voicepipe as vp
from voicepipe.serving import Limits, Page, Serve
from voicepipe.testing import Calls, ChatRequest, Says, ScriptedModel

FOLDER = "VOICEPIPE_BENCH_FOLDER"
"""The environment variable that names the folder for what tools and calls write."""

STORE = "VOICEPIPE_BENCH_STORE"
"""The one that names the address of the store; without it there is none."""

HEARD_S = 0.2
"""From the caller's last word until the recogniser is sure of it."""

FIRST_TOKEN_S = 0.25
TOKEN_S = 0.06
"""A reply of 15 words is whole after 1.3 s, when the caller has heard a fifth of it."""

FIRST_AUDIO_S = 0.1
WORD_S = 0.3
FASTER = 5
"""How many times faster than speech the voice's audio comes."""

TOOL_S = 0.4

PROMISED_S = HEARD_S + FIRST_TOKEN_S + 5 * TOKEN_S + FIRST_AUDIO_S
"""From the caller's last word to the reply's first sound, if nothing but the scripted vendors took time."""

RATE_OUT = 24_000
STORY = ((0, 5), (1, 5), (2, 5))
BOOKED = ((3, 4), (4, 4))
NOT_SURE = ((5, 6),)
FORGOTTEN = ((6, 1),)
NOTHING_LEFT = ((7, 1),)
"""The replies: their sentences, each with a number and with how many words it has."""

MARK = struct.Struct("<4h")
"""What 8 bytes of the caller's audio say: the kind of the question, its number, the caller, the newest reply heard."""

KINDS = {1: "tell", 2: "book"}
QUESTION = re.compile(r"Question (\d+) of caller (\d+) after (\d+): (\w+)")
WORD = re.compile(r"\bw(\d+)\b", re.IGNORECASE)


def value_of(question: int, sentence: int, word: int) -> int:
    """Return the number of a word, which is also the value of its samples."""
    return (question % 64) << 8 | sentence << 5 | word + 1


def sentence_of(value: int) -> int:
    """Return the number of the sentence that a word is of."""
    return value >> 5 & 7


def question_of(value: int) -> int:
    """Return the number of the question, modulo 64, that a word answers."""
    return value >> 8


def _values(question: int, sentences: tuple[tuple[int, int], ...]) -> list[int]:
    return [value_of(question, sentence, word) for sentence, words in sentences for word in range(words)]


def _spoken(values: list[int]) -> str:
    text = ""
    for at, value in enumerate(values):
        begins = at == 0 or sentence_of(values[at - 1]) != sentence_of(value)
        text += f"{'' if not at else '. ' if begins else ' '}{'W' if begins else 'w'}{value}"
    return text + "."


# --- the vendors ------------------------------------------------------------------------------------------------------


class Ears(vp.Recogniser):
    """Hears the questions that the caller's audio carries."""

    sample_rate = 16_000
    reports_speech = True

    async def recognise(self, inbox, outbox, session) -> None:
        del session
        asked, silence_s, ended_s = None, 0.0, 0.0
        async for frame in inbox:
            kind, *numbers = MARK.unpack_from(frame.pcm)
            end_s = frame.start_s + frame.duration_s
            if kind:
                if asked is None:
                    await outbox.send(vp.SpeechStarted(at_s=frame.start_s))
                asked, silence_s, ended_s = (kind, *numbers), 0.0, end_s
            elif asked is not None:
                if not silence_s:
                    await outbox.send(vp.SpeechEnded(at_s=ended_s))
                silence_s += frame.duration_s
                if silence_s >= HEARD_S - 1e-6:
                    kind, number, caller, after = asked
                    text = f"Question {number} of caller {caller} after {after}: {KINDS[kind]} me, please."
                    await outbox.send(vp.Transcript(text, ended_s, end_s))
                    asked = None


def answer(request: ChatRequest) -> Says | Calls:
    """Return what a model answers to this conversation."""
    asked = [(at, found) for at, one in enumerate(request.messages) if one.role == "user" for found in _asked(one)]
    if not asked:
        return Says(_spoken(_values(0, FORGOTTEN)))
    at, (number, caller, after, kind) = asked[-1]
    since = request.messages[at + 1 :]
    if after and after not in [question for _, (question, *_) in asked]:
        return Says(_spoken(_values(number, FORGOTTEN)))
    results = [json.loads(one.content or "null") for one in since if one.role == "tool"]
    calls = [call for one in since for call in one.tool_calls]
    reply = STORY
    if kind == "book":
        # A careless model: it tries half of the calls again of which it does not know what they did.
        tries = 2 if number % 2 and results and not _is_booked(results[0]) else 1
        if len(calls) < tries:
            return Calls("book", {"caller": caller, "number": number}, call_id=f"call-{caller}-{number}-{len(calls)}")
        reply = BOOKED if any(map(_is_booked, results)) else NOT_SURE
    wanted = _values(number, reply)
    said = [int(value) for one in since if one.role == "assistant" for value in WORD.findall(one.content)]
    heard = [wanted.index(value) for value in said if value in wanted]
    return Says(_spoken(wanted[max(heard, default=-1) + 1 :] or _values(number, NOTHING_LEFT)))


def _asked(message) -> list[tuple[int, int, int, str]]:
    return [
        (int(number), int(caller), int(after), kind)
        for number, caller, after, kind in QUESTION.findall(message.content)
    ]


def _is_booked(result: Any) -> bool:
    return isinstance(result, dict) and "booked" in json.dumps(result)


class Voice(vp.TTSSink):
    """Says each word as samples of its number."""

    sample_rate = RATE_OUT

    async def synthesize(self, sentence):
        await anyio.sleep(FIRST_AUDIO_S)
        for count, word in enumerate(WORD.finditer(sentence.text), 1):
            yield vp.WordMark(char_end=word.end(), end_s=count * WORD_S)
            for _ in range(3):
                yield struct.pack("<h", int(word[1])) * round(RATE_OUT * WORD_S / 3)
                await anyio.sleep(WORD_S / 3 / FASTER)


# --- what is written down ---------------------------------------------------------------------------------------------


def note(name: str, **fields: object) -> None:
    """Append a line to a file of the folder; lines of several processes do not mix."""
    line = json.dumps({"at_s": anyio.current_time(), "process": os.getpid(), **fields}) + "\n"
    descriptor = os.open(Path(os.environ[FOLDER]) / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


@vp.tool(effect="write", timeout_s=5.0)
async def book(caller: int, number: int) -> dict[str, int]:
    """Book a place for a caller. What has begun here has happened: it is written down first."""
    note("booked.jsonl", caller=caller, number=number)
    await anyio.sleep(TOOL_S)
    return {"booked": number}


REPORTED = ("StoreFailed", "StoreBack", "CallMoved", "CallResumed", "SessionFailed", "TurnFailed", "PartFailed")


async def watch(session: vp.Session) -> None:
    """Write down what a call reports of its store and its moves."""
    async for event in session:
        if type(event).__name__ in REPORTED:
            note("events.jsonl", call=session.id, event=type(event).__name__, text=repr(event)[:500])


def agent() -> vp.Pipeline:
    """Return the pipeline."""
    model = ScriptedModel(answer, first_token_s=FIRST_TOKEN_S, token_s=TOKEN_S)
    return vp.Pipeline(vp.STTStage(Ears()), model, vp.ToolRouter([book]), vp.SentenceChunker(), Voice(), detector=None)


def serve() -> Serve:
    """Return the server."""
    # The machine of a benchmark is busy: no call is to be refused because of that.
    limits = Limits(lag_s=10.0, stall_s=10.0)
    address = os.environ.get(STORE)
    store = vp.RedisStore(address) if address else None
    return Serve(agent(), [Page()], limits=limits, on_call=watch, store=store)
