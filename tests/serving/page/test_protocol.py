"""The protocol of the page as a pure codec: what is read, what is refused, and what a server sends."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import voicepipe as vp
from voicepipe.serving.page import protocol
from voicepipe.serving.page.protocol import (
    MOST_AUDIO_BYTES,
    MOST_TEXT,
    Audio,
    Capture,
    Cleared,
    End,
    Hello,
    Interrupt,
    Message,
    MicrophoneGone,
    Ping,
    Played,
    Reader,
    Text,
)
from voicepipe.serving.transport import Refused

HELLO = '{"type":"hello"}'


def greeted() -> Reader:
    """A reader that has read the first message."""
    reader = Reader()
    reader.feed(HELLO)
    return reader


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (HELLO, Hello()),
        ('{"type":"hello","microphone":null}', Hello()),
        ('{"type":"hello","microphone":{}}', Hello(microphone=Capture())),
        (
            '{"type":"hello","microphone":{"echo_cancellation":true,"noise_suppression":false}}',
            Hello(microphone=Capture(echo_cancellation=True, noise_suppression=False)),
        ),
        ('{"type":"hello","resume":null}', Hello()),
        ('{"type":"hello","resume":"a1.key"}', Hello(resume="a1.key")),
    ],
)
def test_the_first_message_says_how_the_microphone_is_captured(message: str, said: Message) -> None:
    """A page begins with hello; what it does not say about the microphone is unknown, not False."""
    assert Reader().feed(message) == said


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b"\x01\x02", Audio(b"\x01\x02")),
        (bytes(MOST_AUDIO_BYTES), Audio(bytes(MOST_AUDIO_BYTES))),
        ('{"type":"played","samples":0}', Played(samples=0)),
        ('{"type":"played","samples":9007199254740991}', Played(samples=2**53 - 1)),
        ('{"type":"cleared","id":3,"samples":480}', Cleared(id=3, samples=480)),
        ('{"type":"text","text":"Grüße 🙂"}', Text(text="Grüße 🙂")),
        (json.dumps({"type": "text", "text": "a" * MOST_TEXT}), Text(text="a" * MOST_TEXT)),
        ('{"type":"interrupt"}', Interrupt()),
        ('{"type":"ping","id":7}', Ping(id=7)),
        ('{"type":"microphone_lost"}', MicrophoneGone()),
        (' {"type" : "end"} ', End()),
    ],
)
def test_each_message_is_read(message: str | bytes, said: Message) -> None:
    """Every message of the protocol is read as its type, at its limits too."""
    assert greeted().feed(message) == said


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"", 1008),
        (b"\x01", 1008),
        (bytes(MOST_AUDIO_BYTES + 2), 1009),
        ("", 1008),
        ("null", 1008),
        ("[]", 1008),
        ('"end"', 1008),
        ("{}", 1008),
        ('{"type":"end"', 1008),
        ('{"type":"shutdown"}', 1008),
        ('{"type":["end"]}', 1008),
        ('{"type":"end","now":true}', 1008),
        ('{"type":"played"}', 1008),
        ('{"type":"played","samples":-1}', 1008),
        ('{"type":"played","samples":1.5}', 1008),
        ('{"type":"played","samples":1e3}', 1008),
        ('{"type":"played","samples":true}', 1008),
        ('{"type":"played","samples":"7"}', 1008),
        ('{"type":"played","samples":NaN}', 1008),
        ('{"type":"played","samples":9007199254740992}', 1008),
        (f'{{"type":"played","samples":{"9" * 5_000}}}', 1008),
        ('{"type":"text","text":""}', 1008),
        ('{"type":"text","text":"a\ud800"}', 1008),
        ('{"type":"text","text":"a\\ud800"}', 1008),
        (json.dumps({"type": "text", "text": "a" * (MOST_TEXT + 1)}), 1008),
        (json.dumps({"type": "text", "text": "a" * 17_000}), 1009),
        ("[" * 16_000, 1008),
        (HELLO, 1008),
    ],
)
def test_what_is_not_in_the_protocol_is_refused(message: str | bytes, code: int) -> None:
    """A message of another kind, with another field, type or size, closes the connection with a code that says why."""
    with pytest.raises(Refused) as refused:
        greeted().feed(message)
    assert refused.value.code == code
    assert refused.value.reason == ("size" if code == 1009 else "malformed")


@pytest.mark.parametrize("resume", ["", "a" * 513, 7])
def test_a_key_that_no_server_gave_is_refused(resume: object) -> None:
    """The key of a call has 1 to 512 characters; no refusal and no text of a hello repeats it."""
    with pytest.raises(Refused) as refused:
        Reader().feed(json.dumps({"type": "hello", "resume": resume}))
    assert refused.value.code == 1008
    assert "secret" not in repr(Hello(resume="secret"))


@pytest.mark.parametrize("message", [b"\0\0", '{"type":"end"}'])
def test_nothing_comes_before_hello(message: str | bytes) -> None:
    """The first message is hello; audio that comes before it has no call to belong to."""
    with pytest.raises(Refused, match='the first message is "hello"'):
        Reader().feed(message)


def test_a_refusal_repeats_nothing_of_the_message() -> None:
    """What the peer wrote appears neither in the refusal, which logs may have, nor in what caused it."""
    with pytest.raises(Refused) as refused:
        greeted().feed('{"type":"text","text":"hello","secret-field":"secret-value"}')
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


FIELDS = st.dictionaries(
    st.sampled_from(["type", "samples", "id", "text", "microphone", "resume", "more"]),
    st.sampled_from(["hello", "played", "cleared", "text", "interrupt", "ping", "microphone_lost", "end"])
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
)


@given(st.lists(st.binary(max_size=8) | st.text(st.characters()) | FIELDS.map(json.dumps), max_size=8))
@example(['{"type":"hello","microphone":{"echo_cancellation":1}}'])
def test_nothing_but_a_refusal_is_raised(messages: list[str | bytes]) -> None:
    """Whatever comes in whatever order, the reader returns a message or raises Refused."""
    reader = Reader()
    for message in messages:
        with contextlib.suppress(Refused):
            assert isinstance(reader.feed(message), Message)


# --- what a server sends ----------------------------------------------------------------------------------------------


async def ended(kind: type[vp.TurnEnded], **more: object) -> vp.TurnEnded:
    timeline = vp.Timeline()
    for name, at_s in (("speech_ended", 1.0), ("endpoint", 1.2), ("transcript", 1.25), ("first_frame", 1.5)):
        timeline.mark(name, at_s)
    return kind(turn_id=2, user_text="Hi.", heard="Hello", heard_s=0.45678, timeline=timeline, **more)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("kind", "more", "outcome", "joined"),
    [
        (vp.TurnCompleted, {"finish_reason": "stop"}, "completed", False),
        (vp.TurnInterrupted, {}, "interrupted", False),
        (vp.TurnInterrupted, {"joined": True}, "interrupted", True),
        (vp.TurnFailed, {"error": vp.VoicepipeError("secret")}, "failed", False),
        (vp.TurnEmpty, {"finish_reason": "stop"}, "empty", False),
    ],
)
async def test_a_turn_is_reported_with_what_the_wait_was_spent_on(
    kind: type[vp.TurnEnded], more: dict[str, object], outcome: str, joined: bool
) -> None:
    """The end of a turn says how it ended, what was heard and where the time went, and not why it failed."""
    message = protocol.report(await ended(kind, **more))
    assert message is not None
    assert json.loads(message) == {
        "type": "turn_ended",
        "turn": 2,
        "outcome": outcome,
        "joined": joined,
        "heard": "Hello",
        "heard_s": 0.457,
        "waited_s": 0.5,
        "spent_s": {"silence": 0.2, "stt": 0.05, "output": 0.25},
    }


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (vp.SpeechStarted(at_s=1.0), {"type": "speech_started"}),
        (vp.SpeechEnded(at_s=1.0), {"type": "speech_ended"}),
        (vp.EarlyTranscript("when"), {"type": "transcript", "text": "when", "final": False}),
        (vp.Transcript("when?", 1.0, 1.2), {"type": "transcript", "text": "when?", "final": True}),
        (vp.TurnStarted(turn_id=1, user_text=""), {"type": "turn_started", "turn": 1}),
        (vp.SentenceStarted(turn_id=1, text="Hi."), {"type": "sentence", "turn": 1, "text": "Hi."}),
        (vp.UtteranceEnded(turn_id=1), {"type": "utterance_ended", "turn": 1}),
        (vp.Paused(turn_id=1, heard_s=0.5), {"type": "paused", "turn": 1}),
        (vp.Resumed(turn_id=1, from_s=0.5), {"type": "resumed", "turn": 1}),
        (
            vp.ToolStarted(turn_id=1, call_id="c1", name="find"),
            {"type": "tool", "turn": 1, "call": "c1", "name": "find", "state": "started"},
        ),
        (
            vp.ToolFinished(turn_id=1, call_id="c1", name="find", status="failed"),
            {"type": "tool", "turn": 1, "call": "c1", "name": "find", "state": "failed"},
        ),
        (vp.ModelUsage(turn_id=1, model="m", input_tokens=1, output_tokens=1), None),
    ],
)
def test_what_a_caller_may_know_is_reported(event: vp.Event, message: dict[str, object] | None) -> None:
    """Each event that a page shows has a message, and what concerns the application has none."""
    sent = protocol.report(event)
    assert (None if sent is None else json.loads(sent)) == message


def test_the_other_messages() -> None:
    """The messages that do not come from events."""
    assert json.loads(protocol.clear(4)) == {"type": "clear", "id": 4}
    assert json.loads(protocol.pong(7)) == {"type": "pong", "id": 7}
    assert json.loads(protocol.bye("ended")) == {"type": "bye", "reason": "ended", "resumable": False}
    assert json.loads(protocol.bye("restarting", resumable=True)) == {
        "type": "bye",
        "reason": "restarting",
        "resumable": True,
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, {"resumed": False}),
        ({"resume": "a1.key", "resume_s": 30.0}, {"resumed": False, "resume": "a1.key", "resume_s": 30.0}),
        (
            {"resume": "a1.key2", "resume_s": 30.0, "resumed": True},
            {"resumed": True, "resume": "a1.key2", "resume_s": 30.0},
        ),
        ({"why": "expired"}, {"resumed": False, "why": "expired"}),
    ],
)
def test_the_answer_to_hello_says_whether_a_call_goes_on(given: dict[str, Any], said: dict[str, object]) -> None:
    """`ready` has a key only where a call can be resumed, and a reason only where one could not be."""
    ready = {"type": "ready", "session": "a1", "rate_in": 16_000, "rate_out": 24_000}
    assert json.loads(protocol.ready("a1", rate_out=24_000, **given)) == ready | said
