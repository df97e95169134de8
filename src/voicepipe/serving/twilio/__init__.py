"""Calls over Twilio Media Streams."""

from voicepipe.serving.twilio.transport import Twilio

__all__ = ["Twilio"]
