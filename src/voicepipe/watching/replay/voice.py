"""The recorded voice: each sentence gets the audio that it got, piece by piece at the same times."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.audio.pcm import FRAME_S
from voicepipe.flow import WordMark
from voicepipe.speaking.tts_sink import TTSSink
from voicepipe.text.markup import spoken
from voicepipe.text.wording import WORD_END, written
from voicepipe.watching.replay.playhead import SAME_S

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.call_settings import CallSettings
    from voicepipe.core.context import Resampling
    from voicepipe.flow import Sentence
    from voicepipe.speaking.clip import Clip
    from voicepipe.watching.replay.playhead import Playhead
    from voicepipe.watching.replay.recorded_call import RecordedCall, RecordedSentence

__all__ = ["RecordedVoice"]

CHARACTER_S: Final = 0.065
FIRST_AUDIO_S: Final = 0.2
"""How long a voice takes for a character, and to its first audio, where the recording does not say."""

HUM: Final = b"\x00\x02\x00\xfe"
"""Two samples of the tone that stands for words which the recorded voice has not said: half the rate, -36 dB."""


class RecordedVoice(TTSSink):
    """Stands in for a voice: it says again what it said.

    A sentence that the recording does not have is a quiet tone, which takes as long as the recorded voice would.

    Args:
        call: The recording.
        playhead: Where its replay stands.
        strips_markup: As in `TTSSink`; None for what the recorded sentences look like.

    Attributes:
        unknown: The sentences that the recording does not have.
    """

    def __init__(self, call: RecordedCall, playhead: Playhead, *, strips_markup: bool | None = None) -> None:
        texts = [sentence.asked.text for sentence in call.spoken]
        self.sample_rate = call.voice_rate
        self.strips_markup = all(spoken(text) == text for text in texts) if strips_markup is None else strips_markup
        self.unknown: list[str] = []
        self._name = call.spoken[0].asked.voice if call.spoken else type(self).__name__
        self._playhead = playhead
        self._left: dict[tuple[int, str], list[RecordedSentence]] = defaultdict(list)
        for sentence in call.spoken:
            self._left[sentence.asked.turn_id, sentence.asked.text].append(sentence)
        whole = [one for one in call.spoken if one.ended is not None and one.ended.error is None and one.audio_s]
        self._character_s = median(one.audio_s / len(one.asked.spoken) for one in whole) if whole else CHARACTER_S
        self._first_audio_s = median(one.gave[0].at_s - one.asked.at_s for one in whole) if whole else FIRST_AUDIO_S
        self._being_said: dict[int, RecordedSentence] = {}

    @property
    def name(self) -> str:
        """That of the recorded voice."""
        return self._name

    def adapt(self, settings: CallSettings) -> None:
        """Take every setting: the voice has spoken."""

    def _clip(self, sentence: Sentence, turn: Turn) -> Clip:
        """Find the sentence in the recording."""
        if (recorded := self._taken(turn.turn_id, written(sentence))) is not None:
            wording = recorded.asked.wording
            if wording and not sentence.wording:  # what said it in other words is not there
                sentence = replace(sentence, text=recorded.asked.spoken, wording=wording)
            self._being_said[id(sentence)] = recorded
        return super()._clip(sentence, turn)

    def _buffer_s(self, sentence: Sentence, resampler: Resampling | None) -> float:
        """Hold the sentence back for as long as it was."""
        recorded = self._being_said.get(id(sentence))
        return super()._buffer_s(sentence, resampler) if recorded is None else recorded.asked.start_buffer_s

    def _is_filler(self, sentence: Sentence) -> bool:
        recorded = self._being_said.get(id(sentence))
        return recorded is not None and recorded.asked.is_filler

    async def synthesize(self, sentence: Sentence) -> AsyncGenerator[bytes | WordMark]:
        """Yield the recorded audio. See `TTSSink.synthesize`."""
        now_s = self._playhead.now_s
        recorded = self._being_said.pop(id(sentence), None)
        if recorded is None:
            self.unknown.append(sentence.text)
            await anyio.sleep(self._first_audio_s)
            for piece in self._tone(sentence.text):
                yield piece
            return
        shift_s = self._playhead.shift_s(recorded.asked.at_s, now_s)
        for number, gave in enumerate(recorded.gave):
            # No voice speaks in the very step in which it is asked.
            await self._playhead.until(gave.at_s + shift_s, steps=not number)
            yield gave.piece
        if recorded.ended is None:  # it was interrupted then, and is not now
            await self._playhead.until(recorded.until_s + shift_s + SAME_S)
            for piece in self._tone(sentence.text, recorded.audio_s):
                yield piece
            return
        await self._playhead.until(recorded.ended.at_s + shift_s)
        if recorded.ended.error is not None:
            raise recorded.ended.error

    def _taken(self, turn_id: int, text: str) -> RecordedSentence | None:
        """Return the recorded sentence, that of the same turn if there is one."""
        keys = [(turn_id, text), *(key for key in self._left if key[1] == text)]
        found = next((key for key in keys if self._left.get(key)), None)
        return self._left[found].pop(0) if found is not None else None

    def _tone(self, text: str, from_s: float = 0.0) -> list[bytes | WordMark]:
        """Return a tone that lasts as long as the words, with their marks, from a time on."""
        text = text.rstrip()
        ends = [match.end() for match in WORD_END.finditer(text)]
        marks = [WordMark(char_end=end, end_s=end * self._character_s) for end in ends]
        samples = max(0, round((len(text) * self._character_s - from_s) * self.sample_rate))
        frame = math.floor(FRAME_S * self.sample_rate)
        tone = HUM * frame
        pieces = [tone[: 2 * min(frame, samples - at)] for at in range(0, samples, frame)]
        return [*(mark for mark in marks if mark.end_s > from_s), *pieces]
