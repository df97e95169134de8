"""More than one process: what happens to calls when workers are restarted or die, and when the store is away.

Each row runs real processes: a redis-server of its own, workers or a fleet with its gateway, and the callers of
`fleet_load`, which speak the page's protocol. Only the vendors are scripted, see `fleet_app`.

The gap of a call is the time from the death of its worker until the first message of the resumed call has reached the
caller; at a restart, it begins when the caller's connection ends. The silence is what a caller notices who was
listening to a reply: from the end of the last sound that was played until the next one comes.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import anyio
from websockets.exceptions import ConnectionClosed

from benchmarks._figures import Figure, percentile
from benchmarks.fleet_app import NOT_SURE, PROMISED_S
from benchmarks.fleet_load import joined
from benchmarks.fleet_machines import Fleet, calling, cpu_s, listener, redis_server, running, worker, workers, written

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.fleet_machines import Load, Redis, Worker

__all__ = ["ROWS", "fleet"]

LATE_S = 0.1
"""A turn is late if its reply begins this much later than usual, or is silent for as long in the middle."""

STEADY_S = 3.0
"""After so long an engine trusts a worker: one that dies sooner is started again after a pause."""

HANGS_UP_S = {"idle": 12.0, "speaking": 1.0, "broken": 12.0}
"""How soon the loser of a call hangs up: at its next write, at once when a turn begins, else within 10 s."""


async def fleet(is_quick: bool = False, rows: Iterable[str] = ()) -> list[Figure]:
    """Run some of the rows, or all."""
    figures = []
    for row in rows or ROWS:
        with TemporaryDirectory(prefix="voicepipe-fleet-") as name:
            figures += await ROWS[row](Path(name), is_quick)
    return figures


# --- restarts and deaths ----------------------------------------------------------------------------------------------


async def restart(folder: Path, is_quick: bool) -> list[Figure]:
    """Restart two workers, one after the other, under 40 calls."""
    callers, before_s = (8, 12.0) if is_quick else (40, 45.0)
    async with (
        redis_server(folder) as redis,
        running(folder, redis.address, 2) as served,
        calling([served.base], callers) as load,
    ):
        await load.all_connected(callers)
        began_s = anyio.current_time()
        await anyio.sleep(before_s)
        restarted_s = anyio.current_time()
        await served.restart()
        took_s = anyio.current_time() - restarted_s
        await anyio.sleep(8.0)  # the turns that were in flight
        done_s = anyio.current_time()
        await load.hang_up()
    before, during = load.of("turn", began_s, restarted_s), load.of("turn", restarted_s, done_s)
    changed, back = load.of("lost", restarted_s, done_s), load.of("back", restarted_s)
    gaps = [line["gap_s"] for line in back if line["resumed"]]
    usual = _usual(before)
    return [
        Figure("restart: calls", callers),
        Figure("restart: both workers replaced within", took_s, "s"),
        Figure("restart: calls that changed the worker", len(changed)),
        Figure("restart: calls cut", len(changed) - len(gaps), bar=0, is_promise=True),
        *_gaps("restart", gaps),
        Figure("restart: turns meanwhile", len(during)),
        Figure("restart: of which over 100 ms late", sum(_is_late(turn, usual) for turn in during), bar=0),
        Figure("restart: late turns before the restart", sum(_is_late(turn, usual) for turn in before)),
        Figure("restart: of turns", len(before)),
        Figure("restart: questions without a reply", len(load.of("unanswered", restarted_s, done_s))),
        *_kept("restart", folder, load),
    ]


async def kill(folder: Path, is_quick: bool) -> list[Figure]:
    """End one of two workers by SIGKILL, a hundred times at random moments, under 8 calls."""
    kills, callers, chance = (5, 6, random.Random(5)) if is_quick else (100, 8, random.Random(5))
    killed: list[tuple[float, set[int]]] = []
    async with (
        redis_server(folder) as redis,
        running(folder, redis.address, 2) as served,
        calling([served.base], callers) as load,
    ):
        for number in range(kills):
            await load.all_connected(callers)
            await served.all_ready(2)
            await anyio.sleep(chance.uniform(1.0, 6.0))
            await load.all_connected(callers)
            before = load.connected()
            pid = listener(int(chance.choice([*before.values()]).rpartition(":")[2]))
            at_s = anyio.current_time()
            os.kill(pid, signal.SIGKILL)
            await anyio.sleep(0.3)
            gone = {line["caller"] for line in load.of("lost", at_s)} & before.keys()
            killed.append((at_s, gone))
            print(f"fleet: kill {number + 1} of {kills}, {len(gone)} calls", file=sys.stderr, flush=True)
        await load.all_connected(callers)
        await anyio.sleep(10.0)
        await load.hang_up()
    hit = sum(len(gone) for _, gone in killed)
    found = [(line, at_s) for at_s, gone in killed for line in _first_back(load, at_s, gone)]
    resumed = [(line, at_s) for line, at_s in found if line["resumed"]]
    for line, _ in found:
        if not line["resumed"]:
            print(f"fleet: not resumed: {line}", file=sys.stderr, flush=True)
    silences = [line["silence_s"] for line in load.of("sound")]
    return [
        Figure("kill: workers killed", len(killed)),
        Figure("kill: calls that they held", hit),
        Figure("kill: of which resumed", len(resumed) / max(1, hit) * 100, "%", at_least=99, is_promise=True),
        *_gaps("kill", [line["at_s"] - at_s for line, at_s in resumed]),
        Figure("kill: silence in the middle of a reply, p50", percentile(silences, 50), "s"),
        Figure("kill: silence in the middle of a reply, max", max(silences, default=0.0), "s"),
        Figure("kill: questions that were lost while they were asked", len(load.of("unanswered"))),
        *_kept("kill", folder, load),
    ]


def _first_back(load: Load, at_s: float, gone: set[int]) -> Iterable[dict]:
    for caller in gone:
        yield from [line for line in load.of("back", at_s) if line["caller"] == caller][:1]


def _usual(turns: list[dict]) -> dict[int, float]:
    """Return how long callers wait for a reply, by the kind of the question."""
    return {
        kind: median([turn["waited_s"] for turn in turns if turn["kind"] == kind] or [PROMISED_S]) for kind in (1, 2)
    }


def _is_late(turn: dict, usual: dict[int, float]) -> bool:
    return turn["waited_s"] > usual[turn["kind"]] + LATE_S or turn["pause_s"] > LATE_S


def _gaps(row: str, gaps: list[float]) -> list[Figure]:
    return [
        Figure(f"{row}: gap, p50", percentile(gaps, 50), "s", 0.5),
        Figure(f"{row}: gap, max", max(gaps, default=0.0), "s", 2.0),
    ]


def _kept(row: str, folder: Path, load: Load) -> list[Figure]:
    """Return what must not happen twice, and what was lost."""
    turns = load.of("turn")
    runs = Counter((line["caller"], line["number"]) for line in written(folder, "booked.jsonl"))
    not_sure = [turn for turn in turns if NOT_SURE[0][0] in turn["sentences"]]
    return [
        Figure(f"{row}: writing tools run", len(runs)),
        Figure(f"{row}: of which twice", sum(count > 1 for count in runs.values()), bar=0, is_promise=True),
        Figure(f"{row}: callers told that the outcome is not known", len(not_sure)),
        Figure(f"{row}: words heard", sum(turn["words"] for turn in turns)),
        Figure(
            f"{row}: heard twice beyond the sentence that was cut",
            sum(turn["twice"] for turn in turns),
            bar=0,
            is_promise=True,
        ),
        Figure(f"{row}: words never heard", sum(turn["missed"] for turn in turns)),
        Figure(
            f"{row}: conversations that were forgotten", sum(turn["forgot"] for turn in turns), bar=0, is_promise=True
        ),
    ]


# --- the store --------------------------------------------------------------------------------------------------------


async def store(folder: Path, is_quick: bool) -> list[Figure]:
    """Take the store away, make it slow, and let it lose what it has."""
    callers, phase_s = (3, 10.0) if is_quick else (10, 20.0)
    figures: list[Figure] = []
    async with (
        redis_server(folder) as redis,
        worker(folder, redis.address) as one,
        calling([one.base], callers) as load,
    ):
        await load.all_connected(callers)
        began_s = anyio.current_time()
        await anyio.sleep(phase_s)
        usual = _usual(load.of("turn", began_s))
        trouble = _Trouble(folder, load, one, callers, phase_s, usual)
        figures += await trouble.measured("down", redis.stop)
        figures += await trouble.why_not_resumed("down", "store")
        await redis.start()
        await anyio.sleep(5.0)
        figures.append(Figure("store: calls that report its return", trouble.reports("StoreBack")))
        figures += await trouble.measured("frozen", _frozen(redis))
        redis.thaw()
        await anyio.sleep(5.0)
        figures += await trouble.measured("emptied", redis.empty)
        await redis.empty()
        figures += await trouble.why_not_resumed("emptied", "unknown")
        await load.hang_up()
    return [*figures, *_kept("store", folder, load)]


def _frozen(redis: Redis):
    async def freeze() -> None:
        redis.freeze()

    return freeze


class _Trouble:
    """Measures what calls notice of a store in trouble."""

    def __init__(self, folder: Path, load: Load, one: Worker, callers: int, phase_s: float, usual: dict) -> None:
        self._folder = folder
        self._load = load
        self._worker = one
        self._callers = callers
        self._phase_s = phase_s
        self._usual = usual

    def reports(self, event: str, since_s: float = 0.0) -> int:
        lines = [line for line in written(self._folder, "events.jsonl") if line["event"] == event]
        return len({line["call"] for line in lines if line["at_s"] >= since_s})

    async def measured(self, how: str, spoil) -> list[Figure]:
        began_s = anyio.current_time()
        await spoil()
        await anyio.sleep(self._phase_s)
        lost = self._load.of("lost", began_s)
        turns = [turn for turn in self._load.of("turn", began_s) if turn["asked_s"] > began_s]
        figures = [
            Figure(f"store {how}: calls cut", len(lost), bar=0, is_promise=True),
            Figure(f"store {how}: turns meanwhile", len(turns)),
            Figure(f"store {how}: of which over 100 ms late", sum(_is_late(turn, self._usual) for turn in turns)),
        ]
        if how != "emptied":
            told = self.reports("StoreFailed", began_s)
            figures.append(Figure(f"store {how}: calls that report it", told, at_least=self._callers, is_promise=True))
        return figures

    async def why_not_resumed(self, how: str, why: str) -> list[Figure]:
        """Kill the worker, and look what its calls are told by the next one."""
        began_s = anyio.current_time()
        await self._worker.kill()
        await self._worker.start()
        await self._load.all_connected(self._callers, 40.0)
        ready = self._load.of("ready", began_s)
        said = sum(line["why"] == why and not line["resumed"] for line in ready)
        print(f"fleet: {how}: {Counter(line['why'] for line in ready)}", file=sys.stderr, flush=True)
        await anyio.sleep(self._phase_s)
        turns = self._load.of("turn", began_s)
        return [
            Figure(
                f"store {how}, then a kill: calls that are told why ({why})",
                said,
                at_least=self._callers,
                is_promise=True,
            ),
            Figure(
                f"store {how}, then a kill: turns of the new calls", len(turns), at_least=self._callers, is_promise=True
            ),
        ]


async def keeping(folder: Path, is_quick: bool) -> list[Figure]:
    """Compare what a call costs whose record is kept with one that has none."""
    rounds, callers = (1, 8) if is_quick else (3, 20)
    kept, bare, server = [], [], []
    async with redis_server(folder) as redis, worker(folder, redis.address) as one, worker(folder) as other:
        for _ in range(rounds):
            used_s, began_s = cpu_s(redis.pid), anyio.current_time()
            kept.append(await _cost(one.base, one.pid, callers))
            server.append((cpu_s(redis.pid) - used_s) / (anyio.current_time() - began_s) / callers * 100)
            bare.append(await _cost(other.base, other.pid, callers))
    return [
        Figure("keeping: CPU of a call without a store", median(bare), "% of a core"),
        Figure("keeping: CPU of a call that is kept in Redis", median(kept), "% of a core"),
        Figure("keeping: their ratio", median(one / two for one, two in zip(kept, bare, strict=True))),
        Figure("keeping: CPU of redis-server for a call", median(server), "% of a core"),
    ]


# --- one call, two workers --------------------------------------------------------------------------------------------


async def claim(folder: Path, is_quick: bool) -> list[Figure]:
    """Let two workers claim the same call, in three ways at once."""
    rounds = 2 if is_quick else 20
    async with redis_server(folder) as redis, workers(folder, redis.address, 2) as (one, other):
        claims = [_Claim(way, one.base, other.base) for way in ("idle", "speaking", "broken") for _ in range(rounds)]
        async with anyio.create_task_group() as tasks:
            for each in claims:
                tasks.start_soon(each.run)
                await anyio.sleep(0.1)
    for each in claims:
        if each.alive != 1:
            print(f"fleet: a call ({each.way}) that {each.alive} workers hold", file=sys.stderr, flush=True)
    took = {way: max([t for each in claims if each.way == way for t in each.took_s], default=0.0) for way in HANGS_UP_S}
    won = sum(each.alive == 1 for each in claims)
    return [
        Figure("claim: calls claimed by two workers", len(claims)),
        Figure("claim: of which exactly one goes on", won, at_least=len(claims), is_promise=True),
        *(Figure(f"claim: until the other hangs up, {way}, max", took[way], "s", HANGS_UP_S[way]) for way in took),
    ]


class _Claim:
    """One call, claimed by two workers.

    Args:
        way: "idle": another worker is shown the key of a call that lives, and nobody says anything. "speaking": the
            same, and then the caller says something over the old connection. "broken": the connection breaks, and both
            workers are shown the key at the same time.
        one: The worker of the call.
        other: The other one.

    Attributes:
        alive: Over how many connections the call goes on.
        took_s: How long the others took to hang up.
    """

    def __init__(self, way: str, one: str, other: str) -> None:
        self.way = way
        self.alive = 0
        self.took_s: list[float] = []
        self._one = one
        self._other = other
        self._sockets: list = []
        self._began_s = 0.0

    async def run(self) -> None:
        first, ready = await joined(self._one, None)
        await anyio.sleep(0.5)
        claimants = [self._other]
        if self.way == "broken":
            first.transport.abort()
            claimants.append(self._one)
        else:
            self._sockets.append(first)
        async with anyio.create_task_group() as tasks:
            for base in claimants:
                tasks.start_soon(self._show, base, ready["resume"])
        self._began_s = anyio.current_time()
        if self.way == "speaking":
            await first.send(json.dumps({"type": "text", "text": "Question 1 of caller 1 after 0: tell me, please."}))
        async with anyio.create_task_group() as tasks:
            for socket in self._sockets:
                tasks.start_soon(self._watch, socket)

    async def _show(self, base: str, key: str) -> None:
        socket, ready = await joined(base, key)
        if ready.get("resumed"):
            self._sockets.append(socket)
        else:  # it was refused, and has a call of its own
            await socket.close()

    async def _watch(self, socket) -> None:
        """Keep a connection for a while, as a page does; then see whether it still has the call."""
        with anyio.move_on_after(HANGS_UP_S["idle"]), suppress(ConnectionClosed):
            while True:
                await socket.send(bytes(640))
                await anyio.sleep(0.02)
        if socket.close_code is not None:
            self.took_s.append(anyio.current_time() - self._began_s)
            return
        with suppress(ConnectionClosed), anyio.move_on_after(2.0):
            await socket.send(json.dumps({"type": "ping", "id": 7}))
            while '"pong"' not in str(await socket.recv()):
                pass
            self.alive += 1
            await socket.close()


# --- Ray --------------------------------------------------------------------------------------------------------------


async def ray(folder: Path, is_quick: bool) -> list[Figure]:
    """Kill a worker that Ray has placed, and compare what a call costs there and in a worker alone.

    Both hold calls at the same time, because what else runs on the machine makes every instruction slower.
    """
    windows, callers, kills = (2, 10, 1) if is_quick else (6, 20, 5)
    async with (
        redis_server(folder) as redis,
        running(folder, redis.address, 1, engine="ray") as placed,
        worker(folder, redis.address) as alone,
    ):
        pids = [await placed.pid(), alone.pid]
        async with (
            calling([placed.base], callers, books=0.0) as one,
            calling([alone.base], callers, books=0.0) as other,
        ):
            await one.all_connected(callers)
            await other.all_connected(callers)
            await anyio.sleep(3.0)
            spent = [await _spent(pids) for _ in range(windows)]
            await one.hang_up()
            await other.hang_up()
        replaced_s = [await _replaced(placed) for _ in range(kills)]
    print(f"fleet: CPU by Ray and alone, in s: {spent}", file=sys.stderr, flush=True)
    return [
        Figure("ray: calls a core, compared with the same worker alone", _ratio(spent), at_least=0.9),
        Figure("ray: until a killed worker is replaced, p50", median(replaced_s), "s"),
        Figure("ray: until a killed worker is replaced, max", max(replaced_s), "s", 3.0),
    ]


async def _spent(pids: list[int]) -> list[float]:
    """Return the CPU that processes use in the time of two turns."""
    before = [cpu_s(pid) for pid in pids]
    await anyio.sleep(14.0)
    return [cpu_s(pid) - used_s for pid, used_s in zip(pids, before, strict=True)]


def _ratio(spent: list[list[float]]) -> float:
    return median(alone / by_ray for by_ray, alone in spent)


async def _cost(base: str, pid: int, callers: int) -> float:
    """Return the CPU of a call in percent of a core."""
    async with calling([base], callers, books=0.0) as load:
        await load.all_connected(callers)
        await anyio.sleep(3.0)
        used_s, began_s = cpu_s(pid), anyio.current_time()
        await anyio.sleep(14.0)  # two turns of each
        used_s, spent_s = cpu_s(pid) - used_s, anyio.current_time() - began_s
        await load.hang_up()
    return used_s / spent_s / callers * 100


async def _replaced(placed: Fleet) -> float:
    """Kill its worker, and return how long it takes until another one takes calls."""
    await placed.all_ready(1)
    await anyio.sleep(STEADY_S)
    pid = await placed.pid()
    began_s = anyio.current_time()
    os.kill(pid, signal.SIGKILL)
    with anyio.fail_after(30.0):
        while not await placed.takes_calls():  # noqa: ASYNC110 - another process
            await anyio.sleep(0.05)
    return anyio.current_time() - began_s


ROWS = {row.__name__: row for row in (restart, kill, store, keeping, claim, ray)}
