"""Clients of OpenAI's Realtime protocol: the transport, and its protocol as pure parts."""

from voicepipe.serving.realtime.transport import Realtime

__all__ = ["Realtime"]
