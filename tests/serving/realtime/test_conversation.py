"""What happens in a session, in the words of the Realtime protocol. The client's own types check each event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import voicepipe as vp
from tests.helpers.realtime_events import checked, line, lines
from voicepipe.serving.realtime.client_events import Rejected
from voicepipe.serving.realtime.conversation import Conversation
from voicepipe.serving.realtime.items import Item
from voicepipe.timeline import Timeline

FRAME = 0.06


class Clock:
    """The loop's clock: 100 s at first."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def conversation(modality: Any = "audio") -> Conversation:
    found = Conversation(modality, Clock())
    found.caller.audio_came(0.0)
    return found


def play(call: Conversation, *happenings: vp.Event | float) -> list[str]:
    """Return the lines of what happens; a number stands for so many seconds of the agent's audio in turn 1."""
    events: list[Any] = []
    for one in happenings:
        if isinstance(one, float):
            events += [event for _ in range(round(one / FRAME)) for event in call.spoke(1, FRAME, "AAAA")]
        else:
            events += call.happened(one)
    return lines(events)


def ended(kind: type[vp.TurnEnded], **fields: Any) -> Any:
    given = {"turn_id": 1, "user_text": "Hi.", "heard": "", "timeline": Timeline(), **fields}
    if kind in (vp.TurnCompleted, vp.TurnEmpty):
        given.setdefault("finish_reason", "stop")
    if kind is vp.TurnFailed:
        given.setdefault("error", vp.VendorError("no", vendor="acme", retryable=False))
    return kind(**given)


START = vp.TurnStarted(turn_id=1, user_text="Hi.")
GREET = vp.TurnStarted(turn_id=1, user_text="")
HELLO = vp.SentenceStarted(turn_id=1, text="Hello.")
SPEECH = (vp.SpeechStarted(at_s=100.5), vp.SpeechEnded(at_s=101.2))
INTERRUPTED = ended(vp.TurnInterrupted, heard="Hello.", heard_s=0.06)

USER = [
    "committed item_1",
    "item.added item_1 user",
    "item.done item_1 user",
    "item.input_audio_transcription.completed item_1 'Hi.'",
]
SPOKEN = ["speech_started item_1 500 ms", "speech_stopped item_1 1200 ms"]
BEGUN = ["output_item.added item_2 assistant", "item.added item_2 assistant", "content_part.added item_2"]
DONE = [
    "output_audio.done item_2",
    "output_audio_transcript.done item_2 'Hello.'",
    "content_part.done item_2",
    "output_item.done item_2 assistant",
    "item.done item_2 assistant",
]


def test_a_turn_has_the_order_that_stock_clients_know() -> None:
    """Speech, the caller's item, its words, then the response from its creation to its end."""
    call = conversation()
    told = play(call, *SPEECH, START, HELLO, 0.12, ended(vp.TurnCompleted, heard="Hello."))
    assert told == [
        *SPOKEN,
        *USER,
        "response.created resp_1",
        *BEGUN,
        "output_audio_transcript.delta 'Hello.'",
        "output_audio.delta",
        "output_audio.delta",
        *DONE,
        "response.done resp_1 completed",
    ]


def test_a_greeting_is_a_response_without_a_user_item() -> None:
    """What the agent says on its own has no item before it."""
    told = play(conversation(), GREET, HELLO, 0.06)
    assert told[0] == "response.created resp_1"
    assert not any("user" in one for one in told)


ENDINGS = [
    (ended(vp.TurnCompleted), "completed"),
    (ended(vp.TurnEmpty), "completed"),
    (ended(vp.TurnEmpty, finish_reason="content_filter"), "incomplete (content_filter)"),
    (ended(vp.TurnFailed), "failed (None)"),
    (ended(vp.TurnFailed, finish_reason="length"), "incomplete (max_output_tokens)"),
    (ended(vp.TurnInterrupted), "cancelled (turn_detected)"),
]


@pytest.mark.parametrize(("end", "status"), ENDINGS)
def test_a_response_says_how_it_ended(end: vp.TurnEnded, status: str) -> None:
    """Each way in which a turn ends is a status of the response, with its reason."""
    assert [one for one in play(conversation(), START, end) if one.startswith("response.done")] == [
        f"response.done resp_1 {status}"
    ]


def test_a_failure_tells_the_client_nothing_about_vendors() -> None:
    """Why a reply failed stands in the server's log."""
    call = conversation()
    call.happened(START)
    failed = call.happened(ended(vp.TurnFailed))[-1]
    assert failed["response"]["status_details"]["error"]["code"] == "reply_failed"
    assert "acme" not in str(failed)


# --- who is silent, and when ------------------------------------------------------------------------------------------

SPEAKING = (START, HELLO, 0.12)

BARGE_IN: Sequence[tuple[str, tuple[Any, ...], list[str]]] = [
    ("a cough that the policy ignores", (vp.SpeechStarted(at_s=103.0), vp.SpeechEnded(at_s=103.1)), []),
    (
        "a cough that pauses the agent",
        (vp.SpeechStarted(at_s=103.0), vp.Paused(turn_id=1, heard_s=0.06), vp.SpeechEnded(at_s=103.4)),
        ["speech_started item_3 3000 ms", "speech_stopped item_3 3400 ms"],
    ),
    (
        "a cough that has ended when the agent pauses",
        (vp.SpeechStarted(at_s=103.0), vp.SpeechEnded(at_s=103.3), vp.Paused(turn_id=1, heard_s=0.06)),
        ["speech_started item_3 3000 ms", "speech_stopped item_3 3300 ms"],
    ),
    (
        "a resumed reply goes on in the same item",
        (vp.SpeechStarted(at_s=103.0), vp.Paused(turn_id=1, heard_s=0.06), vp.Resumed(turn_id=1, from_s=0.0), 0.06),
        ["speech_started item_3 3000 ms", "output_audio.delta"],
    ),
    (
        "words after a pause interrupt",
        (vp.SpeechStarted(at_s=103.0), vp.Paused(turn_id=1, heard_s=0.06), INTERRUPTED),
        [
            "speech_started item_3 3000 ms",
            *DONE,
            "response.done resp_1 cancelled (turn_detected)",
            "item.truncated item_2 60 ms",
        ],
    ),
    (
        "words without reported speech interrupt",
        (INTERRUPTED,),
        [
            "speech_started item_3 0 ms",
            "speech_stopped item_3 0 ms",
            *DONE,
            "response.done resp_1 cancelled (turn_detected)",
            "item.truncated item_2 60 ms",
        ],
    ),
]


@pytest.mark.parametrize(("happenings", "told"), [case[1:] for case in BARGE_IN], ids=[case[0] for case in BARGE_IN])
def test_speech_started_is_the_decision_to_be_silent(happenings: tuple[Any, ...], told: list[str]) -> None:
    """Clients fall silent at `speech_started`, so it is sent when the agent is, and not before."""
    call = conversation()
    play(call, *SPEECH, *SPEAKING)
    assert play(call, *happenings) == told


def test_speech_while_nobody_is_heard_is_reported_at_once() -> None:
    """While the agent thinks, `speech_started` costs nothing."""
    call = conversation()
    play(call, *SPEECH, START)
    assert play(call, vp.SpeechStarted(at_s=102.0), vp.Withheld(turn_id=1)) == ["speech_started item_2 2000 ms"]
    assert play(call, vp.SpeechEnded(at_s=102.2), vp.Released(turn_id=1)) == ["speech_stopped item_2 2200 ms"]


def test_words_in_two_breaths_are_one_item() -> None:
    """The client sees the caller begin twice, and one item with everything they said."""
    again = (vp.SpeechStarted(at_s=102.0), vp.SpeechEnded(at_s=103.0))
    told = play(conversation(), *SPEECH, vp.Transcript("Hi", 101.2, 101.5), *again, START)
    assert told[:4] == [*SPOKEN, "speech_started item_1 2000 ms", "speech_stopped item_1 3000 ms"]
    assert told[4:8] == USER


def test_a_turn_that_is_taken_back_disappears() -> None:
    """A caller who goes on has said one thing: the first item is deleted, and the next one holds all of it."""
    call = conversation()
    play(call, *SPEECH, START, HELLO, 0.06)
    told = play(call, ended(vp.TurnInterrupted, joined=True), vp.TurnStarted(turn_id=2, user_text="Hi. Well?"))
    assert told[-7:-3] == [
        "item.deleted item_2",
        "item.deleted item_1",
        "committed item_3",
        "item.added item_3 user",
    ]
    assert told[-2] == "item.input_audio_transcription.completed item_3 'Hi. Well?'"
    with pytest.raises(Rejected, match="no item 'item_1'"):
        call.items.get("item_1")


def test_an_idle_caller_is_reported() -> None:
    """The client learns that a timeout made the agent speak."""
    assert play(conversation(), vp.Idle(step=1, silent_s=0.0, text="Hello?", is_last=False)) == [
        "timeout_triggered item_1 0 ms 0 ms"
    ]


# --- what was heard ---------------------------------------------------------------------------------------------------


def test_an_interrupted_item_holds_what_was_heard() -> None:
    """After an interruption the item, as a client retrieves it, ends where the caller stopped listening."""
    call = conversation()
    play(
        call, START, vp.SentenceStarted(turn_id=1, text="It is warm."), vp.SentenceStarted(turn_id=1, text="Bye."), 0.6
    )
    play(call, ended(vp.TurnInterrupted, heard="It is", heard_s=0.3))
    item = call.items.get("item_2")
    assert item.json["content"] == [{"type": "output_audio", "transcript": "It is"}]
    assert (item.status, round(item.audio_s, 6)) == ("incomplete", 0.3)


def test_a_report_of_the_client_is_a_place_in_the_turn() -> None:
    """A client counts the audio that it got; after a pause that is more than what was said."""
    call = conversation()
    play(call, START, HELLO, 1.2, vp.Paused(turn_id=1, heard_s=0.9), vp.Resumed(turn_id=1, from_s=0.6), 0.6)
    item = call.items.get("item_2")
    assert [round(item.turn_s(at_s), 6) for at_s in (0.3, 0.9, 1.5)] == [0.3, 0.6, 1.2]
    with pytest.raises(Rejected, match="has 1500 ms of audio, not 1600"):
        item.turn_s(1.6)


def test_an_item_that_the_client_has_cut_gets_no_longer_again() -> None:
    """The session's own estimate, which may come later, does not undo the client's report."""
    call = conversation()
    play(call, START, vp.SentenceStarted(turn_id=1, text="It is warm."), 0.6)
    item = call.items.get("item_2")
    call.heard(item, 0.2, "It")
    play(call, ended(vp.TurnInterrupted, heard="It is", heard_s=0.4))
    assert (item.text, round(item.audio_s, 6)) == ("It", 0.2)


# --- what the client asks for -----------------------------------------------------------------------------------------


def test_a_cancelled_response_needs_no_speech() -> None:
    """A client that cancels is silent already, and learns that it was its own doing."""
    call = conversation()
    play(call, *SPEECH, *SPEAKING)
    call.cancels()
    assert play(call, INTERRUPTED) == [
        *DONE,
        "response.done resp_1 cancelled (client_cancelled)",
        "item.truncated item_2 60 ms",
    ]


def test_typed_words_are_the_item_that_the_client_made() -> None:
    """A turn that answers typed text adds no second item."""
    call = conversation()
    item = Item(id="mine", role="user", text="Hi.")
    assert lines(call.add(item)) == ["item.added mine user", "item.done mine user"]
    call.answers(item)
    assert play(call, START) == ["response.created resp_1"]


def test_two_items_cannot_have_one_id() -> None:
    """An id that is taken is refused, and nothing is added."""
    call = conversation()
    call.add(Item(id="mine", role="user", text="Hi."))
    with pytest.raises(Rejected, match="there is an item 'mine' already"):
        call.add(Item(id="mine", role="user", text="Hi again."))


def test_push_to_talk_commits_before_the_words_are_known() -> None:
    """Without turn detection no speech is reported: the commit makes the item, and its words follow."""
    call = conversation()
    call.caller.has_detection = False
    told = [*play(call, *SPEECH[:1]), *lines(call.caller.commit()), *play(call, *SPEECH[1:], START)]
    assert told == [*USER, "response.created resp_1"]


def test_a_commit_without_words_fails() -> None:
    """Silence that was committed is answered, so that no client waits for ever."""
    call = conversation()
    call.caller.commit()
    assert lines(call.caller.no_words()) == ["item.input_audio_transcription.failed item_1"]
    assert not call.caller.is_awaited


def test_a_function_of_the_client_ends_the_response() -> None:
    """The call is an item of the response; what the agent says about its result is the next response."""
    call = conversation()
    play(call, START, HELLO, 0.06)
    assert lines(call.called(1, "call_1", "look_up", '{"id":1}')) == [
        "output_item.added item_3 function_call",
        "item.added item_3 function_call",
        """function_call_arguments.delta '{"id":1}'""",
        """function_call_arguments.done item_3 '{"id":1}'""",
        "output_item.done item_3 function_call",
        "item.done item_3 function_call",
    ]
    assert lines(call.calls_end(1)) == [*DONE, "response.done resp_1 completed"]
    assert call.waits_for_client == 1
    told = lines(call.go_on(1)) + play(call, vp.SentenceStarted(turn_id=1, text="Done."), 0.06)
    assert told[0] == "response.created resp_2"
    assert told[1] == "output_item.added item_4 assistant"


def test_a_response_reports_what_the_model_counted() -> None:
    """Tokens are the model's own count, of all requests of the response."""
    call = conversation()
    usage = vp.ModelUsage(turn_id=1, model="m", input_tokens=10, output_tokens=4)
    play(call, START, usage, usage)
    done = call.happened(ended(vp.TurnCompleted))[-1]
    assert done["response"]["usage"] == {"input_tokens": 20, "output_tokens": 8, "total_tokens": 28}


def test_tokens_that_are_counted_late_belong_to_the_next_response() -> None:
    """A service may count a reply that called a function when its response has ended; nothing of it is lost."""
    call = conversation()
    play(call, START)
    call.called(1, "call_1", "look_up", "{}")
    call.calls_end(1)
    play(call, vp.ModelUsage(turn_id=1, model="m", input_tokens=10, output_tokens=4))
    call.go_on(1)
    play(call, vp.ModelUsage(turn_id=1, model="m", input_tokens=1, output_tokens=2))
    done = call.happened(ended(vp.TurnCompleted))[-1]
    assert done["response"]["usage"] == {"input_tokens": 11, "output_tokens": 6, "total_tokens": 17}


def test_metadata_comes_back_with_the_response() -> None:
    """A client that asks for several responses tells them apart by its own words."""
    call = conversation()
    call.asks({"topic": "greeting"})
    assert [event["response"]["metadata"] for event in call.happened(GREET)] == [{"topic": "greeting"}]
    assert line(call.happened(ended(vp.TurnCompleted))[-1]) == "response.done resp_1 completed"


def test_a_reply_in_text_has_no_audio() -> None:
    """With the modality "text" a reply is `output_text`."""
    told = play(conversation("text"), START, HELLO, ended(vp.TurnCompleted))
    assert told[told.index("response.created resp_1") :] == [
        "response.created resp_1",
        *BEGUN,
        "output_text.delta 'Hello.'",
        "output_text.done item_2 'Hello.'",
        *DONE[2:],
        "response.done resp_1 completed",
    ]


def test_nothing_more_is_a_whole_response() -> None:
    """A response that has been given already is answered with an empty one."""
    assert lines(conversation().nothing_more(None)) == ["response.created resp_1", "response.done resp_1 completed"]


# --- whatever happens -------------------------------------------------------------------------------------------------

HAPPENINGS = st.lists(
    st.sampled_from(
        ["speech", "silence", "turn", "greeting", "sentence", "audio", "pause", "resume", "call", "end", "cut"]
    ),
    max_size=40,
)


def story(names: list[str]) -> list[dict[str, Any]]:
    """Return the events of a session in which these things happen, as far as they can."""
    call = conversation()
    events: list[dict[str, Any]] = []
    turn_id, is_running, is_paused = 0, False, False
    for name in names:
        match name:
            case "speech":
                events += call.happened(vp.SpeechStarted(at_s=100.5))
            case "silence":
                events += call.happened(vp.SpeechEnded(at_s=101.0))
            case "turn" | "greeting" if not is_running:
                turn_id, is_running, is_paused = turn_id + 1, True, False
                text = "Hi." if name == "turn" else ""
                events += call.happened(vp.TurnStarted(turn_id=turn_id, user_text=text))
            case "sentence" if is_running and not call.waits_for_client:
                events += call.happened(vp.SentenceStarted(turn_id=turn_id, text="Hello."))
            case "audio" if is_running and not is_paused and not call.waits_for_client:
                events += call.spoke(turn_id, FRAME, "AAAA")
            case "pause" if is_running and not is_paused:
                is_paused = True
                events += call.happened(vp.Paused(turn_id=turn_id, heard_s=0.03))
            case "resume" if is_paused and is_running:
                is_paused = False
                events += call.happened(vp.Resumed(turn_id=turn_id, from_s=0.0))
                events.append({"type": "resumed"})
            case "call" if is_running and not call.waits_for_client:
                events += call.called(turn_id, f"call_{len(events)}", "look_up", "{}")
                events += call.calls_end(turn_id)
            case "end" | "cut" if is_running:
                is_running = False
                kind = vp.TurnCompleted if name == "end" else vp.TurnInterrupted
                events += call.happened(ended(kind, turn_id=turn_id, heard_s=0.03))
            case _:
                pass
    return events


@given(HAPPENINGS)
def test_whatever_happens_the_protocol_holds(names: list[str]) -> None:
    """Each response and each item ends once, and no audio follows `speech_started` but that of a resumed reply."""
    open_ones: set[str] = set()
    done: set[str] = set()
    is_heard = is_silent = False
    for event in story(names):
        match event["type"]:
            case "resumed" | "response.created":
                is_heard = is_silent = False
            case "input_audio_buffer.speech_started":
                is_silent = is_heard
            case "response.output_audio.delta":
                assert not is_silent
                assert event["item_id"] in open_ones
                is_heard = True
        if event["type"] in ("response.created", "response.output_item.added"):
            open_ones.add((event.get("response") or event.get("item"))["id"])
        if event["type"] in ("response.done", "response.output_item.done"):
            ended_id = (event.get("response") or event.get("item"))["id"]
            open_ones.remove(ended_id)
            assert ended_id not in done
            done.add(ended_id)
        if event["type"] != "resumed":
            checked(event)
