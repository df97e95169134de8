"""FairWorker: whose turn it is."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from voicepipe.vendors.piper.fair_worker import FairWorker, Rota

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """A thread knows no virtual time."""
    return "asyncio"


@pytest.mark.parametrize(
    ("put", "taken"),
    [
        ("a1 a2 a3 b1 b2 c1", "a1 b1 c1 a2 b2 a3"),
        ("a1 b1 a2", "a1 b1 a2"),
        ("a1 take b1 a2 take a3 take", "a1 b1 a2 a3"),
        ("a1 a2 take a3 b1", "a1 a2 b1 a3"),  # with nobody else waiting it goes on, then it is the other's turn
    ],
)
def test_calls_have_their_turns(put: str, taken: str) -> None:
    """However much one call has queued, another one waits for one item of it at most."""
    rota, out = Rota[str](), list[str]()
    for item in put.split():
        if item == "take":
            out.append(rota.take())
        else:
            rota.put(item[0], item)
    out += [rota.take() for _ in range(len(taken.split()) - len(out))]

    assert " ".join(out) == taken
    with pytest.raises(KeyError):
        rota.take()


async def test_functions_run_in_turn_and_cancelled_ones_never() -> None:
    """The thread takes calls in turn; what was cancelled while it waited is skipped, and an error is its own."""
    worker, gate, ran = FairWorker("test"), threading.Event(), list[str]()

    def fail() -> None:
        raise ValueError("b1")

    worker.submit("x", gate.wait)
    _, second, _ = [worker.submit("a", partial(ran.append, name)) for name in ("a1", "a2", "a3")]
    failing = worker.submit("b", fail)
    worker.submit("b", partial(ran.append, "b2"))
    worker.submit("c", partial(ran.append, "c1"))
    assert second.cancel()
    gate.set()
    await worker.aclose()

    assert ran == ["a1", "c1", "b2", "a3"]
    assert str(failing.exception()) == "b1"
    with pytest.raises(RuntimeError, match="has been closed"):
        worker.submit("a", fail)
