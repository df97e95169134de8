"""How much a peer may send: a bucket that refills, for messages and for audio."""

from __future__ import annotations

import math

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.plain_transport import Plain
from voicepipe.serving import Limits, Peer, Refused
from voicepipe.serving.bucket import Bucket
from voicepipe.serving.metering import MeteredPeer

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("takes", "allowed"),
    [
        ([(0.0, 10)], [True]),
        ([(0.0, 10), (0.0, 1)], [True, False]),
        ([(0.0, 10), (0.5, 1)], [True, True]),
        ([(0.0, 10), (0.4, 1)], [True, False]),
        ([(0.0, 10), (100.0, 10), (100.0, 1)], [True, True, False]),  # it does not hold more than it holds
        ([(0.0, 10), (0.4, 1), (0.5, 1)], [True, False, True]),  # what is refused takes nothing
    ],
)
def test_a_bucket_by_table(takes: list[tuple[float, float]], allowed: list[bool]) -> None:
    """A bucket of 10 with 2 per second: what is there can be taken, and comes back with time."""
    bucket = Bucket(2.0, 10.0, 0.0)
    assert [bucket.take(amount, now) for now, amount in takes] == allowed


def test_a_bucket_says_when_to_come_again() -> None:
    """The wait is what is missing, at the rate of the bucket."""
    bucket = Bucket(2.0, 10.0, 0.0)
    bucket.take(10, 0.0)
    assert (bucket.wait_s(1, 0.0), bucket.wait_s(1, 0.25), bucket.wait_s(1, 3.0)) == (0.5, 0.25, 0.0)


def test_a_bucket_without_an_end() -> None:
    """An infinite rate turns the limit off, from the first moment on."""
    bucket = Bucket(math.inf, math.inf, 0.0)
    assert [bucket.take(1e9, now) for now in (0.0, 0.0, 1.0)] == [True] * 3
    quick = Bucket(math.inf, 10.0, 0.0)
    assert [quick.take(amount, 0.0) for amount in (10.0, 10.0, 11.0)] == [True, True, False]


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0.01, 5)), max_size=50))
def test_a_bucket_never_gives_more_than_flows_in(steps: list[tuple[float, float]]) -> None:
    """However it is asked, what was taken is at most what it held and what has flowed in since."""
    bucket, now, taken = Bucket(1.5, 10.0, 0.0), 0.0, 0.0
    for wait_s, amount in steps:
        now += wait_s
        if bucket.take(amount, now):
            taken += amount
    assert taken <= 10.0 + 1.5 * now + 1e-6


class Scripted(Peer):
    """A peer that sends what it is given."""

    def __init__(self, *messages: str | bytes) -> None:
        self.facts, self.address = {"subject": "ada"}, "192.0.2.7:4711"
        self.messages = list(messages)

    async def receive(self) -> str | bytes:
        return self.messages.pop(0)

    async def send(self, message: str | bytes) -> None: ...

    async def close(self, code: int = 1000, reason: str = "") -> None: ...

    def takes_audio(self, seconds: float) -> None: ...


async def refusal(peer: MeteredPeer) -> tuple[str, int]:
    with pytest.raises(Refused) as caught:
        while True:
            await peer.receive()
    return caught.value.reason, caught.value.code


@pytest.mark.parametrize("message", [b"x" * 4_097, "x" * 4_097, "ä" * 2_049, "😀" * 1_025])
async def test_a_message_that_is_too_large(message: str | bytes) -> None:
    """The limit counts bytes, of text as well, and its close code says so."""
    assert await refusal(MeteredPeer(Scripted(message), Plain(), Limits())) == ("size", 1009)


@pytest.mark.parametrize("message", [b"x" * 4_096, "x" * 4_096, "ä" * 2_048])
async def test_a_message_that_is_just_small_enough(message: str | bytes) -> None:
    """A message of exactly the limit is taken."""
    assert await MeteredPeer(Scripted(message), Plain(), Limits()).receive() == message


async def test_a_flood_of_messages() -> None:
    """The messages of 10 s may come at once, and one more ends the call."""
    peer = MeteredPeer(Scripted(*[b""] * 2_000), Plain(), Limits())
    for _ in range(1_000):
        await peer.receive()
    assert await refusal(peer) == ("messages", 4429)


class Large(Plain):
    most_message_bytes = 1024 * 1024


async def test_a_flood_of_bytes() -> None:
    """A large message counts once for each 8 KiB: those of a thousand small ones may come at once, and no more."""
    peer = MeteredPeer(Scripted(*[b"x" * 800_000] * 100), Large(), Limits())
    for _ in range(10):
        await peer.receive()
    assert await refusal(peer) == ("messages", 4429)
    assert len(peer._peer.messages) == 89  # type: ignore[attr-defined]


async def test_audio_of_a_line_that_stalled() -> None:
    """A line that stalled for 10 s may deliver what it kept; audio faster than 1.5 x real time for long may not."""
    peer = MeteredPeer(Scripted(), Plain(), Limits())
    for _ in range(500):
        peer.takes_audio(0.02)
    with pytest.raises(Refused, match="more audio than time has passed"):
        peer.takes_audio(0.02)
    await anyio.sleep(0.02)
    peer.takes_audio(0.03)  # 1.5 x 20 ms
    with pytest.raises(Refused) as caught:
        peer.takes_audio(0.01)
    assert (caught.value.reason, caught.value.code) == ("audio", 4429)


async def test_what_a_connection_keeps_can_be_dropped() -> None:
    """`discard` reaches the connection itself, which knows what has not left; most keep nothing."""
    discarded: list[str] = []

    class Keeping(Scripted):
        def discard(self) -> None:
            discarded.append("audio")

    for connection in (Keeping(), Scripted()):
        MeteredPeer(connection, Plain(), Limits()).discard()
    assert discarded == ["audio"]
