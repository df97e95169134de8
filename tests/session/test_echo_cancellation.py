"""A loudspeaker in a room whose microphone hears it, with a real echo canceller: whole sessions on virtual time."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import voicepipe as vp
from voicepipe.testing import Says, ScriptedModel
from voicepipe.vendors.pocketsphinx.utterances import BLOCK_S, Endpoint, UtteranceDetector

np = pytest.importorskip("numpy")
pytest.importorskip("soxr")
pytest.importorskip("livekit.rtc", reason="needs the extra aec")
pocketsphinx = pytest.importorskip("pocketsphinx")

from tests.helpers.room import RATE, RECORDINGS, Room, at_level, pcm, recordings, synthesised  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

LEVEL = 3_000.0
"""How loud agent and caller are: the root mean square, in units of a 16-bit sample."""

SENTENCES = (
    "Your order left our warehouse on Tuesday morning and it should arrive tomorrow.",
    "We are open from nine to five on weekdays, and on Saturday until noon.",
    "You can change the address in your account for as long as the parcel has not left us.",
    "The cheapest ticket to Lyon costs forty two euros, and the train takes three hours.",
)
CALLER = "Please stop for a moment."

ROOM = (0.12, 0.7)
OTHER_ROOMS = ((0.04, 1.0), (0.08, 0.5), (0.16, 1.0), (0.2, 0.6))
"""Delay in seconds and gain of the echo: in each room, two replies alone and two with a caller, in two voices."""


@cache
def speech(kind: str) -> tuple[list[Any], Any]:
    """Return four replies of the agent and a caller's sentence, all equally loud."""
    if kind == "human":
        if not RECORDINGS.is_dir():
            pytest.skip("needs Debian's package asterisk-core-sounds-en-wav")
        found = recordings(shortest_s=4.0, longest_s=7.0)
        replies, caller = found[:4], recordings(shortest_s=1.2, longest_s=1.8)[3]
    else:
        replies, caller = [synthesised(text, "en-us") for text in SENTENCES], synthesised(CALLER, "en-gb-scotland")
    return [at_level(reply, LEVEL) for reply in replies], at_level(caller, LEVEL)


class Recorded(vp.TTSSink):
    """A voice that plays a recording for each text, and 0.2 s of silence for others."""

    sample_rate = RATE

    def __init__(self, replies: dict[str, Any]) -> None:
        self.replies = replies

    async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes]:
        samples = self.replies.get(sentence.text.strip())
        yield pcm(np.zeros(RATE // 5) if samples is None else samples)


class Ears(vp.Recogniser):
    """The detector of the embedded recogniser. Whatever it takes for speech is the word "stop": nothing is forgiven."""

    is_closed = True  # it is given silence while the canceller learns the room
    reports_speech = True

    async def recognise(
        self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: vp.Session
    ) -> None:
        detector, noise = UtteranceDetector(0.28), np.random.default_rng(0)
        vad, rest, size = pocketsphinx.Vad(3, RATE, BLOCK_S), b"", round(BLOCK_S * RATE) * 2
        async for frame in inbox:
            rest += frame.pcm
            while len(rest) >= size:
                block, rest = rest[:size], rest[size:]
                start_s = frame.start_s + frame.duration_s - (len(rest) + size) / 2 / RATE
                heard = pcm(np.frombuffer(block, "<i2") + noise.normal(0.0, 30.0, size // 2))
                for event in detector.feed(start_s, is_speech=vad.is_speech(heard)):
                    is_end = isinstance(event, Endpoint)
                    now = anyio.current_time()
                    await outbox.send(vp.Transcript("stop", event.speech_ended_s, now) if is_end else event)


async def hold(
    room: Room, kind: str, *, barge_ins: int, canceller: vp.EchoCanceller | None, rounds: int = 1
) -> tuple[list[vp.Said], list[tuple[float, vp.Event]], list[float]]:
    """Say four sentences, or those several times, with the caller speaking into the last ones after 1.5 s.

    Returns:
        How the sentences ended; the events with their times; when the caller began.
    """
    replies, caller = speech(kind)
    replies = replies * rounds
    texts = [f"Reply {number}." for number in range(len(replies))]
    agent = vp.Pipeline(
        room.microphone,
        vp.STTStage(Ears()),
        ScriptedModel(lambda request: Says("Yes?")),
        vp.SentenceChunker(),
        Recorded(dict(zip(texts, replies, strict=True))),
        output=room.loudspeaker,
        turns=vp.TurnRules(loudspeaker=None if canceller else False),
        echo_canceller=canceller,
    )
    said, events, began_s = list[vp.Said](), list[tuple[float, vp.Event]](), list[float]()
    async with agent.session() as session, anyio.create_task_group() as tasks:

        async def listen() -> None:
            async for event in session:
                events.append((anyio.current_time(), event))

        tasks.start_soon(listen)
        for number, text in enumerate(texts):
            saying = session.say(text)
            if number >= len(texts) - barge_ins:
                await anyio.sleep(1.5)
                room.caller_says(caller)
                began_s.append(anyio.current_time())
            said.append(await saying)
            await anyio.sleep(2.0)
        session.end()
    return said, events, began_s


@pytest.mark.parametrize("kind", ["espeak", "human"])
@pytest.mark.parametrize(
    ("delay_s", "gain"), [ROOM, *(pytest.param(*room, marks=pytest.mark.slow) for room in OTHER_ROOMS)]
)
@pytest.mark.slow
async def test_the_agent_hears_the_caller_and_not_itself(delay_s: float, gain: float, kind: str) -> None:
    """Two replies are heard whole in every room, and two callers who speak into one stop it."""
    room = Room(delay_s=delay_s, gain=gain)
    said, events, began_s = await hold(room, kind, barge_ins=2, canceller=vp.WebRTCEchoCanceller())

    assert [one.is_whole for one in said] == [True, True, False, False]
    # A stretch of speech that is not the caller's would be the agent's echo.
    started_s = [event.at_s for _, event in events if isinstance(event, vp.SpeechStarted)]
    assert [at_s for at_s in started_s if not any(began <= at_s < began + 3.0 for began in began_s)] == []
    stopped_s = [at_s for at_s, event in events if isinstance(event, vp.Paused | vp.TurnInterrupted)]
    for began in began_s:  # the sentence takes 1.5 s, and its word comes 0.3 s after it
        assert min(at_s - began for at_s in stopped_s if at_s > began) < 2.0


async def test_without_a_canceller_it_interrupts_itself() -> None:
    """In the same room, the detector takes the echo of each reply for the caller."""
    said, _, _ = await hold(Room(delay_s=0.12, gain=0.7), "espeak", barge_ins=0, canceller=None)
    assert [one.is_whole for one in said] == [False] * 4


@pytest.mark.slow
async def test_a_clock_that_drifts_does_not_bring_the_echo_back() -> None:
    """With a sound card that is 200 ppm fast, twelve replies in a hundred seconds are heard whole."""
    room = Room(delay_s=0.1, gain=0.8, ppm=200.0)
    said, events, _ = await hold(room, "espeak", barge_ins=0, canceller=vp.WebRTCEchoCanceller(), rounds=3)
    assert [one.is_whole for one in said] == [True] * 12
    assert [event for _, event in events if isinstance(event, vp.SpeechStarted)] == []
