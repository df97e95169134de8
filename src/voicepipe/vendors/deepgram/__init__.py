"""Deepgram: streaming recognition, with Nova and with Flux."""
