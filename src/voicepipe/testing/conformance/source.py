"""Checks a source: what a session that listens relies on."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import anyio

from voicepipe.audio.source import Source
from voicepipe.core.lifetimes import CLOSE_S
from voicepipe.testing.conformance.behaviour import KEY
from voicepipe.testing.conformance.calls import NothingHeld, calling, hosting
from voicepipe.testing.conformance.cutting import cut_at
from voicepipe.testing.conformance.examination import Examination, examining
from voicepipe.testing.conformance.lifetimes import check_obeyed, checked_rate, cuts, sweep
from voicepipe.testing.conformance.trial import Bench, Fails

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence

    from voicepipe.session.session import Session
    from voicepipe.testing.conformance.behaviour import Server
    from voicepipe.testing.conformance.cutting import Cut
    from voicepipe.testing.conformance.report import Report

__all__ = ["check_source"]

LISTENS_S: Final = 1.0
"""How long each check listens to a source that does not end by itself."""

AHEAD_S: Final = 10.0
"""So much late audio is recognised at most; a source that yields more of it at once loses what a caller said."""

OBEYS_S: Final = 0.5
MOST_CUTS: Final = 16


def check_source(
    make: Callable[..., Source],
    *,
    server: Server | None = None,
    feed: Callable[[Any], Coroutine[Any, Any, None]] | None = None,
    refuses: Sequence[Callable[[], object]] = (),
    secrets: Sequence[str] = (KEY,),
    only: Sequence[str] = (),
    real_time: bool = False,
) -> Report:
    """Check that a source does what the library relies on, and return what was found.

        def test_my_source() -> None:
            check_source(lambda: MySource("caller.wav"))

    Args:
        make: Makes the source, one for each call. It is called with the URL of the service if there is a `server`,
            otherwise without arguments.
        server: Starts what the source connects to; see `Server`.
        feed: Called with the source once a session listens, at the same time: pushes audio, as a transport does.
        refuses: Each creates a source with a bad option, and has to raise `ConfigurationError`.
        secrets: What must appear in no log record, repr or error: the keys that `make` uses.
        only: The names of the checks to make, while you mend one of them; all checks if there is none.
        real_time: Whether the source uses threads, which have no place in virtual time.

    Raises:
        Nonconformance: A check failed. The message says what was expected, what was found, and what to do.
        ConfigurationError: `only` names a check that there is not.
    """
    with examining("source", make, server, secrets, only=only, real_time=real_time) as exam:
        source = _Source(exam, feed)
        exam.first("gives audio", source.gives)
        exam.check("listening is cancelled at each await", source.cancelled)
        exam.check("two calls at once", source.two_calls)
        exam.check("opening and attaching is cancelled at each await", source.attaching)
        exam.refuses(refuses)
        report = exam.report()
    report.raise_for_failures()
    return report


@dataclass
class Given:
    """What a source gave.

    Attributes:
        pcm: The audio.
        pieces: How many pieces it came in.
        has_ended: Whether it hung up.
    """

    pcm: bytearray = field(default_factory=bytearray)
    pieces: int = 0
    has_ended: bool = False

    def take(self, pcm: bytes, at_s: float | None = None) -> None:
        """Take a piece, as a session does."""
        del at_s
        if not isinstance(cast("object", pcm), (bytes, bytearray, memoryview)):
            raise Fails(f"expected bytes of PCM, found {type(pcm).__name__}; yield nothing else")
        self.pcm += pcm
        self.pieces += 1


class _Source:
    """The checks."""

    def __init__(self, exam: Examination[Source], feed: Callable[[Any], Coroutine[Any, Any, None]] | None) -> None:
        self._exam = exam
        self._feed = feed

    async def gives(self, bench: Bench[Source]) -> str:
        source = bench.part
        if not isinstance(cast("object", source), Source):
            raise Fails(f"expected a Source, found {type(source).__name__}; derive it from voicepipe.Source")
        rate = checked_rate(source)
        async with hosting(NothingHeld()) as host, calling(host) as call:
            began_s = anyio.current_time()
            given = await self._listen(source, call.session)
            took_s = anyio.current_time() - began_s
        length_s = len(given.pcm) / 2 / rate
        if not given.pcm:
            raise Fails(f"expected audio within {LISTENS_S:g} s, found none; pass feed=... if the source has to be fed")
        if len(given.pcm) % 2:
            raise Fails(f"expected whole 16-bit samples, found {len(given.pcm)} bytes; keep half a sample for the next")
        if length_s > took_s + AHEAD_S:
            raise Fails(
                f"expected audio at the pace of speech, found {length_s:.1f} s of it after {took_s:.1f} s; of late "
                f"audio {AHEAD_S:g} s are recognised"
            )
        ended = ", then hangs up" if given.has_ended else ""
        return f"{length_s:.2f} s of audio at {rate} Hz in {given.pieces} pieces within {took_s:.2f} s{ended}"

    async def two_calls(self, bench: Bench[Source]) -> str:
        lengths: list[int] = []
        async with hosting(NothingHeld()) as host, calling(host) as one, calling(host) as other:

            async def listen(source: Source, session: Session[Any]) -> None:
                lengths.append(len((await self._listen(source, session)).pcm))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listen, bench.part, one.session)
                tasks.start_soon(listen, bench.make(), other.session)
        if not all(lengths):
            raise Fails(
                "expected audio in both of two calls, found none in one; keep what belongs to one call on `self`"
            )
        return "each with its own audio"

    async def cancelled(self, bench: Bench[Source]) -> str:
        async with hosting(NothingHeld()) as host, calling(host) as call:
            whole = await self._cut(bench.part, call.session, 0)
            numbers = cuts(whole.count, MOST_CUTS)
            for at in numbers:
                cut = await self._cut(bench.make(), call.session, at)
                check_obeyed(cut, f"when it was cancelled in await no. {at}", OBEYS_S)
        return f"{len(numbers)} of {whole.count} awaits"

    async def attaching(self, bench: Bench[Source]) -> str:
        async with hosting(NothingHeld()) as host, calling(host) as call:

            async def attach_it(disarm: Callable[[], None]) -> None:
                source = bench.make()
                async with source.open(), source.attach(call.session):
                    disarm()

            return await sweep(attach_it, CLOSE_S, by_steps=True)

    async def _cut(self, source: Source, session: Session[Any], at: int) -> Cut:
        async with self._attached(source, session):
            return await cut_at(at, lambda _: self._pump(source, Given()))

    async def _listen(self, source: Source, session: Session[Any]) -> Given:
        given = Given()
        async with self._attached(source, session):
            await self._pump(source, given)
        return given

    @asynccontextmanager
    async def _attached(self, source: Source, session: Session[Any]) -> AsyncGenerator[None]:
        """Open and attach a source, and feed it meanwhile."""
        async with source.open(), source.attach(session), anyio.create_task_group() as tasks:
            if self._feed is not None:
                tasks.start_soon(self._feed, source)
            yield
            tasks.cancel_scope.cancel()

    async def _pump(self, source: Source, given: Given) -> None:
        with anyio.move_on_after(LISTENS_S):
            await source.pump(given.take)
            given.has_ended = True
