"""The rules of the text-to-speech socket: what is sent when, and which request audio belongs to."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from voicepipe.errors import AuthenticationError, ConfigurationError, RateLimited, VendorError
from voicepipe.vendors.assemblyai.tts_protocol import TTSProtocol
from voicepipe.vendors.line.speech_protocol import SpeechRequest

GONE = VendorError("gone", vendor="AssemblyAI", retryable=True)


class Wire:
    """A protocol and the messages that pass over it, on a clock that the test moves."""

    def __init__(self, *, begun: bool = True, secret: str = "", **configuration: Any) -> None:
        self.now = 0.0
        self.protocol = TTSProtocol(0.0, sample_rate=24_000, key=SecretStr(secret))
        if begun:
            self.hears("Begin", id="t", expires_at=1, configuration=configuration)

    def hears(self, kind: str, **fields: Any) -> bool:
        return self.protocol.receive(json.dumps({"type": kind, **fields}), self.now)

    def asks(self, *texts: str) -> list[SpeechRequest]:
        requests = [SpeechRequest(text) for text in texts]
        for request in requests:
            self.protocol.ask(request)
        return requests

    def says(self) -> list[str]:
        """What is sent now: the text of each Generate, and the types of the others."""
        frames = [json.loads(frame) for frame in self.protocol.frames(self.now)]
        return [frame.get("text", frame["type"]) for frame in frames]

    def audio(self, number: int, pcm: bytes = b"\1\0") -> bool:
        return self.hears("Audio", flush_id=number, audio=base64.b64encode(pcm).decode())

    def done(self, number: int) -> bool:
        return self.hears("FlushDone", flush_id=number, audio_duration_ms=1)

    def words(self, number: int, **fields: Any) -> None:
        word = {"word": "One", "start": 1000, "end": 1250, "confidence": 0.9}
        self.hears("WordBoundaries", **{"flush_id": number, "audio_start_ms": 1000, "words": [word]} | fields)


def heard(request: SpeechRequest) -> bytes:
    return b"".join(request.audio)


# --- asking -----------------------------------------------------------------------------------------------------------


def test_nothing_is_asked_before_the_session_has_begun() -> None:
    """The service checks credentials after the handshake, so the first text waits for `Begin`."""
    wire = Wire(begun=False)
    wire.asks("One.")
    before = wire.says()
    wire.hears("Begin", id="t", expires_at=1)

    assert (before, wire.says(), wire.says()) == ([], ["One.", "Flush"], [])


def test_a_sentence_is_one_flush_and_three_are_in_flight() -> None:
    """Each text has its own `Flush`; the fourth is sent when the first is done."""
    wire = Wire()
    wire.asks("One.", "Two.", "Three.", "Four.")
    first = wire.says()
    wire.done(0)

    assert first == ["One.", "Flush", "Two.", "Flush", "Three.", "Flush"]
    assert wire.says() == ["Four.", "Flush"]


def test_a_long_text_goes_in_pieces_that_the_service_takes() -> None:
    """The service's own limit counts; the pieces joined are the text, and there is one `Flush`."""
    wire = Wire(limits={"max_generate_text_length": 4})
    wire.asks("One two.")
    assert wire.says() == ["One ", "two.", "Flush"]


def test_text_is_sent_no_faster_than_allowed() -> None:
    """1500 characters at once and 100 a second after that; `wake_at` says when the next may go."""
    wire = Wire()
    wire.asks("a" * 900, "b" * 700)
    first = wire.says()
    wake_at = wire.protocol.wake_at(wire.now)
    wire.audio(0)  # so that the service is not taken for silent
    wire.now = 1.0

    assert [text[0] for text in first] == ["a", "F"]
    assert wake_at == 1.0
    assert [text[0] for text in wire.says()] == ["b", "F"]


def test_there_are_few_messages_without_text_a_second() -> None:
    """A storm of barge-ins stays below 20 in any second, and never holds a `Cancel` back."""
    wire = Wire()
    sent: list[float] = []
    for step in range(300):
        wire.now = step / 100
        (request,) = wire.asks("One.")
        sent += [wire.now for frame in wire.says() if frame[0] in "FC"]
        wire.protocol.drop(request, wire.now)
        sent += [wire.now for frame in wire.says() if frame[0] in "FC"]
        wire.hears("Cancelled")

    assert max(sum(at <= one < at + 1 for one in sent) for at in sent) <= 20
    assert len(sent) > 30


# --- whose audio ------------------------------------------------------------------------------------------------------


def test_audio_goes_to_its_request() -> None:
    """The audio of two consecutive requests reaches the right one, and each is done with its `FlushDone`."""
    wire = Wire()
    one, two = wire.asks("One.", "Two.")
    wire.says()
    wire.audio(0, b"\1\0")
    wire.audio(0, b"\2\0")
    wire.done(0)
    wire.audio(1, b"\3\0")

    assert (heard(one), one.is_done, heard(two), two.is_done) == (b"\1\0\2\0", True, b"\3\0", False)


def test_audio_leaves_nothing_to_send() -> None:
    """Most messages are audio, which concerns its request alone; any other may be a reason to send something."""
    wire = Wire()
    wire.asks("One.")
    wire.says()

    assert (wire.audio(0), wire.done(0)) == (False, True)


def test_a_request_without_audio_is_done() -> None:
    """A request without audio ends too."""
    wire = Wire()
    one, two = wire.asks("One.", "Two.")
    wire.says()
    wire.done(0)
    wire.audio(1)
    assert (one.is_done, heard(one), heard(two)) == (True, b"", b"\1\0")


def test_a_lost_end_does_not_hold_the_next_request() -> None:
    """The end of the second request also ends the first."""
    wire = Wire()
    one, two = wire.asks("One.", "Two.")
    wire.says()
    wire.audio(0)
    wire.audio(1)
    wire.done(1)
    assert (one.is_done, two.is_done, wire.protocol.is_idle) == (True, True, True)


def test_word_times_come_after_the_end() -> None:
    """Times are counted from the request's own first sample, and are matched by number, next audio or not."""
    wire = Wire()
    one, two = wire.asks("One.", "Two.")
    wire.says()
    wire.audio(0)
    wire.done(0)
    wire.audio(1)
    wire.words(0)

    assert [(word.word, word.end_s) for word in one.words] == [("One", 0.25)]
    assert (one.has_all_words, two.words, two.has_all_words) == (True, [], False)


def test_endless_audio_is_an_error() -> None:
    """A request may have five minutes of audio; beyond that it fails and is cancelled."""
    wire = Wire()
    (request,) = wire.asks("One.")
    wire.says()
    calls_for_work = [wire.audio(0, bytes(48_000)) for _ in range(301)]

    assert calls_for_work == [False] * 300 + [True]
    assert "300 s of audio" in str(request.error)
    assert (len(request.audio), wire.says()) == (0, ["Cancel"])


# --- barge-in ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_one_cancel_ends_all_that_is_in_flight(order: tuple[int, int]) -> None:
    """Two sentences of a cancelled turn need one `Cancel`, in whatever order they are dropped."""
    wire = Wire()
    requests = wire.asks("One.", "Two.")
    wire.says()
    wire.audio(0)
    for at in order:
        wire.protocol.drop(requests[at], wire.now)

    assert wire.says() == ["Cancel"]
    assert wire.says() == []


@pytest.mark.parametrize("takes_number", [True, False], ids=["takes a number", "takes none"])
@pytest.mark.parametrize("has_audio", [True, False], ids=["audio", "no audio"])
def test_what_comes_until_cancelled_is_dropped(takes_number: bool, has_audio: bool) -> None:
    """The next turn is requested after `Cancelled` and gets its own audio, whether or not a `Cancel` takes a number."""
    wire = Wire()
    dead = wire.asks("One.", "Two.")
    wire.says()
    if has_audio:
        wire.audio(0)
    for request in dead:
        wire.protocol.drop(request, wire.now)
    (live,) = wire.asks("Three.")
    while_waiting = wire.says()
    for number in (0, 1, 2):
        wire.audio(number)
        wire.done(number)
    wire.hears("Cancelled", audio_duration_seconds=0.1)
    after = wire.says()
    wire.audio(1, b"\7\0")  # later still
    wire.audio(2 + takes_number, b"\5\0")
    wire.done(2 + takes_number)

    assert (while_waiting, after) == (["Cancel"], ["Three.", "Flush"])
    assert (heard(live), live.is_done) == (b"\5\0", True)
    assert [heard(request) for request in dead] == [b"", b""]


def test_a_cancel_does_not_lose_what_is_still_wanted() -> None:
    """`Cancel` drops every request, so those that are still wanted are sent again after it."""
    wire = Wire()
    dead, live = wire.asks("One.", "Two.")
    wire.says()
    wire.audio(0)
    wire.protocol.drop(dead, wire.now)
    cancel = wire.says()
    wire.hears("Cancelled")
    again = wire.says()
    wire.audio(3)

    assert (cancel, again, heard(live)) == (["Cancel"], ["Two.", "Flush"], b"\1\0")


def test_a_dropped_request_behind_a_wanted_one_is_cancelled_when_its_turn_comes() -> None:
    """While an earlier request is spoken nothing is cancelled, since `Cancel` would drop it too."""
    wire = Wire()
    live, dead = wire.asks("One.", "Two.")
    wire.says()
    wire.audio(0)
    wire.protocol.drop(dead, wire.now)
    early = wire.says()
    wire.audio(0)
    wire.done(0)

    assert (early, heard(live), live.is_done, wire.says()) == ([], b"\1\0\1\0", True, ["Cancel"])


def test_nothing_is_cancelled_that_was_never_sent_or_is_done() -> None:
    """Dropping a waiting request forgets it, and dropping a finished one sends no `Cancel`."""
    wire = Wire()
    done, waits = wire.asks("One.", "Two.")
    wire.protocol.drop(waits, wire.now)
    sent = wire.says()
    wire.done(0)
    wire.protocol.drop(done, wire.now)
    assert (sent, wire.says()) == (["One.", "Flush"], [])


# --- time -------------------------------------------------------------------------------------------------------------


def test_an_idle_session_shows_signs_of_life() -> None:
    """`KeepAlive` is sent after half of the time that the service allows, counted from the last message."""
    wire = Wire(inactivity_timeout=20)
    sent: list[tuple[float, str]] = []
    for _ in range(3):
        wire.now = wire.protocol.wake_at(wire.now)
        sent += [(wire.now, frame) for frame in wire.says()]
    assert sent == [(10.0, "KeepAlive"), (20.0, "KeepAlive"), (30.0, "KeepAlive")]


@pytest.mark.parametrize(
    ("configuration", "renew_at"),
    [
        ({"session_ttl_sec": 3600}, 3540.0),
        ({}, 3540.0),
        ({"session_ttl_sec": 90}, 45.0),
        ({"session_ttl_sec": 0.001}, 12.0),
        ({"session_ttl_sec": "x"}, 3540.0),
        ({"session_ttl_sec": float("nan")}, 3540.0),
        ({"session_ttl_sec": 10**400}, 3540.0),
    ],
    ids=["an hour", "not told", "short", "far too short", "nonsense", "NaN", "huge"],
)
def test_a_session_is_renewed_before_its_end(configuration: dict[str, Any], renew_at: float) -> None:
    """A minute before the end, by the age that `Begin` tells; half way for a session that is shorter than two.

    Never more often than a free account may begin sessions.
    """
    assert Wire(**configuration).protocol.renew_at == renew_at


def test_signs_of_life_are_few_whatever_the_service_says() -> None:
    """An inactivity timeout of 0 does not cause a flood of `KeepAlive`."""
    wire = Wire(inactivity_timeout=1e-6)
    assert wire.protocol.wake_at(0.0) == 2.5


@pytest.mark.parametrize(
    ("debt", "due_s", "complaint"),
    [
        ("begin", 5.0, "did not begin within 5 s"),
        ("audio", 2.5, "sent nothing for 2.5 s"),
        ("more audio", 3.5, "sent nothing for 2.5 s"),
        ("next audio", 3.5, "sent nothing for 2.5 s"),
        ("cancelled", 1.0, "did not answer a Cancel within 1 s"),
        ("termination", 1.0, "did not end within 1 s"),
    ],
)
def test_what_the_service_owes_has_a_deadline(debt: str, due_s: float, complaint: str) -> None:
    """Nothing is overdue before `wake_at`, and after it the session counts as lost."""
    wire = Wire(begun=debt != "begin")
    requests = wire.asks("One.", "Two.") if debt not in ("begin", "termination") else []
    if debt == "termination":
        wire.protocol.leave()
    wire.says()
    if debt == "cancelled":
        for request in requests:
            wire.protocol.drop(request, wire.now)
        wire.says()
    wire.now = 1.0
    if debt == "more audio":
        wire.audio(0)
    if debt == "next audio":
        wire.done(0)
    wire.now = 0.0 if due_s == 1.0 else 1.0

    assert wire.protocol.wake_at(wire.now) == due_s
    assert wire.protocol.overdue(due_s - 0.001) is None
    error = wire.protocol.overdue(due_s)
    assert complaint in str(error)
    assert error is not None
    assert error.retryable


def test_asking_for_more_gives_a_silent_service_no_more_time() -> None:
    """The deadline counts for the oldest request."""
    wire = Wire()
    wire.asks("One.")
    wire.says()
    wire.now = 1.0
    wire.asks("Two.")
    wire.says()
    assert wire.protocol.wake_at(wire.now) == 2.5


def test_an_idle_session_owes_nothing() -> None:
    """Without a request the service owes nothing."""
    assert Wire().protocol.overdue(1e9) is None


# --- the end ----------------------------------------------------------------------------------------------------------


def test_leaving_waits_for_what_was_asked_for() -> None:
    """`Terminate` follows the last request, once, and nothing after it."""
    wire = Wire()
    wire.asks("One.")
    wire.protocol.leave()
    first = wire.says()
    wire.done(0)

    assert (first, wire.says(), wire.says()) == (["One.", "Flush"], ["Terminate"], [])


def test_a_lost_session_gives_back_what_may_be_said_again() -> None:
    """When a session is lost, a request with audio fails, one without is sent again, and a dropped one is forgotten."""
    wire = Wire()
    begun, unheard, waits, dead = wire.asks("One.", "Two.", "Three.", "Four.")
    wire.says()
    wire.protocol.drop(dead, wire.now)
    wire.audio(0)

    assert wire.protocol.lose(GONE) == [unheard, waits]
    assert (begun.error, unheard.error, waits.error, dead.error) == (GONE, None, None, None)

    second = Wire()
    second.protocol.ask(unheard)
    second.says()
    assert second.protocol.lose(GONE) == []
    assert unheard.error is GONE


def test_what_a_cancel_dropped_is_not_a_try() -> None:
    """A request that was sent again after a `Cancel` may still move to another socket."""
    wire = Wire()
    dead, live = wire.asks("One.", "Two.")
    wire.says()
    wire.protocol.drop(dead, wire.now)
    wire.hears("Cancelled")
    wire.says()
    assert wire.protocol.lose(GONE) == [live]


def test_a_refusal_is_not_tried_again() -> None:
    """After a final refusal, requests in flight fail, and those that were not sent yet move to another socket."""
    wire = Wire()
    *sent, waits = wire.asks("One.", "Two.", "Three.", "Four.")
    wire.says()
    wire.hears("Error", error_code=3006, error="bad text", error_type="invalid_request")
    error = wire.protocol.error
    assert error is not None

    assert wire.protocol.lose(error) == [waits]
    assert [request.error for request in sent] == [error] * 3


@pytest.mark.parametrize(
    ("message", "error", "words"),
    [
        ({"error_code": 1008, "error": "no key k3y"}, AuthenticationError, ["code 1008", "no key ***"]),
        ({"error_code": 3006, "error_type": "voice_not_found"}, ConfigurationError, ["voice_id"]),
        ({"error_code": 3999, "retryable": True}, VendorError, ["code 3999"]),
        ({"error_code": None, "error": None, "retry_after_seconds": "x"}, VendorError, ["no reason given"]),
        ({"error_code": 10**400, "error": {}, "retry_after_seconds": 10**400}, VendorError, ["code 1011"]),
        ({"error_code": 3009, "retry_after_seconds": float("nan")}, RateLimited, ["code 3009"]),
    ],
)
def test_an_error_message_ends_the_session(message: dict[str, Any], error: type[Exception], words: list[str]) -> None:
    """An `Error` message becomes a typed error without the key; the close after it changes nothing."""
    wire = Wire(secret="k3y")
    wire.hears("Error", **message)

    assert type(wire.protocol.error) is error
    assert all(word in str(wire.protocol.error) for word in words)
    assert wire.protocol.closed(1011, "") is wire.protocol.error


def test_a_close_without_a_message_is_an_error_too() -> None:
    """The error of a close has its code and the beginning of its reason, without the key."""
    error = Wire(secret="k3y").protocol.closed(1012, "restart of k3y " + "x" * 10_000)
    assert "code 1012: restart of ***" in str(error)
    assert len(str(error)) < 400


def test_another_rate_than_asked_for_is_refused() -> None:
    """A service that speaks at another rate is a configuration error."""
    wire = Wire(sample_rate=16_000)
    assert isinstance(wire.protocol.error, ConfigurationError)
    assert "asked for 24000 Hz and speaks at 16000 Hz" in str(wire.protocol.error)


def test_parameters_the_service_does_not_know_are_noted() -> None:
    """Parameters that the service does not know, as `Begin` lists them, are kept for the log."""
    assert Wire(unknown_params=["voice"]).protocol.unknown == ("voice",)


@pytest.mark.parametrize(
    ("message", "unreadable"),
    [
        ("{", 1),
        ("[" * 100_000, 1),
        ("[]", 1),
        (b"\xff", 1),
        ('{"type": "Audio"}', 1),
        ('{"type": "Audio", "flush_id": 0, "audio": "!"}', 1),
        ('{"type": "Audio", "flush_id": "0", "audio": "AAA="}', 0),
        ('{"type": "FlushDone", "flush_id": 7}', 0),
        ('{"type": "WordBoundaries", "flush_id": 0, "words": [{}], "audio_start_ms": 0}', 1),
        ('{"type": "WordBoundaries", "flush_id": 9}', 0),
        ('{"type": "Cancelled"}', 0),
        ('{"type": "News", "n": 1}', 0),
        ('{"type": {}}', 0),
        (f'{{"type": "WordBoundaries", "flush_id": 0, "words": [], "audio_start_ms": 1{"0" * 400}}}', 1),
        (f'{{"type": "Audio", "flush_id": 1{"0" * 5000}, "audio": ""}}', 1),
    ],
)
def test_a_strange_message_is_skipped(message: str | bytes, unreadable: int) -> None:
    """Unreadable messages are counted, unknown ones are ignored, and the next good one is processed."""
    wire = Wire()
    (request,) = wire.asks("One.")
    wire.says()
    wire.audio(0)
    wire.protocol.receive(message, wire.now)
    wire.audio(0)

    assert (heard(request), wire.protocol.unreadable) == (b"\1\0\1\0", unreadable)
    assert wire.protocol.error is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.just(10**400) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KINDS = "Begin", "Audio", "FlushDone", "WordBoundaries", "Cancelled", "Termination", "Error"
FIELDS = (
    *("configuration", "flush_id", "audio", "words", "audio_start_ms", "audio_duration_ms"),
    *("error", "error_code", "error_type", "retryable", "retry_after_seconds"),
)


@given(
    st.sampled_from(KINDS),
    st.dictionaries(st.sampled_from(FIELDS), json_values | st.just(0), max_size=6),
    st.dictionaries(
        st.sampled_from(["limits", "sample_rate", "session_ttl_sec", "inactivity_timeout", "unknown_params"]),
        json_values,
    ),
)
def test_no_field_breaks_the_protocol(kind: str, fields: dict[str, Any], configuration: dict[str, Any]) -> None:
    """Fields of any kind, missing or of another type, leave a session that goes on or has failed with a reason."""
    wire = Wire(**configuration)
    wire.asks("One.")
    wire.says()
    wire.hears(kind, **fields)

    error = wire.protocol.error
    assert error is None or str(error)
    if isinstance(error, RateLimited):
        assert error.retry_after_s is None or error.retry_after_s >= 0
    wire.protocol.drop(SpeechRequest(""), wire.now)
    assert wire.protocol.wake_at(wire.now) >= wire.now
