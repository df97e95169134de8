"""Calls over Asterisk's AudioSocket."""

from voicepipe.serving.audiosocket.transport import AudioSocket

__all__ = ["AudioSocket"]
