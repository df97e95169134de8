"""From those who hear to those who act on it: what the recogniser and the detector report, and audio that stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.hearing.merged_speech import MergedSpeech
from voicepipe.hearing.stretches import SpeechStretches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from voicepipe.core.channel import Outbox
    from voicepipe.flow import Hearing, SpeechEnded, SpeechStarted

__all__ = ["Reports"]


class Reports:
    """The outbox of whatever turns audio into what was heard. It ends speech when the audio stops.

    Args:
        outbox: Where the reports go.
        check: Raises for what is no report.
        is_detected: Whether a detector reports speech, too.
    """

    def __init__(
        self, outbox: Outbox[Hearing], check: Callable[[Hearing], None] | None = None, *, is_detected: bool = False
    ) -> None:
        self._stretches = SpeechStretches(is_detected=is_detected)
        self._merged = MergedSpeech() if is_detected else None
        self._check = check
        self._outbox = outbox
        self._stopped_s: Callable[[], float | None] = lambda: None
        self._look_again: Callable[[], None] = lambda: None

    @property
    def is_speech(self) -> bool:
        """Whether somebody speaks, as far as the turn rules know."""
        return self._stretches.is_open

    def listen_to(self, stopped_s: Callable[[], float | None], look_again: Callable[[], None]) -> None:
        """Learn when audio stops.

        Args:
            stopped_s: Returns where the audio ended if it has stopped, and None while it comes.
            look_again: Called when speech has begun, so that it is noticed soon when the audio stops.
        """
        self._stopped_s, self._look_again = stopped_s, look_again

    async def send(self, event: Hearing, /) -> None:
        """Pass on a report of the recogniser. See `Outbox.send`."""
        if self._check is not None:
            self._check(event)
        await self._report([event] if self._merged is None else self._merged.reported(event))
        if self.is_speech:
            self._look_again()

    async def detected(self, events: Iterable[SpeechStarted | SpeechEnded]) -> None:
        """Pass on reports of the detector."""
        assert self._merged is not None  # noqa: S101 - `is_detected` says that there is one
        for event in events:
            await self._report(self._merged.detected(event))

    async def audio_stopped(self, at_s: float) -> None:
        """Audio has stopped; it ended at `at_s`."""
        events = self._stretches.stopped(at_s)
        self._forget_what_may_not_end(at_s)
        await self._pass_on(events)

    async def audio_resumed(self, at_s: float) -> None:
        """Audio came back at `at_s`, and nobody has heard anything of the gap."""
        await self._pass_on(self._stretches.resumed(at_s))

    def silenced(self) -> None:
        """The recogniser and the detector get silence: only new speech counts from here on."""
        self._stretches.silenced()

    async def _report(self, events: list[Hearing]) -> None:
        stopped_s = self._stopped_s()
        passed = [one for event in events for one in self._stretches.reported(event, stopped_s)]
        if stopped_s is not None:
            self._forget_what_may_not_end(stopped_s)
        await self._pass_on(passed)

    def _forget_what_may_not_end(self, at_s: float) -> None:
        """Let speech go on after a gap only if its end is sure to be reported. See Rule 3 of `SpeechStretches`."""
        if self._merged is not None and not self._merged.will_end:
            self._merged.forget(at_s)
            self._stretches.silenced()

    async def _pass_on(self, events: list[Hearing]) -> None:
        for event in events:
            await self._outbox.send(event)

    def close(self) -> None:
        """Close the outbox. See `Outbox.close`."""
        self._outbox.close()
