"""Checks that concern every part: how it opens and closes, several calls, and a network or a service that fails.

A kind of part brings its own piece of work: a voice speaks a sentence, a recogniser hears a turn, a model replies.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar
from urllib.parse import urlsplit, urlunsplit

import anyio

from voicepipe.core.lifetimes import CLOSE_S, READY_S
from voicepipe.core.part import Part
from voicepipe.errors import (
    AuthenticationError,
    ConfigurationError,
    RateLimited,
    StageError,
    VendorError,
    VoicepipeError,
)
from voicepipe.testing.conformance.behaviour import Behaviour
from voicepipe.testing.conformance.calls import Call, SearchedWire, calling, hosting
from voicepipe.testing.conformance.cutting import Cut, cut_at
from voicepipe.testing.conformance.relay import Harm
from voicepipe.testing.conformance.trial import Bench, Fails

if TYPE_CHECKING:
    from voicepipe.core.call_settings import CallSettings
    from voicepipe.testing.conformance.examination import Examination

__all__ = [
    "Work",
    "breaks",
    "check_lifetimes",
    "check_network",
    "check_obeyed",
    "check_refusals",
    "check_settings",
    "checked_rate",
    "cuts",
    "mutes",
    "opened_in_time",
    "sweep",
]

P = TypeVar("P", bound=Part)

Work: TypeAlias = Callable[[Call[Any]], Awaitable[None]]
"""Uses the part in a call as the library does, and raises `Fails` if what comes out is not what should."""

MOST_CUTS: Final = 32
"""At so many awaits work is cancelled; of more, those at the beginning and a sample of the others."""

LATE_S: Final = 1.0


def check_lifetimes(exam: Examination[P], work: Work, *, apart_s: float = 0.0) -> None:
    """Check that a part can be opened and used again, several times at once, and cancelled while it opens.

    Args:
        exam: Takes the checks.
        work: Uses the part.
        apart_s: How much later the second of two calls begins, where both would look the same otherwise.
    """

    async def second_call(bench: Bench[P]) -> str:
        async with hosting(bench.part) as host:
            for _ in range(2):
                async with calling(host) as call:
                    await work(call)
        return "one after another, on one host"

    async def two_calls(bench: Bench[P]) -> str:
        async with hosting(bench.part) as host, calling(host) as one, calling(host) as other:
            await _both(work, one, other, apart_s)
        return "on one host"

    async def two_hosts(bench: Bench[P]) -> str:
        async with (
            hosting(bench.part) as host,
            hosting(bench.part) as another,
            calling(host) as one,
            calling(another) as other,
        ):
            await _both(work, one, other, apart_s)
        return "of one object"

    async def opening(bench: Bench[P]) -> str:
        async def open_it(disarm: Callable[[], None]) -> None:
            async with bench.part._copied().open():
                disarm()

        return await sweep(open_it, CLOSE_S, by_steps=True)

    async def attaching(bench: Bench[P]) -> str:
        async with hosting(bench.part) as host, calling(host) as call:
            await work(call)  # a pool may open its connections late, and keeps them
            open_before = bench.relay.open if bench.relay is not None else 0

            async def attach_it(disarm: Callable[[], None]) -> None:
                async with call.part._copied().attach(call.session):
                    disarm()

            seen = await sweep(attach_it, CLOSE_S, by_steps=True)
            if bench.relay is not None:
                await anyio.sleep(CLOSE_S)
                if (left := bench.relay.open - open_before) > 0:
                    found = f"found {left}; close it where it was opened"
                    raise Fails(f"expected no connection of an attach that was cancelled, {found}")
            async with calling(host) as another:
                await work(another)
        return seen

    exam.check("a second call", second_call)
    exam.check("two calls at once", two_calls)
    exam.check("two hosts at once", two_hosts)
    exam.check("opening is cancelled at each await", opening)
    exam.check("attaching is cancelled at each await", attaching)


def checked_rate(part: Any) -> int:  # noqa: ANN401 - what a part of any kind says of itself
    """Return the sample rate of a part.

    Raises:
        Fails: It is none.
    """
    rate: object = part.sample_rate
    if not isinstance(rate, int) or not 8_000 <= rate <= 192_000:
        raise Fails(f"expected a sample_rate of 8000 to 192000, found {rate!r}; name the rate of the part's audio")
    return rate


def check_settings(exam: Examination[P], settings: Mapping[str, CallSettings]) -> None:
    """Check that a part takes what differs from call to call, or refuses it."""

    async def adapts(bench: Bench[P]) -> str:
        taken: list[str] = []
        async with hosting(bench.part) as host, calling(host) as call:
            for name, setting in settings.items():
                try:
                    call.part._copied().adapt(setting)
                except ConfigurationError:
                    continue
                except Exception as error:
                    found = f"found {type(error).__name__}: {error}; call settings.refuse"
                    raise Fails(f"expected that adapt takes a {name} or raises ConfigurationError, {found}") from error
                taken.append(name)
        return f"takes {' and '.join(taken)}" if taken else f"refuses {' and '.join(settings)}"

    exam.check("the settings of a call", adapts)


def check_network(exam: Examination[P], work: Work) -> None:
    """Check that a part works over a slow network and in small pieces."""

    async def late(bench: Bench[P]) -> str:
        async with hosting(bench.part) as host, calling(host) as call:
            await work(call)
        return f"{LATE_S:g} s late, and complete"

    async def pieces(bench: Bench[P]) -> str:
        async with hosting(bench.part) as host, calling(host) as call:
            await work(call)
        return f"pieces of {PIECE_BYTES} bytes, and complete"

    exam.check("the service is late", late, harms=[Harm(late_s=LATE_S)], needs_server=True)
    exam.check("bytes come in odd pieces", pieces, harms=[Harm(piece_bytes=PIECE_BYTES)], needs_server=True)


PIECE_BYTES: Final = 333


def check_refusals(exam: Examination[P], work: Work) -> None:
    """Check that each kind of refusal is the error that says who has to act, and that none shows the key."""

    def refused(behaviour: Behaviour, expected: str, is_right: Callable[[VoicepipeError], bool]) -> None:
        async def body(bench: Bench[P]) -> str:
            error = await _refusal(bench, bench.part, work)
            if not is_right(error):
                retryable = f", retryable={error.retryable}" if isinstance(error, VendorError) else ""
                found = f"{type(error).__name__}{retryable}: {error}"
                raise Fails(f"expected {expected} where the service {behaviour.value}, found {found}; translate it")
            return f"{type(error).__name__}"

        exam.check(_REFUSALS[behaviour], body, behaviour=behaviour, needs_server=True)

    refused(Behaviour.UNAUTHORISED, "AuthenticationError", lambda error: isinstance(error, AuthenticationError))
    refused(Behaviour.RATE_LIMITED, "RateLimited", lambda error: isinstance(error, RateLimited))
    refused(
        Behaviour.FAILING,
        "VendorError, retryable=True",
        lambda error: isinstance(error, VendorError) and error.retryable and not isinstance(error, RateLimited),
    )
    refused(
        Behaviour.INVALID,
        "ConfigurationError or VendorError, retryable=False",
        lambda error: isinstance(error, ConfigurationError) or (isinstance(error, VendorError) and not error.retryable),
    )

    async def unreachable(bench: Bench[P]) -> str:
        assert bench.relay is not None  # noqa: S101 - the check needs a server
        part = exam.trials.make_for(_nowhere(bench.relay.url))
        error = await _refusal(bench, part, work)
        if not isinstance(error, VendorError) or not error.retryable:
            found = f"{type(error).__name__}: {error}"
            raise Fails(f"expected VendorError, retryable=True where nothing listens, found {found}; translate it")
        return type(error).__name__

    async def wire(bench: Bench[P]) -> str:
        async with hosting(bench.part) as host, calling(host, [SearchedWire(bench.notes)]) as call:
            bench.notes.look_for_keys("the repr of the opened part", repr(call.part))
            await work(call)
        return "for keys: see `no key is shown`"

    exam.check("an unreachable service is told apart", unreachable, needs_server=True)
    exam.check("wire messages are searched", wire, needs_server=True)


_REFUSALS: Final = {
    Behaviour.UNAUTHORISED: "a refused key is told apart",
    Behaviour.RATE_LIMITED: "too many requests are told apart",
    Behaviour.FAILING: "a failing service is told apart",
    Behaviour.INVALID: "an invalid request is told apart",
}


async def _refusal(bench: Bench[P], part: P, work: Work) -> VoicepipeError:
    """Return the error with which a part fails, when it opens or when it works."""
    began_s = anyio.current_time()
    try:
        async with hosting(part) as host, calling(host) as call:
            await work(call)
    except StageError as error:
        raise Fails(
            f"expected a VoicepipeError of the part, found {error}; translate errors of libraries at one place"
        ) from error
    except VoicepipeError as error:
        bench.notes.saw(error, bench.name)
        if len(str(error)) < len("refused"):
            raise Fails(f"expected a message that says what to do, found {str(error)!r}") from error
        took_s = anyio.current_time() - began_s
        if took_s > LONGEST_REFUSAL_S:
            raise Fails(f"expected the error within {LONGEST_REFUSAL_S:g} s, found it after {took_s:g} s") from error
        return error
    raise Fails("expected an error, found none; a refusal must not look like an answer")


LONGEST_REFUSAL_S: Final = 10.0


def _nowhere(url: str) -> str:
    """Return the URL with a port at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return urlunsplit(urlsplit(url)._replace(netloc=f"127.0.0.1:{port}"))


async def _both(work: Work, one: Call[Any], other: Call[Any], apart_s: float) -> None:
    raised: list[Exception] = []

    async def run(call: Call[Any], after_s: float) -> None:
        await anyio.sleep(after_s)
        try:
            await work(call)
        except Exception as error:  # noqa: BLE001 - raised below, without a group around it
            raised.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, one, 0.0)
        tasks.start_soon(run, other, apart_s)
    if raised:
        raise raised[0]


def cuts(awaits: int, most: int = MOST_CUTS) -> list[int]:
    """Return at which of so many awaits to cancel: at each, or at the first ones and a sample of the rest."""
    if awaits <= most:
        return list(range(1, awaits + 1))
    first = most // 2
    step = (awaits - first) / (most - first)
    return [*range(1, first + 1), *(first + round((k + 1) * step) for k in range(most - first))]


async def sweep(
    work: Callable[[Callable[[], None]], Any],
    limit_s: float,
    after: Callable[[int], Awaitable[None]] | None = None,
    *,
    by_steps: bool = False,
) -> str:
    """Do some work again and again, cancelled at its first await, at its second, ...; return what was seen.

    Args:
        work: As `cut_at` takes it.
        limit_s: How long it may take to end once it is cancelled.
        after: Called after each time, to check that nothing was spoilt.
        by_steps: As `cut_at` takes it.

    Raises:
        Fails: It did not obey.
    """
    whole = await cut_at(0, work, by_steps=by_steps)
    if whole.error is not None:
        raise whole.error
    numbers = cuts(whole.count)
    for at in numbers:
        cut = await cut_at(at, work, by_steps=by_steps)
        check_obeyed(cut, f"when it was cancelled in {'step' if by_steps else 'await'} no. {at}", limit_s)
        if after is not None:
            await after(at)
    unit = "steps of the loop" if by_steps else "awaits"
    return f"{len(numbers)} of {whole.count} {unit}" if numbers else "it never waits"


def check_obeyed(cut: Cut, where: str, limit_s: float) -> None:
    """Check how work took its cancellation.

    Raises:
        Fails: It did not obey.
    """
    match cut.outcome:
        case "ignored":
            raise Fails(f"expected that it ends {where}, found that it waits on; let CancelledError pass")
        case "swallowed":
            raise Fails(f"expected CancelledError to pass {where}, found that it was swallowed; re-raise it")
        case "raised":
            found = f"{type(cut.error).__name__}: {cut.error}"
            raise Fails(f"expected CancelledError to pass {where}, found {found}; re-raise it")
        case _:
            if cut.took_s > limit_s + 1e-6:
                found = f"found {cut.took_s:g} s; shield less of its clean-up"
                raise Fails(f"expected it to end within {limit_s:g} s {where}, {found}")


def breaks(received_bytes: int) -> list[Harm]:
    """Return where connections that carry so many bytes break: the first one only, or each of them."""
    first = [Harm(cut_at=received_bytes * k // 4, connections=1) for k in range(4)]
    return [*first, *(Harm(cut_at=received_bytes * k // 3) for k in (1, 2))]


def mutes(received_bytes: int) -> list[Harm]:
    """Return where connections that carry so many bytes fall silent: at once, or in the middle."""
    return [Harm(mute_at=received_bytes * k // 3) for k in range(3)]


async def opened_in_time(bench: Bench[P], began_s: float) -> None:
    """Check that a part that could not be attached was given up in time."""
    took_s = anyio.current_time() - began_s
    if took_s > READY_S["attach"] + CLOSE_S:
        limit_s = READY_S["attach"]
        raise Fails(f"expected {bench.part.name} to give up within {limit_s:g} s, found {took_s:g} s")
