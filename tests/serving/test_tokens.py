"""Tokens let a peer in once."""

from __future__ import annotations

import anyio
import pytest

from tests.helpers.stores import FailingStore
from voicepipe import ConfigurationError, Personal
from voicepipe.serving import Refused
from voicepipe.serving.tokens import Tokens

pytestmark = pytest.mark.anyio


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def refused(tokens: Tokens, kind: str, token: str) -> bool:
    try:
        await tokens.redeem(kind, token)
    except Refused:
        return True
    return False


async def test_how_a_peer_learns_of_it() -> None:
    """A token that is not valid is a 401 before the upgrade and a 4401 after it."""
    with pytest.raises(Refused) as caught:
        await Tokens(clock=Clock()).redeem("page", "x")
    assert (caught.value.reason, caught.value.status, caught.value.code) == ("token", 401, 4401)


async def test_a_token_is_good_once() -> None:
    """The facts come back with the first use; a second use is refused."""
    tokens = Tokens(clock=Clock())
    token = await tokens.issue("page", {"subject": "ada"})
    assert await tokens.redeem("page", token) == {"subject": "ada"}
    assert await refused(tokens, "page", token)


@pytest.mark.parametrize(("after_s", "is_refused"), [(29.999, False), (30.0, True), (3600.0, True)])
async def test_a_token_expires(after_s: float, is_refused: bool) -> None:
    """A token is good for 30 s."""
    clock = Clock()
    tokens = Tokens(clock=clock)
    token = await tokens.issue("page", {})
    clock.now += after_s
    assert await refused(tokens, "page", token) is is_refused


async def test_a_token_is_good_for_one_kind() -> None:
    """A token that is shown for something else is refused there, and is spent."""
    tokens = Tokens(clock=Clock())
    token = await tokens.issue("page", {})
    assert await refused(tokens, "realtime", token)
    assert await refused(tokens, "page", token)


@pytest.mark.parametrize("token", ["", "x", "token.x", "A" * 32, "A" * 100_000, "ä"])
async def test_a_token_that_was_never_issued(token: str) -> None:
    """What is no token is refused."""
    tokens = Tokens(clock=Clock())
    await tokens.issue("page", {})
    assert await refused(tokens, "page", token)


async def test_the_facts_are_those_of_the_issue() -> None:
    """Changing the facts after the token was issued changes nothing."""
    tokens, facts = Tokens(clock=Clock()), {"subject": "ada"}
    token = await tokens.issue("page", facts)
    facts["subject"] = "eve"
    assert await tokens.redeem("page", token) == {"subject": "ada"}


async def test_memory_is_bounded() -> None:
    """So many tokens are kept and no more: a further one is refused until others have expired or are spent."""
    clock = Clock()
    tokens = Tokens(most=3, clock=clock)
    issued = [await tokens.issue("page", {}) for _ in range(3)]
    with pytest.raises(Refused) as caught:
        await tokens.issue("page", {})
    assert (caught.value.reason, caught.value.status) == ("rate", 429)
    await tokens.redeem("page", issued[1])
    await tokens.issue("page", {})
    clock.now += 30.0
    await tokens.issue("page", {})
    assert len(tokens) == 1


async def test_tokens_are_hidden() -> None:
    """A token is long, differs each time, and does not show in the repr."""
    tokens = Tokens(clock=Clock())
    one, other = await tokens.issue("page", {}), await tokens.issue("page", {})
    assert one != other
    assert len(one) >= 32
    assert repr(tokens) == "<Tokens 2 kept>"


async def test_those_of_one_kind_keep_no_other_kind_out() -> None:
    """Visitors of a page may ask for as many as there are; a telephone call still gets its own."""
    clock = Clock()
    tokens = Tokens(most=3, clock=clock)
    for _ in range(2):
        pages = [await tokens.issue("page", {}) for _ in range(3)]
        with pytest.raises(Refused):
            await tokens.issue("page", {})
        await tokens.redeem("twilio", await tokens.issue("twilio", {}))
        await tokens.redeem("page", pages[0])
        await tokens.issue("page", {})
        clock.now += 30.0


async def test_workers_share_tokens() -> None:
    """With a store, a token is good once at any worker, and what is personal stays personal on the way."""
    store = FailingStore()
    one, other = Tokens(store=store), Tokens(store=store)
    facts = {"subject": "ada", "from": Personal("+15550100"), "floor": 2, "is_new": True, "rate": 0.5}
    token = await one.issue("page", facts)
    found = await other.redeem("page", token)
    assert (found, [name for name, fact in found.items() if isinstance(fact, Personal)]) == (facts, ["from"])
    assert await refused(one, "page", token)
    assert await refused(other, "page", token)
    token = await one.issue("page", {})
    assert await refused(other, "realtime", token)
    assert await refused(one, "page", token)
    token = await one.issue("page", {})
    await anyio.sleep(30.0)
    assert await refused(other, "page", token)


async def test_nobody_who_reads_the_store_can_call() -> None:
    """The store holds a hash of the token."""
    store = FailingStore()
    token = await Tokens(store=store).issue("page", {})
    assert token not in str(store._values)
    assert await refused(Tokens(store=store), "page", next(iter(store._values)))


async def test_while_the_store_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """Tokens are good at the worker that issued them; others have their peer try again; the log says it once."""
    store = FailingStore()
    one, other = Tokens(store=store), Tokens(store=store)
    shared = await one.issue("page", {"subject": "ada"})
    store.is_away = True
    own = [await one.issue("page", {"subject": "bob"}) for _ in range(2)]
    assert await one.redeem("page", own[0]) == {"subject": "bob"}
    with pytest.raises(Refused) as caught:
        await other.redeem("page", shared)
    assert (caught.value.reason, caught.value.status, caught.value.code) == ("store", 503, 1013)
    store.is_away = False
    assert await other.redeem("page", shared) == {"subject": "ada"}
    assert await refused(other, "page", own[1])
    assert await one.redeem("page", own[1]) == {"subject": "bob"}
    about = "tokens are valid at the worker that issued them only, until the store is back: the store is away"
    assert [record.getMessage() for record in caplog.records] == [about, about]


async def test_what_the_store_cannot_hold() -> None:
    """A fact that is no plain value is refused when the token is issued; what others wrote there is no token."""
    store = FailingStore()
    tokens = Tokens(store=store)
    with pytest.raises(ConfigurationError, match="must be texts, numbers and booleans"):
        await tokens.issue("page", {"user": object()})  # type: ignore[dict-item]
    for written in (b"", b"\xff", b"[]", b"{}", b'{"kind": "page", "facts": [], "personal": []}'):
        token = await tokens.issue("page", {})
        await store.keep(next(reversed(store._values)), written, expires_s=30.0)
        assert await refused(tokens, "page", token)
