"""The world around a call: who keeps the facts, makes words that occur once, and hears what is audible."""

from __future__ import annotations

import math
import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import anyio

import voicepipe as vp
from tests.explore import facts
from tests.explore.legs import LEG
from voicepipe.events import TurnEnded
from voicepipe.history import AssistantMessage, History, Message, UserMessage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from tests.explore.plan import Plan
    from tests.explore.promises import Checker
    from voicepipe.conversation.turn import Turn

RATE = 8_000
CHARACTER_S = 0.04
CHARACTER_SAMPLES = 320
TICK_SAMPLES = 80
NUMBERS, CHARACTERS = 255, 128  # a sample holds the number of its sentence, and the place of its character
TICKS, LEAST_TICKS = (
    4,
    2,
)  # of a character, and how many of them count as all: a resumed word is faded in, and may begin between two samples

CONSONANTS, VOWELS = "bdfgklmnprstv", "aiou"
SYLLABLES = [consonant + vowel for consonant in CONSONANTS for vowel in VOWELS]
WORD = re.compile(rf"\b(?:[{CONSONANTS}][{VOWELS}]){{2,}}x\b")

SPOKEN_WORD = re.compile(rf"({WORD.pattern})\S*")
"""With the punctuation after it, which takes its time in the audio, and belongs to the word."""


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a text that occur once in a call: "Dabix kamux." All others do not matter."""
    return tuple(WORD.findall(text.lower()))


@dataclass
class Sentence:
    """A sentence that the voice was given.

    Attributes:
        number: Counts the sentences of a call, from 1.
        turn: Its turn.
        text: What is said; its characters have places from 0.
        has_marks: Whether the voice says when its words end.
        ticks: How many ticks of each character were audible.
        ended_s: When the newest of them was.
    """

    number: int
    turn: int
    text: str
    has_marks: bool
    ticks: dict[int, int] = field(default_factory=dict[int, int])
    ended_s: float = 0.0

    @property
    def is_whole(self) -> bool:
        """Whether all of it was audible, to its last sound."""
        length = len(self.text.rstrip())
        return all(self.ticks.get(at, 0) >= (TICKS if at == length - 1 else LEAST_TICKS) for at in range(length))

    def heard(self) -> list[str]:
        """Return the words that were audible whole."""
        return [
            match[0]
            for match in WORD.finditer(self.text.lower())
            if all(self.ticks.get(at, 0) >= LEAST_TICKS for at in range(*match.span()))
        ]

    def replayed(self) -> dict[str, int]:
        """Return the words that were audible whole more than once, and how often; the first sound may be faded in."""
        times = {
            match[1]: min((self.ticks.get(at, 0) + (at == match.start())) // TICKS for at in range(*match.span()))
            for match in SPOKEN_WORD.finditer(self.text.lower())
        }
        return {word: often for word, often in times.items() if often > 1}


class World:
    """Keeps the facts of one call, in order.

    Attributes:
        plan: What is going to happen.
        chance: Draws for what has no luck of its own.
        story: The facts.
        checker: Is shown each of them.
        sentences: What the voice was given.
        history: The conversation, as the session has it.
        speaks: Set when the agent becomes audible.
        ended_s: When the newest session ended.
    """

    def __init__(self, plan: Plan, chance: Random, checker: Checker) -> None:
        self.plan = plan
        self.chance = chance
        self.story: list[facts.Noted] = []
        self.checker = checker
        self.sentences: dict[int, Sentence] = {}
        self.history = History()
        self.speaks = anyio.Event()
        self.ended_s = 0.0
        self._words = 0
        self._requests = 0
        self._turns = 0
        self._by_id: dict[int, int] = {}
        self._by_turn: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._cut_s: dict[int, float] = {}
        self._given: dict[str, Sentence] = {}

    def note(self, fact: facts.Fact) -> None:
        """Add a fact, and have it checked. What a worker does that has lost the call does not count, but for tools."""
        leg = LEG.get()
        if (
            leg is not None
            and leg.has_lost
            and (leg.is_dead or not isinstance(fact, (facts.ToolBegan, facts.ToolEnded)))
        ):
            return
        noted = facts.Noted(round(anyio.current_time(), 6), fact)
        self.story.append(noted)
        self.checker.take(noted)

    # --- words --------------------------------------------------------------------------------------------------------

    def word(self) -> str:
        """Return a word that occurs once: "dabix"."""
        self._words += 1
        number, word = self._words + 51, ""
        while number:
            number, at = divmod(number, len(SYLLABLES))
            word += SYLLABLES[at]
        return word + "x"

    def words(self, chance: Random, most: int = 6) -> list[str]:
        """Return words that occur once."""
        return [self.word() for _ in range(chance.randint(1, most))]

    def text(self, chance: Random, *, asks: bool = False) -> str:
        """Return one to three sentences of words that occur once."""
        sentences = [" ".join(self.words(chance)).capitalize() for _ in range(chance.choice((1, 1, 2, 3)))]
        return ". ".join(sentences) + ("?" if asks else ".")

    def request(self) -> int:
        """Count a request."""
        self._requests += 1
        return self._requests

    # --- turns --------------------------------------------------------------------------------------------------------

    def turn_of(self, turn: Turn) -> int:
        """Return the number of a turn or draft; 0 for one of a worker that has lost the call."""
        if (leg := LEG.get()) is not None and leg.has_lost:
            return self._by_turn.get(turn, 0)
        if turn not in self._by_turn:
            self._by_turn[turn] = self.turn_with(turn.turn_id)
        return self._by_turn[turn]

    def turn_with(self, turn_id: int) -> int:
        """Return the number of the newest turn with this id."""
        if (leg := LEG.get()) is not None and leg.has_lost:
            return 0
        if turn_id not in self._by_id:
            self._turns += 1
            self._by_id[turn_id] = self._turns
        return self._by_id[turn_id]

    def draft_dropped(self, turn_id: int) -> None:
        """Note that the next turn gets the id of this draft."""
        if (leg := LEG.get()) is not None and leg.has_lost:
            return
        self.note(facts.DraftDropped(self._by_id.pop(turn_id, 0)))

    def next_leg(self) -> None:
        """Forget which turn has which id: the next worker counts on from what it knows."""
        self._by_id.clear()

    # --- what is said -------------------------------------------------------------------------------------------------

    def passes(self, sentence: vp.Sentence, turn: Turn) -> None:
        """Note which turn a sentence belongs to that the voice is about to be given."""
        number = len(self.sentences) + 1
        assert number <= NUMBERS, "the call is too long for the samples of its sentences"
        made = Sentence(number, self.turn_of(turn), sentence.text, self.chance.random() < self.plan.has_marks)
        self.sentences[number] = made
        self._given[_letters(sentence.text)] = made

    def given(self, text: str) -> Sentence:
        """Return the sentence that the voice is given with this text, which it may have been stripped of markup."""
        sentence = self._given[_letters(text)]
        sentence.text = text
        self.note(facts.Given(sentence.number, sentence.turn, text, sentence.has_marks))
        return sentence

    def cut_at(self, number: int) -> float:
        """Return when the turn of a sentence was cut."""
        return self._cut_s.get(self.sentences[number].turn, math.inf)

    def heard(self, turn: int) -> tuple[str, ...]:
        """Return the words of a turn that were audible whole."""
        return tuple(word for one in self.sentences.values() if one.turn == turn for word in one.heard())

    def audible(self, lag_s: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the words that were audible whole, and those of sentences that were cut, or ended just now.

        Args:
            lag_s: How long ago a sentence may have ended that counts as cut.
        """
        heard = tuple(word for one in self.sentences.values() for word in one.heard())
        recent_s = anyio.current_time() - lag_s - 1e-6
        cut = (one for one in self.sentences.values() if not one.is_whole or one.ended_s >= recent_s)
        return heard, tuple(word for one in cut for word in words_of(one.text))

    def replayed(self) -> dict[str, int]:
        """Return the words that were audible whole more than once, and how often."""
        return {word: often for one in self.sentences.values() for word, often in one.replayed().items()}

    # --- what is reported ---------------------------------------------------------------------------------------------

    def emitted(self, event: vp.Event) -> None:
        """Note an event of the session."""
        turn_id = getattr(event, "turn_id", 0)
        turn = self.turn_with(turn_id) if turn_id else 0
        if isinstance(event, TurnEnded):
            if not isinstance(event, vp.TurnCompleted):
                self._cut_s[turn] = anyio.current_time() + 1e-4
            self.note(facts.Emitted(event, turn, lines_of(self.history), self.heard(turn)))
        else:
            self.note(facts.Emitted(event, turn))


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))


def lines_of(messages: Iterable[Message]) -> tuple[facts.Line, ...]:
    """Return messages as plain data."""
    return tuple(_line_of(message) for message in messages)


def _line_of(message: Message) -> facts.Line:
    if isinstance(message, UserMessage):
        return facts.Line("note" if message.text.startswith("[A note") else "user", message.text)
    assert isinstance(message, AssistantMessage)
    calls = tuple(facts.Call(one.call_id, one.name, one.arguments, one.status, one.result) for one in message.calls)
    return facts.Line("agent", message.text, calls, message.was_interrupted, message.is_settled)


class Ear(vp.Output):
    """An output that plays by the clock, and notes what was audible. It shares nothing with the library's own."""

    sample_rate = RATE

    def __init__(self, world: World) -> None:
        self._world = world
        self._buffer_s = world.chance.choice((0.04, 0.04, 0.2))
        self._plays_until_s = self._accepted_s = 0.0
        self._flushes = 0
        self._ticks: deque[tuple[float, int, int]] = deque()  # end, sentence and character of what is to be played
        self.fault = ""
        self._is_lost = False

    async def write(self, pcm: bytes) -> None:
        """Take a frame."""
        flushes, duration_s = self._flushes, len(pcm) / 2 / RATE
        self._may_fail()
        while (room_at := self._plays_until_s + duration_s - self._buffer_s) > anyio.current_time() + 1e-6:
            await anyio.sleep_until(room_at)
            self._may_fail()
            if self._flushes != flushes:
                return
        if self.fault == "output stalls" or self._is_lost:
            await anyio.sleep_forever()
        start_s = max(self._plays_until_s, anyio.current_time())
        self._plays_until_s = start_s + duration_s
        self._accepted_s += duration_s
        self._world.note(facts.Wrote(self._take(pcm, start_s)))
        self._world.speaks.set()

    def _take(self, pcm: bytes, start_s: float) -> tuple[int, ...]:
        samples = memoryview(pcm).cast("h")
        numbers: dict[int, None] = {}
        for at in range(0, len(samples) - TICK_SAMPLES + 1, TICK_SAMPLES):
            first, last = samples[at], samples[at + TICK_SAMPLES - 1]
            if first == last != 0:  # else it is faded in, or silence
                number, character = divmod(last, CHARACTERS)
                numbers[number] = None
                self._ticks.append((start_s + (at + TICK_SAMPLES) / RATE, number, character))
        return tuple(numbers)

    def flush(self) -> None:
        """Be silent."""
        self._may_fail()
        self._flushes += 1
        self.listen()
        self._accepted_s -= max(0.0, self._plays_until_s - anyio.current_time())
        self._plays_until_s = anyio.current_time()
        self._ticks.clear()
        self._world.note(facts.Flushed())

    def listen(self) -> None:
        """Note what has been audible so far."""
        now = anyio.current_time() + 2e-6
        while self._ticks and self._ticks[0][0] <= now:
            end_s, number, character = self._ticks.popleft()
            if end_s > self._world.cut_at(number):
                self._world.note(facts.Audible(number))
            sentence = self._world.sentences[number]
            sentence.ticks[character] = sentence.ticks.get(character, 0) + 1
            sentence.ended_s = end_s

    def lose(self) -> None:
        """Lose the caller: nothing more is audible, and nothing more counts as played."""
        self.listen()
        self._ticks.clear()
        self._accepted_s = self.played_s
        self._plays_until_s = anyio.current_time()
        self._is_lost = True

    @property
    def played_s(self) -> float:
        """Seconds played."""
        return self._accepted_s - max(0.0, self._plays_until_s - anyio.current_time())

    def _may_fail(self) -> None:
        if self.fault == "output fails":
            raise vp.AudioError("the loudspeaker is gone")
