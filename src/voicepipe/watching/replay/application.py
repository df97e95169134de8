"""What the application did with the session in the recording, done again."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from voicepipe.errors import ReplayError, VoicepipeError
from voicepipe.speaking.prepared import PreparedAudio
from voicepipe.turntaking.expectation import Expectation

if TYPE_CHECKING:
    from voicepipe.observed import ApplicationAsked
    from voicepipe.session.session import Session
    from voicepipe.watching.replay.playhead import Playhead
    from voicepipe.watching.replay.recorded_call import RecordedCall

__all__ = ["Application", "use"]

METHODS: Final = frozenset({"correct_heard", "end", "expect", "interrupt", "reply", "say"})
"""What a recording can call. It may come from anybody, so nothing else of the session is within its reach."""

SILENCE_S: Final = 1.0
"""How long a recording is taken to be that was never played."""


class Application:
    """Uses the session as the recorded application did, at the same times.

    Args:
        session: The session.
        call: The recording.
        playhead: Where its replay stands.
        by_turns: Whether to do also what stages and hooks did, because they are not there to do it.
    """

    def __init__(self, session: Session[Any], call: RecordedCall, playhead: Playhead, *, by_turns: bool) -> None:
        self._session = session
        self._call = call
        self._playhead = playhead
        self._left = deque(asked for asked in call.asked if by_turns or asked.by == "application")

    def begin(self) -> None:
        """Do what was done before anything else, a greeting for example."""
        while self._left and self._left[0].at_s <= self._playhead.now_s:
            use(self._session, self._left.popleft(), self._call)

    async def go_on(self) -> None:
        """Do the rest."""
        while self._left:
            await self._playhead.until(self._left[0].at_s)
            await self._playhead.after(self._call.turns_before(self._left[0].at_s))
            use(self._session, self._left.popleft(), self._call)


def use(session: Session[Any], asked: ApplicationAsked, call: RecordedCall) -> None:
    """Call a method of the session as it was called. What it refuses now, it refused then.

    Raises:
        ReplayError: It is none that an application uses, or has no such arguments.
    """
    if asked.method not in METHODS:
        raise ReplayError(f"the recording uses {asked.method!r} of the session, which no replay does")
    given = dict(asked.arguments)
    if given.get("audio") is not None:
        given["audio"] = _prepared(str(given.get("text", "")), asked.at_s, call)
    if asked.method == "expect" and not isinstance(given.get("expectation"), Expectation | None):
        return  # one of the application's own, of which only the name is recorded
    try:
        with suppress(VoicepipeError):
            getattr(session, asked.method)(**given)
    except TypeError:
        names = ", ".join(sorted(given)) or "nothing"
        raise ReplayError(
            f"the recording calls {asked.method} of the session with {names}, which it does not take"
        ) from None


def _prepared(text: str, at_s: float, call: RecordedCall) -> PreparedAudio:
    """Return the audio that was said for a text; silence if it was dropped before it was said."""
    for sentence in call.prepared:
        if sentence.asked.text == text and sentence.asked.at_s >= at_s - 1e-6 and sentence.gave:
            return PreparedAudio([gave.piece for gave in sentence.gave], sample_rate=sentence.asked.sample_rate)
    rate = call.began.output_rate
    return PreparedAudio(bytes(2 * round(SILENCE_S * rate)), sample_rate=rate)
