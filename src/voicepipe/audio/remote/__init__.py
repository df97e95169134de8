"""Outputs for a remote peer: the library paces what a subclass sends."""
