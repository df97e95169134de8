"""What the benchmark `fleet` counts is what a caller hears: a word too much is found, and one too few."""

import struct
from importlib import import_module
from typing import Any

from voicepipe.testing import Calls, ChatMessage, ChatRequest, Says
from voicepipe.testing.request import ChatToolCall

# Imported by name, because benchmarks are not typed.
ear: Any = import_module("benchmarks.fleet_ear")
app: Any = import_module("benchmarks.fleet_app")

FRAME_S = 0.02
WORD_FRAMES = round(app.WORD_S / FRAME_S)
FIRST, SECOND, THIRD = ([app.value_of(9, sentence, word) for word in range(5)] for sentence in range(3))


def listening(*connections: list[int], last_frames: int = WORD_FRAMES) -> Any:
    """Return the ear of a caller who is sent these words over one connection after another.

    Each connection breaks when so many frames of its last word have been played; the last one does not.
    """
    caller, now = ear.Ear(), 0.0
    caller.begin(9)
    for number, words in enumerate(connections):
        for word in words:
            for _ in range(WORD_FRAMES):
                caller.add(struct.pack("<h", word) * round(app.RATE_OUT * FRAME_S), now)
        frames = (len(words) - 1) * WORD_FRAMES + last_frames
        if number < len(connections) - 1:
            caller.cut(now + frames * FRAME_S)
        now += 60.0
    caller.play(now)
    caller.settle()
    return caller


def test_words_heard_twice() -> None:
    """A word that is heard on both sides of a break counts, unless the break was in its sentence."""
    again = [*SECOND, *THIRD]
    assert listening([*FIRST, *SECOND[:2]], again).twice == set()
    assert listening([*FIRST, *SECOND[:2]], [*FIRST, *again]).twice == {*FIRST}
    assert listening([*FIRST, *SECOND[:2]], [FIRST[-1], *again]).twice == {FIRST[-1]}
    # A word of which less than a half was played was not heard, but its sentence was cut.
    assert listening([*FIRST, SECOND[0]], again, last_frames=5).twice == set()
    assert listening([*FIRST, SECOND[0]], [*SECOND, *FIRST], last_frames=5).twice == {*FIRST}
    # Two breaks, each in a sentence of its own; the first one excuses nothing that is said again after the second one.
    assert listening([*FIRST[:2]], [*FIRST, *SECOND[:3]], [*SECOND, *THIRD]).twice == set()
    assert listening([*FIRST[:2]], [*FIRST, *SECOND[:3]], [*FIRST, *again]).twice == {*FIRST}


def test_words_never_heard() -> None:
    """What lay in the buffer when the connection broke was not heard."""
    heard = listening([*FIRST, *SECOND, *THIRD[:1]], [*THIRD[2:]], last_frames=3).heard
    assert heard == {*FIRST, *SECOND, *THIRD[2:]}


def request(*messages: ChatMessage) -> ChatRequest:
    """Return a request with these messages."""
    return ChatRequest(model="scripted", messages=messages)


def asks(kind: str, after: int = 0) -> ChatMessage:
    """Return the caller's question 9."""
    return ChatMessage(role="user", content=f"Question 9 of caller 1 after {after}: {kind} me, please.")


def words(reply: object) -> list[int]:
    """Return the words of a reply."""
    assert isinstance(reply, Says), reply
    return [int(word) for word in app.WORD.findall(reply.text)]


def test_the_model_goes_on_after_what_was_heard() -> None:
    """A reply is a function of the conversation that is shown: it continues what the caller has heard of it."""
    heard = ChatMessage(role="assistant", content=f"W{FIRST[0]} w{FIRST[1]}")
    assert words(app.answer(request(asks("tell")))) == [*FIRST, *SECOND, *THIRD]
    assert words(app.answer(request(asks("tell"), heard))) == [*FIRST[2:], *SECOND, *THIRD]
    # It says so when the last reply that the caller has heard is not in the conversation.
    assert app.sentence_of(words(app.answer(request(asks("tell", after=8))))[0]) == app.FORGOTTEN[0][0]


def test_the_model_books_once_or_says_that_it_is_not_sure() -> None:
    """A booking whose outcome is not known is not reported as done, and is tried once more by half of the calls."""
    call = ChatToolCall(call_id="c", name="book", arguments="{}")
    asked, called = asks("book"), ChatMessage(role="assistant", tool_calls=(call,))
    done = ChatMessage(role="tool", content='{"untrusted_result":{"booked":9}}', call_id="c")
    unknown = ChatMessage(role="tool", content='{"error":"the outcome is unknown"}', call_id="c")

    assert isinstance(app.answer(request(asked)), Calls)
    assert app.sentence_of(words(app.answer(request(asked, called, done)))[0]) == app.BOOKED[0][0]
    assert isinstance(app.answer(request(asked, called, unknown)), Calls)
    assert app.sentence_of(words(app.answer(request(asked, called, unknown, called, unknown)))[0]) == app.NOT_SURE[0][0]
