"""Sources and outputs of audio, and the telephone codecs: `voicepipe.audio.to_ulaw(pcm)`."""

from voicepipe.audio.g711 import from_alaw, from_ulaw, to_alaw, to_ulaw

__all__ = ["from_alaw", "from_ulaw", "to_alaw", "to_ulaw"]
