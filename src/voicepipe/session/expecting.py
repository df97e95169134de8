"""What is expected of the caller's next words: who says so, for how long, and what the recogniser does about it.

Rule 1: an expectation ends with the next turn that answers the caller, with another one, or with None.
Rule 2: whatever goes wrong here changes how long the agent waits, and nothing else.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from voicepipe.conversation.turn_state import TurnState
from voicepipe.core.failures import is_fault
from voicepipe.core.log import log
from voicepipe.session.saying import AT_WORK
from voicepipe.turntaking.expectation import checked

if TYPE_CHECKING:
    from collections.abc import Generator

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.context import SessionContext
    from voicepipe.hearing.recogniser import Recogniser
    from voicepipe.session.floor import Floor
    from voicepipe.turntaking.expectation import Expectation, Progress
    from voicepipe.turntaking.rules import TurnRules

__all__ = ["Expecting", "wanted"]


def wanted(session: SessionContext[Any], expectation: object) -> tuple[Expectation | None, Turn | None]:
    """Return what `Session.expect` was given, and the turn whose stage, tool or hook gave it; None for no turn.

    Raises:
        ConfigurationError: It is neither an expectation nor None.
    """
    reference = AT_WORK.get()
    turn = reference() if reference is not None else None
    return checked(expectation), turn if turn is not None and turn.session is session else None


class Expecting:
    """What one session expects of its caller.

    Args:
        floor: Its turns.
        recogniser: Adapts its silences, and ends the caller's turn, if it can.
        rules: The settings of turn-taking.
    """

    def __init__(self, floor: Floor, recogniser: Recogniser, rules: TurnRules) -> None:
        self._floor = floor
        self._recogniser = recogniser
        self._rules = rules
        self._expected: Expectation | None = None
        self._lacking: Turn | None = None  # whose tool lacks what is expected
        self._drafted: tuple[Turn, Expectation | None] | None = None  # what a draft expects of the words after its own
        self._answered: Expectation | None = None  # what was expected of the words that the newest turn answers
        self._since = 0  # the number of the turn after which it was set: only a later one ends it
        self._by_hand = 0  # the newest turn for which the application decided, so that its tools do not
        self._adapt_recogniser()

    def expect(self, expectation: Expectation | None, turn: Turn | None) -> None:
        """Expect something, or nothing, from now on; `turn` is the one that says so."""
        if turn is not None and turn.state is TurnState.DRAFT:
            self._drafted = turn, expectation
            return
        newest = self._floor.newest
        is_draft = newest is not None and newest.state is TurnState.DRAFT
        self._by_hand = turn.turn_id if turn is not None else self._floor.turns_so_far - is_draft
        self._set(expectation, self._by_hand)

    def look(self) -> None:
        """Take over what the newest turn expects: what it said as a draft, or else what its tools lack."""
        if self._drafted is not None and self._drafted[0].state is not TurnState.DRAFT:
            (draft, expectation), self._drafted = self._drafted, None
            if draft.state is not TurnState.ROLLED_BACK:
                self.expect(expectation, draft)
        turn = self._floor.newest
        if turn is None or turn.state in (TurnState.DRAFT, TurnState.ROLLED_BACK) or turn.turn_id <= self._by_hand:
            return
        lacked = next(reversed(turn.lacked.values()), None)
        if lacked is not None or self._lacking is turn:
            self._set(lacked, turn.turn_id)
            self._lacking = turn

    def answered(self) -> None:
        """Expect nothing more once a turn answers the caller, unless it was this turn that asked."""
        is_over = self._floor.turns_so_far > self._since
        self._answered = self._expected if is_over else None
        if is_over:
            self._set(None, 0)
        self.look()

    def taken_back(self) -> None:
        """Expect again what was expected of the words that the newest turn answered: the caller goes on with them."""
        self._set(self._answered, self._floor.turns_so_far)

    def progress(self, text: str) -> Progress:
        """Return how far the caller has come; an expectation that fails is dropped."""
        if self._expected is not None:
            with self._contained("the expectation"):
                return self._expected.progress(text, self._rules.language)
            self._set(None, 0)
        return "none"

    def force_endpoint(self) -> None:
        """Have the recogniser end the caller's turn, if it can."""
        if self._recogniser.can_force_endpoint:
            with self._contained(self._recogniser.name):
                self._recogniser.force_endpoint()

    def _set(self, expectation: Expectation | None, since: int) -> None:
        was_expecting = self._expected is not None
        self._expected, self._since, self._lacking = expectation, since, None
        if was_expecting != (expectation is not None):
            self._adapt_recogniser()

    def _adapt_recogniser(self) -> None:
        with self._contained(self._recogniser.name):
            self._recogniser.set_pace(self._rules.eagerness, is_expecting=self._expected is not None)

    @contextmanager
    def _contained(self, name: str) -> Generator[None]:
        """Log what code of the application raises."""
        try:
            yield
        except BaseException as error:
            if not is_fault(error):
                raise
            log.warning("%s raised %s; the agent waits as if nothing were expected", name, type(error).__name__)
