"""Each message of AudioSocket, in and out."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.serving.audiosocket.protocol import AudioSocketProtocol, take_message
from voicepipe.serving.telephony import AudioIn, Ended, KeyPressed, Started
from voicepipe.serving.transport import Refused

ID = UUID("40325ec2-5efd-4bd3-805f-53576e581d13")
FRAME = b"\x01\x02" * 160


def message(kind: int, payload: bytes = b"") -> bytes:
    return bytes([kind]) + len(payload).to_bytes(2, "big") + payload


def live() -> AudioSocketProtocol:
    protocol = AudioSocketProtocol()
    protocol.feed(message(0x01, ID.bytes))
    return protocol


def test_a_call_begins() -> None:
    """The first message is the call's UUID."""
    assert AudioSocketProtocol().feed(message(0x01, ID.bytes)) == (Started(call_id=str(ID)),)


@pytest.mark.parametrize(
    ("sent", "reported"),
    [
        (message(0x10, FRAME), (AudioIn(FRAME),)),
        (message(0x03, b"#"), (KeyPressed("#"),)),
        (message(0x03, b"D"), (KeyPressed("D"),)),
        (message(0x00), (Ended("hang-up"),)),
        (message(0xFF), (Ended("error"),)),
        (message(0xFF, b"\x04"), (Ended("error"),)),
    ],
)
def test_what_asterisk_sends(sent: bytes, reported: tuple[object, ...]) -> None:
    """Each message of a call is one event."""
    protocol = live()
    assert protocol.feed(sent) == reported
    assert (protocol.ignored, protocol.dropped) == (0, 0)


@pytest.mark.parametrize(
    ("kind", "rate"),
    [
        *((0x10, 8_000), (0x11, 12_000), (0x12, 16_000), (0x13, 24_000), (0x14, 32_000)),
        *((0x15, 44_100), (0x16, 48_000), (0x17, 96_000), (0x18, 192_000)),
    ],
)
def test_the_first_audio_names_the_rate(kind: int, rate: int) -> None:
    """The rate of the caller's audio is that of the agent's, and audio of another one is refused."""
    protocol = live()
    assert protocol.feed(message(kind, FRAME)) == (AudioIn(FRAME),)
    assert (protocol.sample_rate, protocol.audio(FRAME)) == (rate, message(kind, FRAME))
    with pytest.raises(Refused, match=f"expected audio at {rate} Hz") as refused:
        protocol.feed(message(0x10 if kind != 0x10 else 0x12, FRAME))
    assert (refused.value.reason, refused.value.code) == ("media_format", 1003)


def test_a_line_that_sends_no_audio_has_8000_samples_per_second() -> None:
    """The rate that every Asterisk knows holds once it has been settled."""
    protocol = live()
    protocol.settle()
    assert (protocol.sample_rate, protocol.audio(FRAME)) == (8_000, message(0x10, FRAME))
    with pytest.raises(Refused, match="expected audio at 8000 Hz, found 16000 Hz"):
        protocol.feed(message(0x12, FRAME))


@pytest.mark.parametrize(
    "sent",
    [
        message(0x02),
        message(0x20, b"abc"),
        message(0x03),
        message(0x03, b"12"),
        message(0x03, b"x"),
        message(0x03, b"\xe9"),
        message(0x10),
        message(0x01, ID.bytes),
    ],
)
def test_what_is_of_no_use_is_counted(sent: bytes) -> None:
    """Unknown kinds, no keys, no audio and a second name report nothing and end no call."""
    protocol = live()
    assert (protocol.feed(sent), protocol.ignored) == ((), 1)
    assert protocol.feed(message(0x10, FRAME)) == (AudioIn(FRAME),)


def test_audio_outside_of_the_call_is_dropped() -> None:
    """Audio before the name and after the hang-up reaches nobody, and is counted."""
    protocol = AudioSocketProtocol()
    assert protocol.feed(message(0x10, FRAME)) == ()
    protocol.feed(message(0x01, ID.bytes))
    protocol.feed(message(0x00))
    assert protocol.feed(message(0x10, FRAME)) == ()
    assert protocol.feed(message(0x00)) == ()
    assert (protocol.dropped, protocol.ignored) == (2, 1)


@pytest.mark.parametrize("sent", ["text", b"", b"\x10", b"\x10\x00\x02a", message(0x10, b"abc"), message(0x10) + b"a"])
def test_what_cannot_be_read_ends_the_call(sent: str | bytes) -> None:
    """Half a sample, half a message and a wrong length are refused."""
    with pytest.raises(Refused) as refused:
        live().feed(sent)
    assert (refused.value.reason, refused.value.code) == ("malformed", 1007)


@pytest.mark.parametrize("name", [b"", ID.bytes[:-1], ID.bytes + b"\0"])
def test_a_name_is_a_uuid(name: bytes) -> None:
    """A name of another length is refused: nobody could look the call up."""
    with pytest.raises(Refused, match="expected a UUID of 16 bytes"):
        AudioSocketProtocol().feed(message(0x01, name))


def test_what_asterisk_gets() -> None:
    """Audio with its length, big-endian, and the hang-up; nothing else would be understood."""
    protocol = live()
    assert protocol.audio(FRAME) == b"\x10\x01\x40" + FRAME
    assert protocol.hang_up() == b"\x00\x00\x00"


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40)), max_size=5), st.data())
def test_messages_are_found_however_they_arrive(messages: list[tuple[int, bytes]], data: st.DataObject) -> None:
    """The network cuts a stream anywhere; whole messages come out of it, in order."""
    stream = b"".join(message(*one) for one in messages)
    received, found = bytearray(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        received += stream[:size]
        stream = stream[size:]
        while (one := take_message(received, 64)) is not None:
            found.append(one)
    assert (found, received) == ([message(*one) for one in messages], b"")


def test_a_long_message_is_refused_at_its_header() -> None:
    """A message over the limit is refused before it has arrived."""
    assert take_message(bytearray(b"\x10\x01"), 322) is None
    with pytest.raises(Refused, match="at most 322 bytes, found one of 323") as refused:
        take_message(bytearray(b"\x10\x01\x40"), 322)
    assert (refused.value.reason, refused.value.code) == ("size", 1009)


@given(st.lists(st.binary(max_size=12) | st.builds(message, st.integers(0, 255), st.binary(max_size=20)), max_size=6))
def test_nothing_but_a_refusal_comes_out(messages: list[bytes]) -> None:
    """Whatever arrives, in whatever order, it is an event, counted or refused."""
    protocol = AudioSocketProtocol()
    for one in messages:
        try:
            protocol.feed(one)
        except Refused:
            break
