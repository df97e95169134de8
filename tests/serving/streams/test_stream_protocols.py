"""Each message of Telnyx, Plivo and Vonage, in and out."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.audio import from_alaw, from_ulaw, to_alaw, to_ulaw
from voicepipe.serving.json_protocol import Order
from voicepipe.serving.plivo import PlivoProtocol
from voicepipe.serving.telephony import AudioIn, Ended, KeyPressed, LineProtocol, Played, Started
from voicepipe.serving.telnyx import TelnyxProtocol
from voicepipe.serving.transport import Refused
from voicepipe.serving.vonage import VonageProtocol

PCM = b"\x10\x20" * 160
SWAPPED = b"\x20\x10" * 160


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def telnyx_start(encoding: object = "PCMU", rate: object = 8_000, **fields: object) -> str:
    media_format = {"encoding": encoding, "sample_rate": rate, "channels": 1}
    start = {"call_control_id": "v3:1", "client_state": coded(b"token"), "media_format": media_format, **fields}
    return json.dumps({"event": "start", "sequence_number": "1", "stream_id": "S1", "start": start})


def plivo_start(encoding: object = "audio/x-mulaw", rate: object = 8_000, **fields: object) -> str:
    start = {"callId": "C1", "streamId": "S1", "accountId": "MA1", "mediaFormat": None, **fields}
    if start["mediaFormat"] is None:
        start["mediaFormat"] = {"encoding": encoding, "sampleRate": rate}
    return json.dumps({"event": "start", "sequenceNumber": 1, "start": start, "extra_headers": "token=ab12;lang=en"})


def vonage_start(kind: object = "audio/l16;rate=16000") -> str:
    return json.dumps({"event": "websocket:connected", "content-type": kind, "token": "ab12", "uuid": "U1", "n": 1})


def media(payload: object, **fields: object) -> str:
    return json.dumps({"event": "media", "media": {"payload": payload, **fields}})


def message(**fields: object) -> str:
    return json.dumps(fields)


STARTS = {TelnyxProtocol: telnyx_start(), PlivoProtocol: plivo_start(), VonageProtocol: vonage_start()}


def live(kind: type[Any], start: str | None = None) -> Any:
    protocol = kind()
    protocol.feed(start or STARTS[kind])
    return protocol


@pytest.mark.parametrize(
    ("kind", "started"),
    [
        (TelnyxProtocol, Started(call_id="v3:1", stream_id="S1", parameters={"token": "token"})),
        (
            PlivoProtocol,
            Started(call_id="C1", stream_id="S1", account_id="MA1", parameters={"token": "ab12", "lang": "en"}),
        ),
        (VonageProtocol, Started(call_id="U1", parameters={"token": "ab12", "uuid": "U1"})),
    ],
)
def test_a_call_begins(kind: type[LineProtocol], started: Started) -> None:
    """The first message names the call and brings what the application gave the network; a second one is counted."""
    protocol = kind()
    assert protocol.feed(STARTS[kind]) == (started,)  # type: ignore[index]
    assert (protocol.feed(STARTS[kind]), protocol.ignored) == ((), 1)  # type: ignore[index]


@pytest.mark.parametrize(
    ("kind", "sent", "reported"),
    [
        (TelnyxProtocol, media(coded(to_ulaw(PCM)), track="inbound", timestamp="40"), AudioIn(PCM, 0.04)),
        (TelnyxProtocol, media(coded(to_ulaw(PCM)), track="outbound"), None),
        (TelnyxProtocol, message(event="mark", mark={"name": "7"}), Played("7")),
        (TelnyxProtocol, message(event="dtmf", dtmf={"digit": "#"}), KeyPressed("#")),
        (TelnyxProtocol, message(event="stop", stop={}), Ended("stop")),
        (TelnyxProtocol, message(event="connected", version="1.0.0"), None),
        (PlivoProtocol, media(coded(to_ulaw(PCM)), timestamp="1800000000040"), AudioIn(PCM, 1_800_000_000.04)),
        (PlivoProtocol, media(coded(to_ulaw(PCM)), track="outbound"), None),
        (PlivoProtocol, message(event="playedStream", streamId="S1", name="7"), Played("7")),
        (PlivoProtocol, message(event="dtmf", dtmf={"digit": "#"}), KeyPressed("#")),
        (PlivoProtocol, message(event="clearedAudio", streamId="S1"), None),
        (PlivoProtocol, message(event="stop"), Ended("stop")),
        (VonageProtocol, PCM, AudioIn(PCM)),
        (VonageProtocol, b"", None),
        (VonageProtocol, message(event="websocket:notify", payload={"mark": "7"}), Played("7")),
        (VonageProtocol, message(event="websocket:dtmf", digit="#", duration=260), KeyPressed("#")),
        (VonageProtocol, message(event="websocket:cleared"), None),
    ],
)
def test_what_a_network_sends(kind: type[Any], sent: str | bytes, reported: object) -> None:
    """Each message of a call is one event, or none."""
    protocol = live(kind)
    found = list(protocol.feed(sent))
    for event in found:
        if isinstance(event, AudioIn):
            assert event.pcm == (from_ulaw(to_ulaw(PCM)) if kind is not VonageProtocol else PCM)
            assert isinstance(reported, AudioIn)
            assert event.stamp_s == (None if reported.stamp_s is None else pytest.approx(reported.stamp_s))
        else:
            assert event == reported
    assert (len(found), protocol.ignored, protocol.dropped) == (reported is not None, 0, 0)


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        (TelnyxProtocol, message(event="error", error={"code": 100_002})),
        (TelnyxProtocol, message(event="media")),
        (TelnyxProtocol, media(7)),
        (TelnyxProtocol, media("")),
        (TelnyxProtocol, message(event="dtmf", dtmf={"digit": "x"})),
        (TelnyxProtocol, message(event="mark", mark={})),
        (PlivoProtocol, message(event="weather")),
        (PlivoProtocol, message(event="playedStream")),
        (PlivoProtocol, message(event="dtmf", digit="1")),
        (VonageProtocol, message(event="websocket:dtmf", digit="12")),
        (VonageProtocol, message(event="websocket:notify", payload={})),
        (VonageProtocol, message()),
    ],
)
def test_what_is_of_no_use_is_counted(kind: type[Any], sent: str) -> None:
    """Unknown messages, and those that lack what they are for, report nothing and end no call."""
    protocol = live(kind)
    assert (protocol.feed(sent), protocol.ignored) == ((), 1)


@pytest.mark.parametrize(
    ("kind", "audio"),
    [(TelnyxProtocol, media("////")), (PlivoProtocol, media("////")), (VonageProtocol, PCM)],
)
def test_audio_before_the_call_is_dropped(kind: type[Any], audio: str | bytes) -> None:
    """Audio that comes before the first message reaches nobody, and is counted."""
    protocol = kind()
    assert (protocol.feed(audio), protocol.dropped) == ((), 1)


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        (TelnyxProtocol, "{"),
        (TelnyxProtocol, b"\0\0"),
        (TelnyxProtocol, media("!")),
        (PlivoProtocol, "[]"),
        (PlivoProtocol, media("é")),
        (VonageProtocol, "7"),
        (VonageProtocol, b"abc"),
    ],
)
def test_what_cannot_be_read_ends_the_call(kind: type[Any], sent: str | bytes) -> None:
    """No JSON, no base64, half a sample: the call is refused."""
    with pytest.raises(Refused) as refused:
        live(kind).feed(sent)
    assert refused.value.reason == "malformed"


@pytest.mark.parametrize(
    ("kind", "start", "reason"),
    [
        (TelnyxProtocol, telnyx_start(call_control_id=""), "malformed"),
        (TelnyxProtocol, telnyx_start("OPUS", 16_000), "media_format"),
        (TelnyxProtocol, telnyx_start("PCMU", 16_000), "media_format"),
        (TelnyxProtocol, telnyx_start("PCMU", "8000"), "media_format"),
        (TelnyxProtocol, telnyx_start(media_format=None), "media_format"),
        (PlivoProtocol, plivo_start(callId=7), "malformed"),
        (PlivoProtocol, plivo_start("audio/x-mulaw", 16_000), "media_format"),
        (PlivoProtocol, plivo_start(mediaFormat="mulaw"), "media_format"),
        (VonageProtocol, vonage_start("audio/l16;rate=44100"), "media_format"),
        (VonageProtocol, vonage_start("audio/opus"), "media_format"),
        (VonageProtocol, vonage_start(None), "media_format"),
    ],
)
def test_a_call_that_cannot_be_held_is_refused(kind: type[Any], start: str, reason: str) -> None:
    """Without its ids, or in a format that would be noise, no call begins."""
    with pytest.raises(Refused, match="expected") as refused:
        kind().feed(start)
    assert refused.value.reason == reason


@pytest.mark.parametrize("state", [None, 7, "!", coded(b"\xff")])
def test_a_client_state_that_is_no_text_is_no_token(state: object) -> None:
    """Telnyx passes on what the application gave it; something else lets nobody in."""
    (started,) = TelnyxProtocol().feed(telnyx_start(client_state=state))
    assert isinstance(started, Started)
    assert started.parameters == {"token": ""}


@pytest.mark.parametrize(
    ("kind", "start", "rate", "wire"),
    [
        (TelnyxProtocol, telnyx_start("PCMU"), 8_000, to_ulaw(PCM)),
        (TelnyxProtocol, telnyx_start("PCMA"), 8_000, to_alaw(PCM)),
        (TelnyxProtocol, telnyx_start("L16"), 8_000, SWAPPED),
        (TelnyxProtocol, telnyx_start("L16", 16_000), 16_000, SWAPPED),
        (PlivoProtocol, plivo_start("audio/x-mulaw"), 8_000, to_ulaw(PCM)),
        (PlivoProtocol, plivo_start("audio/x-l16"), 8_000, PCM),
        (PlivoProtocol, plivo_start("audio/x-l16", 16_000), 16_000, PCM),
    ],
)
def test_audio_is_written_as_it_comes(kind: type[Any], start: str, rate: int, wire: bytes) -> None:
    """The first message names how audio is written, in both directions."""
    protocol = live(kind, start)
    assert protocol.sample_rate == rate
    (heard,) = protocol.feed(media(coded(wire)))
    assert heard.pcm == {to_ulaw(PCM): from_ulaw(to_ulaw(PCM)), to_alaw(PCM): from_alaw(to_alaw(PCM))}.get(wire, PCM)
    assert base64.b64decode(json.loads(protocol.audio(PCM))["media"]["payload"]) == wire


def test_half_a_sample_is_refused_in_each_byte_order() -> None:
    """It would turn all later audio into noise."""
    for protocol in (live(TelnyxProtocol, telnyx_start("L16")), live(PlivoProtocol, plivo_start("audio/x-l16"))):
        with pytest.raises(Refused, match="whole 16-bit samples"):
            protocol.feed(media(coded(b"abc")))


def test_what_a_network_gets() -> None:
    """Audio, clear and mark have the fields of the references, whatever a name holds."""
    telnyx, plivo, vonage = live(TelnyxProtocol), live(PlivoProtocol), live(VonageProtocol)
    payload = coded(to_ulaw(PCM))
    assert [json.loads(text) for text in (telnyx.audio(PCM), telnyx.clear(), telnyx.mark('4"'))] == [
        {"event": "media", "media": {"payload": payload}},
        {"event": "clear"},
        {"event": "mark", "mark": {"name": '4"'}},
    ]
    kind = {"contentType": "audio/x-mulaw", "sampleRate": 8_000}
    assert [json.loads(text) for text in (plivo.audio(PCM), plivo.clear(), plivo.mark('4"'))] == [
        {"event": "playAudio", "streamId": "S1", "media": {**kind, "payload": payload}},
        {"event": "clearAudio", "streamId": "S1"},
        {"event": "checkpoint", "streamId": "S1", "name": '4"'},
    ]
    assert vonage.audio(PCM) == PCM
    assert [json.loads(text) for text in (vonage.clear(), vonage.mark('4"'))] == [
        {"action": "clear"},
        {"action": "notify", "payload": {"mark": '4"'}},
    ]


# --- audio that overtakes ---------------------------------------------------------------------------------------------


def in_order(*chunks: int) -> tuple[list[int], int]:
    """Return which pieces come out, in order, and how many came too late."""
    order, out, late = Order(), list[int](), 0
    for chunk in chunks:
        ready = order.take(chunk, AudioIn(b"", float(chunk)))
        late += ready is None
        out += [int(audio.stamp_s or 0) for audio in ready or []]
    return out + [int(audio.stamp_s or 0) for audio in order.rest()], late


@pytest.mark.parametrize(
    ("chunks", "out", "late"),
    [
        ((1, 2, 3), [1, 2, 3], 0),
        ((1, 3, 2, 4), [1, 2, 3, 4], 0),
        ((7, 9, 10, 8), [7, 8, 9, 10], 0),
        ((1, 3, 4, 5, 6, 7, 8, 2, 9), [1, 3, 4, 5, 6, 7, 8, 9], 1),
        ((1, 2, 2, 1, 3), [1, 2, 3], 2),
        ((2, 1, 3), [2, 3], 1),
        ((1, 5, 3), [1, 3, 5], 0),
    ],
)
def test_audio_is_put_in_order(chunks: tuple[int, ...], out: list[int], late: int) -> None:
    """A piece that was overtaken is waited for while five others come; then the call goes on without it."""
    assert in_order(*chunks) == (out, late)


@given(st.permutations(range(8)))
def test_nothing_is_lost_but_what_comes_too_late(chunks: list[int]) -> None:
    """What comes out is in order, and together with what came too late it is everything."""
    out, late = in_order(*chunks)
    assert (out, len(out) + late) == (sorted(out), 8)


def test_a_call_hears_its_audio_in_order() -> None:
    """Messages that overtake each other are put in order, and what is held at the end is heard before it."""
    protocol = live(TelnyxProtocol, telnyx_start("L16"))

    def chunk(number: int) -> str:
        return media(coded(bytes([0, number]) * 160), chunk=str(number))

    heard = [event.pcm[0] for number in (1, 3, 2, 5) for event in protocol.feed(chunk(number))]
    last, ended = protocol.feed(message(event="stop"))
    assert (heard, last.pcm[0], ended) == ([1, 2, 3], 5, Ended("stop"))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(["////", "PCMU", "audio/x-l16"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
NAMES = ["call_control_id", "client_state", "media_format", "callId", "streamId", "mediaFormat", "payload", "chunk"]
NAMES += ["timestamp", "track", "name", "digit", "mark", "dtmf", "content-type", "extra_headers"]
KINDS = ["start", "media", "mark", "dtmf", "stop", "playedStream", "websocket:connected", "websocket:dtmf"]


@pytest.mark.parametrize("kind", STARTS)
@given(
    st.lists(
        st.text()
        | st.binary()
        | st.builds(
            lambda event, inner, outer: json.dumps({"event": event, event: inner, **outer}),
            st.sampled_from(KINDS),
            st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3),
            st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=2),
        ),
        max_size=5,
    ),
    st.booleans(),
)
def test_nothing_but_a_refusal_comes_out(kind: type[Any], messages: list[str | bytes], is_live: bool) -> None:
    """Whatever arrives, in whatever order, it is an event, counted or refused."""
    protocol = live(kind) if is_live else kind()
    for one in messages:
        try:
            protocol.feed(one)
        except Refused:
            break
