"""WebRTC's audio processing, in this process."""
