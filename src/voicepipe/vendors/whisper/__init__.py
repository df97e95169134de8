"""Whisper on this machine, by faster-whisper."""
