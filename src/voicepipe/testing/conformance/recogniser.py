"""Checks a recogniser: what turn-taking relies on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

import anyio

from voicepipe.core.call_settings import CallSettings
from voicepipe.core.channel import Channel
from voicepipe.errors import StageError, VoicepipeError
from voicepipe.flow import AudioFrame, EarlyTranscript, Hearing, SpeechEnded, SpeechStarted, Transcript
from voicepipe.hearing.recogniser import Recogniser
from voicepipe.testing.conformance.behaviour import KEY
from voicepipe.testing.conformance.calls import calling, hosting
from voicepipe.testing.conformance.cutting import Cut, cut_at
from voicepipe.testing.conformance.examination import Examination, examining
from voicepipe.testing.conformance.hearing import EVENTS, FRAMES, SPEECH, Heard, Speech, began_s, hear, note, speak
from voicepipe.testing.conformance.lifetimes import (
    breaks,
    check_lifetimes,
    check_network,
    check_obeyed,
    check_refusals,
    check_settings,
    checked_rate,
    cuts,
    mutes,
    opened_in_time,
)
from voicepipe.testing.conformance.trial import Bench, Fails, Skips

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voicepipe.testing.conformance.behaviour import Server
    from voicepipe.testing.conformance.calls import Call
    from voicepipe.testing.conformance.report import Report

__all__ = ["check_recogniser"]

OBEYS_S: Final = 0.5
"""How long a recogniser may take to end once its session has cancelled it."""

NOTICED_S: Final = 12.0
"""How long after a connection has fallen silent the words must be there, or an error: 5 s until it is noticed, and
another connection after that."""


RESUMED_S: Final = 4.0
"""The same for a connection that is known to be broken."""


def check_recogniser(
    make: Callable[..., Recogniser],
    *,
    server: Server | None = None,
    speech: Speech = SPEECH,
    refuses: Sequence[Callable[[], object]] = (),
    secrets: Sequence[str] = (KEY,),
    only: Sequence[str] = (),
    real_time: bool = False,
) -> Report:
    """Check that a recogniser does what the library relies on, and return what was found.

        def test_my_recogniser() -> None:
            check_recogniser(lambda url: MyRecogniser(url=url, api_key=KEY), server=my_server)

    Args:
        make: Makes the recogniser. It is called with the URL of the service if there is a `server`, otherwise without
            arguments.
        server: Starts a simulated service, which hears the one turn of `speech` in each session; see `Server`. None for
            a recogniser without a service.
        speech: What it is given to hear.
        refuses: Each creates a recogniser with a bad option, and has to raise `ConfigurationError`.
        secrets: What must appear in no log record, repr, error or wire message: the keys that `make` uses.
        only: The names of the checks to make, while you mend one of them; all checks if there is none.
        real_time: Whether the recogniser uses threads, which have no place in virtual time.

    Raises:
        Nonconformance: A check failed. The message says what was expected, what was found, and what to do.
        ConfigurationError: `only` names a check that there is not.
    """
    with examining("recogniser", make, server, secrets, only=only, real_time=real_time) as exam:
        ears = _Recogniser(exam, speech)
        exam.first("hears one turn", ears.hears)
        exam.check("the caller hangs up after the last word", ears.hangs_up)
        exam.check("the caller hangs up without a word", ears.no_word)
        exam.check("frames of odd lengths", ears.odd_frames)
        exam.check("hearing is cancelled at each await", ears.cancelled)
        check_lifetimes(exam, ears.work, apart_s=APART_S)
        exam.check("the turn is ended on request", ears.forced)
        languages, terms = CallSettings(language="de"), CallSettings(key_terms=["Flat white"])
        check_settings(exam, {"language": languages, "key terms": terms})
        check_network(exam, ears.work)
        ears.check_failing_network()
        check_refusals(exam, ears.work)
        exam.refuses(refuses)
        report = exam.report()
    report.raise_for_failures()
    return report


class _Recogniser:
    """The checks, and what the first one has found out."""

    def __init__(self, exam: Examination[Recogniser], speech: Speech) -> None:
        self._exam = exam
        self._speech = speech
        self._received_bytes = 0

    async def work(self, call: Call[Recogniser]) -> None:
        """Hear the turn."""
        heard = await hear(call, self._audio(call.part))
        self._check_times(self._check_turn(heard), heard)

    def _audio(self, part: Recogniser) -> bytes:
        return self._speech.at(part.sample_rate)

    def _check_turn(self, heard: Heard) -> Transcript:
        found = [transcript.text for transcript in heard.transcripts]
        if len(found) != 1:
            raise Fails(f"expected one Transcript for the caller's one turn, found {len(found)}: {found}")
        transcript = heard.transcripts[0]
        if not transcript.text.strip():
            raise Fails("expected the words of the turn, found a blank Transcript; send none if nothing was understood")
        if self._speech.text and _plain(transcript.text) != _plain(self._speech.text):
            raise Fails(f"expected {self._speech.text!r}, found {transcript.text!r}")
        return transcript

    async def hears(self, bench: Bench[Recogniser]) -> str:
        part = bench.part
        if not isinstance(cast("object", part), Recogniser):
            raise Fails(f"expected a Recogniser, found {type(part).__name__}; derive it from voicepipe.Recogniser")
        checked_rate(part)
        async with hosting(part) as host, calling(host) as call:
            heard = await hear(call, self._audio(part), spent=bench.spent)
            self._received_bytes = max(bench.relay.received_bytes, default=0) if bench.relay is not None else 0
        transcript = self._check_turn(heard)
        self._check_times(transcript, heard)
        _check_order(heard)
        early = sum(isinstance(event, EarlyTranscript) for _, event in heard.events)
        at_s = next(at_s for at_s, event in heard.events if event is transcript)
        late_s = at_s - heard.began_s - self._speech.end_s
        return f"{transcript.text!r} {late_s:.2f} s after the last word, after {early} early transcripts"

    def _check_times(self, transcript: Transcript, heard: Heard) -> None:
        ended_s, endpoint_s = transcript.speech_ended_s - heard.began_s, transcript.endpoint_s - heard.began_s
        wanted_s = self._speech.end_s
        if abs(ended_s - wanted_s) > TIMES_S:
            raise Fails(
                f"expected speech_ended_s {wanted_s:g} s after the first sample, found {ended_s:.2f} s; take times "
                "from the frames: AudioFrame.start_s"
            )
        if transcript.endpoint_s < transcript.speech_ended_s:
            raise Fails(
                f"expected endpoint_s after speech_ended_s, found {endpoint_s:.2f} s and {ended_s:.2f} s; it is when "
                "the end of the turn was decided"
            )

    async def hangs_up(self, bench: Bench[Recogniser]) -> str:
        rate = bench.part.sample_rate
        audio = self._audio(bench.part)[: 2 * round((self._speech.end_s + HANGS_UP_S) * rate)]
        async with hosting(bench.part) as host, calling(host) as call:
            heard = await hear(call, audio)
        self._check_turn(heard)
        return f"heard, {heard.ended_s - heard.began_s - len(audio) / 2 / rate:.2f} s after the hang-up"

    async def no_word(self, bench: Bench[Recogniser]) -> str:
        async with hosting(bench.part) as host, calling(host) as call:
            heard = await hear(call, bytes(2 * round(0.2 * bench.part.sample_rate)))
        if heard.transcripts:
            raise Fails(f"expected no Transcript without speech, found {heard.transcripts[0].text!r}")
        return "no transcript"

    async def odd_frames(self, bench: Bench[Recogniser]) -> str:
        async with hosting(bench.part) as host, calling(host) as call:
            self._check_turn(await hear(call, self._audio(bench.part), lengths_s=ODD_LENGTHS_S))
        return f"{', '.join(f'{1e3 * length_s:g}' for length_s in ODD_LENGTHS_S)} ms"

    async def cancelled(self, bench: Bench[Recogniser]) -> str:
        async with hosting(bench.part) as host:
            async with calling(host) as call:
                whole = await self._cut(call, 0)
            numbers = cuts(whole.count, MOST_CUTS)
            for at in numbers:
                async with calling(host) as call:
                    check_obeyed(await self._cut(call, at), f"when it was cancelled in await no. {at}", OBEYS_S)
        return f"{len(numbers)} of {whole.count} awaits"

    async def _cut(self, call: Call[Recogniser], at: int) -> Cut:
        audio = self._audio(call.part)
        heard, frames, events = Heard(began_s(call.part, audio)), Channel[AudioFrame](FRAMES), Channel[Hearing](EVENTS)
        cut = Cut("completed", 0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(speak, heard, frames, call.part, audio)
            tasks.start_soon(note, heard, events)
            cut = await cut_at(at, lambda _: call.part.recognise(frames, events, call.session))
            tasks.cancel_scope.cancel()
        return cut

    async def forced(self, bench: Bench[Recogniser]) -> str:
        if not bench.part.can_force_endpoint:
            raise Skips("it does not write force_endpoint")
        async with hosting(bench.part) as host, calling(host) as call:
            heard = await hear(call, self._audio(bench.part), force_at_s=self._speech.end_s)
        self._check_turn(heard)
        at_s = next(at_s for at_s, event in heard.events if isinstance(event, Transcript))
        return f"{at_s - heard.began_s - self._speech.end_s:.2f} s after the request"

    def check_failing_network(self) -> None:
        """Check that a service that falls silent is noticed, and that a connection may break anywhere."""
        exam, total = self._exam, self._received_bytes
        once = [harm for harm in breaks(total) if harm.connections == 1]  # the next one may hear the same once more
        silent = [replace(harm, connections=1) for harm in mutes(total)]
        exam.check("the service falls silent", self.silent, harms=silent, needs_server=True)
        exam.check("the connection breaks", self.broken, harms=once, needs_server=True)

    async def silent(self, bench: Bench[Recogniser]) -> str:
        return await self._failing(bench, NOTICED_S)

    async def broken(self, bench: Bench[Recogniser]) -> str:
        return await self._failing(bench, RESUMED_S)

    async def _failing(self, bench: Bench[Recogniser], limit_s: float) -> str:
        began_s, is_open = anyio.current_time(), False
        rate = bench.part.sample_rate
        audio = self._audio(bench.part) + bytes(2 * round(limit_s * rate))
        try:
            async with hosting(bench.part) as host, calling(host) as call:
                is_open = True
                heard = await hear(call, audio)
        except StageError as error:
            remedy = "translate errors of libraries, and give each wait a deadline"
            raise Fails(f"expected a VendorError, found {error}; {remedy}") from error
        except VoicepipeError as error:
            if not is_open:
                await opened_in_time(bench, began_s)
                return f"opening raises {type(error).__name__}"
            return type(error).__name__
        if not heard.transcripts:
            raise Fails(f"expected the words or an error within {limit_s:g} s, found neither; notice a lost service")
        return "heard by another connection" if (bench.relay and bench.relay.connections > 1) else "heard"


APART_S: Final = 1.0
"""How much later the second of two calls begins: the words are the same, so the times tell them apart."""

TIMES_S: Final = 0.5
"""How far the end of speech may be off: recognisers pad words."""

HANGS_UP_S: Final = 0.1
"""How soon after the last word the caller hangs up."""

ODD_LENGTHS_S: Final = (0.005, 0.02, 0.0125)
"""Frames have 20 ms at most, and those at the end of a piece of audio have less."""

MOST_CUTS: Final = 18
"""At so many awaits hearing is cancelled: each takes a call of its own."""


def _check_order(heard: Heard) -> None:
    """Check that speech begins before it ends, and that nothing but the next turn follows the transcript."""
    is_speech = is_over = False
    for _, event in heard.events:
        match event:
            case SpeechStarted():
                is_speech = True
            case SpeechEnded() if not is_speech:
                raise Fails("expected SpeechStarted before SpeechEnded; report both, or neither")
            case SpeechEnded():
                is_speech = False
            case EarlyTranscript(text=text) if is_over and text.strip():
                raise Fails(f"expected no EarlyTranscript after the turn's Transcript, found {text!r}")
            case Transcript():
                is_over = True
            case _:
                pass


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isalnum() or c.isspace() else " " for c in text.casefold()).split())
