"""Sentences to speech: the last stage of a pipeline.

Rule 1: a vendor writes `synthesize`; order, prefetch, playback, flush and the record of what was heard are done here.
Rule 2: sentence k+1 is synthesised while k is played. The queue of clips keeps the order; its capacity is the prefetch.
Rule 3: a clip that failed is played as far as it goes, after everything before it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Never, cast

import anyio

from voicepipe.audio.pcm import FRAME_S
from voicepipe.core.abandon import run_abandonably
from voicepipe.core.channel import Channel
from voicepipe.core.clock import MovingDeadline, running_clock
from voicepipe.core.failures import named
from voicepipe.core.handover import checked
from voicepipe.core.stage import Stage
from voicepipe.errors import ConfigurationError, StageError, VendorError, VoicepipeError
from voicepipe.events import VoiceTooSlow
from voicepipe.flow import Sentence, WordMark
from voicepipe.speaking.clip import Clip
from voicepipe.speaking.playback import Playback
from voicepipe.speaking.voice_pace import REBUFFER_S, StartBuffer, VoicePace
from voicepipe.speaking.voice_shown import VoiceShown
from voicepipe.speaking.voice_time import VoiceTime
from voicepipe.text.markup import printable, spoken
from voicepipe.text.wording import after_space, as_written, has_wording

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Self

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.call_settings import CallSettings
    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.core.context import Resampling

__all__ = ["TTSSink"]

PREFETCH: Final = 1
"""Sentences synthesised ahead of the one being played: enough to hide synthesis, with little to lose at a barge-in."""

_END: Final = object()

CLEANUP_S: Final = 0.5
"""How long the clean-up of an interrupted synthesis is shielded from cancellation."""


class TTSSink(Stage[Sentence, Never]):
    """Base of text-to-speech; subclasses write `synthesize`.

    Attributes:
        sample_rate: Samples per second of what `synthesize` yields.
        strips_markup: Whether Markdown, tags and emoji are removed from sentences. False is for a vendor that
            understands them; control and format characters are removed in any case.
        start_buffer_s: How long after its first audio a sentence is played: 0 to 5 seconds, or "learned" for what the
            voice's newest sentences needed. So far the voice may fall behind speech without a gap in the middle of a
            word; what a resampler holds back is added. A sentence that is whole, or 1 s ahead of that, does not wait,
            and none waits longer for it while another is played. 0 plays each sentence from its first sample on.
            `VoiceTooSlow` reports a voice that falls behind.
        reads_numbers: Whether the voice itself says dates, sums of money and the like as a person would. A `Speakable`
            before it then changes nothing.
    """

    sample_rate: int = 24_000
    strips_markup: bool = True
    reads_numbers: bool = False
    start_buffer_s: StartBuffer = 0.0

    _obeys = True

    _pace: VoicePace | None = None  # made by the first copy, a host's, and shared with those that it makes

    @abstractmethod
    def synthesize(self, sentence: Sentence) -> AsyncIterator[bytes | WordMark]:
        """Yield little-endian signed 16-bit mono PCM of one sentence, in pieces of any size, as it comes.

        The text is words, not markup: for a vendor that reads SSML, escape "&" and "<".
        Write it as an async generator. It may run for two sentences at once, so keep nothing of a sentence on `self`.
        A vendor that knows when words end may yield a `WordMark` before the audio of the next word. The record of what
        was heard is exact with these marks, and an estimate without them.

        When the turn is interrupted, cancellation is raised at the current `await`. Clean-up that awaits must shield
        itself (`with anyio.move_on_after(0.5, shield=True)`); nothing waits for it.

        Raises:
            VendorError: The service failed. What came before is still played.
        """

    def adapt(self, settings: CallSettings) -> None:
        """Refuse another voice or language for one call. A vendor that can change them overrides this.

        Raises:
            ConfigurationError: There is one.
        """
        settings.refuse(self.name, "voice", "language")

    async def run(self, inbox: Inbox[Sentence], outbox: Outbox[Never], turn: Turn) -> None:
        """Synthesise and play the turn's sentences; return when the last one has been played."""
        del outbox
        clips = Channel[Clip](PREFETCH)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._play, clips, turn)
            clean = spoken if self.strips_markup else printable
            async for sentence in _pronounceable(inbox, clean, as_it_is=self.reads_numbers):
                clip = self._clip(sentence, turn)
                turn.timeline.mark_speech("first_sentence", is_filler=clip.is_filler)
                turn.speech.expect()
                await clips.send(clip)
                if turn.session.shows_text:
                    await self._leave_silent(clip)
                else:
                    tasks.start_soon(self._fill, clip, turn)
            clips.close()

    def _clip(self, sentence: Sentence, turn: Turn) -> Clip:
        resampler = turn.session.resampler_to_output(self.sample_rate)
        return Clip(
            sentence,
            rate=turn.session.output_rate,
            resampler=resampler,
            start_buffer_s=self._buffer_s(sentence, resampler),
            is_filler=sentence.segment in turn.speech.fillers or self._is_filler(sentence),
        )

    def _buffer_s(self, sentence: Sentence, resampler: Resampling | None) -> float:
        """Return how long after its first audio a sentence is played."""
        buffer_s = self.start_buffer_s
        if buffer_s == "learned":
            buffer_s = self._pace.start_buffer_s(len(sentence.text)) if self._pace is not None else 0.0
        if self.start_buffer_s and resampler is not None:
            buffer_s += resampler.holds_back_s + FRAME_S  # it must not be missing in the middle of a word either
        return buffer_s

    async def _play(self, clips: Channel[Clip], turn: Turn) -> None:
        playback = Playback(turn)
        with turn.working(self.name):
            async for clip in clips:
                await playback.begin_sentence(clip.sentence, is_filler=clip.is_filler)
                silent_s = await self._play_clip(clip, playback)
                if clip.pace.is_slow(silent_s):
                    text, behind_s = clip.sentence.text.strip(), clip.pace.behind_s
                    turn.emit(VoiceTooSlow(turn_id=turn.turn_id, text=text, behind_s=behind_s, silent_s=silent_s))
                if clip.error is not None:
                    # What was played stays said. The rest of the reply is dropped: it would follow a gap.
                    await playback.wait_played()
                    raise clip.error
                playback.finish_sentence()
            await playback.wait_played()

    async def _play_clip(self, clip: Clip, playback: Playback) -> float:
        """Play a sentence, and return for how long the caller heard silence in the middle of it."""
        silent_s, has_begun = 0.0, False
        async for piece in clip.audio:
            if isinstance(piece, WordMark):
                playback.mark(piece)
                continue
            if not has_begun:
                await clip.wait_start()
            elif playback.silent_s > 0:
                # One pause until there is something in store again, instead of one for each piece.
                await clip.wait_ahead(anyio.current_time() + self._rebuffer_s(clip))
                silent_s += playback.silent_s
            has_begun = True
            await playback.play(piece)
        return silent_s

    def _rebuffer_s(self, clip: Clip) -> float:
        return max(clip.start_buffer_s, REBUFFER_S) if self.start_buffer_s == "learned" else clip.start_buffer_s

    async def _leave_silent(self, clip: Clip) -> None:
        """Give a sentence that is shown, and not heard, a moment of its own."""
        await clip.put(bytes(2 * round(FRAME_S * self.sample_rate)))
        await clip.finish()
        clip.close()

    async def _fill(self, clip: Clip, turn: Turn) -> None:
        """Have a sentence synthesised, for as long as a voice may take."""
        time = self._time(clip.sentence)
        shown = VoiceShown(self.name, self.sample_rate, clip, turn)
        with turn.working(self.name):
            try:
                with named(self.name):
                    with MovingDeadline() as limit:
                        if self._is_ours:
                            await self._pump(clip, turn, time, limit, shown)
                        else:
                            report = turn.session.emit
                            await run_abandonably(
                                self._pump, clip, turn, time, limit, shown, name=self.name, report=report
                            )
                    if limit.cancelled_caught:
                        raise self._failed(time.problem())
            except VoicepipeError as error:  # the player raises it once it comes to this clip
                clip.error = error
                shown.ended(error)
                await clip.finish()
            clip.close()  # not when cancelled: a player that still runs would think the clip complete

    async def _pump(self, clip: Clip, turn: Turn, time: VoiceTime, limit: MovingDeadline, shown: VoiceShown) -> None:
        """Put a sentence's audio into its clip, in whole samples. Only the voice's own time is limited.

        Raises:
            VendorError: There is no audio, or more than the sentence can need.
            StageError: The voice yields something that is neither audio nor a mark.
        """
        odd, waited_s, clock = b"", 0.0, running_clock()
        piece: object = None
        pieces = self._opened(clip.sentence)
        try:
            while True:
                asked_s = clock()
                limit.until = asked_s + time.limit_s
                piece = await anext(pieces, _END)
                took_s, limit.until = clock() - asked_s, math.inf
                waited_s += took_s
                time.waited(took_s)
                if piece is _END:
                    break
                if isinstance(piece, WordMark):
                    shown.gave(checked(piece, self.name))
                    await clip.put_mark(piece)
                    continue
                audio = self._audio(piece)
                shown.gave(audio)
                pcm = odd + audio
                whole = len(pcm) & ~1
                odd = pcm[whole:]
                if whole:
                    turn.timeline.mark_speech("tts_first_audio", is_filler=clip.is_filler)
                    clip.pace.came(whole / 2 / self.sample_rate, waited_s)
                    time.came(whole / 2 / self.sample_rate)
                    waited_s = 0.0
                    if time.is_endless:
                        raise self._failed(time.problem())
                    await clip.put(pcm[:whole])
            await clip.finish()
            self._learn(clip)
            if not clip.pace.audio_s:
                raise self._failed("gave no audio for a sentence")
            shown.ended()
        finally:
            limit.until = math.inf
            if piece is not _END:
                with anyio.move_on_after(CLEANUP_S, shield=True):
                    await pieces.aclose()

    def _is_filler(self, sentence: Sentence) -> bool:
        """Return whether this voice knows a sentence as one that only fills a silence."""
        del sentence
        return False

    def _learn(self, clip: Clip) -> None:
        """Take note of how fast the voice gave a whole sentence."""
        if self._pace is not None:
            self._pace.learn(len(clip.sentence.text), clip.pace)

    def _copied(self) -> Self:
        twin = super()._copied()
        twin._pace = self._pace or VoicePace()
        return twin

    def _opened(self, sentence: Sentence) -> AsyncGenerator[bytes | WordMark]:
        pieces = self.synthesize(sentence)
        if not isinstance(pieces, AsyncGenerator):
            raise ConfigurationError(
                f"{self.name}.synthesize must be an async generator, but it returned {type(pieces).__name__}; "
                "write `async def synthesize(self, sentence)` with `yield` in it"
            )
        return cast("AsyncGenerator[bytes | WordMark]", pieces)

    def _audio(self, piece: object) -> bytes:
        if isinstance(piece, (bytes, bytearray, memoryview)):
            return bytes(piece)
        found = f"{self.name}.synthesize must yield bytes of PCM or WordMark, not {type(piece).__name__}"
        raise StageError(found, part=self.name)

    def _time(self, sentence: Sentence) -> VoiceTime:
        return VoiceTime(sentence.text)

    def _failed(self, what: str) -> VoicepipeError:
        return VendorError(f"{self.name} {what}", vendor=self.name, retryable=True)


async def _pronounceable(
    inbox: Inbox[Sentence], clean: Callable[[str], str], *, as_it_is: bool
) -> AsyncIterator[Sentence]:
    """Pass on cleaned sentences that can be pronounced; one that is only white space is added to the next one."""
    space, segment = "", 0
    async for given in inbox:
        sentence = as_written(given) if as_it_is else given
        if sentence.segment != segment:
            space, segment = "", sentence.segment
        if not has_wording(sentence):  # else it was cleaned before its words were changed
            sentence = replace(sentence, text=clean(sentence.text), wording=())
        if any(c.isalnum() for c in sentence.text):
            yield after_space(sentence, space)
            space = ""
        elif sentence.text.isspace():
            space += sentence.text
