"""Checks a voice: what `TTSSink` and the turns around it rely on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

import anyio

from voicepipe.core.call_settings import CallSettings
from voicepipe.errors import StageError, VendorError, VoicepipeError
from voicepipe.events import TurnCompleted, TurnEnded, TurnFailed
from voicepipe.flow import Sentence, WordMark
from voicepipe.session.pipeline import Pipeline
from voicepipe.speaking.tts_sink import CLEANUP_S, TTSSink
from voicepipe.speaking.voice_time import LONGEST_S, SLOWEST_CHARACTER_S
from voicepipe.testing.conformance.behaviour import KEY, Behaviour
from voicepipe.testing.conformance.calls import calling, hosting
from voicepipe.testing.conformance.cutting import Counted
from voicepipe.testing.conformance.examination import Examination, examining
from voicepipe.testing.conformance.lifetimes import (
    breaks,
    check_lifetimes,
    check_network,
    check_refusals,
    check_settings,
    checked_rate,
    mutes,
    opened_in_time,
    sweep,
)
from voicepipe.testing.conformance.trial import Bench, Fails
from voicepipe.testing.script import Says
from voicepipe.testing.scripted import RecordingOutput, ScriptedModel
from voicepipe.text.chunker import SentenceChunker

if TYPE_CHECKING:
    from voicepipe.testing.conformance.behaviour import Server
    from voicepipe.testing.conformance.calls import Call
    from voicepipe.testing.conformance.report import Report

__all__ = ["check_voice"]

SHORT: Final = "Hello there."
LONG: Final = "Thank you for waiting, your order has left us this morning and should be with you tomorrow."

SPREAD: Final = 0.3
"""How much the length of the same sentence may differ where a voice does not speak it the same way twice."""


@dataclass
class Spoken:
    """What came for one sentence.

    Attributes:
        pcm: The audio.
        pieces: How many pieces it came in.
        marks: The word marks.
    """

    pcm: bytearray = field(default_factory=bytearray)
    pieces: int = 0
    marks: list[WordMark] = field(default_factory=list[WordMark])


def check_voice(
    make: Callable[..., TTSSink],
    *,
    server: Server | None = None,
    refuses: Sequence[Callable[[], object]] = (),
    secrets: Sequence[str] = (KEY,),
    only: Sequence[str] = (),
    real_time: bool = False,
) -> Report:
    """Check that a voice does what the library relies on, and return what was found.

        def test_my_voice() -> None:
            check_voice(lambda url: MyTTS(url=url, api_key=KEY), server=my_server)

    It works within a test that is async as well. Each check has an event loop and a service of its own.

    Args:
        make: Makes the voice. It is called with the URL of the service if there is a `server`, otherwise without
            arguments; so a class will do for a voice without options.
        server: Starts a simulated service; see `Server`. None for a voice without a service.
        refuses: Each creates a voice with a bad option, and has to raise `ConfigurationError`.
        secrets: What must appear in no log record, repr, error or wire message: the keys that `make` uses.
        only: The names of the checks to make, while you mend one of them; all checks if there is none.
        real_time: Whether the voice uses threads, which have no place in virtual time.

    Raises:
        Nonconformance: A check failed. The message says what was expected, what was found, and what to do.
        ConfigurationError: `only` names a check that there is not.
    """
    with examining("voice", make, server, secrets, only=only, real_time=real_time) as exam:
        voice = _Voice(exam)
        exam.first("speaks a sentence", voice.speaks)
        exam.check("two sentences at once", voice.two_sentences)
        exam.check("speaking is cancelled at each await", voice.cancelled)
        exam.check("a sentence is closed early", voice.closed_early)
        check_lifetimes(exam, voice.work)
        check_settings(exam, {"voice": CallSettings(voice="anna"), "language": CallSettings(language="de")})
        check_network(exam, voice.work)
        exam.check("samples are cut in the middle", voice.odd, behaviour=Behaviour.ODD, needs_server=True)
        exam.check("the answer is empty", voice.empty, behaviour=Behaviour.EMPTY, needs_server=True)
        voice.check_failing_network()
        check_refusals(exam, voice.work)
        exam.refuses(refuses)
        report = exam.report()
    report.raise_for_failures()
    return report


class _Voice:
    """The checks, and what the first one has found out."""

    def __init__(self, exam: Examination[TTSSink]) -> None:
        self._exam = exam
        self._usual: dict[str, bytes] = {}  # the audio of each text when nothing disturbs the voice
        self._is_exact = False  # whether the same text always gives the same audio
        self._received_bytes = 0

    async def work(self, call: Call[TTSSink]) -> None:
        """Speak a sentence, and compare its audio with what is usual."""
        self._compare(SHORT, await _speak(call.part, SHORT), call.part)

    def _compare(self, text: str, spoken: Spoken, part: TTSSink) -> None:
        usual = self._usual[text]
        usual_s, length_s = (len(pcm) / 2 / part.sample_rate for pcm in (usual, spoken.pcm))
        if self._is_exact and bytes(spoken.pcm) != usual and len(spoken.pcm) == len(usual):
            raise Fails(f"expected the audio of {text!r} as when it speaks undisturbed, found other samples")
        if len(spoken.pcm) != len(usual) and (self._is_exact or abs(length_s - usual_s) > SPREAD * usual_s):
            found = f"found {length_s:.3f} s ({len(spoken.pcm)} bytes)"
            raise Fails(
                f"expected {usual_s:.3f} s of audio ({len(usual)} bytes) as when it speaks undisturbed, {found}"
            )
        if len(spoken.pcm) % 2:
            raise Fails(f"expected whole samples, found {len(spoken.pcm)} bytes; no byte may be lost or added")

    async def speaks(self, bench: Bench[TTSSink]) -> str:
        part = bench.part
        if not isinstance(cast("object", part), TTSSink):
            raise Fails(f"expected a TTSSink, found {type(part).__name__}; derive the voice from voicepipe.TTSSink")
        rate = checked_rate(part)
        async with hosting(part) as host, calling(host) as call:
            short = await Counted(_speak(call.part, SHORT), spent=bench.spent)
            self._received_bytes = max(bench.relay.received_bytes, default=0) if bench.relay is not None else 0
            long = await Counted(_speak(call.part, LONG), spent=bench.spent)
            again = await _speak(call.part, SHORT)
        for text, spoken in ((SHORT, short), (LONG, long)):
            _check_spoken(text, spoken, rate)
        self._usual = {SHORT: bytes(short.pcm), LONG: bytes(long.pcm)}
        self._is_exact = short.pcm == again.pcm
        marks = f"{len(short.marks)} word marks" if short.marks else "no word marks"
        return f"{len(short.pcm) / 2 / rate:.2f} s of audio at {rate} Hz in {short.pieces} pieces, {marks}"

    async def two_sentences(self, bench: Bench[TTSSink]) -> str:
        spoken: dict[str, Spoken] = {}
        raised: list[Exception] = []
        async with hosting(bench.part) as host, calling(host) as call:

            async def speak(text: str) -> None:
                try:
                    spoken[text] = await _speak(call.part, text)
                except Exception as error:  # noqa: BLE001 - raised below, without a group around it
                    raised.append(error)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(speak, LONG)
                tasks.start_soon(speak, SHORT)
        if raised:
            raise raised[0]
        for text, one in spoken.items():
            self._compare(text, one, bench.part)
        return "each with its own audio"

    async def cancelled(self, bench: Bench[TTSSink]) -> str:
        async with hosting(bench.part) as host, calling(host) as call:

            async def speak(_: Callable[[], None]) -> None:
                await _speak(call.part, SHORT)

            async def again(at: int) -> None:
                try:
                    await self.work(call)
                except (Fails, VoicepipeError) as error:
                    when = f"for the sentence after one that was cancelled at its await no. {at}"
                    raise Fails(f"{when}: {error}") from error

            return await sweep(speak, CLEANUP_S, again)

    async def closed_early(self, bench: Bench[TTSSink]) -> str:
        async with hosting(bench.part) as host, calling(host) as call:
            pieces = _opened(call.part, LONG)
            async for _ in pieces:
                break
            began_s = anyio.current_time()
            await pieces.aclose()
            took_s = anyio.current_time() - began_s
            if took_s > CLEANUP_S:
                raise Fails(f"expected aclose() to take {CLEANUP_S:g} s at most, found {took_s:g} s; shield less")
            await self.work(call)
        return "and the next sentence is whole"

    async def odd(self, bench: Bench[TTSSink]) -> str:
        async with hosting(bench.part) as host, calling(host) as call:
            await self.work(call)
        return "no byte is lost"

    async def empty(self, bench: Bench[TTSSink]) -> str:
        ended = await _reply(bench)
        if not isinstance(ended, VendorError):
            raise Fails(f"expected a VendorError where the service {Behaviour.EMPTY.value}, found {_shown(ended)}")
        return f"VendorError: {ended}"

    def check_failing_network(self) -> None:
        """Check that a service that falls silent is given up in time, and that a connection may break anywhere."""
        exam, total = self._exam, self._received_bytes
        exam.check("the service falls silent", self.silent, harms=mutes(total), needs_server=True)
        exam.check("the connection breaks", self.broken, harms=breaks(total), needs_server=True)

    async def silent(self, bench: Bench[TTSSink]) -> str:
        began_s = anyio.current_time()
        ended = await _reply(bench)
        if not isinstance(ended, VoicepipeError):
            raise Fails(f"expected an error, found {_shown(ended)}; silence must not look like an end")
        if isinstance(ended, StageError):
            raise Fails(f"expected a VendorError, found {ended}; give each wait a deadline of its own")
        if (took_s := anyio.current_time() - began_s) > SILENT_S:
            raise Fails(f"expected an error within {SILENT_S:g} s, found {took_s:g} s; give each wait a deadline")
        return f"{type(ended).__name__} after {took_s:.1f} s"

    async def broken(self, bench: Bench[TTSSink]) -> str:
        began_s = anyio.current_time()
        try:
            async with hosting(bench.part) as host, calling(host) as call:
                return await self._broken(call, bench)
        except StageError as error:
            raise Fails(f"expected a VendorError, found {error}; translate errors of libraries") from error
        except VoicepipeError as error:
            await opened_in_time(bench, began_s)
            return f"opening raises {type(error).__name__}"

    async def _broken(self, call: Call[TTSSink], bench: Bench[TTSSink]) -> str:
        try:
            with anyio.fail_after(SILENT_S):
                await self.work(call)
            seen = "the sentence is whole"
        except TimeoutError as error:
            raise Fails(
                f"expected an end within {SILENT_S:g} s of a broken connection; give each wait a deadline"
            ) from error
        except Fails as failure:
            raise Fails(f"{failure}; audio that was cut must end with an error") from failure
        except VoicepipeError as error:
            bench.notes.saw(error, bench.name)
            seen = type(error).__name__
        except Exception as error:
            raise Fails(f"expected a VendorError, found {type(error).__name__}: {error}; translate it") from error
        if bench.relay is None or bench.relay.breaks_again:
            return seen
        try:
            await self.work(call)
        except (Fails, VoicepipeError) as error:
            raise Fails(f"the connection was back for the next sentence, which failed: {error}") from error
        return f"{seen}, and the next sentence is spoken"


SILENT_S: Final = 11.0
"""How long a call may take to notice a service that is silent: 10 s to open it, or 5 s for the audio of a sentence."""


def _opened(part: TTSSink, text: str) -> AsyncGenerator[bytes | WordMark]:
    pieces = cast("object", part.synthesize(Sentence(text)))
    if not isinstance(pieces, AsyncGenerator):
        found = type(pieces).__name__
        raise Fails(f"expected an async generator, found {found}; write `async def synthesize` with `yield` in it")
    return cast("AsyncGenerator[bytes | WordMark]", pieces)


async def _speak(part: TTSSink, text: str) -> Spoken:
    """Have a sentence synthesised as `TTSSink` has it, and return what came."""
    spoken, pieces, is_whole = Spoken(), _opened(part, text), False
    try:
        async for piece in pieces:
            _take(spoken, piece)
        is_whole = True
    finally:
        if not is_whole:
            with anyio.move_on_after(CLEANUP_S, shield=True):
                await pieces.aclose()
    return spoken


def _take(spoken: Spoken, piece: object) -> None:
    if isinstance(piece, WordMark):
        spoken.marks.append(piece)
    elif isinstance(piece, (bytes, bytearray, memoryview)):
        spoken.pcm += piece
        spoken.pieces += 1
    else:
        raise Fails(f"expected bytes of PCM or WordMark, found {type(piece).__name__}; yield nothing else")


def _check_spoken(text: str, spoken: Spoken, rate: int) -> None:
    """Check that there is a sensible amount of audio, and that the marks fit to it."""
    length_s, longest_s = len(spoken.pcm) / 2 / rate, LONGEST_S + SLOWEST_CHARACTER_S * len(text)
    if not spoken.pcm:
        raise Fails(f"expected audio for {text!r}, found none; the session would report a VendorError")
    if len(spoken.pcm) % 2:
        raise Fails(f"expected whole 16-bit samples, found {len(spoken.pcm)} bytes; no byte may be lost or added")
    if length_s > longest_s:
        raise Fails(
            f"expected {longest_s:g} s of audio at most for {len(text)} characters, found {length_s:.1f} s; is "
            f"sample_rate = {rate} the rate of what it yields?"
        )
    before = WordMark(char_end=0, end_s=0.0)
    for mark in spoken.marks:
        if not before.char_end <= mark.char_end <= len(text) or not before.end_s <= mark.end_s <= length_s + MARK_S:
            raise Fails(
                f"expected marks that grow, within {len(text)} characters and {length_s:.2f} s, found {mark} after "
                f"{before}; count characters of the sentence's text and seconds from its first sample"
            )
        before = mark


MARK_S: Final = 0.1
"""How far a mark may lie behind the end of the audio: services round."""


async def _reply(bench: Bench[TTSSink]) -> VoicepipeError | TurnEnded:
    """Hold a call in which the voice speaks a reply; return the error it failed with, or how the turn ended."""
    row = Pipeline(ScriptedModel([Says(SHORT)]), SentenceChunker(), bench.part, fallback="")
    ended: list[TurnEnded] = []
    try:
        async with row.session(output=RecordingOutput(bench.part.sample_rate)) as session:
            await session.user_says("Hello?")
            session.end()
            ended += [event async for event in session if isinstance(event, TurnEnded)]
    except VoicepipeError as error:
        bench.notes.saw(error, bench.name)
        return error
    last = ended[-1]
    if isinstance(last, TurnFailed):
        bench.notes.saw(last.error, bench.name)
        return last.error
    return last


def _shown(ended: object) -> str:
    if isinstance(ended, TurnCompleted):
        return "a turn that counts as completed"
    return f"{type(ended).__name__}: {ended}" if isinstance(ended, Exception) else type(ended).__name__
