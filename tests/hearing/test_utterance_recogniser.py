"""A recogniser of whole utterances, on virtual time: what it reads and when, and what it reports."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import voicepipe as vp
from voicepipe.core.channel import Channel
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedVoice

pytestmark = pytest.mark.anyio

RATE = 16_000
LOUD, QUIET = b"\x00\x10", b"\x40\x00"


class Loudness(vp.Detector):
    """What is loud is speech."""

    def speech(self, frame: bytes) -> float:
        return 0.9 if frame[1] else 0.1


class Reader(vp.UtteranceRecogniser):
    """Says of each utterance how much of it is speech, in tenths of a second.

    Args:
        takes_s: How long it reads.
        says: Another text for a number of tenths; an error is raised.
    """

    def __init__(self, takes_s: float = 0.1, says: dict[int, Any] | None = None, **settings: Any) -> None:
        super().__init__(detector=Loudness(), **settings)
        self.takes_s = takes_s
        self.says = says or {}
        self.read: list[tuple[float, int, bool]] = []
        self.lengths: list[float] = []

    async def transcribe(self, utterance: vp.Utterance) -> str:
        tenths = round(10 * utterance.speech_s)
        self.read.append((round(anyio.current_time(), 2), tenths, utterance.is_early))
        self.lengths.append(round(utterance.duration_s, 2))
        await anyio.sleep(self.takes_s)
        said = self.says.get(tenths, f"{tenths}.")
        if isinstance(said, Exception):
            raise said
        return said


class Ends:
    """A session as far as recognisers see it: it takes events."""

    def __init__(self) -> None:
        self.events: list[vp.Event] = []

    def emit(self, event: vp.Event) -> None:
        self.events.append(event)


def audio(*lengths_s: float) -> list[bytes]:
    """Return frames of quiet, speech, quiet, ... of these lengths."""
    frames = []
    for number, length_s in enumerate(lengths_s):
        frames += [(LOUD if number % 2 else QUIET) * 320] * round(length_s / 0.02)
    return frames


async def hear(
    reader: Reader, frames: list[bytes], *, force_at_s: float | None = None
) -> tuple[list[tuple[float, str]], list[vp.Event]]:
    """Play audio to a recogniser as it is spoken; return what it reported when, and what the session emitted."""
    inbox, outbox, session = Channel[vp.AudioFrame](1_000), Channel[vp.Hearing](100), Ends()
    began_s = anyio.current_time()
    reported: list[tuple[float, str]] = []

    async def speak() -> None:
        for number, pcm in enumerate(frames):
            await anyio.sleep_until(began_s + (number + 1) * 0.02)
            await inbox.send(vp.AudioFrame(pcm=pcm, sample_rate=RATE, start_s=began_s + number * 0.02))
            if force_at_s is not None and round(number * 0.02, 2) == force_at_s:
                reader.force_endpoint()
        inbox.close()

    async def note() -> None:
        async for event in outbox:
            reported.append((round(anyio.current_time() - began_s, 2), shown(event, began_s)))

    async with reader.attach(session), anyio.create_task_group() as tasks:  # type: ignore[arg-type]
        tasks.start_soon(speak)
        tasks.start_soon(note)
        await reader.recognise(inbox, outbox, session)  # type: ignore[arg-type]
        outbox.close()
    return reported, session.events


def shown(event: vp.Hearing, began_s: float) -> str:
    match event:
        case vp.SpeechStarted(at_s=at_s):
            return f"starts {at_s - began_s:.2f}"
        case vp.SpeechEnded(at_s=at_s):
            return f"ends {at_s - began_s:.2f}"
        case vp.EarlyTranscript(text=text, stable=stable):
            return f"{'stable' if stable else 'early'} {text}"
        case vp.Transcript(text=text, speech_ended_s=ended_s, endpoint_s=endpoint_s):
            return f"final {text} of {ended_s - began_s:.2f}, over {endpoint_s - began_s:.2f}"
        case _:
            raise AssertionError(event)


CALLS: dict[str, tuple[Reader, list[bytes], list[tuple[float, str]], list[tuple[float, int, bool]]]] = {
    "what is read at the pause is final when nothing follows": (
        Reader(),
        audio(1.0, 1.0, 1.0),
        [(1.06, "starts 1.00"), (2.2, "ends 2.00"), (2.3, "stable 10."), (2.5, "final 10. of 2.00, over 2.50")],
        [(2.2, 10, False)],
    ),
    "a reading that is not over at the end of the turn is waited for": (
        Reader(takes_s=0.5),
        audio(1.0, 1.0, 1.0),
        [(1.06, "starts 1.00"), (2.2, "ends 2.00"), (2.7, "final 10. of 2.00, over 2.50")],
        [(2.2, 10, False)],
    ),
    "what follows a pause is read together with what was before it": (
        Reader(),
        audio(1.0, 1.0, 0.3, 0.5, 1.0),
        [
            (1.06, "starts 1.00"),
            (2.2, "ends 2.00"),
            (2.3, "stable 10."),
            (2.36, "starts 2.30"),
            (3.0, "ends 2.80"),
            (3.1, "stable 15."),
            (3.3, "final 15. of 2.80, over 3.30"),
        ],
        [(2.2, 10, False), (3.0, 15, False)],
    ),
    "what is read at a pause in which the caller goes on is early, and ends like no sentence": (
        Reader(takes_s=0.3),
        audio(1.0, 1.0, 0.3, 1.0, 1.0),
        [
            (1.06, "starts 1.00"),
            (2.2, "ends 2.00"),
            (2.36, "starts 2.30"),
            (2.5, "early 10"),
            (3.5, "ends 3.30"),
            (3.8, "stable 20."),
            (3.8, "final 20. of 3.30, over 3.80"),
        ],
        [(2.2, 10, False), (3.5, 20, False)],
    ),
    "what takes too long is dropped for what is newer": (
        Reader(takes_s=1.2),
        audio(1.0, 1.0, 0.3, 0.5, 2.0),
        [
            (1.06, "starts 1.00"),
            (2.2, "ends 2.00"),
            (2.36, "starts 2.30"),
            (3.0, "ends 2.80"),
            (4.2, "final 15. of 2.80, over 3.30"),
        ],
        [(2.2, 10, False), (3.0, 15, False)],
    ),
    "early words come while the caller speaks, and less often the longer it takes": (
        Reader(early_every_s=0.5),
        audio(1.0, 2.0, 1.0),
        [
            (1.06, "starts 1.00"),
            (1.2, "early 1"),
            (1.76, "early 7"),
            (2.38, "early 13"),
            (3.06, "early 20"),
            (3.2, "ends 3.00"),
            (3.3, "stable 20."),
            (3.5, "final 20. of 3.00, over 3.50"),
        ],
        [(1.1, 1, True), (1.66, 7, True), (2.28, 13, True), (2.96, 20, True), (3.2, 20, False)],
    ),
    "a second turn waits for the words of the first": (
        Reader(takes_s=0.8),
        audio(1.0, 1.0, 0.6, 0.5, 1.0),
        [
            (1.06, "starts 1.00"),
            (2.2, "ends 2.00"),
            (2.66, "starts 2.60"),
            (3.0, "final 10. of 2.00, over 2.50"),
            (3.3, "ends 3.10"),
            (4.1, "final 5. of 3.10, over 3.60"),
        ],
        [(2.2, 10, False), (3.3, 5, False)],
    ),
    "what has no words is no turn": (
        Reader(says={10: ""}),
        audio(1.0, 1.0, 1.0),
        [(1.06, "starts 1.00"), (2.2, "ends 2.00")],
        [(2.2, 10, False)],
    ),
    "a click is not read": (Reader(), audio(1.0, 0.04, 1.0), [], []),
    "a hang-up ends the turn": (
        Reader(),
        audio(1.0, 1.0),
        [(1.06, "starts 1.00"), (2.0, "ends 2.00"), (2.1, "final 10. of 2.00, over 2.00")],
        [(2.0, 10, False)],
    ),
    "an error of a reading that ends no turn only costs the early words": (
        Reader(takes_s=0.1, says={10: vp.VendorError("broken", vendor="reader", retryable=True)}),
        audio(1.0, 1.0, 0.3, 0.5, 1.0),
        [
            (1.06, "starts 1.00"),
            (2.2, "ends 2.00"),
            (2.36, "starts 2.30"),
            (3.0, "ends 2.80"),
            (3.1, "stable 15."),
            (3.3, "final 15. of 2.80, over 3.30"),
        ],
        [(2.2, 10, False), (3.0, 15, False)],
    ),
}


@pytest.mark.parametrize("case", CALLS)
async def test_calls(case: str) -> None:
    """Each row's audio is read at those times, and reported as those events."""
    reader, frames, expected, read = CALLS[case]
    reported, emitted = await hear(reader, frames)
    assert (reported, reader.read, emitted) == (expected, read, [])


async def test_pace() -> None:
    """The silence that ends a turn follows the rules and what is expected; the application's own stays."""
    table = {("normal", False): 2.5, ("low", False): 2.76, ("high", False): 2.3, ("normal", True): 3.2}
    for (eagerness, is_expecting), over_s in table.items():
        for own_s in (None, 0.4):
            reader = Reader(takes_s=0.0, silence_s=own_s)
            reader.set_pace(eagerness, is_expecting=is_expecting)  # type: ignore[arg-type]
            reported, _ = await hear(reader, audio(1.0, 1.0, 2.0))
            assert reported[-1][1] == f"final 10. of 2.00, over {over_s if own_s is None else 2.4:.2f}"


async def test_pace_in_a_call() -> None:
    """What is expected from now on counts for the silence that has begun."""
    reader = Reader()

    async def expect() -> None:
        await anyio.sleep_until(2.4)
        reader.set_pace("normal", is_expecting=True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(expect)
        reported, _ = await hear(reader, audio(1.0, 1.0, 2.0))
    assert reported[-1] == (3.2, "final 10. of 2.00, over 3.20")


async def test_force_endpoint() -> None:
    """A forced end takes the audio so far, and speech that goes on is the next turn; in silence it does nothing."""
    reported, _ = await hear(Reader(), audio(1.0, 2.0, 1.0), force_at_s=1.98)
    assert reported == [
        (1.06, "starts 1.00"),
        (2.0, "ends 2.00"),
        (2.06, "starts 2.00"),
        (2.1, "final 10. of 2.00, over 2.00"),
        (3.2, "ends 3.00"),
        (3.3, "stable 10."),
        (3.5, "final 10. of 3.00, over 3.50"),
    ]


async def test_words_that_come_late() -> None:
    """Final words that come more than a second after the end of the turn are reported with how late they are."""
    reported, emitted = await hear(Reader(takes_s=1.8), audio(1.0, 1.0, 1.0))
    assert reported[-1] == (4.0, "final 10. of 2.00, over 2.50")
    assert [(type(event), round(event.late_s, 2)) for event in emitted] == [(vp.RecogniserBehind, 1.5)]


async def test_an_error_of_final_words() -> None:
    """Words of a turn that cannot be had end the session, with the error of the vendor."""
    error = vp.VendorError("broken", vendor="reader", retryable=False)
    with pytest.raises(ExceptionGroup) as raised:
        await hear(Reader(says={10: error}), audio(1.0, 1.0, 1.0))
    assert raised.group_contains(vp.VendorError, match="broken")


async def test_the_longest_turns() -> None:
    """After 20 s a turn ends at the next pause, and after 28 s in any case; no sample is in two turns or in none."""
    reader = Reader()
    reported, _ = await hear(reader, audio(1.0, 20.0, 0.3, 30.0, 1.0))
    assert [text for _, text in reported if text.startswith("final")] == [
        "final 200. of 21.00, over 21.20",
        "final 276. of 48.90, over 48.90",
        "final 24. of 51.30, over 51.80",
    ]
    # 0.4 s before the first sound, and the 0.2 s in which the end of speech is noticed; a cut has neither
    assert sorted(set(reader.lengths)) == [2.6, 20.6, 28.0]


async def test_what_is_refused() -> None:
    """Settings that cannot work are refused by name, and so is audio of another rate."""
    table: dict[str, dict[str, Any]] = {
        "silence_s must be at least 0.2": {"silence_s": 0.1},
        "early_every_s must be at least 0.1": {"early_every_s": 0.0},
    }
    for message, settings in table.items():
        with pytest.raises(vp.ConfigurationError, match=message):
            Reader(**settings)
    with pytest.raises(vp.ConfigurationError, match="must be a Detector"):
        vp.UtteranceRecogniser.__init__(Reader(), detector="earshot")  # type: ignore[arg-type]
    reader = Reader()
    reader.sample_rate = 8_000
    with pytest.raises(ExceptionGroup) as raised:
        await hear(reader, audio(0.1))
    assert raised.group_contains(vp.AudioError, match="expected 16-bit audio at 8000 Hz")


async def test_in_a_call() -> None:
    """A pipeline answers what such a recogniser understood, and needs no detector of its own."""
    row = vp.Pipeline(vp.STTStage(Reader()), ScriptedModel([Says("I see.")]), vp.SentenceChunker(), ScriptedVoice())
    source = vp.PushSource(sample_rate=RATE)
    async with row.open() as host, host.session(source=source, output=RecordingOutput()) as session:
        for pcm in audio(1.0, 1.0, 2.0):
            await anyio.sleep(0.02)
            source.push(pcm)
        await anyio.sleep(2.0)
        assert [message.text for message in session.history] == ["10.", "I see."]
