"""Audio that comes late, at once or not at all, through a recogniser that really listens."""

from __future__ import annotations

import anyio
import pytest

import voicepipe as vp
from tests.vendors.pocketsphinx.test_pocketsphinx import GRAMMAR, RATE, needs_local, say
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedVoice

pytestmark = [pytest.mark.anyio, pytest.mark.slow, needs_local]

SENTENCE = "what is the weather in paris"
EVENTS = (vp.SpeechStarted, vp.SpeechEnded, vp.AudioStopped, vp.AudioResumed, vp.AudioDropped, vp.Transcript)


@pytest.fixture
def anyio_backend() -> str:
    """Engines run on threads, which know no virtual time."""
    return "asyncio"


class Line(vp.Source):
    """A caller whose audio comes in the pieces and with the pauses of the test.

    Args:
        pieces: Seconds to wait before a piece, and the piece.
    """

    sample_rate = RATE

    def __init__(self, pieces: list[tuple[float, bytes]], *, forces_endpoint: bool = False) -> None:
        self._pieces = pieces
        self._forces_endpoint = forces_endpoint
        self.session: vp.Session | None = None

    async def frames(self):
        for wait_s, pcm in self._pieces:
            await anyio.sleep(wait_s)
            yield pcm
        if self._forces_endpoint:
            assert self.session is not None
            self.session.recogniser.force_endpoint()
        await anyio.sleep_forever()


async def heard(line: Line) -> list[vp.Event]:
    """Hold a call until the caller's turn has come, and return what was reported."""
    agent = vp.Pipeline(
        vp.STTStage(vp.PocketsphinxRecogniser(GRAMMAR)),
        ScriptedModel(lambda _request: Says("Sunny.")),
        vp.SentenceChunker(),
        ScriptedVoice(),
    )
    events = list[vp.Event]()
    with anyio.fail_after(20.0):
        async with agent.open() as host, host.session(source=line, output=RecordingOutput()) as session:
            line.session = session
            async for event in session:
                if isinstance(event, EVENTS):
                    events.append(event)
                if isinstance(event, vp.Transcript):
                    break
    return events


def cut(pcm: bytes, seconds: float) -> list[bytes]:
    size = 2 * round(seconds * RATE)
    return [pcm[at : at + size] for at in range(0, len(pcm), size)]


async def test_a_burst_and_then_live_audio_is_understood() -> None:
    """The first 0.96 s come at once, the rest as it is spoken: nothing is taken for lag."""
    pcm = await say(SENTENCE, lead_s=0.1)
    at_once = 2 * round(0.96 * RATE)
    events = await heard(Line([(0.0, pcm[:at_once]), *((0.02, piece) for piece in cut(pcm[at_once:], 0.02))]))
    assert [type(event) for event in events if not isinstance(event, vp.SpeechStarted | vp.SpeechEnded)] == [
        vp.Transcript
    ]
    assert isinstance(events[-1], vp.Transcript)
    assert events[-1].text == SENTENCE


async def test_a_gap_in_the_middle_of_a_word_leaves_no_trace() -> None:
    """0.8 s of a sentence come late: it is one turn, with the words that were said."""
    pieces = cut(await say(SENTENCE, lead_s=0.1), 0.02)
    times = [0.02] * 30 + [0.8] + [0.0] * 40 + [0.02] * len(pieces)
    events = await heard(Line(list(zip(times, pieces, strict=False))))
    assert [event.text for event in events if isinstance(event, vp.Transcript)] == [SENTENCE]
    assert not any(isinstance(event, vp.AudioStopped | vp.AudioDropped) for event in events)


async def test_frames_that_stop_after_speech_end_the_turn() -> None:
    """Not a sample follows the last word; after 2 s the recogniser hears the silence, and the turn comes."""
    events = await heard(Line([(0.0, await say(SENTENCE, lead_s=0.1, pause_s=0.0))]))
    assert [type(event) for event in events] == [vp.SpeechStarted, vp.SpeechEnded, vp.AudioStopped, vp.Transcript]
    assert isinstance(events[-1], vp.Transcript)
    assert events[-1].text == SENTENCE


async def test_the_application_ends_the_turn() -> None:
    """Push to talk: the recording comes at once, no silence follows, and the turn comes without waiting for any."""
    line = Line([(0.0, await say(SENTENCE, lead_s=0.1, pause_s=0.0))], forces_endpoint=True)
    events = await heard(line)
    assert [type(event) for event in events] == [vp.SpeechStarted, vp.SpeechEnded, vp.Transcript]
    assert isinstance(events[-1], vp.Transcript)
    assert events[-1].text == SENTENCE
