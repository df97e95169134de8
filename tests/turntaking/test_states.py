"""The table of transitions, proved against the rules that make them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from tests.helpers.spoken_call import Agent, SpokenCall
from tests.turntaking.test_core import ASKED, early, end, final, start, timelines
from voicepipe.turntaking.decisions import Draft, RollBack
from voicepipe.turntaking.states import TRANSITIONS, State, Transition

if TYPE_CHECKING:
    from tests.turntaking.test_core import Script
    from voicepipe.flow import Digit, Hearing
    from voicepipe.turntaking.core import Quiet, Tick

# A call in which the reply comes at 1.5 s and ends at 10.5 s, and how it gets into each state.
WAYS: dict[State, Script] = {
    State.QUIET: [],
    State.HEARING: [start(0.2)],
    State.HOLDING: [start(0.2), end(0.8), final(1.0, "a table", ended_s=0.8)],
    State.THINKING: ASKED,
    State.WITHHELD: [*ASKED, start(1.1)],
    State.SPEAKING: [*ASKED],
    State.PAUSED: [*ASKED, start(4.0), end(4.4)],
}
AT_S = {State.SPEAKING: 4.0, State.PAUSED: 4.5, State.THINKING: 1.1, State.WITHHELD: 1.15}

# What happens then, and when its consequence is looked at.
HAPPENS: dict[tuple[State, str], tuple[Script, float]] = {
    (State.QUIET, "speech"): ([start(1.2)], 1.3),
    (State.HEARING, "stable words"): ([early(1.2, "a table for two", stable=True)], 1.3),
    (State.HEARING, "no word"): ([end(1.2)], 1.3),
    (State.HEARING, "a part of a sentence"): ([final(1.2, "a table")], 1.3),
    (State.HEARING, "a whole sentence"): ([final(1.2, "A table.")], 1.3),
    (State.HOLDING, "more words"): ([start(1.2), early(1.25, "for two"), end(1.3), final(1.35, "for two")], 1.36),
    (State.HOLDING, "patience is over"): ([], 1.41),
    (State.THINKING, "speech"): ([start(1.2)], 1.3),
    (State.THINKING, "words"): ([early(1.2, "and two")], 1.3),
    (State.THINKING, "the first sample"): ([], 1.6),
    (State.WITHHELD, "no word"): ([end(1.2)], 1.71),
    (State.WITHHELD, "words"): ([early(1.2, "and two")], 1.3),
    (State.SPEAKING, "speech of 0.3 s"): ([start(4.1)], 4.41),
    (State.SPEAKING, '"mhm"'): ([final(4.1, "Mhm.")], 4.2),
    (State.SPEAKING, "words"): ([early(4.1, "stop")], 4.2),
    (State.SPEAKING, "the last sample"): ([], 10.6),
    (State.PAUSED, 'no word, or "mhm"'): ([], 5.21),
    (State.PAUSED, "words"): ([early(4.6, "stop")], 4.7),
}


@pytest.mark.parametrize("row", TRANSITIONS, ids=lambda row: f"{row.before.value}: {row.event}")
def test_each_row_is_what_the_rules_do(row: Transition) -> None:
    """In the state of a row its event leads to the next state, by one of its decisions; only drafts may be added."""
    script, seen_s = HAPPENS[row.before, row.event]
    call = SpokenCall(agent=Agent(think_s=0.5 if row.after != State.THINKING or row.before != State.WITHHELD else 1.0))
    call.plays(WAYS[row.before], until_s=AT_S.get(row.before, 1.1))
    assert call.core.state is row.before
    before = len(call.decisions)
    call.plays(script, until_s=seen_s)
    assert call.core.state is row.after
    made = {type(decision) for _, decision in call.decisions[before:]}
    assert len(made & set(row.decisions)) == bool(row.decisions)
    assert made <= {*row.decisions, Draft, RollBack}


def test_both_kinds_of_words_resume() -> None:
    """A pause ends after "mhm" as it does after no word at all."""
    call = SpokenCall().plays([*WAYS[State.PAUSED], final(4.6, "Mhm.", ended_s=4.4)], until_s=4.9)
    assert call.core.state is State.PAUSED
    assert call.plays([], until_s=5.01).core.state is State.SPEAKING


def test_each_state_is_reached_and_left() -> None:
    """The table has a way into each state and a way out of it, and no row twice."""
    assert {row.before for row in TRANSITIONS} == {row.after for row in TRANSITIONS} == set(State)
    assert len({(row.before, row.event) for row in TRANSITIONS}) == len(TRANSITIONS) == len(HAPPENS)


class WatchedCall(SpokenCall):
    """A call that notes each change of state."""

    def __init__(self) -> None:
        self.changes: set[tuple[State, State]] = set()
        super().__init__()

    def _handle(self, event: Hearing | Digit | Tick | Quiet) -> None:
        before = self.core.state
        super()._handle(event)
        self.changes.add((before, self.core.state))


STEPS = {(row.before, row.after) for row in TRANSITIONS} | {(state, state) for state in State}
"""One step of the table, or none."""


@given(timelines())
def test_whatever_is_heard_the_table_knows_the_way(script: Script) -> None:
    """An event moves the conversation along the table: one row, or the two that final words take at once."""
    call = WatchedCall()
    call.plays(script, until_s=script[-1][0] + 20.0)
    ways = {(first, last) for first, middle in STEPS for again, last in STEPS if middle == again}
    assert call.changes <= ways
