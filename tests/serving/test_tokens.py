"""Tokens let a peer in once."""

from __future__ import annotations

import pytest

from voicepipe.serving import Refused
from voicepipe.serving.tokens import Tokens


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def refused(tokens: Tokens, kind: str, token: str) -> bool:
    try:
        tokens.redeem(kind, token)
    except Refused:
        return True
    return False


def test_how_a_peer_learns_of_it() -> None:
    """A token that is not valid is a 401 before the upgrade and a 4401 after it."""
    with pytest.raises(Refused) as caught:
        Tokens(clock=Clock()).redeem("page", "x")
    assert (caught.value.reason, caught.value.status, caught.value.code) == ("token", 401, 4401)


def test_a_token_is_good_once() -> None:
    """The facts come back with the first use; a second use is refused."""
    tokens = Tokens(clock=Clock())
    token = tokens.issue("page", {"subject": "ada"})
    assert tokens.redeem("page", token) == {"subject": "ada"}
    assert refused(tokens, "page", token)


@pytest.mark.parametrize(("after_s", "is_refused"), [(29.999, False), (30.0, True), (3600.0, True)])
def test_a_token_expires(after_s: float, is_refused: bool) -> None:
    """A token is good for 30 s."""
    clock = Clock()
    tokens = Tokens(clock=clock)
    token = tokens.issue("page", {})
    clock.now += after_s
    assert refused(tokens, "page", token) is is_refused


def test_a_token_is_good_for_one_kind() -> None:
    """A token that is shown for something else is refused there, and is spent."""
    tokens = Tokens(clock=Clock())
    token = tokens.issue("page", {})
    assert refused(tokens, "realtime", token)
    assert refused(tokens, "page", token)


@pytest.mark.parametrize("token", ["", "x", "token.x", "A" * 32, "A" * 100_000, "ä"])
def test_a_token_that_was_never_issued(token: str) -> None:
    """What is no token is refused."""
    tokens = Tokens(clock=Clock())
    tokens.issue("page", {})
    assert refused(tokens, "page", token)


def test_the_facts_are_those_of_the_issue() -> None:
    """Changing the facts after the token was issued changes nothing."""
    tokens, facts = Tokens(clock=Clock()), {"subject": "ada"}
    token = tokens.issue("page", facts)
    facts["subject"] = "eve"
    assert tokens.redeem("page", token) == {"subject": "ada"}


def test_memory_is_bounded() -> None:
    """So many tokens are kept and no more: a further one is refused until others have expired or are spent."""
    clock = Clock()
    tokens = Tokens(most=3, clock=clock)
    issued = [tokens.issue("page", {}) for _ in range(3)]
    with pytest.raises(Refused) as caught:
        tokens.issue("page", {})
    assert (caught.value.reason, caught.value.status) == ("rate", 429)
    tokens.redeem("page", issued[1])
    tokens.issue("page", {})
    clock.now += 30.0
    tokens.issue("page", {})
    assert len(tokens) == 1


def test_tokens_are_hidden() -> None:
    """A token is long, differs each time, and does not show in the repr."""
    tokens = Tokens(clock=Clock())
    one, other = tokens.issue("page", {}), tokens.issue("page", {})
    assert one != other
    assert len(one) >= 32
    assert repr(tokens) == "<Tokens 2 kept>"


def test_those_of_one_kind_keep_no_other_kind_out() -> None:
    """Visitors of a page may ask for as many as there are; a telephone call still gets its own."""
    clock = Clock()
    tokens = Tokens(most=3, clock=clock)
    for _ in range(2):
        pages = [tokens.issue("page", {}) for _ in range(3)]
        with pytest.raises(Refused):
            tokens.issue("page", {})
        tokens.redeem("twilio", tokens.issue("twilio", {}))
        tokens.redeem("page", pages[0])
        tokens.issue("page", {})
        clock.now += 30.0
