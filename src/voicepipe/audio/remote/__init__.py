"""Outputs for a peer at the other end of a line: the library paces what a subclass sends."""
