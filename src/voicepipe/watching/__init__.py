"""What watches calls: recordings, and what is made of them."""

from voicepipe.watching.recording import Recording

__all__ = ["Recording"]
