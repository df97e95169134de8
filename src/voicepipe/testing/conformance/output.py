"""Checks an output: what playback, interruptions and the history rely on."""

from __future__ import annotations

import inspect
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import anyio

from voicepipe.audio.output import BUFFERED_S, STALLED_OUTPUT_S, Output
from voicepipe.audio.pcm import FRAME_S
from voicepipe.core.lifetimes import CLOSE_S
from voicepipe.events import SentenceStarted
from voicepipe.testing.conformance.behaviour import KEY
from voicepipe.testing.conformance.calls import NothingHeld, calling, hosting
from voicepipe.testing.conformance.cutting import Counted, cut_at
from voicepipe.testing.conformance.examination import Examination, examining
from voicepipe.testing.conformance.lifetimes import check_obeyed, checked_rate, cuts, sweep
from voicepipe.testing.conformance.trial import Bench, Fails

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence

    from voicepipe.testing.conformance.behaviour import Server
    from voicepipe.testing.conformance.cutting import Cut
    from voicepipe.testing.conformance.report import Report

__all__ = ["check_output"]

PLAYS_S: Final = 2.0
"""How much audio is written to see at which pace it is taken."""

MOST_LEAD_S: Final = 1.0
"""What an output may take in ahead, at most: what is ahead is what an interruption throws away."""

LATE_S: Final = 2.0
"""How much later than by the clock audio may count as played: a peer has a buffer."""

OBEYS_S: Final = 0.5


def check_output(
    make: Callable[..., Output],
    *,
    server: Server | None = None,
    listen: Callable[[Any], Coroutine[Any, Any, None]] | None = None,
    refuses: Sequence[Callable[[], object]] = (),
    secrets: Sequence[str] = (KEY,),
    only: Sequence[str] = (),
    real_time: bool = False,
) -> Report:
    """Check that an output does what the library relies on, and return what was found.

        def test_my_output() -> None:
            check_output(lambda: MyOutput(sample_rate=8_000))

    Args:
        make: Makes the output, one for each call. It is called with the URL of the service if there is a `server`,
            otherwise without arguments.
        server: Starts what the output connects to; see `Server`.
        listen: Called with the output once it is attached: takes what it plays meanwhile, at the pace of speech.
        refuses: Each creates an output with a bad option, and has to raise `ConfigurationError`.
        secrets: What must appear in no log record, repr or error: the keys that `make` uses.
        only: The names of the checks to make, while you mend one of them; all checks if there is none.
        real_time: Whether the output uses threads, which have no place in virtual time.

    Raises:
        Nonconformance: A check failed. The message says what was expected, what was found, and what to do.
        ConfigurationError: `only` names a check that there is not.
    """
    with examining("output", make, server, secrets, only=only, real_time=real_time) as exam:
        output = _Output(exam, listen)
        exam.first("plays at the pace of speech", output.plays)
        exam.check("a flush stops the sound", output.flushes)
        exam.check("a waiting write drops its audio at a flush", output.drops)
        exam.check("writing is cancelled at each await", output.cancelled)
        exam.check("two calls at once", output.two_calls)
        exam.check("opening and attaching is cancelled at each await", output.attaching)
        exam.check("takes events", output.takes_events)
        exam.refuses(refuses)
        report = exam.report()
    report.raise_for_failures()
    return report


class _Output:
    """The checks."""

    def __init__(self, exam: Examination[Output], listen: Callable[[Any], Coroutine[Any, Any, None]] | None) -> None:
        self._exam = exam
        self._listen = listen

    async def plays(self, bench: Bench[Output]) -> str:
        output = bench.part
        if not isinstance(cast("object", output), Output):
            raise Fails(f"expected an Output, found {type(output).__name__}; derive it from voicepipe.Output")
        rate = checked_rate(output)
        async with self._attached(output):
            if output.played_s:
                raise Fails(f"expected that nothing is played before the first write, found {output.played_s:g} s")
            began_s = anyio.current_time()
            await Counted(self._write(output, PLAYS_S), spent=bench.spent)
            took_s = anyio.current_time() - began_s
            if took_s < PLAYS_S - MOST_LEAD_S - BUFFERED_S - EXACT_S:
                raise Fails(
                    f"expected write to wait for room, found {PLAYS_S:g} s of audio taken in {took_s:.2f} s; keep two "
                    "frames, and wait until one of them has been played"
                )
            if output.played_s > took_s + FRAME_S + EXACT_S:  # a reader takes a frame, and plays it then
                found = f"found {output.played_s:.2f} s"
                raise Fails(
                    f"expected {took_s:.2f} s to be played in that time at most, {found}; count what was played"
                )
            if took_s > PLAYS_S + LATE_S:
                raise Fails(
                    f"expected {PLAYS_S:g} s of audio to be taken in real time, found that it took {took_s:.2f} s"
                )
            await self._wait_played(output, PLAYS_S)
            played_s = anyio.current_time() - began_s
        return f"{PLAYS_S:g} s at {rate} Hz are taken in {took_s:.2f} s and played after {played_s:.2f} s"

    async def _wait_played(self, output: Output, wanted_s: float) -> None:
        """Wait until so much has been played, and check that the count never falls, and never runs ahead."""
        before_s = output.played_s
        with anyio.move_on_after(PLAYS_S + LATE_S):
            while output.played_s < wanted_s - EXACT_S:
                await anyio.sleep(FRAME_S)
                if output.played_s < before_s - EXACT_S:
                    raise Fails(f"expected played_s never to fall, found {output.played_s:g} after {before_s:g} s")
                before_s = output.played_s
        await anyio.sleep(0.5)
        found = f"found {output.played_s:.3f} s"
        if output.played_s < wanted_s - EXACT_S:
            raise Fails(f"expected {wanted_s:g} s to be played within {LATE_S:g} s of the last write, {found}")
        if output.played_s > wanted_s + EXACT_S:
            raise Fails(f"expected no more to be played than the {wanted_s:g} s that were written, {found}")

    async def flushes(self, bench: Bench[Output]) -> str:
        output = bench.part
        async with self._attached(output):
            await self._write(output, 0.5)
            returned = cast("object", output.flush())
            if inspect.isawaitable(returned):
                cast("Any", returned).close()
                raise Fails("expected flush to be synchronous, found that it has to be awaited; write def")
            flushed_s = output.played_s
            await anyio.sleep(1.0)
            if (more_s := output.played_s - flushed_s) > BUFFERED_S + EXACT_S:
                raise Fails(f"expected silence after a flush, found {more_s:.3f} s played; drop what was written")
            output.flush()  # twice, as an interruption of an interrupted turn has it
            await self._write(output, 0.5)
            await self._wait_played(output, flushed_s + more_s + 0.5)
        return f"after {flushed_s:.2f} s, and what follows is played whole"

    async def drops(self, bench: Bench[Output]) -> str:
        output = bench.part
        is_flushed, flushed_s = anyio.Event(), 0.0

        async def write() -> None:
            while not is_flushed.is_set():
                await self._write(output, FRAME_S)

        async with self._attached(output):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(write)
                await anyio.sleep(0.25)
                is_flushed.set()
                output.flush()
                flushed_s = output.played_s
            await anyio.sleep(1.0)
            if (more_s := output.played_s - flushed_s) > BUFFERED_S + EXACT_S:
                raise Fails(f"expected a write that waits at a flush to drop its audio, found {more_s:.3f} s played")
        return f"after {flushed_s:.2f} s"

    async def cancelled(self, bench: Bench[Output]) -> str:
        output = bench.part
        async with self._attached(output):
            whole = await self._cut(output, 0)
            numbers = cuts(whole.count, MOST_CUTS)
            for at in numbers:
                check_obeyed(await self._cut(output, at), f"when it was cancelled in await no. {at}", OBEYS_S)
                output.flush()
            await anyio.sleep(1.0)
            before_s = output.played_s
            await self._write(output, 0.2)
            await self._wait_played(output, before_s + 0.2)
        return f"{len(numbers)} of {whole.count} awaits"

    async def _cut(self, output: Output, at: int) -> Cut:
        return await cut_at(at, lambda _: self._write(output, 0.3))

    async def two_calls(self, bench: Bench[Output]) -> str:
        async with self._attached(bench.part), self._attached(bench.make()) as other:
            await self._write(other, 0.5)
            await self._wait_played(other, 0.5)
            if bench.part.played_s:
                raise Fails(f"expected nothing to be played in the call without words, found {bench.part.played_s:g} s")
        return "each with its own audio"

    async def attaching(self, bench: Bench[Output]) -> str:
        async with hosting(NothingHeld()) as host, calling(host) as call:

            async def attach_it(disarm: Callable[[], None]) -> None:
                output = bench.make()
                async with output.open(), output.attach(call.session):
                    disarm()

            return await sweep(attach_it, CLOSE_S, by_steps=True)

    async def takes_events(self, bench: Bench[Output]) -> str:
        output = bench.part
        async with self._attached(output):
            returned = cast("object", output.on_event(SentenceStarted(turn_id=1, text="Hello.")))
            if inspect.isawaitable(returned):
                cast("Any", returned).close()
                raise Fails("expected on_event to be synchronous, found that it has to be awaited; write def")
            await self._write(output, 0.1)
            await self._wait_played(output, 0.1)
        return "and goes on playing"

    @asynccontextmanager
    async def _attached(self, output: Output) -> AsyncGenerator[Output]:
        async with hosting(NothingHeld()) as host, calling(host) as call, anyio.create_task_group() as tasks:
            async with output.open(), output.attach(call.session):
                if self._listen is not None:
                    tasks.start_soon(self._listen, output)
                yield output
            tasks.cancel_scope.cancel()

    async def _write(self, output: Output, seconds: float) -> None:
        """Write audio in frames of 20 ms, as playback does."""
        frame = b"\x00\x10" * round(FRAME_S * output.sample_rate)
        for _ in range(round(seconds / FRAME_S)):
            with anyio.move_on_after(STALLED_OUTPUT_S) as limit:
                await output.write(frame)
            if limit.cancelled_caught:
                raise Fails(f"expected room for 20 ms within {STALLED_OUTPUT_S:g} s, found that write waits on")


EXACT_S: Final = 0.001
MOST_CUTS: Final = 16
