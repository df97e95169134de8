"""Deepgram's messages about what it hears, as they are sent. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.testing.simulators._deepgram_rules import Asked
    from voicepipe.testing.simulators._stt_turns import Message, SpokenWord

__all__ = ["results", "started", "turn_info"]


def started(at_s: float) -> Message:
    """Write that Nova hears speech."""
    return {"type": "SpeechStarted", "channel": [0, 1], "timestamp": at_s}


def results(
    asked: Asked,
    words: Sequence[SpokenWord],
    from_s: float,
    until_s: float,
    *,
    is_final: bool = False,
    speech_final: bool = False,
) -> Message:
    """Write what Nova understands of a stretch of audio."""
    best = {
        "transcript": " ".join(word.text for word in words),
        "confidence": 0.98 if words else 0.0,
        "words": [
            {
                "word": word.text.lower().strip(".,?!;:"),
                "start": word.start_s,
                "end": word.end_s,
                "confidence": 0.98,
                "punctuated_word": word.text,
            }
            for word in words
        ],
    }
    return {
        "type": "Results",
        "channel_index": [0, 1],
        "duration": round(until_s - from_s, 6),
        "start": round(from_s, 6),
        "is_final": is_final,
        "speech_final": speech_final,
        "channel": {"alternatives": [best]},
        "metadata": {"model_info": {"name": asked.model, "version": "simulated", "arch": "nova"}},
        "from_finalize": False,
    }


def turn_info(
    event: str, index: int, words: Sequence[SpokenWord], from_s: float, until_s: float, confidence: float
) -> Message:
    """Write what Flux understands of a turn."""
    return {
        "type": "TurnInfo",
        "event": event,
        "turn_index": index,
        "audio_window_start": round(from_s, 6),
        "audio_window_end": round(until_s, 6),
        "transcript": " ".join(word.text for word in words),
        "words": [{"word": word.text, "confidence": 0.98, "start": word.start_s, "end": word.end_s} for word in words],
        "end_of_turn_confidence": round(confidence, 4),
    }
