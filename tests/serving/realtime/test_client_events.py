"""What clients of the Realtime protocol send: every message is an event, or is rejected in words."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeClientEvent
from pydantic import TypeAdapter

from tests.helpers.realtime_events import checked
from voicepipe.serving.realtime import server_events as say
from voicepipe.serving.realtime.client_events import (
    EVENTS,
    MOST_AUDIO_CHARACTERS,
    AudioFormat,
    Rejected,
    SessionWishes,
    UpdateSession,
    read_event,
)
from voicepipe.serving.realtime.formats import FORMATS, PCM, format_of
from voicepipe.serving.realtime.settings import Settings, updated

TEXT = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi."}]}

EXAMPLES: list[dict[str, Any]] = [
    {"type": "session.update", "session": {"type": "realtime", "instructions": "Be brief."}},
    {"type": "input_audio_buffer.append", "audio": "AAAA"},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "conversation.item.create", "item": TEXT},
    {"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "call_1", "output": "{}"}},
    {"type": "conversation.item.retrieve", "item_id": "item_1"},
    {"type": "conversation.item.truncate", "item_id": "item_1", "content_index": 0, "audio_end_ms": 120},
    {"type": "conversation.item.delete", "item_id": "item_1"},
    {"type": "response.create", "response": {"metadata": {"topic": "greeting"}}},
    {"type": "response.cancel", "response_id": "resp_1"},
]


@pytest.mark.parametrize("example", EXAMPLES, ids=[one["type"] for one in EXAMPLES])
def test_the_stock_clients_events_are_read(example: dict[str, Any]) -> None:
    """What the `openai` package builds is an event here, with its id."""
    stock = TypeAdapter[Any](RealtimeClientEvent).validate_python({"event_id": "mine", **example})
    event = read_event(stock.model_dump_json(exclude_unset=True))
    assert (type(event), event.event_id) == (EVENTS[example["type"]], "mine")


def item(**changes: Any) -> str:
    return json.dumps({"type": "conversation.item.create", "item": {**TEXT, **changes}})


def append(audio: object) -> str:
    return json.dumps({"type": "input_audio_buffer.append", "audio": audio})


WRONG: list[tuple[str | bytes, str, str]] = [
    (b"\0\0", "invalid_message", "events are JSON in text messages"),
    ("hello", "invalid_json", "the message is not JSON"),
    ("[" * 100_000, "invalid_json", "the message is not JSON"),
    ("[]", "invalid_json", "an event is a JSON object"),
    ("{}", "unknown_event", "an event has a type"),
    ('{"type": 3}', "unknown_event", "an event has a type"),
    ('{"type": "response.fly"}', "unknown_event", "there is no event 'response.fly'"),
    ('{"type": "output_audio_buffer.clear"}', "unknown_event", "there is no event"),
    (append(None), "invalid_value", "audio: "),
    (append("A" * (MOST_AUDIO_CHARACTERS + 1)), "too_large", "audio: "),
    ("[" + "{}," * 340_000 + "{}]", "too_large", "a message has at most 263168 characters, not 1020004"),
    (
        json.dumps({"type": "conversation.item.truncate", "item_id": "item_1", "audio_end_ms": 10**400}),
        "invalid_value",
        "audio_end_ms: ",
    ),
    ('{"type": "conversation.item.retrieve"}', "missing_required_parameter", "item_id: Field required"),
    (item(type="mcp_call"), "invalid_value", "item: "),
    (item(role="developer"), "invalid_value", "item.message.role: "),
    (item(content=[]), "invalid_value", "item.message.content: "),
    (item(content=[{"type": "input_text", "text": "x" * 20_000}]), "too_large", "item.message.content.0.text: "),
    (item(id="x" * 200), "too_large", "item.message.id: "),
    ('{"type": "session.update", "session": {"type": "transcription"}}', "invalid_value", "session.type: "),
    ('{"type": "session.update"}', "missing_required_parameter", "session: "),
    ('{"type": "response.create", "response": {"metadata": {"a": 1}}}', "invalid_value", "response.metadata.a: "),
    (
        '{"type": "conversation.item.truncate", "item_id": "a", "content_index": 0, "audio_end_ms": -1}',
        "invalid_value",
        "audio_end_ms: ",
    ),
]


@pytest.mark.parametrize(("message", "code", "said"), WRONG)
def test_a_wrong_message_is_rejected_in_words(message: str | bytes, code: str, said: str) -> None:
    """An error names the field and what is wrong with it, and it is an event that clients understand."""
    with pytest.raises(Rejected) as caught:
        read_event(message)
    assert (caught.value.code, said in caught.value.message) == (code, True), caught.value.message
    assert checked(say.error(caught.value))["error"]["code"] == code
    assert len(caught.value.message) <= 800


def test_an_error_quotes_the_clients_id_and_not_its_values() -> None:
    """The client learns which event was wrong; what it sent is not repeated."""
    with pytest.raises(Rejected) as caught:
        read_event('{"type": "conversation.item.retrieve", "event_id": "e7", "item_id": ["secret"]}')
    assert caught.value.event_id == "e7"
    assert "secret" not in caught.value.message


@given(st.one_of(st.text(), st.binary(), st.recursive(st.none() | st.booleans() | st.text(), st.lists).map(json.dumps)))
def test_no_message_is_too_strange(message: str | bytes) -> None:
    """Whatever comes is an event or is rejected."""
    try:
        read_event(message)
    except Rejected as rejected:
        checked(say.error(rejected))


@given(st.sampled_from(EXAMPLES), st.data())
def test_no_field_is_too_strange(example: dict[str, Any], data: st.DataObject) -> None:
    """An event with any value in any field is read or rejected."""
    field = data.draw(st.sampled_from([*example, "event_id"]))
    value = data.draw(
        st.none() | st.integers() | st.text() | st.lists(st.integers()) | st.dictionaries(st.text(), st.text())
    )
    try:
        read_event(json.dumps({**example, field: value}))
    except Rejected as rejected:
        checked(say.error(rejected))


# --- formats ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_audio_comes_back_as_it_was(name: str) -> None:
    """Silence and a loud sample survive each format; G.711 rounds."""
    chosen = FORMATS[name]
    pcm = b"\x00\x00\x00\x40" * 10
    back = chosen.decoded(chosen.encoded(pcm))
    values = [int.from_bytes(back[at : at + 2], "little", signed=True) for at in range(0, len(back), 2)]
    assert len(values) == 20
    assert all(abs(value - wanted) <= 512 for value, wanted in zip(values, [0, 0x4000] * 10, strict=True))


@pytest.mark.parametrize("audio", ["AAA", "*", "AAAA\n", "äöü", base64.b64encode(b"abc").decode()])
def test_audio_that_is_none_is_rejected(audio: str) -> None:
    """Bad base64 and half samples are rejected."""
    with pytest.raises(Rejected) as caught:
        PCM.decoded(audio)
    assert caught.value.code == "invalid_audio"


def test_a_rate_that_the_format_does_not_have_is_rejected() -> None:
    """PCM is 24 kHz, and nothing else."""
    with pytest.raises(Rejected, match="audio/pcm has 24000 samples per second, not 16000"):
        format_of(AudioFormat(type="audio/pcm", rate=16_000), "session.audio.input.format")


# --- settings ---------------------------------------------------------------------------------------------------------

TOOL = {"type": "function", "name": "look_up", "description": "Look up.", "parameters": {"type": "object"}}
EVERYTHING = frozenset(("instructions", "tools", "voice"))


def asked(session: dict[str, Any]) -> Any:
    event = read_event(json.dumps({"type": "session.update", "session": session}))
    assert isinstance(event, UpdateSession)
    return event.session


def shown(settings: Settings) -> dict[str, Any]:
    event = say.session_event("session.updated", settings)
    checked(event)
    session: dict[str, Any] = event["session"]
    return session


def test_what_a_client_may_not_choose_is_left_out() -> None:
    """Prompt, tools, voice and model of a client change nothing, and `session.updated` shows that."""
    wishes = asked(
        {"instructions": "Obey me.", "tools": [TOOL], "model": "gpt-9", "audio": {"output": {"voice": "ash"}}}
    )
    settings = Settings(session_id="sess_1")
    found = updated(settings, wishes, frozenset(), is_live=False)
    assert found == settings
    session = shown(found)
    assert (session["instructions"], session["tools"], session["model"]) == (None, [], "voicepipe")
    assert session["audio"]["output"]["voice"] is None


def test_what_is_allowed_by_name_holds() -> None:
    """With `allow` the client's prompt, tools and voice are the session's."""
    wishes = asked({"instructions": "Be brief.", "tools": [TOOL], "audio": {"output": {"voice": {"id": "anna"}}}})
    session = shown(updated(Settings(session_id="sess_1"), wishes, EVERYTHING, is_live=False))
    assert (session["instructions"], session["tools"], session["audio"]["output"]["voice"]) == (
        "Be brief.",
        [TOOL],
        "anna",
    )


def test_an_absent_field_stays_and_null_turns_off() -> None:
    """`session.update` is partial."""
    settings = updated(Settings(session_id="sess_1"), asked({"instructions": "Be brief."}), EVERYTHING, is_live=False)
    settings = updated(settings, asked({"audio": {"input": {"turn_detection": None}}}), EVERYTHING, is_live=True)
    assert (settings.instructions, settings.detection) == ("Be brief.", None)
    settings = updated(settings, asked({"instructions": None}), EVERYTHING, is_live=True)
    assert settings.instructions is None
    assert shown(settings)["audio"]["input"]["turn_detection"] is None


def test_detection_says_what_holds() -> None:
    """Whatever the client asks for, a turn is answered and can be interrupted."""
    wishes = asked({"audio": {"input": {"turn_detection": {"type": "semantic_vad", "interrupt_response": False}}}})
    detection = shown(updated(Settings(session_id="s"), wishes, frozenset(), is_live=False))["audio"]["input"]
    assert detection["turn_detection"] == {
        "type": "semantic_vad",
        "create_response": True,
        "interrupt_response": True,
    }


FIXED: list[tuple[dict[str, Any], str]] = [
    ({"audio": {"input": {"format": {"type": "audio/pcmu"}}}}, "session.audio.input.format"),
    ({"audio": {"output": {"format": {"type": "audio/pcma"}}}}, "session.audio.output.format"),
    ({"audio": {"output": {"voice": "anna"}}}, "session.audio.output.voice"),
    ({"output_modalities": ["text"]}, "session.output_modalities"),
]


@pytest.mark.parametrize(("wishes", "param"), FIXED)
def test_formats_are_fixed_once_the_call_has_begun(wishes: dict[str, Any], param: str) -> None:
    """They hold from the first message; later the same wish is rejected, and the present setting is fine."""
    settings = Settings(session_id="sess_1")
    found = updated(settings, asked(wishes), EVERYTHING, is_live=False)
    assert found != settings
    assert updated(found, asked(wishes), EVERYTHING, is_live=True) == found
    with pytest.raises(Rejected) as caught:
        updated(settings, asked(wishes), EVERYTHING, is_live=True)
    assert (caught.value.code, caught.value.param) == ("cannot_update", param)


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([{"type": "mcp", "server_label": "files"}], "session.tools.0.type"),
        ([{"type": "function"}], "session.tools.0.name"),
        ([{**TOOL, "name": "look up"}], "session.tools.0.name"),
        ([TOOL, TOOL], "session.tools.1.name"),
        ([{**TOOL, "parameters": {"x": "y" * 20_000}}], "session.tools.0"),
        ([{**TOOL, "parameters": {"x": "\ud800"}}], "session.tools.0"),  # half of a character
        ([7], "session.tools.0"),
    ],
)
def test_a_tool_that_cannot_be_is_rejected(tools: list[Any], param: str) -> None:
    """Only functions with a name and a schema of a decent size are tools."""
    with pytest.raises(Rejected) as caught:
        updated(Settings(session_id="s"), asked({"tools": tools}), EVERYTHING, is_live=True)
    assert caught.value.param == param


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize("depth", [500, 900, 100_000])
def test_a_schema_may_be_nested_however_deeply(depth: int) -> None:
    """A schema that is too deep for JSON or for Python is rejected, and nothing else happens."""
    with suppress(Rejected):
        updated(
            Settings(session_id="s"),
            SessionWishes(tools=[{**TOOL, "parameters": nested(depth)}]),
            EVERYTHING,
            is_live=True,
        )


def test_settings_that_fail_change_nothing() -> None:
    """One wrong setting, and none of the update holds."""
    settings = Settings(session_id="sess_1")
    with pytest.raises(Rejected):
        updated(settings, asked({"instructions": "Be brief.", "tools": [7]}), EVERYTHING, is_live=True)
    assert settings.instructions is None
