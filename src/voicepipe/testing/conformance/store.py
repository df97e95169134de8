"""Checks a store: what the records of calls and the tokens of a door rely on."""

from __future__ import annotations

from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final, cast

import anyio

from voicepipe.errors import StoreError
from voicepipe.keeping.store import RECORD_BYTES, Kept, Store
from voicepipe.testing.conformance.cutting import cut_at
from voicepipe.testing.conformance.examination import Examination, examining
from voicepipe.testing.conformance.lifetimes import check_obeyed, cuts
from voicepipe.testing.conformance.trial import Bench, Fails, Skips

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from voicepipe.testing.conformance.report import Report

__all__ = ["check_store"]

HELD_S: Final = 60.0
"""For how long what is kept stays, where that is not what is checked."""

SHORT_S: Final = 0.2
"""And where it is."""

AT_ONCE: Final = 10
"""So many workers claim a call at the same time."""

OBEYS_S: Final = 0.5
MOST_CUTS: Final = 16

ODD_NAMES: Final = ("a b", "x\x00\n", "{a}:*?[b]/%2F", "é 漢 😀", "n" * 512)
DATA: Final = bytes(range(256))


def check_store(
    make: Callable[[], Store],
    *,
    refuses: Sequence[Callable[[], object]] = (),
    secrets: Sequence[str] = (),
    only: Sequence[str] = (),
    real_time: bool = False,
) -> Report:
    """Check that a store does what calls that are resumed rely on, and return what was found.

        def test_my_store() -> None:
            check_store(lambda: MyStore("kv://localhost"), real_time=True)

    Args:
        make: Makes the store, one for each check. What was kept by those before may be there or not.
        refuses: Each creates a store with a bad option, and has to raise `ConfigurationError`.
        secrets: What must appear in no log record, repr or error: the password that `make` uses.
        only: The names of the checks to make, while you mend one of them; all checks if there is none.
        real_time: Whether the store uses threads or talks to another process, which have no place in virtual time.

    Raises:
        Nonconformance: A check failed. The message says what was expected, what was found, and what to do.
        ConfigurationError: `only` names a check that there is not.
    """
    with examining("store", make, None, secrets, only=only, real_time=real_time) as exam:
        exam.trials.notes.was_sent = bool(secrets)
        store = _Store(exam)
        exam.first("keeps what was written", store.keeps)
        exam.check("of two workers one has the call", store.one_has_it)
        exam.check("many claim a call at once", store.many_claim)
        exam.check("a lease outlasts a claim", store.leases)
        exam.check("what is kept expires", store.expires)
        exam.check("a lost record is made again", store.makes_again)
        exam.check("a call that was forgotten stays forgotten", store.forgets)
        exam.check("a further call of the same name", store.begins_again)
        exam.check("a value is given once", store.takes)
        exam.check("any name and any data", store.takes_anything)
        exam.check("refuses what is too long", store.bounds)
        exam.check("two stores share what they keep", store.shares)
        exam.check("an operation is cancelled at each await", store.cancelled)
        exam.refuses(refuses)
        report = exam.report()
    report.raise_for_failures()
    return report


class _Store:
    """The checks."""

    def __init__(self, exam: Examination[Store]) -> None:
        self._exam = exam

    async def keeps(self, bench: Bench[Store]) -> str:
        store, call = bench.part, _name()
        if not isinstance(cast("object", store), Store):
            raise Fails(f"expected a Store, found {type(store).__name__}; derive it from voicepipe.Store")
        async with store.open():
            _expect(await store.get(call), None, "for a call that nobody began")
            _expect(await store.claim(call, "one"), None, "from claim for a call that nobody began")
            revision = await store.create(call, "one", HELD_S)
            _expect(await store.get(call), Kept(b"", revision, "one"), "after create")
            await _put(store, call, DATA, revision, is_mine=True)
            await _put(store, call, DATA[::-1], revision, is_mine=True)
            _expect(await store.get(call), Kept(DATA[::-1], revision, "one"), "after put")
            await store.forget(call)
        async with store.open():
            _expect(await store.get(call), None, "after the store was opened again")
        return f"revision {revision}"

    async def one_has_it(self, bench: Bench[Store]) -> str:
        store, call = bench.part, _name()
        async with store.open():
            first = await store.create(call, "one", HELD_S)
            await _put(store, call, b"heard", first, is_mine=True)
            second = (await _claimed(store, call, "two", first)).revision
            _expect(await store.get(call), Kept(b"heard", second, "two"), "after claim")
            await _put(store, call, b"began to pay", first, is_mine=False)
            late = Kept(b"heard", second, "two", late=b"began to pay")
            _expect(await store.get(call), late, "after the worker before has written: `late` is apart from `data`")
            await _put(store, call, b"more", second, is_mine=True)
            third = await _claimed(store, call, "three", second)
            expected = Kept(b"more", third.revision, "three", late=b"began to pay")
            _expect(third, expected, "from the next claim, which has to see what came late")
            await store.forget(call)
        return "the worker before is refused, and what it wrote is kept apart"

    async def many_claim(self, bench: Bench[Store]) -> str:
        store, call = bench.part, _name()
        revisions: dict[str, int] = {}
        async with store.open():
            before = await store.create(call, "before", HELD_S)

            async def claim(worker: str) -> None:
                revisions[worker] = (await _claimed(store, call, worker, before)).revision

            async with anyio.create_task_group() as tasks:
                for number in range(AT_ONCE):
                    tasks.start_soon(claim, f"worker {number}")
            if len(set(revisions.values())) < AT_ONCE:
                raise Fails(f"expected {AT_ONCE} revisions, found {sorted(revisions.values())}; make claim atomic")
            last = max(revisions, key=lambda worker: revisions[worker])
            for worker, revision in revisions.items():
                await _put(store, call, worker.encode(), revision, is_mine=worker == last)
            kept = await store.get(call)
            found = None if kept is None else (kept.data, kept.worker)
            _expect(found, (last.encode(), last), "of the worker with the largest revision")
            await store.forget(call)
        return f"{AT_ONCE} at once, and the last one has it"

    async def leases(self, bench: Bench[Store]) -> str:
        store, call = bench.part, _name()
        async with store.open():
            first = await store.create(call, "one", HELD_S)
            await _put(store, call, b"", first, is_mine=True, lease_s=HELD_S)
            await _put(store, call, b"", first, is_mine=True)
            _expect_lease(await store.get(call), is_held=False, when="after the worker that has the call wrote 0")
            await _put(store, call, b"", first, is_mine=True, lease_s=HELD_S)
            second = await _claimed(store, call, "two", first)
            _expect_lease(second, is_held=True, when="of the worker before, in what claim returns")
            await _put(store, call, b"", second.revision, is_mine=True)
            _expect_lease(await store.get(call), is_held=True, when="of the worker before, after the next wrote 0")
            third = await _claimed(store, call, "three", second.revision)
            _expect_lease(third, is_held=True, when="of the worker before the last")
            await _put(store, call, b"", third.revision, is_mine=True, lease_s=SHORT_S)
            await store.forget(call)
            other = _name()
            revision = await store.create(other, "one", HELD_S)
            await _put(store, other, b"", revision, is_mine=True, lease_s=SHORT_S)
            await anyio.sleep(2 * SHORT_S)
            _expect_lease(await store.get(other), is_held=False, when="after it has run out")
            await store.forget(other)
        return f"of {HELD_S:g} s"

    async def expires(self, bench: Bench[Store]) -> str:
        store, call, written = bench.part, _name(), _name()
        async with store.open():
            await store.create(call, "one", SHORT_S)
            revision = await store.create(written, "one", HELD_S)
            await _put(store, written, DATA, revision, is_mine=True, expires_s=SHORT_S)
            await store.keep(call, DATA, expires_s=SHORT_S)
            await anyio.sleep(2 * SHORT_S)
            for name in (call, written):
                _expect(await store.get(name), None, f"{2 * SHORT_S:g} s after it was kept for {SHORT_S:g} s")
                _expect(await store.claim(name, "two"), None, "from claim of a record that has expired")
            _expect(await store.take(call), None, "from take of a value that has expired")
        return f"after {SHORT_S:g} s"

    async def makes_again(self, bench: Bench[Store]) -> str:
        store, call = bench.part, _name()
        async with store.open():
            first = await store.create(call, "one", SHORT_S)
            second = await _claimed(store, call, "two", first)
            await anyio.sleep(2 * SHORT_S)
            await _put(store, call, b"again", first, is_mine=True)
            third = await _claimed(store, call, "three", second.revision)
            _expect(third.data, b"again", "of a record that was written after it had expired")
            await _put(store, call, b"late", second.revision, is_mine=False)
            await store.forget(call)
        return "and no revision is used twice"

    async def forgets(self, bench: Bench[Store]) -> str:
        store, call = bench.part, _name()
        async with store.open():
            await store.forget(call)
            first = await store.create(call, "one", HELD_S)
            await _put(store, call, DATA, first, is_mine=True)
            second = await _claimed(store, call, "two", first)
            await store.forget(call)
            await _put(store, call, DATA, first, is_mine=False)
            await _put(store, call, DATA, second.revision, is_mine=True)
            _expect(await store.get(call), None, "for a call that was forgotten, whatever is written later")
            _expect(await store.claim(call, "three"), None, "from claim of a call that was forgotten")
            again = await store.create(call, "four", HELD_S)
            _expect(await store.get(call), Kept(b"", again, "four"), "after create")
            await _put(store, call, DATA, second.revision, is_mine=False)
            await store.forget(call)
        return "whatever its workers write later"

    async def begins_again(self, bench: Bench[Store]) -> str:
        store, call = bench.part, _name()
        async with store.open():
            first = await store.create(call, "one", HELD_S)
            await _put(store, call, DATA, first, is_mine=True, lease_s=HELD_S)
            second = await store.create(call, "two", HELD_S)
            await _put(store, call, DATA, first, is_mine=False)
            _expect(await store.get(call), Kept(b"", second, "two"), "of another call of that name: nothing before it")
            await store.forget(call)
        return "replaces it"

    async def takes(self, bench: Bench[Store]) -> str:
        store, key = bench.part, _name()
        found: list[bytes | None] = []
        async with store.open():
            await store.keep(key, b"old", expires_s=HELD_S)
            await store.keep(key, DATA, expires_s=HELD_S)

            async def take() -> None:
                found.append(await store.take(key))

            async with anyio.create_task_group() as tasks:
                for _ in range(AT_ONCE):
                    tasks.start_soon(take)
        given = [value for value in found if value is not None]
        if given != [DATA]:
            raise Fails(
                f"expected the value once for {AT_ONCE} who take it, found it {len(given)} times; read and delete "
                "it in one step"
            )
        return f"to one of {AT_ONCE}"

    async def takes_anything(self, bench: Bench[Store]) -> str:
        store, ours = bench.part, _name()
        largest = bytes(RECORD_BYTES)
        async with store.open():
            for odd in ODD_NAMES:
                name = (ours + odd)[-512:]
                revision = await store.create(name, odd, HELD_S)
                for data in (b"", DATA, largest):
                    await _put(store, name, data, revision, is_mine=True)
                    _expect(await store.get(name), Kept(data, revision, odd), "of an odd name")
                    await store.keep(name, data, expires_s=HELD_S)
                    _expect(await store.take(name), data, "of an odd key")
                _expect(await store.get(name[1:]), None, "of a name that nobody gave; keep names apart")
                await store.forget(name)
        return f"{len(ODD_NAMES)} names, up to {RECORD_BYTES} bytes"

    async def bounds(self, bench: Bench[Store]) -> str:
        store, call = bench.part, _name()
        async with store.open():
            revision = await store.create(call, "one", HELD_S)
            longer = bytes(RECORD_BYTES + 1)
            attempts: dict[str, Callable[[], Awaitable[object]]] = {
                "a name of no characters": lambda: store.get(""),
                "a name of 513 characters": lambda: store.claim("n" * 513, "two"),
                "a record of 65,537 bytes": lambda: store.put(
                    call, longer, revision=revision, lease_s=0, expires_s=HELD_S
                ),
                "a value of 65,537 bytes": lambda: store.keep(call, longer, expires_s=HELD_S),
                "a key of 513 characters": lambda: store.take("n" * 513),
            }
            for what, attempt in attempts.items():
                try:
                    await attempt()
                except StoreError:
                    continue
                raise Fails(f"expected StoreError for {what}, found that it was taken; call check_name and check_data")
            _expect(await store.get(call), Kept(b"", revision, "one"), "after what was refused")
            await store.forget(call)
        return "with StoreError"

    async def shares(self, bench: Bench[Store]) -> str:
        store, other, call = bench.part, bench.make(), _name()
        async with store.open(), other.open():
            revision = await store.create(call, "one", HELD_S)
            await _put(store, call, DATA, revision, is_mine=True)
            if await other.get(call) is None:
                raise Skips("each store keeps its own, so all workers have to use one object, in one process")
            await _claimed(other, call, "two", revision)
            await _put(store, call, DATA, revision, is_mine=False)
            await other.forget(call)
            _expect(await store.get(call), None, "after the other store forgot it")
        return "records"

    async def cancelled(self, bench: Bench[Store]) -> str:
        store, call = bench.part, _name()
        count = 0
        async with store.open():
            revision = await store.create(call, "one", HELD_S)
            work: tuple[Callable[[], Coroutine[Any, Any, object]], ...] = (
                lambda: store.put(call, DATA, revision=revision, lease_s=0, expires_s=HELD_S),
                lambda: store.get(call),
                lambda: store.take(call),
            )
            for operation in work:
                whole = await cut_at(0, lambda _, operation=operation: operation())  # type: ignore[misc]
                for at in cuts(whole.count, MOST_CUTS):
                    cut = await cut_at(at, lambda _, operation=operation: operation())  # type: ignore[misc]
                    check_obeyed(cut, f"when it was cancelled in await no. {at}", OBEYS_S)
                    count += 1
            for _ in range(2 * AT_ONCE):  # what a cancelled operation used is free again
                await _put(store, call, DATA, revision, is_mine=True)
            await store.forget(call)
        return f"{count} awaits"


def _name() -> str:
    """Return a name that nobody has used: a store may keep what other checks left."""
    return f"conformance-{token_hex(8)}"


def _expect(found: object, expected: object, when: str) -> None:
    if found != expected:
        raise Fails(f"expected {_shown(expected)} {when}, found {_shown(found)}")


def _shown(value: object) -> str:
    """Show what is kept, whose own `repr` hides what was said in a call."""
    if not isinstance(value, Kept):
        return repr(value)[:100]
    late = "" if value.late is None else f", late={value.late[:20]!r}"
    lease = f", lease_left_s={value.lease_left_s:g}" if value.lease_left_s else ""
    return f"Kept(data={value.data[:20]!r}, revision={value.revision}, worker={value.worker!r}{lease}{late})"


def _expect_lease(kept: Kept | None, *, is_held: bool, when: str) -> None:
    left_s = -1.0 if kept is None else kept.lease_left_s
    if not (HELD_S / 2 < left_s <= HELD_S if is_held else left_s == 0.0):
        expected = f"about {HELD_S:g} s" if is_held else "none"
        raise Fails(f"expected a lease of {expected} {when}, found {left_s:g} s; keep those of workers before apart")


async def _put(
    store: Store,
    call: str,
    data: bytes,
    revision: int,
    *,
    is_mine: bool,
    lease_s: float = 0.0,
    expires_s: float = HELD_S,
) -> None:
    found = await store.put(call, data, revision=revision, lease_s=lease_s, expires_s=expires_s)
    if found is not is_mine:
        whose = "the worker that has the call" if is_mine else "a worker that has lost the call"
        raise Fails(
            f"expected {is_mine} from put of {whose}, found {found!r}; compare the revisions where data is written"
        )


async def _claimed(store: Store, call: str, worker: str, before: int) -> Kept:
    kept = await store.claim(call, worker)
    if kept is None or kept.worker != worker:
        raise Fails(f"expected the record from claim, with its new worker {worker!r}, found {_shown(kept)}")
    if kept.revision <= before:
        raise Fails(f"expected a revision above {before} from claim, found {kept.revision}; never use one twice")
    return kept
