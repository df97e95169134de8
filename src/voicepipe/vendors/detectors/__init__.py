"""Speech detectors that run on this machine: Earshot, Silero, WebRTC."""
