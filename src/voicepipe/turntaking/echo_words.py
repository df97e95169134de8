"""Finds the recognised words that the agent did not say itself.

Rule 1: pure: two lists of words go in, and a verdict on each recognised word comes out. No time, no state.
Rule 2: the order counts, and each word that the agent said explains at most one recognised word.
Rule 3: recognisers make mistakes: "nine" explains "line" next to words that fit, but never alone.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import Final

__all__ = ["are_enough", "new_words", "words_of"]

NUMBERS: Final = frozenset(
    "0 1 2 3 4 5 6 7 8 9 zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "  # noqa: SIM905
    "fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand"
    "".split()
)
"""The ways to write a number: the agent's text has "12345", and a recogniser reports "one two three four five"."""

NEW: Final = 1.0
"""The cost of taking a word for the caller's. Skipping two of the agent's words is cheaper, skipping three is not."""

SKIPPED: Final = 0.4
ERRED: Final = 0.5
"""Less than `NEW`, so that a misrecognised word is taken for the agent's; more than 0, so that an exact match wins."""

# Scripts that put no spaces between words are compared by their characters.
_UNSPACED: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD: Final = re.compile(rf"\d|[{_UNSPACED}]|[^\W\d_{_UNSPACED}]+")
_APOSTROPHES: Final = re.compile("['\u2018\u2019]")


def words_of(text: str) -> list[str]:
    """Return the words of a text without case and punctuation, and its numbers digit by digit.

    >>> words_of("Don't: order 42.")
    ['dont', 'order', '4', '2']
    """
    return _WORD.findall(_APOSTROPHES.sub("", text).casefold())


def new_words(recognised: list[str], said: list[str]) -> list[bool]:
    """Return for each recognised word whether it is new: no word that the agent said explains it.

    The recognised words are aligned with any stretch of the agent's words, in order, at the lowest cost.

    >>> new_words("we are open from line to five".split(), "we are open from nine to five on weekdays".split())
    [False, False, False, False, False, False, False]
    >>> new_words("we are open stop please".split(), "we are open from nine to five".split())
    [False, False, False, True, True]
    """
    costs, steps = _aligned(recognised, said)
    row, column = len(recognised), min(range(len(said) + 1), key=lambda at: costs[len(recognised)][at])
    kinds: list[str] = [""] * len(recognised)
    while row:
        rows, columns, kind = steps[row][column]
        for at in range(row - rows, row):
            kinds[at] = kind
        row, column = row - rows, column - columns
    # Rule 3: a lone word that merely resembles one of the agent's is the caller's: "stop" in a shop.
    return [kind == "new" or (kind == "erred" and "same" not in kinds) for kind in kinds]


def are_enough(new: list[bool], *, is_sure: bool) -> bool:
    """Return whether new words show that somebody else spoke.

    One new word is enough if it is at least half of the words, or if somebody is known to have spoken. Otherwise two in
    a row are needed, because recognisers put a wrong word into an echo now and then.

    Args:
        new: What `new_words` returned.
        is_sure: Whether somebody is known to have spoken, e.g. before the agent began or after it had ended.
    """
    in_a_row = any(one and other for one, other in pairwise(new))
    return any(new) and (is_sure or in_a_row or 2 * sum(new) >= len(new))


_Step = tuple[int, int, str]
"""How many recognised words and how many of the agent's a step covers, and what it makes of the recognised ones."""

_NEW_WORD: Final[_Step] = (1, 0, "new")
_SKIPPED_WORD: Final[_Step] = (0, 1, "")


def _aligned(recognised: list[str], said: list[str]) -> tuple[list[list[float]], list[list[_Step]]]:
    """Return the lowest cost of aligning each prefix of `recognised` so that it ends at each word of `said`.

    The second table holds the last step of each of these alignments.
    """
    costs = [[0.0] * (len(said) + 1)]
    steps: list[list[_Step]] = [[(0, 0, "")] * (len(said) + 1)]
    said_pairs = ["", *(one + other for one, other in pairwise(said))]
    for row, word in enumerate(recognised, 1):
        fitting = [
            (1, 1, _fits(word, said, joined=False)),
            (1, 2, _fits(word, said_pairs, joined=True)),
            (2, 1, _fits(recognised[row - 2] + word, said, joined=True) if row > 1 else {}),  # "wreck a" for "recka"
        ]
        costs.append([costs[row - 1][0] + NEW])
        steps.append([_NEW_WORD])
        for column in range(1, len(said) + 1):
            cost, step = costs[row - 1][column] + NEW, _NEW_WORD
            if (skipping := costs[row][column - 1] + SKIPPED) < cost:
                cost, step = skipping, _SKIPPED_WORD
            for rows, columns, kinds in fitting:
                if kind := kinds.get(column - 1):
                    taking = costs[row - rows][column - columns] + (0 if kind == "same" else ERRED)
                    if taking < cost:
                        cost, step = taking, (rows, columns, kind)
            costs[row].append(cost)
            steps[row].append(step)
    return costs, steps


def _fits(word: str, others: list[str], *, joined: bool) -> dict[int, str]:
    """Return which of the others the word may be: the "same" word, or one that the recogniser "erred" on."""
    kinds: dict[int, str] = {}
    for at, other in enumerate(others):
        if not joined and (word == other or (word in NUMBERS and other in NUMBERS)):
            kinds[at] = "same"
        elif _is_alike(word, other):
            kinds[at] = "erred"
    return kinds


@lru_cache(maxsize=8_192)
def _is_alike(word: str, other: str) -> bool:
    """Return whether one may be the other, misrecognised: one letter wrong in three to five, two in longer words."""
    longer, shorter = max(len(word), len(other)), min(len(word), len(other))
    allowed = 0 if shorter < 3 else 1 if longer < 6 else 2
    letters, its_letters = set(word), set(other)
    # Nearly all pairs are ruled out here: each letter that only one of them has needs an edit.
    if longer - shorter > allowed or len(letters - its_letters) > allowed or len(its_letters - letters) > allowed:
        return False
    distances = list(range(len(other) + 1))
    for row, letter in enumerate(word, 1):
        diagonal, distances[0] = distances[0], row
        for column, its in enumerate(other, 1):
            diagonal, distances[column] = (
                distances[column],
                min(distances[column] + 1, distances[column - 1] + 1, diagonal + (letter != its)),
            )
    return distances[-1] <= allowed
