"""Calls go on in another worker: after a death, at a restart, and when their caller comes back by themselves."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.coming_back import Guest, Worker, visiting, workers
from tests.helpers.plain_transport import RATE, calling
from voicepipe.serving import Limits
from voicepipe.testing import Calls, ChatRequest, Reply, Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice

pytestmark = pytest.mark.anyio


def agent(
    *asked_at_s: float, speech_s: float = 0.0, says: str = "One two three. Four five six.", takes_s: float = 0.05
) -> vp.Pipeline[Any]:
    """Return an agent that answers each question with two sentences; a character takes 0.05 s."""
    ears = ScriptedRecogniser()
    for at_s in asked_at_s:
        ears.says("And?", at_s=at_s, speech_s=speech_s)
    voice = ScriptedVoice(character_s=takes_s, sample_rate=RATE)
    model = ScriptedModel(lambda request: Says("One two three. Four five six."))
    return vp.Pipeline(vp.STTStage(ears), model, vp.SentenceChunker(), voice, detector=None)


def said(worker: Worker) -> list[list[str]]:
    """Return what each session of a worker has in its history."""
    return [[message.text for message in session.history] for session in worker.sessions]


async def test_a_worker_dies_in_mid_turn() -> None:
    """Its caller goes on with another one: no greeting, what was heard stays, and the sentence that was cut is said."""
    store = vp.MemoryStore()
    lines: list[Any] = []
    one, other = (
        Worker(store, agent(1.5), greeting="Hello!"),
        Worker(store, agent(), greeting="Hello!", deps=lines.append),
    )
    async with workers(one, other):
        async with visiting(one, line="A") as guest:
            await anyio.sleep(2.9)
            one.link.is_cut = True  # nothing of it reaches the store any more, as after kill -9
            guest.vanish()
            began_s = anyio.current_time()
            async with visiting(other, guest.ready["key"]) as again:
                took_s = anyio.current_time() - began_s
                await anyio.sleep(3)
    assert took_s < 0.1
    assert again.ready == {**guest.ready, "resumed": True}
    assert said(other) == [["Hello!", "And?", "One two three.", "Four five six."]]
    assert (other.sessions[0].facts["line"], lines[0]["line"]) == ("A", "A")
    assert other.counted("voicepipe_resumed_total") == {"resumed": 1}


async def hang_up(guest: Guest) -> None:
    await guest.socket.send("bye")
    await guest.closed.wait()


async def test_a_restart_hands_calls_over_between_two_turns() -> None:
    """A call goes on elsewhere once its reply has been heard, with a good-bye that says so; nothing of it is lost."""
    store = vp.MemoryStore()
    one, other = Worker(store, agent(0.5)), Worker(store, agent())
    async with workers(one, other), visiting(one) as guest, anyio.create_task_group() as tasks:
        await anyio.sleep(1)
        tasks.start_soon(one.serve.drain, 600)
        await guest.closed.wait()
        assert (guest.code, guest.texts[-1]) == (1012, {"type": "bye", "resumable": True})
        async with visiting(other, guest.ready["key"]) as again:
            await anyio.sleep(1)
    assert again.ready["resumed"]
    assert said(one) == said(other) == [["And?", "One two three. Four five six."]]
    assert one.counted("voicepipe_sessions_total") == {"plain,server": 1}


async def test_what_is_left_at_the_end_of_a_drain_is_handed_over_in_mid_turn() -> None:
    """At the deadline the reply is not waited for: the rest of it is said elsewhere."""
    store = vp.MemoryStore()
    one, other = Worker(store, agent(0.5, takes_s=0.2)), Worker(store, agent())
    async with workers(one, other), visiting(one) as guest:
        await anyio.sleep(1)
        began_s = anyio.current_time()
        await one.serve.drain(2.0)
        assert round(anyio.current_time() - began_s, 3) == 2.0
        await guest.closed.wait()
        assert (guest.code, guest.texts[-1]) == (1012, {"type": "bye", "resumable": True})
        async with visiting(other, guest.ready["key"]):
            await anyio.sleep(3)
    assert said(one) == [["And?", "One two"]]
    assert said(other) == [["And?", "One two", "One two three. Four five six."]]


async def test_calls_are_handed_over_one_after_another() -> None:
    """The workers that go on with them let in only so many a second."""
    store = vp.MemoryStore()
    one, other = Worker(store, agent(), limits=Limits(opening_per_s=5)), Worker(store, agent())
    closed_s: list[float] = []

    async def visit() -> None:
        async with visiting(one) as guest:
            await guest.closed.wait()
            closed_s.append(round(anyio.current_time() - began_s, 1))

    async with workers(one, other), anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(visit)
        await anyio.sleep(1)
        began_s = anyio.current_time()
        await one.serve.drain(600)
    assert closed_s == [0.0, 0.2, 0.4, 0.6]


async def test_a_caller_who_speaks_is_not_handed_over() -> None:
    """Their words would be lost: the call goes on until they have been answered."""
    store = vp.MemoryStore()
    one, other = Worker(store, agent(1.5, speech_s=1.0)), Worker(store, agent())
    async with workers(one, other), visiting(one) as guest, anyio.create_task_group() as tasks:
        await anyio.sleep(0.9)
        tasks.start_soon(one.serve.drain, 600)
        await guest.closed.wait()
    assert said(one) == [["And?", "One two three. Four five six."]]


async def test_a_drain_without_the_store_ends_calls_after_their_reply() -> None:
    """No other worker could go on: calls have the time of the drain, and the good-bye does not promise anything."""
    store = vp.MemoryStore()
    one, other = Worker(store, agent(0.5, takes_s=0.2)), Worker(store, agent())
    async with workers(one, other), visiting(one) as guest:
        await anyio.sleep(1)
        one.link.is_cut = True
        await one.serve.drain(2.0)
        await guest.closed.wait()
    assert (guest.code, guest.texts[-1]) == (1012, {"type": "bye", "resumable": False})
    assert said(one) == [["And?", "One two three. Four five six."]]
    assert one.counted("voicepipe_store_failures_total") == {"write": 1}


async def test_a_restart_of_the_only_process_cuts_no_call() -> None:
    """A store that ends with the process is no reason to end a call early: it has the time of the drain."""
    one = Worker(vp.MemoryStore(), agent(1.0))
    async with workers(one), visiting(one) as guest, anyio.create_task_group() as tasks:
        await anyio.sleep(0.5)
        tasks.start_soon(one.serve.drain, 600)
        await anyio.sleep(6)
        assert not guest.closed.is_set()
        await hang_up(guest)
    assert said(one) == [["And?", "One two three. Four five six."]]


async def test_a_peer_that_may_not_come_back_has_the_time_of_the_drain() -> None:
    """Its call goes on, and ends after the reply that the end of the drain finds; it could be resumed all the same."""
    store = vp.MemoryStore()
    one, other = Worker(store, agent(1.0, takes_s=0.2)), Worker(store, agent())
    async with workers(one, other), visiting(one, returns=False) as guest:
        await anyio.sleep(0.5)
        await one.serve.drain(2.0)
        await guest.closed.wait()
        assert (guest.code, guest.texts[-1]) == (1012, {"type": "bye", "resumable": True})
        assert said(one) == [["And?", "One two three. Four five six."]]
        async with visiting(other, guest.ready["key"]) as again:
            assert again.ready["resumed"]


async def test_a_server_that_stops_at_once() -> None:
    """There is no time for a good-bye: what is true at that moment is kept, and another worker goes on from it."""
    store = vp.MemoryStore()
    one, other = Worker(store, agent(0.5, takes_s=0.2)), Worker(store, agent())
    async with workers(other):
        async with workers(one), visiting(one) as guest:
            await anyio.sleep(3)
            await one.serve.desk.cut()
            await guest.closed.wait()
            assert guest.code == 1012
        async with visiting(other, guest.ready["key"]):
            await anyio.sleep(2)
    assert said(one) == [["And?", "One two"]]
    assert said(other) == [["And?", "One two", "One two three. Four five six."]]


async def test_two_workers_claim_one_call() -> None:
    """The later one has it; the other hangs up at its next write, with a code of its own."""
    store = vp.MemoryStore()
    one, other, third = Worker(store, agent()), Worker(store, agent(3.0)), Worker(store, agent())
    async with workers(one, other, third):
        async with visiting(one) as guest:
            await anyio.sleep(0.5)
            guest.vanish()
        async with visiting(other, guest.ready["key"]) as second, visiting(third, guest.ready["key"]) as last:
            await second.closed.wait()
            await anyio.sleep(1)
            assert (second.ready["resumed"], last.ready["resumed"]) == (True, True)
            assert (second.code, last.closed.is_set()) == (4409, False)
    assert other.counted("voicepipe_sessions_total") == {"plain,moved": 1}


async def test_a_caller_who_comes_back_to_the_same_worker() -> None:
    """The old connection may still look alive: its call ends first, and the new one goes on from there."""
    store = vp.MemoryStore()
    one = Worker(store, agent(0.5))
    async with workers(one), visiting(one) as guest:
        await anyio.sleep(3)
        async with visiting(one, guest.ready["key"]) as again:
            await guest.closed.wait()
            assert (guest.code, again.ready["resumed"]) == (4409, True)
            await anyio.sleep(0.2)
            assert said(one) == [["And?", "One two three. Four five six."]] * 2


async def test_a_caller_who_comes_back_twice_at_once() -> None:
    """The connection that came last has the call; the other one is closed as taken over, even before it began."""

    async def deps(facts: object) -> None:
        await anyio.sleep(0.5)  # what the application looks up

    store = vp.MemoryStore()
    one, other = Worker(store, agent()), Worker(store, agent(), deps=deps)
    async with workers(one, other), visiting(one) as guest:
        await anyio.sleep(0.5)
        guest.vanish()
        async with calling(other.port) as first:
            await first.socket.send(json.dumps({"facts": {}, "resume": guest.ready["key"]}))
            await anyio.sleep(0.2)  # it has claimed the call, and has no session yet
            async with visiting(other, guest.ready["key"]) as last:
                assert last.ready["resumed"]
                with anyio.fail_after(2):
                    assert await first.wait_closed() == 4409
                assert not last.closed.is_set()


async def test_who_may_not_go_on() -> None:
    """Whoever shows a wrong key gets a new call, and the old one goes on; it is said why."""
    store = vp.MemoryStore()
    one, other = Worker(store, agent(), authenticate=_who), Worker(store, agent())
    alone = Worker(store, agent(), limits=Limits(resume_s=0))
    async with workers(one, other, alone), visiting(one) as guest:
        await anyio.sleep(0.5)
        key, call_id = guest.ready["key"], guest.ready["id"]
        shown = [
            ("nonsense", "unknown"),
            (f"{call_id}.wrong", "secret"),
            (call_id, "unknown"),
            (f"{call_id}.", "secret"),
            (f"{call_id}.\ud800", "secret"),  # half of a character, which JSON can hold
            (f"\ud800.{key}", "unknown"),
        ]
        found: list[tuple[str, str]] = []
        for wrong, _ in shown:
            async with visiting(other, wrong) as stranger:
                assert not stranger.ready["resumed"]
                assert stranger.ready["key"] not in ("", key)
                found.append((wrong, stranger.ready["why"]))
        assert found == shown
        async with visiting(alone, key) as stranger:
            assert (stranger.ready["why"], stranger.ready["key"]) == ("off", "")
        other.link.is_cut = True
        async with visiting(other, key) as stranger:
            assert stranger.ready["why"] == "store"
        other.link.is_cut, other.link.takes_s = False, 100.0
        began_s = anyio.current_time()
        async with visiting(other, key) as stranger:
            assert (stranger.ready["why"], round(anyio.current_time() - began_s, 1)) == ("store", 1.0)
        other.link.takes_s, other.link.raises = 0.0, OSError("no store raises that")
        async with visiting(other, key) as stranger:
            assert stranger.ready["why"] == "store"
        other.link.raises = None
        head, _, snapshot = (store._records[call_id].data or b"").partition(b"\n")
        unread = json.dumps({**json.loads(snapshot), "history": [{"role": "of a later version"}]}).encode()
        for data in (b'{"version":2}\n', head + b"\n" + unread):
            store._records[call_id].data = data
            async with visiting(other, key) as stranger:
                assert stranger.ready["why"] == "version"
        assert not guest.closed.is_set()
    assert other.counted("voicepipe_resumed_total") == {"unknown": 3, "secret": 3, "store": 3, "version": 2}


def _who(request: Any) -> dict[str, str]:
    return {"subject": "ada"}


async def test_another_caller_with_the_right_key() -> None:
    """Where an authenticator names callers, a key is good for the one who was given it."""
    store = vp.MemoryStore()
    one, other = (Worker(store, agent(), authenticate=_who) for _ in range(2))
    thief = Worker(store, agent(), authenticate=lambda request: {"subject": "eve"})
    async with workers(one, other, thief):
        async with visiting(one) as guest:
            await anyio.sleep(0.5)
            guest.vanish()
        async with visiting(thief, guest.ready["key"]) as stranger:
            assert stranger.ready["why"] == "secret"
        async with visiting(other, guest.ready["key"]) as again:
            assert again.ready["resumed"]


async def test_how_long_a_call_can_be_resumed() -> None:
    """A call that hung up in order is forgotten at once; one whose connection broke is kept for `resume_s`."""
    store = vp.MemoryStore()
    limits = Limits(resume_s=5)
    one, other = Worker(store, agent(), limits=limits), Worker(store, agent(), limits=limits)
    async with workers(one, other):
        async with visiting(one) as guest:
            await anyio.sleep(0.5)
            await hang_up(guest)
        async with visiting(other, guest.ready["key"]) as again:
            assert again.ready["why"] == "unknown"
        for waits_s, why in ((4.9, ""), (5.2, "unknown")):
            async with visiting(one) as guest:
                await anyio.sleep(0.5)
                guest.vanish()
                await anyio.sleep(waits_s)
            async with visiting(other, guest.ready["key"]) as again:
                assert again.ready["why"] == why
        async with visiting(one, None) as guest:  # a peer that cannot come back: nothing is kept
            await anyio.sleep(0.5)
            before = set(store._records)
            guest.vanish()
        assert guest.ready["key"] == ""
        assert guest.ready["id"] not in before


@pytest.mark.slow
async def test_a_worker_dies_at_any_moment_of_a_turn_that_writes() -> None:
    """The tool runs once, or the caller hears that its outcome is unknown; the conversation goes on in every case."""
    for moment in range(12):
        ran_s: list[tuple[str, float]] = []
        store = vp.MemoryStore()
        one = Worker(store, _booking("one", ran_s, 0.5))
        other = Worker(store, _booking("other", ran_s, 4.5))
        async with workers(one, other), visiting(one) as guest:
            await anyio.sleep(0.55 + 0.15 * moment)
            one.link.is_cut = True
            guest.vanish()
            died_s = anyio.current_time()
            async with visiting(other, guest.ready["key"]) as again:
                await anyio.sleep(8)
                assert again.ready["resumed"], moment
        before = [at_s for name, at_s in ran_s if name == "one" and at_s < died_s]  # what is dead runs nothing
        after = [at_s for name, at_s in ran_s if name == "other"]
        texts = said(other)[0]
        assert len(before) + len(after) == 2, (moment, texts)  # one for each of the two questions
        assert texts[-1].startswith("It is booked"), (moment, texts)


def _booking(name: str, ran_s: list[tuple[str, float]], asked_at_s: float) -> vp.Pipeline[Any]:
    """Return an agent whose only answer is to book a table, which takes 0.3 s, and to say so."""

    @vp.tool(effect="write")
    async def book(seats: int) -> str:
        """Reserve a table."""
        ran_s.append((name, anyio.current_time()))
        await anyio.sleep(0.3)
        return "booked"

    def answer(request: ChatRequest) -> Reply:
        if request.tool_results or request.last_user_text.startswith("[A note"):
            return Says("It is booked, or I do not know.", after_s=0.2)
        return Calls("book", {"seats": len(request.messages)}, after_s=0.2)

    ears = ScriptedRecogniser().says("Please.", at_s=asked_at_s)
    model, voice = ScriptedModel(answer), ScriptedVoice(character_s=0.03, sample_rate=RATE)
    return vp.Pipeline(vp.STTStage(ears), model, vp.ToolRouter([book]), vp.SentenceChunker(), voice, detector=None)
