"""Whole calls in which anything happens at any time: the promises R1 to R9 hold after everything that can be seen.

A seed that fails prints its story, and `python -m tests.explore SEED` holds the same call again.
"""

from __future__ import annotations

import pytest

from tests.explore.call import explore
from tests.explore.telling import told

QUICK = 20
SEEDS, BATCH = 300, 28


def check(seeds: range) -> None:
    """Hold the calls of seeds; the stories of those that broke a promise are the error."""
    broken = [told(story) for story in map(explore, seeds) if story.broken]
    assert not broken, "\n\n".join(broken)


def test_a_call_keeps_the_promises() -> None:
    """The first 20 seeds, for the loop while writing."""
    check(range(QUICK))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(QUICK, SEEDS, BATCH))
def test_any_call_keeps_the_promises(first: int) -> None:
    """300 seeds in all; `make soak` tries 10,000."""
    check(range(first, first + BATCH))


def test_a_seed_gives_the_same_story() -> None:
    """Each fact is the same, at the same microsecond: otherwise a failure could not be looked at again."""
    for seed in (1, 5):  # 5 talks to its model over HTTP
        story, again = told(explore(seed), whole=True), told(explore(seed), whole=True)
        assert story == again
        assert len(story.splitlines()) > 20
