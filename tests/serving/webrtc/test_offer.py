"""What an offer may contain: it is a stranger's text until its call has begun."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.serving import Refused
from voicepipe.serving.webrtc.offer import MOST_BYTES, checked_offer

AUDIO = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
DATA = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
VIDEO = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"
CANDIDATE = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n"
HEAD = "v=0\r\n"


def test_sound_and_a_data_channel() -> None:
    """An offer of one audio section and one data channel passes as it is."""
    offer = HEAD + AUDIO + CANDIDATE * 32 + DATA
    assert checked_offer(offer.encode()) == offer
    assert checked_offer((HEAD + DATA + AUDIO).encode()) == HEAD + DATA + AUDIO


def test_hidden_addresses_are_left_out() -> None:
    """Names that only the browser's network resolves are left out, and so is the end of the list; addresses stay."""
    hidden = "a=candidate:1 1 UDP 2122187007 ef81ddf0-a4bb-432d-8fea-fbebf05e2906.local 49358 typ host\r\n"
    end = "a=end-of-candidates\r\n"
    plain = HEAD + AUDIO + CANDIDATE + DATA
    assert checked_offer((HEAD + AUDIO + hidden + CANDIDATE + end + DATA).encode()) == plain
    assert checked_offer((plain + hidden + end.rstrip()).encode()) == plain


@pytest.mark.parametrize(
    ("offer", "found", "status"),
    [
        (HEAD + AUDIO + DATA + " " * MOST_BYTES, "at most 16384 bytes", 413),
        ("\xff", "does not begin with v=0", 400),
        ("", "does not begin with v=0", 400),
        (HEAD, "one audio section and one data channel", 400),
        (HEAD + AUDIO, "one audio section and one data channel", 400),
        (HEAD + AUDIO + AUDIO + DATA, "one audio section and one data channel", 400),
        (HEAD + AUDIO + DATA + VIDEO, "one audio section and one data channel", 400),
        (HEAD + AUDIO + DATA + CANDIDATE * 33, "more than 32 candidates", 400),
    ],
)
def test_anything_else_is_refused(offer: str, found: str, status: int) -> None:
    """A refusal says what is wrong, and has the status for it."""
    with pytest.raises(Refused, match=found) as refused:
        checked_offer(offer.encode())
    assert refused.value.status == status


@given(st.binary(max_size=100) | st.text(max_size=100).map(lambda text: f"{HEAD}{text}".encode()))
def test_whatever_is_posted(body: bytes) -> None:
    """Any body passes as it is, or is refused."""
    with suppress(Refused):
        assert checked_offer(body).encode() == body
